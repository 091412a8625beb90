//! The commands and what they say.

use std::time::Duration;

use testkit::{
    needs::{Need::Ping, check, require},
    process::{eventually, free, get, output, sidecar, write},
};

/// Whether this process, and so the binary, may open ping sockets; in CI it must.
pub(crate) fn may_ping() -> bool {
    check(&[Ping]).is_ok()
}

#[test]
fn a_demo_that_cannot_listen_reports_only_that() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (listen, status, told) in [
        (taken.as_str(), 1, "another program listens there"),
        ("192.0.2.1:9877", 1, "this host does not have that address"),
        ("9999", 64, "write it such as 127.0.0.1:9999"),
        ("localhost:9998", 64, "write it such as 127.0.0.1:9998"),
        ("127.0.0.1", 64, "write it such as 127.0.0.1:9877"),
    ] {
        let output = output(&["demo", "--listen", listen], &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{listen}: {said}");
        assert!(said.contains(told), "{listen}: {said}");
        assert!(output.stdout.is_empty(), "{listen}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn check_prints_what_will_be_measured_and_how_much_of_it() {
    let environment = [("REGIONWATCH_REGION", "here"), ("REGIONWATCH_PEERS", "there=https://there.example/healthz")];
    let output = output(&["check"], &environment);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in ["there.example", "1 peer, 1 target, 4 paths: 10.0 probes per second", "series on /metrics"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn check_takes_six_thousand_targets_in_more_than_a_mebibyte() {
    let folder = tempfile::tempdir().unwrap();
    let target = |n: usize| {
        format!(
            "      - name: target-{n}\n        host: edge-{n}.there.example.com\n        labels: {{team: web}}\n        \
             probes: [{{kind: icmp}}, {{kind: tcp, port: 443}}, {{kind: http, url: \"https://edge-{n}.there.example.com/healthz\"}}]\n"
        )
    };
    let targets: String = (0..6000).map(target).collect();
    let text = format!("region: here\npeers:\n  - region: there\n    targets:\n{targets}");
    assert!(text.len() > 1 << 20);
    let output = output(&["check", "--config", &write(folder.path(), "large.yaml", &text)], &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("1 peer, 6000 targets, 18000 paths: "), "{:?}", output.stderr);
}

#[test]
fn check_probes_each_target_once_and_says_why_a_probe_failed() {
    let folder = tempfile::tempdir().unwrap();
    let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http_port = http.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in http.incoming().flatten() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = std::io::Write::write_all(
                &mut stream,
                b"HTTP/1.1 503 Service Unavailable\r\nAlt-Svc: h3=\":443\"\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    let text = |more: &str| {
        format!(
            "region: here\npeers: [{{region: there, targets: [\n{{name: a, host: 127.0.0.1, probes: [{{kind: tcp, port: {}}}]}}\n{more}]}}]\n",
            open.local_addr().unwrap().port()
        )
    };
    let checked = |name: &str, text: String| {
        let output = output(&["check", "--probe", "--config", &write(folder.path(), name, &text)], &[]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let expected = format!(
        ", {{name: d, host: 127.0.0.1, probes: [{{kind: http, url: 'http://127.0.0.1:{http_port}/', expect: {{status: [503]}}}}]}}\n"
    );
    let (status, said) = checked("http3.yaml", text(&expected));
    assert!(
        status == Some(0) && said.contains("; HTTP/1.1 status 503; the server offers HTTP/3, which is not probed\n"),
        "{said}"
    );
    let (status, said) = checked("good.yaml", text(""));
    assert_eq!(status, Some(0), "{said}");
    let line = said.lines().nth(1).unwrap();
    assert!(line.starts_with("there  a       tcp    ok      ") && line.contains("connect "), "{said}");
    assert!(said.ends_with("\n1 probe succeeded, and none failed.\n"), "{said}");

    let failing = format!(
        ", {{name: b, host: 127.0.0.1, probes: [{{kind: tcp, port: {}}}, {{kind: http, url: 'http://127.0.0.1:{http_port}/'}}]}}\n\
         , {{name: c, host: 127.0.0.1, probes: [{{kind: tcp, port: {http_port}, tls: true}}]}}\n",
        free().port()
    );
    let (status, said) = checked("bad.yaml", text(&failing));
    assert_eq!(status, Some(1), "{said}");
    let words: Vec<_> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "PEER TARGET PROBE RESULT LATENCY DETAIL",
        "there b tcp refused - in phase connect to 127.0.0.1: nothing listens there, or the connection was reset",
        "there b http status - HTTP status 503 from 127.0.0.1",
        "there c tcp tls - in phase tls to 127.0.0.1: the answer is not TLS",
        "3 of 4 probes failed.",
    ] {
        assert!(words.iter().any(|found| found == line), "{line}\n{said}");
    }
}

#[test]
fn a_created_key_signs_and_check_prints_its_public_part() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signing.key").display().to_string();
    let created = output(&["keygen", &file], &[]);
    assert!(created.status.success(), "{created:?}");
    let key = String::from_utf8(created.stdout).unwrap();
    assert!(key.starts_with("ed25519:") && key.lines().count() == 1, "{key}");
    let again = output(&["keygen", &file], &[]);
    assert!(again.status.code() == Some(1) && again.stdout.is_empty(), "{again:?}");
    assert_eq!(String::from_utf8(output(&["keygen", "--public", &file], &[]).stdout).unwrap(), key);
    let peers = "a=https://a.example/,b=https://b.example/";
    let environment = [("REGIONWATCH_REGION", "here"), ("REGIONWATCH_PEERS", peers)];
    let check = |more: &[(&str, &str)]| {
        let output = output(&["check"], &[&environment[..], more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check(&[]);
    assert!(said.contains("has no key to sign orders; create one with regionwatch keygen. No peer has a"), "{said}");
    let other = "a=ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let said = check(&[("REGIONWATCH_SIGNING_KEY_FILE", &file), ("REGIONWATCH_PUBLIC_KEYS", other)]);
    assert!(said.contains(&format!("signs orders with {}. Peers without a public key: b.", key.trim_end())), "{said}");
}

#[test]
fn check_prints_the_number_of_series_of_the_metrics_page() {
    let folder = tempfile::tempdir().unwrap();
    let peers = testkit::peers::start(folder.path());
    let listen = free();
    let text = testkit::peers::configuration(&peers, folder.path(), listen, "");
    let config = write(folder.path(), "c.yaml", &text);
    let said = String::from_utf8(output(&["check", "--config", &config], &[]).stdout).unwrap();
    let told: usize = said.split("about ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let _sidecar = sidecar(&["run", "--config", &config], &[], listen);
    let series = || get(listen, "/metrics").lines().filter(|line| !line.starts_with('#')).count();
    let close = |series: usize| series.abs_diff(told) * 50 <= told;
    require(&[Ping]);
    eventually(&format!("about {told} series"), Duration::from_secs(15), || close(series()).then_some(()));
}

#[test]
fn a_broken_configuration_exits_with_64_and_every_error_before_any_port_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "broken.yaml", "region: \"\"\nlisten: nowhere\npeers: []\n");
    for command in ["check", "run"] {
        let output = output(&[command, "--config", &config], &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        // Each with its line of the file.
        assert_eq!(said.lines().count(), 3 * 3, "{said}");
        assert!(said.contains("\n  2 | listen: nowhere\n    |         ^\n"), "{said}");
        assert!(said.contains("broken.yaml:1:9: region") && said.contains("broken.yaml:2:9: listen"), "{said}");
    }
}

#[test]
fn unreadable_files_and_unknown_flags_are_reported() {
    let missing = output(&["run", "--config", "/nowhere/regionwatch.yaml"], &[]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("does not exist"), "{missing:?}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("latin.yaml"), b"region: a\nzone: \xfc\n").unwrap();
    let latin = output(&["check", "--config", folder.path().join("latin.yaml").to_str().unwrap()], &[]);
    assert!(String::from_utf8_lossy(&latin.stderr).contains("latin.yaml:2: is not UTF-8"), "{latin:?}");
    let flag = output(&["run", "--confg", "x"], &[]);
    assert_eq!(flag.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&flag.stderr).contains("--config"), "{flag:?}");
    let neither = output(&["run"], &[]);
    assert_eq!(neither.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&neither.stderr).contains("REGIONWATCH_PEERS"), "{neither:?}");
}

#[test]
fn check_prints_a_valid_configuration() {
    let environment = [("REGIONWATCH_REGION", "here"), ("REGIONWATCH_PEERS", "there=https://there.example/")];
    let printed = output(&["check", "--print"], &environment);
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "printed.yaml", &String::from_utf8(printed.stdout).unwrap());
    let again = output(&["check", "--config", &config], &[]);
    assert!(again.status.success(), "{again:?}");
}

#[test]
fn healthcheck_follows_the_server() {
    let listen = free();
    let text = listen.to_string();
    let unhealthy = output(&["healthcheck", "--listen", &text], &[]);
    assert_eq!(unhealthy.status.code(), Some(1), "{unhealthy:?}");
    let environment = [
        ("REGIONWATCH_REGION", "here"),
        ("REGIONWATCH_PEERS", "there=http://127.0.0.1:1/"),
        ("REGIONWATCH_LISTEN", &text),
    ];
    let _sidecar = sidecar(&["run"], &environment, listen);
    assert!(output(&["healthcheck"], &environment).status.success());
    assert!(output(&["healthcheck", "--listen", &text], &[]).status.success());
}

#[test]
fn a_bad_edit_of_the_file_does_not_make_a_running_server_unhealthy() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free();
    let good = format!(
        "listen: {listen}\nregion: here\npeers: [{{region: there, targets: [{{host: 127.0.0.1, name: t, probes: [{{kind: tcp, port: 1}}]}}]}}]\n"
    );
    let config = write(folder.path(), "regionwatch.yaml", &good);
    let _sidecar = sidecar(&["run", "--config", &config], &[], listen);
    write(folder.path(), "regionwatch.yaml", &good.replace("kind: tcp", "kind: tpc"));
    let output = output(&["healthcheck", "--config", &config], &[]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn doctor_lists_everything_it_checks() {
    let output = output(&["doctor"], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    for what in
        ["icmp over IPv4", "icmp over IPv6", "kernel timestamps", "IPv6", "open files", "CPU quota", "name servers"]
    {
        assert!(text.contains(what), "{what} in {text}");
    }
}

#[test]
fn a_name_without_an_address_is_logged_with_its_peer() {
    let listen = free();
    let text = listen.to_string();
    let environment = [
        ("REGIONWATCH_REGION", "here"),
        ("REGIONWATCH_PEERS", "there=http://nobody.invalid/"),
        ("REGIONWATCH_LISTEN", &text),
    ];
    let sidecar = sidecar(&["run"], &environment, listen);
    eventually("the warning", Duration::from_secs(20), || {
        let said = sidecar.said();
        let line = said.lines().find(|line| line.contains("nobody.invalid has no address"))?;
        (line.contains("WARN") && line.ends_with("(peer there)")).then_some(())
    });
}

#[test]
fn explain_prints_why_a_region_is_in_its_state() {
    let listen = free();
    let url = format!("http://{listen}");
    let demo = sidecar(&["demo", "--listen", &listen.to_string(), "--kill", "us-east-1"], &[], listen);
    let explained = eventually("us-east-1 is explained as down", Duration::from_secs(40), || {
        let output = output(&["explain", "us-east-1", &url], &[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        text.starts_with("us-east-1 is down since ").then_some(text)
    });
    for part in [
        "vote down",
        "Evidence\n",
        "must agree",
        "Votes\n  eu-west-1 (this vantage): down.",
        "Failover\n  Incident us-east-1-",
    ] {
        assert!(explained.contains(part), "{part} in {explained}");
    }
    // The log says the same, in one line, with the keys that every line has.
    let said = demo.said();
    let line = |parts: &[&str]| said.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line(&["INFO measuring version=", "config=demo", "peers=3", "votes=\"on\"", "alertmanagers="]), "{said}");
    let keys = [" from=suspect to=down reason=", " cause=", " incident=us-east-1-"];
    assert!(line(&["WARN us-east-1 is down: ", "vote down", keys[0], keys[1], keys[2]]), "{said}");
    let unknown = output(&["explain", "nowhere", &url], &[]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("there is no peer nowhere; peers: "), "{said}");
    let away = output(&["explain", "nowhere", &free().to_string()], &[]);
    assert_eq!(away.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&away.stderr).contains("is an instance running there?"), "{away:?}");
}

#[test]
fn status_shows_the_peers_of_every_instance_and_those_that_do_not_answer() {
    let (listen, away) = (free(), free());
    let _demo = sidecar(&["demo", "--listen", &listen.to_string()], &[], listen);
    let text = eventually("all peers are healthy", Duration::from_secs(40), || {
        let output = output(&["status", &format!("http://{listen}")], &[]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("All 3 peers are healthy").then_some(text)
    });
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let head = rows.iter().position(|row| row.first() == Some(&"VANTAGE")).unwrap();
    let peers: Vec<_> = rows[head + 1..head + 4].iter().map(|row| (row[0], row[1], row[2])).collect();
    assert!(peers.contains(&("eu-west-1", "us-east-1", "healthy")), "{text}");

    let two = output(&["status", &listen.to_string(), &away.to_string()], &[]);
    assert_eq!(two.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&two.stdout).contains("us-east-1"), "{two:?}");
    assert!(String::from_utf8_lossy(&two.stderr).contains(&away.to_string()), "{two:?}");
}

#[test]
fn an_error_of_a_flag_names_the_flag_and_not_a_variable() {
    let environment = [("REGIONWATCH_REGION", "here"), ("REGIONWATCH_PEERS", "there=https://there.example/healthz")];
    let refused = output(&["check", "--listen", "foo"], &environment);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64));
    assert!(
        said.starts_with("--listen: \"foo\" is not an address and port; ") && !said.contains("REGIONWATCH_"),
        "{said}"
    );
    let variable = [environment[0], environment[1], ("REGIONWATCH_LISTEN", "foo")];
    let said = output(&["check"], &variable).stderr;
    assert!(String::from_utf8_lossy(&said).starts_with("REGIONWATCH_LISTEN: "));
}
