//! The blocks of `alerts/alertmanager.yml` in the Alertmanager of a company, as docs/alertmanager.md merges them.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{
    needs::{Need::Tool, require},
    process::{Running, eventually, free, get, request, write},
};

use crate::{
    programs::{OURS, passes, receivers},
    read,
    webhooks::{Sink, edited, post},
};

/// What is between the marks of a block, with its marks.
fn block(name: &str) -> String {
    let text = read("alerts/alertmanager.yml");
    let begin = text.find(&format!("# regionwatch: begin {name}\n")).unwrap();
    let begin = text[..begin].rfind('\n').unwrap() + 1;
    let end = format!("# regionwatch: end {name}\n");
    let end = text.find(&end).unwrap() + end.len();
    text[begin..end].to_owned()
}

/// The company's file with our blocks: the route before its other routes, as the page says.
fn merged() -> String {
    let mut text = read("tests/alerts/company.yml");
    for (after, name) in
        [("  routes:\n", "route"), ("inhibit_rules:\n", "inhibit_rules"), ("receivers:\n", "receivers")]
    {
        text = text.replacen(after, &format!("{after}{}", block(name)), 1);
    }
    text
}

/// The line that the page tells to add to an inhibit rule of the company that has no `alertname` of its own.
const SPARES: &str = "alertname!~\"Regionwatch.*\"";

fn amended(text: &str) -> String {
    let greedy = "target_matchers: ['severity=\"critical\"', ";
    assert!(text.contains(greedy) && read("docs/alertmanager.md").contains(SPARES));
    text.replace(greedy, &format!("{greedy}'{SPARES}', "))
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    PathBuf::from(write(folder, name, text))
}

/// Alerts of others, some of which look much like ours.
const FOREIGN: [&[&str]; 14] = [
    &["alertname=Watchdog"],
    &["alertname=KubeNodeNotReady", "severity=critical"],
    &["alertname=KubeNodeNotReady", "severity=warning", "peer_region=us-east-1"],
    &["alertname=PostgresDown", "team=databases", "severity=critical"],
    &["alertname=PostgresSlow", "team=databases", "severity=warning"],
    &["alertname=PeerDown", "failover=true", "stage=execute", "drill=false", "peer_region=us-east-1"],
    &["alertname=DatabaseFailover", "failover=true", "severity=critical", "source=push"],
    &["alertname=DatabaseFailover", "failover=true", "drill=true", "severity=critical"],
    &["alertname=NotRegionwatchPeerDown", "failover=true", "severity=critical"],
    &["alertname=regionwatchPeerDown", "failover=true", "severity=critical"],
    &["alertname=Heartbeat", "severity=none"],
    &["alertname=Other", "environment=prod", "vantage_region=eu-west-1", "severity=critical"],
    &["severity=critical"],
    &["job=regionwatch", "severity=critical"],
];

#[test]
fn in_a_foreign_tree_alerts_go_where_they_go_without_it() {
    require(&[Tool("amtool")]);
    let folder = tempfile::tempdir().unwrap();
    let company = file(folder.path(), "company.yml", &read("tests/alerts/company.yml"));
    let merged = file(folder.path(), "merged.yml", &merged());
    for config in [&company, &merged] {
        passes("amtool", &["check-config", config.to_str().unwrap()]);
    }
    for (expected, labels) in OURS {
        assert_eq!(receivers(&merged, labels), expected, "{labels:?}");
    }
    for labels in FOREIGN {
        let before = receivers(&company, labels);
        assert_eq!(receivers(&merged, labels), before, "{labels:?}");
        assert!(!before.contains("regionwatch"));
    }
    // Alone, what is foreign goes to the receiver of the root.
    for labels in FOREIGN {
        assert_eq!(receivers(Path::new(&crate::path("alerts/alertmanager.yml")), labels), "default", "{labels:?}");
    }
}

/// Of each rule, by what its lines say.
#[test]
fn every_inhibit_rule_matches_only_our_alerts_and_compares_the_environment() {
    let block = block("inhibit_rules");
    let rules: Vec<_> = block.split("  - source_matchers:").skip(1).collect();
    assert!(rules.len() > 3);
    for rule in rules {
        let (source, rest) = rule.split_once("target_matchers:").unwrap();
        let (target, equal) = rest.split_once("equal: [").unwrap();
        for matchers in [source, target] {
            assert!(["alertname=~\"Regionwatch", "alertname=\"Regionwatch"].iter().any(|own| matchers.contains(own)));
        }
        assert!(equal.starts_with("environment, "), "{rule}");
    }
}

