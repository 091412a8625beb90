//! `defaults.KIND`: interval and timeout of the probes of each kind that have none of their own.

use std::collections::BTreeMap;

use super::{
    env::Variables,
    probes::{cadence, timing},
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

/// The variable for a key of a kind.
fn variable(kind: &str, key: &str) -> String {
    format!("REGIONWATCH_{}_{}", kind.to_uppercase(), key.to_uppercase())
}

/// The variables for interval and timeout of a kind.
pub(super) fn variables(kind: &str) -> [String; 2] {
    NAMES.map(|key| variable(kind, key))
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
            let given = |key: &str| {
                let below = fields.as_ref().and_then(|fields| fields.get(key)?.spanned(timing));
                variables.get(&variable(kind, key)).and_then(|variable| variable.spanned(timing)).or(below)
            };
            let cadence = cadence(given, usual, diagnostics);
            (kind, cadence.unwrap_or(usual))
        })
        .collect()
}
