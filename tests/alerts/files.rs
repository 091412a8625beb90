//! What stands in the files, and whether they fit each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::{PUSHED, RUNBOOKS, alerts, path, read, rules};

const PROMTOOL_TESTS: [&str; 4] = [
    "alerts/regionwatch.execute.test.yml",
    "alerts/regionwatch.failover.test.yml",
    "alerts/regionwatch.hours.test.yml",
    "alerts/regionwatch.test.yml",
];

/// `BLESS=1 cargo test --test alerts` rewrites `alerts/prometheusrule.yaml`.
#[test]
fn the_prometheusrule_has_the_same_rules_as_the_rule_file() {
    const TWIN: &str = "alerts/prometheusrule.yaml";
    let rules = rules();
    let (_, groups) = rules.split_once("\ngroups:\n").unwrap();
    let indented: String = format!("groups:\n{groups}")
        .lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect();
    let twin = read(TWIN);
    let (head, spec) = twin.split_once("\nspec:\n").unwrap();
    for part in ["apiVersion: monitoring.coreos.com/v1\n", "kind: PrometheusRule\n"] {
        assert!(head.contains(part), "{part}");
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(path(TWIN), format!("{head}\nspec:\n{indented}")).unwrap();
    } else {
        assert!(spec == indented, "{TWIN} is not what the rules are; write it anew with BLESS=1");
    }
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let mut expected: BTreeSet<_> = alerts();
    expected.extend(PUSHED.map(str::to_owned));
    let found: BTreeSet<_> = fs::read_dir(path("docs/runbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".md").unwrap_or_else(|| panic!("{name} is no runbook")).to_owned())
        .collect();
    assert_eq!(found, expected);
    for name in found {
        let text = read(&format!("docs/runbooks/{name}.md"));
        assert!(text.starts_with(&format!("# {name}\n")), "{name}");
        for section in ["## What it means\n", "## What to check\n", "## What to do\n", "## When to ignore it\n"] {
            assert!(text.contains(section), "{name} lacks {section:?}");
        }
    }
}

/// The text of each alert, from its name to the next rule.
fn alert_texts() -> BTreeMap<String, String> {
    let rules = rules();
    let texts = rules.split("      - alert: ").skip(1).map(|rest| {
        let end = rest.find("\n      - ").into_iter().chain(rest.find("\n  - name:")).min().unwrap_or(rest.len());
        let (name, text) = rest[..end].split_once('\n').unwrap();
        (name.to_owned(), text.to_owned())
    });
    texts.collect()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn every_alert_has_severity_summary_description_and_runbook() {
    for (name, text) in alert_texts() {
        let severity = field(&text, "severity").unwrap_or_else(|| panic!("{name} has no severity"));
        assert!(["critical", "warning", "none"].contains(&severity), "{name}: {severity}");
        let summary = field(&text, "summary").unwrap_or_else(|| panic!("{name} has no summary"));
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{name}: the summary is no static sentence");
        let description = field(&text, "description").unwrap_or_else(|| panic!("{name} has no description"));
        let templated = text.split_once("description:").unwrap().1.contains("{{ ");
        assert!(templated || name == "RegionwatchWatchdog", "{name}: {description}");
        assert_eq!(field(&text, "runbook_url"), Some(&*format!("{RUNBOOKS}{name}.md")));
    }
}

/// Prod and staging in one Prometheus are two worlds: what is not counted per environment melts them.
#[test]
fn every_group_and_every_join_of_the_rules_is_per_environment() {
    let rules = rules();
    let code = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    // A query of an annotation that selects one environment needs no more.
    let code = code.filter(|line| !line.contains("environment=%"));
    let text: String = code.map(|line| format!("{} ", line.trim())).collect();
    let mut seen = 0;
    for (keyword, lists_what_stays) in [(" by (", true), (" on (", true), (" without (", false), (" ignoring (", false)]
    {
        for rest in text.split(keyword).skip(1) {
            let labels = rest.split(')').next().unwrap();
            // That no series exists at all is of no environment, and a label that came later is in none.
            let exempt = rest.starts_with(") absent(")
                || rest.starts_with(r#"vantage_region) (regionwatch_build_info{environment!="#);
            let named = labels.split(", ").any(|label| label == "environment");
            assert!(exempt || named == lists_what_stays, "{keyword}{rest:.120}");
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

/// Alertmanager compares and routes by these; a push carries the same, but for its source.
#[test]
fn failover_alerts_carry_exactly_the_labels_that_a_push_carries() {
    let stages = [
        ("RegionwatchPeerDown", "prepare"),
        ("RegionwatchPeerDownQuorum", "prepare"),
        ("RegionwatchPeerFailover", "execute"),
    ];
    for (name, text) in alert_texts() {
        let labels = text.split_once("        labels:\n").unwrap().1.split_once("        annotations:\n").unwrap().0;
        let labels: Vec<_> = labels.lines().map(str::trim).collect();
        let stage = stages.iter().find(|(alert, _)| *alert == name).map(|(_, stage)| stage);
        match stage {
            Some(stage) => {
                let stage = format!("stage: {stage}");
                let expected =
                    ["severity: critical", "failover: \"true\"", &stage, "drill: \"false\"", "source: rules"];
                assert_eq!(labels, expected, "{name}");
                // Only what can be taken back may outlast the outage.
                let (hold, keeps) = (field(&text, "for"), field(&text, "keep_firing_for"));
                match name.as_str() {
                    "RegionwatchPeerFailover" => assert_eq!((hold, keeps), (None, None), "an order has its own window"),
                    _ => assert_eq!(keeps, Some("5m"), "{name}"),
                }
                assert!(text.contains("failover_target: "), "{name}");
            }
            None => assert_eq!(labels.len(), 1, "{name} has more than a severity: {labels:?}"),
        }
    }
}

#[test]
fn only_orders_and_what_prepares_them_are_evaluated_every_second_or_two() {
    let rules = rules();
    let intervals: Vec<_> = rules
        .split("\n  - name: ")
        .skip(1)
        .map(|group| (group.lines().next().unwrap(), field(group, "interval").unwrap()))
        .collect();
    let fast: Vec<_> = intervals.iter().filter(|(_, interval)| ["1s", "2s"].contains(interval)).collect();
    assert_eq!(fast, [&("regionwatch.failover", "2s"), &("regionwatch.prepare", "1s")], "{intervals:?}");
    assert!(intervals.len() > 2, "{intervals:?}");
}

/// At fifty regions a metric of each pair is thousands of series, and each second of a range one more sample of each.
#[test]
fn only_groups_of_a_minute_and_slower_read_more_than_15_minutes_of_what_sidecars_expose() {
    let rules = rules();
    let mut long = Vec::new();
    for group in rules.split("\n  - name: ").skip(1) {
        let is_fast = field(group, "interval").unwrap().ends_with('s');
        // The text of an alert reads the series of one vantage.
        for line in group.lines().filter(|line| is_fast && !line.contains("printf")) {
            for (at, _) in line.match_indices('[') {
                let window = line[at + 1..].split(']').next().unwrap();
                let metric = line[..at].rsplit(['(', ' ']).next().unwrap();
                let minutes = window.strip_suffix('m').map(|minutes| minutes.parse::<u32>().unwrap());
                let is_short = window.ends_with('s') || minutes.is_some_and(|minutes| minutes <= 15);
                if !is_short && !metric.contains(":regionwatch_") {
                    long.push(line.trim());
                }
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_texts_of_failover_alerts_read_no_series_for_each_reason() {
    let rules = rules();
    let targets: Vec<_> = rules.lines().filter(|line| line.contains("bottomk(1, vantage_peer:")).collect();
    assert_eq!(targets.len(), 3);
    for target in targets {
        assert!(!target.contains("regionwatch_candidate_ineligible"), "{target}");
    }
}

/// Features that Prometheus 2.42 does not have.
#[test]
fn the_rules_use_no_feature_newer_than_prometheus_2_42() {
    for line in rules().lines().filter(|line| !line.trim_start().starts_with('#')) {
        assert!(!line.contains("query_offset") && !line.starts_with("    labels:"), "{line}");
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for file in PROMTOOL_TESTS {
        let text = read(file);
        for case in text.split("alertname: ").skip(1) {
            let name: String = case.chars().take_while(|c| c.is_alphanumeric()).collect();
            let end = case.find("eval_time:").unwrap_or(case.len());
            if case[..end].contains("exp_labels:") {
                fires.insert(name);
            } else {
                silent.insert(name);
            }
        }
    }
    let mut expected = alerts();
    assert_eq!(fires, expected);
    assert!(expected.remove("RegionwatchWatchdog"), "it always fires");
    assert_eq!(silent, expected);
}

/// An alert that is named in the configuration and does not exist inhibits nothing and is routed nowhere.
#[test]
fn the_alertmanager_configuration_names_only_existing_alerts() {
    let mut known = alerts();
    known.extend(PUSHED.map(str::to_owned));
    let text = read("alerts/alertmanager.yml");
    let mut seen = 0;
    for rest in text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| {
        let (_, rest) = line.split_once("alertname=")?;
        Some(rest.trim_start_matches(['~', '"']).split('"').next().unwrap())
    }) {
        for name in alternatives(rest) {
            let pattern = name.trim_end_matches(".*");
            let matched = known.iter().any(|known| *known == name || (pattern != name && known.starts_with(pattern)));
            assert!(matched, "{name} is no alert");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

/// What a regular expression of the shapes `A`, `A|B`, `X(A|B)` and `X(A)?` stands for.
fn alternatives(expression: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in expression.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        match c {
            '|' if depth == 0 => parts.push(String::new()),
            c => parts.last_mut().unwrap().push(c),
        }
    }
    let expand = |part: &String| {
        let Some((start, rest)) = part.split_once('(') else { return vec![part.clone()] };
        let (inner, after) = rest.split_once(')').unwrap();
        let optional = (after == "?").then(|| start.to_owned());
        inner.split('|').map(|each| format!("{start}{each}")).chain(optional).collect()
    };
    parts.iter().flat_map(expand).collect()
}

#[test]
fn regex_alternatives_are_expanded() {
    assert_eq!(alternatives("A(b|c)|D|E(f)?"), ["Ab", "Ac", "D", "Ef", "E"]);
}

#[test]
fn the_alerts_page_lists_exactly_the_existing_alerts() {
    let page = read("docs/alerts.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    let listed: BTreeSet<_> = cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    let mut known = alerts();
    known.extend(PUSHED.map(str::to_owned));
    assert_eq!(listed, known);
}

#[test]
fn compose_has_the_same_routes_as_the_shipped_configuration() {
    let routes = |text: &str| {
        let (start, end) = (text.find("\nroute:").unwrap(), text.find("\nreceivers:").unwrap());
        text[start..end].to_owned()
    };
    assert_eq!(routes(&read("docker/compose/alertmanager.yml")), routes(&read("alerts/alertmanager.yml")));
}
