//! The dashboards of Grafana: their form, the rules of dashboard-linter, and every query against a real Prometheus that
//! has seen an outage. How they look is not tested: Grafana is not here.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod dashboard;
mod faults;
mod in_grafana;
mod layout;
mod lint;
mod live;
mod outage;
mod promql;
mod promtool;
mod provisioning;
mod schema;
mod stores;
mod truths;
mod units;

use std::{fs, path::Path};

suite!(Processors);

fn path(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).display().to_string()
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
