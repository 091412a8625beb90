//! The environment's layer: `REGIONWATCH_*`, read through envy.
//!
//! envy panics on variables that are not UTF-8 when it reads the environment itself, stops at the first
//! mistake, strips the prefix again and again, and matches names in any case. So it is handed only the
//! variables that are known by their exact name, and all of its fields are texts.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    time::Duration,
};

use serde::Deserialize;

use super::{
    addresses,
    peers::PRIORITY,
    probes::pace,
    settings::{FORMATS, HOLD, LEVELS, Settings, Timing, WINDOW, bucket, buckets},
    votes,
};
use crate::yaml::{
    Diagnostics, Parsed, Place, Spanned,
    addresses::region,
    diagnostics::{quoted, suggestion},
    secrets::Secrets,
    units::{self, choice},
};

/// What the names of all variables begin with.
const PREFIX: &str = "REGIONWATCH_";

macro_rules! variables {
    ($($field:ident: $name:literal,)*) => {
        /// The variables as texts; empty ones count as not set.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        pub(super) struct Variables {
            $($field: Option<String>,)*
        }

        /// Their names.
        const NAMES: &[&str] = &[$($name),*];

        impl Variables {
            $(fn $field<'a>(&'a self, diagnostics: &'a Diagnostics) -> Option<Variable<'a>> {
                let text = self.$field.as_deref()?.trim();
                (!text.is_empty()).then_some(Variable { name: $name, text, diagnostics })
            })*
        }
    };
}

variables! {
    region: "REGIONWATCH_REGION",
    listen: "REGIONWATCH_LISTEN",
    external_url: "REGIONWATCH_EXTERNAL_URL",
    zone: "REGIONWATCH_ZONE",
    failure_domain: "REGIONWATCH_FAILURE_DOMAIN",
    location: "REGIONWATCH_LOCATION",
    priority: "REGIONWATCH_PRIORITY",
    capacity: "REGIONWATCH_CAPACITY",
    maintenance: "REGIONWATCH_MAINTENANCE",
    alertmanagers: "REGIONWATCH_ALERTMANAGERS",
    anchors: "REGIONWATCH_ANCHORS",
    window: "REGIONWATCH_WINDOW",
    buckets: "REGIONWATCH_BUCKETS",
    enable_lifecycle: "REGIONWATCH_ENABLE_LIFECYCLE",
    log_level: "REGIONWATCH_LOG_LEVEL",
    log_format: "REGIONWATCH_LOG_FORMAT",
    allowed_zones: "REGIONWATCH_ALLOWED_ZONES",
    min_distance: "REGIONWATCH_MIN_DISTANCE",
    rpo: "REGIONWATCH_RPO",
    execute_after: "REGIONWATCH_EXECUTE_AFTER",
    allow_single_vantage: "REGIONWATCH_ALLOW_SINGLE_VANTAGE",
    min_capacity: "REGIONWATCH_MIN_CAPACITY",
    edge_burst: "REGIONWATCH_EDGE_BURST",
    votes_key_file: "REGIONWATCH_VOTES_KEY_FILE",
    icmp_interval: "REGIONWATCH_ICMP_INTERVAL",
    icmp_timeout: "REGIONWATCH_ICMP_TIMEOUT",
    dns_interval: "REGIONWATCH_DNS_INTERVAL",
    dns_timeout: "REGIONWATCH_DNS_TIMEOUT",
    tcp_interval: "REGIONWATCH_TCP_INTERVAL",
    tcp_timeout: "REGIONWATCH_TCP_TIMEOUT",
    http_interval: "REGIONWATCH_HTTP_INTERVAL",
    http_timeout: "REGIONWATCH_HTTP_TIMEOUT",
    peers: "REGIONWATCH_PEERS",
    dns_servers: "REGIONWATCH_DNS_SERVERS",
}

/// Variables that others read.
const FOREIGN: &[&str] = &["REGIONWATCH_CONFIG"];

/// A variable that is set.
#[derive(Clone, Copy)]
pub(super) struct Variable<'a> {
    name: &'static str,
    text: &'a str,
    diagnostics: &'a Diagnostics,
}

impl<'a> Variable<'a> {
    /// What the function reads from the text.
    fn read<T>(self, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        parse(self.text).map_err(|reason| self.wrong("", self.text, &reason)).ok()
    }

    fn wrong(self, key: &str, value: &str, reason: &str) {
        self.diagnostics.add(Place::Variable(self.name), key, format!("{} {reason}", quoted(value)));
    }

