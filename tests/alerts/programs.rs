//! promtool and amtool on the files.

use std::{path::Path, process::Command};

use testkit::{
    needs::{Need::Tool, require},
    process::write,
};

use crate::{path, read};

pub(crate) fn passes(program: &str, args: &[&str]) -> String {
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

/// The groups of the rule file that a test file is about, and what these read: promtool evaluates every rule that it is
/// given in every second of every case.
fn groups_for(tests: &str) -> String {
    let rules = read("alerts/regionwatch.rules.yml");
    let (_, groups) = rules.split_once("\ngroups:\n").unwrap();
    let groups: Vec<_> = format!("\n{groups}").split("\n  - name: ").skip(1).map(str::to_owned).collect();
    let declares = |group: &str, text: &str| {
        let names = group.lines().filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("- alert: ").or_else(|| line.strip_prefix("- record: "))
        });
        names.into_iter().any(|name| words(text).any(|word| word == name))
    };
    let mut chosen: Vec<_> = groups.iter().map(|group| declares(group, tests)).collect();
    loop {
        let read = |at: usize| (0..groups.len()).any(|by| chosen[by] && declares(&groups[at], &groups[by]));
        let more: Vec<_> = (0..groups.len()).map(|at| chosen[at] || read(at)).collect();
        if more == chosen {
            break;
        }
        chosen = more;
    }
    let all = groups.iter().zip(&chosen).filter(|(_, chosen)| **chosen);
    all.fold("groups:\n".to_owned(), |text, (group, _)| format!("{text}  - name: {}\n", group.trim_end()))
}

/// The names in a text. Comments are none of it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))).map(|word| {
        // A key of YAML that stands before such a name.
        word.trim_end_matches(':')
    })
}

fn promtool_passes(file: &str) {
    require(&[Tool("promtool")]);
    let folder = tempfile::tempdir().unwrap();
    let tests = read(file);
    assert!(tests.contains("rule_files: [regionwatch.rules.yml]"), "{file}");
    write(folder.path(), "regionwatch.rules.yml", &groups_for(&tests));
    passes("promtool", &["test", "rules", &write(folder.path(), "test.yml", &tests)]);
}

#[test]
fn the_rule_that_orders_passes_its_promtool_tests() {
    promtool_passes("alerts/regionwatch.execute.test.yml");
}

#[test]
fn the_failover_rules_pass_their_promtool_tests() {
    promtool_passes("alerts/regionwatch.failover.test.yml");
}

#[test]
fn the_other_rules_pass_their_promtool_tests() {
    promtool_passes("alerts/regionwatch.test.yml");
}

#[test]
fn what_the_rules_say_over_hours_passes_its_promtool_tests() {
    promtool_passes("alerts/regionwatch.hours.test.yml");
}

/// The command that the head of the rules and docs/alerts.md give, run as it stands there.
#[test]
fn one_documented_command_gives_every_alert_another_address_of_its_runbook() {
    require(&[Tool("promtool")]);
    let (rules, page) = (read("alerts/regionwatch.rules.yml"), read("docs/alerts.md"));
    let command = rules.lines().find_map(|line| line.strip_prefix("#     sed ")).unwrap();
    assert!(page.contains(&format!("sed {command}")), "{command}");
    let folder = tempfile::tempdir().unwrap();
    let alerts = path("alerts");
    let script = format!("cd '{alerts}' && sed {command} > '{}/rules.yml'", folder.path().display());
    passes("sh", &["-c", &script]);
    let edited = std::fs::read_to_string(folder.path().join("rules.yml")).unwrap();
    for name in crate::alerts() {
        assert!(edited.contains(&format!("runbook_url: https://wiki.example.com/{name}\n")), "{name}");
    }
    assert!(!edited.contains("runbook_url: https://github.com"), "{edited}");
    passes("promtool", &["check", "rules", &folder.path().join("rules.yml").display().to_string()]);
}

#[test]
fn amtool_accepts_the_alertmanager_configuration() {
    require(&[Tool("amtool")]);
    let said = passes("amtool", &["check-config", &path("alerts/alertmanager.yml")]);
    assert!(said.contains("SUCCESS"), "{said}");
}

/// Our alerts, and where they go: in the shipped file, and merged into another one.
pub(crate) const OURS: [(&str, &[&str]); 15] = [
    ("regionwatch-failover,regionwatch-oncall", &["PeerDown", "stage=prepare", "drill=false", "source=push"]),
    ("regionwatch-failover,regionwatch-oncall", &["PeerDown", "stage=prepare", "drill=false", "source=rules"]),
    ("regionwatch-failover,regionwatch-oncall", &["PeerFailover", "stage=execute", "drill=false", "source=push"]),
    ("regionwatch-failover,regionwatch-oncall", &["PeerFailover", "stage=execute", "environment=prod"]),
    // A label that a company routes by changes nothing.
    ("regionwatch-failover,regionwatch-oncall", &["PeerFailover", "stage=execute", "team=databases"]),
    // Drills reach neither the switch nor people.
    ("regionwatch-failover-drill", &["PeerDown", "stage=prepare", "drill=true", "drill_id=7"]),
    ("regionwatch-failover-drill", &["PeerFailover", "stage=execute", "drill=true", "source=rules"]),
    ("regionwatch-deadmans-switch", &["-", "Heartbeat", "severity=none", "vantage_region=eu-west-1"]),
    ("regionwatch-deadmans-switch", &["-", "Watchdog", "severity=none"]),
    ("regionwatch-oncall", &["-", "PeerUnreachable", "severity=critical", "peer_region=us-east-1"]),
    ("regionwatch-oncall", &["-", "VantageIsolated", "severity=critical", "vantage_region=eu-west-1"]),
    ("regionwatch-oncall", &["-", "Absent", "severity=critical"]),
    ("regionwatch-tickets", &["-", "PeerDegraded", "severity=warning", "peer_region=us-east-1"]),
    ("regionwatch-tickets", &["-", "TargetDown", "severity=warning"]),
    ("regionwatch-tickets", &["-", "OfAVersionToCome"]),
];

/// The receivers of an alert in a configuration, as `amtool` prints them.
pub(crate) fn receivers(config: &Path, labels: &[&str]) -> String {
    let down = ["peer_region=us-east-1", "vantage_region=eu-west-1", "failover=true", "severity=critical"];
    let name = |name: &&str| format!("alertname=Regionwatch{name}");
    let labels: Vec<String> = match labels {
        ["-", own, more @ ..] => [name(own)].into_iter().chain(more.iter().map(ToString::to_string)).collect(),
        [own, more @ ..] if !own.contains('=') => {
            [name(own)].into_iter().chain(more.iter().chain(&down).map(ToString::to_string)).collect()
        }
        foreign => foreign.iter().map(ToString::to_string).collect(),
    };
    let config = format!("--config.file={}", config.display());
    let mut args = vec!["config", "routes", "test", &config];
    args.extend(labels.iter().map(String::as_str));
    let output = Command::new("amtool").args(&args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn alerts_are_routed_to_their_receivers() {
    require(&[Tool("amtool")]);
    for (expected, labels) in OURS {
        assert_eq!(receivers(Path::new(&path("alerts/alertmanager.yml")), labels), expected, "{labels:?}");
    }
}
