//! Types of settings: how a value is read from the file and from a variable, and how it is printed.

use std::{
    collections::BTreeMap, fmt::Display, net::SocketAddr, ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration,
};

use super::{
    addresses, labels, signing,
    signing::SigningKey,
    types::{Anchor, Location, LogFormat, LogLevel, MAX_BUCKETS, Maintenance, Operator},
    url_template::{self, UrlTemplate},
    votes::{self, VoteKeys},
};
use crate::{
    model::{HttpUrl, LabelName, LabelValue, Region, UnixMillis},
    yaml::{Item, Parsed, addresses::region, secrets::Secrets, units, writer::quote},
};

/// How the values of a setting are read and printed. A reading method that returns `None` has reported why.
pub(super) trait ValueType<T> {
    /// Reads the value of a key of the file, or of a variable.
    fn read(&self, item: &Item<'_>, secrets: &Secrets<'_>) -> Option<T>;

    /// The value as YAML on one line, which [`ValueType::read`] reads as the same value.
    fn print(&self, value: &T) -> String;
}

/// One word or number, written alike in the file and in a variable.
pub(super) struct Scalar<T: 'static> {
    parse: fn(&str) -> Parsed<T>,
    print: fn(&T) -> String,
    /// Whether quotes around it are an error.
    plain: bool,
}

impl<T> ValueType<T> for Scalar<T> {
    fn read(&self, item: &Item<'_>, _: &Secrets<'_>) -> Option<T> {
        if self.plain { item.plain(self.parse) } else { item.read(self.parse) }
    }

    fn print(&self, value: &T) -> String {
        (self.print)(value)
    }
}

/// A text.
const fn text<T: Display>(parse: fn(&str) -> Parsed<T>) -> Scalar<T> {
    Scalar { parse, print: |value| quote(&value.to_string()), plain: false }
}

/// A number or a flag.
const fn plain<T: Display>(parse: fn(&str) -> Parsed<T>) -> Scalar<T> {
    Scalar { parse, print: |value| value.to_string(), plain: true }
}

/// A number with a unit.
const fn unit<T>(parse: fn(&str) -> Parsed<T>, print: fn(&T) -> String) -> Scalar<T> {
    Scalar { parse, print, plain: false }
}

const fn duration(parse: fn(&str) -> Parsed<Duration>) -> Scalar<Duration> {
    unit(parse, |duration| units::duration_text(*duration))
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const PRIORITIES: RangeInclusive<u32> = 0..=1_000_000;

pub(super) const REGION: Scalar<Region> = text(region);
pub(super) const ZONE: Scalar<Arc<str>> = text(addresses::zone);
pub(super) const FAILURE_DOMAIN: Scalar<Arc<str>> = text(addresses::failure_domain);
pub(super) const PRIORITY: Scalar<u32> = plain(|text| units::whole(PRIORITIES)(text));
/// At least one: arming says whether there are failovers at all.
pub(super) const MAX_DOWN: Scalar<u32> = plain(|text| units::whole(1..=1_000)(text));
pub(super) const RATIO: Scalar<f64> = plain(units::ratio);
pub(super) const FLAG: Scalar<bool> = plain(units::flag);
pub(super) const LISTEN: Scalar<SocketAddr> = text(addresses::listen);
pub(super) const BASE_URL: Scalar<HttpUrl> = text(addresses::external_url);
pub(super) const RUNBOOK_URL: Scalar<UrlTemplate> = text(url_template::runbook);
pub(super) const DASHBOARD_URL: Scalar<UrlTemplate> = text(url_template::dashboard);
pub(super) const DISTANCE: Scalar<f64> = unit(units::distance, |meters| units::distance_text(*meters));
/// How long something is held or tolerated.
pub(super) const HOLD: Scalar<Duration> = duration(|text| units::duration_in(Duration::ZERO..=DAY)(text));
/// A shorter window has no quantiles; a longer one is Prometheus' work.
pub(super) const WINDOW: Scalar<Duration> = duration(|text| units::duration_in(10 * SECOND..=3600 * SECOND)(text));
pub(super) const LEVEL: Scalar<LogLevel> =
    text(|text| units::choice(text, &LogLevel::ALL.map(|level| (level.as_str(), level))));
pub(super) const FORMAT: Scalar<LogFormat> =
    text(|text| units::choice(text, &LogFormat::ALL.map(|format| (format.as_str(), format))));

pub(super) const ANCHORS: Distinct<Anchor> = Distinct(addresses::anchor);
pub(super) const ZONES: Distinct<Arc<str>> = Distinct(addresses::zone);

/// A short list without duplicates; in a variable with commas between.
pub(super) struct Distinct<T: 'static>(fn(&str) -> Parsed<T>);

/// The most entries of a [`Distinct`] list of the file.
pub(super) const MAX_DISTINCT: usize = 64;

impl<T: PartialEq + Display> ValueType<Vec<T>> for Distinct<T> {
    fn read(&self, item: &Item<'_>, _: &Secrets<'_>) -> Option<Vec<T>> {
        let items = item.list()?;
        if items.len() > MAX_DISTINCT {
            item.wrong(format!("has {} entries; write at most {MAX_DISTINCT}", items.len()));
            return None;
        }
        let mut list = Vec::new();
        for item in items {
            let Some(value) = item.read(self.0) else { continue };
            if list.contains(&value) {
                item.wrong_value("is a duplicate; delete it");
            }
            list.push(value);
        }
        Some(list)
    }

    fn print(&self, values: &Vec<T>) -> String {
        let values: Vec<_> = values.iter().map(|value| quote(&value.to_string())).collect();
        format!("[{}]", values.join(", "))
    }
}

/// The name of an environment; an empty one is none.
pub(super) struct Environment;

impl ValueType<LabelValue> for Environment {
    fn read(&self, item: &Item<'_>, _: &Secrets<'_>) -> Option<LabelValue> {
        labels::environment(item)
    }

    fn print(&self, environment: &LabelValue) -> String {
        quote(environment.as_str())
    }
}

/// Names and values: a mapping in the file, `NAME=VALUE,...` in a variable.
pub(super) struct Labels;

impl ValueType<BTreeMap<LabelName, LabelValue>> for Labels {
    fn read(&self, item: &Item<'_>, _: &Secrets<'_>) -> Option<BTreeMap<LabelName, LabelValue>> {
        labels::read(item)
    }

    fn print(&self, labels: &BTreeMap<LabelName, LabelValue>) -> String {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}: {}", quote(value.as_str()))).collect();
        format!("{{{}}}", labels.join(", "))
    }
}

