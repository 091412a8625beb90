//! The vote messages of the peers, and the own one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, error};

use crate::{
    config::{Config, Secret},
    decision::{
        Now, StateChange, Vantage,
        votes::{ClockOffset, Keys, Sequence, VoteLog, VoteMessage, VoteProblem, check_environment, verify},
    },
    metrics::{Metrics, VoteSeries},
    model::{LabelValue, OrderSignature, Region, VoteResponse},
    signing::PublicKey,
};

/// How long a sidecar may not answer until that is logged; longer if it is asked less often.
const AWAY: Duration = Duration::from_secs(10);

/// What is received from the peers' sidecars, and published to them.
#[derive(Debug)]
pub(super) struct Votes {
    /// By it peers know one start of this process from another.
    incarnation: u64,
    sequence: u64,
    keys: Option<Keys>,
    environment: Option<LabelValue>,
    /// The last message could not be encoded.
    is_failing: bool,
    /// The peers with a sidecar.
    voters: HashMap<Region, VoterState>,
}

#[derive(Debug)]
struct VoterState {
    sequence: Sequence,
    clock: ClockOffset,
    log: VoteLog,
    series: Arc<VoteSeries>,
    /// How long it may not answer until that is worth a line in the log.
    patience: Duration,
    /// When it answered last, or else was first waited for.
    answered_at: Option<Instant>,
    /// Whether it was logged that it does not answer.
    away: bool,
}

impl VoterState {
    fn new(series: Arc<VoteSeries>) -> Self {
        Self {
            sequence: Sequence::default(),
            clock: ClockOffset::default(),
            log: VoteLog::default(),
            series,
            patience: AWAY,
            answered_at: None,
            away: false,
        }
    }

    /// Whether its absence is to be logged, or its return.
    fn tick(&mut self, is_up: bool, now: Instant) -> Option<Option<Duration>> {
        let waited = now.saturating_duration_since(*self.answered_at.get_or_insert(now));
        let (was_away, is_away) = (self.away, waited >= self.patience);
        // Of a region that is down, its own lines say enough.
        if was_away == is_away || (is_away && !is_up) {
            return None;
        }
        self.away = is_away;
        Some(is_away.then_some(waited))
    }
}

impl Votes {
    pub(super) fn new() -> Self {
        Self {
            incarnation: rand::random(),
            sequence: 0,
            keys: None,
            environment: None,
            is_failing: false,
            voters: HashMap::new(),
        }
    }

    /// Accepts votes of the sidecars of this configuration from now on, and of no others. Returns their series.
    pub(super) fn reconfigure(&mut self, config: &Config, metrics: &Metrics) -> Vec<Arc<VoteSeries>> {
        let secrets = config.votes.iter().flat_map(|votes| &votes.keys).map(Secret::as_bytes).collect::<Vec<_>>();
        // No key at all is not a weak one; the lengths of the others were checked when they were read.
        self.keys = Keys::new(&secrets).ok();
        self.environment.clone_from(&config.environment);
        let mut before = std::mem::take(&mut self.voters);
        let sidecars = config.paths().filter(|(path, _)| path.kind.carries_votes());
        let peers: BTreeMap<Region, Duration> =
            sidecars.map(|(path, probe)| (path.peer, probe.cadence.interval())).collect();
        let mut order = Vec::with_capacity(peers.len());
        for (peer, interval) in peers {
            let mut voter = before.remove(&peer).unwrap_or_else(|| VoterState::new(metrics.votes(&peer)));
            voter.patience = AWAY.max(5 * interval);
            order.push(Arc::clone(&voter.series));
            self.voters.insert(peer, voter);
        }
        order
    }

    /// The series of each peer with a sidecar.
    pub(super) fn series(&self) -> HashMap<Region, Arc<VoteSeries>> {
        self.voters.iter().map(|(peer, voter)| (peer.clone(), Arc::clone(&voter.series))).collect()
    }

    /// What is wrong with the votes of a peer, if that lasts.
    pub(super) fn problem(&self, peer: &Region) -> Option<VoteProblem> {
        self.voters.get(peer)?.log.lasting()
    }

