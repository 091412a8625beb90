//! From the death of a region to the webhook, in one piece: the binary as a sidecar in every region, the real
//! Alertmanager and Prometheus with the files of `alerts/`, and a receiver of webhooks. Regions are network namespaces,
//! and the hub between them is where they are cut, refused and made to lose packets.
//!
//! Scenarios wait more than they work, so many run at the same time, each in a world of its own; all of them at once
//! would be slower than what they measure. `--ignored` runs those that take minutes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "what was measured is for who reads the log")]

#[macro_use]
extern crate testkit;

mod alerting;
mod alertmanagers;
mod death;
mod environments;
mod majority;
mod outage;
mod partial;
mod process;
mod prometheus;
mod region;
mod rules;
mod samples;
mod service;
mod world;

use std::thread;

suite!(Waiting(10));

/// Says what was measured.
fn report(what: &str) {
    println!("{}: {what}", thread::current().name().unwrap_or_default());
}
