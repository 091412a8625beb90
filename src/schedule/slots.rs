//! When slots are, and what wakes the schedule for them.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::net::Timer;

/// At which times a path's slots are: this long, modulo its interval, after the times that are multiples of its
/// interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotPhase(Duration);

impl SlotPhase {
    /// What a phase is a part of; intervals are mostly divisors of it.
    const CYCLE: Duration = Duration::from_secs(60);

    /// Steps of the golden ratio spread any number of points evenly (Weyl 1916), so that those which come later
    /// need not move those that are there.
    const STEP: f64 = 0.618_033_988_749_894_9;

    #[cfg(test)]
    pub(super) const START: Self = Self(Duration::ZERO);

    /// A random phase to begin with, so that sidecars that were started together do not probe together.
    pub fn random() -> Self {
        Self(Self::CYCLE.mul_f64(rand::random()))
    }

    /// The phase for the next target. All probes of a target share one: a process that does little else is then
    /// woken once for all of them, and what they say is of the same moment.
    #[must_use]
    pub fn next(self) -> Self {
        let turned = self.0 + Self::CYCLE.mul_f64(Self::STEP);
        Self(turned.checked_sub(Self::CYCLE).unwrap_or(turned))
    }

    /// The first slot after `now` of a path with this interval, where time is counted from `origin`.
    pub(super) fn first_slot(self, origin: Instant, interval: Duration, now: Instant) -> Instant {
        let interval_nanos = interval.as_nanos().max(1);
        let offset = self.0.as_nanos() % interval_nanos;
        let passed = now.duration_since(origin).as_nanos();
        let wait = interval_nanos - (passed + interval_nanos - offset) % interval_nanos;
        now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}

/// What wakes the schedule when a slot is due.
#[derive(Debug)]
pub enum SlotTimer {
    /// A timer of the kernel's, for real time.
    Kernel(Timer),
    /// The runtime's timers, where there is no other, and for tests in paused time.
    Runtime,
}

impl SlotTimer {
    /// The kernel's where the system has it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> Self {
        Timer::new().map_or(Self::Runtime, Self::Kernel)
    }

    pub(super) async fn sleep_until_slot(&self, at: Instant) {
        match self {
            Self::Kernel(timer) => {
                if timer.after(at.saturating_duration_since(Instant::now())).await.is_err() {
                    sleep_until(at).await;
                }
            }
            Self::Runtime => sleep_until(at).await,
        }
    }
}

impl Default for SlotTimer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn targets_are_spread_evenly_over_every_interval() {
        let origin = Instant::now();
        let mut phase = SlotPhase::random();
        let mut phases = Vec::new();
        for _ in 0..200 {
            phases.push(phase);
            phase = phase.next();
        }
        for interval in [MS * 100, MS * 250, MS * 1000, MS * 1500, MS * 5000, MS * 60_000] {
            let mut starts: Vec<_> = phases.iter().map(|p| p.first_slot(origin, interval, origin) - origin).collect();
            starts.sort_unstable();
            let widest = starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(widest < interval / 20, "{interval:?}: {widest:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn probes_of_one_target_share_their_slots_whenever_they_were_added() {
        let origin = Instant::now();
        let phase = SlotPhase::random();
        for added in [0, 1, 333, 99_999] {
            let now = origin + MS * added;
            let [slow, fast] = [1000, 250].map(|interval| phase.first_slot(origin, MS * interval, now));
            assert!(slow > now && slow <= now + MS * 1000 && fast > now && fast <= now + MS * 250);
            assert_eq!((slow - fast).as_nanos() % (MS * 250).as_nanos(), 0);
        }
    }
}
