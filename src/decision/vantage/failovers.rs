//! Which regions were failed over and are not released, and what follows for their databases, and which services seem to fail from
//! one cause.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::Vantage;
use crate::{
    decision::{peer::PeerMonitor, votes::VoteSet},
    model::{Ineligible, PeerState, Region, Vote},
};

/// How long a vantage that starts, or was isolated, waits for the votes of all others before it writes to a database: they
/// may know of a failover.
const INFORMED_AFTER: Duration = Duration::from_secs(10);

/// How long it waits for the votes of any other, if the network reaches other regions: votes may be set up wrongly.
const UNINFORMED_AFTER: Duration = Duration::from_secs(60);

/// Services of two regions that begin to fail within this time seem to share the cause.
const COMMON_WITHIN: Duration = Duration::from_secs(60);

impl Vantage {
    /// The regions that were failed over and are not released, as far as any vantage says.
    pub(super) fn failed_over(&self, now: Instant) -> BTreeSet<Region> {
        let own = self.targets.own();
        let own = self.votes.was_failed_over(own, Some(now)).then_some(own);
        self.executions.regions().chain(self.votes.failed_over(now)).chain(own).cloned().collect()
    }

    /// The regions to whose databases nothing may be written; `None`: all of them. A transaction that the new primary does not have
    /// would keep the old one from coming back. An isolated vantage may be on its side of a network that is cut in two, and
    /// one that has heard no other since then does not know what these have ordered; unless the network is well, and only their
    /// votes are missing for long. That its own region was failed over only they know, so their last word counts for as long as
    /// they say nothing else.
    pub fn withheld(&self, now: Instant) -> Option<BTreeSet<Region>> {
        let since = self.connected;
        let waited = now.saturating_duration_since(since);
        let is_alive = |peer: &PeerMonitor| matches!(peer.verdict.state(), PeerState::Healthy | PeerState::Degraded);
        let is_informed = self.votes.all_heard_since(since)
            || (waited >= INFORMED_AFTER && self.votes.any_heard_since(since))
            || (waited >= UNINFORMED_AFTER && self.peers.iter().any(is_alive));
        (is_informed && !self.is_isolated()).then(|| {
            let own = self.targets.own();
            let own = self.votes.was_failed_over(own, None).then(|| own.clone());
            self.failed_over(now).into_iter().chain(own).collect()
        })
    }

    /// Takes the failovers of which another vantage knows.
    pub(super) fn adopt(&mut self, from: &Region, votes: &VoteSet) {
        if !self.votes.knows(from) {
            return;
        }
        for (region, vote) in &votes.peers {
            let known = vote.failed_over.as_ref().filter(|failover| failover.target != *region);
            if let Some(failover) = known.filter(|told| self.position(region).is_some() && self.is_region(&told.target))
            {
                self.ranking_due |= self.executions.adopt(region, failover);
            }
        }
    }

    /// Whether a region was failed over and is not released here.
    pub fn is_failed_over(&self, region: &Region) -> bool {
        let is_own = region == self.targets.own();
        self.executions.of(region).is_some() || (is_own && self.votes.was_failed_over(region, None))
    }

    /// Releases a region. Of the own one, only what others have said is known.
    pub(super) fn release(&mut self, region: &Region, now: Instant) {
        self.executions.release_now(region, now);
        if region == self.targets.own() {
            self.votes.forget_failover(region);
        }
        self.ranking_due = true;
    }

    /// Why a region cannot be released by hand now. The own region always can: the others see what it is like. A person may
    /// release a region that is degraded, or of which this vantage does not know enough, if the region answers.
    pub fn release_refusal(&self, region: &Region, now: Instant) -> Option<&'static str> {
        if region == self.targets.own() {
            return None;
        }
        let Some(n) = self.position(region) else { return Some("it is no peer of this instance") };
        let lacks_capacity = self.ranking().of(region).is_some_and(|row| row.reasons.contains(&Ineligible::Capacity));
        let answers = match self.peers[n].verdict.state() {
            PeerState::Healthy | PeerState::Degraded => true,
            PeerState::Unknown => {
                let alive = self.peers[n].verdict.evidence.alive_at();
                alive.is_some_and(|at| now.saturating_duration_since(at) <= INFORMED_AFTER)
                    || self.votes.fresh_votes(region, now).any(|vote| vote.vote == Vote::Up)
            }
            PeerState::Suspect | PeerState::Down | PeerState::Recovering => false,
        };
        if !answers {
            Some(
                "it is neither healthy nor degraded; wait until it is, or remove the peer from the file of every instance",
            )
        } else if self.peers[n].incident.is_some() {
            Some("its incident is open, and ends after six minutes of health")
        } else if lacks_capacity {
            Some("it has too little capacity (failover.min_capacity)")
        } else {
            None
        }
    }

    /// Whether the services of another region began to fail at about the same time as those of this peer. What its own
    /// region is like, a vantage knows only from the others, but for this peer: one whose network is broken sees all others
    /// fail.
    pub(super) fn shares_failure(&self, n: usize, now: Instant) -> bool {
        let Some(service) = self.peers[n].verdict.evidence.service_failure() else { return false };
        let onset = service.since;
        let is_near = |since: Instant| {
            since.saturating_duration_since(onset).max(onset.saturating_duration_since(since)) <= COMMON_WITHIN
        };
        let others = self.peers.iter().enumerate().filter(|(other, _)| *other != n);
        let mut unserved = others.filter_map(|(_, peer)| peer.verdict.evidence.unserved_since());
        let is_other = |by: &Region| *by != self.peers[n].region;
        unserved.any(is_near) || self.votes.report_unserved(self.targets.own(), is_other, is_near, now)
    }

    /// Whether vantages of regions that are well, or witnesses, report that the services of the own region fail.
    pub(super) fn is_unserved(&self, now: Instant) -> bool {
        let is_well = |by: &Region| self.position(by).is_none_or(|n| self.peers[n].standing(&self.votes, now).well);
        self.votes.report_unserved(self.targets.own(), is_well, |_| true, now)
    }
}
