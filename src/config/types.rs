//! The peers of a configuration: every value is in range, every name is checked.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

pub use crate::{geography::Location, model::HttpUrl};
use crate::{
    model::{
        AddressChoice, AddressFamily, Cadence, Host, Kind, LabelName, LabelValue, Path, Region, Shape, Source,
        TargetName, UnixMillis, labels,
    },
    probe::{DatabaseLogin, HttpAccess, ProbeSpec},
    signing::PublicKey,
};

/// The most buckets a configuration may ask for; each one is a series for each path.
pub const MAX_BUCKETS: usize = 16;

labels! {
    /// The least severe level that is logged.
    pub enum LogLevel {
        /// Errors only.
        Error = "error",
        /// Warnings too.
        Warn = "warn",
        /// Events too.
        Info = "info",
        /// Reasons too.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

/// Who may command the instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name, which the audit log has.
    pub name: String,
    /// The key that verifies the operator's commands.
    pub key: PublicKey,
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

/// An Alertmanager to push to.
#[derive(Debug, Clone, PartialEq)]
pub struct Alertmanager {
    /// Its base URL, which is its name in metrics and in the log.
    pub url: HttpUrl,
    /// How it is accessed.
    pub access: HttpAccess,
}

impl From<HttpUrl> for Alertmanager {
    /// One that asks for nothing.
    fn from(url: HttpUrl) -> Self {
        Self { url, access: HttpAccess::default() }
    }
}

/// An endpoint outside all regions. If it does not answer, this instance may be isolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Where it is.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

/// A replicated database.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Its name, which is unique.
    pub name: TargetName,
    /// How to log in to any of its servers; each has a port of its own.
    pub login: DatabaseLogin,
    /// The table that holds the tokens, or the keys.
    pub table: Arc<str>,
    /// The most that a failover may lose of it, as the time in which that was written.
    pub rpo: Duration,
    /// Its servers, of which one takes writes; one for each region.
    pub servers: Vec<DatabaseServer>,
}

impl Database {
    /// Whether its servers are verified by the authorities of the system.
    pub fn trusts_the_system(&self) -> bool {
        self.login.spec().trusts_the_system()
    }

    /// Whether the files that its login names have other content, which they may while the configuration is the same.
    pub fn files_differ(&self, other: &Self) -> bool {
        self.login.spec().files_differ(&other.login.spec())
    }

    /// For each server, a probe that reads what holds the tokens of this vantage.
    pub fn probes<'a>(&'a self, vantage: &'a Region) -> impl Iterator<Item = (Path, ProbeConfig)> + 'a {
        self.servers.iter().map(move |DatabaseServer { region, host, port }| {
            let kind = self.login.kind();
            let spec = self.login.reader(*port, &self.table, vantage);
            let probe = ProbeConfig::new(kind.default_cadence(), host.clone(), spec);
            (Path { peer: region.clone(), target: self.name.clone(), kind }, probe)
        })
    }
}

/// A server of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseServer {
    /// The region that it is in.
    pub region: Region,
    /// Its name or address.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// Whether a region is under maintenance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Maintenance {
    /// It is not.
    #[default]
    No,
    /// It is, until the file says otherwise.
    Yes,
    /// It is until then.
    Until(UnixMillis),
}

impl Maintenance {
    /// When it ends by itself.
    pub const fn until(self) -> Option<UnixMillis> {
        match self {
            Self::No | Self::Yes => None,
            Self::Until(at) => Some(at),
        }
    }
}

/// A peer region.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Its name.
    pub region: Region,
    /// Its residency zone.
    pub zone: Option<Arc<str>>,
    /// What it shares its failures with; it is no failover target for a region of the same domain.
    pub failure_domain: Option<Arc<str>>,
    /// Its location; by default that of [`Location::of_region`].
    pub location: Option<Location>,
    /// Rank as a failover target before the score; lower is better.
    pub priority: u32,
    /// Spare capacity, as a fraction of what a failover would require, 0 to 1; `None` if unknown.
    pub capacity: Option<f64>,
    /// It must be neither a failover target nor failed over.
    pub maintenance: Maintenance,
    /// Whether it may be failed over.
    pub armed: bool,
    /// The keys that verify what it signs: one, two while it changes its key, or none.
    pub public_keys: Vec<PublicKey>,
    /// What is probed in it; (target, kind) is unique.
    pub targets: Vec<Target>,
}

/// A vantage that votes and owns no region: it is no failover target, and never failed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    /// Its name, which no region has. An instance whose `region` is this name is the witness.
    pub name: Region,
    /// What it shares its failures with, which no region does.
    pub failure_domain: Option<Arc<str>>,
    /// The keys that verify what it signs: one, two while it changes its key, or none.
    pub public_keys: Vec<PublicKey>,
    /// Its sidecar, which is asked for its votes by a single probe.
    pub target: Target,
}

/// Something that is probed inside a peer region.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name, unique inside the peer. `address_family: both` makes two targets, `NAME-v4` and `NAME-v6`.
    pub name: TargetName,
    /// Its probes; each kind at most once.
    pub probes: Vec<ProbeConfig>,
}

/// One probe of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeConfig {
    /// Interval and timeout.
    pub cadence: Cadence,
    /// Where to: the host of its URL, or the target's if its kind has none.
    pub host: Host,
    /// Which addresses of a name are used.
    pub family: AddressFamily,
    /// The name server that is asked for a name, where it is not those of the system.
    pub name_server: Option<SocketAddr>,
    /// Which of several addresses is probed.
    pub addresses: AddressChoice,
    /// The type-of-service byte (DSCP and ECN) of what is sent; RFC 2474.
    pub tos: Option<u8>,
    /// Where it is sent from.
    pub source: Option<Source>,
    /// Labels of its series, besides those that every series has.
    pub labels: Arc<BTreeMap<LabelName, LabelValue>>,
    /// If all critical probes of the region fail, the region is down although its network answers. Never set for kinds
    /// that cannot tell.
    pub critical: bool,
    /// What is sent and expected.
    pub spec: ProbeSpec,
}

impl ProbeConfig {
    /// A probe of which nothing else is configured.
    pub(crate) fn new(cadence: Cadence, host: Host, spec: ProbeSpec) -> Self {
        Self {
            cadence,
            host,
            family: AddressFamily::Any,
            name_server: None,
            addresses: AddressChoice::One,
            tos: None,
            source: None,
            labels: Arc::default(),
            critical: false,
            spec,
        }
    }

    /// The kind, which is the `probe` label.
    pub const fn kind(&self) -> Kind {
        self.spec.kind()
    }

    /// Whether both ask the same in the same way, however often, marked how, and whatever follows from it.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let Self { cadence, tos, critical, .. } = *self;
        *self == Self { cadence, tos, critical, labels: Arc::clone(&self.labels), ..other.clone() }
    }

    /// Whether both are the same but for their labels.
    pub fn measures_the_same(&self, other: &Self) -> bool {
        *self == Self { labels: Arc::clone(&self.labels), ..other.clone() }
    }

    /// The series that it has on `/metrics`.
    pub fn shape(&self) -> Shape {
        self.spec.shape(&self.host)
    }

    /// How many descriptors it needs at most.
    pub fn descriptors(&self) -> u64 {
        self.spec.descriptors(self.cadence.in_flight(), &self.host)
    }
}
