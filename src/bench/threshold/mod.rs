//! Thresholds: pass criteria in k6's grammar, on our metrics.
//!
//! ```text
//! probe_duration{probe="http",peer_region="us-east-1"}: p(95)<200
//! ```
//!
//! Durations are in milliseconds, as in k6. k6's own metric names and its tags `{name:value}` are understood, so that the
//! thresholds of a load test can be used unchanged.

mod criterion;
mod file;
mod grammar;
#[cfg(test)]
mod tests;

pub(super) use self::{criterion::selector, grammar::parse_selector};
pub use self::{
    criterion::{Aggregation, Comparison, Metric, Percentile, Threshold},
    file::read,
    grammar::ThresholdError,
};
