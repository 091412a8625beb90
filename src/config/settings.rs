//! Everything but the peers: one layer of settings from the file, one from the environment.

use std::{collections::BTreeMap, net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    addresses,
    failover::Failover,
    peers::{self, PRIORITY},
    probes::{KINDS, given, paired},
    types::{
        Anchor, Config, DEFAULT_BUCKETS, DEFAULT_LISTEN, DEFAULT_WINDOW, HttpUrl, Location, Log, LogFormat, LogLevel,
        MAX_BUCKETS, Peer,
    },
    votes::{self, VoteKeys},
};
use crate::{
    model::{Cadence, Region},
    probe,
    yaml::{Diagnostics, Fields, Item, Parsed, Spanned, addresses::region, secrets::Secrets, units},
};

/// What [`Config::window`] may be: shorter has no quantiles, longer is Prometheus' work.
pub(super) const WINDOW: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(3600);
/// What `rpo` and `execute_after` may be.
pub(super) const HOLD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

pub(super) const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
pub(super) const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The keys of the file.
pub(super) const KEYS: [&str; 19] = [
    "region",
    "listen",
    "external_url",
    "zone",
    "failure_domain",
    "location",
    "priority",
    "capacity",
    "maintenance",
    "alertmanagers",
    "anchors",
    "failover",
    "votes",
    "window",
    "buckets",
    "enable_lifecycle",
    "log",
    "defaults",
    "peers",
];

const FAILOVER_KEYS: [&str; 7] =
    ["allowed_zones", "min_distance", "rpo", "execute_after", "allow_single_vantage", "min_capacity", "edge_burst"];

/// Interval and timeout of a kind, where one layer gives them.
#[derive(Clone, Default)]
pub(super) struct Timing {
    pub(super) interval: Option<Spanned<Duration>>,
    pub(super) timeout: Option<Spanned<Duration>>,
}

/// What one layer says.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) region: Option<Region>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) external_url: Option<HttpUrl>,
    pub(super) zone: Option<Arc<str>>,
    pub(super) failure_domain: Option<Arc<str>>,
    pub(super) location: Option<Location>,
    pub(super) priority: Option<u32>,
    pub(super) capacity: Option<f64>,
    pub(super) maintenance: Option<bool>,
    pub(super) alertmanagers: Option<Vec<HttpUrl>>,
    pub(super) anchors: Option<Vec<Anchor>>,
    pub(super) allowed_zones: Option<Vec<Arc<str>>>,
    pub(super) min_distance: Option<f64>,
    pub(super) rpo: Option<Duration>,
    pub(super) execute_after: Option<Duration>,
    pub(super) allow_single_vantage: Option<bool>,
    pub(super) min_capacity: Option<f64>,
    pub(super) edge_burst: Option<bool>,
    pub(super) votes: Option<VoteKeys>,
    pub(super) window: Option<Duration>,
    pub(super) buckets: Option<Vec<f64>>,
    pub(super) enable_lifecycle: Option<bool>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) timings: [Timing; KINDS.len()],
}

impl Settings {
    /// This layer where it says something, else the other.
    pub(super) fn or(self, other: Self) -> Self {
        let mut below = other.timings.into_iter();
        Self {
            region: self.region.or(other.region),
            listen: self.listen.or(other.listen),
            external_url: self.external_url.or(other.external_url),
            zone: self.zone.or(other.zone),
            failure_domain: self.failure_domain.or(other.failure_domain),
            location: self.location.or(other.location),
            priority: self.priority.or(other.priority),
            capacity: self.capacity.or(other.capacity),
            maintenance: self.maintenance.or(other.maintenance),
            alertmanagers: self.alertmanagers.or(other.alertmanagers),
            anchors: self.anchors.or(other.anchors),
            allowed_zones: self.allowed_zones.or(other.allowed_zones),
            min_distance: self.min_distance.or(other.min_distance),
            rpo: self.rpo.or(other.rpo),
            execute_after: self.execute_after.or(other.execute_after),
            allow_single_vantage: self.allow_single_vantage.or(other.allow_single_vantage),
            min_capacity: self.min_capacity.or(other.min_capacity),
            edge_burst: self.edge_burst.or(other.edge_burst),
            votes: self.votes.or(other.votes),
            window: self.window.or(other.window),
            buckets: self.buckets.or(other.buckets),
            enable_lifecycle: self.enable_lifecycle.or(other.enable_lifecycle),
            log_level: self.log_level.or(other.log_level),
            log_format: self.log_format.or(other.log_format),
            timings: self.timings.map(|above| {
                let below = below.next().unwrap_or_default();
                Timing { interval: above.interval.or(below.interval), timeout: above.timeout.or(below.timeout) }
            }),
        }
    }

