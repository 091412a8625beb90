//! From the death of a region to the webhook, in one piece: the binary as a sidecar in every region, the real
//! Alertmanager and Prometheus with the files of `alerts/`, and a receiver of webhooks. Regions are network namespaces,
//! and the hub between them is where they are cut, refused and made to lose packets.
//!
//! Scenarios wait more than they work, so many run at the same time, each in a world of its own; all of them at once
//! would be slower than what they measure. `--ignored` runs those that take minutes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
extern crate testkit;

mod alertmanagers;
mod death;
mod environments;
mod majority;
mod ordered;
mod outage;
mod partial;
mod rules;
mod samples;
mod witness;

suite!(Waiting(10), first: ["samples", "environments"]);
