//! What keeps a region from taking over: every reason, not just the first.
//!
//! A filter that is configured rejects a region whose attributes are unknown: data must not move to a zone that is
//! not known to be allowed.

use super::{Losses, RankInput, RegionAttributes, TargetPolicy};
use crate::model::{Ineligible, PeerState, Region};

/// How many probes of the trailing window say something.
pub(super) const MIN_SAMPLES: usize = 20;

/// The filters in front of a region that is to be replaced.
pub(super) struct Filters<'a> {
    pub(super) policy: &'a TargetPolicy,
    pub(super) region: &'a Region,
    pub(super) replaced: &'a RegionAttributes,
}

/// What is known of this vantage's own region, which is alive.
#[derive(Debug, Default)]
pub(crate) struct OwnRegion {
    /// Whether it was failed over and is not released.
    pub(crate) failed_over: bool,
    /// Whether other vantages report that its critical probes fail.
    pub(crate) unserved: bool,
    /// Whether operators have put it under maintenance.
    pub(crate) maintenance: bool,
    /// What would be lost if it took over.
    pub(crate) losses: Losses,
}

/// A region, and what keeps it from taking over.
pub(super) struct Filtered<'a> {
    pub(super) region: &'a Region,
    pub(super) reasons: Vec<Ineligible>,
    degraded: bool,
}

impl Filters<'_> {
    /// Filters this vantage's own region, which is alive. If others report its services as failing, it takes over for none, as
    /// they would not let it: one vantage must not order a failover into what only it takes for well.
    pub(super) fn own<'a>(&self, region: &'a Region, attributes: &RegionAttributes, own: &OwnRegion) -> Filtered<'a> {
        let holds = |reason| match reason {
            Ineligible::FailedOver => own.failed_over,
            Ineligible::Critical => own.unserved,
            Ineligible::Maintenance => own.maintenance,
            _ => self.loses(reason, &own.losses),
        };
        let reasons = self.closed(|reason| self.keeps(reason, attributes) || holds(reason));
        Filtered { region, reasons, degraded: false }
    }

    /// Filters a peer; without an input nothing is known of it.
    pub(super) fn peer<'a>(
        &self,
        region: &'a Region,
        attributes: &RegionAttributes,
        input: Option<&RankInput>,
    ) -> Filtered<'a> {
        let reasons = self.closed(|reason| self.keeps(reason, attributes) || self.holds(reason, input));
        Filtered { region, reasons, degraded: input.is_some_and(|input| input.state == PeerState::Degraded) }
    }

    fn closed(&self, keeps: impl Fn(Ineligible) -> bool) -> Vec<Ineligible> {
        Ineligible::ALL.into_iter().filter(|reason| keeps(*reason)).collect()
    }

    /// Whether what the configuration says of a region keeps it out.
    fn keeps(&self, reason: Ineligible, attributes: &RegionAttributes) -> bool {
        let policy = self.policy;
        match reason {
            Ineligible::Residency => {
                let allowed = &policy.allowed_zones;
                !allowed.is_empty() && !attributes.zone.as_ref().is_some_and(|zone| allowed.contains(zone))
            }
            Ineligible::Distance => {
                let places = attributes.location.zip(self.replaced.location);
                policy.min_distance_meters > 0.0
                    && !places.is_some_and(|(a, b)| a.distance_meters(b) >= policy.min_distance_meters)
            }
            Ineligible::FailureDomain => {
                attributes.failure_domain.is_some() && attributes.failure_domain == self.replaced.failure_domain
            }
            Ineligible::Capacity => {
                policy.min_capacity > 0.0
                    && !attributes.capacity.is_some_and(|capacity| capacity >= policy.min_capacity)
            }
            Ineligible::Maintenance => attributes.maintenance,
            Ineligible::State
            | Ineligible::Rpo
            | Ineligible::RpoUnknown
            | Ineligible::InsufficientData
            | Ineligible::Quorum
            | Ineligible::Critical
            | Ineligible::FailedOver => false,
        }
    }

    /// Whether what would be lost keeps a region out.
    fn loses(&self, reason: Ineligible, losses: &Losses) -> bool {
        losses.get(self.region).is_some_and(|loss| match reason {
            Ineligible::Rpo => loss.above,
            Ineligible::RpoUnknown => loss.unknown,
            _ => false,
        })
    }

    /// Whether what is known of a peer now keeps it out.
    fn holds(&self, reason: Ineligible, input: Option<&RankInput>) -> bool {
        let Some(input) = input else {
            return matches!(reason, Ineligible::State | Ineligible::InsufficientData);
        };
        match reason {
            Ineligible::State => input.state != PeerState::Healthy,
            Ineligible::Rpo | Ineligible::RpoUnknown => self.loses(reason, &input.losses),
            Ineligible::InsufficientData => input.summary.is_none_or(|summary| summary.count < MIN_SAMPLES),
            Ineligible::Quorum => input.held_down,
            Ineligible::Critical => input.unserved,
            Ineligible::FailedOver => input.failed_over,
            Ineligible::Maintenance => input.maintenance,
            Ineligible::Residency | Ineligible::Distance | Ineligible::FailureDomain | Ineligible::Capacity => false,
        }
    }
}

/// Lets degraded regions in where no healthy one can take over: slow is better than none.
pub(super) fn with_last_resort(mut filtered: Vec<Filtered<'_>>) -> Vec<Filtered<'_>> {
    if !filtered.iter().any(|filtered| filtered.reasons.is_empty()) {
        for filtered in filtered.iter_mut().filter(|filtered| filtered.degraded) {
            filtered.reasons.retain(|reason| *reason != Ineligible::State);
        }
    }
    filtered
}
