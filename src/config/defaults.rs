//! `defaults.KIND`: interval and timeout of the probes of each kind that have none of their own.

use std::collections::BTreeMap;

use super::{
    env::Variables,
    probes::{pace, paired},
};
use crate::{
    model::Cadence,
    probe::KINDS,
    yaml::{Diagnostics, Fields},
};

/// The key in the file's top level.
pub(super) const KEY: &str = "defaults";

const NAMES: [&str; 2] = ["interval", "timeout"];

/// Each kind of probe that can be configured, with its own cadence.
pub(super) fn kinds() -> impl Iterator<Item = (&'static str, Cadence)> {
    KINDS.into_iter().map(|kind| (kind.as_str(), kind.default_cadence()))
}

/// The variables for interval and timeout of a kind.
pub(super) fn variables(kind: &str) -> [String; 2] {
    NAMES.map(|name| format!("REGIONWATCH_{}_{}", kind.to_uppercase(), name.to_uppercase()))
}

/// Reads the cadence of each kind.
pub(super) fn read(
    root: Option<&Fields<'_>>,
    variables: &Variables<'_>,
    diagnostics: &Diagnostics,
) -> BTreeMap<&'static str, Cadence> {
    let names: Vec<_> = kinds().map(|(kind, _)| kind).collect();
    let file = root.and_then(|root| root.get(KEY)).and_then(|item| item.fields(&names));
    kinds()
        .map(|(kind, usual)| {
            let fields = file.as_ref().and_then(|file| file.get(kind)).and_then(|item| item.fields(&NAMES));
            let names = self::variables(kind);
            let [interval, timeout] = [0, 1].map(|n| {
                let below = fields.as_ref().and_then(|fields| fields.get(NAMES[n])?.spanned(pace));
                variables.get(&names[n]).and_then(|variable| variable.spanned(pace)).or(below)
            });
            let cadence = paired(interval.as_ref(), timeout.as_ref(), usual, diagnostics);
            (kind, cadence.unwrap_or(usual))
        })
        .collect()
}
