//! The real binary, as an operator runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod commands;
mod failover_page;
mod peers;
#[path = "../support/privileges.rs"]
mod privileges;
mod prometheus;
mod reload;
mod support;
mod votes;
