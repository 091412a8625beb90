//! How often a path is probed.

use std::time::Duration;

/// How often a path is probed and how long each probe may take.
///
/// The interval is at least [`Cadence::MIN_INTERVAL`]; the timeout may be longer than the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    interval: Duration,
    timeout: Duration,
}

impl Cadence {
    /// The shortest interval and timeout: timers have a resolution of 1 ms.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(10);
    /// The longest interval and timeout.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

    /// `None` if one of both is shorter than [`Self::MIN_INTERVAL`] or longer than [`Self::MAX_INTERVAL`],
    /// or if a probe would outlast more than [`Self::MAX_IN_FLIGHT`] intervals.
    pub fn new(interval: Duration, timeout: Duration) -> Option<Self> {
        let range = Self::MIN_INTERVAL..=Self::MAX_INTERVAL;
        let cadence = Self { interval, timeout };
        (range.contains(&interval) && range.contains(&timeout) && timeout <= interval * Self::MAX_IN_FLIGHT)
            .then_some(cadence)
    }

    /// The most intervals that a probe may last, which bounds memory and descriptors.
    pub const MAX_IN_FLIGHT: u32 = 64;

    /// Time between the starts of two probes.
    pub const fn interval(self) -> Duration {
        self.interval
    }

    /// Time from the start of a probe to its deadline.
    pub const fn timeout(self) -> Duration {
        self.timeout
    }

    /// How many probes of the path are in flight at the most. Where the timeout is a multiple of the interval,
    /// one ends when another begins, and is still there because timers fire a little late.
    pub fn in_flight(self) -> u32 {
        u32::try_from(self.timeout.as_nanos() / self.interval.as_nanos().max(1) + 1).unwrap_or(u32::MAX)
    }
}
