//! A decision about one peer, laid open: taken from the same values and by the same functions that decide.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Failing, IsolationReason, OpenIncident, OperatorOrder, QualitySample, Rule, SeenPath, Verdict,
    execution::Gate,
    votes::{Ballot, PeerVote, VoteTable},
};
use crate::{
    model::{Blocked, FailoverMode, PeerState, Region, Tally, Vote},
    signing::Command,
};

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
    /// What an operator has stated of it.
    pub stated: Option<Command>,
    /// What an operator has ordered of it, and what this vantage makes of that.
    pub operator_order: Option<OperatorOrder>,
    /// Where it comes from that it may not be failed over.
    pub restrictions: Vec<Restriction>,
    /// The regions that were failed over and are not released: each holds a slot.
    pub failed_over: Vec<Region>,
}

/// Where it comes from that a region may not be failed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restriction {
    /// An operator has commanded it.
    Command(Command),
    /// The configuration of a vantage says so.
    File {
        /// The vantage.
        vantage: Region,
        /// What it says.
        mode: FailoverMode,
    },
}

/// What holds for a region on the subject of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// The region.
    pub region: Region,
    /// What operators have stated on the subject, if anything holds.
    pub newest: Option<Command>,
    /// Where it comes from that the region may not be failed over, for whatever reason.
    pub restrictions: Vec<Restriction>,
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

/// What one more vote would change: each takes the place of the one before in the count, and a copy of the verdict decides on it.
pub(super) fn next_votes(
    region: &Region,
    verdict: &Verdict,
    votes: &VoteTable,
    (own, isolated): (Vote, bool),
    now: Instant,
) -> Vec<NextVote> {
    let failing = verdict.failing();
    let mut ballots: Vec<_> = votes.ballots(region, failing, now).collect();
    let count = |ballots: &[(&Region, Ballot)]| votes.count_ballots(own, ballots.iter().map(|(_, ballot)| *ballot));
    let before = count(&ballots);
    let mut found: Vec<NextVote> = Vec::new();
    for n in 0..ballots.len() {
        let (voter, ballot) = ballots[n];
        for vote in [Vote::Down, Vote::Up].into_iter().filter(|vote| ballot != Ballot::Counts(*vote)) {
            ballots[n].1 = PeerVote::plain(vote, Some(now)).counts_as(failing, now);
            let tally = count(&ballots);
            if let Some(known) = found.iter_mut().find(|known| (known.vote, known.tally) == (vote, tally)) {
                known.by.push(voter.clone());
            } else if (tally.reached, tally.contradicted) != (before.reached, before.contradicted) {
                let mut verdict = verdict.clone();
                while verdict.step(&tally, isolated, now).is_some() {}
                found.push(NextVote { vote, by: vec![voter.clone()], state: verdict.state(), tally });
            }
        }
        ballots[n].1 = ballot;
    }
    found
}
