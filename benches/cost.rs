//! What does measuring cost? CPU time, memory and pages of regionwatch and blackbox_exporter at 10, 100 and 1000
//! targets, each probed once a second by ICMP, DNS, TCP and HTTP, over loopback.
//!
//! `cargo bench --bench cost -- --quick`, as root; exit status 2 where a target was missed. `--before PROGRAM` compares with
//! another build of regionwatch instead. CPU time is that of a cgroup with nothing but the program in it, user and
//! system. Over loopback it contains the kernel's work at the receiving end too, for both programs alike.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use testkit::rig::{
    BLACKBOX, Result,
    blackbox::{self, rival},
    cgroup::Cgroup,
    net::Namespace,
    page::{Histogram, count, sum},
    pause,
    process::{Place, Process, Workspace},
    regionwatch, require,
    servers::Servers,
    stats::{Table, number, quantile},
    sys,
    truth::{Flow, Service},
};

#[derive(Parser)]
struct Options {
    /// How many targets are probed.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000")]
    targets: Vec<usize>,
    /// By what each of them is probed.
    #[arg(long, value_delimiter = ',', default_value = "icmp,dns,tcp,http")]
    kinds: Vec<Service>,
    /// How long each program is watched at each size.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// One program instead of both.
    #[arg(long)]
    only: Option<Program>,
    /// Another build of regionwatch, to be measured in the same run in the place of blackbox_exporter.
    #[arg(long)]
    before: Option<PathBuf>,
    /// Connections over which blackbox is asked for probes.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Watches for 8 seconds only.
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`, but not by `cargo test --all-targets`, which must not take minutes and root.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    Regionwatch,
    /// blackbox_exporter, or the build that `--before` names.
    #[value(name = "blackbox", alias = "before")]
    Other,
}

/// How long a program runs before it is watched; at the smallest size its memory is read at the end of it.
const WARM_UP: Duration = Duration::from_secs(10);
/// How many windows a program is watched in. The one with the least CPU time per probe counts: other work on the
/// machine only ever adds to it, for minutes on end.
const WINDOWS: u32 = 4;
/// How many times a second without scrapes is followed by one with a burst of [`SCRAPES`], which differ by them only.
const PAIRS: usize = 6;
const SCRAPES: u32 = 10;
/// How many seconds a full page is read in each, before the memory of a program that is scraped is looked at.
const SCRAPED_FOR: u32 = 10;
/// How many times regionwatch is started for the time to its first page.
const STARTS: usize = 11;

/// Values by name; a name stands in the tables and in [`TARGETS`].
type Values = BTreeMap<&'static str, f64>;

const CPU_PER_PROBE: &str = "CPU per probe, µs";
const CORES: &str = "CPU, cores";
const PROBES: &str = "probes per s";
const FAILED: &str = "probes failed, %";
const PEAK_RSS: &str = "peak RSS, MiB";
const RSS: &str = "RSS after 10 s, MiB";
const RSS_SCRAPED: &str = "RSS, a full scrape a second, MiB";
const ANON_RSS: &str = "of it not file pages, MiB";
const THREADS: &str = "threads";
const PAGE: &str = "page, KiB";
const PAGE_GZIP: &str = "page gzip, KiB";
const SERIES: &str = "series";
const SCRAPE_WALL: &str = "scrape p50, ms";
const SCRAPE_CPU: &str = "scrape CPU, ms";
const SCRAPE_GZIP_CPU: &str = "scrape gzip CPU, ms";
const DELAY: &str = "start delay p99, ms <=";
const DELAY_SCRAPED: &str = "same while scraped";
const MISSED: &str = "slots missed";
const FIRST_PAGE: &str = "exec to first page p50, ms";

const NAMES: [&str; 19] = [
    PROBES,
    FAILED,
    CPU_PER_PROBE,
    CORES,
    RSS,
    RSS_SCRAPED,
    PEAK_RSS,
    ANON_RSS,
    THREADS,
    PAGE,
    PAGE_GZIP,
    SERIES,
    SCRAPE_WALL,
    SCRAPE_CPU,
    SCRAPE_GZIP_CPU,
    DELAY,
    DELAY_SCRAPED,
    MISSED,
    FIRST_PAGE,
];

/// Bounds of regionwatch's values: by targets, name, whether it is the ratio to blackbox, and the largest value.
const TARGETS: [(usize, &str, bool, f64); 13] = [
    (10, CPU_PER_PROBE, true, 0.125),
    (100, CPU_PER_PROBE, true, 0.125),
    (100, PEAK_RSS, true, 0.25),
    (10, RSS, false, 8.0),
    (100, RSS_SCRAPED, false, 9.0),
    (1000, RSS_SCRAPED, false, 40.0),
    (10, FIRST_PAGE, false, 50.0),
    (1000, CORES, false, 1.0),
    (1000, PEAK_RSS, false, 64.0),
    (1000, SCRAPE_CPU, false, 40.0),
    (10, MISSED, false, 0.0),
    (100, MISSED, false, 0.0),
    (1000, MISSED, false, 0.0),
];

struct Bench {
    options: Options,
    watch: Duration,
    // Ends before the namespace does.
    servers: Servers,
    net: Namespace,
    workspace: Workspace,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("cost: runs by `cargo bench --bench cost` (or with --bench) only");
        return ExitCode::SUCCESS;
    }
    sys::catch_signals();
    match require(&["ip", "nginx", "unbound", BLACKBOX]).and_then(|()| run(options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("cost: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<bool> {
    let workspace = Workspace::new()?;
    let net = Namespace::new()?;
    let servers = Servers::start(&net, &workspace)?;
    let watch = Duration::from_secs(if options.quick { 8 } else { options.seconds });
    let mut bench = Bench { options, watch, servers, net, workspace };
    println!("Each target is probed once a second by each of {:?}, for {} s\n", bench.options.kinds, watch.as_secs());
    println!("Compared with {}", rival(bench.options.before.as_deref()));
    let mut met = true;
    for targets in bench.options.targets.clone() {
        let mut values = [Values::new(), Values::new()];
        for (program, values) in [Program::Regionwatch, Program::Other].into_iter().zip(&mut values) {
            if bench.options.only.is_none_or(|only| only == program) {
                eprintln!("cost: {program:?}, {targets} targets");
                *values = match program {
                    Program::Regionwatch => bench.regionwatch(&regionwatch::program(), targets)?,
                    Program::Other => match bench.options.before.clone() {
                        Some(build) => bench.regionwatch(&build, targets)?,
                        None => bench.blackbox(targets)?,
                    },
                };
                bench.servers.check()?;
            }
        }
        met &= report(targets, &values, bench.options.before.is_some());
    }
    Ok(met)
}

/// Addresses in 127/8, which are all local.
fn addresses(count: usize) -> Vec<Ipv4Addr> {
    (0..count).map(|n| Ipv4Addr::new(127, 0, (n / 250 + 1) as u8, (n % 250 + 1) as u8)).collect()
}

/// What the account says between two readings.
struct Span {
    began: i64,
    used: f64,
}

impl Span {
    fn begin(cgroup: &Cgroup) -> Self {
        Self { began: sys::monotonic_ns(), used: cgroup.usage().cpu_us }
    }

    /// Seconds and µs of CPU time since.
    fn end(&self, cgroup: &Cgroup) -> (f64, f64) {
        ((sys::monotonic_ns() - self.began) as f64 / 1e9, cgroup.usage().cpu_us - self.used)
    }
}

/// Does something at the start of a second; the CPU time of that second in µs.
fn second_of(cgroup: &Cgroup, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let second = Duration::from_secs(1);
    let span = Span::begin(cgroup);
    work()?;
    pause(second.saturating_sub(Duration::from_nanos((sys::monotonic_ns() - span.began) as u64)))?;
    let (seconds, cpu) = span.end(cgroup);
    Ok(cpu / seconds)
}

impl Bench {
    fn services(&self) -> Vec<Service> {
        self.options.kinds.clone()
    }

    fn regionwatch(&self, program: &Path, targets: usize) -> Result<Values> {
        let second = Duration::from_secs(1);
        let config = regionwatch::configure(&addresses(targets), &self.services(), second, second, &self.workspace)?;
        let mut values = Values::new();
        values.insert(FIRST_PAGE, self.first_page(program, &config)?);

        let cgroup = Cgroup::new(None)?;
        let place = Place { net: &self.net, cgroup: Some(&cgroup) };
        let mut process = regionwatch::start(program, &config, place, &self.workspace)?;
        pause(WARM_UP)?;
        values.insert(RSS, kib(&process, "VmRSS"));

        let mut client = regionwatch::client(&self.net);
        let before = client.text("/metrics")?;
        let span = Span::begin(&cgroup);
        let mut windows = Vec::new();
        for _ in 0..WINDOWS {
            let window = Span::begin(&cgroup);
            pause(self.watch / WINDOWS)?;
            let (seconds, cpu) = window.end(&cgroup);
            windows.push(cpu / seconds);
        }
        let (seconds, cpu) = span.end(&cgroup);
        let after = client.text("/metrics")?;
        let done = |labels: &str| {
            sum(&after, "regionwatch_probes_total", labels) - sum(&before, "regionwatch_probes_total", labels)
        };
        let rate = done("") / seconds;
        values.insert(PROBES, rate);
        values.insert(FAILED, 100.0 * (1.0 - done("result=\"ok\"") / done("")));
        // Probes are started at a fixed rate, whatever comes of them.
        values.insert(CPU_PER_PROBE, quantile(&mut windows, 0.0) / rate);
        values.insert(CORES, cpu / seconds / 1e6);
        values.insert(PAGE, after.len() as f64 / 1024.0);
        values.insert(SERIES, count(&after) as f64);

        for _ in 0..SCRAPED_FOR {
            second_of(&cgroup, || client.get("/metrics", "").map(drop))?;
        }
        values.insert(RSS_SCRAPED, kib(&process, "VmRSS"));

        for (headers, name) in [("Accept-Encoding: gzip\r\n", SCRAPE_GZIP_CPU), ("", SCRAPE_CPU)] {
            let (mut walls, mut costs) = (Vec::new(), Vec::new());
            for _ in 0..PAIRS {
                let quiet = second_of(&cgroup, || Ok(()))?;
                let scraped = second_of(&cgroup, || {
                    for _ in 0..SCRAPES {
                        let asked = sys::monotonic_ns();
                        let body = client.get("/metrics", headers)?.body.len();
                        walls.push((sys::monotonic_ns() - asked) as f64 / 1e6);
                        if !headers.is_empty() {
                            values.insert(PAGE_GZIP, body as f64 / 1024.0);
                        }
                    }
                    Ok(())
                })?;
                costs.push((scraped - quiet) / 1000.0 / f64::from(SCRAPES));
            }
            values.insert(name, quantile(&mut costs, 0.5));
            values.insert(SCRAPE_WALL, quantile(&mut walls, 0.5));
        }
        let scraped = client.text("/metrics")?;
        let delay = |from: &str, to: &str| {
            Histogram::between(from, to, "regionwatch_probe_start_delay_seconds").quantile(0.99) * 1000.0
        };
        values.insert(DELAY, delay(&before, &after));
        values.insert(DELAY_SCRAPED, delay(&after, &scraped));
        values.insert(MISSED, sum(&scraped, "regionwatch_probe_slots_missed_total", ""));
        memory(&mut process, &mut values)?;
        Ok(values)
    }

    /// From before the fork to the end of the first page, the median in ms.
    fn first_page(&self, program: &Path, config: &Path) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let began = sys::monotonic_ns();
            let place = Place { net: &self.net, cgroup: None };
            let mut process =
                Process::spawn(regionwatch::command(program, config), "regionwatch", place, &self.workspace)?;
            while regionwatch::client(&self.net).text("/metrics").is_err() {
                process.check()?;
                pause(Duration::from_micros(100))?;
            }
            times.push((sys::monotonic_ns() - began) as f64 / 1e6);
        }
        Ok(quantile(&mut times, 0.5))
    }

    fn blackbox(&self, targets: usize) -> Result<Values> {
        let cgroup = Cgroup::new(None)?;
        let place = Place { net: &self.net, cgroup: Some(&cgroup) };
        let mut process = blackbox::start(place, Duration::from_secs(1), &self.workspace)?;
        let services = self.services();
        let flows: Vec<Flow> = addresses(targets)
            .into_iter()
            .flat_map(|address| services.iter().map(move |service| (address, *service)))
            .collect();
        let load = blackbox::Load::default();
        let end = sys::monotonic_ns() + (WARM_UP + self.watch).as_nanos() as i64;
        let mut values = Values::new();
        let (good, bad, bytes, seconds, cpu) = std::thread::scope(|scope| {
            scope.spawn(|| blackbox::load(&self.net, &flows, self.options.connections, end, &load));
            pause(WARM_UP)?;
            values.insert(RSS, kib(&process, "VmRSS"));
            let read = || [&load.succeeded, &load.failed, &load.bytes].map(|n| n.load(Ordering::Relaxed) as f64);
            let (span, before) = (Span::begin(&cgroup), read());
            let mut windows = Vec::new();
            for _ in 0..WINDOWS {
                let (window, [good, bad, _]) = (Span::begin(&cgroup), read());
                pause(self.watch / WINDOWS)?;
                let ((_, cpu), after) = (window.end(&cgroup), read());
                windows.push(cpu / (after[0] + after[1] - good - bad));
            }
            values.insert(CPU_PER_PROBE, quantile(&mut windows, 0.0));
            let ((seconds, cpu), after) = (span.end(&cgroup), read());
            Result::Ok((after[0] - before[0], after[1] - before[1], after[2] - before[2], seconds, cpu))
        })?;
        values.insert(PROBES, (good + bad) / seconds);
        values.insert(FAILED, 100.0 * bad / (good + bad));
        values.insert(CORES, cpu / seconds / 1e6);
        // What Prometheus has to read for one value of each flow.
        values.insert(PAGE, bytes / (good + bad) * flows.len() as f64 / 1024.0);
        memory(&mut process, &mut values)?;
        Ok(values)
    }
}

fn kib(process: &Process, key: &str) -> f64 {
    process.status(key).map_or(f64::NAN, |kib| kib as f64 / 1024.0)
}

fn memory(process: &mut Process, values: &mut Values) -> Result<()> {
    process.check()?;
    values.insert(PEAK_RSS, kib(process, "VmHWM"));
    values.insert(ANON_RSS, kib(process, "RssAnon"));
    values.insert(THREADS, process.status("Threads").map_or(f64::NAN, |threads| threads as f64));
    Ok(())
}

/// Prints a table; returns whether all targets were met.
fn report(targets: usize, [own, other]: &[Values; 2], before: bool) -> bool {
    println!("\n### {targets} targets\n");
    let mut met = true;
    let mut table = Table::new(&["", "regionwatch", if before { "before" } else { "blackbox" }, "ratio", "target", ""]);
    for name in NAMES {
        let value = |values: &Values| values.get(name).copied().unwrap_or(f64::NAN);
        let (own, other) = (value(own), value(other));
        let relative = |target: &(usize, &str, bool, f64)| target.2;
        let target = TARGETS.iter().find(|target| target.0 == targets && target.1 == name);
        // A ratio is one to blackbox_exporter.
        let target = target.filter(|target| !before || !relative(target));
        let (bound, verdict) = match target {
            Some((_, _, relative, bound)) => {
                let (reached, unit) = if *relative { (own / other, " x") } else { (own, "") };
                let verdict = match reached {
                    _ if reached.is_nan() => "-",
                    _ if reached <= *bound => "PASS",
                    _ => "MISS",
                };
                met &= verdict != "MISS";
                (format!("<= {bound}{unit}"), verdict)
            }
            None => (String::new(), ""),
        };
        let ratio = own / other;
        let ratio = if ratio.is_finite() { format!("{ratio:.3}") } else { "-".to_owned() };
        table.row(vec![name.to_owned(), number(own), number(other), ratio, bound, verdict.to_owned()]);
    }
    table.print();
    met
}
