//! k6's end-of-test summary: aggregates without samples, in the shape of `handleSummary()`, of `--summary-export`, and of
//! the machine-readable summary of k6 1.5 and newer.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fault::{Fault, Parsed};
use crate::bench::{
    threshold::{Aggregation, Metric, Threshold, parse_selector, selector},
    verdict::{Check, Measured},
};

/// The aggregates of a load test.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// In the order of their names.
    pub metrics: Vec<Aggregates>,
}

/// The aggregates of one metric or sub-metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregates {
    /// What was measured.
    pub metric: Metric,
    /// The tags of a sub-metric.
    pub tags: BTreeMap<String, String>,
    /// By the names of k6: `avg`, `p(95)`, `rate`.
    pub values: BTreeMap<String, f64>,
}

impl Aggregates {
    /// The metric with its tags, as a threshold selects it.
    pub fn selector(&self) -> String {
        selector(self.metric, &self.tags)
    }
}

/// The most metrics.
const MAX_METRICS: usize = 10_000;

pub(super) fn read(bytes: &[u8]) -> Parsed<Summary> {
    let root: Value = serde_json::from_slice(bytes).map_err(|error| {
        Fault::new(error.line() as u64, format!("is not JSON: {error}; name a file with results of JMeter or k6"))
    })?;
    let metrics = metrics(&root).ok_or_else(|| {
        Fault::new(0, "has no metrics; name a summary of k6, or its samples (--out json=FILE)".to_owned())
    })?;
    let metrics = metrics.into_iter().take(MAX_METRICS).filter_map(|(name, values)| {
        // Metrics of k6 that say nothing about latency are not ours.
        let (metric, tags) = parse_selector(name).ok()?;
        let values = values.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        Some(Aggregates { metric, tags, values: values.collect() })
    });
    let mut metrics: Vec<_> = metrics.collect();
    if metrics.is_empty() {
        let reason = "has no http_req_duration, http_req_failed or http_reqs; run k6 with a script that sends requests";
        return Err(Fault::new(0, reason));
    }
    metrics.sort_by(|a, b| (a.metric, &a.tags).cmp(&(b.metric, &b.tags)));
    Ok(Summary { metrics })
}

/// Each metric with its values, of any of the three shapes.
fn metrics(root: &Value) -> Option<Vec<(&str, &Map<String, Value>)>> {
    if let Some(list) = root.pointer("/results/metrics").and_then(Value::as_array) {
        return Some(
            list.iter().filter_map(|metric| Some((metric.get("name")?.as_str()?, values_of(metric)?))).collect(),
        );
    }
    let metrics = root.get("metrics")?.as_object()?;
    Some(metrics.iter().filter_map(|(name, metric)| Some((name.as_str(), values_of(metric)?))).collect())
}

fn values_of(metric: &Value) -> Option<&Map<String, Value>> {
    metric.get("values").unwrap_or(metric).as_object()
}

impl Summary {
    /// What the summary says of a threshold; `None` if it has no such metric or sub-metric, and an error if it lacks the
    /// aggregation.
    pub fn check(&self, threshold: &Threshold) -> Option<Result<Check, String>> {
        let is_same = |metric: &&Aggregates| metric.metric == threshold.metric && metric.tags == threshold.tags;
        let found = self.metrics.iter().find(is_same)?;
        let name = threshold.aggregation.to_string();
        let key = match (threshold.metric, threshold.aggregation) {
            // The old export has the rate as `value`, and failures as `passes`: those for which "failed" is true. The
            // machine-readable summary calls them `matches`.
            (Metric::ProbeFailed, Aggregation::Rate) => ["rate", "value"],
            (Metric::ProbeFailed, Aggregation::Count) => ["passes", "matches"],
            _ => [name.as_str(), name.as_str()],
        };
        let samples = ["count", "total"].into_iter().find_map(|key| found.values.get(key));
        let samples = samples.map_or(0, |count| *count as usize);
        let value = key.into_iter().find_map(|key| found.values.get(key));
        let Some(value) = value else {
            let instead = match threshold.metric {
                Metric::ProbeDuration => {
                    format!("run k6 with --summary-trend-stats=\"avg,min,med,max,p(95),{name},count\"")
                }
                _ => "judge its samples, which --out json=FILE writes".to_owned(),
            };
            return Some(Err(format!(
                "the threshold {threshold} has nothing to judge: the summary has no {name}; {instead}"
            )));
        };
        Some(Ok(threshold.judged(Some(Measured::exact(*value, samples)), false)))
    }
}
