//! Each probe against real and hostile peers on loopback: every failure has its own name, ends at the deadline,
//! and has no latency.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod dns;
mod grpc;
mod http;
mod odd;
mod phases;
mod proxy;
mod reasons;
mod servers;
mod sidecar;
mod starttls;
mod tcp;
mod tls;

use testkit::probing as support;
