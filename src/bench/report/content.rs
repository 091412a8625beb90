//! What a report is about.

use std::{collections::BTreeMap, time::Duration};

use super::super::{Gate, Ranking, Results, ranking::rank};
use crate::model::labels;

labels! {
    /// What is compared.
    #[derive(Default)]
    pub enum Subject {
        /// Regions, by their latency.
        #[default]
        Region = "region",
        /// Container images, by when they are ready.
        Image = "image",
    }
}

/// What was measured, and what follows from it.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was measured.
    pub results: &'a Results,
    /// The regions, for each kind of probe.
    pub rankings: Vec<Ranking>,
    /// What the rows are.
    pub subject: Subject,
    /// What thresholds and a baseline say of it.
    pub gate: Option<&'a Gate>,
}

impl<'a> Report<'a> {
    /// The report of these results. `light` has the shortest possible round trip to each region, where it is known.
    pub fn new(results: &'a Results, light: &BTreeMap<String, Duration>) -> Self {
        Self { results, rankings: rank(results, light), subject: Subject::Region, gate: None }
    }

    /// The same about other rows.
    #[must_use]
    pub fn about(self, subject: Subject) -> Self {
        Self { subject, ..self }
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