/// Upper bounds of a histogram's buckets, in seconds.
pub(super) struct Buckets;

impl Buckets {
    fn bound(text: &str) -> Parsed<f64> {
        const HINT: &str = "write seconds without a unit, such as 0.25";
        match units::decimal(text) {
            Ok(bound) if bound <= 0.0 => Err(format!("is not above 0; {HINT}")),
            Err(_) if units::duration(text).is_ok() => Err(format!("is not a number; {HINT}")),
            other => other,
        }
    }

    fn check(bounds: &[f64]) -> Parsed<()> {
        const HINT: &str = "write seconds in ascending order such as [0.005, 0.05, 0.5]";
        match bounds {
            [] => Err(format!("has no bucket; {HINT}")),
            _ if bounds.len() > MAX_BUCKETS => {
                Err(format!("has {} buckets; write at most {MAX_BUCKETS}", bounds.len()))
            }
            _ => match bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
                Some(pair) => Err(format!("has {} after {}; {HINT}", pair[1], pair[0])),
                None => Ok(()),
            },
        }
    }
}

impl ValueType<Vec<f64>> for Buckets {
    fn read(&self, item: &Item<'_>, _: &Secrets<'_>) -> Option<Vec<f64>> {
        let bounds = item.each(|item| item.plain(Self::bound))?;
        if bounds.len() == item.list()?.len() {
            Self::check(&bounds).map_err(|reason| item.wrong_value(&reason)).ok()?;
        }
        Some(bounds)
    }

    fn print(&self, bounds: &Vec<f64>) -> String {
        format!("{bounds:?}")
    }
}

/// Latitude and longitude, in degrees: a mapping in the file, `53.35,-6.26` in a variable.
pub(super) struct Coordinates;

impl ValueType<Location> for Coordinates {
    fn read(&self, item: &Item<'_>, _: &Secrets<'_>) -> Option<Location> {
        if item.is_variable() {
            return item.read(addresses::location);
        }
        let fields = item.fields(&["latitude", "longitude"])?;
        let degrees = |key: &str, most: f64| {
            let item = fields.required(key, "write latitude and longitude in degrees such as 53.35 and -6.26")?;
            let degrees = item.decimal()?;
            if degrees.abs() > most {
                item.wrong_value(&format!("is out of range; write -{most} to {most}"));
            }
            Some(degrees)
        };
        let (latitude, longitude) = (degrees("latitude", 90.0), degrees("longitude", 180.0));
        Some(Location { latitude: latitude?, longitude: longitude? })
    }

