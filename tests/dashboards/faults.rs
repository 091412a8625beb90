//! Each check finds the fault that it is there for.

use serde_json::{Value, json};
use testkit::needs::{Need::Tool, require};

use crate::{
    dashboard::{Dashboard, shipped},
    layout, lint, live,
    outage::Outage,
    promtool, read,
    truths::{self, History},
};

/// A dashboard, with a fault in it.
fn faulty_one(file: &str, fault: impl FnOnce(&mut Value)) -> Dashboard {
    let mut dashboard = shipped().into_iter().find(|dashboard| dashboard.file == file).unwrap();
    fault(&mut dashboard.json);
    dashboard
}

/// The overview, with a fault in it.
fn faulty(fault: impl FnOnce(&mut Value)) -> Dashboard {
    faulty_one("regionwatch-overview", fault)
}

fn panel<'a>(json: &'a mut Value, title: &str) -> &'a mut Value {
    json["panels"].as_array_mut().unwrap().iter_mut().find(|panel| panel["title"] == title).unwrap()
}

/// Replaces something in the first query of a panel.
fn in_query(title: &str, from: &str, to: &str) -> Dashboard {
    in_query_of("regionwatch-overview", title, from, to)
}

/// A dashboard with rates in a panel, with a fault in the query.
fn in_rate(from: &str, to: &str) -> Dashboard {
    in_query_of("regionwatch-pair", KINDS, from, to)
}

fn in_query_of(file: &str, title: &str, from: &str, to: &str) -> Dashboard {
    faulty_one(file, |json| {
        let expression = &mut panel(json, title)["targets"][0]["expr"];
        let text = expression.as_str().unwrap();
        assert!(text.contains(from), "{text}");
        *expression = text.replace(from, to).into();
    })
}

const LOSS: &str = "Failure share";
const KINDS: &str = "Failure share by kind of probe";
const DOWN: &str = "Regions down";
const LAG: &str = "Lag, and what the engine says";

#[test]
fn each_lint_rule_finds_its_seeded_fault() {
    let faults = [
        ("target-rate-interval-rule", in_rate("$__rate_interval", "5m")),
        ("panel-units-rule", faulty(|json| drop(panel(json, LOSS)["fieldConfig"]["defaults"]["unit"].take()))),
        ("panel-units-rule", faulty(|json| panel(json, LOSS)["fieldConfig"]["defaults"]["unit"] = "parsec".into())),
        ("panel-title-description-rule", faulty(|json| drop(panel(json, LOSS)["description"].take()))),
        ("panel-datasource-rule", faulty(|json| panel(json, LOSS)["datasource"]["uid"] = "prometheus".into())),
        ("panel-no-targets-rule", faulty(|json| panel(json, LOSS)["targets"] = json!([]))),
        ("target-promql-rule", faulty(|json| panel(json, LOSS)["targets"][0]["expr"] = "".into())),
        ("target-job-rule", in_query(DOWN, "job=~\"$job\", ", "")),
        ("target-instance-rule", in_query(DOWN, "instance=~\"$instance\"", "instance=\"$instance\"")),
        ("regionwatch-selector", in_query(DOWN, "environment=~\"$environment\", ", "")),
        ("regionwatch-selector", in_query(DOWN, "vantage_region=~\"$vantage\"", "vantage_region=~\"$peer\"")),
        ("regionwatch-selector", in_query("State of each region", "peer_region=~\"$peer\"", "")),
        ("regionwatch-selector", in_query_of("regionwatch-databases", LAG, "database=~\"$database\", ", "")),
        ("regionwatch-selector", in_query_of("regionwatch-databases", LAG, ", peer_region=~\"$peer\"", "")),
        ("regionwatch-grouping", in_query(DOWN, "by (environment, ", "by (")),
        ("regionwatch-grouping", in_query(DOWN, "on (environment, ", "on (")),
        ("regionwatch-cost", faulty(|json| panel(json, DOWN)["targets"][0]["instant"] = false.into())),
        ("regionwatch-cost", faulty(|json| drop(panel(json, LOSS)["maxDataPoints"].take()))),
        ("regionwatch-cost", faulty_one("regionwatch-pair", |json| panel(json, KINDS)["maxDataPoints"] = 1_000.into())),
        ("regionwatch-two-jobs", in_query(DOWN, "max by (environment, ", "sum by (environment, ")),
        ("regionwatch-two-jobs", in_query(DOWN, "by (environment, ", "by (job, environment, ")),
        ("regionwatch-environment-variable", faulty(|json| json["templating"]["list"][1]["allValue"] = ".+".into())),
        ("regionwatch-region-variables", faulty(|json| json["templating"]["list"][4]["multi"] = false.into())),
        ("target-counter-agg-rule", in_rate("rate(", "last_over_time(")),
        ("template-datasource-rule", faulty(|json| json["templating"]["list"][0]["name"] = "source".into())),
        ("template-job-rule", faulty(|json| json["templating"]["list"][2]["allValue"] = ".*".into())),
        ("template-instance-rule", faulty(|json| json["templating"]["list"][3]["multi"] = false.into())),
        ("template-label-promql-rule", faulty(|json| json["templating"]["list"][1]["query"] = "up".into())),
        ("template-on-time-change-reload-rule", faulty(|json| json["templating"]["list"][1]["refresh"] = 1.into())),
        ("uneditable-dashboard", faulty(|json| json["editable"] = true.into())),
    ];
    let known: Vec<_> = shipped().iter().flat_map(lint::complaints).collect();
    for (rule, dashboard) in faults {
        let mut told = lint::complaints(&dashboard);
        told.retain(|complaint| !known.contains(complaint));
        assert!(!told.is_empty() && told.iter().all(|complaint| complaint.rule == rule), "{rule}: {told:#?}");
    }
}

