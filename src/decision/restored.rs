//! An incident that Alertmanager holds at the start of this process, until this vantage has a verdict of its own.

use std::sync::Arc;

use super::OpenIncident;
use crate::model::{Candidate, Incident, Stage};

/// An incident that is remembered, but not reported.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) open: OpenIncident,
    /// The targets that were last reported.
    pub(super) candidates: Vec<Candidate>,
}

impl Restored {
    /// Takes one more stage of it. Of two incidents the one that was ordered stays, else the first.
    pub(super) fn merge(before: Option<Self>, told: &Incident) -> Self {
        let is_executed = told.stage == Stage::Execute;
        let mut restored = before
            .filter(|before| before.open.id == told.id || before.open.executed || !is_executed)
            .unwrap_or_else(|| Self::new(told));
        if restored.open.id == told.id {
            restored.open.confirm(told);
            if !told.candidates.is_empty() {
                restored.candidates.clone_from(&told.candidates);
            }
        }
        restored
    }

    fn new(told: &Incident) -> Self {
        let mut open = OpenIncident::new(Arc::clone(&told.id), told.onset, told.cause);
        (open.tally, open.from_before) = (told.tally, true);
        Self { open, candidates: Vec::new() }
    }
}

impl OpenIncident {
    /// Goes on from a stage that was reported before.
    pub(super) fn confirm(&mut self, told: &Incident) {
        let is_executed = told.stage == Stage::Execute;
        self.was_common |= told.common_mode;
        self.confirmed |= told.confirmed || is_executed;
        self.executed |= is_executed;
        if is_executed && self.target.is_none() {
            self.target = told.candidates.first().map(|candidate| candidate.region.clone());
        }
    }
}
