//! The real binary, as an operator runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod bench;
mod commands;
mod failover_page;
mod files;
mod log;
mod prometheus;
mod reload;
mod signed_orders;
mod votes;

suite!(Processors);