#[test]
fn a_dashboard_that_grafana_would_change_on_load_is_found() {
    let faults = [
        ("overlaps", faulty(|json| panel(json, DOWN)["gridPos"]["x"] = 0.into())),
        ("24 columns", faulty(|json| panel(json, DOWN)["gridPos"]["w"] = 20.into())),
        ("a hole", faulty(|json| panel(json, LOSS)["gridPos"]["y"] = 100.into())),
        ("its id", faulty(|json| panel(json, DOWN)["id"] = 1.into())),
        ("the title", faulty(|json| panel(json, DOWN)["title"] = LOSS.into())),
        ("refId", faulty(|json| panel(json, "If this region fails, go to")["targets"][1]["refId"] = "A".into())),
        ("instant, or range", faulty(|json| panel(json, DOWN)["targets"][0]["range"] = true.into())),
        ("what to do", faulty(|json| panel(json, DOWN)["description"] = "Regions.".into())),
        ("an annotation", faulty(|json| json["annotations"]["list"][1]["target"]["expr"] = "up".into())),
        (
            "columns of words",
            faulty(|json| {
                let table = panel(json, "If this region fails, go to");
                table["fieldConfig"]["defaults"]["unit"] = "dateTimeAsIso".into();
            }),
        ),
        ("the uid", faulty(|json| json["uid"] = "overview".into())),
        ("numeric id", faulty(|json| json["id"] = 7.into())),
        ("schema", faulty(|json| json["schemaVersion"] = 30.into())),
        ("no tag", faulty(|json| json["tags"] = json!([]))),
        ("links", faulty(|json| json["links"][0]["keepTime"] = false.into())),
        (
            "of its own",
            faulty(|json| {
                let variables = json["templating"]["list"].as_array_mut().unwrap();
                variables.extend([json!({"name": "one"}), json!({"name": "two"})]);
            }),
        ),
        (
            "colour",
            faulty(|json| {
                let mappings = &mut panel(json, "State of each pair")["fieldConfig"]["defaults"]["mappings"];
                mappings[0]["options"]["5"]["text"] = "".into();
            }),
        ),
    ];
    for (what, dashboard) in faults {
        let told = layout::complaints(&dashboard);
        assert!(told.iter().any(|complaint| complaint.contains(what)), "{what}: {told:#?}");
    }
}

#[test]
fn promtool_reports_the_invalid_query() {
    require(&[Tool("promtool")]);
    let mut dashboards = shipped();
    dashboards[2] = in_query(DOWN, "))", ")");
    let said = promtool::complaints(&dashboards);
    assert!(said.contains("unclosed left parenthesis"), "{said}");
}

#[test]
fn each_seeded_wrong_query_is_found_by_its_history() {
    require(&[Tool("promtool")]);
    const GO_TO: &str = "If this region fails, go to";
    const UNSCRAPABLE: &str = "Sidecars that cannot be scraped";
    let sidecar = |title, from, to| in_query_of("regionwatch-sidecar", title, from, to);
    let failover = |title, from, to| in_query_of("regionwatch-failover", title, from, to);
    let store = |title, from, to| in_query_of("regionwatch-databases", title, from, to);
    let faults: [(fn() -> History, Dashboard); 20] = [
        // Jobs and vantages counted as servers; a vantage that knows less or is farther away.
        (truths::databases, store("Databases with two primaries", "max by", "sum by")),
        (truths::databases, store("Replicas cut off", "max by", "sum by")),
        (truths::databases, store(LAG, "min by", "max by")),
        (truths::databases, store("Reads, from the nearest vantage", "min by", "max by")),
        (truths::databases, store("Databases without a primary", "bool 0", "bool 1")),
        // No last word of a dead region; what is no longer eligible.
        (truths::a_pod_is_replaced, in_query(GO_TO, ":last", ":min")),
        (truths::a_pod_is_replaced, failover("Candidates", ":last", ":min")),
        (truths::a_candidate_leaves, in_query(GO_TO, "== 1", ">= 0")),
        (truths::a_candidate_leaves, failover("Candidates", " > 0", " >= 0")),
        (truths::among_others, in_query(UNSCRAPABLE, "and on (job, instance)", "or 0 *")),
        (truths::among_others, in_query(UNSCRAPABLE, "[1d]", "[6h]")),
        (truths::among_others, in_query(UNSCRAPABLE, "min by", "max by")),
        (truths::among_others, sidecar("Memory", "and on (environment, job, instance)", "or 0 *")),
        (truths::counted, sidecar("Clock steps", "round", "")),
        (truths::silence, failover("Votes rejected", " > 0", "")),
        (truths::silence, failover("Failed pushes", " > 0", "")),
        (|| truths::environments("staging"), in_query(DOWN, "environment=~\"$environment\", ", "")),
        (|| truths::environments(""), in_query(DOWN, "max by (environment, peer_region)", "sum by (environment)")),
        (|| truths::environments(""), in_query("Isolated vantages", "max by", "sum by")),
        (|| truths::environments(""), in_query("Regions, worst state of all vantages", "unless on", "and on")),
    ];
    for (number, (history, dashboard)) in faults.into_iter().enumerate() {
        let file = dashboard.file.clone();
        let mut dashboards = shipped();
        dashboards.retain(|other| other.file != file);
        dashboards.push(dashboard);
        let said = truths::complaints(&dashboards, &history());
        assert!(said.contains("got:"), "{number}: {said}");
    }
}

