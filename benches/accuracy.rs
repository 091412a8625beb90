//! How far are reported latencies from the truth? regionwatch and blackbox_exporter side by side: with both
//! processors idle, with both busy, under a CPU quota of 5 %, and starved under a quota that is always used up.
//!
//! `cargo bench --bench accuracy -- --quick`, as root. The truth is defined in `testkit/src/rig/mod.rs`. Exit status 2 where a
//! target was missed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use testkit::rig::{
    BLACKBOX, Result,
    bench_command::Run,
    blackbox::{self, rival},
    cgroup::Cgroup,
    compare::{Errors, Measure, Reported, compare},
    line::Line,
    net::{Pair, server_address},
    pause,
    process::{Place, Process, Workspace, spinners},
    regionwatch, require,
    selfcheck::SelfCheck,
    servers::Servers,
    stats::{Table, number, quantile, spread},
    sys,
    tap::Tap,
    truth::{Flow, Service, reconstruct},
};

#[derive(Parser)]
struct Options {
    /// Probes of each protocol under each condition, over all delays.
    #[arg(long, default_value_t = 600)]
    probes: u32,
    /// Round trips of the line in milliseconds; half of each is spent each way.
    #[arg(long, value_delimiter = ',', default_value = "1,5,20,80,200")]
    delays: Vec<u32>,
    /// By what each server is probed.
    #[arg(long, value_delimiter = ',', default_value = "icmp,dns,tcp,http,https")]
    services: Vec<Service>,
    /// Under which conditions.
    #[arg(long, value_delimiter = ',', default_value = "idle,busy,quota,starved")]
    conditions: Vec<Condition>,
    /// One program instead of both.
    #[arg(long)]
    only: Option<Program>,
    /// Another build of regionwatch, to be measured in the same run in the place of blackbox_exporter.
    #[arg(long)]
    before: Option<PathBuf>,
    /// `regionwatch bench` in the place of blackbox_exporter: it may add 1% of the shortest round trip to what the sidecar
    /// measures.
    #[arg(long, conflicts_with = "before")]
    bench_command: bool,
    /// Milliseconds between two probes of one protocol to one server.
    #[arg(long, default_value_t = 500)]
    interval: u32,
    /// Milliseconds that a probe may take. A short one shows whether answers that came in time are taken for lost
    /// where the program learns of them late.
    #[arg(long, default_value_t = 2000)]
    timeout: u32,
    /// A sixth of the probes: about two minutes.
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`, but not by `cargo test --all-targets`, which must not take minutes and root.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
enum Condition {
    /// Nothing else runs.
    Idle,
    /// Four processes spin.
    Busy,
    /// The program gets 5 ms of CPU time in every 100 ms.
    Quota,
    /// The program shares 10 ms in every 100 ms with a process that spins, and so is stopped in every period.
    Starved,
}

impl Condition {
    const fn quota(self) -> Option<Duration> {
        match self {
            Self::Quota => Some(Duration::from_millis(5)),
            Self::Starved => Some(Duration::from_millis(10)),
            Self::Idle | Self::Busy => None,
        }
    }

    /// How many processes spin, outside and inside of the program's cgroup.
    const fn spinners(self) -> (usize, usize) {
        match self {
            Self::Busy => (4, 0),
            Self::Starved => (0, 1),
            Self::Idle | Self::Quota => (0, 0),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
enum Program {
    Regionwatch,
    /// blackbox_exporter, `regionwatch bench`, or the build that `--before` names.
    #[value(name = "blackbox", aliases = ["before", "bench"])]
    Other,
}

/// What is measured before this is not counted.
const WARM_UP: Duration = Duration::from_secs(3);

/// A program that has been started.
enum Running {
    Sidecar(Process),
    Blackbox(Process),
    Bench(Run),
}

/// One program under one condition.
struct Cell {
    errors: Errors,
    /// How much of one processor it used, and in which share of the quota's periods it was stopped.
    cpu: f64,
    throttled: u64,
    gaps: usize,
}

struct Bench {
    options: Options,
    rounds: u32,
    flows: Vec<Flow>,
    // Ends before the namespaces do.
    servers: Servers,
    tap: Tap,
    line: Line,
    pair: Pair,
    workspace: Workspace,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("accuracy: runs by `cargo bench --bench accuracy` (or with --bench) only");
        return ExitCode::SUCCESS;
    }
    sys::catch_signals();
    match require(&["ip", "nginx", "unbound", BLACKBOX]).and_then(|()| run(options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("accuracy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<bool> {
    let workspace = Workspace::new()?;
    let (pair, near, far) = Pair::new(options.delays.len())?;
    let addresses: Vec<_> = (0..options.delays.len()).map(server_address).collect();
    let round_trips = addresses.iter().zip(&options.delays).map(|(to, ms)| (*to, i64::from(*ms) * 1_000_000));
    let line = Line::start(near, far, round_trips.collect())?;
    let tap = Tap::start(&pair.prober)?;
    let servers = Servers::start(&pair.servers, &workspace)?;
    let flows = addresses.iter().flat_map(|to| options.services.iter().map(|service| (*to, *service))).collect();
    let probes = if options.quick { options.probes / 6 } else { options.probes };
    let rounds = probes.div_ceil(addresses.len() as u32);
    let mut bench = Bench { options, rounds, flows, servers, tap, line, pair, workspace };

    let mut own = SelfCheck::default();
    let mut cells = HashMap::new();
    for condition in bench.options.conditions.clone() {
        for program in [Program::Regionwatch, Program::Other] {
            if bench.options.only.is_none_or(|only| only == program) {
                eprintln!("accuracy: {program:?}, {condition:?}");
                cells.insert((condition, program), bench.measure(condition, program, &mut own)?);
            }
        }
    }
    match bench.options.bench_command {
        true => println!("Compared with regionwatch bench\n"),
        false => println!("Compared with {}\n", rival(bench.options.before.as_deref())),
    }
    let met = report(&bench, &cells) & added(&bench, &cells);
    own.print();
    Ok(met)
}

impl Bench {
    fn interval(&self) -> Duration {
        Duration::from_millis(self.options.interval.into())
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.options.timeout.into())
    }

    fn measure(&mut self, condition: Condition, program: Program, own: &mut SelfCheck) -> Result<Cell> {
        let cgroup = Cgroup::new(condition.quota())?;
        let place = Place { net: &self.pair.prober, cgroup: Some(&cgroup) };
        let addresses: Vec<_> = (0..self.options.delays.len()).map(server_address).collect();
        let own_build = regionwatch::program();
        let build: Option<&Path> = match program {
            Program::Regionwatch => Some(&own_build),
            Program::Other => self.options.before.as_deref(),
        };
        let configure = || {
            regionwatch::configure(&addresses, &self.options.services, self.interval(), self.timeout(), &self.workspace)
        };
        let duration = WARM_UP + self.duration();
        let mut running = match (program, build) {
            (Program::Other, None) if self.options.bench_command => {
                let run = Run::start(&own_build, &configure()?, self.interval(), duration, place, &self.workspace)?;
                Running::Bench(run)
            }
            (_, None) => Running::Blackbox(blackbox::start(place, self.timeout(), &self.workspace)?),
            (_, Some(build)) => Running::Sidecar(regionwatch::start(build, &configure()?, place, &self.workspace)?),
        };
        // Started last, because a program that is starved from its first moment takes long to become ready.
        let (outside, inside) = condition.spinners();
        let busy = [
            spinners(outside, Place { cgroup: None, ..place }, &self.workspace)?,
            spinners(inside, place, &self.workspace)?,
        ];
        pause(WARM_UP)?;
        // What passed before is of no interest.
        drop((self.tap.take()?, self.line.take()));
        let (began, used) = (sys::realtime_ns(), cgroup.usage());
        let (mut reported, gaps) = match &mut running {
            Running::Blackbox(process) => {
                let reported = blackbox::drive(&self.pair.prober, &self.flows, self.interval(), self.rounds)?;
                process.check()?;
                (reported, 0)
            }
            Running::Sidecar(process) => {
                let collected = self.collect(began)?;
                process.check()?;
                collected
            }
            Running::Bench(run) => (run.finish(&addresses, began, duration, self.interval() / 2)?, 0),
        };
        let (ended, total) = (sys::realtime_ns(), cgroup.usage());
        self.servers.check()?;
        drop((running, busy));

        let (seen, passages) = (self.tap.take()?, self.line.take());
        own.add(&seen, &passages);
        let timeout = self.timeout().as_nanos() as i64;
        // A probe that began just before the end was not reported yet.
        let errors = compare(&mut reported, &reconstruct(&seen), timeout, (began + timeout, ended - 2 * timeout));
        let cpu = (total.cpu_us - used.cpu_us) * 1000.0 / (ended - began) as f64;
        Ok(Cell { errors, cpu, throttled: total.throttled - used.throttled, gaps })
    }

    /// How long probes are counted.
    fn duration(&self) -> Duration {
        self.interval() * self.rounds + self.timeout()
    }

    /// Reads regionwatch's samples as they come, until there are enough.
    fn collect(&self, began: i64) -> Result<(Vec<Reported>, usize)> {
        let mut client = regionwatch::client(&self.pair.prober);
        let mut collector = regionwatch::Collector::new(&self.flows);
        // It keeps 20 samples of each path: read them twice in that time.
        let often = self.interval() * 8;
        let slack = self.interval() / 2;
        let end = sys::monotonic_ns() + self.duration().as_nanos() as i64;
        while sys::monotonic_ns() < end {
            pause(often)?;
            collector.poll(&mut client, slack)?;
        }
        let gaps = collector.gaps;
        Ok((collector.finish(began), gaps))
    }
}

/// Prints the tables; returns whether regionwatch met all targets.
fn report(bench: &Bench, cells: &HashMap<(Condition, Program), Cell>) -> bool {
    let mut met = true;
    println!(
        "Error of reported latencies (reported - true), µs; round trips of {:?} ms, a probe of each protocol to \
         each server every {} ms\n",
        bench.options.delays, bench.options.interval
    );
    let programs = [Program::Regionwatch, Program::Other];
    let other = match (&bench.options.before, bench.options.bench_command) {
        (Some(_), _) => "before n",
        (None, true) => "bench n",
        (None, false) => "blackbox n",
    };
    for condition in &bench.options.conditions {
        println!("\n### {condition:?}\n");
        let mut table = Table::new(&[
            "",
            "regionwatch n",
            "p50",
            "p99",
            "max",
            "signed p50",
            other,
            "p50",
            "p99",
            "max",
            "signed p50",
            "p99 ratio",
            "target",
            "",
        ]);
        for measure in Measure::ALL.into_iter().filter(|measure| bench.options.services.contains(&measure.service)) {
            let mut row = vec![measure.name().to_owned()];
            let mut p99s = [f64::NAN; 2];
            for (program, p99) in programs.iter().zip(&mut p99s) {
                let cell = cells.get(&(*condition, *program));
                let mut signed = cell.and_then(|cell| cell.errors.by_measure.get(measure.name())).cloned();
                let signed = signed.get_or_insert_default();
                let absolute = spread(signed.iter().map(|error| error.abs()).collect());
                *p99 = absolute[1];
                row.push(signed.len().to_string());
                row.extend(absolute.map(number));
                row.push(number(quantile(signed, 0.5)));
            }
            let ratio = p99s[1] / p99s[0];
            row.push(if ratio.is_finite() { format!("{ratio:.0}x") } else { "-".to_owned() });
            row.push(format!("<= {}", measure.target_us()));
            row.push(verdict(cells, *condition, p99s[0] <= measure.target_us(), &mut met));
            table.row(row);
        }
        table.print();
        for program in programs {
            if let Some(cell) = cells.get(&(*condition, program)) {
                println!("\n{}", remarks(program, cell));
                let wrong = !cell.errors.false_failures.is_empty();
                if program == Program::Regionwatch && wrong {
                    met = false;
                    println!("regionwatch: failures although the answer came in time: MISS");
                }
            }
        }
    }
    met
}

/// What `bench` adds to the latencies that the sidecar measures, as a share of the shortest round trip; whether that is as
/// little as it must be.
fn added(bench: &Bench, cells: &HashMap<(Condition, Program), Cell>) -> bool {
    const MOST: f64 = 0.01;
    let shortest_us = bench.options.delays.iter().min().map_or(f64::NAN, |ms| f64::from(*ms) * 1000.0);
    let mut met = true;
    for condition in &bench.options.conditions {
        let errors = |program| cells.get(&(*condition, program)).map(|cell| &cell.errors.by_measure);
        let (true, Some(sidecar), Some(other)) =
            (bench.options.bench_command, errors(Program::Regionwatch), errors(Program::Other))
        else {
            continue;
        };
        for measure in Measure::ALL.into_iter().filter(|measure| bench.options.services.contains(&measure.service)) {
            let [before, with] = [sidecar, other]
                .map(|errors| quantile(&mut errors.get(measure.name()).cloned().unwrap_or_default(), 0.5));
            let share = (with - before) / shortest_us;
            let passes = share <= MOST;
            met &= passes;
            println!(
                "{condition:?}, {}: bench adds {:.1} µs, {:.2}% of the shortest round trip: {}",
                measure.name(),
                with - before,
                share * 100.0,
                if passes { "PASS" } else { "MISS" }
            );
        }
    }
    met
}

fn verdict(cells: &HashMap<(Condition, Program), Cell>, condition: Condition, passes: bool, met: &mut bool) -> String {
    if !cells.contains_key(&(condition, Program::Regionwatch)) {
        return "-".to_owned();
    }
    *met &= passes;
    if passes { "PASS" } else { "MISS" }.to_owned()
}

fn remarks(program: Program, cell: &Cell) -> String {
    let errors = &cell.errors;
    let false_failures: usize = errors.false_failures.values().sum();
    format!(
        "{program:?}: {false_failures} failures although the answer came in time {:?}, {} other failures, {} successes \
         without a probe on the line, {} probes not reported, {} by a userland clock, {} gaps in the samples; its cgroup \
         used {:.1} % of a processor and was throttled {} times",
        errors.false_failures,
        errors.true_failures,
        errors.phantom,
        errors.unreported,
        errors.userland,
        cell.gaps,
        cell.cpu * 100.0,
        cell.throttled
    )
}
