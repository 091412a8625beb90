//! The rules, the Alertmanager configuration and the runbooks that are shipped, against the real programs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod cost;
mod files;
mod merged;
mod names;
mod operator;
mod pager;
mod programs;
mod promql;

mod webhooks;

use std::{collections::BTreeSet, fs, path::Path};

suite!(Processors);

/// Alerts that sidecars push, besides those of the rules.
const PUSHED: [&str; 3] = ["RegionwatchHeartbeat", "RegionwatchPeerDown", "RegionwatchPeerFailover"];

const RUNBOOKS: &str = "https://github.com/regionwatch/regionwatch/blob/main/docs/runbooks/";

fn path(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).display().to_string()
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn rules() -> String {
    read("alerts/regionwatch.rules.yml")
}

/// The names behind `- alert:`.
fn alerts() -> BTreeSet<String> {
    let text = rules();
    let alerts: BTreeSet<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    assert!(alerts.len() > 15, "{alerts:?}");
    alerts
}