    /// The cadence of each kind of probe, by its name, where a probe says nothing.
    pub(super) fn cadences(&self, diagnostics: &Diagnostics) -> BTreeMap<&'static str, Cadence> {
        let usual = [probe::ICMP, probe::DNS, probe::TCP, probe::HTTP];
        let kinds = KINDS.iter().zip(usual).zip(&self.timings);
        kinds
            .map(|(((name, ..), kind), timing)| {
                let usual = kind.default_cadence();
                let cadence = paired(timing.interval.as_ref(), timing.timeout.as_ref(), usual, diagnostics);
                (*name, cadence.unwrap_or(usual))
            })
            .collect()
    }

    /// The whole configuration; `None` without a region.
    pub(super) fn into_config(self, peers: Vec<Peer>) -> Option<Config> {
        let failover = Failover::default();
        let region = self.region?;
        Some(Config {
            location: self.location.or_else(|| Location::of_region(region.as_str())),
            region,
            listen: self.listen.unwrap_or(DEFAULT_LISTEN),
            external_url: self.external_url,
            zone: self.zone,
            failure_domain: self.failure_domain,
            priority: self.priority.unwrap_or(0),
            capacity: self.capacity,
            maintenance: self.maintenance.unwrap_or(false),
            alertmanagers: self.alertmanagers.unwrap_or_default(),
            anchors: self.anchors.unwrap_or_default(),
            failover: Failover {
                allowed_zones: self.allowed_zones.unwrap_or(failover.allowed_zones),
                min_distance_meters: self.min_distance.unwrap_or(failover.min_distance_meters),
                rpo: self.rpo.unwrap_or(failover.rpo),
                execute_after: self.execute_after.unwrap_or(failover.execute_after),
                allow_single_vantage: self.allow_single_vantage.unwrap_or(failover.allow_single_vantage),
                min_capacity: self.min_capacity.unwrap_or(failover.min_capacity),
                edge_burst: self.edge_burst.unwrap_or(failover.edge_burst),
            },
            votes: self.votes,
            window: self.window.unwrap_or(DEFAULT_WINDOW),
            buckets: self.buckets.unwrap_or_else(|| DEFAULT_BUCKETS.to_vec()),
            enable_lifecycle: self.enable_lifecycle.unwrap_or(false),
            log: Log { level: self.log_level.unwrap_or_default(), format: self.log_format.unwrap_or_default() },
            peers,
        })
    }
}