/// A history, and what is replaced in the rules.
type RuleFault = (fn() -> History, &'static str, &'static str);

#[test]
fn each_seeded_wrong_recording_is_found_by_its_history() {
    require(&[Tool("promtool")]);
    const ISOLATED: &str = "            unless on (environment, vantage_region) regionwatch_vantage_isolated == 1\n";
    const GONE: &str = "            unless on (environment, vantage_region) vantage:regionwatch_candidates:count\n";
    let faults: [RuleFault; 7] = [
        (truths::votes_of_four, ISOLATED, ""),
        (truths::votes_of_four, " / 2) + 1", " / 2)"),
        (truths::a_pod_is_replaced, "[1h15s]", "[6h]"),
        (truths::a_candidate_leaves, GONE, ""),
        (
            truths::a_candidate_leaves,
            "(regionwatch_candidate_eligible) == 1\n",
            "(regionwatch_candidate_eligible) >= 0\n",
        ),
        (truths::counted, "max without (job)", "sum without (job)"),
        (
            truths::among_others,
            "expr: regionwatch_config_last_reload_successful\n",
            "expr: max by (job) (regionwatch_config_last_reload_successful)\n",
        ),
    ];
    let (rules, dashboards) = (read("alerts/regionwatch.rules.yml"), shipped());
    for (number, (history, from, to)) in faults.into_iter().enumerate() {
        let (before, own) = rules.split_once("  - name: regionwatch.dashboards\n").unwrap();
        assert!(own.contains(from), "{from}");
        let rules = format!("{before}  - name: regionwatch.dashboards\n{}", own.replace(from, to));
        let said = truths::complaints_with(&dashboards, &history(), &rules);
        assert!(said.contains("got:"), "{number}: {said}");
    }
}

pub(crate) fn are_found_by_a_live_prometheus(outage: &Outage) {
    let faults = [
        ("nobody exposes regionwatch_peer_sate", in_query(DOWN, "peer_state", "peer_sate")),
        ("no data", in_query(DOWN, "peer_state", "peer_sate")),
        ("no data", in_rate("/", "/ 0 * ")),
        ("never has state=\"dead\"", in_query(DOWN, "down", "dead")),
        ("never has result=\"fine\"", in_rate("ok|local", "fine|local")),
        ("no label stat", in_query(DOWN, "state=", "stat=")),
        ("nothing there has the label peer", in_query(DOWN, "by (environment, peer_region)", "by (peer)")),
        (
            "no series has the label peer of the legend",
            faulty(|json| panel(json, LOSS)["targets"][0]["legendFormat"] = "{{peer}}".into()),
        ),
        (
            "no column \"peer\"",
            faulty(|json| {
                let table = panel(json, "Median TCP latency, from row to column");
                table["transformations"][0]["options"]["columnField"] = "peer".into();
            }),
        ),
        (
            "is sorted by",
            faulty(|json| {
                panel(json, "If this region fails, go to")["options"]["sortBy"][0]["displayName"] = "Zone".into()
            }),
        ),
        (
            "the variable job has no values",
            faulty(|json| json["templating"]["list"][2]["query"] = "label_values(nothing, job)".into()),
        ),
        ("does not show the outage", in_query(DOWN, "down", "suspect")),
        ("counts what is not", in_query("Sidecars that cannot be scraped", "and on (job, instance)", "or 0 *")),
        ("counts what is not", in_query_of("regionwatch-sidecar", "Memory", "and on (", "or on (")),
    ];
    for (what, dashboard) in faults {
        let told = live::complaints(outage, &dashboard);
        assert!(told.iter().any(|complaint| complaint.contains(what)), "{what}: {told:#?}");
    }
}
