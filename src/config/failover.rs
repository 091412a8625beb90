//! What a failover depends on.

use std::{sync::Arc, time::Duration};

/// What makes a peer eligible as a failover target, and when a failover is called for.
#[derive(Debug, Clone, PartialEq)]
pub struct Failover {
    /// Residency zones that may take over; empty allows all.
    pub allowed_zones: Vec<Arc<str>>,
    /// The least great-circle distance, in metres; 0 is off.
    pub min_distance_meters: f64,
    /// The replication lag that is tolerated.
    pub rpo: Duration,
    /// How long a region must stay down before the second stage.
    pub execute_after: Duration,
    /// Whether the second stage is called for without votes of other vantages; for two regions.
    pub allow_single_vantage: bool,
    /// The least [`Peer::capacity`](super::Peer::capacity), 0 to 1; 0 is off.
    pub min_capacity: f64,
    /// Whether the first failure is followed by a few probes at once, so that a death is seen sooner.
    pub edge_burst: bool,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            allowed_zones: Vec::new(),
            min_distance_meters: 0.0,
            rpo: Duration::from_secs(5),
            execute_after: Duration::from_secs(30),
            allow_single_vantage: false,
            min_capacity: 0.0,
            edge_burst: true,
        }
    }
}
