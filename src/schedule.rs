//! The open loop: each path is probed at `phase + n * interval`, whether or not the last probe is back.
//!
//! A closed loop, which waits for an answer before it asks again, asks least when the network is worst. Here a
//! slot that could not start in time is counted instead.

mod slots;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{Instant, timeout_at},
};

pub use self::slots::{SlotPhase, SlotTimer};
use crate::{
    model::{Cadence, Failure, PathId, Phase, Sample},
    net::{Attempt, Timestamp},
    probe::{Probe, ProbeError},
};

/// What the schedule and its probes tell the recorder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A probe came to its end.
    Sampled {
        /// What was measured.
        sample: Sample,
        /// From the slot to the real start.
        start_delay: Duration,
        /// Answers to earlier probes that came after their deadlines.
        late: u32,
        /// Answers that came more than once.
        duplicates: u32,
        /// The phase in which it failed, where it did and that is known.
        failed_in: Option<Phase>,
    },
    /// A probe has waited longer than its path's [`OverdueAfter`], and goes on waiting until its deadline.
    Overdue {
        /// Its path.
        path: PathId,
        /// When it began.
        sent_at: Instant,
    },
    /// A probe whose failure was told before was answered after all.
    Late {
        /// Its path.
        path: PathId,
    },
    /// The wall clock was set during a probe, whose result is therefore dropped.
    ClockStepped {
        /// Its path.
        path: PathId,
    },
    /// Slots passed without a probe.
    SlotsMissed {
        /// Their path.
        path: PathId,
        /// How many.
        count: u64,
    },
}

/// What to do differently from now on.
pub enum Command {
    /// Probe a path, or probe it in another way.
    Start {
        /// The path.
        path: PathId,
        /// How often, how long.
        cadence: Cadence,
        /// When its slots are; paths of one phase whose intervals are multiples of each other share slots.
        phase: SlotPhase,
        /// How long its probes wait until they are told to be overdue.
        overdue_after: OverdueAfter,
        /// How a probe is launched; see [`launcher`].
        launcher: Launcher,
    },
    /// Probe a path one time more, now, beside its slots.
    Probe(PathId),
    /// Probe a path no more.
    Stop(PathId),
}

/// How long a probe of a path waits for its answer until that is told by [`Event::Overdue`]. May be changed while
/// probes are under way, and holds for those that begin afterwards.
#[derive(Debug, Clone)]
pub struct OverdueAfter(Arc<AtomicU32>);

impl Default for OverdueAfter {
    /// As long as the deadline: nothing is ever overdue.
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(u32::MAX)))
    }
}

impl OverdueAfter {
    /// DeadlineWait this long, in whole milliseconds, the resolution of timers.
    pub fn set(&self, overdue_after: Duration) {
        self.0.store(u32::try_from(overdue_after.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// How long is waited.
    pub fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).into())
    }
}

/// Launches one attempt.
pub type Launcher = Box<dyn Fn(Launch) + Send>;

/// One slot, as it is handed to a [`Launcher`].
#[derive(Debug)]
pub struct Launch {
    path: PathId,
    slot: Instant,
    timeout: Duration,
    overdue_after: Duration,
    in_flight: InFlight,
    stalls: Arc<SchedulingDelay>,
}

/// A place among the probes of a path that are under way; given back when dropped.
#[derive(Debug)]
struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long, in all, this process could not run when it should have, as seen by the schedule's own lateness.
#[derive(Debug, Default)]
struct SchedulingDelay(AtomicU64);

impl SchedulingDelay {
    /// Less than this is the resolution of timers (1 ms) and ordinary scheduling.
    const NOISE: Duration = Duration::from_millis(5);

