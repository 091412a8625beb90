//! What the vantages did.

use std::collections::BTreeMap;

use regionwatch::model::PeerState;

use super::timeline::Time;

/// What a vantage said of a region, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) at: Time,
    pub(crate) by: usize,
    pub(crate) of: usize,
    /// When the first probe was lost.
    pub(crate) onset: Time,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) suspected: Vec<Said>,
    /// Went down, at first or again, and whether a quorum said so.
    pub(crate) down: Vec<(Said, bool)>,
    pub(crate) opened: Vec<Said>,
    pub(crate) confirmed: Vec<Said>,
    pub(crate) executed: Vec<Said>,
    pub(crate) moves: BTreeMap<(PeerState, PeerState), u64>,
    pub(crate) isolated: u64,
    /// Probes in slots, and beside them.
    pub(crate) probes: u64,
    pub(crate) extra: u64,
    /// Virtual time that was simulated probe by probe.
    pub(crate) watched: Time,
    /// Times that a vantage asked to be woken at once, again.
    pub(crate) restless: u64,
}
