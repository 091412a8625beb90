//! `bench`: what was measured, or read from the results of a load test, and what follows from it.
//!
//! ```text
//! live run ───────────────┐
//! results of a load test ─┴▶ Results ─▶ Distribution: quantiles with intervals ─▶ ranking ─▶ reports
//! ```

mod live;
mod plan;
mod ranking;
mod report;
mod results;
mod stats;
mod target;

pub use self::{
    live::{End, Observer, Progress, run},
    plan::{DEFAULT_DURATION, Limits, Plan},
    ranking::{LightGap, QUANTILES, Ranked, Ranking, Ratio, Score, rank},
    report::{Colors, Format, Report},
    results::{Outcome, Results, Sample, Series},
    stats::{CONFIDENCE, Distribution, Estimate, Quantile, Value, failure_rate_interval, jitter, samples_for},
};
