//! Reload, shutdown, and what a running sidecar says of itself.

use std::{net::SocketAddr, time::Duration};

use testkit::{
    binary, peers,
    process::{Running, eventually, free, get, request, sidecar, value, write},
};

const PATIENCE: Duration = Duration::from_secs(15);

fn count(addr: SocketAddr, target: &str, kind: &str) -> Option<f64> {
    let series = format!(
        "regionwatch_probes_total{{vantage_region=\"here\",peer_region=\"there\",target=\"{target}\",probe=\"{kind}\",result=\"ok\"}}"
    );
    value(&get(addr, "/metrics"), &series)
}

#[test]
fn a_reload_keeps_unchanged_targets_adds_new_ones_and_removes_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let peers = peers::start(folder.path());
    let listen = free();
    let text = peers::configuration(&peers, folder.path(), listen, "enable_lifecycle: true");
    let config = write(folder.path(), "regionwatch.yaml", &text);
    let sidecar = sidecar(&["run", "--config", &config], &[], listen);
    let before = eventually("tcp probes", PATIENCE, || count(listen, "edge-a", "tcp").filter(|n| *n >= 5.0));

    let changed = text.replace("name: edge-b", "name: edge-c");
    write(folder.path(), "regionwatch.yaml", &changed);
    sidecar.signal("HUP");
    eventually("the new target", PATIENCE, || count(listen, "edge-c", "http").filter(|n| *n > 0.0));
    assert!(count(listen, "edge-a", "tcp").unwrap() >= before);
    assert_eq!(count(listen, "edge-b", "http"), None);
    // The window was kept: the median is there at once, and not only after the next tick.
    assert!(get(listen, "/metrics").contains("regionwatch_peer_latency_seconds{"));

    // And back, by the other way.
    write(folder.path(), "regionwatch.yaml", &text);
    assert_eq!(request(listen, "POST", "/-/reload").unwrap().status, 200);
    assert!(count(listen, "edge-a", "tcp").unwrap() >= before);
    assert!(count(listen, "edge-b", "http").is_some() && count(listen, "edge-c", "http").is_none());
}

#[test]
fn sighup_reads_included_files_again_and_an_error_names_the_one_that_it_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let peers = peers::start(folder.path());
    let listen = free();
    let text = peers::configuration(&peers, folder.path(), listen, "enable_lifecycle: true");
    write(folder.path(), "fleet.yaml", &text);
    let config = write(folder.path(), "regionwatch.yaml", "include: [fleet.yaml]\n");
    let sidecar = sidecar(&["run", "--config", &config], &[], listen);
    eventually("tcp probes", PATIENCE, || count(listen, "edge-a", "tcp").filter(|n| *n > 0.0));

    write(folder.path(), "fleet.yaml", &text.replace("name: edge-b", "name: edge-c"));
    sidecar.signal("HUP");
    eventually("the new target", PATIENCE, || count(listen, "edge-c", "http").filter(|n| *n > 0.0));
    eventually("the page of the configuration", PATIENCE, || {
        let page = get(listen, "/config");
        (page.contains("edge-c") && !page.contains("edge-b")).then_some(())
    });

    write(folder.path(), "fleet.yaml", &text.replace("interval: 100ms", "interval: 100"));
    let answer = request(listen, "POST", "/-/reload").unwrap();
    let place = format!("{}/fleet.yaml:", folder.path().display());
    let errors: Vec<_> = answer.body.lines().filter(|line| line.contains("has no unit")).collect();
    assert!(errors.len() == 6 && errors.iter().all(|line| line.contains(&place)), "{}", answer.body);

    // Nothing is waited for at the other end of a pipe.
    std::fs::remove_file(folder.path().join("fleet.yaml")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.path().join("fleet.yaml")).status().unwrap().success());
    let answer = request(listen, "POST", "/-/reload").unwrap();
    assert!(answer.body.contains("include[0]: \"fleet.yaml\" is a named pipe"), "{}", answer.body);
}

