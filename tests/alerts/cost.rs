//! What an evaluation of the rules reads, which is what they cost. Times depend on the machine, samples do not.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use regionwatch::net::Timestamp;
use serde_json::Value;
use testkit::{
    binary,
    needs::{Need::Tool, require},
    process::{Running, escaped, eventually, free, get, request, write},
};

use crate::rules;

/// The pairs of fifty regions that all observe each other.
const PAIRS: f64 = 50.0 * 49.0;

/// How many samples a group may read per second of its interval, with so many pairs. Prometheus reads two to five million
/// per second of CPU time, so that a group takes about a tenth of its interval.
const GROUP_BOUND: f64 = 300_000.0;

/// How many one rule may read at once, however seldom.
const RULE_BOUND: f64 = 8_000_000.0;

/// A number with a unit, as in PromQL, in seconds.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * scale)
}

/// The recorded series that the rules read over a window: how often each is recorded, and for how long it is read.
fn recorded(text: &str) -> BTreeMap<String, (u64, u64)> {
    let mut found = BTreeMap::new();
    let mut interval = 0;
    for line in text.lines() {
        if let Some(text) = line.strip_prefix("    interval: ") {
            interval = seconds(text).unwrap();
        }
        if let Some(name) = line.trim().strip_prefix("- record: ") {
            let selector = format!("{name}[");
            let windows = text.match_indices(&selector).filter_map(|(at, found)| {
                let window = text[at + found.len()..].split(']').next()?;
                seconds(window)
            });
            // One may be read with an offset of two hours.
            found.insert(name.to_owned(), (interval, windows.max().unwrap_or(60) + 7_200));
        }
    }
    found
}

/// The labels that the name of a recorded series says it has, for each peer.
fn labels(name: &str, peers: &[&str]) -> Vec<String> {
    let level = name.split(':').next().unwrap();
    let mut all = vec![String::new()];
    for (part, values) in [("vantage", &["eu-west-1"][..]), ("peer", peers), ("probe", &["icmp", "tcp", "http"])] {
        if level.split('_').any(|word| word == part) {
            let label = if part == "probe" { "probe".to_owned() } else { format!("{part}_region") };
            let with =
                |start: &String| values.iter().map(|value| format!("{start},{label}=\"{value}\"")).collect::<Vec<_>>();
            all = all.iter().flat_map(with).collect();
        }
    }
    all
}

/// A sample of each series of a page.
fn sample(out: &mut String, page: &str, job: &str, at: u64) {
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, rest)) = line.split_once('{') {
            let _ = writeln!(out, "{name}{{job=\"{job}\",{rest} {at}");
        }
    }
}

#[test]
fn no_group_of_fifty_regions_with_a_day_of_samples_reads_more_than_its_interval_allows() {
    require(&[Tool("prometheus"), Tool("promtool")]);
    let folder = tempfile::tempdir().unwrap();
    let (sidecar, listen) = (free(), free());
    let demo = Running::start(binary(), &["demo", "--listen", &sidecar.to_string()], &[]);
    let page = eventually("every kind of probe was counted", Duration::from_secs(60), || {
        Some(request(sidecar, "GET", "/metrics")?.body)
            .filter(|page| page.contains("regionwatch_peer_latency_seconds{"))
    });
    let state = get(sidecar, "/metrics?collect=state");
    drop(demo);
    let peer = |line: &str| {
        Some(
            line.strip_prefix("regionwatch_peer_state{")?.split("peer_region=\"").nth(1)?.split('"').next()?.to_owned(),
        )
    };
    let peers: std::collections::BTreeSet<String> = page.lines().filter_map(peer).collect();
    let peers: Vec<_> = peers.iter().map(String::as_str).collect();
    assert!(peers.len() >= 2, "{peers:?}");

    let end = Timestamp::now().unix_nanos() / 1_000_000_000;
    let mut past = String::new();
    for (name, (interval, window)) in recorded(&rules()) {
        for at in (end - window..=end).step_by(interval as usize) {
            for labels in labels(&name, &peers) {
                let labels = labels.trim_start_matches(',');
                let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
                let _ = writeln!(past, "{name}{open}{labels}{close} 1 {at}");
            }
        }
    }
    (end - 2_100..=end).step_by(15).for_each(|at| sample(&mut past, &page, "regionwatch", at));
    (end - 60..=end).for_each(|at| sample(&mut past, &state, "regionwatch-state", at));
    past.push_str("# EOF\n");
    let past = write(folder.path(), "past", &past);
    let data = folder.path().join("data");
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics", &past])
        .arg(&data)
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success());

    write(folder.path(), "rules.yml", &rules());
    let config = write(folder.path(), "prometheus.yml", "rule_files: [rules.yml]\n");
    let _prometheus = Running::start(
        "prometheus",
        &[
            &format!("--config.file={config}"),
            &format!("--storage.tsdb.path={}", data.display()),
            &format!("--web.listen-address={listen}"),
            "--log.level=error",
        ],
        &[],
    );
    let read = |path: &str| serde_json::from_str::<Value>(&request(listen, "GET", path)?.body).ok();
    let groups = eventually("the rules are loaded", Duration::from_secs(60), || {
        let groups = read("/api/v1/rules")?["data"]["groups"].as_array()?.clone();
        (!groups.is_empty()).then_some(groups)
    });
    let mut costs = Vec::new();
    for group in &groups {
        let interval = group["interval"].as_f64().unwrap();
        for rule in group["rules"].as_array().unwrap() {
            let query = escaped(rule["query"].as_str().unwrap());
            let answer = get(listen, &format!("/api/v1/query?stats=all&time={end}&query={query}"));
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["status"], "success", "{}: {answer}", rule["query"]);
            let samples = answer["data"]["stats"]["samples"]["totalQueryableSamples"].as_f64().unwrap();
            let name = rule["name"].as_str().unwrap().to_owned();
            // What is about a region, and read from such alone, is there fifty times.
            let all = if name.ends_with(":timestamp") { PAIRS.sqrt() } else { PAIRS } * samples / peers.len() as f64;
            assert!(all <= RULE_BOUND, "{name} reads {all} samples");
            costs.push((all / interval, group["name"].as_str().unwrap().to_owned(), name));
        }
    }
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut sums = BTreeMap::<&str, f64>::new();
    for (cost, group, _) in &costs {
        *sums.entry(group).or_default() += cost;
    }
    // What was read was there.
    assert!(
        ["regionwatch.failover", "regionwatch.quality", "regionwatch.day"].iter().all(|group| sums[group] > 1_000.0),
        "{sums:#?}"
    );
    let over: Vec<_> = sums.iter().filter(|(_, sum)| **sum > GROUP_BOUND).collect();
    assert!(over.is_empty(), "{over:?} of {sums:#?}: {:#?}", &costs[..12]);
}
