//! The wall clock, which kernel timestamps are read from, and detection of its steps.
#![allow(unsafe_code)]

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::model::StampSource;

#[allow(clippy::disallowed_types, reason = "paused test time has nothing to do with the kernel's clocks")]
type Monotonic = std::time::Instant;

/// A point in time on `CLOCK_REALTIME`, in nanoseconds since 1970, as kernel timestamps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The wall clock now.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// A timestamp from a kernel `timespec`; `None` for the zero that stands for "no timestamp".
    pub(super) fn from_timespec(seconds: i64, nanoseconds: i64) -> Option<Self> {
        let seconds = u64::try_from(seconds).ok()?;
        let nanoseconds = u64::try_from(nanoseconds).ok()?;
        let nanos = seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)?;
        (nanos > 0).then_some(Self(nanos))
    }

    /// Nanoseconds since 1970.
    pub const fn unix_nanos(self) -> u64 {
        self.0
    }

    /// The timestamp so much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time since an earlier timestamp; zero where it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A point in time, with the clock that it was read from.
#[derive(Debug, Clone, Copy)]
pub struct ClockReading {
    /// The point in time.
    pub at: Timestamp,
    source: StampSource,
}

impl ClockReading {
    /// When something was received: by the kernel's timestamp, or now if it has none.
    pub fn received(kernel: Option<Timestamp>) -> Self {
        kernel.map_or_else(|| Self { at: Timestamp::now(), source: StampSource::Userland }, Self::by_kernel)
    }

    /// When something was sent: by the kernel's timestamp, or what was read before the call if it has none.
    pub fn sent(kernel: Option<Timestamp>, before: Timestamp) -> Self {
        kernel.map_or(Self { at: before, source: StampSource::Userland }, Self::by_kernel)
    }

    const fn by_kernel(at: Timestamp) -> Self {
        Self { at, source: StampSource::Kernel }
    }

    /// The time since an earlier point.
    pub const fn since(self, earlier: Self) -> Elapsed {
        Elapsed { duration: self.at.since(earlier.at), source: self.source.and(earlier.source) }
    }
}

/// A duration, with the clock that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed {
    /// How long.
    pub duration: Duration,
    /// The clock behind it.
    pub source: StampSource,
}

impl Elapsed {
    /// From the one to the other; `None` unless both happened.
    pub fn between(from: Option<ClockReading>, to: Option<ClockReading>) -> Option<Self> {
        to.zip(from).map(|(to, from)| to.since(from))
    }
}

/// The CPU time that this process has used in user and kernel mode, all threads, to the nanosecond (clock_gettime(2)).
///
/// # Errors
/// Those of the system call.
pub fn process_cpu_time() -> io::Result<Duration> {
    cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The CPU time that this thread has used in user and kernel mode; zero where the kernel does not tell.
pub fn thread_cpu_time() -> Duration {
    cpu_time(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

fn cpu_time(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes for the call.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    Ok(whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Detects that the wall clock was set during a probe: the difference of two timestamps is then no duration, and the
/// sample must be dropped.
#[derive(Debug, Clone, Copy)]
pub struct ClockWatch {
    started: Monotonic,
    wall: Timestamp,
}

impl ClockWatch {
    /// The difference that is put up with: reading two clocks is not atomic (a process can lose the CPU in
    /// between, which [`Self::start`] and [`Self::stepped`] make unlikely by reading again), and 0.1 % of the
    /// elapsed time, twice what the kernel slews by at the most (500 ppm, adjtimex(2)).
    const TOLERANCE: Duration = Duration::from_micros(200);

    /// Begins to watch.
    pub fn start() -> Self {
        let (started, wall) = read_both();
        Self { started, wall }
    }

    /// When the watch began, on the wall clock.
    pub const fn wall(&self) -> Timestamp {
        self.wall
    }

    /// Whether the wall clock was set since the start.
    pub fn stepped(&self) -> bool {
        let (now, wall) = read_both();
        let elapsed = now.duration_since(self.started);
        let moved = Duration::from_nanos(wall.0.abs_diff(self.wall.0));
        let behind = wall < self.wall && moved > Self::TOLERANCE;
        behind || elapsed.abs_diff(moved) > Self::TOLERANCE + elapsed / 1000
    }
}

/// Both clocks, read within 20 µs of each other where three attempts manage it.
fn read_both() -> (Monotonic, Timestamp) {
    let mut best: Option<(Duration, Monotonic, Timestamp)> = None;
    for _ in 0..3 {
        let before = Monotonic::now();
        let wall = Timestamp::now();
        let gap = before.elapsed();
        if best.is_none_or(|(smallest, ..)| gap < smallest) {
            best = Some((gap, before, wall));
        }
        if gap < Duration::from_micros(20) {
            break;
        }
    }
    best.map_or_else(|| (Monotonic::now(), Timestamp::now()), |(_, monotonic, wall)| (monotonic, wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_has_not_stepped() {
        let watch = ClockWatch::start();
        std::thread::sleep(Duration::from_millis(5));
        assert!(!watch.stepped());
    }

    #[test]
    fn a_clock_set_forward_or_back_has_stepped() {
        let mut watch = ClockWatch::start();
        watch.wall = Timestamp(watch.wall.0 - 1_000_000);
        assert!(watch.stepped());
        watch.wall = Timestamp(watch.wall.0 + 2_000_000);
        assert!(watch.stepped());
    }

    #[test]
    fn the_zero_timespec_is_no_timestamp() {
        assert_eq!(Timestamp::from_timespec(0, 0), None);
        assert_eq!(Timestamp::from_timespec(-1, 0), None);
        assert_eq!(Timestamp::from_timespec(1, 5), Some(Timestamp(1_000_000_005)));
    }

    #[test]
    fn a_difference_is_never_negative() {
        assert_eq!(Timestamp(5).since(Timestamp(7)), Duration::ZERO);
        assert_eq!(Timestamp(7).since(Timestamp(5)), Duration::from_nanos(2));
    }
}
