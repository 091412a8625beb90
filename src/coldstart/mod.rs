//! `coldstart`: which container image answers first, by how much, and why.
//!
//! ```text
//! images ─┬▶ rounds: create, start, first correct answer ─┬▶ Comparison ─┬▶ standings with ties ─▶ reports
//!         └▶ layers and files: what a pull costs ──────────┘              │
//!              ▲ a null image: the floor                                └▶ bench: thresholds, baseline ─▶ verdicts
//! ```

mod anatomy;
mod archive;
mod engine;
mod error;
mod findings;
mod null;
mod pull;
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
    findings::{Finding, Part},
    pull::{Bandwidth, Model, Present, Pull, Unpacking},
    ranking::{FEWEST_ROUNDS, Median, Standing, compare},
    readiness::Question,
    report::Report,
    round::{NotReady, Start, Step},
    run::{Comparison, Image, Plan, Progress, Watcher, run},
};
