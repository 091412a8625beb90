//! `coldstart` on a real engine: images are ranked by when they answer, and nothing of it stays behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod arguments;
mod bandwidth;
mod base;
mod building;
mod cleaning;
mod endings;
mod example;
mod gates;
mod podman;
mod ranking;

// What the one starts is noise for the other.
suite!(Waiting(1));
