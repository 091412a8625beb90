//! A world of many regions, made of the pages of one real sidecar: every vantage serves these, with other names in them.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use testkit::{
    postgres::{Postgres, token_tables},
    process::{free, get, sidecar, write},
};

use crate::queries::Need;

/// A line of a page.
#[derive(Clone)]
struct Line {
    name: String,
    /// What stands after the names of the vantage and the peer.
    labels: String,
    peer: Option<usize>,
    value: f64,
    per_second: f64,
}

/// A series of a vantage.
struct Series {
    /// All but the value.
    text: String,
    value: f64,
    per_second: f64,
    /// The value while the dead region is down.
    down: Option<f64>,
}

impl Series {
    fn value(&self, at: f64, is_down: bool) -> f64 {
        self.down.filter(|_| is_down).unwrap_or_else(|| self.per_second.mul_add(at, self.value))
    }
}

/// What the vantages serve: the small page, and the rest.
pub(crate) struct World {
    pub(crate) regions: usize,
    lines: Vec<Line>,
    rest: Vec<Vec<Series>>,
    state: Vec<Vec<Series>>,
}

pub(crate) fn region(number: usize) -> String {
    format!("r{number:02}")
}

/// How many databases there are, each with a primary and two replicas in the same regions for all vantages.
const DATABASES: usize = 20;

fn database(number: usize) -> String {
    format!("d{number:02}")
}

/// The servers that stand for all databases, and the configuration of these.
fn databases() -> (Vec<Postgres>, String) {
    let primary = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &["wal_level=replica"]);
    let names: Vec<_> = (0..DATABASES).map(database).collect();
    primary.run_sql(&token_tables(names.iter().map(String::as_str)));
    let replicas = [(); 2].map(|()| Postgres::replica(primary.addr, &["hot_standby=on"]));
    let servers: Vec<_> = [primary].into_iter().chain(replicas).collect();
    let of = |(number, server): (usize, &Postgres)| {
        format!("{{region: {}, host: 127.0.0.1, port: {}}}", region(number), server.addr.port())
    };
    let listed: Vec<_> = servers.iter().enumerate().map(of).collect();
    let mut config = String::from("databases:\n");
    for name in names {
        let _ = writeln!(
            config,
            "  - {{name: {name}, kind: postgres, user: regionwatch, database: postgres, table: {name}, servers: [{}]}}",
            listed.join(", ")
        );
    }
    (servers, config)
}

/// How long blocks of the past are, s.
const BLOCK: u64 = 2 * 3_600;

/// For how long the dead region has been down at the end, s.
const DOWN: u64 = 300;

impl World {
    /// Runs one sidecar, whose peers are all its own server, and keeps what it serves.
    pub(crate) fn new(regions: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (_servers, databases) = databases();
        let port = free().port();
        // Nothing takes the pushes, which are counted all the same.
        let mut config = format!(
            "region: r00\nlocation: {{latitude: 0, longitude: 0}}\nlisten: 0.0.0.0:{port}\n\
             alertmanagers: ['http://{}']\nanchors: ['tcp://127.0.0.1:{port}']\n{databases}peers:\n",
            free()
        );
        for n in 1..regions {
            let _ = writeln!(
                config,
                "  - {{region: {}, location: {{latitude: {n}, longitude: {n}}}, targets: [{{name: edge, host: 127.0.1.{n}, \
                 probes: [{{kind: icmp}}, {{kind: tcp, port: {port}}}, {{kind: http, url: 'http://127.0.1.{n}:{port}/-/healthy'}}]}}]}}",
                region(n)
            );
        }
        let file = folder.path().join("regionwatch.yml");
        fs::write(&file, config).unwrap();
        let addr = ([127, 0, 0, 1], port).into();
        let _running = sidecar(&["run", "--config", file.to_str().unwrap()], &[], addr);
        // Until every peer is known, and each counter has moved.
        thread::sleep(Duration::from_secs(10));
        let paths = ["/metrics", "/metrics?collect=rest", "/metrics?collect=state"];
        let before = paths.map(|path| get(addr, path));
        let pause = Duration::from_secs(10);
        thread::sleep(pause);
        let seconds = pause.as_secs_f64();
        let mut lines_of = paths.iter().zip(&before).map(|(path, before)| lines(before, &get(addr, path), seconds));
        let [whole, rest, state] = std::array::from_fn(|_| lines_of.next().unwrap());
        let mut world = Self { regions, lines: whole, rest: Vec::new(), state: Vec::new() };
        let all = |lines: &[Line]| (0..regions).map(|n| world.series_of(lines, n, "")).collect();
        let (rest, state) = (all(&rest), all(&state));
        (world.rest, world.state) = (rest, state);
        world
    }

