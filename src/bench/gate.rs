//! The rules of a pipeline: thresholds and a baseline, and what they say of results.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Aggregates, Results, Series, Summary,
    baseline::compare,
    threshold::{Metric, Threshold},
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

    /// Notes which check ended the run, and when: what was in flight then may have changed what all samples say.
    pub fn ended_by(&mut self, broken: &Check, after: Duration) {
        let is_it = |check: &&mut Check| (&check.subject, &check.criterion) == (&broken.subject, &broken.criterion);
        if let Some(check) = self.checks.iter_mut().find(is_it) {
            check.verdict = Verdict::Fail;
            check.reason = format!("{}; it ended the run after {:.1} s", broken.reason, after.as_secs_f64());
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
    /// If a threshold selects nothing, or the results do not have what it is about, or nothing of the baseline; what is never
    /// evaluated would always pass.
    pub fn gate(&self, results: &Results) -> Result<Gate, String> {
        for threshold in self.thresholds.iter().filter(|threshold| threshold.metric == Metric::SlotsMissed) {
            countable(threshold, results)?;
        }
        let dropped = results.dropped.unwrap_or(0);
        let mut checks = self
            .each(|threshold| threshold.check(&results.series, results.duration, dropped), || known(&results.series))?;
        if let Some((baseline, effect)) = &self.baseline {
            checks.extend(compare(baseline, results, *effect)?);
        }
        Ok(Gate { checks, inconclusive_fails: self.inconclusive_fails })
    }

    /// What they say of a summary.
    ///
    /// # Errors
    /// If a threshold selects nothing, or what the summary does not have, or there is a baseline.
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
        let checks = checks.into_iter().collect::<Result<_, _>>()?;
        Ok(Gate { checks, inconclusive_fails: self.inconclusive_fails })
    }

    /// Reports a threshold that can select none of the series that will be measured.
    ///
    /// # Errors
    /// Names the threshold, and what there is.
    pub fn check_plan(&self, planned: &[Series]) -> Result<(), String> {
        self.each(|threshold| threshold.check(planned, Duration::ZERO, 0), || known(planned)).map(drop)
    }

    /// The thresholds that end a run early.
    #[must_use]
    pub fn early(&self) -> Self {
        let thresholds = self.thresholds.iter().filter(|threshold| threshold.abort_after.is_some());
        Self { thresholds: thresholds.cloned().collect(), ..Self::default() }
    }

    /// The check of one of them that is broken by what was measured until now.
    pub fn broken(&self, series: &[Series], elapsed: Duration) -> Option<Check> {
        let due =
            self.thresholds.iter().filter(|threshold| threshold.abort_after.is_some_and(|after| after <= elapsed));
        let mut checks = due.filter_map(|threshold| threshold.check(series, elapsed, 0));
        checks.find(|check| check.verdict == Verdict::Fail)
    }

    fn each<T>(&self, check: impl Fn(&Threshold) -> Option<T>, known: impl Fn() -> String) -> Result<Vec<T>, String> {
        let checks = self.thresholds.iter().map(|threshold| {
            check(threshold).ok_or_else(|| format!("the threshold {threshold} selects nothing; there is {}", known()))
        });
        checks.collect()
    }
}

/// Whether results say how many requests were not sent.
fn countable(threshold: &Threshold, results: &Results) -> Result<(), String> {
    match results.dropped {
        None => {
            Err(format!("the threshold {threshold} has nothing to judge: these results do not count what was not sent"))
        }
        Some(1..) if !threshold.tags.is_empty() => Err(format!(
            "the threshold {threshold} has nothing to judge: what a load test did not send is of no region; write \
             {} without tags",
            threshold.metric.as_str()
        )),
        _ => Ok(()),
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
