//! `coldstart`: which container image answers first, by how much, and why.
//!
//! ```text
//! Dockerfiles ─▶ images ─┬▶ rounds: create, start, first correct answer ─┬▶ Comparison ─┬▶ standings with ties ─▶ reports
//!                        └▶ layers and files: what a pull costs ─────────┘              │
//!                            ▲ a null image: the floor                                  └▶ bench: thresholds, baseline
//! ```

mod anatomy;
mod archive;
mod build;
mod dockerfile;
mod engine;
mod error;
mod file;
mod findings;
mod limits;
mod null;
mod page_cache;
mod pull;
mod ranking;
mod readiness;
mod report;
mod round;
mod run;
mod socket;
mod tar;

pub use self::{
    build::{Build, Matrix},
    engine::{ContainerOptions, LABEL},
    error::ColdstartError,
    file::candidates,
    findings::{Finding, Part},
    limits::{cpus, memory},
    page_cache::PageCache,
    pull::{Bandwidth, Model, Present, Pull, Unpacking},
    ranking::{FEWEST_ROUNDS, Median, Standing, compare},
    readiness::Question,
    report::Report,
    round::{NotReady, Start, Step},
    run::{Candidate, Comparison, Image, Origin, Plan, Progress, Watcher, run},
};
