//! How long from the death of a region to the failover webhook? regionwatch by push and by rules, and beside them, in
//! the same deaths, blackbox_exporter with the same Prometheus and Alertmanager: stock, tuned, and tuned to the edge.
//!
//! ```text
//!  control: Alertmanager (push), Alertmanager (rules), Prometheus, blackbox_exporter, webhooks ── 2 ms ── vantage v1
//!     all other ways: --rtt             vantages v1, v2: a sidecar each             regions r0, r1, ...: nginx
//! ```
//!
//! Then the same on a bad day: loss, jitter and short blips, in which every webhook is a false one.
//! `cargo bench --bench time_to_webhook`, as root. Exit status 2 where a target was missed.

mod sink;
mod stack;
mod wan;

use std::{collections::HashMap, process::ExitCode, time::Duration};

use clap::Parser;
use rand::RngExt;
use sink::{Call, Sink};
use stack::{CONTROL, REGIONS, Stack, VANTAGES, region, sink_address, well};
use testkit::rig::{
    BLACKBOX, Result,
    blackbox::rival,
    pause,
    process::Workspace,
    require,
    stats::{Table, number, quantile},
    sys,
};
use wan::{Wan, Weather, address};

const MS: i64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);

/// How long a region is dead: long enough for all but the stock rules.
const DEATH: Duration = Duration::from_secs(6);
/// How long the deaths last for which the stock rules are waited for.
const LONG_DEATH: Duration = Duration::from_secs(135);

