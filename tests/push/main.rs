//! The push: the real Alertmanager, hostile ones, and what arrives at the webhook.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod clocks;
mod failing;
mod push;
mod restoring;
mod secured;
mod support;

suite!(Processors);
