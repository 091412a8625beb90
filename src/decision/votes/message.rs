//! The vote message: what a vantage reports about its peers.

mod json;

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{FailedOver, PeerVote, VoteSet};
use crate::{
    decision::statements::{MAX_STATEMENT, MAX_STATEMENTS},
    model::{
        Candidate, DatabaseLoss, FailoverMode, Ineligible, LabelError, LabelValue, LossBounds, MAX_VOTE_PEERS,
        NameError, PeerState, Region, Signature, UnixMillis, Vote, VoteResponse,
    },
    signing::PublicKey,
};

/// The version of the format. Fields may be added to it; one that changes its meaning makes a new version.
const VERSION: u64 = 1;

/// What a vantage publishes at `GET /api/v1/regions`: its votes, and its ranking.
///
/// Valid by construction: [`VoteMessage::new`] is the only way to one, and decoding goes through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteMessage {
    vantage: Region,
    environment: Option<LabelValue>,
    public_key: Option<PublicKey>,
    incarnation: u64,
    sequence: u64,
    time: Option<UnixMillis>,
    isolated: bool,
    peers: Vec<PeerVoteEntry>,
    ranking: Vec<RankEntry>,
    databases: Vec<DatabaseLoss>,
    statements: Vec<Arc<str>>,
}

/// What a vantage says about one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerVoteEntry {
    /// The peer.
    pub region: Region,
    /// The state that it is in.
    pub state: PeerState,
    /// For how long, in milliseconds; at most [`VoteMessage::MAX_AGE_MS`].
    pub since_ms: u64,
    /// What the vantage votes.
    pub vote: Vote,
    /// How long ago the newest probe that was answered was sent, in milliseconds; at most
    /// [`VoteMessage::MAX_AGE_MS`].
    pub last_answer_age_ms: Option<u64>,
    /// How long ago the newest probe was sent that had any sign of life as its answer, such as a refusal; `None` without one,
    /// and from vantages before 0.3. At most [`VoteMessage::MAX_AGE_MS`].
    pub alive_age_ms: Option<u64>,
    /// For how long all its critical probes have failed, in milliseconds, while the network answers; at most
    /// [`VoteMessage::MAX_AGE_MS`].
    pub unserved_ms: Option<u64>,
    /// When the first probe that was lost was sent, where the peer is silent; at most [`VoteMessage::MAX_TIME`].
    pub onset: Option<UnixMillis>,
    /// The incident that this vantage counts it to: 1 to [`VoteMessage::MAX_INCIDENT`] printable ASCII characters.
    pub incident: Option<Arc<str>>,
    /// Whether the vantage holds the peer down now; `None` without an incident, and from vantages that do not say.
    pub held: Option<bool>,
    /// When the vantage signed the order to fail the peer over, and its signature; only while it holds the peer down.
    pub order: Option<(UnixMillis, Signature)>,
    /// What its configuration allows for the peer; `None` from vantages that do not say.
    pub mode: Option<FailoverMode>,
    /// The target that it proposes, while it holds the peer down and may fail it over; and the vantage that has proposed it
    /// first.
    pub target: Option<(Region, Region)>,
    /// The failover of the peer that it knows of, until that is released.
    pub failed_over: Option<FailedOverEntry>,
    /// Whether it orders the failover of the peer now, as an operator has commanded.
    pub operator_order: bool,
}

/// A failover that was ordered, as a vantage reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedOverEntry {
    /// The incident: 1 to [`VoteMessage::MAX_INCIDENT`] printable ASCII characters.
    pub incident: Arc<str>,
    /// The onset of the incident; at most [`VoteMessage::MAX_TIME`].
    pub onset: UnixMillis,
    /// The region that takes over.
    pub target: Region,
    /// How long ago it was ordered first, in milliseconds; at most [`VoteMessage::MAX_AGE_MS`].
    pub age_ms: u64,
}

/// What a vantage says about one peer as a failover target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankEntry {
    /// The peer.
    pub region: Region,
    /// Its place, 1 is the best; at most [`VoteMessage::MAX_PEERS`].
    pub rank: Option<u32>,
    /// Its score, lower is better; at most [`VoteMessage::MAX_SCORE`]. Written in seconds.
    pub score: Option<Duration>,
    /// Whether it can take over.
    pub eligible: bool,
    /// Why it cannot, each reason once.
    pub reasons: Vec<Ineligible>,
}

