//! Whether `coldstart` ranks right on this machine: runs of two images that answer after 1.0 and 1.1 s, and of two that both
//! answer after 1.0 s.
//!
//! The floor is right if an image that waits for a second takes a second more than the null image in the same round.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use regionwatch::bench::failure_rate_interval;
use serde_json::{Value, json};
use testkit::{images::server, rig::stats::Table};
use tokio::time::Instant;

/// The rounds of a run.
const ROUNDS: usize = 20;

/// How long an image waits before it answers, in seconds, and by how much the floor may be wrong.
const WAITS: f64 = 1.0;
const FLOOR_WITHIN: f64 = 0.03;

/// The longest that a comparison of two images may take.
const LONGEST: Duration = Duration::from_secs(120);

/// The share of runs that may be wrong.
const WRONG: f64 = 0.05;

/// Which two images a run compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pair {
    Different,
    Equal,
}

impl Pair {
    const ALL: [Self; 2] = [Self::Different, Self::Equal];

    /// What is shown of it.
    fn name(self) -> &'static str {
        match self {
            Self::Different => "1.0 and 1.1 s",
            Self::Equal => "1.0 and 1.0 s",
        }
    }
}

/// What a run said.
#[derive(Debug)]
struct Run {
    pair: Pair,
    is_right: bool,
    took: Duration,
    /// How much too large the floor is, in seconds.
    floor_error: f64,
}

/// The images that are compared.
struct Images {
    early: String,
    also_early: String,
    late: String,
}

impl Images {
    fn new() -> Self {
        Self {
            early: server("second", &["1000"]),
            also_early: server("another-second", &["1000"]),
            late: server("tenth-more", &["1100"]),
        }
    }

    /// The images of a pair. What comes first on the command line is not what answers first.
    fn of(&self, pair: Pair) -> [&str; 2] {
        match pair {
            Pair::Different => [&self.late, &self.early],
            Pair::Equal => [&self.also_early, &self.early],
        }
    }

    fn compare(&self, pair: Pair, binary: &Path, file: &Path) -> Run {
        let began = Instant::now();
        let mut command = Command::new(binary);
        command.arg("coldstart").args(self.of(pair)).args(["--rounds", &ROUNDS.to_string(), "--out"]).arg(file);
        let run = command.output().unwrap();
        let took = began.elapsed();
        assert!(run.status.success(), "{run:?}");
        let report: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let entry = |image: &str| {
            report["results"].as_array().unwrap().iter().find(|entry| entry["command"] == image).unwrap().clone()
        };
        let ranks = self.of(pair).map(|image| entry(image)["rank"].clone());
        let is_right = match pair {
            Pair::Different => ranks == [json!([2, 2]), json!([1, 1])],
            Pair::Equal => ranks == [json!([1, 2]), json!([1, 2])],
        };
        let floor_error = WAITS - above_floor(&entry(&self.early), &report["floor"]);
        Run { pair, is_right, took, floor_error }
    }
}

/// The median of what an image takes more than the null image in the same round, in seconds.
fn above_floor(image: &Value, floor: &Value) -> f64 {
    let times = |entry: &Value| -> Vec<f64> {
        let times: Vec<_> = entry["times"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        assert_eq!(times.len(), ROUNDS, "a start failed: {entry}");
        times
    };
    median(times(image).iter().zip(times(floor)).map(|(image, floor)| image - floor).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// Compares each pair so many times, `beside` of them at the same time. Returns whether all that is promised may hold.
pub(crate) fn measure(runs: usize, beside: usize, binary: &Path) -> bool {
    let images = Images::new();
    let folder = tempfile::tempdir().unwrap();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..beside {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs * Pair::ALL.len() {
                        return;
                    }
                    let file = folder.path().join(format!("{number}.json"));
                    let run = images.compare(Pair::ALL[number % Pair::ALL.len()], binary, &file);
                    println!(
                        "{} of {}: {}, {}, {:.1} s, floor {:+.1} ms",
                        number + 1,
                        runs * Pair::ALL.len(),
                        run.pair.name(),
                        if run.is_right { "right" } else { "WRONG" },
                        run.took.as_secs_f64(),
                        run.floor_error * 1e3
                    );
                    done.lock().unwrap().push(run);
                }
            });
        }
    });
    judged(&done.into_inner().unwrap())
}

/// Prints the shares, and returns whether they may be what is promised.
fn judged(runs: &[Run]) -> bool {
    let mut table = Table::new(&["", "runs", "right", "wrong, 95% interval"]);
    let mut holds = true;
    let mut row = |name: &str, right: usize, all: usize| {
        let (low, high) = failure_rate_interval(all - right, all).unwrap_or((0.0, 1.0));
        holds &= low <= WRONG;
        let interval = format!("{:.1}% to {:.1}%", low * 100.0, high * 100.0);
        table.row(vec![name.to_owned(), all.to_string(), right.to_string(), interval]);
    };
    for pair in Pair::ALL {
        let of_pair = || runs.iter().filter(move |run| run.pair == pair);
        row(pair.name(), of_pair().filter(|run| run.is_right).count(), of_pair().count());
    }
    let is_near = |run: &&Run| run.floor_error.abs() <= FLOOR_WITHIN * WAITS;
    row("floor within 3% of 1 s", runs.iter().filter(is_near).count(), runs.len());
    table.print();
    let worst = runs.iter().map(|run| run.floor_error.abs()).fold(0.0, f64::max);
    let typical = median(runs.iter().map(|run| run.floor_error.abs()).collect());
    println!("The floor is wrong by {:.1} ms at the median, and by {:.1} ms at most.", typical * 1e3, worst * 1e3);
    let took: Vec<_> = runs.iter().map(|run| run.took.as_secs_f64()).collect();
    let longest = took.iter().copied().fold(0.0, f64::max);
    println!("A comparison of two images took {:.1} s at the median, and {longest:.1} s at most.", median(took));
    holds && longest < LONGEST.as_secs_f64()
}
