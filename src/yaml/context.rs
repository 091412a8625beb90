//! What is known while a list of probes is read.

use std::collections::BTreeMap;

use super::{diagnostics::Diagnostics, secrets::Secrets};
use crate::model::{Cadence, LabelName, LabelValue, Region};

/// What the readers of peers and of probes know besides their own lines.
pub(crate) struct ReadContext<'a> {
    /// Where errors go.
    pub(crate) diagnostics: &'a Diagnostics,
    /// Where secrets and files come from.
    pub(crate) secrets: &'a Secrets<'a>,
    /// The cadence of each kind of probe, by its name, if a probe has none of its own.
    pub(crate) defaults: BTreeMap<&'static str, Cadence>,
    /// This instance's own region, if it is known.
    pub(crate) own: Option<Region>,
    /// The labels that every series has, whose names no target can give to its own.
    pub(crate) labels: BTreeMap<LabelName, LabelValue>,
}
