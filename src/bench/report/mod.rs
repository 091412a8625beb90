//! Reports: one measurement in many formats.

mod charts;
mod csv;
mod grid;
mod html;
mod json;
mod jtl;
mod junit;
mod markdown;
mod notes;
mod table;
mod xml;

use std::{collections::BTreeMap, time::Duration};

use super::{Gate, Ranking, Results, ranking::rank};
use crate::model::labels;

labels! {
    /// The format of a report.
    pub enum Format {
        /// A table for a terminal.
        Table = "table",
        /// Tables for a comment on a pull request.
        Markdown = "markdown",
        /// Everything that was computed, for programs.
        Json = "json",
        /// A line per region and kind of probe, for spreadsheets.
        Csv = "csv",
        /// A case for each check, for a CI system.
        Junit = "junit",
        /// Every sample, for JMeter.
        Jtl = "jtl",
        /// One page with charts.
        Html = "html",
    }
}

impl Format {
    /// The format that the name of a file asks for.
    pub fn of_file(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "txt" => Some(Self::Table),
            "md" | "markdown" => Some(Self::Markdown),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "xml" => Some(Self::Junit),
            "jtl" => Some(Self::Jtl),
            "html" | "htm" => Some(Self::Html),
            _ => None,
        }
    }
}

/// Whether a text goes to a terminal that shows colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colors {
    /// It does.
    On,
    /// It does not.
    Off,
}

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

    /// The text in a format. Only a table has colors.
    pub fn text(&self, format: Format, colors: Colors) -> String {
        match format {
            Format::Table => table::write(self, colors),
            Format::Markdown => markdown::write(self),
            Format::Json => json::write(self),
            Format::Csv => csv::write(self),
            Format::Junit => junit::write(self),
            Format::Jtl => jtl::write(self),
            Format::Html => html::write(self),
        }
    }
}

#[cfg(test)]
mod tests;
