//! A decision about one peer, laid open: taken from the same values and by the same functions that decide.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Failing, IsolationReason, OpenIncident, QualitySample, Rule, SeenPath, Verdict,
    execution::Gate,
    votes::{Ballot, PeerVote, VoteSet, VoteTable},
};
use crate::model::{Blocked, PeerState, Region, Tally, Vote};

/// Why a peer is in its state, and what would change it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The peer.
    pub region: Region,
    /// Its state.
    pub state: PeerState,
    /// Since when.
    pub since: Instant,
    /// The rule that led to it.
    pub rule: Rule,
    /// Why this vantage is isolated, if it is.
    pub isolation: Option<IsolationReason>,
    /// That the peer seems to be dead now.
    pub failing: Option<Failing>,
    /// How well it has answered in the last minute, and its usual 95th percentile.
    pub quality: Option<(QualitySample, Option<Duration>)>,
    /// What was seen of each path.
    pub paths: Vec<SeenPath>,
    /// The vote of this vantage.
    pub own: Vote,
    /// What the last vote of each other vantage counts as.
    pub ballots: Vec<(Region, Ballot)>,
    /// The count.
    pub tally: Tally,
    /// What one more vote would change, if it came now.
    pub next_votes: Vec<NextVote>,
    /// Its open incident, and what keeps it from being failed over.
    pub incident: Option<(OpenIncident, Gates)>,
}

/// What one more vote would lead to.
#[derive(Debug, Clone, PartialEq)]
pub struct NextVote {
    /// The vote.
    pub vote: Vote,
    /// Vantages of which one would have to send it.
    pub by: Vec<Region>,
    /// The state of the peer then.
    pub state: PeerState,
    /// The count then.
    pub tally: Tally,
}

/// What an order to fail over has to pass.
#[derive(Debug, Clone)]
pub struct Gates {
    /// What prevents it now.
    pub blocked: Option<Blocked>,
    /// The target on which the vantages agree.
    pub target: Option<Region>,
    /// Whether all vantages propose that target.
    pub settled: bool,
}

impl From<Gate> for Gates {
    fn from(gate: Gate) -> Self {
        Self { blocked: gate.blocked, target: gate.target, settled: gate.settled }
    }
}

/// What one more vote would change. Each is cast in a copy of the votes, and a copy of the verdict decides on it.
pub(super) fn next_votes(
    region: &Region,
    verdict: &Verdict,
    votes: &VoteTable,
    (own, isolated): (Vote, bool),
    now: Instant,
) -> Vec<NextVote> {
    let silence = verdict.failing().map(|failing| (failing.onset, failing.decisive));
    let (votes, count) = (votes.about(region), |votes: &VoteTable| votes.count(region, own, silence, now));
    let before = count(&votes);
    let mut found: Vec<NextVote> = Vec::new();
    for (voter, ballot) in votes.ballots(region, silence, now) {
        for vote in [Vote::Down, Vote::Up].into_iter().filter(|vote| ballot != Ballot::Counts(*vote)) {
            let mut cast = votes.about(region);
            let peers = [(region.clone(), PeerVote::plain(vote, Some(now)))].into();
            cast.record(voter, now, VoteSet { peers, ..VoteSet::default() });
            let (tally, mut verdict) = (count(&cast), verdict.clone());
            while verdict.step(&tally, isolated, now).is_some() {}
            let changes = (tally.reached, tally.contradicted) != (before.reached, before.contradicted);
            let state = verdict.state();
            match found.iter_mut().find(|known| (known.vote, known.state, known.tally) == (vote, state, tally)) {
                Some(known) => known.by.push(voter.clone()),
                None if changes => found.push(NextVote { vote, by: vec![voter.clone()], state, tally }),
                None => {}
            }
        }
    }
    found
}
