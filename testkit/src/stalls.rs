//! What a busy machine adds to a time: another thread sleeps beside, and wakes up late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// How long the thread sleeps at a time.
const PAUSE: Duration = Duration::from_millis(10);

/// A thread that only sleeps. It shares nothing with what is measured but the machine, and ends with this value.
pub struct Stalls(Arc<Late>);

/// How late it woke up, in microseconds.
struct Late {
    began: Instant,
    worst: AtomicU64,
    sum: AtomicU64,
    /// When it fell asleep last, since the beginning.
    asleep: AtomicU64,
}

impl Late {
    /// How late it is now, if it has not woken up yet.
    fn current(&self) -> u64 {
        let asleep = self.began.elapsed().saturating_sub(Duration::from_micros(self.asleep.load(Ordering::Acquire)));
        micros(asleep.saturating_sub(PAUSE))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Stalls {
    /// Begins to watch.
    pub fn watch() -> Self {
        let late = Late { began: Instant::now(), worst: 0.into(), sum: 0.into(), asleep: 0.into() };
        let late = Arc::new(late);
        let noted = Arc::downgrade(&late);
        thread::spawn(move || {
            loop {
                thread::sleep(PAUSE);
                let Some(late) = noted.upgrade() else { return };
                let by = late.current();
                late.worst.fetch_max(by, Ordering::Relaxed);
                late.sum.fetch_add(by, Ordering::Relaxed);
                late.asleep.store(micros(late.began.elapsed()), Ordering::Release);
            }
        });
        Self(late)
    }

    /// How late it woke up at worst.
    pub fn worst(&self) -> Duration {
        Duration::from_micros(self.0.worst.load(Ordering::Relaxed).max(self.0.current()))
    }

    /// How late it woke up in total: for so long the machine did something else.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.0.sum.load(Ordering::Relaxed) + self.0.current())
    }
}

/// A limit on a wait. What the machine does not give is no part of it: neither a pause of all of it, nor its other work.
pub struct Patience {
    limit: Duration,
    began: Instant,
    stalls: Stalls,
}

impl Patience {
    /// So much from now on.
    pub fn of(limit: Duration) -> Self {
        Self { limit, began: Instant::now(), stalls: Stalls::watch() }
    }

    /// Whether it is used up.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= self.limit + self.stalls.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_seen_before_the_thread_has_woken_up() {
        let late = Late { began: Instant::now(), worst: 7.into(), sum: 7.into(), asleep: 0.into() };
        let stalls = Stalls(Arc::new(late));
        thread::sleep(PAUSE + Duration::from_millis(20));
        assert!(stalls.worst() >= Duration::from_millis(20) && stalls.sum() > Duration::from_millis(20));
    }

    #[test]
    fn a_limit_is_used_up_by_the_time_that_the_machine_gives() {
        let patience = Patience::of(Duration::from_millis(50));
        while !patience.is_over() {
            thread::sleep(PAUSE);
        }
        let took = patience.began.elapsed();
        assert!(took >= Duration::from_millis(50), "{took:?}");
        // Stalled for longer than all of it.
        let late = Late { began: Instant::now(), worst: 0.into(), sum: 60_000_000.into(), asleep: 0.into() };
        let patience = Patience { limit: Duration::ZERO, began: Instant::now(), stalls: Stalls(Arc::new(late)) };
        assert!(!patience.is_over());
    }
}
