//! Databases against the real servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod failover;
mod mysql;
mod mysql_replication;
mod pooler;
mod postgres;
mod redis;
mod redis_replication;
mod replication;
mod scene;

suite!(Processors);
