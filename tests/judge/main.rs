//! `bench judge` and the reports that other programs read: the real JMeter, a JUnit reader and its schema,
//! a spreadsheet.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod formats;
mod jmeter;
mod results;

suite!(Processors);