    /// The region that is down at the end.
    pub(crate) const fn dead(&self) -> usize {
        self.regions - 1
    }

    /// How many series all vantages serve.
    pub(crate) const fn series(&self) -> usize {
        self.lines.len() * self.regions
    }

    /// The page of a vantage, `at` seconds after the start, where the dead region is down for all others.
    pub(crate) fn page(&self, vantage: usize, is_state: bool, at: f64) -> String {
        let series = if is_state { &self.state[vantage] } else { &self.rest[vantage] };
        let mut page = String::with_capacity(series.len() * 100);
        for series in series {
            let _ = writeln!(page, "{} {}", series.text, series.value(at, true));
        }
        page
    }

    /// The series that a vantage has of these lines, with more labels.
    fn series_of(&self, lines: &[Line], vantage: usize, more: &str) -> Vec<Series> {
        let of = |line: &Line| {
            let mut text = line.name.clone();
            // Those of the process have no label but those of the scrape, and what is recorded those of its level.
            let level = line.name.split_once(':').map(|(level, _)| level);
            let is_own = level.map_or_else(|| !line.name.starts_with("process_"), |level| level.starts_with("vantage"));
            let mut labels = if is_own { vec![own(vantage)] } else { Vec::new() };
            let peer = line.peer.map(|peer| (vantage + peer) % self.regions);
            labels.extend(peer.map(|peer| format!("peer_region=\"{}\"", region(peer))));
            labels.extend([&*line.labels, more].into_iter().filter(|part| !part.is_empty()).map(str::to_owned));
            if !labels.is_empty() {
                let _ = write!(text, "{{{}}}", labels.join(","));
            }
            let down = peer.filter(|peer| *peer == self.dead()).and_then(|_| self.of_the_dead(line));
            Series { text, value: line.value, per_second: line.per_second, down }
        };
        lines.iter().map(of).collect()
    }

    /// What every other vantage says about a region that is down.
    fn of_the_dead(&self, line: &Line) -> Option<f64> {
        let is = |label: &str| line.labels.contains(label);
        let others = self.regions as f64 - 2.0;
        let value = match line.name.strip_prefix("regionwatch_")? {
            "peer_state" => f64::from(is("state=\"down\"")),
            "peer_votes" => others * f64::from(is("vote=\"down\"")),
            "peer_quorum_reached" | "incidents" => 1.0,
            "probe_success" | "candidate_eligible" => 0.0,
            "candidate_ineligible" => f64::from(is("reason=\"state\"")),
            _ => return None,
        };
        Some(value)
    }

    /// Writes the past that is needed into blocks of a Prometheus, until `end`. Recorded series have the labels that stand in
    /// their names.
    pub(crate) fn past(&self, needs: &BTreeMap<String, Vec<Need>>, end: u64, folder: &Path) {
        // By vantage, interval and depth.
        let mut parts = BTreeMap::<_, Vec<Series>>::new();
        for (name, needs) in needs {
            let is_recorded = name.contains(':');
            let of_page = || self.lines.iter().filter(|line| line.name == *name).cloned().collect();
            let lines = if is_recorded { recorded(name, self.regions) } else { of_page() };
            // What is recorded without a vantage is there once.
            let vantages = if is_recorded && !name.starts_with("vantage") { 1 } else { self.regions };
            for vantage in 0..vantages {
                let more = if is_recorded { String::new() } else { scraped(vantage) };
                for series in self.series_of(&lines, vantage, &more) {
                    let is_read = |need: &&Need| need.only.iter().all(|label| series.text.contains(label));
                    if let Some(need) = needs.iter().filter(is_read).max_by_key(|need| need.depth) {
                        parts.entry((vantage, need.interval, need.depth)).or_default().push(series);
                    }
                }
            }
        }
        let samples = |(key, series): (&(usize, u64, u64), &Vec<Series>)| series.len() as u64 * key.2 / key.1;
        println!("{} samples of the past", parts.iter().map(samples).sum::<u64>());
        let depth = parts.keys().map(|(_, _, depth)| *depth).max().unwrap_or_default();
        let mut from = (end - depth) / BLOCK * BLOCK;
        while from < end {
            let mut text = String::new();
            for at in (from..end.min(from + BLOCK)).filter(|at| at.is_multiple_of(15)) {
                let (back, is_down) = (end - at, end - at < DOWN);
                for ((vantage, interval, depth), series) in &parts {
                    let is_dead = is_down && *vantage == self.dead();
                    if back > *depth || !at.is_multiple_of(*interval) || is_dead {
                        continue;
                    }
                    for series in series {
                        let _ = writeln!(text, "{} {} {at}", series.text, series.value(-(back as f64), is_down));
                    }
                }
            }
            text.push_str("# EOF\n");
            block(&text, folder);
            from += BLOCK;
        }
    }
}

