//! The programs of `examples/receivers`, which docs/receivers.md shows, against fakes of the services that they call, with
//! failures in the middle, and against a real PostgreSQL and a real instance.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod arc;
mod check;
mod cloudflare;
mod fake;
mod job;
mod lambda;
mod postgres;

suite!(Processors);