#[test]
fn a_reload_of_an_invalid_file_changes_nothing_and_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let peers = peers::start(folder.path());
    let listen = free();
    let text = peers::configuration(&peers, folder.path(), listen, "enable_lifecycle: true");
    let config = write(folder.path(), "regionwatch.yaml", &text);
    let sidecar = sidecar(&["run", "--config", &config], &[], listen);
    eventually("tcp probes", PATIENCE, || count(listen, "edge-a", "tcp").filter(|n| *n >= 2.0));
    let successful = || value(&get(listen, "/metrics?collect=state"), "regionwatch_config_last_reload_successful");
    assert_eq!(successful(), Some(1.0));

    write(folder.path(), "regionwatch.yaml", &text.replace("interval: 100ms", "interval: 100"));
    let answer = request(listen, "POST", "/-/reload").unwrap();
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body.matches("has no unit").count(), 6, "{}", answer.body);
    assert_eq!(successful(), Some(0.0));
    let before = count(listen, "edge-a", "tcp").unwrap();
    eventually("probing goes on", PATIENCE, || count(listen, "edge-a", "tcp").filter(|n| *n > before + 2.0));
    assert!(sidecar.said().contains("the previous one stays in force"), "{}", sidecar.said());

    // What cannot change while running is refused as a whole.
    write(folder.path(), "regionwatch.yaml", &text.replace("region: here", "region: elsewhere"));
    let answer = request(listen, "POST", "/-/reload").unwrap();
    assert_eq!(answer.status, 500);
    let told = format!("{config}:1:9: region: is here and cannot become elsewhere while running; restart instead");
    assert!(answer.body.contains(&told), "{}", answer.body);

    write(folder.path(), "regionwatch.yaml", &text);
    assert_eq!(request(listen, "POST", "/-/reload").unwrap().status, 200);
    assert_eq!(successful(), Some(1.0));
}

#[test]
fn reloading_over_http_is_off_by_default() {
    let listen = free();
    let environment = [
        ("REGIONWATCH_REGION", "here"),
        ("REGIONWATCH_PEERS", "there=http://127.0.0.1:1/"),
        ("REGIONWATCH_LISTEN", "x"),
    ];
    let listen_text = listen.to_string();
    let _sidecar = sidecar(&["run", "--listen", &listen_text], &environment, listen);
    let answer = request(listen, "POST", "/-/reload").unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("--enable-lifecycle"), "{}", answer.body);
}

#[test]
fn sigterm_completes_the_scrape_and_exits_with_0_within_a_second() {
    let listen = free();
    let listen_text = listen.to_string();
    let environment = [("REGIONWATCH_REGION", "here"), ("REGIONWATCH_PEERS", "there=http://127.0.0.1:1/")];
    for signal in ["TERM", "INT"] {
        let mut sidecar = sidecar(&["run", "--listen", &listen_text], &environment, listen);
        let scrape = std::thread::spawn(move || get(listen, "/metrics"));
        assert!(scrape.join().unwrap().contains("regionwatch_build_info"));
        sidecar.signal(signal);
        // A second, and what a busy machine needs besides.
        assert_eq!(sidecar.ends_within(Duration::from_secs(3)), 0);
    }
}

#[test]
fn a_port_in_use_is_reported_with_the_cause() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut running = Running::start(binary(), &["demo", "--listen", &addr], &[]);
    assert_eq!(running.ends_within(Duration::from_secs(5)), 1);
    assert!(running.said().contains("another program listens there"), "{}", running.said());
}

#[test]
fn the_last_probes_of_a_path_are_served_with_their_phases() {
    let folder = tempfile::tempdir().unwrap();
    let peers = peers::start(folder.path());
    let listen = free();
    let config = write(folder.path(), "c.yaml", &peers::configuration(&peers, folder.path(), listen, ""));
    let _sidecar = sidecar(&["run", "--config", &config], &[], listen);
    eventually("three https probes", PATIENCE, || count(listen, "edge-b", "http").filter(|n| *n >= 3.0));
    let answer = get(listen, "/api/v1/probes?path=there/edge-b/http");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let path = &answer["probes"][0];
    assert_eq!((path["peer_region"].as_str(), path["probe"].as_str()), (Some("there"), Some("http")));
    let sample = &path["samples"][0];
    assert_eq!((sample["result"].as_str(), sample["clock"].as_str()), (Some("ok"), Some("kernel")));
    for phase in ["connect", "tls", "processing", "transfer"] {
        assert!(sample["phases"][phase].as_f64().is_some(), "{phase} in {sample}");
    }
    assert_eq!(answer["probes"].as_array().unwrap().len(), 1);
}