#[test]
fn every_group_has_the_environment_and_the_failover_route_sends_again_within_30_s() {
    let route = block("route");
    for line in route.lines().map(str::trim).filter(|line| line.starts_with("group_by: ")) {
        assert!(line.starts_with("group_by: [environment, ") || line == "group_by: ['...']", "{line}");
    }
    let failover = route.split("- receiver: ").find(|part| part.starts_with("regionwatch-failover\n")).unwrap();
    let interval = failover.split_once("group_interval: ").unwrap().1.split_once("s\n").unwrap().0;
    assert!(interval.parse::<u64>().unwrap() <= 30, "{interval}");
}

/// An Alertmanager of the company; its receivers lead nowhere.
fn start(folder: &Path, config: &Path) -> (Running, SocketAddr) {
    let listen = free();
    let running = Running::start(
        "prometheus-alertmanager",
        &[
            &format!("--config.file={}", config.display()),
            &format!("--storage.path={}", folder.join(listen.port().to_string()).display()),
            &format!("--web.listen-address={listen}"),
            "--cluster.listen-address=",
            "--log.level=error",
        ],
        &[],
    );
    eventually("Alertmanager is ready", Duration::from_secs(15), || {
        request(listen, "GET", "/-/ready").filter(|answer| answer.status == 200)
    });
    (running, listen)
}

/// The names of the alerts that are inhibited, once all have been looked at.
fn inhibited(alertmanager: SocketAddr, count: usize) -> BTreeSet<String> {
    eventually("every alert was routed", Duration::from_secs(10), || {
        let alerts: Vec<Value> = serde_json::from_str(&get(alertmanager, "/api/v2/alerts")).ok()?;
        let routed = |alert: &&Value| alert["status"]["state"] != "unprocessed";
        (alerts.iter().filter(routed).count() == count).then(|| {
            let inhibited = alerts.iter().filter(|alert| alert["status"]["inhibitedBy"] != json!([]));
            inhibited.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
        })
    })
}

#[test]
fn in_a_foreign_tree_neither_side_inhibits_the_alerts_of_the_other() {
    require(&[Tool("prometheus-alertmanager")]);
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    let text = merged().replace("/etc/alertmanager/secrets/regionwatch", &secrets.display().to_string());
    for line in text.lines().filter_map(|line| line.split_once("credentials_file: ")) {
        fs::write(line.1.trim_end_matches('}'), "token").unwrap();
    }
    let text = text.replace("https://", "http://127.0.0.1:9/");
    let down = |name: &str, stage: &str, source: &str, region: &str| {
        json!({"labels": {"alertname": name, "peer_region": region, "failover": "true", "stage": stage,
            "drill": "false", "severity": "critical", "source": source}})
    };
    let alerts = [
        // Of the company: what its rules inhibit, and what resembles what ours do.
        json!({"labels": {"alertname": "ClusterDown", "severity": "critical"}}),
        json!({"labels": {"alertname": "KubeApiDown", "severity": "critical"}}),
        json!({"labels": {"alertname": "KubeApiDown", "severity": "warning"}}),
        json!({"labels": {"alertname": "DatabaseFailover", "failover": "true", "source": "rules", "stage": "execute",
            "drill": "false", "peer_region": "us-east-1", "cluster": "a"}}),
        // Ours.
        down("RegionwatchPeerFailover", "execute", "push", "us-east-1"),
        json!({"labels": {"alertname": "RegionwatchVantageIsolated", "vantage_region": "eu-west-1",
            "severity": "critical"}}),
    ];
    let of_the_company = BTreeSet::from(["KubeApiDown".to_owned()]);
    // As it is, its third rule inhibits every critical alert without a cluster; so the page says what to add.
    let ours = ["RegionwatchPeerFailover", "RegionwatchVantageIsolated"].map(str::to_owned);
    let cases = [(text.clone(), BTreeSet::from(ours)), (amended(&text), BTreeSet::new())];
    for (at, (text, more)) in cases.into_iter().enumerate() {
        let config = file(folder.path(), &format!("{at}.yml"), &text);
        let (_running, alertmanager) = start(folder.path(), &config);
        for alert in &alerts {
            post(alertmanager, alert);
        }
        let expected: BTreeSet<_> = of_the_company.union(&more).cloned().collect();
        eventually("what is inhibited", Duration::from_secs(5), || {
            (inhibited(alertmanager, alerts.len()) == expected).then_some(())
        });
    }
}

