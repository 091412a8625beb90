//! Probes beside their slots: a burst to a peer that has just fallen quiet, and questions for votes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Vantage, incidents::OpenIncident};
use crate::model::{PathId, PeerState, Region};

/// How many extra probes are sent once a peer falls quiet, and how far apart.
pub(super) const BURST: u32 = 3;
const BURST_INTERVAL: Duration = Duration::from_millis(50);

/// How often the other vantages are asked while a peer is suspected.
const REQUEST_INTERVAL: Duration = Duration::from_millis(100);

/// How long a vote counts at the most, however seldom its vantage is probed; and how old votes may become while a second
/// stage is waited for until they are asked for.
pub(super) const MAX_VOTE_AGE: Duration = Duration::from_secs(5);
const REFRESH_AFTER: Duration = Duration::from_secs(2);

impl Vantage {
    /// Asks the other vantages for their votes, and again in a moment, for as long as somebody is suspected.
    pub(super) fn request_votes(&mut self, now: Instant) {
        let suspects: Vec<_> =
            self.peers.iter().filter(|peer| peer.verdict.state() == PeerState::Suspect).map(|d| &d.region).collect();
        self.next_vote_request = (!suspects.is_empty()).then_some(now + REQUEST_INTERVAL);
        if !suspects.is_empty() {
            let asked = self.vote_paths.iter().filter(|(region, _)| !suspects.contains(region)).map(|(_, path)| *path);
            self.extra_probes.extend(asked);
        }
    }

    /// Asks those who have not said anything lately, while a second stage is waited for: it must not come about by votes
    /// that are older than what they are about.
    pub(super) fn refresh_votes(&mut self, now: Instant) {
        if self.peers.iter().any(|peer| peer.incident.as_ref().is_some_and(OpenIncident::is_held)) {
            let stale = |region: &Region| self.votes.age(region, now).is_some_and(|age| age >= REFRESH_AFTER);
            let asked = self.vote_paths.iter().filter(|(region, _)| stale(region)).map(|(_, path)| *path);
            self.extra_probes.extend(asked);
        }
    }

    pub(super) fn send_burst(&mut self, n: usize, now: Instant) {
        let peer = &mut self.peers[n];
        let Some((left, _)) = peer.burst.filter(|(_, at)| *at <= now) else { return };
        let first = left == BURST;
        let paths = peer.verdict.evidence.paths();
        let wanted = paths.filter(|info| first || info.kind.is_fast());
        self.extra_probes.extend(wanted.map(|info| info.path));
        peer.burst = (left > 1).then_some((left - 1, now + BURST_INTERVAL));
    }

    /// The paths to be probed now, beside their slots.
    pub fn take_extra_probes(&mut self) -> Vec<PathId> {
        std::mem::take(&mut self.extra_probes)
    }
}
