//! Nothing outside can stop the watch: while a region dies, the survivors are under attack, and the failover webhook comes
//! in time all the same. The binary runs as a sidecar in every region with the limits that it is shipped with, and its
//! Alertmanager is the real one. docs/faults.md has the table of attacks.
//!
//! Each attack is one test and one death. `REGIONWATCH_FAULTS=10` makes it ten deaths, each in a new world, and
//! `REGIONWATCH_FAULTS_BINARY=target/release/regionwatch` tests that binary at 5 % of a CPU. Without it the binary is
//! that of the tests' own profile: without optimisation it needs some times the CPU, and so gets 25 %.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "what was measured is for who reads the log")]

#[macro_use]
extern crate testkit;

mod attack;
mod chaos;
mod figures;

mod kernel;
mod log;
mod machine;
mod peers;
mod strangers;
mod tls;

suite!(Waiting(3), then: figures::end);
