//! The table of settings. Reading, environment variables, flags, `check --print`, the list of what needs a restart
//! and the table in docs/configuration.md follow from it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{
    alertmanagers::Alertmanagers,
    signing::SigningKey,
    types::{
        Alertmanager, Anchor, Database, Location, LogFormat, LogLevel, Maintenance, Operator, Peer, ProbeConfig,
        Target, Witness,
    },
    url_template::UrlTemplate,
    values::{self, ValueType},
    votes::VoteKeys,
};
use crate::{
    model::{ConstantLabels, HttpUrl, LabelName, LabelValue, Path, Region},
    signing::{Operators, PublicKeys},
    yaml::{Item, secrets::Secrets},
};

/// One row of the table.
pub struct Setting {
    /// The key in the file; a dot separates a section from a key inside it.
    pub key: &'static str,
    /// The environment variable.
    pub variable: &'static str,
    help: &'static str,
    pub(super) more: More,
    /// Sets the field and returns `true`, or reports an error.
    pub(super) read: fn(&Item<'_>, &Secrets<'_>, &mut Config) -> bool,
    pub(super) print: fn(&Config) -> Option<String>,
}

/// What only some settings have.
pub(super) struct More {
    /// What to write, if the key must be there.
    pub(super) required: Option<&'static str>,
    /// A running process cannot change it.
    pub(super) restart: bool,
    /// The flag of the command line, which beats the variable.
    pub(super) flag: Option<Flag>,
    /// It is read, has no effect, and is neither printed nor documented.
    pub(super) obsolete: bool,
    /// The key and the variable of an earlier version, which still work.
    pub(super) was: Option<(&'static str, &'static str)>,
    /// A secret may have been written in the place of the section, so its text is never shown.
    pub(super) secret_section: bool,
    /// What the documentation says of the default, if it is not the value.
    pub(super) default: Option<&'static str>,
}

/// A flag of the command line.
#[derive(Debug, Clone, Copy)]
pub enum Flag {
    /// `--NAME`, which stands for `true`.
    Switch(&'static str),
    /// `--NAME VALUE`, with the name that `--help` gives the value.
    Value(&'static str, &'static str),
}

impl Setting {
    /// What it means: a sentence without its full stop, with names in backquotes.
    pub fn help(&self) -> &'static str {
        self.help.trim_start()
    }