/// Reads the file's settings.
pub(super) fn read(fields: &Fields<'_>, secrets: &Secrets<'_>) -> Settings {
    let mut settings = Settings {
        region: fields.read("region", |item| item.read(region)),
        listen: fields.read("listen", |item| item.read(addresses::listen)),
        external_url: fields.read("external_url", |item| item.read(addresses::external_url)),
        zone: fields.read("zone", |item| item.read(addresses::zone)),
        failure_domain: fields.read("failure_domain", |item| item.read(addresses::failure_domain)),
        location: fields.read("location", peers::location),
        priority: fields.read("priority", |item| item.whole(PRIORITY)),
        capacity: fields.read("capacity", |item| item.plain(units::ratio)),
        maintenance: fields.read("maintenance", Item::flag),
        alertmanagers: fields.read("alertmanagers", |item| distinct(item, addresses::alertmanager)),
        anchors: fields.read("anchors", |item| distinct(item, addresses::anchor)),
        window: fields.read("window", |item| item.read(units::duration_in(WINDOW))),
        buckets: fields.read("buckets", |item| {
            let numbers = item.each(|item| item.plain(bucket))?;
            if numbers.len() == item.list()?.len() {
                buckets(&numbers).map_err(|reason| item.wrong(reason)).ok()?;
            }
            Some(numbers)
        }),
        enable_lifecycle: fields.read("enable_lifecycle", Item::flag),
        votes: fields.read("votes", |item| votes::read(item, secrets)),
        ..Settings::default()
    };
    if let Some(log) = fields.read("log", |item| item.fields(&["level", "format"])) {
        settings.log_level = log.read("level", |item| item.choice(&LEVELS));
        settings.log_format = log.read("format", |item| item.choice(&FORMATS));
    }
    if let Some(failover) = fields.read("failover", |item| item.fields(&FAILOVER_KEYS)) {
        settings.allowed_zones = failover.read("allowed_zones", |item| distinct(item, addresses::zone));
        settings.min_distance = failover.read("min_distance", |item| item.read(units::distance));
        settings.rpo = failover.read("rpo", |item| item.read(units::duration_in(HOLD)));
        settings.execute_after = failover.read("execute_after", |item| item.read(units::duration_in(HOLD)));
        settings.allow_single_vantage = failover.read("allow_single_vantage", Item::flag);
        settings.min_capacity = failover.read("min_capacity", |item| item.plain(units::ratio));
        settings.edge_burst = failover.read("edge_burst", Item::flag);
    }
    if let Some(defaults) = fields.read("defaults", |item| item.fields(&["icmp", "dns", "tcp", "http"])) {
        settings.timings = KINDS.map(|(name, ..)| {
            defaults
                .read(name, |item| {
                    let fields = item.fields(&["interval", "timeout"])?;
                    Some(Timing { interval: fields.read("interval", given), timeout: fields.read("timeout", given) })
                })
                .unwrap_or_default()
        });
    }
    settings
}

/// The most Alertmanagers, anchors or zones.
const MAX_DISTINCT: usize = 64;

/// A short list in which nothing is there twice.
fn distinct<T: PartialEq>(item: &Item<'_>, parse: impl Fn(&str) -> Parsed<T>) -> Option<Vec<T>> {
    let items = item.list()?;
    if items.len() > MAX_DISTINCT {
        item.wrong(format!("has {} entries; write at most {MAX_DISTINCT}", items.len()));
        return None;
    }
    let mut list = Vec::new();
    for item in items {
        let Some(value) = item.read(&parse) else { continue };
        if list.contains(&value) {
            item.wrong_value("is there twice; delete one");
        }
        list.push(value);
    }
    Some(list)
}

/// The upper bound of a bucket, in seconds.
pub(super) fn bucket(text: &str) -> Parsed<f64> {
    const HINT: &str = "write seconds without a unit, such as 0.25";
    match units::decimal(text) {
        Ok(bound) if bound <= 0.0 => Err(format!("is not above 0; {HINT}")),
        Err(_) if units::duration(text).is_ok() => Err(format!("is not a number; {HINT}")),
        other => other,
    }
}

/// Upper bounds of the histogram's buckets.
pub(super) fn buckets(numbers: &[f64]) -> Parsed<()> {
    const HINT: &str = "write seconds in ascending order such as [0.005, 0.05, 0.5]";
    let most = MAX_BUCKETS;
    match numbers {
        [] => Err(format!("has no bucket; {HINT}")),
        _ if numbers.len() > most => Err(format!("has {} buckets; write at most {most}", numbers.len())),
        _ => match numbers.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => Err(format!("has {} after {}; {HINT}", pair[1], pair[0])),
            None => Ok(()),
        },
    }
}