    /// The parts between the commas; a comma at the end does no harm.
    pub(super) fn entries(self) -> impl Iterator<Item = VariableEntry<'a>> {
        let texts = self.text.split(',').map(str::trim).enumerate();
        texts.filter(|(_, text)| !text.is_empty()).map(move |(n, text)| VariableEntry { variable: self, n, text })
    }

    /// What the function reads from each entry; none may be there twice.
    fn list<T: PartialEq>(self, parse: impl Fn(&str) -> Parsed<T>) -> Option<Vec<T>> {
        let mut list = Vec::new();
        for entry in self.entries() {
            let Ok(value) = parse(entry.text).map_err(|reason| entry.wrong(&reason)) else { continue };
            if list.contains(&value) {
                entry.wrong("is there twice; delete one");
            }
            list.push(value);
        }
        Some(list)
    }

    fn given(self) -> Option<Spanned<Duration>> {
        Some(Spanned {
            value: self.read(pace)?,
            text: self.text.to_owned(),
            place: Place::Variable(self.name),
            key: String::new(),
        })
    }
}

/// One entry of a variable that is a list.
#[derive(Clone, Copy)]
pub(super) struct VariableEntry<'a> {
    variable: Variable<'a>,
    n: usize,
    pub(super) text: &'a str,
}

impl VariableEntry<'_> {
    /// Diagnostics what is wrong with the entry.
    pub(super) fn wrong(self, reason: &str) {
        self.variable.wrong(&format!("[{}]", self.n), self.text, reason);
    }
}

impl Variables {
    /// Picks the known variables; one of them that is not UTF-8 is a mistake.
    pub(super) fn pick(environment: &BTreeMap<OsString, OsString>, diagnostics: &Diagnostics) -> Self {
        let known = NAMES.iter().filter_map(|name| {
            let value = environment.get(&OsString::from(*name))?;
            if value.to_str().is_none() {
                diagnostics.add(Place::Variable(name), "", "is not UTF-8; set it to text");
            }
            Some(((*name).to_owned(), value.to_str()?.to_owned()))
        });
        // All fields are optional texts, so that envy finds nothing to complain about.
        envy::prefixed(PREFIX).from_iter(known).unwrap_or_else(|error| {
            diagnostics.add(
                Place::Whole,
                "",
                format!("the environment cannot be read ({error}); report this as a bug"),
            );
            Self::default()
        })
    }

    /// `REGIONWATCH_PEERS`, where it is set.
    pub(super) fn peer_list<'a>(&'a self, diagnostics: &'a Diagnostics) -> Option<Variable<'a>> {
        self.peers(diagnostics)
    }

    /// `REGIONWATCH_DNS_SERVERS`, where it is set.
    pub(super) fn dns_server_list<'a>(&'a self, diagnostics: &'a Diagnostics) -> Option<Variable<'a>> {
        self.dns_servers(diagnostics)
    }

    /// Whether `REGIONWATCH_REGION` is set, be it well or badly.
    pub(super) fn names_region(&self) -> bool {
        self.region.as_deref().is_some_and(|text| !text.trim().is_empty())
    }

    /// Reads the environment's settings.
    pub(super) fn settings(&self, diagnostics: &Diagnostics, secrets: &Secrets<'_>) -> Settings {
        let pace = |interval: Option<Variable<'_>>, timeout: Option<Variable<'_>>| Timing {
            interval: interval.and_then(Variable::given),
            timeout: timeout.and_then(Variable::given),
        };
        let hold = |variable: Variable<'_>| variable.read(units::duration_in(HOLD));
        Settings {
            region: self.region(diagnostics).and_then(|v| v.read(region)),
            listen: self.listen(diagnostics).and_then(|v| v.read(addresses::listen)),
            external_url: self.external_url(diagnostics).and_then(|v| v.read(addresses::external_url)),
            zone: self.zone(diagnostics).and_then(|v| v.read(addresses::zone)),
            failure_domain: self.failure_domain(diagnostics).and_then(|v| v.read(addresses::failure_domain)),
            location: self.location(diagnostics).and_then(|v| v.read(addresses::location)),
            priority: self.priority(diagnostics).and_then(|v| v.read(units::whole(PRIORITY))),
            capacity: self.capacity(diagnostics).and_then(|v| v.read(units::ratio)),
            maintenance: self.maintenance(diagnostics).and_then(|v| v.read(units::flag)),
            alertmanagers: self.alertmanagers(diagnostics).and_then(|v| v.list(addresses::alertmanager)),
            anchors: self.anchors(diagnostics).and_then(|v| v.list(addresses::anchor)),
            allowed_zones: self.allowed_zones(diagnostics).and_then(|v| v.list(addresses::zone)),
            min_distance: self.min_distance(diagnostics).and_then(|v| v.read(units::distance)),
            rpo: self.rpo(diagnostics).and_then(hold),
            execute_after: self.execute_after(diagnostics).and_then(hold),
            allow_single_vantage: self.allow_single_vantage(diagnostics).and_then(|v| v.read(units::flag)),
            min_capacity: self.min_capacity(diagnostics).and_then(|v| v.read(units::ratio)),
            edge_burst: self.edge_burst(diagnostics).and_then(|v| v.read(units::flag)),
            votes: self.votes_key_file(diagnostics).and_then(|v| v.read(|text| votes::keys(text, secrets))),
            window: self.window(diagnostics).and_then(|v| v.read(units::duration_in(WINDOW))),
            buckets: self.buckets(diagnostics).and_then(|v| {
                let numbers: Vec<_> = v.entries().map(|entry| (entry, bucket(entry.text))).collect();
                for (entry, number) in &numbers {
                    let _ = number.as_ref().map_err(|reason| entry.wrong(reason));
                }
                let numbers = numbers.into_iter().map(|(_, number)| number).collect::<Result<Vec<_>, _>>().ok()?;
                v.read(|_| buckets(&numbers))?;
                Some(numbers)
            }),
            enable_lifecycle: self.enable_lifecycle(diagnostics).and_then(|v| v.read(units::flag)),
            log_level: self.log_level(diagnostics).and_then(|v| v.read(|text| choice(text, &LEVELS))),
            log_format: self.log_format(diagnostics).and_then(|v| v.read(|text| choice(text, &FORMATS))),
            timings: [
                pace(self.icmp_interval(diagnostics), self.icmp_timeout(diagnostics)),
                pace(self.dns_interval(diagnostics), self.dns_timeout(diagnostics)),
                pace(self.tcp_interval(diagnostics), self.tcp_timeout(diagnostics)),
                pace(self.http_interval(diagnostics), self.http_timeout(diagnostics)),
            ],
        }
    }
}

