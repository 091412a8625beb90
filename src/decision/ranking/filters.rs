//! What keeps a region from taking over: every reason, not just the first.
//!
//! Where a gate is asked for and the configuration does not say enough to pass it, it is closed: nobody moves
//! data to a zone that is not known to be allowed.

use super::{Standing, Traits};
use crate::{
    config::Failover,
    model::{Ineligible, PeerState, Region},
};

/// How many probes of the trailing window say something.
pub(super) const MIN_SAMPLES: usize = 20;

/// The gates in front of a region that is to be replaced.
pub(super) struct Gates<'a> {
    pub(super) policy: &'a Failover,
    pub(super) replaced: &'a Traits,
}

/// A region, and what keeps it from taking over.
pub(super) struct Judged<'a> {
    pub(super) region: &'a Region,
    pub(super) reasons: Vec<Ineligible>,
    degraded: bool,
}

impl Gates<'_> {
    /// Judges this vantage's own region: whoever asks is alive.
    pub(super) fn own<'a>(&self, region: &'a Region, traits: &Traits) -> Judged<'a> {
        Judged { region, reasons: self.closed(|reason| self.keeps(reason, traits)), degraded: false }
    }

    /// Judges a peer; without a standing nothing is known of it.
    pub(super) fn peer<'a>(&self, region: &'a Region, traits: &Traits, standing: Option<&Standing>) -> Judged<'a> {
        let reasons = self.closed(|reason| self.keeps(reason, traits) || self.holds(reason, standing));
        Judged { region, reasons, degraded: standing.is_some_and(|standing| standing.state == PeerState::Degraded) }
    }

    fn closed(&self, keeps: impl Fn(Ineligible) -> bool) -> Vec<Ineligible> {
        Ineligible::ALL.into_iter().filter(|reason| keeps(*reason)).collect()
    }

    /// Whether what the configuration says of a region keeps it out.
    fn keeps(&self, reason: Ineligible, traits: &Traits) -> bool {
        let policy = self.policy;
        match reason {
            Ineligible::Residency => {
                let allowed = &policy.allowed_zones;
                !allowed.is_empty() && !traits.zone.as_ref().is_some_and(|zone| allowed.contains(zone))
            }
            Ineligible::Distance => {
                let places = traits.location.zip(self.replaced.location);
                policy.min_distance_meters > 0.0
                    && !places.is_some_and(|(a, b)| a.distance_meters(b) >= policy.min_distance_meters)
            }
            Ineligible::FailureDomain => {
                traits.failure_domain.is_some() && traits.failure_domain == self.replaced.failure_domain
            }
            Ineligible::Capacity => {
                policy.min_capacity > 0.0 && !traits.capacity.is_some_and(|capacity| capacity >= policy.min_capacity)
            }
            Ineligible::Maintenance => traits.maintenance,
            Ineligible::State | Ineligible::Rpo | Ineligible::InsufficientData | Ineligible::Quorum => false,
        }
    }

    /// Whether what is known of a peer now keeps it out.
    fn holds(&self, reason: Ineligible, standing: Option<&Standing>) -> bool {
        let Some(standing) = standing else {
            return matches!(reason, Ineligible::State | Ineligible::InsufficientData);
        };
        match reason {
            Ineligible::State => standing.state != PeerState::Healthy,
            Ineligible::Rpo => standing.lag.is_some_and(|lag| lag > self.policy.rpo),
            Ineligible::InsufficientData => standing.summary.is_none_or(|summary| summary.count < MIN_SAMPLES),
            Ineligible::Quorum => standing.held_down,
            Ineligible::Residency
            | Ineligible::Distance
            | Ineligible::FailureDomain
            | Ineligible::Capacity
            | Ineligible::Maintenance => false,
        }
    }
}

/// Lets degraded regions in where no healthy one can take over: slow is better than nobody.
pub(super) fn with_last_resort(mut judged: Vec<Judged<'_>>) -> Vec<Judged<'_>> {
    if !judged.iter().any(|judged| judged.reasons.is_empty()) {
        for judged in judged.iter_mut().filter(|judged| judged.degraded) {
            judged.reasons.retain(|reason| *reason != Ineligible::State);
        }
    }
    judged
}
