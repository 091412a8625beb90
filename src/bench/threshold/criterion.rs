//! A threshold: what it is about, and what it must be.

use std::{collections::BTreeMap, fmt, time::Duration};

/// What a threshold is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Latencies in milliseconds; k6's `http_req_duration`.
    ProbeDuration,
    /// Whether each probe failed; k6's `http_req_failed`.
    ProbeFailed,
    /// Probes that were sent; k6's `http_reqs`.
    Probes,
    /// Scheduled probes that could not start in time; k6's `dropped_iterations`.
    SlotsMissed,
}

impl Metric {
    /// Every metric with its name, the name in k6, and the aggregations that it has.
    pub(super) const ALL: [(Self, &'static str, &'static str, &'static [&'static str]); 4] = [
        (Self::ProbeDuration, "probe_duration", "http_req_duration", &["avg", "med", "min", "max", "p(N)", "count"]),
        (Self::ProbeFailed, "probe_failed", "http_req_failed", &["rate", "count"]),
        (Self::Probes, "probes", "http_reqs", &["count", "rate"]),
        (Self::SlotsMissed, "probe_slots_missed", "dropped_iterations", &["count", "rate"]),
    ];

    /// The metric with this name, ours or k6's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, own, other, _)| [*own, *other].contains(&name)).map(|(metric, ..)| metric)
    }

    /// Our name of the metric.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The names of the aggregations that the metric has.
    pub(super) fn aggregations(self) -> &'static [&'static str] {
        Self::ALL[self as usize].3
    }
}

/// A percentile: 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percentile(f64);

impl Percentile {
    /// The median.
    pub const MEDIAN: Self = Self(50.0);

    /// The percentile, if it is one.
    pub fn new(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Self(percent))
    }

    /// As a share: 0 to 1.
    pub fn share(self) -> f64 {
        self.0 / 100.0
    }
}

/// How samples become one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    /// The mean.
    Avg,
    /// The shortest.
    Min,
    /// The longest.
    Max,
    /// A percentile; `med` is the 50th.
    Percentile(Percentile),
    /// The share of failures, or a count per second.
    Rate,
    /// How many.
    Count,
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avg => f.write_str("avg"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Percentile(Percentile(50.0)) => f.write_str("med"),
            Self::Percentile(Percentile(percent)) => write!(f, "p({percent})"),
            Self::Rate => f.write_str("rate"),
            Self::Count => f.write_str("count"),
        }
    }
}

/// How the number compares to the bound if the threshold passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Comparison {
    /// Each with its operator. Those that begin like another come first.
    pub(super) const ALL: [(Self, &'static str); 7] = [
        (Self::AtMost, "<="),
        (Self::AtLeast, ">="),
        (Self::Equal, "==="),
        (Self::Equal, "=="),
        (Self::Unequal, "!="),
        (Self::Less, "<"),
        (Self::More, ">"),
    ];

    /// Whether the comparison holds.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::More => value > bound,
            Self::AtLeast => value >= bound,
            Self::Equal => value == bound,
            Self::Unequal => value != bound,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        })
    }
}

/// A pass criterion.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What it is about.
    pub metric: Metric,
    /// The tags that a series must have.
    pub tags: BTreeMap<String, String>,
    /// How its samples become one number.
    pub aggregation: Aggregation,
    /// How that number must compare to the bound.
    pub comparison: Comparison,
    /// The bound: milliseconds, a share from 0 to 1, a count, or a count per second.
    pub bound: f64,
    /// If a failure ends the run early: how long the run must have lasted before.
    pub abort_after: Option<Duration>,
}

impl Threshold {
    /// The metric with its tags, as k6 writes a sub-metric, with quoted values.
    pub fn selector(&self) -> String {
        selector(self.metric, &self.tags)
    }

    /// The criterion without its metric: `p(95)<200`.
    pub fn expression(&self) -> String {
        format!("{}{}{}", self.aggregation, self.comparison, self.bound)
    }
}

/// A metric with tags, as k6 writes a sub-metric, with quoted values.
pub(crate) fn selector(metric: Metric, tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<_> = tags.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    let name = metric.as_str();
    if tags.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", tags.join(",")) }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.selector(), self.expression())?;
        match self.abort_after {
            None => Ok(()),
            Some(Duration::ZERO) => f.write_str(" abortOnFail"),
            Some(delay) => write!(f, " abortOnFail delayAbortEval={}", crate::yaml::units::duration_text(delay)),
        }
    }
}

/// A text in quotes, as the grammar reads it again.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
