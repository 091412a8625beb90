//! What a panel shows of a history that is written down here, by the unit tests of promtool, with the rules that are
//! shipped.

use std::process::Command;

use serde_json::{Value, json};
use testkit::needs::{Need::Tool, require};

use crate::{
    dashboard::{Dashboard, filled_in, shipped},
    read,
};

/// A query: the dashboard without `regionwatch-`, the panel, and the letter of the query.
type Place = (&'static str, &'static str, &'static str);

/// What is shown: the labels, and the number.
type Shown = Vec<(String, f64)>;

/// A history of a Prometheus, one sample a minute, and what queries show of it some minutes after its beginning.
#[derive(Default)]
pub(crate) struct History {
    name: &'static str,
    /// The environment that is chosen; empty for all.
    environment: &'static str,
    /// How often the rules are evaluated, if not every minute.
    evaluation_interval: &'static str,
    series: Vec<(String, &'static str)>,
    shown: Vec<(u32, Place, Shown)>,
}

/// What promtool says where the panels show something else: nothing where they show the truth.
pub(crate) fn complaints(dashboards: &[Dashboard], history: &History) -> String {
    complaints_with(dashboards, history, &read("alerts/regionwatch.rules.yml"))
}

/// The same with other rules.
pub(crate) fn complaints_with(dashboards: &[Dashboard], history: &History, rules: &str) -> String {
    let environment = if history.environment.is_empty() { ".*" } else { history.environment };
    let variables = [
        ("job", ".+"),
        ("instance", ".+"),
        ("environment", environment),
        ("vantage", ".*"),
        ("peer_region", ".+"),
        ("peer", ".*"),
        ("database", "orders"),
    ];
    let test = |(minute, (file, panel, reference), shown): &(u32, Place, Shown)| {
        let queries = dashboards.iter().flat_map(Dashboard::queries);
        let mut queries = queries.filter(|query| query.dashboard.strip_prefix("regionwatch-") == Some(*file));
        let query = queries.find(|query| (query.panel, query.reference) == (*panel, *reference)).unwrap();
        let samples: Vec<_> = shown.iter().map(|(labels, value)| json!({"labels": labels, "value": value})).collect();
        // One sample a minute needs another interval than the outage does.
        let expression = filled_in(&query.expression.replace("$__rate_interval", "4m"), &variables);
        json!({"expr": expression, "eval_time": format!("{minute}m"), "exp_samples": samples})
    };
    let series: Vec<Value> =
        history.series.iter().map(|(series, values)| json!({"series": series, "values": values})).collect();
    let tests: Vec<_> = history.shown.iter().map(test).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    let rule_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(rule_file.path(), rules).unwrap();
    let every = if history.evaluation_interval.is_empty() { "1m" } else { history.evaluation_interval };
    let whole = json!({"rule_files": [rule_file.path()], "evaluation_interval": every, "tests": [
        {"name": history.name, "interval": "1m", "input_series": series, "promql_expr_test": tests}
    ]});
    // JSON is YAML.
    std::fs::write(file.path(), whole.to_string()).unwrap();
    let output = Command::new("promtool").args(["test", "rules"]).arg(file.path()).output().unwrap();
    if output.status.success() {
        return String::new();
    }
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const GO_TO: Place = ("overview", "If this region fails, go to", "A");
const GO_TO_SCORE: Place = ("overview", "If this region fails, go to", "B");
const RANK: Place = ("failover", "Candidates", "A");
const SCORE: Place = ("failover", "Candidates", "B");
const ELIGIBLE: Place = ("failover", "Candidates", "C");
const UNSCRAPABLE: Place = ("overview", "Sidecars that cannot be scraped", "A");
const SCRAPED: Place = ("sidecar", "Sidecars scraped", "A");

/// A sample of what one process of eu-west-1 thinks of a candidate, scraped by a job.
fn of(job: &str, instance: &str, metric: &str, candidate: &str, values: &'static str) -> (String, &'static str) {
    let labels = format!(r#"job="{job}",instance="{instance}",vantage_region="eu-west-1",peer_region="{candidate}""#);
    (format!("regionwatch_candidate_{metric}{{{labels}}}"), values)
}

fn pair(candidate: &str, value: f64) -> (String, f64) {
    (format!(r#"{{vantage_region="eu-west-1", peer_region="{candidate}"}}"#), value)
}

fn number(value: f64) -> Shown {
    vec![("{}".into(), value)]
}

/// The first pod would go to eu-central-1, its successor (from minute 11 on) to us-east-1; the region dies after
/// minute 40.
pub(crate) fn a_pod_is_replaced() -> History {
    let one = |metric, candidate, values| of("regionwatch", "10.0.0.1:9877", metric, candidate, values);
    let two = |metric, candidate, values| of("regionwatch", "10.0.0.2:9877", metric, candidate, values);
    let series = vec![
        one("eligible", "eu-central-1", "1x10 stale"),
        one("eligible", "us-east-1", "0x10 stale"),
        one("rank", "eu-central-1", "1x10 stale"),
        one("score_seconds", "eu-central-1", "0.02x10 stale"),
        two("eligible", "eu-central-1", "_x11 1x29 stale"),
        two("eligible", "us-east-1", "_x11 1x29 stale"),
        two("rank", "eu-central-1", "_x11 2x29 stale"),
        two("rank", "us-east-1", "_x11 1x29 stale"),
        two("score_seconds", "eu-central-1", "_x11 0.5x29 stale"),
        two("score_seconds", "us-east-1", "_x11 0.1x29 stale"),
    ];
    let mut shown = vec![(10, GO_TO, vec![pair("eu-central-1", 1.0)]), (102, GO_TO, vec![]), (102, ELIGIBLE, vec![])];
    // While the second pod lives, and once the region is dead.
    for minute in [12, 30, 50, 100] {
        shown.push((minute, GO_TO, vec![pair("us-east-1", 1.0)]));
        shown.push((minute, GO_TO_SCORE, vec![pair("us-east-1", 0.1)]));
        shown.push((minute, RANK, vec![pair("eu-central-1", 2.0), pair("us-east-1", 1.0)]));
        shown.push((minute, SCORE, vec![pair("eu-central-1", 0.5), pair("us-east-1", 0.1)]));
        shown.push((minute, ELIGIBLE, vec![pair("eu-central-1", 1.0), pair("us-east-1", 1.0)]));
    }
    History { name: "a pod is replaced", series, shown, ..History::default() }
}

/// Two jobs read one process. First eu-central-1 is no longer eligible, then it leaves the configuration, then the
/// region dies, after minute 30.
pub(crate) fn a_candidate_leaves() -> History {
    let state = |metric, candidate, values| of("regionwatch-state", "a:9877", metric, candidate, values);
    let whole = |metric, candidate, values| of("regionwatch", "a:9877", metric, candidate, values);
    let series = vec![
        state("eligible", "eu-central-1", "1x10 0x9 stale"),
        state("rank", "eu-central-1", "1x10 stale"),
        state("score_seconds", "eu-central-1", "0.02x19 stale"),
        state("eligible", "us-east-1", "1x30 stale"),
        state("rank", "us-east-1", "2x10 1x19 stale"),
        state("score_seconds", "us-east-1", "0.1x30 stale"),
        // It is slower to hear of it.
        whole("eligible", "eu-central-1", "1x4 _x4 1 _x4 0 _x4 0 _ stale"),
        whole("rank", "eu-central-1", "1x4 _x4 1 _x4 stale"),
        whole("eligible", "us-east-1", "1x4 _x4 1 _x4 1 _x4 1 _x4 1 _x4 stale"),
        whole("rank", "us-east-1", "2x4 _x4 2 _x4 1 _x4 1 _x4 1 _x4 stale"),
    ];
    let mut shown = vec![
        (10, GO_TO, vec![pair("eu-central-1", 1.0)]),
        (15, ELIGIBLE, vec![pair("eu-central-1", 0.0), pair("us-east-1", 1.0)]),
        (25, ELIGIBLE, vec![pair("us-east-1", 1.0)]),
        (50, ELIGIBLE, vec![pair("us-east-1", 1.0)]),
        (50, SCORE, vec![pair("us-east-1", 0.1)]),
    ];
    for minute in [12, 25, 50] {
        shown.push((minute, GO_TO, vec![pair("us-east-1", 1.0)]));
        shown.push((minute, GO_TO_SCORE, vec![pair("us-east-1", 0.1)]));
        shown.push((minute, RANK, vec![pair("us-east-1", 1.0)]));
    }
    History { name: "a candidate leaves", series, shown, ..History::default() }
}

/// Four sidecars, of which one dies after minute 10; another dies too after minute 60, but for one of its two jobs.
/// Beside them Prometheus and two dead nodes, one of which has never lived.
pub(crate) fn among_others() -> History {
    let mut series = Vec::new();
    for (target, values) in [
        (r#"job="prometheus",instance="localhost:9090""#, "1x2000"),
        (r#"job="node",instance="a:9100""#, "1x5 0x2000"),
        (r#"job="node",instance="b:9100""#, "0x2000"),
        // In the same job as the sidecars.
        (r#"job="regionwatch",instance="c:9100""#, "0x2000"),
    ] {
        series.push((format!("up{{{target}}}"), values));
        series.push((format!("process_resident_memory_bytes{{{target}}}"), "900000000x2000"));
        series.push((format!("process_start_time_seconds{{{target}}}"), "5x2000"));
    }
    for (job, instance, up, page) in [
        ("regionwatch", "a:9877", "1x2000", "1x2000"),
        ("regionwatch", "b:9877", "1x2000", "1x2000"),
        ("regionwatch", "c:9877", "1x60 0x2000", "1x60 stale"),
        ("regionwatch-state", "c:9877", "1x2000", "1x2000"),
        ("regionwatch", "d:9877", "1x10 0x2000", "1x10 stale"),
    ] {
        let target = format!(r#"job="{job}",instance="{instance}""#);
        series.push((format!("up{{{target}}}"), up));
        for metric in ["regionwatch_config_last_reload_successful", "process_resident_memory_bytes"] {
            let labels = if metric.starts_with("process") { "" } else { r#",vantage_region="any""# };
            series.push((format!("{metric}{{{target}{labels}}}"), page));
        }
        series.push((format!("process_start_time_seconds{{{target}}}"), page));
    }
    let of = |instance: &str, value| (format!(r#"{{instance="{instance}"}}"#), value);
    let living = |value| vec![of("a:9877", value), of("b:9877", value), of("c:9877", value)];
    let shown = vec![
        (5, UNSCRAPABLE, number(0.0)),
        (30, UNSCRAPABLE, number(1.0)),
        (30, SCRAPED, number(0.75)),
        (30, ("sidecar", "Memory", "A"), living(1.0)),
        (30, ("sidecar", "Start and configuration load", "A"), living(1000.0)),
        // A sidecar that one of two jobs cannot read; and an outage of many hours is not forgotten.
        (1400, UNSCRAPABLE, number(2.0)),
        (1400, SCRAPED, number(0.5)),
    ];
    History { name: "among others", evaluation_interval: "10m", series, shown, ..History::default() }
}

/// Three changes seen by a pod, two by its successor, each by two jobs; and a clock that was set once.
pub(crate) fn counted() -> History {
    let changes = |job: &str, instance: &str, values| {
        let labels = format!(
            r#"job="{job}",instance="{instance}",vantage_region="a",peer_region="b",from="healthy",to="suspect""#
        );
        (format!("regionwatch_peer_state_changes_total{{{labels}}}"), values)
    };
    let series = vec![
        changes("regionwatch", "10.0.0.1:9877", "0x3 3x6 stale"),
        changes("regionwatch-state", "10.0.0.1:9877", "0x3 3x6 stale"),
        changes("regionwatch", "10.0.0.2:9877", "_x11 0x3 2x40"),
        changes("regionwatch-state", "10.0.0.2:9877", "_x11 0x3 2x40"),
        (r#"regionwatch_clock_steps_total{job="a",instance="b"}"#.into(), "5x9 6x40"),
        (r#"regionwatch_clock_steps_total{job="c",instance="b"}"#.into(), "5x9 6x40"),
    ];
    let changes = |count| vec![(r#"{peer_region="b", to="suspect"}"#.to_owned(), count)];
    const CHANGES: Place = ("failover", "State changes in 5 minutes", "A");
    let shown = vec![
        (2, CHANGES, vec![]),
        (6, CHANGES, changes(3.0)),
        (12, CHANGES, vec![]),
        (17, CHANGES, changes(2.0)),
        (25, ("sidecar", "Clock steps", "A"), number(1.0)),
    ];
    History { name: "counted", series, shown, ..History::default() }
}

/// Peers that answered until minute 10, and an Alertmanager that was asked until then.
pub(crate) fn silence() -> History {
    let of =
        |metric: &str, result: &str, values| (format!(r#"{metric}{{job="a",instance="b",result="{result}"}}"#), values);
    let [votes, pushes] = ["regionwatch_votes_received_total", "regionwatch_alert_pushes_total"];
    let series = vec![
        of(votes, "accepted", "0+60x10 600x60"),
        of(votes, "forged", "0+20x10 200x60"),
        of(pushes, "ok", "0+6x10 60x60"),
        of(pushes, "timeout", "0x70"),
    ];
    let (rejected, failed) = (("failover", "Votes rejected", "A"), ("failover", "Failed pushes", "A"));
    let shown = vec![
        (5, rejected, number(0.25)),
        (5, failed, number(0.0)),
        // Nothing of nothing is no number.
        (30, rejected, vec![]),
        (30, failed, vec![]),
    ];
    History { name: "silence", series, shown, ..History::default() }
}

/// What the page of a vantage says of a peer, in both jobs.
fn both_jobs(labels: &str, metric: &str, values: &'static str) -> [(String, &'static str); 2] {
    let vantage = labels.split('"').nth(1).unwrap();
    ["regionwatch", "regionwatch-state"].map(|job| {
        (format!(r#"regionwatch_{metric}{{job="{job}",instance="{vantage}:9877",vantage_region={labels}}}"#), values)
    })
}

fn of_pair(vantage: &str, peer: &str) -> String {
    format!(r#""{vantage}",peer_region="{peer}""#)
}

/// Four vantages, of which d is dead. First a and b vote down and c is isolated; from minute 5 on c votes up, and from
/// minute 10 on it votes down.
pub(crate) fn votes_of_four() -> History {
    let mut series = Vec::new();
    for vantage in ["a", "b", "c"] {
        for peer in ["a", "b", "c", "d"].into_iter().filter(|peer| *peer != vantage) {
            series.extend(both_jobs(&of_pair(vantage, peer), "candidate_eligible", "1x20"));
        }
        let on_d = of_pair(vantage, "d");
        let own = vantage == "c";
        let down = if own { "3x4 2x4 3x10" } else { "2x9 3x10" };
        series.extend(both_jobs(&format!("{on_d},vote=\"down\""), "peer_votes", down));
        series.extend(both_jobs(&format!("{on_d},vote=\"up\""), "peer_votes", "0x4 1x4 0x10"));
        series.extend(both_jobs(&on_d, "peer_quorum", "2x20"));
        series.extend(both_jobs(&on_d, "peer_quorum_reached", "0x4 1x15"));
        let isolated = if own { "1x4 0x15" } else { "0x20" };
        series.extend(both_jobs(&format!("\"{vantage}\""), "vantage_isolated", isolated));
    }
    let by_vantage = |[a, b, c]: [f64; 3]| {
        let of = |vantage, value| (format!(r#"{{vantage_region="{vantage}", peer_region="d"}}"#), value);
        vec![of("a", a), of("b", b), of("c", c)]
    };
    const DOWN: Place = ("failover", "Down votes, and how many are needed", "A");
    const NEEDED: Place = ("failover", "Down votes, and how many are needed", "B");
    const NEEDED_NOW: Place = ("failover", "Votes now", "D");
    const ISOLATED: Place = ("failover", "Votes now", "F");
    let named =
        |(place, value): (Place, f64)| (place, vec![(format!(r#"{}{{peer_region="d"}}"#, recorded(place)), value)]);
    let mut shown = vec![
        (3, NEEDED_NOW, by_vantage([3.0; 3])),
        (3, ISOLATED, by_vantage([0.0, 0.0, 1.0])),
        (7, NEEDED_NOW, by_vantage([2.0; 3])),
        (7, ISOLATED, by_vantage([0.0; 3])),
        (12, NEEDED_NOW, by_vantage([3.0; 3])),
        (3, ("failover", "Regions with a quorum for down", "A"), number(0.0)),
        (7, ("failover", "Regions with a quorum for down", "A"), number(1.0)),
    ];
    for (minute, down, needed) in [(3, 2.0, 3.0), (7, 2.0, 2.0), (12, 3.0, 3.0)] {
        for told in [(DOWN, down), (NEEDED, needed)] {
            let (place, value) = named(told);
            shown.push((minute, place, value));
        }
    }
    History { name: "votes of four", series, shown, ..History::default() }
}

/// Production, where b is down as a sees it and c is isolated; staging, and vantages without an environment, where all is
/// well.
pub(crate) fn environments(environment: &'static str) -> History {
    let mut series = Vec::new();
    for (label, down) in [("prod", "1x20"), ("staging", "0x20"), ("", "0x20")] {
        let up = if down.starts_with('1') { "0x20" } else { "1x20" };
        let suffix = if label.is_empty() { String::new() } else { format!(",environment=\"{label}\"") };
        for (vantage, peer) in [("a", "b"), ("a", "c"), ("c", "a"), ("c", "b")] {
            let pair = of_pair(vantage, peer) + &suffix;
            let wrong = peer == "b" || (label == "prod" && vantage == "c");
            for state in ["unknown", "healthy", "degraded", "recovering", "suspect", "down"] {
                let values = match state {
                    "down" if wrong => down,
                    "healthy" if wrong => up,
                    "healthy" => "1x20",
                    _ => "0x20",
                };
                series.extend(both_jobs(&format!("{pair},state=\"{state}\""), "peer_state", values));
            }
            series.extend(both_jobs(
                &format!("{pair},stage=\"execute\""),
                "incidents",
                if peer == "b" { down } else { "0x20" },
            ));
            series.extend(both_jobs(&pair, "candidate_eligible", if peer == "b" { up } else { "1x20" }));
        }
        let isolated = if label == "prod" { "1x20" } else { "0x20" };
        series.extend(both_jobs(&format!("\"a\"{suffix}"), "vantage_isolated", "0x20"));
        series.extend(both_jobs(&format!("\"c\"{suffix}"), "vantage_isolated", isolated));
    }
    // A second Prometheus would fire on both vantages.
    for vantage in ["a", "c"] {
        let alert =
            r#"alertname="RegionwatchPeerFailover",failover="true",stage="execute",source="rules",alertstate="firing""#;
        series.push((
            format!(r#"ALERTS{{{alert},environment="prod",vantage_region="{vantage}",peer_region="b"}}"#),
            "1x20",
        ));
    }
    let all = environment.is_empty();
    let of = |labels: &str, value| (format!("{{{labels}}}"), value);
    let chosen = |samples: Vec<(String, f64)>| {
        let has = |labels: &str| match environment {
            "" => true,
            name => labels.contains(&format!("environment=\"{name}\"")),
        };
        samples.into_iter().filter(|(labels, _)| has(labels)).collect::<Vec<_>>()
    };
    let mut worst = Vec::new();
    let mut cells = Vec::new();
    for (label, wrong) in [("prod", true), ("staging", false), ("", false)] {
        let prefix = if label.is_empty() { String::new() } else { format!("environment=\"{label}\", ") };
        let down = if wrong { 5.0 } else { 1.0 };
        // Nothing but the isolated c reports a.
        worst.extend((!wrong).then(|| of(&format!("{prefix}peer_region=\"a\""), 1.0)));
        worst.push(of(&format!("{prefix}peer_region=\"b\""), down));
        worst.push(of(&format!("{prefix}peer_region=\"c\""), 1.0));
        for (vantage, peer) in [("a", "b"), ("a", "c"), ("c", "a"), ("c", "b")] {
            let value = match (wrong, vantage, peer) {
                (true, "c", _) => 6.0,
                (true, _, "b") => 5.0,
                _ => 1.0,
            };
            let pair = format!("vantage_region=\"{vantage}\", peer_region=\"{peer}\", vantage=\"{label} {vantage}\"");
            cells.push(of(&format!("{prefix}{pair}"), value));
        }
    }
    let bad = all || environment == "prod";
    let orders = number(if bad { 1.0 } else { 0.0 });
    let shown = vec![
        (10, ("overview", "Regions, worst state of all vantages", "A"), chosen(worst)),
        (10, ("overview", "State of each pair", "A"), chosen(cells)),
        (10, ("overview", "Regions down", "A"), number(if bad { 1.0 } else { 0.0 })),
        (10, ("overview", "Isolated vantages", "A"), number(if bad { 1.0 } else { 0.0 })),
        (10, ("overview", "Fewest failover targets", "A"), number(if bad { 1.0 } else { 2.0 })),
        (10, ("failover", "Failovers ordered", "A"), orders.clone()),
        (10, ("failover", "Failovers ordered", "B"), orders),
    ];
    History { name: "environments", environment, series, shown, ..History::default() }
}

/// Two vantages, of which c knows little, and three databases with a server in a and one in b. From minute 10 on the replica of
/// orders is cut off, and both servers of billing take writes. No server of old does.
pub(crate) fn databases() -> History {
    let mut series = Vec::new();
    let mut of = |vantage: &str, server: [&str; 2], more: &str, metric: &str, values| {
        let [database, region] = server;
        let labels = format!("\"{vantage}\",database=\"{database}\",peer_region=\"{region}\"{more}");
        series.extend(both_jobs(&labels, &format!("database_{metric}"), values));
    };
    let servers = ["orders", "billing", "old"].into_iter().flat_map(|database| [[database, "a"], [database, "b"]]);
    for server in servers {
        for state in ["unknown", "caught_up", "lagging", "not_replicating", "cut_off", "writable"] {
            let known = match (server, state) {
                (["orders" | "billing", "a"], "writable") => "1x20",
                (["billing", "b"], "writable") | (["orders", "b"], "cut_off") => "0x9 1x10",
                (["orders" | "billing", "b"], "caught_up") => "1x9 0x10",
                (["old", _], "unknown") => "1x20",
                _ => "0x20",
            };
            let more = format!(",state=\"{state}\"");
            of("a", server, &more, "state", known);
            of("c", server, &more, "state", if state == "unknown" { "1x20" } else { "0x20" });
        }
        of("a", server, "", "rpo_target_seconds", "5x20");
        of("c", server, "", "rpo_unknown", if server == ["billing", "b"] { "1x20" } else { "0x20" });
    }
    let (primary, replica) = (["orders", "a"], ["orders", "b"]);
    of("a", primary, "", "writable", "1x20");
    of("a", replica, "", "writable", "0x20");
    of("a", ["billing", "a"], "", "writable", "1x20");
    of("a", ["billing", "b"], "", "writable", "0x9 1x10");
    let (lower, upper) = (",bound=\"lower\"", ",bound=\"upper\"");
    of("a", replica, lower, "replication_lag_seconds", "0x9 60x10");
    of("a", replica, upper, "replication_lag_seconds", "1x9 61x10");
    of("c", replica, upper, "replication_lag_seconds", "90x20");
    of("a", replica, "", "engine_lag_seconds", "0x20");
    of("a", replica, lower, "rpo_seconds", "0x9 60x10");
    of("a", replica, upper, "rpo_seconds", "1x9 61x10");
    of("c", replica, lower, "rpo_seconds", "0x9 58x10");
    of("c", replica, upper, "rpo_seconds", "2x9 62x10");
    of("a", replica, "", "lost_tokens", "2x20");
    of("c", replica, "", "lost_tokens", "3x20");
    let mut once = |vantage: &str, name: &str, more: &str, values| {
        let own = format!("job=\"a\",instance=\"{vantage}\",vantage_region=\"{vantage}\"");
        let labels = format!("{own},database=\"orders\",peer_region=\"b\",{more}");
        series.push((format!("regionwatch_database_{name}{{{labels}}}"), values));
    };
    for result in ["ok", "timeout"] {
        once("a", "probes_total", &format!("result=\"{result}\""), "0+9x20");
    }
    for (vantage, le, values) in [
        ("a", "0.001", "0+60x20"),
        ("a", "+Inf", "0+60x20"),
        ("c", "0.001", "0x20"),
        ("c", "0.1", "0+60x20"),
        ("c", "+Inf", "0+60x20"),
    ] {
        once(vantage, "read_duration_seconds_bucket", &format!("le=\"{le}\""), values);
    }
    let place = |panel, query| ("databases", panel, query);
    let to_b = |value| vec![(r#"{peer_region="b"}"#.to_owned(), value)];
    let of_replica = |value| vec![(r#"{database="orders", peer_region="b"}"#.to_owned(), value)];
    let cells = |[a, b, second]: [f64; 3]| -> Shown {
        let values = [("orders", [5.0, a]), ("billing", [5.0, b]), ("old", [second; 2])];
        let cell = |database: &str, region: &str, value| {
            (format!(r#"{{database="{database}", peer_region="{region}", name=" {database}"}}"#), value)
        };
        values.iter().flat_map(|(database, [a, b])| [cell(database, "a", *a), cell(database, "b", *b)]).collect()
    };
    const LAG: &str = "Lag, and what the engine says";
    const LOSS: &str = "What a failover would lose";
    const TWO: &str = "Databases with two primaries";
    let mut shown = Vec::new();
    for (minute, is_bad) in [(5, false), (15, true)] {
        let [count, grown] = if is_bad { [1.0, 60.0] } else { [0.0; 2] };
        shown.extend([
            (minute, place("Databases without a primary", "A"), number(1.0)),
            (minute, place(TWO, "A"), number(count)),
            (minute, place("Replicas cut off", "A"), number(count)),
            (minute, place("Losses unknown", "A"), number(1.0)),
            (minute, place("Highest loss, of the RPO", "A"), number((2.0 + grown) / 5.0)),
            (minute, place("Tokens lost by promotions", "A"), number(3.0)),
            (minute, place(LOSS, "B"), of_replica(if is_bad { 58.0 } else { 0.0 })),
            (minute, place(LOSS, "C"), of_replica(2.0 + grown)),
            (minute, place(LAG, "A"), to_b(1.0 + grown)),
            (minute, place(LAG, "B"), to_b(grown)),
            (minute, place(LAG, "C"), to_b(0.0)),
            (minute, place("Servers that take writes", "A"), vec![(r#"{database="orders"}"#.to_owned(), 1.0)]),
            (minute, place("Reads, from the nearest vantage", "A"), to_b(0.0005)),
            (
                minute,
                place("Failures by reason", "A"),
                vec![(r#"{peer_region="b", result="timeout"}"#.to_owned(), 0.15)],
            ),
            (
                minute,
                place("State of each database", "A"),
                cells(if is_bad { [4.0, 5.0, 0.0] } else { [1.0, 1.0, 0.0] }),
            ),
        ]);
    }
    History { name: "databases", series, shown, ..History::default() }
}

/// The name that a recorded series keeps in a panel.
fn recorded(place: Place) -> String {
    let dashboards = shipped();
    let query = dashboards.iter().flat_map(Dashboard::queries).find(|query| {
        query.dashboard.strip_prefix("regionwatch-") == Some(place.0)
            && (query.panel, query.reference) == (place.1, place.2)
    });
    query.unwrap().expression.split('{').next().unwrap().to_owned()
}

#[test]
fn panels_show_the_expected_values_for_every_history() {
    require(&[Tool("promtool")]);
    let in_environments = ["", "prod", "staging"].map(environments);
    let others =
        [a_pod_is_replaced(), a_candidate_leaves(), among_others(), counted(), databases(), silence(), votes_of_four()];
    for history in others.into_iter().chain(in_environments) {
        let said = complaints(&shipped(), &history);
        assert!(said.is_empty(), "{}: {said}", history.name);
    }
}