/// Why something is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// More bytes than [`VoteMessage::MAX_BYTES`].
    #[error("is larger than {} KiB", VoteMessage::MAX_BYTES >> 10)]
    TooLarge,
    /// Not JSON, or a field is missing or of another type. Without the text, which is a stranger's.
    #[error("is not the JSON of a vote message (line {line}, column {column})")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 0.
        column: usize,
    },
    /// Another version of the format.
    #[error("has version {0}, and {version} is understood", version = VERSION)]
    Version(u64),
    /// A name that no region can have.
    #[error("has a region whose name {0}")]
    Name(#[from] NameError),
    /// An environment that is no label value.
    #[error("has an environment that {0}")]
    Environment(#[from] LabelError),
    /// A word that is none of those that the field may have, or a text of another form.
    #[error("has an unknown or malformed {0}")]
    Text(&'static str),
    /// A number out of its range.
    #[error("has a {0} out of range")]
    Number(&'static str),
    /// More entries than [`VoteMessage::MAX_PEERS`].
    #[error("has more than {max} {0}", max = VoteMessage::MAX_PEERS)]
    TooMany(&'static str),
    /// A region or a reason stands in a list more than once.
    #[error("has {0} twice")]
    Twice(&'static str),
    /// The vantage stands among its own peers.
    #[error("has its own vantage among the peers")]
    Own,
}

impl VoteMessage {
    /// The most bytes of a message.
    pub const MAX_BYTES: usize = VoteResponse::MAX_BODY;
    /// The most peers, and the most places of the ranking.
    pub const MAX_PEERS: usize = MAX_VOTE_PEERS;
    /// The longest incident id, in characters.
    pub const MAX_INCIDENT: usize = 128;
    /// The most orders about one peer.
    pub const MAX_ORDERS: usize = 8;
    /// The most databases.
    pub const MAX_DATABASES: usize = 64;
    /// The most servers of a database.
    pub const MAX_SERVERS: usize = 16;
    /// The greatest loss. Written in milliseconds.
    pub const MAX_LOSS: Duration = Duration::from_millis(Self::MAX_AGE_MS);
    /// The greatest age: 1000 years of 365 days, in milliseconds.
    pub const MAX_AGE_MS: u64 = 1000 * 365 * 86_400_000;
    /// The greatest time: the end of the year 9999.
    pub const MAX_TIME: UnixMillis = UnixMillis(253_402_300_799_999);
    /// The greatest score. Up to here a double tells nanoseconds apart, so that a score survives its way.
    pub const MAX_SCORE: Duration = Duration::from_secs(1_000_000);
    /// The greatest sequence number, the last integer of a double.
    pub const MAX_SEQUENCE: u64 = (1 << 53) - 1;

    /// What `vantage` says in its `sequence`-th message since the start that is called `incarnation`.
    ///
    /// # Errors
    /// The first value that is out of its range, or that stands there twice.
    pub fn new(
        vantage: Region,
        (incarnation, sequence): (u64, u64),
        isolated: bool,
        peers: Vec<PeerVoteEntry>,
        ranking: Vec<RankEntry>,
    ) -> Result<Self, InvalidMessage> {
        within(sequence <= Self::MAX_SEQUENCE, "seq")?;
        distinct(peers.iter().map(|entry| &entry.region), &vantage, "peers")?;
        distinct(ranking.iter().map(|rank_entry| &rank_entry.region), &vantage, "ranking")?;
        peers.iter().try_for_each(PeerVoteEntry::check)?;
        ranking.iter().try_for_each(RankEntry::check)?;
        let (databases, statements) = (Vec::new(), Vec::new());
        Ok(Self {
            vantage,
            environment: None,
            public_key: None,
            incarnation,
            sequence,
            time: None,
            isolated,
            peers,
            ranking,
            databases,
            statements,
        })
    }

    /// The same message from a vantage of an environment.
    #[must_use]
    pub fn with_environment(self, environment: Option<LabelValue>) -> Self {
        Self { environment, ..self }
    }

    /// The environment of the sender; `None` if it has none, as before version 0.3.
    pub const fn environment(&self) -> Option<&LabelValue> {
        self.environment.as_ref()
    }

    /// The same message from a vantage that signs orders with this key.
    #[must_use]
    pub fn with_public_key(self, public_key: Option<PublicKey>) -> Self {
        Self { public_key, ..self }
    }

    /// The key that verifies what the sender signs; `None` if it signs nothing.
    pub const fn public_key(&self) -> Option<&PublicKey> {
        self.public_key.as_ref()
    }

    /// The same with these signatures under orders, of peers that are in it.
    #[must_use]
    pub fn with_orders(mut self, mut order: impl FnMut(&Region) -> Option<(UnixMillis, Signature)>) -> Self {
        for entry in &mut self.peers {
            entry.order = order(&entry.region).filter(|(at, _)| *at <= Self::MAX_TIME);
        }
        self
    }

    /// The same with what a failover of each database would lose.
    ///
    /// # Errors
    /// More databases or servers than a message may have, a database that stands there twice, or a time out of its range.
    pub fn with_databases(mut self, databases: Vec<DatabaseLoss>) -> Result<Self, InvalidMessage> {
        within(databases.len() <= Self::MAX_DATABASES, "number of databases")?;
        let mut seen = HashSet::new();
        for DatabaseLoss { database, replicas, .. } in &databases {
            if !seen.insert(database) {
                return Err(InvalidMessage::Twice("a database"));
            }
            within(replicas.len() <= Self::MAX_SERVERS, "number of servers")?;
            let in_range = |bounds: &LossBounds| bounds.lower <= bounds.upper && bounds.upper <= Self::MAX_LOSS;
            within(replicas.values().all(in_range), "upper_ms")?;
        }
        self.databases = databases;
        Ok(self)
    }

    /// What a failover of each database would lose, as the sender knows.
    pub fn databases(&self) -> &[DatabaseLoss] {
        &self.databases
    }

    /// The same with the first of these statements of operators. Whoever reads them verifies them.
    #[must_use]
    pub fn with_statements(self, statements: impl IntoIterator<Item = Arc<str>>) -> Self {
        let fits = |text: &Arc<str>| {
            (1..=MAX_STATEMENT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        Self { statements: statements.into_iter().filter(fits).take(MAX_STATEMENTS).collect(), ..self }
    }

    /// The signed statements of operators that the sender knows.
    pub fn statements(&self) -> &[Arc<str>] {
        &self.statements
    }

    /// The same message, written at this time by the clock of the sender. A time that no message can have is left out.
    #[must_use]
    pub fn with_time(self, time: Option<UnixMillis>) -> Self {
        Self { time: time.filter(|time| *time <= Self::MAX_TIME), ..self }
    }

    /// When it was written, by the clock of the sender; `None` before version 0.3.
    pub const fn time(&self) -> Option<UnixMillis> {
        self.time
    }

    /// The sender.
    pub const fn vantage(&self) -> &Region {
        &self.vantage
    }

    /// A number that the vantage draws when it starts.
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// How many messages it made before this one since then; see [`Sequence`](super::Sequence).
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether the vantage is isolated, so that its votes do not count.
    pub const fn isolated(&self) -> bool {
        self.isolated
    }

    /// What it says about each peer, each once.
    pub fn peers(&self) -> &[PeerVoteEntry] {
        &self.peers
    }

    /// What it says about each failover target, each once.
    pub fn ranking(&self) -> &[RankEntry] {
        &self.ranking
    }

    /// The same by our own clock, of a message that was requested at `requested_at`. Its ages count from when it was
    /// written, which was later.
    pub fn votes(&self, requested_at: Instant) -> VoteSet {
        let before = |age: u64| requested_at.checked_sub(Duration::from_millis(age));
        let vote = |entry: &PeerVoteEntry| PeerVote {
            vote: entry.vote,
            good_at: entry.last_answer_age_ms.and_then(before),
            alive_at: entry.alive_age_ms.or(entry.last_answer_age_ms).and_then(before),
            unserved_since: entry.unserved_ms.and_then(before),
            incident: entry.onset.zip(entry.incident.clone()),
            // 0.2.0 does not say, and reports an incident that was executed for as long as it is open.
            held: entry.held.unwrap_or_else(|| entry.incident.is_some()),
            mode: entry.mode,
            target: entry.target.clone(),
            failed_over: entry.failed_over.as_ref().map(|failover| failover.by_our_clock(requested_at)),
            operator_order: entry.operator_order,
        };
        let candidate =
            |entry: &RankEntry| Some(Candidate { region: entry.region.clone(), rank: entry.rank?, score: entry.score });
        VoteSet {
            isolated: self.isolated,
            peers: self.peers.iter().map(|entry| (entry.region.clone(), vote(entry))).collect(),
            ranking: self.ranking.iter().filter_map(candidate).collect(),
            databases: self.databases.clone(),
            statements: self.statements.clone(),
            clock_offset_ms: None,
        }
    }
}

impl PeerVoteEntry {
    fn check(&self) -> Result<(), InvalidMessage> {
        within(self.since_ms <= VoteMessage::MAX_AGE_MS, "since_ms")?;
        within(self.last_answer_age_ms.is_none_or(|age| age <= VoteMessage::MAX_AGE_MS), "last_answer_age_ms")?;
        within(self.alive_age_ms.is_none_or(|age| age <= VoteMessage::MAX_AGE_MS), "alive_age_ms")?;
        within(self.unserved_ms.is_none_or(|age| age <= VoteMessage::MAX_AGE_MS), "unserved_ms")?;
        within(self.order.is_none_or(|(at, _)| at <= VoteMessage::MAX_TIME), "at")?;
        within(self.onset.is_none_or(|onset| onset <= VoteMessage::MAX_TIME), "onset")?;
        if let Some(failed_over) = &self.failed_over {
            within(failed_over.age_ms <= VoteMessage::MAX_AGE_MS, "age_ms")?;
            within(failed_over.onset <= VoteMessage::MAX_TIME, "onset")?;
        }
        let printable = |id: &Arc<str>| {
            (1..=VoteMessage::MAX_INCIDENT).contains(&id.len()) && id.bytes().all(|c| matches!(c, b' '..=b'~'))
        };
        let mut ids = self.incident.iter().chain(self.failed_over.iter().map(|failed_over| &failed_over.incident));
        if ids.all(printable) { Ok(()) } else { Err(InvalidMessage::Text("incident")) }
    }
}

impl FailedOverEntry {
    fn by_our_clock(&self, requested_at: Instant) -> FailedOver {
        let Self { incident, onset, target, age_ms } = self;
        let at = requested_at.checked_sub(Duration::from_millis(*age_ms)).unwrap_or(requested_at);
        FailedOver { id: Arc::clone(incident), onset: *onset, target: target.clone(), at }
    }
}

impl RankEntry {
    fn check(&self) -> Result<(), InvalidMessage> {
        within(self.rank.is_none_or(|rank| (1..=VoteMessage::MAX_PEERS as u32).contains(&rank)), "rank")?;
        within(self.score.is_none_or(|score| score <= VoteMessage::MAX_SCORE), "score_seconds")?;
        let mut seen = HashSet::new();
        if self.reasons.iter().all(|reason| seen.insert(*reason)) {
            Ok(())
        } else {
            Err(InvalidMessage::Twice("a reason"))
        }
    }
}

fn within(fits: bool, field: &'static str) -> Result<(), InvalidMessage> {
    if fits { Ok(()) } else { Err(InvalidMessage::Number(field)) }
}

fn distinct<'a>(
    mut regions: impl ExactSizeIterator<Item = &'a Region>,
    own: &Region,
    list: &'static str,
) -> Result<(), InvalidMessage> {
    if regions.len() > VoteMessage::MAX_PEERS {
        return Err(InvalidMessage::TooMany(list));
    }
    let mut seen = HashSet::with_capacity(regions.len());
    regions.try_for_each(|region| match region {
        region if region == own => Err(InvalidMessage::Own),
        region if seen.insert(region) => Ok(()),
        _ => Err(InvalidMessage::Twice("a region")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    pub(super) fn entry(name: &str) -> PeerVoteEntry {
        PeerVoteEntry {
            region: region(name),
            state: PeerState::Suspect,
            since_ms: 1_250,
            vote: Vote::Down,
            last_answer_age_ms: Some(2_000),
            alive_age_ms: None,
            unserved_ms: None,
            onset: Some(UnixMillis(1_795_230_245_123)),
            incident: Some("us-east-1/1795230245".into()),
            held: None,
            order: None,
            mode: None,
            target: None,
            failed_over: None,
            operator_order: false,
        }
    }

    pub(super) fn rank_entry(name: &str) -> RankEntry {
        let score = Some(Duration::from_millis(33));
        RankEntry { region: region(name), rank: Some(1), score, eligible: true, reasons: Vec::new() }
    }

    pub(super) fn message(peers: Vec<PeerVoteEntry>, ranking: Vec<RankEntry>) -> Result<VoteMessage, InvalidMessage> {
        VoteMessage::new(region("eu-west-1"), (0xab, 7), false, peers, ranking)
    }

    /// A vantage of 0.2.0 reports an executed incident for as long as it is open.
    #[test]
    fn a_vantage_that_does_not_say_what_it_holds_down_holds_what_it_has_an_incident_for() {
        let held = |entry: PeerVoteEntry| message(vec![entry], Vec::new()).unwrap().votes(Instant::now());
        for (expected, said, incident) in
            [(true, None, true), (false, None, false), (false, Some(false), true), (true, Some(true), true)]
        {
            let entry = entry("b");
            let incident = entry.incident.clone().filter(|_| incident);
            let votes = held(PeerVoteEntry { held: said, incident, ..entry });
            assert_eq!(votes.peers[&region("b")].held, expected);
        }
    }

    #[test]
    fn a_message_lists_each_region_once() {
        let twice = Err(InvalidMessage::Twice("a region"));
        assert_eq!(message(vec![entry("b"), entry("b")], Vec::new()), twice);
        assert_eq!(message(Vec::new(), vec![rank_entry("b"), rank_entry("b")]), twice);
        assert_eq!(message(vec![entry("eu-west-1")], Vec::new()), Err(InvalidMessage::Own));
        let many = |count| message((0..count).map(|n| entry(&format!("r{n}"))).collect(), Vec::new());
        assert!(many(VoteMessage::MAX_PEERS).is_ok());
        assert_eq!(many(VoteMessage::MAX_PEERS + 1), Err(InvalidMessage::TooMany("peers")));
    }
}
