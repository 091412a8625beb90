//! Probes beside their slots: a burst to a peer that has just fallen quiet, and questions for votes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Vantage, incidents::Open};
use crate::model::{PathId, PeerState, Region};

/// How many extra probes are sent once a peer falls quiet, and how far apart.
pub(super) const BURST: u32 = 3;
const BURST_STEP: Duration = Duration::from_millis(50);

/// How often the other vantages are asked while a peer is suspected.
const ASK_STEP: Duration = Duration::from_millis(100);

/// How long a vote counts at the most, however seldom its vantage is probed; and how old votes may become while a second
/// stage is waited for until they are asked for.
pub(super) const FRESH: Duration = Duration::from_secs(5);
const STALE: Duration = Duration::from_secs(2);

impl Vantage {
    /// Asks the other vantages for their votes, and again in a moment, for as long as somebody is suspected.
    pub(super) fn ask(&mut self, now: Instant) {
        let suspects: Vec<_> =
            self.desks.iter().filter(|desk| desk.verdict.state() == PeerState::Suspect).map(|d| &d.region).collect();
        self.next_ask = (!suspects.is_empty()).then_some(now + ASK_STEP);
        if !suspects.is_empty() {
            let asked = self.asks.iter().filter(|(region, _)| !suspects.contains(region)).map(|(_, path)| *path);
            self.orders.extend(asked);
        }
    }

    /// Asks those who have not said anything lately, while a second stage is waited for: it must not come about by votes
    /// that are older than what they are about.
    pub(super) fn keep_fresh(&mut self, now: Instant) {
        if self.desks.iter().any(|desk| desk.incident.as_ref().is_some_and(Open::is_held)) {
            let stale = |region: &Region| self.ballots.age(region, now).is_some_and(|age| age >= STALE);
            let asked = self.asks.iter().filter(|(region, _)| stale(region)).map(|(_, path)| *path);
            self.orders.extend(asked);
        }
    }

    pub(super) fn send_burst(&mut self, n: usize, now: Instant) {
        let desk = &mut self.desks[n];
        let Some((left, _)) = desk.burst.filter(|(_, at)| *at <= now) else { return };
        let first = left == BURST;
        let lanes = desk.verdict.evidence.lanes();
        let wanted = lanes.filter(|lane| first || lane.kind.is_fast());
        self.orders.extend(wanted.map(|lane| lane.path));
        desk.burst = (left > 1).then_some((left - 1, now + BURST_STEP));
    }

    /// The paths to be probed now, beside their slots.
    pub fn take_orders(&mut self) -> Vec<PathId> {
        std::mem::take(&mut self.orders)
    }
}
