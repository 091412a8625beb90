//! The status page as a browser shows it: Debian's Chromium, without a window, looks at real sidecars.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod bench;
mod driver;
mod fifty;
mod incident;
mod living;
mod page;
mod reading;
mod trouble;
mod world;

// Its incident takes eight minutes, most of which it waits.
suite!(Processors, first: ["incident"]);
