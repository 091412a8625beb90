//! Responses to well-behaved clients.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    sync::atomic::Ordering,
    time::Duration,
};

use regionwatch::server::{Limits, probe_health};
use testkit::process::free;

use crate::support::{Answer, Prober, Running, Setup, gunzipped};

fn running() -> Running {
    Setup::default().run()
}

#[test]
fn metrics_are_the_same_text_plain_and_in_gzip() {
    let server = Setup { page: 3_000_000, ..Setup::default() }.run();
    let plain = server.get("/metrics");
    assert_eq!(plain.status, 200);
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    assert_eq!(plain.header("content-encoding"), None);
    assert!(plain.body.len() >= 3_000_000);
    // What the process says of itself changes from scrape to scrape.
    let ours = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains("process_")).map(str::to_owned).collect()
    };

    let gzip = server.ask("GET", "/metrics?collect=all", "Accept-Encoding: br, gzip;q=0.8\r\n");
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    assert_eq!(gzip.header("vary"), Some("Accept-Encoding"));
    assert!(gzip.body.len() < plain.body.len() / 5);
    assert!(ours(&String::from_utf8(gunzipped(&gzip.body)).unwrap()) == ours(plain.text()));

    assert_eq!(server.ask("GET", "/metrics", "Accept-Encoding: gzip;q=0\r\n").header("content-encoding"), None);
}

#[test]
fn collect_state_selects_a_small_page_and_a_typo_is_rejected() {
    let server = running();
    let state = server.get("/metrics?collect=state");
    assert!(state.text().contains("regionwatch_build_info{") && !state.text().contains("_bucket"));
    let rest = server.get("/metrics?collect=rest");
    assert!(rest.text().contains("regionwatch_build_info{") && rest.text().contains("_bucket"));
    for query in ["collect=stats", "collect=", "collect=%00%0d%0aX", "collect=all&collect=state"] {
        let answer = server.get(&format!("/metrics?{query}"));
        assert_eq!(answer.status, 400, "{query}");
    }
    let told = server.get("/metrics?collect=stats");
    assert_eq!(told.text(), "collect=\"stats\" is unknown; use all, state or rest\n");
    assert_eq!(server.get("/metrics?other=1").status, 200, "other parameters are the scraper's business");
}

#[test]
fn a_head_request_gets_headers_without_a_body() {
    let server = running();
    for (path, status, length) in
        [("/metrics", 200, None), ("/-/healthy", 200, Some("24")), ("/", 200, None), ("/none", 404, None)]
    {
        let answer = server.ask("HEAD", path, "Accept-Encoding: gzip\r\n");
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{path}");
        if length.is_some() {
            assert_eq!(answer.header("content-length"), length, "{path}");
        }
    }
    let metrics = server.ask("HEAD", "/metrics", "Accept-Encoding: gzip\r\n");
    assert_eq!(metrics.header("content-encoding"), Some("gzip"));
    assert_eq!(metrics.header("content-length"), None, "nobody knows it before the page is made");
}

#[test]
fn health_and_readiness() {
    let server = running();
    assert_eq!(server.get("/-/healthy").text(), "regionwatch is healthy.\n");
    assert_eq!(server.get("/-/ready").status, 200);
    server.set_ready(false);
    assert_eq!(server.get("/-/ready").status, 503);
    assert_eq!(server.get("/-/healthy").status, 200);
}

