//! promtool and amtool on the files.

use std::process::Command;

use testkit::needs::{Need::Tool, require};

use crate::path;

fn passes(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}:\n{said}");
    said
}

#[test]
fn promtool_accepts_the_rules() {
    require(&[Tool("promtool")]);
    let said = passes("promtool", &["check", "rules", "--lint=all", &path("alerts/regionwatch.rules.yml")]);
    assert!(said.contains("SUCCESS") && !said.contains("duplicate"), "{said}");
}

#[test]
fn the_rule_that_orders_passes_its_promtool_tests() {
    require(&[Tool("promtool")]);
    passes("promtool", &["test", "rules", &path("alerts/regionwatch.execute.test.yml")]);
}

#[test]
fn the_failover_rules_pass_their_promtool_tests() {
    require(&[Tool("promtool")]);
    passes("promtool", &["test", "rules", &path("alerts/regionwatch.failover.test.yml")]);
}

#[test]
fn the_other_rules_pass_their_promtool_tests() {
    require(&[Tool("promtool")]);
    passes("promtool", &["test", "rules", &path("alerts/regionwatch.test.yml")]);
}

#[test]
fn amtool_accepts_the_alertmanager_configuration() {
    require(&[Tool("amtool")]);
    let said = passes("amtool", &["check-config", &path("alerts/alertmanager.yml")]);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn alerts_are_routed_to_their_receivers() {
    require(&[Tool("amtool")]);
    let config = format!("--config.file={}", path("alerts/alertmanager.yml"));
    let down = ["peer_region=us-east-1", "vantage_region=eu-west-1", "failover=true", "severity=critical"];
    let cases: [(&str, &[&str]); 14] = [
        (
            "regionwatch-failover,regionwatch-oncall",
            &["alertname=RegionwatchPeerDown", "stage=prepare", "drill=false", "source=push"],
        ),
        (
            "regionwatch-failover,regionwatch-oncall",
            &["alertname=RegionwatchPeerDown", "stage=prepare", "drill=false", "source=rules"],
        ),
        (
            "regionwatch-failover,regionwatch-oncall",
            &["alertname=RegionwatchPeerFailover", "stage=execute", "drill=false", "source=push"],
        ),
        (
            "regionwatch-failover,regionwatch-oncall",
            &["alertname=RegionwatchPeerFailover", "stage=execute", "source=push"],
        ),
        // Drills reach neither the switch nor people.
        ("regionwatch-failover-drill", &["alertname=RegionwatchPeerDown", "stage=prepare", "drill=true", "drill_id=7"]),
        (
            "regionwatch-failover-drill",
            &["alertname=RegionwatchPeerFailover", "stage=execute", "drill=true", "source=rules"],
        ),
        (
            "regionwatch-deadmans-switch",
            &["-", "alertname=RegionwatchHeartbeat", "severity=none", "vantage_region=eu-west-1"],
        ),
        ("regionwatch-deadmans-switch", &["-", "alertname=RegionwatchWatchdog", "severity=none"]),
        (
            "regionwatch-oncall",
            &["-", "alertname=RegionwatchPeerUnreachable", "severity=critical", "peer_region=us-east-1"],
        ),
        (
            "regionwatch-oncall",
            &["-", "alertname=RegionwatchVantageIsolated", "severity=critical", "vantage_region=eu-west-1"],
        ),
        ("regionwatch-oncall", &["-", "alertname=RegionwatchAbsent", "severity=critical"]),
        (
            "regionwatch-tickets",
            &["-", "alertname=RegionwatchPeerDegraded", "severity=warning", "peer_region=us-east-1"],
        ),
        ("regionwatch-tickets", &["-", "alertname=RegionwatchTargetDown", "severity=warning"]),
        ("default", &["-", "alertname=SomethingElse", "severity=critical"]),
    ];
    for (receivers, labels) in cases {
        let verify = format!("--verify.receivers={receivers}");
        let mut args = vec!["config", "routes", "test", &config, &verify];
        match labels {
            ["-", own @ ..] => args.extend(own),
            own => args.extend(own.iter().chain(&down)),
        }
        passes("amtool", &args);
    }
}
