//! The CPU time of threads: how much work something is, and how long it waits for a processor, however busy the machine is.

use std::{fs, time::Duration};

/// The CPU time that this thread has used.
pub fn time() -> Duration {
    // The first number is in nanoseconds (Documentation/scheduler/sched-stats.rst).
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// For how long this thread was ready and got no processor.
pub fn waited() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').nth(1).unwrap().parse().unwrap())
}

/// For how long the threads of a process, that there are now, were ready and got no processor. It is 0 if the process is gone.
pub fn withheld(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    // The second number is the time on a queue of the scheduler.
    let waited = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').nth(1)?.parse().ok().map(Duration::from_nanos)
    };
    tasks.filter_map(waited).sum()
}

/// The CPU time that this takes on this thread, and what it returns.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = time();
    let result = work();
    (time() - before, result)
}
