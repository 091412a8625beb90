//! Counting votes. No consensus protocol: a vote is an observation, each vantage counts what it has received by the same
//! rule, and what follows is idempotent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    decision::Failing,
    model::{Candidate, Cause, DatabaseLoss, FailoverMode, Region, Tally, TargetName, UnixMillis, Vote},
};

/// How old may be the success that shows a region to be of use.
const SERVED: Duration = Duration::from_secs(10);

/// How old may be the measured offset of a clock.
const CLOCK_AGE: Duration = Duration::from_secs(60);

/// The vote of one vantage on one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerVote {
    /// Its vote.
    pub vote: Vote,
    /// When, by our clock and at the latest that can be proved, it sent a probe that the peer answered.
    pub good_at: Option<Instant>,
    /// The same for any sign of life, such as a refusal.
    pub alive_at: Option<Instant>,
    /// Since when all critical probes of the peer have failed for it, while the network answers.
    pub unserved_since: Option<Instant>,
    /// The incident that it has open for the peer.
    pub incident: Option<(UnixMillis, Arc<str>)>,
    /// Whether it holds the peer down now.
    pub held: bool,
    /// What its configuration allows for the peer; `None` from vantages before 0.3.
    pub mode: Option<FailoverMode>,
    /// The target that it proposes for the peer, if it may fail it over; and which vantage has proposed that first.
    pub target: Option<(Region, Region)>,
    /// The failover of the peer that it knows of.
    pub failed_over: Option<FailedOver>,
    /// Whether it orders the failover of the peer now, as an operator has commanded.
    pub operator_order: bool,
}

impl PeerVote {
    /// A vote without an incident.
    pub const fn plain(vote: Vote, good_at: Option<Instant>) -> Self {
        Self {
            vote,
            good_at,
            alive_at: good_at,
            unserved_since: None,
            incident: None,
            held: false,
            mode: None,
            target: None,
            failed_over: None,
            operator_order: false,
        }
    }

    /// What it counts as, if it was requested at this time; `failing` says that the peer is failing here.
    pub fn counts_as(&self, failing: Option<Failing>, asked_at: Instant) -> Ballot {
        let Some(failing) = failing else { return Ballot::Counts(self.vote) };
        let proof = match failing.cause {
            Cause::Silence => self.alive_at.max(self.good_at),
            Cause::Service => self.good_at,
        };
        match self.vote {
            Vote::Down if asked_at < failing.onset => Ballot::BeforeOnset,
            Vote::Up if proof <= Some(failing.decisive) => Ballot::BeforeDecisive,
            vote => Ballot::Counts(vote),
        }
    }
}

/// A failover that was ordered, of a region that is not released yet.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedOver {
    /// Its incident.
    pub id: Arc<str>,
    /// The onset of the incident.
    pub onset: UnixMillis,
    /// The region that takes over.
    pub target: Region,
    /// When it was ordered first, by our clock.
    pub at: Instant,
}

/// The votes of one vantage.
#[derive(Debug, Clone, Default)]
pub struct VoteSet {
    /// It is isolated.
    pub isolated: bool,
    /// About each peer.
    pub peers: HashMap<Region, PeerVote>,
    /// Who could take over for the vantage's own region.
    pub ranking: Vec<Candidate>,
    /// What a failover of each database would lose.
    pub databases: Vec<DatabaseLoss>,
    /// The signed statements of operators that it knows.
    pub statements: Vec<Arc<str>>,
    /// How far its clock is ahead of the own one, in milliseconds; `None` if that is unknown.
    pub clock_offset_ms: Option<i64>,
}

/// The last vote of one vantage on one peer; for people.
#[derive(Debug, Clone, PartialEq)]
pub struct VoteStatus {
    /// The vantage.
    pub by: Region,
    /// Its vote; `None` if it has none on this peer, or was never received.
    pub vote: Option<Vote>,
    /// How long ago it was requested; `None` if it was never received.
    pub age: Option<Duration>,
    /// Whether it is young enough to count.
    pub fresh: bool,
    /// Whether it is isolated, so that its votes do not count.
    pub isolated: bool,
}

/// What a vote counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ballot {
    /// This vote.
    Counts(Vote),
    /// Nothing: its vantage is isolated.
    Isolated,
    /// Nothing: its vantage does not know the peer.
    NoOpinion,
    /// Undecided: its down vote was requested before the onset of the outage.
    BeforeOnset,
    /// Undecided: what its up vote rests on was sent before the decisive probe here. Against a dead service, that is the last
    /// answer of the service.
    BeforeDecisive,
    /// Nothing: it is too old.
    Expired,
    /// Nothing: it was never received.
    Missing,
}

#[derive(Debug)]
struct Voter {
    fresh_for: Duration,
    last: Option<(Instant, VoteSet)>,
}