fn own(vantage: usize) -> String {
    format!("vantage_region=\"{}\"", region(vantage))
}

/// The labels of the job that scrapes the rest.
fn scraped(vantage: usize) -> String {
    format!("instance=\"{}\",job=\"regionwatch\"", region(vantage))
}

fn block(text: &str, folder: &Path) {
    let place = tempfile::tempdir().unwrap();
    let past = write(place.path(), "past", text);
    let import = ["tsdb", "create-blocks-from", "openmetrics", &past];
    let made = Command::new("promtool").args(import).arg(folder).stdout(Stdio::null()).status();
    assert!(made.unwrap().success());
}

/// A recorded series for each pair, or whatever its name says that there is one of.
fn recorded(name: &str, regions: usize) -> Vec<Line> {
    let level = name.split(':').next().unwrap();
    let has = |part: &str| level.split('_').any(|word| word == part);
    // Some are there only for the first candidates, or after a change.
    let is_sparse = name.ends_with(":best") || ["reason", "state", "to"].into_iter().any(has);
    // For one vantage, or without one for all together.
    let peers = match (has("peer"), has("vantage")) {
        (true, true) => (1..if is_sparse { 3 } else { regions }).map(Some).collect(),
        (true, false) => (0..regions).map(Some).collect(),
        (false, _) => vec![None],
    };
    let probes: &[&str] = if has("probe") { &["icmp", "tcp", "http"] } else { &[""] };
    let mut lines = Vec::new();
    for peer in peers {
        for (at, probe) in probes.iter().enumerate() {
            let labels = if probe.is_empty() { String::new() } else { format!("probe=\"{probe}\"") };
            let value = if name.contains("rank") { peer.unwrap_or(1) as f64 } else { 0.02 + at as f64 / 1_000.0 };
            lines.push(Line { name: name.to_owned(), labels, peer, value, per_second: 1e-9 });
        }
    }
    lines
}

/// The lines of a page, with how fast each value grew since an earlier one.
fn lines(before: &str, after: &str, seconds: f64) -> Vec<Line> {
    let parsed = |page: &str| -> Vec<(String, f64)> {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| (series.into(), value.parse().unwrap()))
            .collect()
    };
    let before: BTreeMap<_, _> = parsed(before).into_iter().collect();
    let counts = |name: &str| ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end));
    let of = |(series, value): (String, f64)| {
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (&*series, ""),
        };
        let labels = labels.strip_prefix("vantage_region=\"r00\"").unwrap_or(labels).trim_start_matches(',');
        let own = labels.strip_prefix("peer_region=\"r").and_then(|rest| rest.split_once('"'));
        let (peer, labels) = match own {
            Some((peer, rest)) => (Some(peer.parse().unwrap()), rest.trim_start_matches(',')),
            None => (None, labels),
        };
        let grown = before.get(&series).filter(|_| counts(name)).map_or(0.0, |before| (value - before) / seconds);
        Some(Line { name: name.into(), labels: labels.into(), peer, value, per_second: grown })
    };
    parsed(after).into_iter().filter_map(of).collect()
}
