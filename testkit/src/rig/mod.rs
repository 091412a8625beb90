//! The rig of the benchmarks: namespaces, a delay line, real servers, taps, and what drives the programs under test.
//!
//! ```text
//!  namespace "prober"                     this process                       namespace "servers"
//!  regionwatch or   ── TUN ──▶ tap │ delay line (SCHED_FIFO), holds │ ──── TUN ──▶ kernel (icmp), unbound, nginx
//!  blackbox_exporter ◀─ TUN ── tap │ each packet for RTT/2 each way │ ◀─── TUN ──
//! ```
//!
//! # What is true
//! The true round trip is from the moment at which a packet leaves the prober's device to the moment at which the
//! answer comes in there, by the kernel's clock, and so knows nothing of the prober's being scheduled or throttled.
//! `tap` reads both moments, `truth` puts probes together from them: echo to reply, DNS question to answer, SYN to
//! SYN-ACK, last new segment of an HTTP request to first segment of the response. Through TLS 1.3 the request is
//! the second flight that the client sends, and the server sends no session tickets that could be taken for the
//! response. How long the line really held a packet does not matter to that.
//!
//! `selfcheck` holds the tap's stamps against the clock that the line itself reads around each packet: an arrival
//! must lie between its two readings, a departure before the line has the packet. What it prints bounds the error
//! of the truth. Not in it is what only real hardware adds: the time between wire and driver.
//!
//! blackbox_exporter's `tcp` tells the duration of its whole probe only; that is what is compared with the
//! handshake. `http connect` is in the table because there it tells the handshake alone.
//!
//! # What is left behind
//! The namespaces have no name and the TUN devices are not persistent: both vanish with the process, however it
//! ends. Children die with it (`PR_SET_PDEATHSIG`). Only a cgroup can be left behind by a SIGKILL; the next run
//! removes it.

pub mod bench_command;
pub mod blackbox;
pub mod cgroup;
pub mod client;
pub mod compare;
pub mod line;
pub mod net;
pub mod packet;
pub mod page;
pub mod process;
pub mod regionwatch;
pub mod selfcheck;
pub mod servers;
pub mod stats;
pub mod sys;
pub mod tap;
pub mod truth;

use std::{error::Error, path::Path, time::Duration};

use crate::versions::newest_of;

/// What can go wrong in a benchmark: it is told and ends the run.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What it is compared with: the newest that is here.
pub const BLACKBOX: &str = "prometheus-blackbox-exporter";

/// Checks that everything the rig needs is there.
///
/// # Errors
/// Names all that is missing.
pub fn require(programs: &[&str]) -> Result<()> {
    let mut missing = Vec::new();
    if !sys::is_root() {
        missing.push("root (namespaces, TUN, SCHED_FIFO, cgroups)".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        missing.push("/dev/net/tun (CONFIG_TUN)".to_owned());
    }
    if !cgroup::available() {
        missing.push("a writable cpu cgroup (v1 or v2) under /sys/fs/cgroup".to_owned());
    }
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    for program in programs {
        let is_unpacked = *program == BLACKBOX && newest_of(program).is_file();
        if !is_unpacked && !path.split(':').any(|dir| Path::new(dir).join(program).exists()) {
            missing.push(format!("the program {program}"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("the benchmark needs {}", missing.join(", ")).into()) }
}

/// Sleeps, and ends early with an error where Ctrl-C was pressed, so that everything is torn down in order.
pub fn pause(duration: Duration) -> Result<()> {
    let end = sys::monotonic_ns() + duration.as_nanos() as i64;
    loop {
        if sys::interrupted() {
            return Err("interrupted".into());
        }
        let left = end - sys::monotonic_ns();
        if left <= 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_nanos(left as u64).min(Duration::from_millis(50)));
    }
}
