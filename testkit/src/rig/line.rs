//! The delay line: takes packets from one TUN device, holds each for half of its server's round trip, gives it to
//! the other, and writes down by its own clock when it did so.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fs::File,
    io::{Read, Write},
    net::Ipv4Addr,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use super::{Result, packet, sys};

/// The last part of a hold is spent spinning: waking up from a timer takes some ten microseconds.
const SPIN_NS: i64 = 30_000;
/// How often the line looks whether it shall end.
const IDLE_NS: i64 = 50_000_000;

/// One packet's way through the line, by the line's own reading of CLOCK_REALTIME.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// See [`packet::digest`].
    pub digest: u64,
    /// From the servers to the prober.
    pub inbound: bool,
    /// Just after it was taken from the first device: an upper bound of the time at which it left.
    pub taken: i64,
    /// Just before it was given to the second device: a lower bound of the time at which it arrived.
    pub giving: i64,
    /// Just after: an upper bound of the time at which it arrived.
    pub given: i64,
    /// How long it was meant to be held, ns.
    pub hold: i64,
}

/// A running delay line; ends when dropped.
pub struct Line {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    passages: Receiver<Passage>,
}

impl Line {
    /// Starts to forward between the prober's and the servers' device; `round_trips` in ns for each server.
    pub fn start(prober: File, servers: File, round_trips: HashMap<Ipv4Addr, i64>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (log, passages) = channel();
        let (started, start) = channel();
        let forwarder = Forwarder { devices: [prober, servers], round_trips, queue: BinaryHeap::new(), log };
        let thread = std::thread::Builder::new().name("delay-line".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                // The channel only fails where `start` has already returned.
                drop(started.send(sys::become_real_time()));
                forwarder.run(&stop);
            }
        })?;
        start.recv()?.map_err(|e| format!("SCHED_FIFO: {e}"))?;
        Ok(Self { stop, thread: Some(thread), passages })
    }

    /// What has passed since the last call.
    pub fn take(&self) -> Vec<Passage> {
        self.passages.try_iter().collect()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A packet on its way. Ordered by when it is due, then as it came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: i64,
    taken: i64,
    inbound: bool,
    hold: i64,
    bytes: Vec<u8>,
}

struct Forwarder {
    /// The prober's, the servers'.
    devices: [File; 2],
    round_trips: HashMap<Ipv4Addr, i64>,
    queue: BinaryHeap<Reverse<Held>>,
    log: Sender<Passage>,
}

impl Forwarder {
    fn run(mut self, stop: &AtomicBool) {
        let fds = [self.devices[0].as_raw_fd(), self.devices[1].as_raw_fd()];
        while !stop.load(Ordering::Relaxed) {
            self.give();
            if self.take() {
                continue;
            }
            let next = self.queue.peek().map_or(IDLE_NS, |Reverse(held)| held.due - sys::realtime_ns());
            if next > SPIN_NS {
                sys::wait_readable(&fds, (next - SPIN_NS).min(IDLE_NS));
            }
        }
    }

    /// Gives what is due to the other device.
    fn give(&mut self) {
        while let Some(Reverse(held)) = self.queue.peek() {
            if held.due > sys::realtime_ns() {
                return;
            }
            let Some(Reverse(held)) = self.queue.pop() else { return };
            let giving = sys::realtime_ns();
            // The device takes whole packets, and refuses only while it is down.
            let written = (&self.devices[usize::from(!held.inbound)]).write(&held.bytes);
            let given = sys::realtime_ns();
            if written.is_ok() {
                let Held { taken, inbound, hold, .. } = held;
                let digest = packet::digest(&held.bytes);
                let _ = self.log.send(Passage { digest, inbound, taken, giving, given, hold });
            }
        }
    }

    /// Takes all that wait; returns whether there were any.
    fn take(&mut self) -> bool {
        let mut any = false;
        let mut buffer = [0; 2048];
        for inbound in [false, true] {
            while let Ok(length) = (&self.devices[usize::from(inbound)]).read(&mut buffer) {
                let taken = sys::realtime_ns();
                any = true;
                let bytes = buffer[..length].to_vec();
                let Some(packet) = packet::parse(&bytes, !inbound) else { continue };
                let Some(round_trip) = self.round_trips.get(&packet.server) else { continue };
                let hold = round_trip / 2;
                self.queue.push(Reverse(Held { due: taken + hold, taken, inbound, hold, bytes }));
            }
        }
        any
    }
}