    fn add(&self, lateness: Duration) {
        if lateness > Self::NOISE {
            self.0.fetch_add(u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A launcher that runs the probe as a task of its own and sends what comes of it.
pub fn launcher<P: Probe>(probe: Arc<P>, events: mpsc::Sender<Event>) -> Launcher {
    Box::new(move |launch| {
        tokio::spawn(measure(Arc::clone(&probe), launch, events.clone()));
    })
}

/// DeadlineWait for an attempt, for as long as this process could run.
struct DeadlineWait<'a> {
    sent_at: Instant,
    stalls: &'a SchedulingDelay,
    stalled_before: Duration,
    /// When the last wait was over.
    end: Instant,
}

impl DeadlineWait<'_> {
    /// What came of the attempt, or `None` where nothing had by `limit` after it was sent.
    async fn wait<T>(&mut self, mut running: Pin<&mut impl Future<Output = T>>, limit: Duration) -> Option<T> {
        self.end = self.sent_at + limit;
        loop {
            if let Ok(result) = timeout_at(self.end, running.as_mut()).await {
                return Some(result);
            }
            // The timer can be seen before the sockets were asked what has arrived. Yielding makes the runtime ask
            // them: an answer that the kernel has must not be called lost.
            yield_now().await;
            if let Ok(result) = timeout_at(Instant::now(), running.as_mut()).await {
                return Some(result);
            }
            // For as long as this process could not run, the probe could not have done its part either.
            let stalled = self.stalls.total().saturating_sub(self.stalled_before).min(limit);
            let end = self.sent_at + limit + stalled;
            if end <= Instant::now() {
                return None;
            }
            self.end = end;
        }
    }
}

async fn measure<P: Probe>(probe: Arc<P>, launch: Launch, events: mpsc::Sender<Event>) {
    let Launch { path, slot, timeout, overdue_after, in_flight, stalls } = launch;
    let sent_at = Instant::now();
    let sent_at_unix = Timestamp::now().unix_nanos();
    let stalled_before = stalls.total();
    let deadline = sent_at + timeout;
    let attempt = Attempt::new(deadline);
    let mut running = pin!(probe.probe(&attempt));

    let mut waits = DeadlineWait { sent_at, stalls: &stalls, stalled_before, end: sent_at };
    let mut result = None;
    if overdue_after < timeout {
        result = waits.wait(running.as_mut(), overdue_after).await;
        if result.is_none() {
            let _ = events.send(Event::Overdue { path, sent_at }).await;
        }
    }
    if result.is_none() {
        result = waits.wait(running.as_mut(), timeout).await;
    }
    let end = waits.end;

    let (outcome, answered_late) = match result {
        // What counts is the time on the network, not the time until we got to run.
        Some(Ok(timings)) if timings.total <= timeout => (Ok(timings), 0),
        Some(Ok(_)) => (Err(Failure::Timeout), 1),
        Some(Err(ProbeError::Failed(failure))) => (Err(failure), 0),
        Some(Err(ProbeError::ClockStep)) => {
            let _ = events.send(Event::ClockStepped { path }).await;
            return;
        }
        None => (Err(attempt.timeout_reason()), 0),
    };
    let event = Event::Sampled {
        sample: Sample { path, sent_at, sent_at_unix, outcome },
        start_delay: sent_at.saturating_duration_since(slot),
        late: attempt.late() + answered_late,
        duplicates: attempt.duplicates(),
        failed_in: attempt.reached().filter(|_| outcome.is_err()),
    };
    // The recorder is gone only when the process is about to be. What it has not taken yet is still in flight, so
    // that nothing piles up behind it.
    let _ = events.send(event).await;
    drop(in_flight);

    let unanswered = result.is_none() && outcome == Err(Failure::Timeout);
    if P::LINGERS && unanswered && matches!(timeout_at(end + timeout, running).await, Ok(Ok(_))) {
        let _ = events.send(Event::Late { path }).await;
    }
}

struct Entry {
    cadence: Cadence,
    launcher: Launcher,
    overdue_after: OverdueAfter,
    in_flight: Arc<AtomicU32>,
    /// Those under way that were asked for, which take no place from the slots.
    asked: Arc<AtomicU32>,
    next: Instant,
}

impl Entry {
    /// The most probes beside the slots that are under way.
    const MAX_ASKED: u32 = 8;

    /// Launches a probe for a slot, unless too many are under way; says whether it did.
    fn launch(&self, path: PathId, slot: Instant, stalls: &Arc<SchedulingDelay>) -> bool {
        self.launch_within(self.cadence.in_flight(), &self.in_flight, path, slot, stalls)
    }

    fn launch_within(
        &self,
        most: u32,
        in_flight: &Arc<AtomicU32>,
        path: PathId,
        slot: Instant,
        stalls: &Arc<SchedulingDelay>,
    ) -> bool {
        if in_flight.load(Ordering::Relaxed) >= most {
            return false;
        }
        in_flight.fetch_add(1, Ordering::Relaxed);
        (self.launcher)(Launch {
            path,
            slot,
            timeout: self.cadence.timeout(),
            overdue_after: self.overdue_after.get(),
            in_flight: InFlight(Arc::clone(in_flight)),
            stalls: Arc::clone(stalls),
        });
        true
    }
}

/// Starts the probes of all paths, each at its time.
pub struct Schedule {
    entries: HashMap<PathId, Entry>,
    due: BinaryHeap<Reverse<(Instant, PathId)>>,
    stalls: Arc<SchedulingDelay>,
    /// From when on slots are counted.
    origin: Instant,
}

impl Default for Schedule {
    /// A schedule without paths.
    fn default() -> Self {
        Self { entries: HashMap::new(), due: BinaryHeap::new(), stalls: Arc::default(), origin: Instant::now() }
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
                let next = phase.first_slot(self.origin, cadence.interval(), now);
                let entry =
                    Entry { cadence, launcher, overdue_after, in_flight: Arc::default(), asked: Arc::default(), next };
                self.entries.insert(path, entry);
                self.due.push(Reverse((next, path)));
            }
            // Where too many are under way already, they will tell as much.
            Command::Probe(path) => {
                if let Some(entry) = self.entries.get(&path) {
                    entry.launch_within(Entry::MAX_ASKED, &entry.asked, path, now, &self.stalls);
                }
            }
            Command::Stop(path) => {
                self.entries.remove(&path);
            }
        }
    }

    /// Launches what is due and returns what was missed.
    fn launch_due(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(Reverse((first, _))) = self.due.peek() {
            self.stalls.add(now.saturating_duration_since(*first));
        }
        while let Some(Reverse((slot, path))) = self.due.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.due.pop();
            // A slot of a path that was stopped, or was started anew since.
            let Some(entry) = self.entries.get_mut(&path).filter(|entry| entry.next == slot) else { continue };
            let interval = entry.cadence.interval();
            let behind = now.duration_since(slot).as_nanos() / interval.as_nanos().max(1);
            let behind = u32::try_from(behind).unwrap_or(u32::MAX);
            let slot = slot + interval * behind;
            let mut missed = u64::from(behind);
            entry.next = slot + interval;
            self.due.push(Reverse((entry.next, path)));
            if !entry.launch(path, slot, &self.stalls) {
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