impl Voter {
    fn was_heard_since(&self, since: Instant) -> bool {
        self.last.as_ref().is_some_and(|(at, _)| *at >= since)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.last.as_ref().is_some_and(|(at, _)| now.saturating_duration_since(*at) <= self.fresh_for)
    }
}

/// The newest votes of every vantage that may vote.
#[derive(Debug, Default)]
pub struct VoteTable {
    voters: BTreeMap<Region, Voter>,
}

impl VoteTable {
    /// These vantages vote from now on, beside ourselves, and no others; what each says is fresh for so long.
    pub fn set_voters(&mut self, voters: impl IntoIterator<Item = (Region, Duration)>) {
        let mut before = std::mem::take(&mut self.voters);
        for (region, fresh_for) in voters {
            let last = before.remove(&region).and_then(|voter| voter.last);
            self.voters.insert(region, Voter { fresh_for, last });
        }
    }

    /// Records the votes of a vantage, requested at `at`. A vantage that may not vote is ignored.
    pub fn record(&mut self, from: &Region, at: Instant, set: VoteSet) {
        if let Some(voter) = self.voters.get_mut(from) {
            voter.last = Some((at, set));
        }
    }

    /// How old the votes of a vantage are, if it has ever said anything.
    pub fn age(&self, of: &Region, now: Instant) -> Option<Duration> {
        let (at, _) = self.voters.get(of)?.last.as_ref()?;
        Some(now.saturating_duration_since(*at))
    }

    /// The last ranking of each vantage, and when it was requested.
    pub fn last_rankings(&self) -> impl Iterator<Item = (&Region, Instant, &[Candidate])> {
        let last = self.voters.iter().filter_map(|(region, voter)| Some((region, voter.last.as_ref()?)));
        last.map(|(region, (at, votes))| (region, *at, &*votes.ranking))
    }

    /// The fresh votes on a peer; it does not vote on itself.
    pub fn fresh_votes<'a>(&'a self, peer: &'a Region, now: Instant) -> impl Iterator<Item = &'a PeerVote> {
        let set = self.fresh(peer, now).map(|(_, set)| set);
        set.filter(|set| !set.isolated).filter_map(|set| set.peers.get(peer))
    }

    /// Whether other vantages that are credible report that the services of a region began to fail at a time that is near. One of
    /// four or more may lie.
    pub fn report_unserved(
        &self,
        region: &Region,
        is_credible: impl Fn(&Region) -> bool,
        is_near: impl Fn(Instant) -> bool,
        now: Instant,
    ) -> bool {
        let voters = self.voters.iter().filter(|(by, voter)| *by != region && voter.is_fresh(now) && is_credible(by));
        let sets = voters.filter_map(|(_, voter)| Some(&voter.last.as_ref()?.1)).filter(|set| !set.isolated);
        let reports = sets.filter_map(|set| set.peers.get(region)?.unserved_since).filter(|since| is_near(*since));
        reports.count() >= if self.voters.len() >= 3 { 2 } else { 1 }
    }

