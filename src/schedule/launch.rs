//! One probe, from its slot to its event.

use std::{
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

use super::event::Event;
use crate::{
    model::{Failure, PathId, Sample},
    net::{Attempt, Timestamp},
    probe::{Probe, ProbeError},
};

/// After which time without an answer a probe of a path is reported as [`Event::Overdue`]. A change applies to probes
/// that start later.
#[derive(Debug, Clone)]
pub struct OverdueAfter(Arc<AtomicU32>);

impl Default for OverdueAfter {
    /// Never.
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(u32::MAX)))
    }
}

impl OverdueAfter {
    /// Sets the time, in whole milliseconds: the resolution of timers.
    pub fn set(&self, after: Duration) {
        self.0.store(u32::try_from(after.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// The time.
    pub fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).into())
    }
}

/// Starts one probe.
pub type Launcher = Box<dyn Fn(Launch) + Send>;

/// One slot, as it is handed to a [`Launcher`].
#[derive(Debug)]
pub struct Launch {
    pub(super) path: PathId,
    pub(super) slot: Instant,
    pub(super) timeout: Duration,
    pub(super) overdue_after: Duration,
    pub(super) in_flight: InFlight,
    pub(super) delay: Arc<SchedulingDelay>,
}

/// One of the probes in flight of a path, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<AtomicU32>);

impl InFlight {
    /// Counts one more, unless there are `max` already. Only one task adds to the count.
    pub(super) fn new(count: &Arc<AtomicU32>, max: u32) -> Option<Self> {
        (count.load(Ordering::Relaxed) < max).then(|| {
            count.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(count))
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// For how long in total this process was not scheduled when it should have run, measured by the lateness of slots.
#[derive(Debug, Default)]
pub(super) struct SchedulingDelay(AtomicU64);

impl SchedulingDelay {
    /// Less than this is the resolution of timers (1 ms) and ordinary scheduling.
    const NOISE: Duration = Duration::from_millis(5);

    pub(super) fn add(&self, lateness: Duration) {
        if lateness > Self::NOISE {
            self.0.fetch_add(u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A launcher that runs the probe in a task of its own and sends its events.
pub fn launcher<P: Probe>(probe: Arc<P>, events: mpsc::Sender<Event>) -> Launcher {
    Box::new(move |launch| {
        tokio::spawn(measure(Arc::clone(&probe), launch, events.clone()));
    })
}

/// Waits for an attempt, and does not count the time in which this process was not scheduled.
struct DeadlineWait<'a> {
    sent_at: Instant,
    delay: &'a SchedulingDelay,
    delay_before: Duration,
    /// When the last wait ended.
    end: Instant,
}

impl DeadlineWait<'_> {
    /// The result of the attempt, or `None` if there is none within `limit` after it was sent.
    async fn until<T>(&mut self, mut running: Pin<&mut impl Future<Output = T>>, limit: Duration) -> Option<T> {
        self.end = self.sent_at + limit;
        loop {
            if let Ok(result) = timeout_at(self.end, running.as_mut()).await {
                return Some(result);
            }
            // The timer can fire before the runtime has polled the sockets. Yielding makes it poll them: an answer
            // that the kernel has received must not count as lost.
            yield_now().await;
            if let Ok(result) = timeout_at(Instant::now(), running.as_mut()).await {
                return Some(result);
            }
            // While this process was not scheduled, the probe could not run either.
            let delay = self.delay.total().saturating_sub(self.delay_before).min(limit);
            let end = self.sent_at + limit + delay;
            if end <= Instant::now() {
                return None;
            }
            self.end = end;
        }
    }
}

async fn measure<P: Probe>(probe: Arc<P>, launch: Launch, events: mpsc::Sender<Event>) {
    let Launch { path, slot, timeout, overdue_after, in_flight, delay } = launch;
    let sent_at = Instant::now();
    let sent_at_unix = Timestamp::now().unix_nanos();
    let delay_before = delay.total();
    let deadline = sent_at + timeout;
    let attempt = Attempt::new(deadline);
    let mut running = pin!(probe.probe(&attempt));

    let mut wait = DeadlineWait { sent_at, delay: &delay, delay_before, end: sent_at };
    let mut result = None;
    if overdue_after < timeout {
        result = wait.until(running.as_mut(), overdue_after).await;
        if result.is_none() {
            attempt.note_silence();
            let _ = events.send(Event::Overdue { path, sent_at }).await;
        }
    }
    if result.is_none() {
        result = wait.until(running.as_mut(), timeout).await;
    }
    let end = wait.end;

    let (outcome, answered_late) = match result {
        // The time on the network counts, not the time until this task ran.
        Some(Ok(timings)) if timings.total <= timeout => (Ok(timings), 0),
        Some(Ok(_)) => (Err(Failure::Timeout), 1),
        Some(Err(ProbeError::Failed(failure))) => (Err(failure), 0),
        Some(Err(ProbeError::ClockStep)) => {
            let _ = events.send(Event::ClockStepped { path }).await;
            return;
        }
        None => (Err(attempt.timeout_reason()), 0),
    };
    if let Err(failure) = outcome {
        attempt.note_failure(failure);
    }
    let event = Event::Sampled {
        sample: Sample { path, sent_at, sent_at_unix, outcome },
        start_delay: sent_at.saturating_duration_since(slot),
        late: attempt.late() + answered_late,
        duplicates: attempt.duplicates(),
        failed: attempt.context(&outcome),
        facts: attempt.facts(),
    };
    // The engine is gone only when the process ends. A probe stays in flight until the engine has taken its event, so
    // that events do not pile up.
    let _ = events.send(event).await;
    drop(in_flight);

    let unanswered = result.is_none() && outcome == Err(Failure::Timeout);
    if P::LINGERS && unanswered && matches!(timeout_at(end + timeout, running).await, Ok(Ok(_))) {
        let _ = events.send(Event::Late { path }).await;
    }
}
