//! What is measured of a sidecar while it is under attack, and the table of it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use testkit::{
    regions::{process::wait_for, region::Region},
    rig::{
        page::{Histogram, sum},
        stats::{Table, number},
    },
    space::Host,
};
use tokio::time::Instant;

use crate::attack::{BYSTANDERS, VOTES};

/// How often its votes are asked for.
const ASKED: Duration = Duration::from_millis(200);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How late vantages were.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lateness {
    /// Probes that were started, and those of them that were more than 5 ms late.
    pub(crate) started: f64,
    pub(crate) late: f64,
    /// The 99th percentile of the delay from a probe's slot to its start, and the longest, in seconds: the bounds of their
    /// buckets.
    pub(crate) starts: f64,
    pub(crate) worst_start: f64,
    /// Slots that became no probe.
    pub(crate) missed: f64,
    /// The longest time that a question for its votes took, in seconds.
    pub(crate) votes: f64,
    /// By how many seconds in total these took longer than [`VOTES`]; infinite if one was refused.
    pub(crate) late_votes: f64,
}

impl Lateness {
    /// Both; the worse where they cannot be added.
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            started: self.started + other.started,
            late: self.late + other.late,
            starts: self.starts.max(other.starts),
            worst_start: self.worst_start.max(other.worst_start),
            missed: self.missed + other.missed,
            votes: self.votes.max(other.votes),
            late_votes: self.late_votes + other.late_votes,
        }
    }

    /// All slots.
    pub(crate) fn slots(&self) -> f64 {
        self.started + self.missed
    }
}

/// Watches one vantage from now on, by its metrics from beside it, and by its votes from a host that asks for them.
pub(crate) struct Watch {
    before: String,
    answers: Arc<Mutex<Vec<f64>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(region: &Region, from: &Host) -> Self {
        let (answers, over): (Arc<Mutex<Vec<_>>>, Arc<AtomicBool>) = Default::default();
        let (record, ended) = (Arc::clone(&answers), Arc::clone(&over));
        let address: SocketAddr = region.address().parse().unwrap();
        let before = region.whole_page().expect("the metrics before the attack");
        let thread = from.run(move || {
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let is_answered = ask(address).is_some();
                    // A machine that stands still keeps the answer of one vantage back, and not that of another.
                    let took = asked.elapsed();
                    let is_refused = !is_answered && took < PATIENCE;
                    record.lock().unwrap().push(if is_refused { f64::INFINITY } else { took.as_secs_f64() });
                    thread::sleep(ASKED);
                }
            })
        });
        Self { before, answers, over, thread: Some(thread) }
    }

    /// How late it was since the start.
    pub(crate) fn end(mut self, region: &Region) -> Lateness {
        self.stop();
        let after = wait_for("the metrics under attack", Duration::from_secs(30), || region.whole_page());
        let name = "regionwatch_probe_start_delay_seconds";
        let delays = Histogram::between(&self.before, &after, name);
        let between = |name: &str, labels: &str| sum(&after, name, labels) - sum(&self.before, name, labels);
        let started = between(&format!("{name}_count"), "");
        let answers = self.answers.lock().unwrap();
        Lateness {
            started,
            late: started - between(&format!("{name}_bucket"), "le=\"0.005\""),
            starts: delays.quantile(0.99),
            worst_start: delays.quantile(1.0).min(1.0),
            // What a hostile peer makes of its own path is its own affair.
            missed: between("regionwatch_probe_slots_missed_total", "target=\"edge\""),
            votes: answers.iter().copied().fold(0.0, f64::max),
            late_votes: answers.iter().map(|answer| (answer - VOTES).max(0.0)).sum(),
        }
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Asks for the votes of a vantage, as another vantage does.
fn ask(address: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET /api/v1/regions HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.0 200").then_some(())
}

/// The most memory that a process has had, in MiB.
pub(crate) fn peak_memory(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.unwrap() / 1024.0
}

/// One death under one attack.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) attack: String,
    /// How often it hit.
    pub(crate) hits: f64,
    /// From the death to the webhook, in seconds.
    pub(crate) webhook: f64,
    /// Both survivors.
    pub(crate) survivors: Lateness,
    /// Two bystanders in the same time, which nobody attacks.
    pub(crate) bystanders: Lateness,
    /// The most memory that a survivor has had, in MiB.
    pub(crate) memory: f64,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Keeps a row for the table.
pub(crate) fn keep(row: Row) {
    ROWS.lock().unwrap().push(row);
}

/// Prints the table of all attacks, the worst death of each.
pub(crate) fn end() {
    drop(BYSTANDERS.lock().unwrap().take());
    let mut rows = ROWS.lock().unwrap().clone();
    if rows.is_empty() {
        return;
    }
    rows.sort_by(|a, b| a.attack.cmp(&b.attack));
    println!(
        "Both survivors under attack; in brackets bystanders that nobody attacks, in the same time. The worst of all deaths.\n"
    );
    let mut table = Table::new(&[
        "attack",
        "deaths",
        "hits",
        "webhook s",
        "start delay p99 ms",
        "later than 5 ms %",
        "missed %",
        "votes ms",
        "memory MiB",
    ]);
    for deaths in rows.chunk_by(|a, b| a.attack == b.attack) {
        let worst = |value: fn(&Row) -> f64| deaths.iter().map(value).fold(0.0, f64::max);
        let all = |of: fn(&Row) -> Lateness| deaths.iter().map(of).fold(Lateness::default(), Lateness::add);
        let (survivors, bystanders) = (all(|row| row.survivors), all(|row| row.bystanders));
        let both = |value: fn(Lateness) -> f64| format!("{} ({})", number(value(survivors)), number(value(bystanders)));
        table.row(vec![
            deaths[0].attack.clone(),
            deaths.len().to_string(),
            format!("{:.0}", deaths.iter().map(|row| row.hits).fold(f64::INFINITY, f64::min)),
            number(worst(|row| row.webhook)),
            both(|late| late.starts * 1e3),
            both(|late| 1e2 * late.late / late.slots()),
            both(|late| 1e2 * late.missed / late.slots()),
            both(|late| late.votes * 1e3),
            number(worst(|row| row.memory)),
        ]);
    }
    table.print();
}
