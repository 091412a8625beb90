//! Probes beside the scheduled runs: a burst to a peer that has just fallen silent, and requests for votes.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{incidents::OpenIncident, peer::PeerMonitor, votes::VoteTable};
use crate::model::{PathId, PeerState, Region};

/// How many extra probes are sent once a peer falls silent, and how far apart.
const BURST: u32 = 3;
const BURST_INTERVAL: Duration = Duration::from_millis(50);

/// How often votes are requested while a peer is suspected.
const REQUEST_INTERVAL: Duration = Duration::from_millis(100);

/// How old votes may become while a region is held down by them, until they are requested.
const REFRESH_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct ExtraProbes {
    /// The paths to probe now.
    pub(super) due: Vec<PathId>,
    /// The paths on which each vantage is asked for its votes.
    vote_paths: BTreeMap<Region, PathId>,
    next_request: Option<Instant>,
}

impl ExtraProbes {
    pub(super) fn reconfigure(&mut self, vote_paths: BTreeMap<Region, PathId>) {
        self.vote_paths = vote_paths;
    }

    /// When something is due next, but for bursts.
    pub(super) const fn next_request(&self) -> Option<Instant> {
        self.next_request
    }

    /// A peer is suspected: requests votes as soon as possible.
    pub(super) const fn request_votes_at(&mut self, now: Instant) {
        self.next_request = Some(now);
    }

    /// Requests votes if that is due, and again in a moment, for as long as a peer is suspected.
    pub(super) fn request_votes(&mut self, peers: &[PeerMonitor], now: Instant) {
        if self.next_request.is_none_or(|at| at > now) {
            return;
        }
        let suspects = peers.iter().filter(|peer| peer.verdict.state() == PeerState::Suspect);
        let suspects: Vec<_> = suspects.map(|peer| &peer.region).collect();
        self.next_request = (!suspects.is_empty()).then_some(now + REQUEST_INTERVAL);
        if !suspects.is_empty() {
            let asked = self.vote_paths.iter().filter(|(region, _)| !suspects.contains(region));
            self.due.extend(asked.map(|(_, path)| *path));
        }
    }

    /// Requests votes of those that have not sent any lately, while a region is held down: its second stage must not be
    /// reached by votes that are older than what they are about, nor end because a vote was lost.
    pub(super) fn refresh_votes(&mut self, peers: &[PeerMonitor], votes: &VoteTable, now: Instant) {
        if peers.iter().any(|peer| peer.incident.as_ref().is_some_and(OpenIncident::needs_votes)) {
            let stale = |region: &Region| votes.age(region, now).is_some_and(|age| age >= REFRESH_AFTER);
            let asked = self.vote_paths.iter().filter(|(region, _)| stale(region));
            self.due.extend(asked.map(|(_, path)| *path));
        }
    }

    pub(super) fn start_burst(&mut self, peer: &mut PeerMonitor, now: Instant) {
        peer.burst = Some((BURST, now));
        self.continue_burst(peer, now);
    }

    /// Sends the next probes of a burst if they are due: first on all paths, then on the fast ones.
    pub(super) fn continue_burst(&mut self, peer: &mut PeerMonitor, now: Instant) {
        let Some((left, _)) = peer.burst.filter(|(_, at)| *at <= now) else { return };
        let wanted = peer.verdict.evidence.paths().filter(|info| left == BURST || info.kind.is_fast());
        self.due.extend(wanted.map(|info| info.path));
        peer.burst = (left > 1).then_some((left - 1, now + BURST_INTERVAL));
    }
}
