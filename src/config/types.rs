//! What a configuration says once it has been read: every value is in range, every name is checked.

use std::sync::Arc;

pub use crate::{geography::Location, model::HttpUrl};
use crate::{
    model::{AddressFamily, Cadence, Host, Kind, Region, Shape, TargetName, labels},
    probe::ProbeSpec,
};

/// The most buckets a configuration may ask for; each one is a series for each path.
pub const MAX_BUCKETS: usize = 16;

labels! {
    /// How severe a log line must be to be written.
    pub enum LogLevel {
        /// Errors only.
        Error = "error",
        /// And warnings.
        Warn = "warn",
        /// And what happens.
        Info = "info",
        /// And why.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

labels! {
    /// The form of a log line.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object.
        Json = "json",
    }
}

/// An endpoint outside all regions; being unable to reach it hints at our own isolation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Where it is.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

/// A peer region.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Its name.
    pub region: Region,
    /// Its residency zone.
    pub zone: Option<Arc<str>>,
    /// What it shares its fate with; it does not replace a region of the same domain.
    pub failure_domain: Option<Arc<str>>,
    /// Where it is; where nothing is said, what [`Location::of_region`] knows.
    pub location: Option<Location>,
    /// Tier of preference as a failover target; lower is better.
    pub priority: u32,
    /// The share of what a failover would need that is free there, 0 to 1; `None` where nobody said.
    pub capacity: Option<f64>,
    /// Somebody works on it: it is no failover target.
    pub maintenance: bool,
    /// What is probed in it; (target, kind) is unique.
    pub targets: Vec<Target>,
}

/// Something that is probed inside a peer region.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name, unique inside the peer. Where both address families were asked for there are two targets,
    /// `NAME-v4` and `NAME-v6`.
    pub name: TargetName,
    /// Its probes; each kind at most once.
    pub probes: Vec<ProbeConfig>,
}

/// One probe of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeConfig {
    /// How often, how long.
    pub cadence: Cadence,
    /// Where to: the host of its URL, or the target's if its kind has none.
    pub host: Host,
    /// Which addresses of a name are used.
    pub family: AddressFamily,
    /// The type-of-service byte (DSCP and ECN) of what is sent; RFC 2474.
    pub tos: Option<u8>,
    /// What it probes is what the region is for: when all critical probes of every target fail, the region
    /// counts as down although the network answers. Never for kinds that cannot tell.
    pub critical: bool,
    /// What is sent and expected.
    pub spec: ProbeSpec,
}

impl ProbeConfig {
    /// The kind, which is the `probe` label.
    pub const fn kind(&self) -> Kind {
        self.spec.kind()
    }

    /// The series that it has on `/metrics`.
    pub fn shape(&self) -> Shape {
        self.spec.shape(&self.host)
    }

    /// How many descriptors it needs at most.
    pub fn descriptors(&self) -> u64 {
        self.spec.descriptors(self.cadence.in_flight())
    }
}