    /// The sidecars that have stopped to answer or answer again, among those of peers that are up.
    pub(super) fn tick(&mut self, is_up: impl Fn(&Region) -> bool, now: Instant) -> Vec<StateChange> {
        let voters = self.voters.iter_mut();
        let changes = voters.filter_map(|(peer, voter)| {
            let away = voter.tick(is_up(peer), now)?;
            Some(StateChange::Sidecar { peer: peer.clone(), away })
        });
        changes.collect()
    }

    /// The message in a response; `None` if it is rejected, or that of a peer without a sidecar. And what is worth a line
    /// in the log.
    pub(super) fn on_response(&mut self, response: &VoteResponse) -> (Option<VoteMessage>, Option<StateChange>) {
        let Some(voter) = self.voters.get_mut(&response.peer) else { return (None, None) };
        voter.answered_at = voter.answered_at.max(Some(response.requested_at));
        let result = verify(response, self.keys.as_ref()).and_then(|message| {
            let missing = check_environment(self.environment.as_ref(), message.environment())?;
            voter.sequence.accept(&message)?;
            Ok((message, missing))
        });
        let peer = response.peer.clone();
        let problem = match &result {
            Ok((_, missing)) => missing.map(VoteProblem::EnvironmentMissing),
            Err(reason) => Some(VoteProblem::Rejected(*reason)),
        };
        match &problem {
            Some(VoteProblem::EnvironmentMissing(_)) => voter.series.count_environment_missing(),
            _ => voter.series.count(&result),
        }
        if let Err(reason) = &result {
            debug!(%peer, result = reason.as_str(), "vote message rejected");
        }
        let has_key = self.keys.is_some();
        let change = voter.log.should_log(problem).then_some(StateChange::Votes { peer, problem, has_key });
        (result.ok().map(|(message, _)| message), change)
    }

    /// Compares the clock of a peer with the own one, by a message that was accepted. Returns how many milliseconds it is ahead.
    pub(super) fn compare_clocks(&mut self, message: &VoteMessage, response: &VoteResponse, now: Now) -> Option<i64> {
        let (voter, time) = self.voters.get_mut(&response.peer).zip(message.time())?;
        voter.clock.on_message(time, response.requested_at, response.received_at, now);
        let seconds = voter.clock.seconds(now.instant)?;
        Some((seconds * 1e3) as i64)
    }

    /// Shows how far the clocks of the peers are from the own one.
    pub(super) fn show_clocks(&self, now: Instant) {
        self.voters.values().for_each(|voter| voter.series.set_clock_offset(voter.clock.seconds(now)));
    }

