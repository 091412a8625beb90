//! `alerts/regionwatch.tmpl`, rendered by a real Alertmanager for the receivers that docs/alertmanager.md shows.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{
    needs::{Need::Tool, require},
    process::{Running, eventually, free, request, write},
};

use crate::{path, read, webhooks::post};

type Pages = Arc<Mutex<Vec<(String, Value)>>>;

/// Takes what is sent to PagerDuty and to Slack.
fn pager() -> (SocketAddr, Pages) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, pages) = (listener.local_addr().unwrap(), Pages::default());
    let taken = Arc::clone(&pages);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let (mut path, mut length) = (String::new(), 0);
            for number in 0.. {
                let mut line = String::new();
                if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
                    break;
                }
                if number == 0 {
                    path = line.split(' ').nth(1).unwrap().to_owned();
                } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_ok() {
                taken.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
            }
            let answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (addr, pages)
}

/// The blocks of a language on the page that begin with a text.
fn block(begins: &str) -> String {
    let page = read("docs/alertmanager.md");
    let found = page.split("```yaml\n").find(|block| block.starts_with(begins)).unwrap();
    found.split("```").next().unwrap().to_owned()
}

fn execute() -> Value {
    json!({
        "labels": {
            "alertname": "RegionwatchPeerFailover", "peer_region": "us-east-1", "failover": "true", "stage": "execute",
            "drill": "false", "severity": "critical", "source": "push", "environment": "prod",
        },
        "annotations": {
            "failover_target": "eu-central-1", "votes": "2/2", "confirmed": "true", "evidence": "icmp and tcp are silent",
            "description": "us-east-1 is down as seen from eu-west-1 since 2026-11-21T08:13:22.792Z (silence), confirmed with 2 of 2 votes. Fail over to eu-central-1.",
            "incident_id": "us-east-1-1795248802792", "candidates": "[{\"region\":\"eu-central-1\"}]",
            "signatures": "[{\"vantage\":\"eu-west-1\"}]", "runbook_url": "https://runbooks.example.com/RegionwatchPeerFailover",
        },
        "generatorURL": "https://regionwatch.example.com/peer/us-east-1",
    })
}

/// What comes to the pagers for an alert: the title, the text, and the links, by PagerDuty and by Slack.
fn pages_of(alert: &Value) -> Vec<(String, Value)> {
    let folder = tempfile::tempdir().unwrap();
    let (addr, pages) = pager();
    let key = write(folder.path(), "pagerduty-key", "0123456789abcdef0123456789abcdef");
    let slack = write(folder.path(), "slack-url", &format!("http://{addr}/slack"));
    let receiver = block("- name: regionwatch-oncall\n")
        .replace("/etc/alertmanager/secrets/regionwatch/pagerduty-key", &key)
        .replace("/etc/alertmanager/secrets/regionwatch/slack-url", &slack);
    let templates = block("templates:").replace("/etc/alertmanager/regionwatch.tmpl", &path("alerts/regionwatch.tmpl"));
    let text = format!(
        "global: {{pagerduty_url: 'http://{addr}/pagerduty'}}\n{templates}\
         route: {{receiver: regionwatch-oncall, group_wait: 0s, group_by: [alertname]}}\nreceivers:\n{receiver}"
    );
    let config = write(folder.path(), "alertmanager.yml", &text);
    crate::programs::passes("amtool", &["check-config", &config]);
    let listen = free();
    let _running = Running::start(
        "prometheus-alertmanager",
        &[
            &format!("--config.file={config}"),
            &format!("--storage.path={}", folder.path().join("data").display()),
            &format!("--web.listen-address={listen}"),
            "--web.external-url=https://alertmanager.example.com",
            "--web.route-prefix=/",
            "--cluster.listen-address=",
            "--log.level=error",
        ],
        &[],
    );
    eventually("Alertmanager is ready", Duration::from_secs(15), || {
        request(listen, "GET", "/-/ready").filter(|answer| answer.status == 200)
    });
    post(listen, alert);
    eventually("both pages", Duration::from_secs(10), || {
        let taken = pages.lock().unwrap().clone();
        let of = |path: &str| taken.iter().find(|(to, _)| to == path).cloned();
        Some(vec![of("/pagerduty")?, of("/slack")?])
    })
}

/// `BLESS=1 cargo test --test alerts` rewrites the example on the page.
#[test]
fn a_pager_gets_the_title_the_text_and_the_links_that_the_page_shows() {
    require(&[Tool("prometheus-alertmanager"), Tool("amtool")]);
    let pages = pages_of(&execute());
    let (pagerduty, slack) = (&pages[0].1, &pages[1].1["attachments"][0]);
    let title = pagerduty["payload"]["summary"].as_str().unwrap();
    assert_eq!(slack["title"], title);
    assert_eq!(title, "[prod] us-east-1: fail over to eu-central-1");
    let text = pagerduty["payload"]["custom_details"]["text"].as_str().unwrap();
    for (text, link) in [
        ("Runbook", "https://runbooks.example.com/RegionwatchPeerFailover"),
        ("Dashboard", "https://alertmanager.example.com"),
    ] {
        let links = pagerduty["links"].as_array().unwrap();
        assert!(links.iter().any(|one| one["text"] == text && one["href"] == link), "{links:?}");
    }
    assert_eq!(pagerduty["client_url"], "https://regionwatch.example.com/peer/us-east-1");
    let shown = slack["text"].as_str().unwrap();
    assert!(shown.starts_with(text) && !shown.contains("signatures") && !shown.contains("candidates"), "{shown}");
    example("page", &format!("```text\n{title}\n\n{shown}\n```\n"));
}

#[test]
fn a_page_without_a_target_or_annotations_has_a_title_a_text_and_no_empty_link() {
    require(&[Tool("prometheus-alertmanager"), Tool("amtool")]);
    let mut alert = execute();
    alert["annotations"] = json!({});
    alert["labels"]["drill"] = json!("true");
    alert["generatorURL"] = json!("");
    let pages = pages_of(&alert);
    let (pagerduty, slack) = (&pages[0].1, &pages[1].1["attachments"][0]);
    assert_eq!(pagerduty["payload"]["summary"], "[DRILL] [prod] us-east-1: fail over, but no region is eligible");
    assert_eq!(pagerduty["payload"]["custom_details"]["text"], "RegionwatchPeerFailover");
    for link in pagerduty["links"].as_array().unwrap() {
        assert_eq!(link["href"], "https://alertmanager.example.com");
    }
    assert_eq!(slack["title_link"], "https://alertmanager.example.com");
}

/// Compares what is between two marks of the page, or writes it with `BLESS`.
fn example(name: &str, expected: &str) {
    let file = "docs/alertmanager.md";
    let page = read(file);
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = page.split_once(&begin).unwrap();
    let (shown, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("BLESS").is_some() {
        fs::write(path(file), format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(shown, expected, "rewrite {file} with BLESS=1");
    }
}

#[test]
fn the_page_shows_the_values_of_the_chart_as_they_are_shipped() {
    let values = read("alerts/kube-prometheus-stack.values.yaml");
    let (_, body) = values.split_once("\nalertmanager:\n").unwrap();
    example("values", &format!("```yaml\nalertmanager:\n{body}```\n"));
}
