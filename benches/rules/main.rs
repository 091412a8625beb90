//! What the rules and the dashboards cost Prometheus: fifty regions that all observe each other, one of them down, and a
//! day of samples of all that is read.
//!
//! Prints, for each rule group, how long its evaluations take of its interval, and the slowest queries of the dashboards
//! over an hour, as they open, and over a day. Ends with 2 where a bound is broken: a tenth of the interval, half a second.
//! `--rules` and `--dashboards` name others to compare with. Each query is asked five times, and its fastest answer counts.
//! A query runs on one processor, so on a busy machine the CPU time of Prometheus counts where that is less.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod queries;
mod world;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    thread,
    time::Duration,
};

use clap::Parser;
use serde_json::Value;
use testkit::{
    process::{Running, escaped, eventually, free, get, request},
    rig::{
        stats::{Table, quantile},
        sys,
    },
    root,
    versions::{newest_of, version},
};

use tokio::time::Instant;

use crate::{queries::Query, world::World};

/// How far an instant selector looks back (`--query.lookback-delta`).
const LOOKBACK: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Parser)]
struct Options {
    /// An hour of samples instead of a day.
    #[arg(long)]
    quick: bool,
    #[arg(long, default_value_t = 50)]
    regions: usize,
    /// How long the rules are watched, s.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds between two scrapes of the small page.
    #[arg(long, default_value_t = 5)]
    scrape: u64,
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Folders of dashboards. The past holds what all of them read.
    #[arg(long)]
    dashboards: Vec<PathBuf>,
    /// Leaves the queries of the dashboards out.
    #[arg(long)]
    only_rules: bool,
    /// Only the Prometheus of the system, or only the newest.
    #[arg(long)]
    only: Option<String>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("rules: runs by `cargo bench --bench rules` (or with --bench) only");
        return ExitCode::SUCCESS;
    }
    let world = Arc::new(World::new(options.regions));
    println!("{} regions, {} series", world.regions, world.series());
    let rules = options.rules.clone().unwrap_or_else(|| root().join("alerts/regionwatch.rules.yml"));
    let mut folders = options.dashboards.clone();
    if folders.is_empty() {
        folders.push(root().join("dashboards"));
    }
    let boards: Vec<_> = folders.iter().map(|folder| (folder, queries::of(folder))).collect();
    let spans = if options.quick { &[3_600][..] } else { &[3_600, 86_400] };
    let text = fs::read_to_string(&rules).unwrap();
    let mut needs = std::collections::BTreeMap::<_, Vec<_>>::new();
    for (_, queries) in &boards {
        for (name, more) in queries::needs(&text, queries, *spans.last().unwrap()) {
            needs.entry(name).or_default().extend(more);
        }
    }
    let past = tempfile::tempdir().unwrap();
    world.past(&needs, sys::realtime_ns() as u64 / 1_000_000_000, past.path());
    let mut met = true;
    let system = PathBuf::from("prometheus");
    for (name, program) in [("system", system.clone()), ("newest", newest_of("prometheus"))] {
        let is_asked = options.only.as_deref().is_none_or(|only| only == name);
        if is_asked && (name == "system" || program != system) {
            println!("\n## Prometheus {}\n", version(&program));
            let run = Run::start(&program, &options, &world, &rules, past.path());
            met &= run.groups(Duration::from_secs(options.seconds));
            run.rules();
            for (folder, queries) in boards.iter().filter(|_| !options.only_rules) {
                for span in spans {
                    println!("\n### {}, over {} h", folder.display(), span / 3_600);
                    met &= run.queries(queries, *span);
                }
            }
        }
    }
    if met { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// A Prometheus with a past, that scrapes all vantages.
struct Run {
    addr: SocketAddr,
    prometheus: Running,
    _folder: tempfile::TempDir,
}

impl Run {
    fn start(program: &Path, options: &Options, world: &Arc<World>, rules: &Path, past: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let data = place.join("data");
        let copied = Command::new("cp").arg("--recursive").args([past, &data]).status();
        assert!(copied.unwrap().success());

        let exporter = serve(Arc::clone(world));
        let targets: Vec<_> = (0..world.dead()).map(world::region).collect();
        let job = |name: &str, interval: u64, parameters: &str| {
            format!(
                "  - {{job_name: {name}, scrape_interval: {interval}s, scrape_timeout: {interval}s, {parameters}\
                 static_configs: [{{targets: [{}]}}], relabel_configs: [\
                 {{source_labels: [__address__], target_label: instance}}, \
                 {{source_labels: [__address__], replacement: '/$1', target_label: __metrics_path__}}, \
                 {{target_label: __address__, replacement: '{exporter}'}}]}}\n",
                targets.join(", ")
            )
        };
        let config = format!(
            "global: {{evaluation_interval: 15s}}\nrule_files: ['{}']\nscrape_configs:\n{}{}",
            fs::canonicalize(rules).unwrap().display(),
            job("regionwatch-state", options.scrape, "params: {collect: [state]}, "),
            job("regionwatch", 15, "params: {collect: [rest]}, "),
        );
        let config_file = place.join("prometheus.yml");
        fs::write(&config_file, config).unwrap();
        let addr = free();
        let arguments = [
            format!("--config.file={}", config_file.display()),
            format!("--storage.tsdb.path={}", data.display()),
            format!("--web.listen-address={addr}"),
            "--log.level=error".to_owned(),
        ];
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let prometheus = Running::start(program.to_str().unwrap(), &arguments, &[]);
        eventually("Prometheus is ready", Duration::from_secs(120), || {
            request(addr, "GET", "/-/ready").filter(|answer| answer.status == 200)
        });
        let run = Self { addr, prometheus, _folder: folder };
        // As it would be after a day, and not beside what is measured.
        let compactions = || run.counter("prometheus_tsdb_compactions_total");
        let mut since = (compactions(), Instant::now());
        eventually("the past is compacted", Duration::from_secs(900), || {
            if compactions() != since.0 {
                since = (compactions(), Instant::now());
            }
            (since.0 > 0.0 && since.1.elapsed() > Duration::from_secs(30)).then_some(())
        });
        run
    }

    fn counter(&self, name: &str) -> f64 {
        let page = request(self.addr, "GET", "/metrics").map(|answer| answer.body).unwrap_or_default();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// The CPU time that it has used, s.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.prometheus.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // In user and in system mode, in hundredths of a second.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
    }

    /// How long the groups took of their intervals; whether all kept the bound.
    fn groups(&self, watch: Duration) -> bool {
        // Until every vantage was scraped by both jobs, every group evaluated once, and what an instant selector looks back
        // to is in memory: a Prometheus that has run for hours reads no block for that.
        thread::sleep(LOOKBACK + Duration::from_secs(30));
        let mut taken = std::collections::BTreeMap::<String, Vec<f64>>::new();
        let of = |page: &str, name: &str| -> Vec<(String, f64)> {
            let lines = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
            lines
                .filter_map(|(labels, value)| {
                    Some((labels.rsplit_once(';')?.1.trim_end_matches('"').into(), value.parse().ok()?))
                })
                .collect()
        };
        let first = get(self.addr, "/metrics");
        let until = Instant::now() + watch;
        let mut page = first.clone();
        while Instant::now() < until {
            thread::sleep(Duration::from_secs(1));
            page = get(self.addr, "/metrics");
            for (group, seconds) in of(&page, "prometheus_rule_group_last_duration_seconds") {
                taken.entry(group).or_default().push(seconds);
            }
        }
        let find = |values: Vec<(String, f64)>, group: &str| {
            values.into_iter().find(|(name, _)| name == group).map_or(0.0, |found| found.1)
        };
        let mut table =
            Table::new(&["group", "interval, s", "p50, s", "max, s", "of the interval", "missed", "target < 10 %"]);
        let mut met = true;
        for (group, mut seconds) in taken {
            let interval = find(of(&page, "prometheus_rule_group_interval_seconds"), &group);
            let [p50, max] = [0.5, 1.0].map(|q| quantile(&mut seconds, q));
            let name = "prometheus_rule_group_iterations_missed_total";
            let missed = find(of(&page, name), &group) - find(of(&first, name), &group);
            let is_met = p50 < interval / 10.0 && missed == 0.0;
            met &= is_met;
            table.row(vec![
                group,
                interval.to_string(),
                format!("{p50:.3}"),
                format!("{max:.3}"),
                format!("{:.1} %", 100.0 * p50 / interval),
                missed.to_string(),
                if is_met { "met" } else { "MISSED" }.into(),
            ]);
        }
        table.print();
        met
    }

    /// The slowest rules. What a rule reads does not depend on what else the machine does.
    fn rules(&self) {
        let read = |path: &str| -> Value {
            let answer = request(self.addr, "GET", path).map(|answer| answer.body).unwrap_or_default();
            serde_json::from_str(&answer).unwrap_or_default()
        };
        let mut table = Table::new(&["s", "samples read", "group", "rule"]);
        let answer = read("/api/v1/rules");
        let mut rules = Vec::new();
        for group in answer["data"]["groups"].as_array().into_iter().flatten() {
            for rule in group["rules"].as_array().into_iter().flatten() {
                rules.push((rule["evaluationTime"].as_f64().unwrap_or_default(), group, rule));
            }
        }
        rules.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (seconds, group, rule) in rules.iter().take(12) {
            let [group, name] =
                [&group["name"], &rule["name"]].map(|name| name.as_str().unwrap_or_default().to_owned());
            let query = rule["query"].as_str().unwrap_or_default();
            let stats = read(&format!("/api/v1/query?stats=all&query={}", escaped(query)));
            let samples = stats["data"]["stats"]["samples"]["totalQueryableSamples"].to_string();
            table.row(vec![format!("{seconds:.3}"), samples, group, name]);
        }
        println!("\nThe slowest rules:\n");
        table.print();
    }

    /// How long the queries of the dashboards take; whether all kept the bound.
    fn queries(&self, queries: &[Query], span: u64) -> bool {
        let mut taken: Vec<_> = queries.iter().map(|query| (self.answer(query, span), query)).collect();
        let cost = |answer: &Answer| answer.seconds.min(answer.cpu);
        taken.sort_by(|a, b| cost(&b.0).total_cmp(&cost(&a.0)));
        let slow = taken.iter().filter(|(answer, _)| cost(answer) >= 0.5).count();
        let empty = taken.iter().filter(|(answer, _)| answer.found == 0).count();
        println!(
            "\n{} queries of dashboards, {slow} of them take 0.5 s or longer, {empty} find nothing. The slowest:\n",
            taken.len()
        );
        let mut table = Table::new(&["s", "CPU, s", "series", "dashboard", "panel"]);
        for (answer, query) in taken.iter().take(12.max(slow)) {
            let [seconds, cpu] = [answer.seconds, answer.cpu].map(|value| format!("{value:.2}"));
            table.row(vec![seconds, cpu, answer.found.to_string(), query.dashboard.clone(), query.panel.clone()]);
        }
        table.print();
        slow == 0
    }

    /// The fastest of five, as a dashboard asks again and again.
    fn answer(&self, query: &Query, span: u64) -> Answer {
        let path = query.path(sys::realtime_ns() as u64 / 1_000_000_000, span);
        let mut best = Answer { seconds: f64::INFINITY, cpu: f64::INFINITY, found: 0 };
        for _ in 0..5 {
            let (began, cpu) = (Instant::now(), self.cpu());
            let answer = request(self.addr, "GET", &path);
            // Without one, it took longer than the client waits.
            best.seconds = best.seconds.min(began.elapsed().as_secs_f64());
            best.cpu = best.cpu.min(self.cpu() - cpu);
            if let Some(answer) = answer {
                assert_eq!(answer.status, 200, "{}: {path}: {}", query.panel, answer.body);
                let body: Value = serde_json::from_str(&answer.body).unwrap();
                best.found = body["data"]["result"].as_array().or_else(|| body["data"].as_array()).map_or(0, Vec::len);
            }
        }
        best
    }
}

/// What came of a query.
struct Answer {
    seconds: f64,
    /// Of Prometheus, with what else it does meanwhile.
    cpu: f64,
    /// Series or values.
    found: usize,
}

/// Serves the pages of all vantages.
fn serve(world: Arc<World>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let began = Instant::now();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let world = Arc::clone(&world);
            thread::spawn(move || answer(&stream, &world, began));
        }
    });
    addr
}

/// Answers the requests of a connection. None is an error where the client leaves.
fn answer(stream: &TcpStream, world: &World, began: Instant) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        }
        let path = first.split(' ').nth(1)?;
        let vantage = path.strip_prefix("/r")?.get(..2)?.parse().ok()?;
        let page = world.page(vantage, path.contains("collect=state"), began.elapsed().as_secs_f64());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            page.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(page.as_bytes()).ok()?;
    }
}
