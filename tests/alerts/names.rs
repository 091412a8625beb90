//! What the rules name is what a sidecar exposes, and a real Prometheus agrees to evaluate them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use regionwatch::{
    metrics::families_table,
    model::{Failure, Ineligible, PeerState, ReplicaState, Stage, StateReason, Vote},
    probe,
};
use serde_json::Value;
use testkit::{
    binary,
    needs::{Need::Tool, require},
    process::{Running, eventually, free, get, request, write},
};

use crate::{
    alerts, path,
    promql::{grouping, joins, selectors},
    rules,
};

/// A label that every series has where it is configured, or where the scrape configuration sets it.
const ENVIRONMENT: &str = "environment";

type Labels = BTreeMap<String, BTreeSet<String>>;

/// The series names of a page, each with all labels that it has there.
fn of_page(page: &str) -> Labels {
    let mut names = Labels::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        // No value of ours holds a comma or a quote.
        let labels =
            labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        names.entry(name.to_owned()).or_default().extend(labels.chain([ENVIRONMENT, "instance"].map(str::to_owned)));
    }
    names
}

/// The documented families, for those of which the page has no series.
fn of_table() -> Labels {
    let mut names = Labels::new();
    for line in families_table().lines().skip(2) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, ..] = cells[..] else { panic!("{line}") };
        let name = name.trim_matches('`').to_owned();
        let mut labels: BTreeSet<_> =
            labels.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).collect();
        labels.extend(["vantage_region", ENVIRONMENT, "instance"].map(str::to_owned));
        if kind == "histogram" {
            labels.insert("le".into());
            names.insert(format!("{name}_bucket"), labels);
        } else {
            names.insert(name, labels);
        }
    }
    names
}

/// Whether a label of a metric can have the value.
fn possible(metric: &str, label: &str, value: &str) -> bool {
    match (metric, label) {
        ("regionwatch_database_state", "state") => ReplicaState::parse(value).is_some(),
        (_, "bound") => ["lower", "upper"].contains(&value),
        (_, "state" | "from" | "to") => PeerState::parse(value).is_some(),
        (_, "vote") => Vote::parse(value).is_some(),
        ("regionwatch_peer_state_reason", "reason") => StateReason::parse(value).is_some(),
        (_, "reason") => Ineligible::parse(value).is_some(),
        // That a series has it at all.
        (_, ENVIRONMENT) => value.is_empty(),
        (_, "stage") => Stage::parse(value).is_some(),
        (_, "layer") => probe::KINDS.iter().any(|kind| kind.layer().as_str() == value),
        (_, "probe") => probe::kind_named(value).is_some(),
        ("regionwatch_probes_total", "result") => value == "ok" || Failure::ALL.iter().any(|f| f.as_str() == value),
        ("regionwatch_votes_received_total", "result") => ["accepted", "environment_missing"].contains(&value),
        ("regionwatch_alert_pushes_total", "result") => value == "ok",
        _ => false,
    }
}

fn prometheus(folder: &std::path::Path, sidecar: SocketAddr, listen: SocketAddr) -> Running {
    // The slow groups as well: their first turn would come within their interval.
    let slow = ["2s", "5s", "15s", "1m", "2m", "10m"].map(|interval| format!("    interval: {interval}\n"));
    let rules = slow.iter().fold(rules(), |rules, slow| rules.replace(slow, "    interval: 1s\n"));
    assert_eq!(rules.matches("    interval: 1s\n").count(), rules.matches("  - name: ").count());
    write(folder, "rules.yml", &rules);
    let text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [rules.yml]\n\
         scrape_configs: [{{job_name: regionwatch, static_configs: [{{targets: ['{sidecar}']}}]}}]\n"
    );
    let config = write(folder, "prometheus.yml", &text);
    let storage = folder.join("data");
    Running::start(
        "prometheus",
        &[
            &format!("--config.file={config}"),
            &format!("--storage.tsdb.path={}", storage.display()),
            &format!("--web.listen-address={listen}"),
            "--log.level=error",
        ],
        &[],
    )
}