#[derive(Parser)]
struct Options {
    /// Regions that die, one after another.
    #[arg(long, default_value_t = 20)]
    deaths: u8,
    /// Regions that die for long enough for the stock rules.
    #[arg(long, default_value_t = 3)]
    long_deaths: u8,
    /// Round trip in milliseconds.
    #[arg(long, default_value_t = 100)]
    rtt: i64,
    /// Minutes of bad weather.
    #[arg(long, default_value_t = 10)]
    weather: u32,
    /// Given by `cargo bench`, but not by `cargo test --all-targets`, which must not take minutes and root.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A way from a death to a webhook: its name, the path of its webhook, its alert, and the targets for the median and the
/// 99th percentile in seconds.
struct Way(&'static str, &'static str, &'static str, Option<(f64, f64)>);

const WAYS: [Way; 6] = [
    Way("regionwatch, push", "/push/failover/", "RegionwatchPeerDown", Some((1.1, 1.5))),
    Way("regionwatch, rules at 1 s", "/rules/failover/", "RegionwatchPeerDown", Some((f64::INFINITY, 3.0))),
    Way("blackbox, to the edge", "/rules/blackbox/", "BlackboxEdge", None),
    Way("blackbox, tuned", "/rules/blackbox/", "BlackboxTuned", None),
    Way("blackbox, stock", "/rules/blackbox/", "BlackboxStock", None),
    Way("regionwatch, execute by push", "/push/failover/", "RegionwatchPeerFailover", None),
];

impl Way {
    fn has(&self, call: &Call) -> bool {
        call.path.starts_with(self.1) && call.alert == self.2
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("time_to_webhook: runs by `cargo bench --bench time_to_webhook` (or with --bench) only");
        return ExitCode::SUCCESS;
    }
    sys::catch_signals();
    let programs = ["ip", "nginx", "unbound", "prometheus", "prometheus-alertmanager", BLACKBOX];
    match require(&programs).and_then(|()| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("time_to_webhook: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A world in which everybody knows everybody.
struct World {
    stack: Stack,
    sink: Sink,
    // Last, for the others are in it.
    wan: Wan,
    _workspace: Workspace,
}

impl World {
    fn new(options: &Options) -> Result<Self> {
        let workspace = Workspace::new()?;
        let regions = options.regions();
        let near = HashMap::from([((CONTROL, VANTAGES[0]), 2 * MS), ((CONTROL, CONTROL), 0)]);
        let weather = Weather { round_trip: options.rtt * MS, near, ..Weather::default() };
        let wan = Wan::new(&[1, 1, 1, regions], weather)?;
        let sink = Sink::start(wan.host(CONTROL), sink_address())?;
        let mut stack = Stack::start(&wan, regions, &workspace)?;
        for _ in 0..60 {
            pause(SECOND)?;
            stack.check()?;
            if VANTAGES.iter().all(|vantage| well(&wan, *vantage) > usize::from(regions)) {
                break;
            }
        }
        // Until the sidecars' patience has learned the round trips.
        pause(10 * SECOND)?;
        Ok(Self { stack, sink, wan, _workspace: workspace })
    }
}

impl Options {
    const fn regions(&self) -> u8 {
        self.deaths + self.long_deaths
    }
}

fn run(options: &Options) -> Result<bool> {
    eprintln!("time_to_webhook: {} regions, {} ms", options.regions(), options.rtt);
    let mut world = World::new(options)?;
    let began = sys::monotonic_ns();
    let deaths = die(options, &world.wan, &mut world.stack)?;
    println!("Compared with {}\n", rival(None));
    let mut met = report(&world.sink, began, &deaths);
    drop(world);
    if options.weather > 0 {
        let World { mut stack, sink, wan, _workspace } = World::new(options)?;
        met &= bad_weather(options, &wan, &mut stack, &sink)?;
    }
    Ok(met)
}

/// When each region died, ns.
fn die(options: &Options, wan: &Wan, stack: &mut Stack) -> Result<HashMap<String, i64>> {
    let mut died = HashMap::new();
    let mut random = rand::rng();
    let mut kill = |n: u8| {
        let at = wan.change(|weather| {
            weather.dead.insert(address(REGIONS, n));
        });
        died.insert(region(n), at);
    };
    for n in options.deaths..options.deaths + options.long_deaths {
        kill(n);
        pause(Duration::from_millis(random.random_range(0..7000)))?;
    }
    let long = sys::monotonic_ns() + LONG_DEATH.as_nanos() as i64;
    for n in 0..options.deaths {
        stack.check()?;
        kill(n);
        eprint!(".");
        pause(DEATH)?;
        wan.change(|weather| weather.dead.remove(&address(REGIONS, n)));
        pause(Duration::from_millis(random.random_range(500..1500)))?;
    }
    eprintln!();
    if options.long_deaths > 0 {
        pause(Duration::from_nanos((long - sys::monotonic_ns()).max(0) as u64))?;
    }
    wan.change(|weather| weather.dead.clear());
    Ok(died)
}

/// Prints how long each way took; whether the targets were met.
fn report(sink: &Sink, began: i64, died: &HashMap<String, i64>) -> bool {
    let calls = sink.since(began);
    let mut table = Table::new(&["death to webhook, s", "n", "min", "p50", "p99", "max", "target"]);
    let mut met = true;
    for way in &WAYS {
        let first = |region: &String| calls.iter().find(|call| way.has(call) && call.peer == *region);
        let mut times: Vec<_> =
            died.iter().filter_map(|(region, died)| Some((first(region)?.at - died) as f64 / 1e9)).collect();
        let [min, p50, p99, max] = [0.0, 0.5, 0.99, 1.0].map(|q| quantile(&mut times, q));
        let target = way.3.map_or(String::new(), |(median, most)| {
            let every = times.len() == died.len();
            let good = every && p50 <= median && p99 <= most;
            met &= good;
            let median = if median.is_finite() { format!("p50 {median}, ") } else { String::new() };
            format!("{median}p99 {most}: {}", if good { "met" } else { "MISSED" })
        });
        let cells = [min, p50, p99, max].map(number);
        table.row([vec![way.0.into(), times.len().to_string()], cells.to_vec(), vec![target]].concat());
    }
    table.print();
    let calls = |path: &str| calls.iter().filter(|call| call.path.starts_with(path)).count();
    println!("\nwebhooks of regionwatch by push: {}, for {} deaths", calls("/push/failover/"), died.len());
    met
}

/// A bad day: every webhook is false, for no region is down for longer than a second.
fn bad_weather(options: &Options, wan: &Wan, stack: &mut Stack, sink: &Sink) -> Result<bool> {
    let minutes = i64::from(options.weather);
    let regions = options.regions();
    let mut random = rand::rng();
    let blip = Duration::from_millis(800);
    let began = wan.change(|weather| (weather.loss, weather.jitter) = (0.02, 30 * MS));
    // One way after another: from a vantage to a region, or from where blackbox_exporter runs.
    let mut blips = 0;
    while sys::monotonic_ns() - began < minutes * 60_000 * MS {
        let host = [CONTROL, VANTAGES[0], VANTAGES[1]][random.random_range(0..3)];
        wan.blip(host, address(REGIONS, random.random_range(0..regions)), blip);
        blips += 1;
        pause(SECOND)?;
        stack.check()?;
    }
    let calls = sink.since(began);
    println!("\n{minutes} minutes with 2 % loss each way, up to 30 ms of jitter, and {blips} blips of 800 ms:\n");
    let mut table = Table::new(&["false webhooks", "prepare", "execute"]);
    let count = |path: &str, alert: &str| {
        calls.iter().filter(|call| call.path.starts_with(path) && call.alert == alert).count().to_string()
    };
    let (down, failover) = ("RegionwatchPeerDown", "RegionwatchPeerFailover");
    for (name, path) in [("regionwatch, push", "/push/failover/"), ("regionwatch, rules at 1 s", "/rules/failover/")] {
        table.row(vec![name.into(), count(path, down), count(path, failover)]);
    }
    for (name, alert) in [
        ("blackbox, to the edge", "BlackboxEdge"),
        ("blackbox, tuned", "BlackboxTuned"),
        ("blackbox, stock", "BlackboxStock"),
    ] {
        table.row(vec![name.into(), "-".into(), count("/rules/blackbox/", alert)]);
    }
    table.print();
    Ok(calls.iter().all(|call| !call.path.contains("/failover/")))
}
