//! `coldstart`: which container image answers first, by how much, and why.
//!
//! ```text
//! Dockerfiles ─▶ images ─┬▶ rounds: create, start, first correct answer ─┬▶ Comparison ─┬▶ standings with ties ─▶ reports
//!                        └▶ layers and files: what a pull costs ─────────┘              │
//!                            ▲ a null image: the floor                                  └▶ bench: thresholds, baseline
//! ```

mod anatomy;
mod archive;
mod base;
mod build;
mod comparison;
mod dockerfile;
mod engine;
mod error;
mod examine;
mod facts;
#[cfg(test)]
mod fake;
mod file;
mod findings;
mod group;
mod layer;
mod limits;
mod line;
mod meter;
mod null;
mod page_cache;
mod pull;
mod ranking;
mod readiness;
mod registry;
mod report;
mod round;
mod run;
mod said;
mod signals;
mod site;
mod socket;
mod stages;
mod tar;

pub use self::{
    build::{Build, MOST_IMAGES, Matrix},
    comparison::{Candidate, Comparison, Image, Origin, Plan, Progress, Watcher},
    engine::{ContainerOptions, LABEL},
    error::ColdstartError,
    file::candidates,
    findings::{Finding, Part},
    limits::{cpus, memory},
    page_cache::PageCache,
    pull::{Bandwidth, BaseImage, Model, Present, Pull, Unpacking},
    ranking::{FEWEST_ROUNDS, Median, Standing, compare},
    readiness::Question,
    registry::Rate,
    report::Report,
    round::{NotReady, Start, Step},
    run::run,
};
