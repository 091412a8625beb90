//! `coldstart`: which container image answers first, by how much, and why.
//!
//! ```text
//! images ─▶ rounds: create, start, first correct answer ─▶ Comparison ─┬▶ standings with ties ─▶ reports
//!              ▲ a null image: the floor                              └▶ bench: thresholds, baseline ─▶ verdicts
//! ```

mod engine;
mod error;
mod null;
mod ranking;
mod readiness;
mod report;
mod round;
mod run;
mod socket;
mod tar;

pub use self::{
    engine::{ContainerOptions, LABEL},
    error::ColdstartError,
    ranking::{FEWEST_ROUNDS, Median, Standing, compare},
    readiness::Question,
    report::Report,
    round::{NotReady, Start, Step},
    run::{Comparison, Image, Plan, Progress, Watcher, run},
};
