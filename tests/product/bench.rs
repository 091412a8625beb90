//! `bench` as a newcomer and a pipeline run it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use testkit::{
    binary,
    process::{Running, eventually, output},
};

/// A web server that answers after a delay, for the life of the tests, and how many answers it has given.
fn counting_web(delay: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&answers);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                thread::sleep(delay);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
                counted.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    (address, answers)
}

fn web(delay: Duration) -> SocketAddr {
    counting_web(delay).0
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_command_without_a_file_ranks_regions() {
    let (fast, slow) = (web(Duration::from_millis(5)), web(Duration::from_millis(80)));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (json, csv, markdown) = (file("r.json"), file("r.csv"), file("r.md"));
    let (fast, slow) = (format!("fast=http://{fast}/"), format!("slow=http://{slow}/"));
    let run = output(
        &[
            "bench",
            "--samples",
            "100",
            "--rate",
            "30",
            "--target",
            &slow,
            "--target",
            &fast,
            "--out",
            &json,
            "--out",
            &csv,
            "--out",
            &markdown,
        ],
        &[],
    );
    let table = text(&run.stdout);
    assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
    assert!(table.starts_with("200 probes of 2 regions in ") && !table.contains('\x1b'), "{table}");
    let rows: Vec<_> = table.lines().filter(|line| line.ends_with(" 0 of 100")).collect();
    assert!(rows.len() == 2 && rows[0].starts_with("   1  fast ") && rows[1].starts_with("   2  slow "), "{table}");
    assert!(table.contains("\nMEDIAN PHASES"), "{table}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["rankings"][0]["regions"][0]["region"], "fast");
    assert!(std::fs::read_to_string(&csv).unwrap().lines().nth(1).unwrap().starts_with("http,fast,1,1,"));
    assert!(std::fs::read_to_string(&markdown).unwrap().contains("| **1** | **fast** | "));
}

#[test]
fn an_interrupted_run_prints_what_there_is() {
    let (web, answers) = counting_web(Duration::ZERO);
    let target = format!("here=http://{web}/");
    let mut run = Running::start(binary(), &["bench", "--duration", "1h", "--target", &target], &[]);
    eventually("ten answers", Duration::from_secs(30), || (answers.load(Ordering::Relaxed) >= 10).then_some(()));
    run.signal("INT");
    assert_eq!(run.ends_within(Duration::from_secs(20)), 130, "{}", run.said());
    assert!(run.said().contains("\n   1  here  ") || run.said().contains("probes of 1 region in"), "{}", run.said());
}

#[test]
fn the_threshold_that_ended_a_run_is_broken_in_every_report() {
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("junit.xml").display().to_string();
    // What has been sent counts: after two seconds, five probes have been answered. On a machine that was busy for one of
    // them, ten were sent.
    let target = format!("slow=http://{}/", web(Duration::from_millis(1500)));
    let common = ["bench", "--target", &target, "--rate", "10", "--duration", "10s", "--out", &junit, "--threshold"];
    let run = output(&[&common[..], &["probes: rate>3 abortOnFail delayAbortEval=2s"]].concat(), &[]);
    assert!(run.status.success(), "{run:?}");
    let run = output(&[&common[..], &["probes: count<15 abortOnFail"]].concat(), &[]);
    assert_eq!(run.status.code(), Some(99), "{run:?}");
    let report = std::fs::read_to_string(&junit).unwrap();
    assert!(report.contains("<failure") && report.contains("it ended the run after "), "{report}");
    assert!(text(&run.stdout).contains("it ended the run after "), "{run:?}");
}

#[test]
fn a_target_that_cannot_be_measured_is_an_error_before_any_probe() {
    for (args, told) in [
        (&["bench"][..], "write --target us=https://us.example.com/healthz"),
        (&["bench", "--target", "us.example.com"], "has no region; write REGION=URL"),
        (&["bench", "--target", "us=gopher://a"], "has an unknown scheme; write one such as http://"),
        (&["bench", "--target", "us=http://a/", "--rate", "0"], "write probes per second, such as 10"),
        (&["bench", "--target", "us=http://a/", "--duration", "10"], "has no unit; write a duration such as"),
        (&["bench", "--target", "us=http://a/", "--out", "/nowhere/r.json"], "--out /nowhere/r.json: No such file"),
        (&["bench", "--target", "us=http://a/", "--out", "report"], "write FORMAT=FILE"),
        (
            &["bench", "--target", "us=http://a/", "--threshold", "probe_duration{phase=\"tsl\"}: p(95)<50"],
            "selects nothing; there is {peer_region=\"us\"",
        ),
        (&["bench", "--target", "us=http://a/", "--config", "x.yaml"], "cannot be used with"),
    ] {
        let run = output(args, &[("REGIONWATCH_PEERS", "")]);
        let said = text(&run.stderr);
        assert_eq!(run.status.code(), Some(64), "{args:?}: {said}");
        assert!(said.contains(told) && run.stdout.is_empty(), "{args:?}: {said}");
    }
}

#[test]
fn a_configuration_is_measured_and_a_region_that_refuses_is_never_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let probe = |port| format!("targets: [{{host: 127.0.0.1, probes: [{{kind: tcp, port: {port}}}]}}]");
    let (alive, dead) = (probe(web(Duration::ZERO).port()), probe(testkit::process::free().port()));
    let text_of = format!("region: here\npeers:\n  - {{region: alive, {alive}}}\n  - {{region: dead, {dead}}}\n");
    let config = testkit::process::write(folder.path(), "c.yaml", &text_of);
    let run = output(&["bench", "--config", &config, "--samples", "20", "--rate", "20", "--format", "csv"], &[]);
    let csv = text(&run.stdout);
    let rows: Vec<_> = csv.lines().skip(1).collect();
    assert!(run.status.success() && rows.len() == 2, "{run:?}");
    assert!(rows[0].starts_with("tcp,alive,1,1,"), "{csv}");
    // A failure is no number: its quantiles have a lower end alone.
    assert!(rows[1].starts_with("tcp,dead,,,,,,,1000.000000,,,") && rows[1].ends_with(",refused 20"), "{csv}");
    let only_dead = text_of.lines().filter(|line| !line.contains("alive")).collect::<Vec<_>>().join("\n");
    let config = testkit::process::write(folder.path(), "d.yaml", &only_dead);
    let run = output(&["bench", "--config", &config, "--samples", "5"], &[]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(text(&run.stderr).contains("no probe of any region succeeded"), "{run:?}");
}

#[test]
fn a_cold_start_without_an_engine_says_what_to_type() {
    let environment = [("DOCKER_HOST", "unix:///nowhere/docker.sock")];
    let run = output(&["coldstart", "app"], &environment);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(said.contains("no container engine answers at /nowhere/docker.sock: No such file"), "{said}");
    assert!(said.contains("name its socket with --engine unix:///PATH or DOCKER_HOST"), "{said}");
    for (args, told) in [
        (&["coldstart", "app", "--engine", "tcp://a:2375"][..], "write unix:///PATH"),
        (&["coldstart", "app", "app"], "two images have the same name"),
        (&["coldstart", "app", "--probe", "http://a/"], "has the host \"a\", which is that of each container"),
        (&["coldstart", "app", "--memory", "1"], "write one such as 256MiB or 1GiB"),
        (&["coldstart", "app", "--publish", "--probe", "icmp://"], "--publish leads to TCP ports only"),
    ] {
        let run = output(args, &environment);
        assert_eq!(run.status.code(), Some(64), "{args:?}: {run:?}");
        assert!(text(&run.stderr).contains(told), "{args:?}: {run:?}");
    }
}
