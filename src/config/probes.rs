//! One entry of `probes`: what all kinds share. The kinds read the rest.

use std::time::Duration;

use crate::{
    model::{Cadence, Host, Kind},
    probe::{KIND_ENTRIES, KINDS, KindEntry, ProbeSpec},
    yaml::{
        Diagnostics, Item, Parsed, ReadContext, Spanned,
        diagnostics::{hint, one_of, quoted},
        units::{self, duration_text},
    },
};

/// The keys that probes of all kinds have.
const SHARED_KEYS: [&str; 4] = ["kind", "interval", "timeout", "critical"];

/// A probe that was read.
pub(super) struct Read<'a> {
    pub(super) item: Item<'a>,
    /// `None` if the kind itself is wrong.
    pub(super) entry: Option<&'static KindEntry>,
    pub(super) critical: bool,
    /// `None` if something else is wrong.
    pub(super) probe: Option<(Cadence, ProbeSpec)>,
}

impl<'a> Read<'a> {
    /// The host of the probe's URL; kinds without a URL go to the target's host.
    pub(super) fn url_host(&self) -> Option<&Host> {
        self.probe.as_ref()?.1.url_host()
    }

    /// The hosts that it connects to, each with the item that names it. Kinds without a URL go to the target's host.
    pub(super) fn connects_to(&self) -> Vec<(Item<'a>, &Host)> {
        let (Some((_, spec)), Some(fields)) = (&self.probe, self.item.any_fields()) else { return Vec::new() };
        spec.connects_to().into_iter().filter_map(|(key, host)| Some((fields.get(key)?, host))).collect()
    }
}

/// Reads one probe.
pub(super) fn read<'a>(item: &Item<'a>, context: &ReadContext<'_>) -> Option<Read<'a>> {
    let fields = item.any_fields()?;
    let names = KINDS.map(Kind::as_str);
    let written = fields.required("kind", &format!("write {}", one_of(&names))).and_then(|item| {
        let text = item.text()?;
        let found = KIND_ENTRIES.iter().find(|entry| entry.kind.as_str() == text);
        if found.is_none() {
            item.wrong_value(&format!("is not a kind of probe; {}", hint(text, &names)));
        }
        found
    });
    let Some(written) = written else {
        return Some(Read { item: item.clone(), entry: None, critical: false, probe: None });
    };
    let name = written.kind.as_str();
    let aliases: Vec<_> = KIND_ENTRIES
        .iter()
        .filter_map(|entry| entry.alias.filter(|(kind, _)| *kind == name).map(|(_, flag)| (flag, entry)))
        .collect();
    let flags = aliases.iter().map(|(flag, _)| flag);
    let keys: Vec<_> = SHARED_KEYS.iter().chain(written.keys).chain(flags).copied().collect();
    let fields = fields.only(|key| other_key(name, key, &keys), &keys);
    let is_set = |flag: &str| fields.read(flag, |item| item.flag()) == Some(true);
    let entry = aliases.into_iter().find(|(flag, _)| is_set(flag)).map_or(written, |(_, entry)| entry);
    let timing = |key: &str| fields.get(key)?.spanned(timing);
    let cadence = cadence(timing, context.defaults[name], context.diagnostics);
    let spec = (entry.read)(&fields, context);
    let critical = fields.read("critical", |item| critical(item, entry.kind)).unwrap_or(false);
    Some(Read { item: item.clone(), entry: Some(entry), critical, probe: cadence.zip(spec) })
}

/// Whether the region counts as down when this probe fails, which not every kind can tell.
fn critical(item: &Item<'_>, kind: Kind) -> Option<bool> {
    let critical = item.flag()?;
    if let Some(why) = kind.never_critical().filter(|_| critical) {
        let can: Vec<_> = KINDS.into_iter().filter(|kind| kind.never_critical().is_none()).map(Kind::as_str).collect();
        item.wrong(format!("cannot be true for {kind} probes, because {why}; write it at a {} probe", one_of(&can)));
    }
    Some(critical)
}

/// What to do about a key that this kind does not have.
fn other_key(kind: &str, key: &str, keys: &[&str]) -> String {
    let owners = KIND_ENTRIES.iter().filter(|entry| entry.keys.contains(&key)).map(|entry| entry.kind.as_str());
    let owners: Vec<_> = owners.collect();
    if owners.is_empty() {
        format!("write {}", one_of(keys))
    } else {
        format!("it belongs to {} probes, not to {kind}; delete it", one_of(&owners))
    }
}

/// An interval or a timeout.
pub(super) fn timing(text: &str) -> Parsed<Duration> {
    units::duration_in(Cadence::MIN_INTERVAL..=Cadence::MAX_INTERVAL)(text)
}

/// Reads `interval` and `timeout`, and reports too many probes in flight if one of both is given.
pub(super) fn cadence(
    given: impl Fn(&str) -> Option<Spanned<Duration>>,
    defaults: Cadence,
    diagnostics: &Diagnostics,
) -> Option<Cadence> {
    let (interval, timeout) = (given("interval"), given("timeout"));
    let every = interval.as_ref().map_or_else(|| defaults.interval(), |given| given.value);
    let within = timeout.as_ref().map_or_else(|| defaults.timeout(), |given| given.value);
    let cadence = Cadence::new(every, within);
    if let (None, Some(given)) = (cadence, timeout.as_ref().or(interval.as_ref())) {
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