/// It replaces the receiver of the same name in the shipped file.
#[test]
fn the_receiver_of_the_webhook_page_fits_the_shipped_configuration() {
    require(&[Tool("amtool")]);
    let page = read("docs/webhook.md");
    let block = page.split("```yaml\nreceivers:\n").nth(1).unwrap().split("```").next().unwrap();
    let shipped = read("alerts/alertmanager.yml");
    let own = shipped.find("  - name: regionwatch-failover\n").unwrap();
    let next = own + shipped[own..].find("\n\n").unwrap() + 1;
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "alertmanager.yml", &format!("{}{block}{}", &shipped[..own], &shipped[next..]));
    passes("amtool", &["check-config", &config]);
    assert_eq!(block.matches("- name: ").count(), 1);
}

/// The group keys of the webhooks that came to a receiver, with the labels that make each group.
fn groups(calls: &[Value], receiver: &str) -> BTreeSet<String> {
    let of = |call: &&Value| call["receiver"] == receiver && call["status"] == "firing";
    calls.iter().filter(of).map(|call| call["groupLabels"].to_string()).collect()
}

#[test]
fn environments_and_watchdogs_are_groups_of_their_own_and_do_not_inhibit_each_other() {
    require(&[Tool("prometheus-alertmanager")]);
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start();
    let config = file(folder.path(), "alertmanager.yml", &edited(folder.path(), sink.addr));
    let (_running, alertmanager) = start(folder.path(), &config);
    let down = |environment: &str, source: &str| {
        let mut alert = json!({"labels": {"alertname": "RegionwatchPeerFailover", "peer_region": "us-east-1",
            "failover": "true", "stage": "execute", "drill": "false", "severity": "critical", "source": source}});
        if !environment.is_empty() {
            alert["labels"]["environment"] = json!(environment);
        }
        alert
    };
    // Pushed in staging and without an environment; by the rules in production, and again in staging.
    for alert in [down("staging", "push"), down("", "push"), down("prod", "rules"), down("staging", "rules")] {
        post(alertmanager, &alert);
    }
    let watchdog =
        |cluster: &str| json!({"labels": {"alertname": "RegionwatchWatchdog", "severity": "none", "cluster": cluster}});
    let heartbeat = |vantage: &str| json!({"labels": {"alertname": "RegionwatchHeartbeat", "severity": "none", "vantage_region": vantage}});
    for alert in [watchdog("eu"), watchdog("us"), heartbeat("eu-west-1"), heartbeat("us-east-1")] {
        post(alertmanager, &alert);
    }
    let expected = |receiver: &str, count: usize| {
        eventually(receiver, Duration::from_secs(8), || {
            Some(groups(&sink.bodies(), receiver)).filter(|groups| groups.len() == count)
        })
    };
    expected("regionwatch-deadmans-switch", 4);
    let failovers = expected("regionwatch-failover", 3);
    for environment in ["\"environment\":\"prod\"", "\"environment\":\"staging\""] {
        assert_eq!(failovers.iter().filter(|group| group.contains(environment)).count(), 1, "{failovers:?}");
    }
    // Only the second alert of staging is inhibited.
    eventually("what is inhibited", Duration::from_secs(5), || {
        let alerts: Vec<Value> = serde_json::from_str(&get(alertmanager, "/api/v2/alerts")).ok()?;
        let inhibited: Vec<_> = alerts.iter().filter(|alert| alert["status"]["inhibitedBy"] != json!([])).collect();
        let [only] = inhibited[..] else { return None };
        let label = |name: &str| only["labels"][name].as_str().unwrap_or_default().to_owned();
        ((label("environment"), label("source")) == ("staging".into(), "rules".into())).then_some(())
    });
}
