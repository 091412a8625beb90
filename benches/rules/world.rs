//! A world of many regions, made of the pages of one real sidecar: every vantage serves these, with other names in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs, thread,
    time::Duration,
};

use testkit::process::{free, get, sidecar};

/// A line of a page.
struct Line {
    name: String,
    /// What stands between the name of the vantage and that of the peer, and after that.
    labels: String,
    peer: Option<usize>,
    value: f64,
    per_second: f64,
}

/// What the vantages serve: the whole page, and the small one.
pub(crate) struct World {
    pub(crate) regions: usize,
    whole: Vec<Line>,
    state: Vec<Line>,
}

pub(crate) fn region(number: usize) -> String {
    format!("r{number:02}")
}

impl World {
    /// Runs one sidecar, whose peers are all its own server, and keeps what it serves.
    pub(crate) fn new(regions: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free().port();
        let mut config =
            format!("region: r00\nlocation: {{latitude: 0, longitude: 0}}\nlisten: 0.0.0.0:{port}\npeers:\n");
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
        let before = (get(addr, "/metrics"), get(addr, "/metrics?collect=state"));
        let pause = Duration::from_secs(10);
        thread::sleep(pause);
        let seconds = pause.as_secs_f64();
        let whole = lines(&before.0, &get(addr, "/metrics"), seconds);
        let state = lines(&before.1, &get(addr, "/metrics?collect=state"), seconds);
        Self { regions, whole, state }
    }

    /// The region that is down at the end.
    pub(crate) const fn dead(&self) -> usize {
        self.regions - 1
    }

    /// How many series all vantages serve on the whole page.
    pub(crate) const fn series(&self) -> usize {
        self.whole.len() * self.regions
    }

    /// The page of a vantage, `at` seconds after the start, where the dead region is down for all others.
    pub(crate) fn page(&self, vantage: usize, is_whole: bool, at: f64) -> String {
        let lines = if is_whole { &self.whole } else { &self.state };
        let mut page = String::with_capacity(lines.len() * 100);
        for line in lines {
            self.write(&mut page, line, vantage, at, true, None);
        }
        page
    }

    fn write(&self, out: &mut String, line: &Line, vantage: usize, at: f64, is_down: bool, stamp: Option<u64>) {
        let mut value = line.per_second.mul_add(at, line.value);
        let _ = write!(out, "{}{{vantage_region=\"{}\"", line.name, region(vantage));
        if let Some(peer) = line.peer {
            let peer = (vantage + peer) % self.regions;
            if is_down && peer == self.dead() {
                value = self.of_the_dead(line).unwrap_or(value);
            }
            let _ = write!(out, ",peer_region=\"{}\"", region(peer));
        }
        let comma = if line.labels.is_empty() { "" } else { "," };
        let _ = write!(out, "{comma}{}}} {value}", line.labels);
        if let Some(stamp) = stamp {
            let _ = write!(out, " {stamp}");
        }
        out.push('\n');
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

    /// The past of these metrics, as OpenMetrics: a sample of each series every `step` seconds until `end`. The dead region
    /// dies five minutes before. Recorded series have the labels that stand in their names.
    pub(crate) fn past(&self, names: &BTreeSet<String>, end: u64, hours: u64, step: u64, mut take: impl FnMut(&str)) {
        let steps = hours * 3600 / step;
        let recorded = self.recorded(names);
        let mut text = String::new();
        for back in (1..=steps).rev() {
            let stamp = end - back * step;
            let at = -((back * step) as f64);
            let is_down = back * step < 300;
            for vantage in (0..self.regions).filter(|vantage| !is_down || *vantage != self.dead()) {
                for line in self.whole.iter().filter(|line| names.contains(&line.name)).chain(&recorded) {
                    self.write(&mut text, line, vantage, at, is_down, Some(stamp));
                }
                take(&text);
                text.clear();
            }
        }
        take("# EOF\n");
    }

    fn recorded(&self, names: &BTreeSet<String>) -> Vec<Line> {
        let mut lines = Vec::new();
        for name in names.iter().filter(|name| name.starts_with("vantage_peer") && name.contains(':')) {
            for peer in 1..self.regions {
                let probes: &[&str] =
                    if name.starts_with("vantage_peer_probe:") { &["icmp", "tcp", "http"] } else { &[""] };
                for probe in probes {
                    let labels = if probe.is_empty() { String::new() } else { format!("probe=\"{probe}\"") };
                    let value = if name.contains("rank") { peer as f64 } else { 0.02 };
                    lines.push(Line { name: name.clone(), labels, peer: Some(peer), value, per_second: 0.0 });
                }
            }
        }
        lines
    }
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
        let (name, labels) = series.split_once('{')?;
        let labels = labels.strip_prefix("vantage_region=\"r00\"")?.strip_suffix('}')?.trim_start_matches(',');
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
