//! What a ranking is made of.

use std::{sync::Arc, time::Duration};

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
    /// The replication lag that is tolerated.
    pub rpo: Duration,
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

/// What is known of a peer region at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct RankInput {
    /// The region.
    pub region: Region,
    /// Its state as seen by this vantage.
    pub state: PeerState,
    /// The probes of the trailing window, of the kind that [`preferred`](super::preferred) picks; `None` before the first.
    pub summary: Option<Summary>,
    /// How far its data lag behind; `None` if there are none that could.
    pub lag: Option<Duration>,
    /// Whether a quorum of vantages reports it as down.
    pub held_down: bool,
    /// Whether one of its critical probes has never succeeded.
    pub unproven: bool,
    /// Whether it was failed over and is not released.
    pub failed_over: bool,
}