fn loaded(prometheus: SocketAddr) -> Option<Vec<Value>> {
    let answer = request(prometheus, "GET", "/api/v1/rules")?;
    let answer: Value = serde_json::from_str(&answer.body).ok()?;
    let groups = answer["data"]["groups"].as_array()?;
    let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
    (!rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown")).then_some(rules)
}

/// All that a rule says in PromQL: its expression, and the queries of its annotations.
fn texts(rule: &Value) -> Vec<&str> {
    let annotations = rule["annotations"].as_object();
    let annotations = annotations.into_iter().flatten().filter_map(|(_, text)| text.as_str());
    let queries = annotations.filter(|text| text.contains("| query"));
    rule["query"].as_str().into_iter().chain(queries).collect()
}

#[test]
fn groups_that_are_evaluated_each_second_or_two_read_what_the_small_page_has() {
    let sidecar = free();
    let _demo = Running::start(binary(), &["demo", "--listen", &sidecar.to_string()], &[]);
    let page = eventually("the peers are ranked", Duration::from_secs(30), || {
        let page = request(sidecar, "GET", "/metrics?collect=state")?.body;
        page.contains("regionwatch_candidate_rank{").then_some(page)
    });
    let page = of_page(&page);
    let rules = rules();
    let is_fast = |group: &&str| ["1s", "2s"].iter().any(|fast| group.contains(&format!("\n    interval: {fast}\n")));
    let groups: Vec<_> = rules.split("\n  - name: ").filter(is_fast).collect();
    assert_eq!(groups.len(), 2);
    for selector in groups.iter().flat_map(|group| selectors(group)).filter(|read| !read.metric.contains(':')) {
        assert!(page.contains_key(&*selector.metric), "{} is on the full page only", selector.metric);
    }
}

#[test]
fn a_real_prometheus_evaluates_every_rule_and_the_rules_name_only_what_a_sidecar_exposes() {
    require(&[Tool("prometheus")]);
    let folder = tempfile::tempdir().unwrap();
    let (sidecar, listen) = (free(), free());
    let _demo = Running::start(binary(), &["demo", "--listen", &sidecar.to_string()], &[]);
    let _prometheus = prometheus(folder.path(), sidecar, listen);
    let patience = Duration::from_secs(30);
    let rules = eventually("every rule was evaluated", patience, || loaded(listen));
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
    let loaded_alerts: BTreeSet<_> = rules
        .iter()
        .filter(|rule| rule["type"] == "alerting")
        .map(|rule| rule["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(loaded_alerts, alerts());

    let page = eventually("every kind of probe was counted", patience, || {
        Some(get(sidecar, "/metrics")).filter(|page| page.contains("regionwatch_peer_latency_seconds{"))
    });
    let (page, table) = (of_page(&page), of_table());
    let recorded: BTreeSet<_> =
        rules.iter().filter(|rule| rule["type"] == "recording").map(|rule| rule["name"].as_str().unwrap()).collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for rule in &rules {
        let name = rule["name"].as_str().unwrap();
        // What a grouping may name: whatever one of the rule's metrics has.
        let mut groupable: BTreeSet<String> = BTreeSet::new();
        for text in texts(rule) {
            for selector in selectors(text) {
                let metric = &*selector.metric;
                if metric.contains(':') {
                    let labels = metric.split(':').next().unwrap();
                    groupable.extend(
                        ["vantage", "peer"].iter().filter(|l| labels.contains(*l)).map(|l| format!("{l}_region")),
                    );
                    groupable.extend(labels.contains("probe").then(|| "probe".to_owned()));
                    groupable.insert(ENVIRONMENT.into());
                    if !recorded.contains(metric) {
                        wrong.push(format!("{name}: {metric} is recorded by no rule"));
                    }
                    continue;
                }
                let Some(labels) = [&page, &table].into_iter().find_map(|names| names.get(metric)) else {
                    wrong.push(format!("{name}: {metric} is exposed by no sidecar"));
                    continue;
                };
                seen.insert(metric.to_owned());
                groupable.extend(labels.iter().cloned());
                for (label, values) in &selector.matchers {
                    if !labels.contains(label) {
                        wrong.push(format!("{name}: {metric} has no label {label}"));
                    }
                    for value in values.iter().filter(|value| !possible(metric, label, value)) {
                        wrong.push(format!("{name}: {metric} never has {label}=\"{value}\""));
                    }
                }
            }
            for label in grouping(text).difference(&groupable) {
                wrong.push(format!("{name}: nothing there has the label {label}"));
            }
            // By instance is what one process says of itself; a join would part the copies of a series.
            if grouping(text).contains("job") || joins(text).contains("instance") {
                wrong.push(format!("{name}: joins on instance or job"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", path("alerts/regionwatch.rules.yml"));
    assert!(seen.len() > 12, "{seen:?}");

    // What can have a value by now has one.
    for record in recorded.iter().filter(|name| name.starts_with("vantage_peer_probe:") && !name.contains("_median1")) {
        eventually(record, patience, || {
            let answer = request(listen, "GET", &format!("/api/v1/query?query={record}"))?;
            let answer: Value = serde_json::from_str(&answer.body).ok()?;
            (!answer["data"]["result"].as_array()?.is_empty()).then_some(())
        });
    }
}
