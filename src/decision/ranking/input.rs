//! What a ranking is made of.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    geography::Location,
    model::{PeerState, Region},
    window::Summary,
};

/// What a failover target must fulfil.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetPolicy {
    /// The zones that data may move to; empty: all.
    pub allowed_zones: Vec<Arc<str>>,
    /// The least distance from the region that is replaced, in meters; 0: any.
    pub min_distance_meters: f64,
    /// The least spare capacity, 0 to 1; 0: any.
    pub min_capacity: f64,
}

/// What is configured for a region that could take over or be replaced.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionAttributes {
    /// Tier of preference; lower is better.
    pub priority: u32,
    /// Residency zone.
    pub zone: Option<Arc<str>>,
    /// What it shares its fate with.
    pub failure_domain: Option<Arc<str>>,
    /// Where it is.
    pub location: Option<Location>,
    /// Spare capacity as a fraction of what a failover would require, 0 to 1.
    pub capacity: Option<f64>,
    /// Whether it is under maintenance.
    pub maintenance: bool,
}

/// What a failover to a region would lose, by the region that is replaced.
pub type Losses = BTreeMap<Region, Loss>;

/// What a failover would lose, over all databases.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    /// The greatest loss as a share of what is tolerated, at most 1.
    pub share: f64,
    /// Whether a database would lose more than is tolerated.
    pub above: bool,
    /// Whether the loss of a database is unknown.
    pub unknown: bool,
}

impl Loss {
    /// The loss of one database: at most `upper`, which may be unknown, where `rpo` is tolerated.
    pub fn of(upper: Option<Duration>, rpo: Duration) -> Self {
        let Some(upper) = upper else { return Self { unknown: true, ..Self::default() } };
        let share =
            if upper >= rpo { f64::from(u8::from(!upper.is_zero())) } else { upper.as_secs_f64() / rpo.as_secs_f64() };
        Self { share, above: upper > rpo, unknown: false }
    }

    /// Adds the loss of another database.
    pub fn add(&mut self, other: Self) {
        let Self { share, above, unknown } = other;
        *self = Self { share: self.share.max(share), above: self.above || above, unknown: self.unknown || unknown };
    }
}

/// What is known of a peer region at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct RankInput {
    /// The region.
    pub region: Region,
    /// Its state as seen by this vantage.
    pub state: PeerState,
    /// The probes of the trailing window, of the kind that [`preferred`](super::preferred) picks; `None` before the first.
    pub summary: Option<Summary>,
    /// What would be lost if it took over from each of these regions, whose databases have their primaries there.
    pub losses: Losses,
    /// Whether a quorum of vantages reports it as down.
    pub held_down: bool,
    /// Whether one of its critical probes has never succeeded, or all fail now.
    pub unserved: bool,
    /// Whether it was failed over and is not released.
    pub failed_over: bool,
    /// Whether operators have put it under maintenance.
    pub maintenance: bool,
}
