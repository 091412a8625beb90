//! Kinds of probes, as far as everyone but their own module knows them: a name and some facts.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use super::{Cadence, labels};

/// What deciding, ranking, metrics and pages ask about a kind of probe.
#[derive(Debug)]
pub struct Facts {
    /// The value of the `probe` label, and the word of configuration files. Unique.
    pub name: &'static str,
    /// The name on pages.
    pub title: &'static str,
    /// The layer that an answer vouches for.
    pub layer: Layer,
    /// Probed often and answered by kernels, so that silence on it is evidence at once. The other kinds are answered by
    /// servers, and only join in.
    pub fast: bool,
    /// Many networks drop it, so that a path on which it was never answered says nothing.
    pub often_filtered: bool,
    /// Why such a probe cannot be critical, for an error message; `None` where it can.
    pub never_critical: Option<&'static str>,
    /// The target is the regionwatch of the peer region: its answer carries votes.
    pub carries_votes: bool,
    /// Whose latency ranks a region if several kinds measure it: the lowest.
    pub preference: u8,
    /// How often a probe starts if the configuration does not say.
    pub interval: Duration,
    /// How long its answer is waited for if the configuration does not say.
    pub timeout: Duration,
}

labels! {
    /// The network layer that an answer vouches for; the `layer` label of `probe_success`.
    pub enum Layer {
        /// The network: a host answers.
        L3 = "l3",
        /// The transport: a port is open.
        L4 = "l4",
        /// The application: a server answers.
        L7 = "l7",
    }
}

/// What kind of probe a path carries; the `probe` label. The values are those of the probe module's list.
///
/// Two kinds are equal if their names are. They sort by layer, then by name.
#[derive(Clone, Copy)]
pub struct Kind(&'static Facts);

impl Kind {
    /// The kind with these facts.
    pub const fn new(facts: &'static Facts) -> Self {
        Self(facts)
    }

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        self.0.name
    }

    /// The name on pages.
    pub const fn title(self) -> &'static str {
        self.0.title
    }

    /// The layer that an answer vouches for.
    pub const fn layer(self) -> Layer {
        self.0.layer
    }

    /// Whether silence on it is evidence at once; see [`Facts::fast`].
    pub const fn is_fast(self) -> bool {
        self.0.fast
    }

    /// Whether many networks drop it; see [`Facts::often_filtered`].
    pub const fn is_often_filtered(self) -> bool {
        self.0.often_filtered
    }

    /// Why such a probe cannot be critical, if it cannot.
    pub const fn never_critical(self) -> Option<&'static str> {
        self.0.never_critical
    }

    /// Whether its answer carries votes; see [`Facts::carries_votes`].
    pub const fn carries_votes(self) -> bool {
        self.0.carries_votes
    }

    /// Whose latency ranks a region if several kinds measure it: the lowest.
    pub const fn preference(self) -> u8 {
        self.0.preference
    }

    /// How often and for how long a probe runs if the configuration does not say.
    ///
    /// # Panics
    /// If the facts are out of range, which a test of the list of kinds rules out.
    pub fn default_cadence(self) -> Cadence {
        Cadence::new(self.0.interval, self.0.timeout).expect("the facts of a kind are in range")
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kind {}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.layer, self.0.name).cmp(&(other.0.layer, other.0.name))
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}