    /// The next message of this vantage, encoded, and what signs it; `None` if it is too large.
    pub(super) fn next_message(
        &mut self,
        vantage: &Vantage,
        public_key: Option<PublicKey>,
        orders: &HashMap<Region, OrderSignature>,
        now: Now,
    ) -> Option<(Bytes, Option<Keys>)> {
        self.sequence += 1;
        let message = vantage.vote_message((self.incarnation, self.sequence), now);
        let order = |peer: &Region| orders.get(peer).map(|signed| (signed.at, signed.signature));
        let result = message.and_then(|message| {
            let message = message.with_environment(self.environment.clone()).with_public_key(public_key);
            message.with_orders(order).encode()
        });
        // Logged once: anyone may request it, as often as they like.
        let was_failing = std::mem::replace(&mut self.is_failing, result.is_err());
        if let Some(invalid) = result.as_ref().err().filter(|_| !was_failing) {
            error!("this vantage's vote message {invalid}");
        }
        Some((result.ok()?, self.keys.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decision::votes::MissingEnvironment,
        metrics::{Collect, Exposed},
        model::{Nonce, UnixMillis},
    };

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    const SECRET: &str = "a secret of all regions";

    struct Fixture {
        votes: Votes,
        metrics: Arc<Metrics>,
    }

    fn votes() -> Fixture {
        Fixture { votes: Votes::new(), metrics: Arc::new(Metrics::new(&region("here"), &[0.1])) }
    }

    fn environment(name: &str) -> Option<LabelValue> {
        LabelValue::new(name).ok()
    }

    /// Peers of these names, each with a sidecar, and one without.
    fn config(peers: &[&str]) -> Config {
        let peer = |name: &str, sidecar: bool| {
            format!(
                "- region: {name}\n  targets: [{{probes: [{{kind: http, url: 'http://127.0.0.1/', sidecar: {sidecar}}}]}}]\n"
            )
        };
        let peers: String = peers.iter().map(|name| peer(name, true)).collect();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("votes.key"), SECRET).unwrap();
        let text = format!("region: here\nvotes: {{key_file: votes.key}}\npeers:\n{peers}{}", peer("mute", false));
        let file = folder.path().join("c.yaml");
        Config::load(Some((&file, &text)), []).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
    }

    fn reply(peer: &str, keys: &Keys, sequence: u64) -> VoteResponse {
        reply_from(peer, keys, (1, sequence), None)
    }

    fn reply_from(peer: &str, keys: &Keys, id: (u64, u64), environment: Option<LabelValue>) -> VoteResponse {
        let message = VoteMessage::new(region(peer), id, false, Vec::new(), Vec::new()).unwrap();
        let body = message.with_environment(environment).encode().unwrap();
        let nonce = Nonce(7);
        VoteResponse {
            peer: region(peer),
            nonce,
            signature: Some(keys.sign(nonce, &body).into()),
            body: Some(body),
            trusted_transport: false,
            requested_at: Instant::now(),
            received_at: Instant::now(),
        }
    }

    fn accept_votes_of(fixture: &mut Fixture, peers: &[&str]) {
        let series = fixture.votes.reconfigure(&config(peers), &fixture.metrics).into();
        fixture.metrics.expose(Exposed { votes: series, ..Exposed::default() });
    }

    fn accepts(fixture: &mut Fixture, response: &VoteResponse) -> bool {
        fixture.votes.on_response(response).0.is_some()
    }

    fn count(fixture: &Fixture, peer: &str, result: &str) -> Option<u64> {
        let (mut page, mut text) = (fixture.metrics.page(Collect::All), Vec::new());
        while page.next(&mut text) {}
        let name = "regionwatch_votes_received_total";
        let series = format!("{name}{{vantage_region=\"here\",peer_region=\"{peer}\",result=\"{result}\"}} ");
        String::from_utf8(text).unwrap().lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    #[test]
    fn accepted_and_rejected_messages_are_counted_per_peer() {
        let keys = Keys::new(&[SECRET]).unwrap();
        let mut votes = votes();
        accept_votes_of(&mut votes, &["a", "b"]);
        assert_eq!(count(&votes, "a", "accepted"), Some(0));
        assert_eq!(count(&votes, "mute", "accepted"), None, "it has no sidecar");
        assert!(accepts(&mut votes, &reply("a", &keys, 5)));
        assert!(!accepts(&mut votes, &reply("a", &keys, 4)));
        assert!(accepts(&mut votes, &reply("b", &keys, 4)), "each peer counts for itself");
        assert!(!accepts(&mut votes, &reply("b", &Keys::new(&["another secret, of others"]).unwrap(), 5)));
        for (peer, result) in [("a", "accepted"), ("a", "replayed"), ("b", "accepted"), ("b", "forged")] {
            assert_eq!(count(&votes, peer, result), Some(1), "{peer} {result}");
        }
        assert!(!accepts(&mut votes, &reply("stranger", &keys, 1)));
    }

    #[test]
    fn votes_of_another_environment_are_rejected_and_do_not_disturb_the_own_sequence() {
        let keys = Keys::new(&[SECRET]).unwrap();
        let mut votes = votes();
        let configured = Config { environment: environment("prod"), ..config(&["a"]) };
        let series = votes.votes.reconfigure(&configured, &votes.metrics).into();
        votes.metrics.expose(Exposed { votes: series, ..Exposed::default() });
        let mut accepts = |id, name| accepts(&mut votes, &reply_from("a", &keys, id, environment(name)));
        assert!(accepts((1, 5), "prod"));
        assert!(!accepts((2, 9), "staging"));
        assert!(!accepts((1, 4), "prod"), "still the old sequence");
        assert!(accepts((1, 6), ""), "a rollout is under way");
        for (result, times) in [("accepted", 1), ("environment", 1), ("replayed", 1), ("environment_missing", 1)] {
            assert_eq!(count(&votes, "a", result), Some(times), "{result}");
        }
    }

    #[test]
    fn a_missing_environment_is_logged_once_per_peer_and_not_per_vote() {
        let keys = Keys::new(&[SECRET]).unwrap();
        for (ours, theirs, missing) in [("prod", "", MissingEnvironment::There), ("", "prod", MissingEnvironment::Here)]
        {
            let mut votes = votes();
            let configured = Config { environment: environment(ours), ..config(&["a", "b"]) };
            votes.votes.reconfigure(&configured, &votes.metrics);
            let mut logged = Vec::new();
            for sequence in 0..50 {
                for peer in ["a", "b"] {
                    let (message, change) =
                        votes.votes.on_response(&reply_from(peer, &keys, (1, sequence), environment(theirs)));
                    assert!(message.is_some(), "accepted");
                    logged.extend(change);
                }
            }
            let change = |peer: &str| StateChange::Votes {
                peer: region(peer),
                problem: Some(VoteProblem::EnvironmentMissing(missing)),
                has_key: true,
            };
            assert_eq!(logged, [change("a"), change("b")]);
        }
    }

    #[test]
    fn the_own_message_names_the_environment() {
        let now = Now { instant: Instant::now(), unix: UnixMillis(0) };
        let vantage = Vantage::new(region("here"), now.instant);
        let mut votes = votes();
        let mut named = |name: &str| {
            let configured = Config { environment: environment(name), ..config(&[]) };
            votes.votes.reconfigure(&configured, &votes.metrics);
            let (bytes, _) = votes.votes.next_message(&vantage, None, &HashMap::new(), now).unwrap();
            VoteMessage::decode(&bytes).unwrap().environment().cloned()
        };
        assert_eq!((named(""), named("prod")), (None, environment("prod")));
    }

    #[test]
    fn a_reload_forgets_removed_voters_only() {
        let keys = Keys::new(&[SECRET]).unwrap();
        let mut votes = votes();
        accept_votes_of(&mut votes, &["a", "b"]);
        for peer in ["a", "b"] {
            accepts(&mut votes, &reply(peer, &keys, 5));
        }
        accept_votes_of(&mut votes, &["a", "c"]);
        assert_eq!(count(&votes, "a", "accepted"), Some(1));
        assert_eq!((count(&votes, "b", "accepted"), count(&votes, "c", "accepted")), (None, Some(0)));
        assert!(!accepts(&mut votes, &reply("b", &keys, 6)));
        assert!(!accepts(&mut votes, &reply("a", &keys, 4)), "its sequence went on");
    }

    #[test]
    fn the_sequence_increases_and_each_start_has_its_own_incarnation() {
        let now = Now { instant: Instant::now(), unix: UnixMillis(0) };
        let vantage = Vantage::new(region("here"), now.instant);
        let none = HashMap::new();
        let message = |votes: &mut Votes| {
            VoteMessage::decode(&votes.next_message(&vantage, None, &none, now).unwrap().0).unwrap()
        };
        let (mut one, mut other) = (Votes::new(), Votes::new());
        let (first, second) = (message(&mut one), message(&mut one));
        assert_eq!((first.incarnation(), first.sequence() + 1), (second.incarnation(), second.sequence()));
        assert_ne!(message(&mut other).incarnation(), first.incarnation());
    }

    #[test]
    fn a_sidecar_that_does_not_answer_is_logged_once_unless_its_region_is_down() {
        let keys = Keys::new(&[SECRET]).unwrap();
        let mut votes = votes();
        accept_votes_of(&mut votes, &["a"]);
        let start = Instant::now();
        let after = |votes: &mut Fixture, seconds: u64, is_up: bool| {
            let changes = votes.votes.tick(|_| is_up, start + Duration::from_secs(seconds));
            let away = changes.iter().map(|change| match change {
                StateChange::Sidecar { peer, away } if *peer == region("a") => away.map(|away| away.as_secs()),
                other => panic!("{other:?}"),
            });
            away.collect::<Vec<_>>()
        };
        assert_eq!(after(&mut votes, 0, true), []);
        assert_eq!(after(&mut votes, 9, true), []);
        assert_eq!(after(&mut votes, 11, false), [], "its region is down");
        assert_eq!(after(&mut votes, 12, true), [Some(12)]);
        assert_eq!(after(&mut votes, 13, true), [], "once");
        // Whatever it says, it answers.
        let later = VoteResponse { requested_at: start + Duration::from_secs(14), ..reply("a", &keys, 1) };
        accepts(&mut votes, &later);
        assert_eq!(after(&mut votes, 15, true), [None]);
        assert_eq!(after(&mut votes, 16, true), []);
    }
}
