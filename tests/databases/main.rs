//! Databases against the real servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod failover;
mod pooler;
mod postgres;
mod replication;

suite!(Processors);