    /// What the configurations of the other vantages allow for a region, as they said in the last time of this length.
    pub fn modes<'a>(
        &'a self,
        peer: &'a Region,
        now: Instant,
        age: Duration,
    ) -> impl Iterator<Item = (&'a Region, FailoverMode)> + 'a {
        let last = self.voters.iter().filter(move |(region, _)| *region != peer);
        let last = last.filter_map(|(region, voter)| Some((region, voter.last.as_ref()?)));
        last.filter(move |(_, (at, _))| now.saturating_duration_since(*at) <= age)
            .filter_map(move |(region, (_, set))| Some((region, set.peers.get(peer)?.mode?)))
    }

    /// The targets that other vantages propose for a peer that they hold down, each with the vantage that has proposed it
    /// first. What vantages say of others comes before what they say themselves.
    pub fn proposals<'a>(
        &'a self,
        peer: &'a Region,
        now: Instant,
    ) -> impl Iterator<Item = (&'a Region, &'a Region)> + 'a {
        [false, true].into_iter().flat_map(move |direct| {
            let voters = self.voters.iter().filter(move |(region, voter)| *region != peer && voter.is_fresh(now));
            voters.filter_map(move |(region, voter)| {
                let (_, set) = voter.last.as_ref()?;
                let vote = set.peers.get(peer).filter(|vote| vote.held && !set.isolated)?;
                let (target, by) = vote.target.as_ref()?;
                (direct == (by == region) && target != peer && by != peer).then_some((by, target))
            })
        })
    }

    /// The failover of a peer that each of the other vantages knows, by its name.
    pub fn failovers_of(&self, peer: &Region, now: Instant) -> impl Iterator<Item = &FailedOver> {
        let voters = self.voters.iter().filter(move |(_, voter)| voter.is_fresh(now));
        voters.filter_map(|(_, voter)| voter.last.as_ref()?.1.peers.get(peer)?.failed_over.as_ref())
    }

    /// The regions that other vantages know to be failed over.
    pub fn failed_over(&self, now: Instant) -> impl Iterator<Item = &Region> {
        let fresh = self.voters.values().filter(move |voter| voter.is_fresh(now));
        let votes = fresh.filter_map(|voter| Some(&voter.last.as_ref()?.1)).flat_map(|set| &set.peers);
        votes.filter(|(_, vote)| vote.failed_over.is_some()).map(|(region, _)| region)
    }

    /// The regions that other vantages hold down and are about to fail over, with the onsets; one may come twice.
    pub fn claims(&self, now: Instant) -> impl Iterator<Item = (&Region, UnixMillis)> {
        let fresh = self.voters.values().filter(move |voter| voter.is_fresh(now));
        let sets = fresh.filter_map(|voter| Some(&voter.last.as_ref()?.1)).filter(|set| !set.isolated);
        sets.flat_map(|set| &set.peers).filter_map(|(region, vote)| {
            let claims = vote.held && vote.target.is_some() && vote.failed_over.is_none();
            vote.incident.as_ref().filter(|_| claims).map(|(onset, _)| (region, *onset))
        })
    }

    /// Whether each vantage that may vote knows a statement of an operator now; `None`: it is isolated. One that was not heard
    /// lately knows nothing.
    pub fn know_statement<'a>(
        &'a self,
        text: &'a str,
        now: Instant,
    ) -> impl Iterator<Item = (&'a Region, Option<bool>)> + 'a {
        self.voters.iter().map(move |(region, voter)| {
            let set = voter.last.as_ref().map(|(_, set)| set).filter(|_| voter.is_fresh(now));
            let knows = set.is_some_and(|set| set.statements.iter().any(|known| **known == *text));
            (region, (!set.is_some_and(|set| set.isolated)).then_some(knows))
        })
    }

    /// What each other vantage says that a failover of a database would lose.
    pub fn losses<'a>(&'a self, database: &'a TargetName, now: Instant) -> impl Iterator<Item = &'a DatabaseLoss> {
        let fresh = self.voters.values().filter(move |voter| voter.is_fresh(now));
        let sets = fresh.filter_map(|voter| Some(&voter.last.as_ref()?.1)).filter(|set| !set.isolated);
        sets.filter_map(move |set| set.databases.iter().find(|loss| loss.database == *database))
    }

    /// How far the clocks of the other vantages are ahead, in milliseconds, as was measured of late.
    pub fn clock_offsets(&self, now: Instant) -> impl Iterator<Item = i64> {
        let last = self.voters.values().filter_map(|voter| voter.last.as_ref());
        let is_late = move |at: Instant| now.saturating_duration_since(at) <= CLOCK_AGE;
        last.filter(move |(at, _)| is_late(*at)).filter_map(|(_, set)| set.clock_offset_ms)
    }

    /// Whether the votes of a vantage count.
    pub fn knows(&self, vantage: &Region) -> bool {
        self.voters.contains_key(vantage)
    }

    /// Whether no other vantage may vote.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Whether every vantage that may vote was asked and heard since then.
    pub fn all_heard_since(&self, since: Instant) -> bool {
        self.voters.values().all(|voter| voter.was_heard_since(since))
    }

    /// Whether any vantage that may vote was asked and heard since then.
    pub fn any_heard_since(&self, since: Instant) -> bool {
        self.voters.values().any(|voter| voter.was_heard_since(since))
    }

    /// Whether a region was failed over, as the last words of all vantages say. `outdated_by` leaves out those that are not fresh
    /// then, if one that has an opinion on the region is.
    pub fn was_failed_over(&self, region: &Region, outdated_by: Option<Instant>) -> bool {
        let last = || {
            let voters =
                self.voters.values().filter_map(|voter| Some((voter, voter.last.as_ref()?.1.peers.get(region)?)));
            voters.map(|(voter, vote)| (outdated_by.is_some_and(|now| voter.is_fresh(now)), vote.failed_over.is_some()))
        };
        let any_fresh = last().any(|(fresh, _)| fresh);
        last().any(|(fresh, failed_over)| failed_over && (fresh || !any_fresh))
    }

    /// Forgets what vantages have said of a failover of a region, until they say it again.
    pub fn forget_failover(&mut self, region: &Region) {
        let last = self.voters.values_mut().filter_map(|voter| voter.last.as_mut());
        last.filter_map(|(_, set)| set.peers.get_mut(region)).for_each(|vote| vote.failed_over = None);
    }

    /// Whether other vantages see the services of a region succeed now, and none votes that it is down.
    pub fn report_served(&self, region: &Region, now: Instant) -> bool {
        let mut any = false;
        for vote in self.fresh_votes(region, now) {
            if vote.vote == Vote::Down {
                return false;
            }
            any |= vote.vote == Vote::Up && vote.good_at.is_some_and(|at| now.saturating_duration_since(at) <= SERVED);
        }
        any
    }

    /// The vantages that may vote on a peer and have no fresh vote.
    pub fn unheard<'a>(&'a self, peer: &'a Region, now: Instant) -> impl Iterator<Item = &'a Region> {
        self.voters
            .iter()
            .filter(move |(region, voter)| *region != peer && !voter.is_fresh(now))
            .map(|(region, _)| region)
    }

    /// What each vantage that may vote on a peer has said last, whether it counts or not, by name.
    pub fn last_votes<'a>(&'a self, peer: &'a Region, now: Instant) -> impl Iterator<Item = VoteStatus> + 'a {
        self.voters.iter().filter(move |(region, _)| *region != peer).map(move |(region, voter)| {
            let age = voter.last.as_ref().map(|(at, _)| now.saturating_duration_since(*at));
            let set = voter.last.as_ref().map(|(_, set)| set);
            VoteStatus {
                by: region.clone(),
                vote: set.and_then(|set| Some(set.peers.get(peer)?.vote)),
                age,
                fresh: age.is_some_and(|age| age <= voter.fresh_for),
                isolated: set.is_some_and(|set| set.isolated),
            }
        })
    }

    fn fresh<'a>(&'a self, peer: &'a Region, now: Instant) -> impl Iterator<Item = (Instant, &'a VoteSet)> {
        self.voters.iter().filter(move |(region, _)| *region != peer).filter_map(move |(_, voter)| {
            let (at, set) = voter.last.as_ref()?;
            voter.is_fresh(now).then_some((*at, set))
        })
    }

    /// Counts the votes on a peer, with our own. An *up* vote contradicts only if its successful probe was sent after the
    /// decisive one here. Against silence, any sign of life is a success; against a dead service, only an answer of the
    /// service. A *down* vote agrees only if it was requested after the onset. All other votes are undecided.
    ///
    /// Two thirds of the voters must say down, two at the least. Those who know must also be more than half of all
    /// vantages, the peer among them: of two parts of a network that is cut in two, at most one side may declare the other down.
    /// Not of those that could vote, which are others for each peer: of two halves, each would have a majority on every
    /// peer in the other.
    pub fn count(&self, peer: &Region, own: Vote, failing: Option<Failing>, now: Instant) -> Tally {
        self.count_ballots(own, self.ballots(peer, failing, now).map(|(_, ballot)| ballot))
    }

    /// Counts the ballots of the other vantages, with our own vote, as [`count`](Self::count) does.
    pub fn count_ballots(&self, own: Vote, ballots: impl Iterator<Item = Ballot>) -> Tally {
        let mut tally = Tally::default();
        for ballot in ballots.chain([Ballot::Counts(own)]) {
            match ballot {
                Ballot::Counts(Vote::Down) => tally.down += 1,
                Ballot::Counts(Vote::Up) => tally.up += 1,
                Ballot::Counts(Vote::Abstain) | Ballot::Isolated | Ballot::NoOpinion => tally.abstain += 1,
                Ballot::BeforeOnset | Ballot::BeforeDecisive => tally.voters += 1,
                Ballot::Expired | Ballot::Missing => {}
            }
        }
        let all = 1 + self.voters.len() as u32;
        let know = tally.down + tally.up;
        tally.voters += know;
        tally.needed = (2 * tally.voters).div_ceil(3).max(2);
        tally.reached = tally.down >= tally.needed && 2 * know > all;
        tally.contradicted = tally.up > 0 && tally.voters - tally.up < tally.needed;
        tally
    }

    /// What the last vote of each vantage that may vote on a peer counts as, by [the rules of counting](Self::count).
    pub fn ballots<'a>(
        &'a self,
        peer: &'a Region,
        failing: Option<Failing>,
        now: Instant,
    ) -> impl Iterator<Item = (&'a Region, Ballot)> {
        self.voters.iter().filter(move |(region, _)| *region != peer).map(move |(region, voter)| {
            let Some((asked_at, set)) = &voter.last else { return (region, Ballot::Missing) };
            let view = set.peers.get(peer);
            let ballot = match view {
                _ if !voter.is_fresh(now) => Ballot::Expired,
                _ if set.isolated => Ballot::Isolated,
                None => Ballot::NoOpinion,
                Some(view) => view.counts_as(failing, *asked_at),
            };
            (region, ballot)
        })
    }
}

#[cfg(test)]
mod tests;
