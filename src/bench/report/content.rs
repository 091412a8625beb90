//! What a report is about.

use std::{collections::BTreeMap, time::Duration};

use super::super::{Gate, Ranking, Results, ranking::rank};

/// What was measured, and what follows from it.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was measured.
    pub results: &'a Results,
    /// The regions, for each kind of probe.
    pub rankings: Vec<Ranking>,
    /// What thresholds and a baseline say of it.
    pub gate: Option<&'a Gate>,
}

impl<'a> Report<'a> {
    /// The report of these results. `light` has the shortest possible round trip to each region, where it is known.
    pub fn new(results: &'a Results, light: &BTreeMap<String, Duration>) -> Self {
        Self { results, rankings: rank(results, light), gate: None }
    }

    /// The same with what thresholds and a baseline say.
    #[must_use]
    pub fn with(self, gate: &'a Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Whether any probe succeeded.
    pub fn has_success(&self) -> bool {
        self.rankings.iter().flat_map(|ranking| &ranking.regions).any(|ranked| ranked.score.is_some())
    }
}
