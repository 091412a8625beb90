//! `bench`: what was measured, or read from the results of a load test, and what follows from it.
//!
//! ```text
//! live run ───────────────┐
//! results of a load test ─┴▶ Results ─▶ Distribution: quantiles with intervals ─┬▶ ranking ─▶ reports
//!                                                                             └▶ thresholds, baseline ─▶ verdicts
//! ```

mod baseline;
mod gate;
mod live;
mod plan;
mod ranking;
mod read;
mod report;
mod results;
mod saved;
mod stats;
mod target;
pub mod threshold;
mod verdict;

pub use self::{
    gate::{Gate, Rules},
    live::{End, Observer, Progress, run},
    plan::{DEFAULT_DURATION, Limits, Plan},
    ranking::{LightGap, QUANTILES, Ranked, Ranking, Ratio, Score, rank},
    read::{Aggregates, Grouping, Judged, ReadError, Summary, read},
    report::{Colors, Format, Report, Subject},
    results::{Outcome, Results, Sample, Series, Totals},
    saved::{read_saved, saved_text},
    stats::{CONFIDENCE, Distribution, Estimate, Quantile, Value, failure_rate_interval, jitter, samples_for},
    verdict::{Check, Verdict},
};
pub(crate) use self::{
    live::Interrupts,
    report::{
        Column, Tone, check_columns, markdown_escaped, markdown_table, millis, printable, spreadsheet_cell, text_table,
    },
    target::spec_of_url,
};

/// What fuzzers call.
#[doc(hidden)]
pub mod hostile {
    pub use super::read::fuzz as fuzz_results;
}
