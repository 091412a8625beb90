//! One entry of `probes`: what all kinds share, and the ICMP and TCP probes.

use std::{sync::Arc, time::Duration};

use super::{
    dns, http,
    pattern::pattern,
    tls,
    types::{IcmpSpec, ProbeSpec, TcpSpec},
};
use crate::{
    model::{Cadence, Host, Kind},
    probe,
    yaml::{
        Diagnostics, Fields, Item, Parsed, ReadContext, Spanned,
        diagnostics::{hint, one_of, quoted},
        units::{self, duration_text},
    },
};

/// A kind as the file names it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum FileKind {
    Icmp,
    Dns,
    Tcp,
    Http,
}

/// The kinds, their names and the keys that only they have.
pub(super) const KINDS: [(&str, FileKind, &[&str]); 4] = [
    ("icmp", FileKind::Icmp, &["size", "ttl", "dont_fragment"]),
    ("dns", FileKind::Dns, &dns::KEYS),
    ("tcp", FileKind::Tcp, &["port", "tls", "send", "expect"]),
    ("http", FileKind::Http, &http::KEYS),
];

/// The keys that probes of all kinds have.
const SHARED_KEYS: [&str; 4] = ["kind", "interval", "timeout", "critical"];

/// A probe that was read.
pub(super) struct Read<'a> {
    pub(super) item: Item<'a>,
    /// `None` where the kind itself is wrong.
    pub(super) kind: Option<Kind>,
    pub(super) critical: bool,
    /// `None` where something else is wrong.
    pub(super) probe: Option<(Cadence, ProbeSpec)>,
}

impl Read<'_> {
    /// The host of the probe's URL; kinds without a URL go to the target's host.
    pub(super) fn url_host(&self) -> Option<&Host> {
        match &self.probe {
            Some((_, ProbeSpec::Http(spec))) => Some(&spec.url.host),
            _ => None,
        }
    }
}

/// Reads one probe.
pub(super) fn read<'a>(item: &Item<'a>, reading: &ReadContext<'_>) -> Option<Read<'a>> {
    let fields = item.any_fields()?;
    let names: Vec<_> = KINDS.iter().map(|(name, ..)| *name).collect();
    let kind = fields.required("kind", "write icmp, dns, tcp or http").and_then(|item| {
        let text = item.text()?;
        let found = KINDS.iter().find(|(name, ..)| *name == text);
        if found.is_none() {
            item.wrong_value(&format!("is not a kind of probe; {}", hint(text, &names)));
        }
        found
    });
    let Some((name, kind, own_keys)) = kind else {
        return Some(Read { item: item.clone(), kind: None, critical: false, probe: None });
    };
    let keys: Vec<_> = SHARED_KEYS.iter().chain(*own_keys).copied().collect();
    let fields = fields.only(|key| other_key(name, key, &keys), &keys);
    let cadence = cadence(&fields, reading.defaults[name], reading.diagnostics);
    let (kind, spec) = match kind {
        FileKind::Icmp => (probe::ICMP, Some(ProbeSpec::Icmp(icmp(&fields)))),
        FileKind::Dns => (probe::DNS, dns::probe(&fields, reading).map(ProbeSpec::Dns)),
        FileKind::Tcp => (probe::TCP, tcp(&fields, reading).map(ProbeSpec::Tcp)),
        FileKind::Http => {
            let sidecar = fields.read("sidecar", |item| item.flag()).unwrap_or(false);
            let kind = if sidecar { probe::SIDECAR } else { probe::HTTP };
            (kind, http::probe(&fields, sidecar, reading).map(|spec| ProbeSpec::Http(Box::new(spec))))
        }
    };
    let critical = fields.read("critical", |item| critical(item, kind)).unwrap_or(false);
    Some(Read { item: item.clone(), kind: Some(kind), critical, probe: cadence.zip(spec) })
}

