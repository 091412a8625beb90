//! Counting votes. No consensus protocol: a vote is an observation, each vantage counts what it has received by the same
//! rule, and what follows is idempotent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::model::{Candidate, DatabaseLoss, FailoverMode, Region, Tally, TargetName, UnixMillis, Vote};

/// The vote of one vantage on one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerVote {
    /// Its vote.
    pub vote: Vote,
    /// When, by our clock and at the latest that can be proved, it sent a probe that the peer answered.
    pub good_at: Option<Instant>,
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
}

impl PeerVote {
    /// A vote without an incident.
    pub const fn plain(vote: Vote, good_at: Option<Instant>) -> Self {
        Self { vote, good_at, incident: None, held: false, mode: None, target: None, failed_over: None }
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
    /// Undecided: its up vote rests on a probe that was sent before the decisive one here.
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

    /// What the configurations of the other vantages allow for a peer, as they said in the last time of this length.
    pub fn modes<'a>(
        &'a self,
        peer: &'a Region,
        now: Instant,
        age: Duration,
    ) -> impl Iterator<Item = FailoverMode> + 'a {
        let last = self.voters.iter().filter(move |(region, _)| *region != peer);
        let last = last.filter_map(|(_, voter)| voter.last.as_ref());
        last.filter(move |(at, _)| now.saturating_duration_since(*at) <= age)
            .filter_map(move |(_, set)| set.peers.get(peer)?.mode)
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

    /// What each other vantage says that a failover of a database would lose.
    pub fn losses<'a>(&'a self, database: &'a TargetName, now: Instant) -> impl Iterator<Item = &'a DatabaseLoss> {
        let fresh = self.voters.values().filter(move |voter| voter.is_fresh(now));
        let sets = fresh.filter_map(|voter| Some(&voter.last.as_ref()?.1)).filter(|set| !set.isolated);
        sets.filter_map(move |set| set.databases.iter().find(|loss| loss.database == *database))
    }

    /// Whether the votes of a vantage count.
    pub fn knows(&self, vantage: &Region) -> bool {
        self.voters.contains_key(vantage)
    }

    /// Whether every vantage that may vote was heard at least once.
    pub fn all_heard(&self) -> bool {
        self.voters.values().all(|voter| voter.last.is_some())
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

    /// Counts the votes on a peer, with our own. `silence` is when the first probe was sent that had no answer and when
    /// the decisive one was. An *up* vote contradicts only if its successful probe was sent after `decisive`. A *down* vote
    /// agrees only if it was requested after `onset`. All other votes are undecided.
    ///
    /// Two thirds of the voters must say down, two at the least. Those who know must also be more than half of all
    /// vantages, the peer among them: of two parts of a network that is cut in two, at most one side may declare the other down.
    /// Not of those that could vote, which are others for each peer: of two halves, each would have a majority on every
    /// peer in the other.
    pub fn count(&self, peer: &Region, own: Vote, silence: Option<(Instant, Instant)>, now: Instant) -> Tally {
        let mut tally = Tally::default();
        for (_, ballot) in self.ballots(peer, silence, now).chain([(peer, Ballot::Counts(own))]) {
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
        silence: Option<(Instant, Instant)>,
        now: Instant,
    ) -> impl Iterator<Item = (&'a Region, Ballot)> {
        self.voters.iter().filter(move |(region, _)| *region != peer).map(move |(region, voter)| {
            let Some((asked_at, set)) = &voter.last else { return (region, Ballot::Missing) };
            let view = set.peers.get(peer);
            let ballot = match (view.map(|view| view.vote), silence) {
                _ if !voter.is_fresh(now) => Ballot::Expired,
                _ if set.isolated => Ballot::Isolated,
                (None, _) => Ballot::NoOpinion,
                (Some(Vote::Down), Some((onset, _))) if *asked_at < onset => Ballot::BeforeOnset,
                (Some(Vote::Up), Some((_, decisive))) if view.and_then(|view| view.good_at) <= Some(decisive) => {
                    Ballot::BeforeDecisive
                }
                (Some(vote), _) => Ballot::Counts(vote),
            };
            (region, ballot)
        })
    }

    /// A copy of what is known of one peer.
    pub fn about(&self, peer: &Region) -> Self {
        let only = |set: &VoteSet| VoteSet {
            isolated: set.isolated,
            peers: set
                .peers
                .get_key_value(peer)
                .map(|(region, vote)| (region.clone(), vote.clone()))
                .into_iter()
                .collect(),
            ..VoteSet::default()
        };
        let copy = |voter: &Voter| Voter {
            fresh_for: voter.fresh_for,
            last: voter.last.as_ref().map(|(at, set)| (*at, only(set))),
        };
        Self { voters: self.voters.iter().map(|(region, voter)| (region.clone(), copy(voter))).collect() }
    }
}

#[cfg(test)]
mod tests;
