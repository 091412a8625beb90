//! The way of log lines to stderr. A line is never waited for: a thread of its own writes, what it cannot write is dropped
//! and counted. A full disk or a reader that stalls or dies costs log lines, and nothing else.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    panic,
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(300);

/// It waits in such steps. A host that gives the process no time uses up one of them, however long that lasts.
const STEP: Duration = Duration::from_millis(10);

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

/// Starts the thread. What is logged from now on goes through it, and what a panic says.
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
    // By default a panic would wait for the reader of stderr before it ends the process.
    panic::set_hook(Box::new(|panic| {
        to_stderr(panic);
        flush();
    }));
    LogWriter(queue)
}

/// Waits until all lines are written, but no longer than 300 ms of what the host gives: for the end of the process.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
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

    fn flush(&self, limit: Duration) {
        let mut lines = self.lines();
        for _ in 0..limit.as_millis().div_ceil(STEP.as_millis()) {
            let step = self.written.wait_timeout_while(lines, STEP, |lines| lines.bytes > 0);
            let (left, waited) = step.unwrap_or_else(PoisonError::into_inner);
            if !waited.timed_out() {
                return;
            }
            lines = left;
        }
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

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        sync::mpsc,
    };

    use super::*;

    fn writing_to(out: impl Write + Send + 'static) -> &'static Queue {
        let queue: &'static Queue = Box::leak(Box::default());
        thread::spawn(|| queue.write_to(out));
        queue
    }

    struct Sent(mpsc::Sender<Vec<u8>>);

    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_their_order_and_a_flush_waits_for_the_last() {
        let (sender, written) = mpsc::channel();
        let queue = writing_to(Sent(sender));
        let lines: Vec<Vec<u8>> = (0..100).map(|n| format!("line {n}\n").into_bytes()).collect();
        lines.iter().for_each(|line| queue.push(line.clone()));
        queue.flush(Duration::from_secs(10));
        assert_eq!(written.try_iter().collect::<Vec<_>>(), lines);
    }

    /// As where other processes have all processors: neither who waits nor the thread that writes goes on.
    #[test]
    fn a_stalled_host_loses_no_last_line() {
        let queue: &'static Queue = Box::leak(Box::default());
        queue.push(b"last\n".to_vec());
        let end = thread::spawn(|| {
            queue.flush(LAST_LINES);
            queue.lines().bytes
        });
        // It waits by now.
        thread::sleep(5 * STEP);
        let stall = queue.lines();
        thread::sleep(2 * LAST_LINES);
        drop(stall);
        let (sender, written) = mpsc::channel();
        thread::spawn(|| queue.write_to(Sent(sender)));
        assert_eq!(end.join().unwrap(), 0);
        assert_eq!(written.try_iter().collect::<Vec<_>>(), [b"last\n"]);
    }

    #[test]
    fn a_reader_that_stalls_costs_a_bounded_queue_and_a_bounded_flush() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stalled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let queue = writing_to(stalled);
        let before = dropped();
        (0..20_000).for_each(|_| queue.push(vec![b'x'; 1 << 10]));
        queue.flush(Duration::from_millis(10));
        assert!(queue.lines().bytes <= MAX_WAITING);
        assert!(dropped() - before > 1_000, "{}", dropped() - before);
    }

    #[test]
    fn one_line_may_be_longer_than_the_queue() {
        let (sender, written) = mpsc::channel();
        let queue = writing_to(Sent(sender));
        queue.push(vec![b'x'; 2 * MAX_WAITING]);
        queue.flush(Duration::from_secs(10));
        assert_eq!(written.try_iter().map(|line| line.len()).sum::<usize>(), 2 * MAX_WAITING);
    }
}
