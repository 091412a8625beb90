//! The way of log lines to stderr. A line is never waited for: a thread of its own writes, what it cannot write is dropped
//! and counted. A full disk or a reader that stalls or dies costs log lines, and nothing else.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// The most bytes of lines that wait to be written.
const MAX_WAITING: usize = 256 << 10;

static QUEUE: OnceLock<Queue> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many lines were dropped since the start of the process.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Writes a text to stderr, through the thread once [`start`] was called. Never panics; a failure is ignored.
pub fn to_stderr(text: impl std::fmt::Display) {
    let line = format!("{text}\n").into_bytes();
    match QUEUE.get() {
        Some(queue) => queue.push(line),
        None => drop(io::stderr().write_all(&line)),
    }
}

/// Starts the thread. What is logged from now on goes through it.
pub fn start() -> LogWriter {
    let queue = QUEUE.get_or_init(Queue::default);
    // Not through `io::stderr`, whose lock a blocked write would hold.
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let run = move || match stderr {
        Ok(file) => queue.write_to(file),
        Err(_) => queue.write_to(io::sink()),
    };
    // Without a thread, the queue fills up and then drops lines.
    drop(thread::Builder::new().name("log".to_owned()).spawn(run));
    LogWriter(queue)
}

/// Waits until all lines are written, but no longer than this.
pub fn flush(limit: Duration) {
    if let Some(queue) = QUEUE.get() {
        let lines = queue.lines();
        drop(queue.written.wait_timeout_while(lines, limit, |lines| lines.bytes > 0));
    }
}

/// Takes log lines. Never fails, never blocks.
#[derive(Debug, Clone, Copy)]
pub struct LogWriter(&'static Queue);

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines between those who log and the thread that writes.
#[derive(Debug, Default)]
struct Queue {
    lines: Mutex<Lines>,
    added: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    /// Of the lines that wait and the one that is being written.
    bytes: usize,
}

impl Queue {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Vec<u8>) {
        let mut lines = self.lines();
        // A single line may be longer: it is better read than dropped.
        if lines.bytes > 0 && lines.bytes + line.len() > MAX_WAITING {
            drop(lines);
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.bytes += line.len();
        lines.waiting.push_back(line);
        self.added.notify_one();
    }

    /// Writes lines for the life of the process.
    fn write_to(&self, mut out: impl Write) {
        let mut lines = self.lines();
        loop {
            let Some(line) = lines.waiting.pop_front() else {
                lines = self.added.wait(lines).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(lines);
            if out.write_all(&line).is_err() {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
            lines = self.lines();
            lines.bytes -= line.len();
            self.written.notify_all();
        }
    }
}