    fn print(&self, Location { latitude, longitude }: &Location) -> String {
        format!("{{latitude: {latitude}, longitude: {longitude}}}")
    }
}

/// `true`, `false`, or when it ends: a mapping in the file, the time alone in a variable.
pub(super) struct MaintenanceType;

/// The key of the end of a maintenance.
const UNTIL: &str = "until";

impl ValueType<Maintenance> for MaintenanceType {
    fn read(&self, item: &Item<'_>, secrets: &Secrets<'_>) -> Option<Maintenance> {
        let time = |text: &str| {
            let hint = "is not a time; write one such as 2026-11-30T14:00:00Z";
            UnixMillis::parse(text).map(Maintenance::Until).ok_or_else(|| hint.to_owned())
        };
        if item.is_mapping() {
            let fields = item.fields(&[UNTIL])?;
            return fields.required(UNTIL, "write when it ends, such as 2026-11-30T14:00:00Z")?.read(time);
        }
        if item.is_variable() && item.raw().is_some_and(|text| text.contains(':')) {
            return item.read(time);
        }
        Some(if FLAG.read(item, secrets)? { Maintenance::Yes } else { Maintenance::No })
    }

    fn print(&self, maintenance: &Maintenance) -> String {
        match maintenance {
            Maintenance::No => "false".to_owned(),
            Maintenance::Yes => "true".to_owned(),
            Maintenance::Until(at) => format!("{{{UNTIL}: {}}}", quote(&at.to_string())),
        }
    }
}

/// Operators, each `NAME=KEY`.
pub(super) struct Operators;

impl ValueType<Vec<Operator>> for Operators {
    fn read(&self, item: &Item<'_>, _: &Secrets<'_>) -> Option<Vec<Operator>> {
        let items = item.clone().secret().list()?;
        if items.len() > MAX_DISTINCT {
            item.wrong(format!("has {} entries; write at most {MAX_DISTINCT}", items.len()));
            return None;
        }
        let mut operators: Vec<Operator> = Vec::new();
        for item in items {
            let Some(text) = item.text() else { continue };
            match signing::operator(text) {
                Ok(new) if operators.iter().any(|known| known.name == new.name || known.key == new.key) => {
                    item.wrong("has a name or a key that another operator has; write another one");
                }
                Ok(new) => operators.push(new),
                Err(reason) => item.wrong(reason),
            }
        }
        Some(operators)
    }

    fn print(&self, operators: &Vec<Operator>) -> String {
        let operators: Vec<_> =
            operators.iter().map(|Operator { name, key }| quote(&format!("{name}={key}"))).collect();
        format!("[{}]", operators.join(", "))
    }
}

/// The path of a folder.
pub(super) struct Folder;

impl ValueType<PathBuf> for Folder {
    fn read(&self, item: &Item<'_>, secrets: &Secrets<'_>) -> Option<PathBuf> {
        item.read(|text| {
            if text.contains(char::is_control) {
                return Err("contains a control character; write the path of a folder".to_owned());
            }
            secrets.path(text).map_err(|reason| reason.replace("a file", "a folder"))
        })
    }

    fn print(&self, folder: &PathBuf) -> String {
        quote(&folder.display().to_string())
    }
}

/// The path of a file with the keys of votes.
pub(super) struct KeyFile;

impl ValueType<VoteKeys> for KeyFile {
    fn read(&self, item: &Item<'_>, secrets: &Secrets<'_>) -> Option<VoteKeys> {
        let (keys, warnings) = item.read(|text| votes::read(text, secrets))?;
        warnings.into_iter().for_each(|warning| item.warn(warning));
        Some(keys)
    }

    fn print(&self, keys: &VoteKeys) -> String {
        quote(&keys.file.display().to_string())
    }
}

/// The path of a file with the key that signs orders.
pub(super) struct SigningKeyFile;

impl ValueType<SigningKey> for SigningKeyFile {
    fn read(&self, item: &Item<'_>, secrets: &Secrets<'_>) -> Option<SigningKey> {
        let (key, warnings) = item.read(|text| signing::read(text, secrets))?;
        warnings.into_iter().for_each(|warning| item.warn(warning));
        Some(key)
    }

    fn print(&self, key: &SigningKey) -> String {
        quote(&key.file.display().to_string())
    }
}