/// A sentence for each variable with our prefix that is not ours. It is no mistake: Kubernetes and others
/// put variables there that nobody asked for.
pub(super) fn warnings(environment: &BTreeMap<OsString, OsString>, secrets: &Secrets<'_>) -> Vec<String> {
    let known: BTreeSet<_> = NAMES.iter().chain(FOREIGN).copied().collect();
    let options: Vec<_> = known.iter().copied().collect();
    let names = environment.keys().map(|name| name.to_string_lossy());
    names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name.as_ref()))
        .filter(|name| !is_service_link(name) && !secrets.used(name))
        .map(|name| {
            let shown = name.escape_debug();
            match suggestion(&name, &options) {
                Some(option) => format!("{shown}: is not a known variable and has no effect; did you mean {option}?"),
                None => format!("{shown}: is not a known variable and has no effect; unset it"),
            }
        })
        .collect()
}

/// Whether Kubernetes sets such a variable for a Service whose name begins with `regionwatch`:
/// `X_SERVICE_HOST`, `X_SERVICE_PORT[_NAME]`, `X_PORT[_9877_TCP[_PROTO|_PORT|_ADDR]]`.
fn is_service_link(name: &str) -> bool {
    let Some(at) = name.find("_PORT") else { return name.ends_with("_SERVICE_HOST") };
    let rest = &name[at + "_PORT".len()..];
    let digits = rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    rest.is_empty() || digits || name[..at].ends_with("_SERVICE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_known() {
        for name in [
            "REGIONWATCH_PORT",
            "REGIONWATCH_SERVICE_HOST",
            "REGIONWATCH_SERVICE_PORT",
            "REGIONWATCH_SERVICE_PORT_HTTP",
            "REGIONWATCH_PORT_9877_TCP",
            "REGIONWATCH_PORT_9877_TCP_ADDR",
            "REGIONWATCH_US_SERVICE_HOST",
        ] {
            assert!(is_service_link(name), "{name}");
        }
        for name in NAMES.iter().chain(&["REGIONWATCH_PORTS", "REGIONWATCH_SUPPORT"]) {
            assert!(!is_service_link(name), "{name}");
        }
    }

    /// envy finds each field by the name that the variable has without the prefix.
    #[test]
    fn each_variable_reaches_its_field() {
        let diagnostics = Diagnostics::default();
        for name in NAMES {
            let environment = BTreeMap::from([((*name).into(), "x".into())]);
            let variables = Variables::pick(&environment, &diagnostics);
            let count = [
                &variables.region,
                &variables.listen,
                &variables.external_url,
                &variables.zone,
                &variables.failure_domain,
                &variables.location,
                &variables.priority,
                &variables.capacity,
                &variables.maintenance,
                &variables.alertmanagers,
                &variables.anchors,
                &variables.window,
                &variables.buckets,
                &variables.enable_lifecycle,
                &variables.log_level,
                &variables.log_format,
                &variables.allowed_zones,
                &variables.min_distance,
                &variables.rpo,
                &variables.execute_after,
                &variables.allow_single_vantage,
                &variables.min_capacity,
                &variables.edge_burst,
                &variables.votes_key_file,
                &variables.icmp_interval,
                &variables.icmp_timeout,
                &variables.dns_interval,
                &variables.dns_timeout,
                &variables.tcp_interval,
                &variables.tcp_timeout,
                &variables.http_interval,
                &variables.http_timeout,
                &variables.peers,
                &variables.dns_servers,
            ]
            .iter()
            .filter(|field| field.is_some())
            .count();
            assert_eq!(count, 1, "{name}");
        }
        assert!(diagnostics.into_errors("").is_none());
    }
}
