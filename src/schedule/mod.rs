//! The open loop: each path is probed at `phase + n * interval`, whether or not the last probe has ended.
//!
//! A closed loop, which waits for an answer before it sends the next probe, probes least when the network is worst. Here
//! a slot at which no probe could start in time is counted instead.

mod event;
mod launch;
mod slots;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use self::launch::{InFlight, SchedulingDelay};
pub use self::{
    event::Event,
    launch::{Launch, Launcher, OverdueAfter, launcher},
    slots::{SlotPhase, SlotTimer},
};
use crate::model::{Cadence, PathId};

/// A change of what is probed.
pub enum Command {
    /// Start to probe a path, or replace the way in which it is probed.
    Start {
        /// The path.
        path: PathId,
        /// The interval and the timeout.
        cadence: Cadence,
        /// When its slots are. Paths with the same phase share slots if their intervals are multiples of each other.
        phase: SlotPhase,
        /// When its probes are overdue.
        overdue_after: OverdueAfter,
        /// Starts a probe; see [`launcher`].
        launcher: Launcher,
    },
    /// Probe a path once now, in addition to its slots.
    Probe(PathId),
    /// Stop probing a path.
    Stop(PathId),
}

struct Entry {
    cadence: Cadence,
    launcher: Launcher,
    overdue_after: OverdueAfter,
    in_flight: Arc<AtomicU32>,
    /// Probes in flight besides those of slots.
    extra: Arc<AtomicU32>,
    next: Instant,
}

impl Entry {
    /// The most extra probes in flight.
    const MAX_EXTRA: u32 = 8;

    /// Starts a probe for a slot, unless too many are in flight; returns whether it did.
    fn launch(&self, path: PathId, slot: Instant, delay: &Arc<SchedulingDelay>) -> bool {
        self.launch_as(InFlight::new(&self.in_flight, self.cadence.in_flight()), path, slot, delay)
    }

    /// Starts an extra probe now, unless too many are in flight: those already give the answer.
    fn launch_extra(&self, path: PathId, now: Instant, delay: &Arc<SchedulingDelay>) {
        self.launch_as(InFlight::new(&self.extra, Self::MAX_EXTRA), path, now, delay);
    }

    fn launch_as(
        &self,
        in_flight: Option<InFlight>,
        path: PathId,
        slot: Instant,
        delay: &Arc<SchedulingDelay>,
    ) -> bool {
        let Some(in_flight) = in_flight else { return false };
        let (timeout, overdue_after) = (self.cadence.timeout(), self.overdue_after.get());
        (self.launcher)(Launch { path, slot, timeout, overdue_after, in_flight, delay: Arc::clone(delay) });
        true
    }
}

/// Starts the probes of all paths on time.
pub struct Schedule {
    /// Boxed, because a hash table has room for up to twice as many.
    entries: HashMap<PathId, Box<Entry>>,
    due: BinaryHeap<Reverse<(Instant, PathId)>>,
    delay: Arc<SchedulingDelay>,
    /// Slots are counted from here.
    origin: Instant,
}

impl Default for Schedule {
    /// A schedule without paths.
    fn default() -> Self {
        Self { entries: HashMap::new(), due: BinaryHeap::new(), delay: Arc::default(), origin: Instant::now() }
    }
}

impl Schedule {
    /// Runs until `commands` is closed.
    pub async fn run(
        mut self,
        timer: SlotTimer,
        mut commands: mpsc::UnboundedReceiver<Command>,
        events: mpsc::Sender<Event>,
    ) {
        loop {
            let next = self.due.peek().map(|Reverse((at, _))| *at);
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.apply(command, Instant::now()),
                    None => return,
                },
                () = timer.sleep_until_slot(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    for missed in self.launch_due(Instant::now()) {
                        let _ = events.send(missed).await;
                    }
                }
            }
        }
    }

    fn apply(&mut self, command: Command, now: Instant) {
        match command {
            Command::Start { path, cadence, phase, overdue_after, launcher } => {
                let first_after = |at| phase.first_slot(self.origin, cadence.interval(), at);
                // A slot that is due already is not lost: it is taken, or counted as missed.
                let due = self.entries.get(&path).map(|entry| entry.next);
                let due = due.filter(|due| first_after(*due - Duration::from_nanos(1)) == *due);
                let next = due.unwrap_or_else(|| first_after(now));
                let entry =
                    Entry { cadence, launcher, overdue_after, in_flight: Arc::default(), extra: Arc::default(), next };
                self.entries.insert(path, Box::new(entry));
                self.due.push(Reverse((next, path)));
            }
            Command::Probe(path) => {
                if let Some(entry) = self.entries.get(&path) {
                    entry.launch_extra(path, now, &self.delay);
                }
            }
            Command::Stop(path) => {
                self.entries.remove(&path);
            }
        }
    }

    /// Starts the probes that are due, and returns the slots that were missed.
    fn launch_due(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(Reverse((first, _))) = self.due.peek() {
            self.delay.add(now.saturating_duration_since(*first));
        }
        while let Some(Reverse((slot, path))) = self.due.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.due.pop();
            // The path was stopped or replaced.
            let Some(entry) = self.entries.get_mut(&path).filter(|entry| entry.next == slot) else { continue };
            let interval = entry.cadence.interval();
            let behind = now.duration_since(slot).as_nanos() / interval.as_nanos().max(1);
            let behind = u32::try_from(behind).unwrap_or(u32::MAX);
            let slot = slot + interval * behind;
            let mut missed = u64::from(behind);
            entry.next = slot + interval;
            self.due.push(Reverse((entry.next, path)));
            if !entry.launch(path, slot, &self.delay) {
                missed += 1;
            }
            if missed > 0 {
                events.push(Event::SlotsMissed { path, count: missed });
            }
        }
        events
    }
}

#[cfg(test)]
mod tests;
