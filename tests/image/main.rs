//! The image, as the shipped Dockerfile makes it on a real engine: what is in it, and how it behaves where it is run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod compose;
mod contents;
mod page;
mod regions;
mod running;

suite!(Waiting(4));