#[test]
fn unknown_paths_list_the_available_ones_and_wrong_methods_the_allowed_ones() {
    let server = running();
    let lost = server.get("/metric");
    assert_eq!(lost.status, 404);
    assert!(lost.text().contains("/metrics[?collect=all|state|rest]"));
    for (method, path, allow) in [
        ("POST", "/metrics", "GET, HEAD"),
        ("DELETE", "/api/v1/probes", "GET, HEAD"),
        ("OPTIONS", "/", "GET, HEAD"),
        ("GET", "/-/reload", "POST, PUT"),
        ("GET", "/api/v1/commands", "POST"),
    ] {
        let answer = server.ask(method, path, "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
}

#[test]
fn a_command_is_carried_out_only_if_an_operator_has_signed_it() {
    let server = running();
    let ask = |header: &str| server.ask("POST", "/api/v1/commands", &format!("Content-Length: 0\r\n{header}"));
    let (done, forged, without) =
        (ask("regionwatch-command: signed\r\n"), ask("regionwatch-command: forged\r\n"), ask(""));
    assert_eq!((done.status, done.text()), (200, "done\n"));
    assert_eq!((forged.status, forged.text()), (403, "refused: the signature is not that of the operator\n"));
    assert_eq!(without.status, 400);
}

#[test]
fn a_reload_succeeds_fails_times_out_or_is_disabled() {
    let reload = |lifecycle, prober| {
        let limits = Limits { reload_timeout: Duration::from_millis(100), ..Limits::default() };
        let answer = Setup { lifecycle, prober, limits, ..Setup::default() }.run().ask("POST", "/-/reload", "");
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(reload(true, Prober::Answers).0, 200);
    let (status, text) = reload(true, Prober::RefusesReload);
    assert_eq!(status, 500);
    assert!(text.contains("regions.yml:3: peers: is empty\nregions.yml:9: zone: unknown"));
    assert_eq!(reload(true, Prober::Silent).0, 503);
    assert_eq!(
        reload(false, Prober::Answers),
        (403, "Lifecycle API is not enabled; start with --enable-lifecycle.\n".to_owned())
    );
    assert_eq!(running().ask("PUT", "/-/reload", "Content-Length: 0\r\n").status, 200);
}

#[test]
fn probes_are_served_as_json_and_a_failure_has_no_duration() {
    let server = running();
    let answer = server.get("/api/v1/probes?path=us-east-1/edge-7/tcp");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        answer.text(),
        concat!(
            r#"{"probes":[{"peer_region":"us-east-1","target":"edge-7","probe":"tcp","samples":["#,
            r#"{"sent_at":"2026-11-21T03:04:05.123456Z","result":"ok","duration_seconds":0.080012,"#,
            r#""phases":{"connect":0.080012},"clock":"kernel"},"#,
            r#"{"sent_at":"2026-11-21T03:04:05.373456Z","result":"timeout","failed_in":"connect"}]}]}"#,
            "\n"
        )
    );
    let count = |query: &str| {
        let answer = server.ask("GET", &format!("/api/v1/probes{query}"), "Accept-Encoding: gzip\r\n");
        let value: serde_json::Value = serde_json::from_slice(&gunzipped(&answer.body)).unwrap();
        value["probes"].as_array().unwrap().len()
    };
    assert_eq!(count(""), 100);
    assert_eq!(count("?paths=10000"), 10_000);
    assert_eq!(count("?probe=icmp"), 0);
    assert_eq!(server.get("/api/v1/probes?peer=a%22b").status, 400);
}

#[test]
fn nothing_is_copied_for_a_request_for_probes_that_wants_no_body() {
    let server = running();
    let answer = server.ask("HEAD", "/api/v1/probes?paths=10000", "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(server.ask("HEAD", "/api/v1/probes?paths=x", "").status, 400);
    assert_eq!(server.copies.histories.load(Ordering::Relaxed), 0);
    assert_eq!(server.get("/api/v1/probes").status, 200);
    assert_eq!(server.copies.histories.load(Ordering::Relaxed), 1);
}

#[test]
fn a_request_for_probes_times_out_if_the_engine_is_silent() {
    let limits = Limits { query_timeout: Duration::from_millis(100), histories: 2, ..Limits::default() };
    let server = Setup { prober: Prober::Silent, limits, ..Setup::default() }.run();
    // More than fit into the channel to the probing thread.
    for _ in 0..8 {
        assert_eq!(server.get("/api/v1/probes").status, 503);
    }
    assert_eq!(server.get("/metrics").status, 200);
    server.settles();
}

#[test]
fn http_1_0_and_connection_close_are_supported() {
    let server = running();
    let answer = Answer::parse(&server.raw("GET /metrics HTTP/1.0\r\n\r\n"));
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    assert!(answer.body.len() >= 200_000);
    assert_eq!(server.get("/-/healthy").header("connection"), Some("close"));
    server.settles();
}

#[test]
fn a_half_closed_client_gets_the_whole_page() {
    let server = Setup { page: 5_000_000, ..Setup::default() }.run();
    let mut stream = server.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // The process's own metrics change from page to page, and with them its length.
    let lines = |answer: &Answer| answer.body.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines(&Answer::parse(&answer)), lines(&server.get("/metrics")));
    server.settles();
}

#[test]
fn a_connection_is_kept_alive_for_the_next_scrape() {
    let server = running();
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"healthy.\n") {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0);
            answer.extend_from_slice(&buffer[..read]);
        }
    }
    assert_eq!(server.stats().connections(), 1);
}

#[test]
fn the_health_check_probes_the_given_address_and_times_out() {
    let server = running();
    // Long, because only a silent server takes that long.
    let limit = Duration::from_secs(20);
    assert_eq!(probe_health(server.addr, limit), Ok(()));
    let unspecified = ([0, 0, 0, 0], server.addr.port()).into();
    assert_eq!(probe_health(unspecified, limit), Ok(()));

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = probe_health(silent.local_addr().unwrap(), Duration::from_millis(100)).unwrap_err();
    assert!(error.contains("no answer within 100ms"), "{error}");

    // Not the port from before, which another test may have got meanwhile.
    let error = probe_health(free(), limit).unwrap_err();
    assert!(error.contains("refused"), "{error}");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        // An answer that comes before its request is none.
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let error = probe_health(addr, limit).unwrap_err();
    assert!(error.contains("503"), "{error}");
    stranger.join().unwrap();
}

#[test]
fn an_explanation_of_an_unknown_region_is_a_404_that_names_the_peers() {
    let server = running();
    let answer = server.get("/api/v1/explain?region=nowhere");
    assert_eq!(answer.status, 404);
    assert!(answer.text().starts_with("there is no peer nowhere; peers: us-east-1"), "{}", answer.text());
    for query in ["", "?region=", "?region=a%22b", "?peer=us-east-1", "?region=us-east-1&x=1"] {
        for path in ["/explain", "/api/v1/explain"] {
            assert_eq!(server.get(&format!("{path}{query}")).status, 400, "{path}{query}");
        }
    }
}
