//! The rules of a pipeline: thresholds and a baseline, and what they say of results.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Aggregates, Results, Series, Summary,
    baseline::compare,
    threshold::Threshold,
    verdict::{Check, Verdict},
};

/// What results must meet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// The thresholds.
    pub thresholds: Vec<Threshold>,
    /// The results of an earlier run, and the smallest change of a latency that matters, as a share.
    pub baseline: Option<(Results, f64)>,
    /// Whether a check that the samples cannot decide stops the pipeline.
    pub inconclusive_fails: bool,
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Each check, thresholds first.
    pub checks: Vec<Check>,
    /// Whether an inconclusive one stops the pipeline.
    pub inconclusive_fails: bool,
}

impl Gate {
    /// Whether a check stops the pipeline.
    pub fn stops(&self, check: &Check) -> bool {
        match check.verdict {
            Verdict::Pass => false,
            Verdict::Fail => true,
            Verdict::Inconclusive => self.inconclusive_fails,
        }
    }

    /// Whether any check stops the pipeline.
    pub fn fails(&self) -> bool {
        self.checks.iter().any(|check| self.stops(check))
    }
}

impl Rules {
    /// The tags that thresholds ask for, but those that every series has.
    pub fn tags(&self) -> BTreeSet<String> {
        let tags = self.thresholds.iter().flat_map(|threshold| threshold.tags.keys());
        tags.filter(|tag| !matches!(tag.as_str(), "peer_region" | "region" | "phase")).cloned().collect()
    }

    /// What they say of results.
    ///
    /// # Errors
    /// If a threshold selects nothing; a threshold that is never evaluated would always pass.
    pub fn gate(&self, results: &Results) -> Result<Gate, String> {
        let mut checks =
            self.each(|threshold| threshold.check(&results.series, results.duration), || known(&results.series))?;
        if let Some((baseline, effect)) = &self.baseline {
            checks.extend(compare(baseline, results, *effect));
        }
        Ok(Gate { checks, inconclusive_fails: self.inconclusive_fails })
    }

    /// What they say of a summary.
    ///
    /// # Errors
    /// If a threshold selects nothing, or there is a baseline.
    pub fn gate_summary(&self, summary: &Summary) -> Result<Gate, String> {
        if self.baseline.is_some() {
            return Err(
                "--baseline: a summary of k6 has no samples to compare; write them with --out json=FILE".to_owned()
            );
        }
        let known = || {
            let names = summary.metrics.iter().map(Aggregates::selector);
            names.take(SHOWN).collect::<Vec<_>>().join(", ")
        };
        let checks = self.each(|threshold| summary.check(threshold), known)?;
        Ok(Gate { checks, inconclusive_fails: self.inconclusive_fails })
    }

    /// Reports a threshold that can select none of the series that will be measured.
    ///
    /// # Errors
    /// Names the threshold, and what there is.
    pub fn check_plan(&self, planned: &[Series]) -> Result<(), String> {
        let select = |threshold: &Threshold| {
            let mut planned_for = threshold.clone();
            // Which phases a probe has is known when it has been sent.
            planned_for.tags.remove("phase");
            planned_for.check(planned, Duration::ZERO)
        };
        self.each(select, || known(planned)).map(drop)
    }

    /// The thresholds that end a run early.
    #[must_use]
    pub fn early(&self) -> Self {
        let thresholds = self.thresholds.iter().filter(|threshold| threshold.abort_after.is_some());
        Self { thresholds: thresholds.cloned().collect(), ..Self::default() }
    }

    /// Whether one of them is broken by what was measured until now.
    pub fn end(&self, series: &[Series], elapsed: Duration) -> bool {
        let due =
            self.thresholds.iter().filter(|threshold| threshold.abort_after.is_some_and(|after| after <= elapsed));
        due.filter_map(|threshold| threshold.check(series, elapsed)).any(|check| check.verdict == Verdict::Fail)
    }

    fn each(
        &self,
        check: impl Fn(&Threshold) -> Option<Check>,
        known: impl Fn() -> String,
    ) -> Result<Vec<Check>, String> {
        let checks = self.thresholds.iter().map(|threshold| {
            check(threshold).ok_or_else(|| format!("the threshold {threshold} selects nothing; there is {}", known()))
        });
        checks.collect()
    }
}

/// The most series that an error names.
const SHOWN: usize = 10;

/// The series as selectors.
fn known(series: &[Series]) -> String {
    let names = series.iter().map(|series| {
        let tags = series.tags.iter().map(|(name, value)| format!(",{name}={value:?}"));
        format!("{{peer_region={:?}{}}}", series.region, tags.collect::<String>())
    });
    let shown: Vec<_> = names.take(SHOWN).collect();
    let more = if series.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}
