//! `bench`: what was measured, or read from the results of a load test, and what follows from it.
//!
//! ```text
//! live run ───────────────┐
//! results of a load test ─┴▶ Results ─▶ Distribution: quantiles with intervals ─▶ ranking, thresholds ─▶ writers
//! ```

mod results;
mod stats;

pub use self::{
    results::{Outcome, Results, Sample, Series},
    stats::{CONFIDENCE, Distribution, Estimate, Quantile, Value, failure_rate_interval, jitter, samples_for},
};
