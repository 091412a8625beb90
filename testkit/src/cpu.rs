//! The CPU time of a thread: how much work something is, however busy the machine is.

use std::{fs, time::Duration};

/// The CPU time that this thread has used.
pub fn time() -> Duration {
    // The first number is in nanoseconds (Documentation/scheduler/sched-stats.rst).
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// The CPU time that this takes on this thread, and what it returns.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = time();
    let result = work();
    (time() - before, result)
}
