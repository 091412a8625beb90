//! A real Prometheus scrapes the sidecar while it measures real servers.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use regionwatch::metrics::FAMILIES;
use serde_json::Value;
use testkit::{
    peers,
    process::{Running, escaped, eventually, free, get, request, sidecar, value, write},
};

fn query(prometheus: std::net::SocketAddr, expression: &str) -> Vec<(Value, f64)> {
    let Some(answer) = request(prometheus, "GET", &format!("/api/v1/query?query={}", escaped(expression))) else {
        return Vec::new();
    };
    let answer: Value = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
    let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    let number = |row: &Value| row["value"][1].as_str().and_then(|text| text.parse().ok());
    rows.iter().filter_map(|row| Some((row["metric"].clone(), number(row)?))).collect()
}

#[test]
fn prometheus_holds_histograms_of_all_four_protocols_measured_against_real_servers() {
    let folder = tempfile::tempdir().unwrap();
    let peers = peers::start(folder.path());
    let (listen, prometheus) = (free(), free());
    let extra = format!("location: {{latitude: 53.3, longitude: -6.3}}\nanchors: ['tcp://{}']", peers.web);
    let config = write(folder.path(), "regionwatch.yaml", &peers::configuration(&peers, folder.path(), listen, &extra));
    let _sidecar = sidecar(&["run", "--config", &config], &[], listen);
    let scrape = write(
        folder.path(),
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}\n\
             scrape_configs:\n\
             - {{job_name: regionwatch, static_configs: [{{targets: ['{listen}']}}]}}\n\
             - {{job_name: state, metrics_path: /metrics, params: {{collect: [state]}}, static_configs: [{{targets: ['{listen}']}}]}}\n"
        ),
    );
    let storage = folder.path().join("data");
    let _prometheus = Running::start(
        "prometheus",
        &[
            &format!("--config.file={scrape}"),
            &format!("--storage.tsdb.path={}", storage.display()),
            &format!("--web.listen-address={prometheus}"),
            "--log.level=error",
        ],
        &[],
    );
    let patience = Duration::from_secs(30);
    // ICMP needs a ping socket or CAP_NET_RAW; CI has them.
    let kinds: &[&str] =
        if crate::commands::may_ping() { &["icmp", "dns", "tcp", "http"] } else { &["dns", "tcp", "http"] };
    for kind in kinds {
        let expression = format!(
            "histogram_quantile(0.5, sum by (le) (rate(regionwatch_probe_duration_seconds_bucket{{job=\"regionwatch\",probe=\"{kind}\",target=\"edge-a\"}}[5s])))"
        );
        let (_, median) = eventually(&format!("a median of {kind}"), patience, || {
            query(prometheus, &expression).into_iter().find(|(_, value)| value.is_finite())
        });
        assert!(median > 0.0 && median < 0.05, "{kind}: {median}");
    }
    eventually("both jobs are up", patience, || (query(prometheus, "up == 1").len() == 2).then_some(()));
    let labels = "sum by (vantage_region, peer_region, target, probe) (regionwatch_probes_total{result=\"ok\"}) > 0";
    let rows = eventually("all paths have succeeded", patience, || {
        Some(query(prometheus, labels)).filter(|rows| rows.len() == kinds.len() + 2)
    });
    for (labels, _) in rows {
        assert_eq!((labels["vantage_region"].as_str(), labels["peer_region"].as_str()), (Some("here"), Some("there")));
    }
    // A family that Prometheus does not know was never exposed.
    for family in FAMILIES {
        let series = match family.kind {
            "histogram" => format!("{}_bucket", family.name),
            "summary" if family.labels != "quantile" => format!("{}_count", family.name),
            _ => family.name.to_owned(),
        };
        let known = !query(prometheus, &series).is_empty();
        let needs_ping = family.name.contains("duplicates") || family.name.contains("hop_limit");
        // None is configured here; tests/push has them.
        let needs_alertmanager = family.labels.contains("alertmanager");
        // Nothing is ordered or signed here; signed_orders.rs has it.
        let needs_keys = ["regionwatch_order_signatures", "regionwatch_signing_key_known"].contains(&family.name);
        // No votes are read here; tests/failover has them.
        let needs_votes = family.name == "regionwatch_peer_clock_offset_seconds";
        // None is configured here; tests/databases has them.
        let needs_database = family.name.starts_with("regionwatch_database_");
        assert!(
            known
                || needs_votes
                || needs_database
                || needs_alertmanager
                || needs_keys
                || (needs_ping && kinds.len() < 4),
            "{}",
            family.name
        );
    }
}

#[test]
fn promtool_accepts_the_metrics_pages() {
    let folder = tempfile::tempdir().unwrap();
    let peers = peers::start(folder.path());
    let listen = free();
    let config = write(folder.path(), "regionwatch.yaml", &peers::configuration(&peers, folder.path(), listen, ""));
    let _sidecar = sidecar(&["run", "--config", &config], &[], listen);
    eventually("probes have ended", Duration::from_secs(10), || {
        value(&get(listen, "/metrics"), "regionwatch_peer_latency_seconds")
    });
    for path in ["/metrics", "/metrics?collect=state"] {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("promtool: {error}; install Debian's package prometheus"));
        promtool.stdin.take().unwrap().write_all(get(listen, path).as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.is_empty(), "{path}: {said}");
    }
}

#[test]
fn a_lost_probe_exports_no_latency_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free();
    let closed = free();
    let text = format!(
        "region: here\nlisten: {listen}\npeers: [{{region: there, targets: [{{host: 127.0.0.1, name: t, probes: [\
         {{kind: tcp, port: {}, interval: 50ms}}, {{kind: http, url: \"http://{closed}/\", interval: 50ms}}]}}]}}]\n",
        closed.port()
    );
    let config = write(folder.path(), "regionwatch.yaml", &text);
    let _sidecar = sidecar(&["run", "--config", &config], &[], listen);
    let refused = "regionwatch_probes_total{vantage_region=\"here\",peer_region=\"there\",target=\"t\",probe=\"http\",result=\"refused\"}";
    eventually("failures, all of them answered", Duration::from_secs(15), || {
        let page = get(listen, "/metrics");
        let ratio = |of: &str| {
            let labels = "{vantage_region=\"here\",peer_region=\"there\",probe=\"http\"}";
            value(&page, &format!("regionwatch_peer_{of}_ratio{labels}"))
        };
        // What is refused has failed, and is not lost.
        (value(&page, refused)? >= 3.0 && (ratio("failure"), ratio("loss")) == (Some(1.0), Some(0.0))).then_some(())
    });
    let page = get(listen, "/metrics");
    for absent in ["regionwatch_peer_latency_seconds{", "regionwatch_probe_last_success_timestamp_seconds{"] {
        assert!(!page.contains(absent), "{absent}");
    }
    let counts: Vec<_> = page
        .lines()
        .filter(|line| {
            line.starts_with("regionwatch_probe_duration_seconds_") || line.starts_with("regionwatch_probe_phase")
        })
        .collect();
    assert!(
        counts.len() > 20 && counts.iter().all(|line| line.ends_with(" 0") || line.ends_with(" 0.0")),
        "{counts:#?}"
    );
}
