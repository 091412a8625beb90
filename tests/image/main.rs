//! The image, as the shipped Dockerfile makes it on a real engine: what is in it, and how it behaves where it is run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod compose;
mod contents;
mod engine;
mod page;
#[path = "../support/privileges.rs"]
mod privileges;
#[path = "../support/programs.rs"]
mod programs;
mod regions;
mod running;
#[path = "../support/sink.rs"]
mod sink;
#[allow(dead_code, reason = "shared with the tests of the binary")]
#[path = "../product/support.rs"]
mod support;
#[path = "../support/web.rs"]
mod web;