/// Whether the region is down when this probe fails; of echoes and sidecars that cannot be said.
fn critical(item: &Item<'_>, kind: Kind) -> Option<bool> {
    let critical = item.flag()?;
    if let Some(why) = kind.never_critical().filter(|_| critical) {
        item.wrong(format!("cannot be true for {kind} probes, as {why}; write it at a dns, tcp or http probe"));
    }
    Some(critical)
}

/// What to do about a key that this kind does not have.
fn other_key(kind: &str, key: &str, keys: &[&str]) -> String {
    let owners: Vec<_> = KINDS.iter().filter(|(.., keys)| keys.contains(&key)).map(|(name, ..)| *name).collect();
    if owners.is_empty() {
        format!("write {}", one_of(keys))
    } else {
        format!("{kind} probes have none, {} probes have; delete it here", owners.join(" and "))
    }
}

/// What an interval or a timeout may be.
pub(super) fn pace(text: &str) -> Parsed<Duration> {
    units::duration_in(Cadence::MIN_INTERVAL..=Cadence::MAX_INTERVAL)(text)
}

/// Reads an interval or a timeout.
pub(super) fn given(item: &Item<'_>) -> Option<Spanned<Duration>> {
    item.spanned(pace)
}

/// Reads `interval` and `timeout` of a probe.
fn cadence(fields: &Fields<'_>, defaults: Cadence, diagnostics: &Diagnostics) -> Option<Cadence> {
    let (interval, timeout) = (fields.read("interval", given), fields.read("timeout", given));
    paired(interval.as_ref(), timeout.as_ref(), defaults, diagnostics)
}

/// Interval and timeout together; too many probes in flight are noted where one of both was given.
pub(super) fn paired(
    interval: Option<&Spanned<Duration>>,
    timeout: Option<&Spanned<Duration>>,
    defaults: Cadence,
    diagnostics: &Diagnostics,
) -> Option<Cadence> {
    let every = interval.map_or_else(|| defaults.interval(), |given| given.value);
    let within = timeout.map_or_else(|| defaults.timeout(), |given| given.value);
    let cadence = Cadence::new(every, within);
    if let (None, Some(given)) = (cadence, timeout.or(interval)) {
        let most = (every * Cadence::MAX_IN_FLIGHT).min(Cadence::MAX_INTERVAL);
        let least = Duration::from_millis(within.as_millis().div_ceil(Cadence::MAX_IN_FLIGHT.into()) as u64);
        let other = if timeout.is_some() {
            format!("at an interval of {}", duration_text(every))
        } else {
            format!("with a timeout of {}", duration_text(within))
        };
        let text = format!(
            "{} {other} keeps more than {} probes in flight; write a timeout of at most {} or an interval of at least {}",
            quoted(&given.text),
            Cadence::MAX_IN_FLIGHT,
            duration_text(most),
            duration_text(least),
        );
        diagnostics.add(given.place.clone(), &given.key, text);
    }
    cadence
}

fn icmp(fields: &Fields<'_>) -> IcmpSpec {
    let default = IcmpSpec::default();
    IcmpSpec {
        size: fields.read("size", |item| item.word(16..=65507)).unwrap_or(default.size),
        ttl: fields.read("ttl", |item| item.byte(1..=255)),
        dont_fragment: fields.read("dont_fragment", |item| item.flag()).unwrap_or(default.dont_fragment),
    }
}

fn tcp(fields: &Fields<'_>, reading: &ReadContext<'_>) -> Option<TcpSpec> {
    let tls = fields.get("tls").and_then(|item| {
        if item.is_mapping() { tls::read(&item, reading) } else { item.flag()?.then(Default::default) }
    });
    let send = fields.read("send", |item| item.text()).map(|text| Arc::from(text.as_bytes()));
    let expect = fields.read("expect", |item| item.read(pattern));
    let port = fields.required("port", "write the port to connect to, such as 443")?;
    Some(TcpSpec { port: port.port()?, tls, send, expect })
}
