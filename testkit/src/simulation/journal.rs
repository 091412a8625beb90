//! What the vantages did.

use std::{collections::BTreeMap, sync::Arc};

use regionwatch::model::{PeerState, Region};

use super::timeline::Time;

/// What a vantage said of a region, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub at: Time,
    pub by: usize,
    pub of: usize,
    /// When the first probe was lost.
    pub onset: Time,
}

/// An order to fail over, from when a vantage gives it until the vantage withdraws it or does not run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub by: usize,
    pub of: usize,
    pub begin: Time,
    /// `None` while it is given.
    pub end: Option<Time>,
}

/// That a vantage orders what an operator has commanded from now on, or does not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commanded {
    pub at: Time,
    pub by: usize,
    pub of: usize,
    pub target: usize,
    pub ordered: bool,
}

#[derive(Debug, Default)]
pub struct Journal {
    pub suspected: Vec<Said>,
    /// Went down, at first or again, and whether a quorum said so.
    pub down: Vec<(Said, bool)>,
    pub opened: Vec<Said>,
    pub confirmed: Vec<Said>,
    pub executed: Vec<Said>,
    pub orders: Vec<Order>,
    pub commanded: Vec<Commanded>,
    /// Times that an order was given for a region that its vantage did not hold down.
    pub unheld: u64,
    /// Times that more regions were ordered by all vantages together than the policy allows.
    pub unlimited: u64,
    /// Times that an incident was ordered with another target than before, by the same or another vantage.
    pub retargeted: u64,
    /// Times that a region was ordered that is not armed, or by a vantage that knows of an operator who has forbidden it, or
    /// without a target.
    pub unlawful: u64,
    /// The target of each incident that was ordered.
    pub targets: BTreeMap<Arc<str>, Region>,
    pub moves: BTreeMap<(PeerState, PeerState), u64>,
    pub isolated: u64,
    /// Times that a vantage saw the services of a region fail from a common cause.
    pub common: u64,
    /// Probes in slots, and beside them.
    pub probes: u64,
    pub extra: u64,
    /// Virtual time that was simulated probe by probe.
    pub watched: Time,
    /// Times that a vantage asked to be woken at once, again.
    pub restless: u64,
}