    /// The section of the file that its key is in, and its name there; the section is empty at the top.
    pub(super) fn section_and_name(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// Whether it is read, but has no effect and is not documented.
    pub const fn is_obsolete(&self) -> bool {
        self.more.obsolete
    }

    /// Its flag of the command line.
    pub fn flag(&self) -> Option<Flag> {
        self.more.flag
    }

    /// Its default as YAML, or in words; nothing if it has none.
    pub fn default(&self) -> Option<String> {
        match self.more.default {
            Some(words) => Some(words.to_owned()),
            None => (self.print)(&Config::defaults()),
        }
    }
}

const NONE: More = More {
    required: None,
    restart: false,
    flag: None,
    obsolete: false,
    was: None,
    secret_section: false,
    default: None,
};

/// What a setting holds: always a value, or perhaps none.
trait Slot<T> {
    fn value(&self) -> Option<&T>;
}

impl<T> Slot<T> for T {
    fn value(&self) -> Option<&T> {
        Some(self)
    }
}

impl<T> Slot<T> for Option<T> {
    fn value(&self) -> Option<&T> {
        self.as_ref()
    }
}

/// Puts a value that was read into its field.
fn set<T, S: From<T>>(slot: &mut S, value: Option<T>) -> bool {
    let given = value.is_some();
    if let Some(value) = value {
        *slot = value.into();
    }
    given
}

/// Declares structs whose fields are settings, and [`SETTINGS`] with a row for each:
///
/// ```text
/// /// Help.
/// field: Type = how it is read and printed, default; "key", "VARIABLE" { what only some settings have };
/// ```
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        pub struct $group:ident($config:ident => $place:expr) {
            $(
                $(#[doc = $help:literal])+
                $field:ident: $type:ty = $values:expr, $default:expr;
                $key:literal, $variable:literal $({ $($name:ident: $value:expr),+ })?;
            )+
            $(with {
                $($(#[doc = $part_help:literal])+ $part:ident: $part_type:ty = $part_default:expr;)+
            })?
        }
    )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq)]
            pub struct $group {
                $($(#[doc = $help])+ pub $field: $type,)+
                $($($(#[doc = $part_help])+ pub $part: $part_type,)+)?
            }

            impl $group {
                /// Every setting's default.
                pub(super) fn defaults() -> Self {
                    Self { $($field: $default,)+ $($($part: $part_default,)+)? }
                }
            }
        )+

        /// Every setting, in the order in which they are printed.
        pub const SETTINGS: &[Setting] = &[$($(
            Setting {
                key: $key,
                variable: $variable,
                help: concat!($($help),+),
                more: More { $($($name: $value,)+)? ..NONE },
                read: |item, secrets, $config| set(&mut $place.$field, $values.read(item, secrets)),
                print: |$config| $place.$field.value().map(|value| $values.print(value)),
            },
        )+)+];
    };
}

settings! {
    /// The whole effective configuration.
    pub struct Config(config => config) {
        /// Name of the region that this instance runs in
        region: Region = values::REGION, Region::new("none").expect("a constant name");
            "region", "REGIONWATCH_REGION" {
                required: Some("write the region that this instance runs in, such as eu-west-1"),
                default: Some("required"), restart: true };
        /// Environment of this region, such as `prod`: a label of every series, alert and vote; the same on every vantage
        environment: Option<LabelValue> = values::Environment, None;
            "environment", "REGIONWATCH_ENVIRONMENT" { restart: true };
        /// Further labels of every series and alert, such as `{team: platform}`, or `team=platform,...`; at most 16
        labels: BTreeMap<LabelName, LabelValue> = values::Labels, BTreeMap::new();
            "labels", "REGIONWATCH_LABELS" { restart: true };
        /// Address to serve on
        listen: SocketAddr = values::LISTEN, DEFAULT_LISTEN;
            "listen", "REGIONWATCH_LISTEN" { flag: Some(Flag::Value("listen", "ADDRESS")), restart: true };
        /// URL at which users reach this instance's pages; pushed alerts link to it
        external_url: Option<HttpUrl> = values::BASE_URL, None; "external_url", "REGIONWATCH_EXTERNAL_URL";
        /// Residency zone of this region
        zone: Option<Arc<str>> = values::ZONE, None; "zone", "REGIONWATCH_ZONE";
        /// Name of what this region shares its failures with; a region is no failover target for another one in the
        /// same domain
        failure_domain: Option<Arc<str>> = values::FAILURE_DOMAIN, None;
            "failure_domain", "REGIONWATCH_FAILURE_DOMAIN";
        /// `{latitude, longitude}`, or `53.35,-6.26`
        location: Option<Location> = values::Coordinates, None;
            "location", "REGIONWATCH_LOCATION" { default: Some("location of the cloud region of this name") };
        /// Rank of this region as a failover target before the score; lower is better
        priority: u32 = values::PRIORITY, 0; "priority", "REGIONWATCH_PRIORITY";
        /// Spare capacity, as a fraction of what a failover would require, 0 to 1
        capacity: Option<f64> = values::RATIO, None; "capacity", "REGIONWATCH_CAPACITY";
        /// This region is under maintenance: it must not be a failover target. `{until: TIME}` says when that ends
        maintenance: Maintenance = values::MaintenanceType, Maintenance::No; "maintenance", "REGIONWATCH_MAINTENANCE";
        /// File with the key that all vantages share; two lines during a key rotation: the first signs, both verify
        votes: Option<VoteKeys> = values::KeyFile, None;
            "votes.key_file", "REGIONWATCH_VOTES_KEY_FILE" {
                required: Some("write the path of a file with a key"), secret_section: true };
        /// File with the key that signs this vantage's orders to fail over; create it with `regionwatch keygen`
        signing: Option<SigningKey> = values::SigningKeyFile, None;
            "signing.key_file", "REGIONWATCH_SIGNING_KEY_FILE" {
                required: Some("write the path of a file that regionwatch keygen made"), secret_section: true };
        /// Folder for what a restart of all instances must not forget: the failovers that are not released
        state_dir: Option<PathBuf> = values::Folder, None; "state_dir", "REGIONWATCH_STATE_DIR" { restart: true };
        /// Who may give commands such as `release`: `NAME=KEY`, with the key that `regionwatch keygen` printed
        operators: Vec<Operator> = values::Operators, Vec::new(); "operators", "REGIONWATCH_OPERATORS";
        /// Alertmanagers to push to: base URLs, or in the file also mappings of `url` with credentials, TLS and headers
        alertmanagers: Vec<Alertmanager> = Alertmanagers, Vec::new();
            "alertmanagers", "REGIONWATCH_ALERTMANAGERS";
        /// URL of the runbook that a pushed alert links to, with `{alertname}`; an empty text leaves the link out
        runbook_url: UrlTemplate = values::RUNBOOK_URL, UrlTemplate::runbooks(); "runbook_url", "REGIONWATCH_RUNBOOK_URL";
        /// URL of the dashboard that a pushed alert links to, with `{peer_region}` and `{vantage_region}`
        dashboard_url: UrlTemplate = values::DASHBOARD_URL, UrlTemplate::default();
            "dashboard_url", "REGIONWATCH_DASHBOARD_URL";
        /// `tcp://HOST:PORT` outside all regions; used to detect that this instance itself is cut off
        anchors: Vec<Anchor> = values::ANCHORS, Vec::new(); "anchors", "REGIONWATCH_ANCHORS";
        /// Time range of quantiles, loss and jitter; `10s` to `1h`
        window: Duration = values::WINDOW, Duration::from_secs(300); "window", "REGIONWATCH_WINDOW";
        /// Upper bounds of the latency histogram in seconds, ascending; at most 16
        buckets: Vec<f64> = values::Buckets, DEFAULT_BUCKETS.to_vec();
            "buckets", "REGIONWATCH_BUCKETS" { restart: true };
        /// Serve `POST /-/reload`; SIGHUP always reloads
        enable_lifecycle: bool = values::FLAG, false;
            "enable_lifecycle", "REGIONWATCH_ENABLE_LIFECYCLE" {
                flag: Some(Flag::Switch("enable-lifecycle")), restart: true };
        with {
            /// What makes a region eligible as a failover target, and when a failover starts.
            failover: Failover = Failover::defaults();
            /// What is logged.
            log: Log = Log::defaults();
            /// The databases, in the order of the file; names are unique.
            databases: Vec<Database> = Vec::new();
            /// The peer regions, in the order of the file; names are unique.
            peers: Vec<Peer> = Vec::new();
            /// The witnesses, in the order of the file, this instance too if it is one; names are unique.
            witnesses: Vec<Witness> = Vec::new();
        }
    }

    /// What makes a region eligible as a failover target, and when a failover starts.
    pub struct Failover(config => config.failover) {
        /// Whether regions may be failed over; `false` allows the stage `prepare` only
        armed: bool = values::FLAG, true; "failover.armed", "REGIONWATCH_ARMED";
        /// How long a region must be down before the stage `execute`
        execute_after: Duration = values::HOLD, Duration::from_secs(30);
            "failover.execute_after", "REGIONWATCH_EXECUTE_AFTER";
        /// Allow the stage `execute` without a quorum; for two regions
        allow_single_vantage: bool = values::FLAG, false;
            "failover.allow_single_vantage", "REGIONWATCH_ALLOW_SINGLE_VANTAGE";
        /// How many regions may be failed over at a time; a region counts until it was healthy for 30 minutes
        max_down: u32 = values::MAX_DOWN, 1; "failover.max_down", "REGIONWATCH_MAX_DOWN";
        /// Minimum time from one failover to that of another region; `0s` allows any
        min_interval: Duration = values::HOLD, Duration::from_secs(600);
            "failover.min_interval", "REGIONWATCH_MIN_INTERVAL";
        /// Send three more probes, 50 ms apart, when a region falls silent
        confirm_burst: bool = values::FLAG, true;
            "failover.confirm_burst", "REGIONWATCH_CONFIRM_BURST" {
                was: Some(("edge_burst", "REGIONWATCH_EDGE_BURST")) };
        /// Residency zones that a failover target may be in; empty allows all
        allowed_zones: Vec<Arc<str>> = values::ZONES, Vec::new();
            "failover.allowed_zones", "REGIONWATCH_ALLOWED_ZONES";
        /// Minimum distance of a failover target, in meters; 0 allows any
        min_distance_meters: f64 = values::DISTANCE, 0.0; "failover.min_distance", "REGIONWATCH_MIN_DISTANCE";
        /// Minimum capacity of a failover target, 0 to 1; 0 allows any
        min_capacity: f64 = values::RATIO, 0.0; "failover.min_capacity", "REGIONWATCH_MIN_CAPACITY";
        /// Has no effect; files of earlier versions may have it
        rpo: Duration = values::HOLD, Duration::from_secs(5);
            "failover.rpo", "REGIONWATCH_RPO" { obsolete: true };
    }

    /// What is logged, and how.
    pub struct Log(config => config.log) {
        /// Least severe level that is logged: `error`, `warn`, `info`, `debug` or `trace`
        level: LogLevel = values::LEVEL, LogLevel::Info; "log.level", "REGIONWATCH_LOG_LEVEL" { restart: true };
        /// Form of a line: `text`, or one JSON object with `json`
        format: LogFormat = values::FORMAT, LogFormat::Text; "log.format", "REGIONWATCH_LOG_FORMAT" { restart: true };
    }
}

impl Config {
    /// The labels that every series and alert has.
    pub fn constant_labels(&self) -> ConstantLabels {
        ConstantLabels { environment: self.environment.clone(), others: self.labels.clone() }
    }

    /// Who may command this vantage.
    pub fn operator_keys(&self) -> Operators {
        let environment = self.environment.as_ref().map(ToString::to_string).unwrap_or_default();
        Operators { environment, keys: self.operators.iter().map(|known| (known.name.clone(), known.key)).collect() }
    }

    /// Whether this vantage exchanges votes.
    pub(super) fn votes(&self) -> bool {
        self.votes.is_some() || self.paths().any(|(path, _)| path.kind.carries_votes())
    }

    /// Whether a peer, an Alertmanager or a database is verified by the authorities of the system.
    pub fn trusts_the_system(&self) -> bool {
        let pushes = self.alertmanagers.iter().filter(|to| to.url.https).any(|to| to.access.tls.trusts_the_system());
        let probes = || self.paths().any(|(_, probe)| probe.spec.trusts_the_system());
        pushes || probes() || self.databases.iter().any(|database| database.trusts_the_system())
    }

    /// Every path, with how it is probed: those to the peers, then those to the sidecars of the witnesses.
    pub fn paths(&self) -> impl Iterator<Item = (Path, &ProbeConfig)> {
        let witnesses = self.other_witnesses().flat_map(|witness| probes_of(&witness.name, &witness.target));
        self.peer_paths().chain(witnesses)
    }

    /// The paths to the peers, with how they are probed.
    pub fn peer_paths(&self) -> impl Iterator<Item = (Path, &ProbeConfig)> {
        let peers = self.peers.iter();
        peers.flat_map(|peer| peer.targets.iter().flat_map(move |target| probes_of(&peer.region, target)))
    }

    /// The witnesses, but for this instance itself.
    pub fn other_witnesses(&self) -> impl Iterator<Item = &Witness> {
        self.witnesses.iter().filter(|witness| witness.name != self.region)
    }

    /// Whether this instance is a witness: it votes, and owns no region.
    pub fn is_witness(&self) -> bool {
        self.witnesses.iter().any(|witness| witness.name == self.region)
    }

    /// The public keys of all vantages, this one's too.
    pub fn public_keys(&self) -> PublicKeys {
        let own = self.signing.iter().map(|signing| (&self.region, signing.key.public()));
        let peers = self.peers.iter().map(|peer| (&peer.region, &peer.public_keys));
        let witnesses = self.other_witnesses().map(|witness| (&witness.name, &witness.public_keys));
        let others = peers.chain(witnesses).flat_map(|(vantage, keys)| keys.iter().map(move |key| (vantage, *key)));
        let mut keys = PublicKeys::default();
        for (region, key) in own.chain(others) {
            // What cannot be added is the own key in the place of a peer's, which is warned of.
            let _ = keys.add(region, key);
        }
        keys
    }
}

/// The paths to a target of a region or of a witness.
fn probes_of<'a>(of: &'a Region, target: &'a Target) -> impl Iterator<Item = (Path, &'a ProbeConfig)> {
    target.probes.iter().map(move |probe| {
        let (peer, target) = (of.clone(), target.name.clone());
        (Path { peer, target, kind: probe.kind() }, probe)
    })
}

impl Default for Failover {
    fn default() -> Self {
        Self::defaults()
    }
}

/// The address that `/metrics` is served on by default.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9877);

/// Default upper bounds of the latency histogram, in seconds: dense from 1 to 300 ms, which is the range between
/// regions, and 0.5 ms for zones of one region. At most [`MAX_BUCKETS`](super::MAX_BUCKETS).
pub const DEFAULT_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
