//! Files that cannot be read, and requests that other sites make.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

use testkit::{
    binary,
    lease::Lease,
    process::{Running, eventually, free, get, output, request, sidecar, value, write},
};
use tokio::time::Instant;

const KEY: &str = "0123456789abcdef0123456789abcdef\n";

fn configuration(folder: &Path, listen: SocketAddr) -> String {
    let text = format!(
        "region: here\nlisten: {listen}\nenable_lifecycle: true\nvotes: {{key_file: votes.key}}\n\
         peers: [{{region: there, targets: [{{host: 127.0.0.1, probes: [{{kind: tcp, port: 1, interval: 100ms}}]}}]}}]\n"
    );
    let key = write(folder, "votes.key", KEY);
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    write(folder, "c.yaml", &text)
}

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// The configuration itself, and a file that it names.
#[test]
fn a_reload_that_hangs_fails_after_a_deadline_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free();
    let config = configuration(folder.path(), listen);
    let mut sidecar = sidecar(&["run", "--config", &config], &[], listen);
    let successful = || value(&get(listen, "/metrics?collect=state"), "regionwatch_config_last_reload_successful");
    for name in ["c.yaml", "votes.key"] {
        let path = folder.path().join(name);
        let lease = Lease::take(&path);
        let start = Instant::now();
        sidecar.signal("HUP");
        eventually("the reload has failed", Duration::from_secs(9), || (successful() == Some(0.0)).then_some(()));
        assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
        let line = format!("{}: was not read within 5 s", path.display());
        assert_eq!(sidecar.said().matches(&line).count(), 1, "{}", sidecar.said());
        // It is reported to who asked over HTTP, too.
        if name == "c.yaml" {
            let answer = request(listen, "POST", "/-/reload").unwrap();
            assert!(answer.status == 500 && answer.body.contains(&line), "{} {}", answer.status, answer.body);
        }
        drop(lease);
        assert_eq!(request(listen, "POST", "/-/reload").unwrap().status, 200);
        assert_eq!(successful(), Some(1.0));
    }
    let _lease = Lease::take(Path::new(&config));
    sidecar.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    sidecar.signal("TERM");
    // A second, and what a busy machine needs besides.
    assert_eq!(sidecar.ends_within(Duration::from_secs(3)), 0);
}

#[test]
fn a_named_pipe_is_refused_at_a_reload_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free();
    let config = configuration(folder.path(), listen);
    let text = fs::read_to_string(&config).unwrap();
    let _sidecar = sidecar(&["run", "--config", &config], &[], listen);
    pipe(Path::new(&config));
    let answer = request(listen, "POST", "/-/reload").unwrap();
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains(&format!("{config}: is a named pipe and not a regular file")), "{}", answer.body);
    let page = get(listen, "/metrics?collect=state");
    assert_eq!(value(&page, "regionwatch_config_last_reload_successful"), Some(0.0));
    fs::remove_file(&config).unwrap();
    write(folder.path(), "c.yaml", &text);
    assert_eq!(request(listen, "POST", "/-/reload").unwrap().status, 200);
}

#[test]
fn check_and_run_end_with_a_clear_error_if_a_file_is_a_pipe_or_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), free());
    let ends_with = |status: i32, arguments: &[&str], limit: u64, told: &str| {
        let mut running = Running::start(binary(), arguments, &[]);
        assert_eq!(running.ends_within(Duration::from_secs(limit)), status, "{}", running.said());
        assert!(running.said().contains(told), "{}", running.said());
    };
    let ends = |arguments: &[&str], limit, told: &str| ends_with(64, arguments, limit, told);
    let pipe_path = folder.path().join("pipe");
    pipe(&pipe_path);
    let (pipe_path, directory) = (pipe_path.display().to_string(), folder.path().display().to_string());
    for command in ["check", "run"] {
        for (path, told) in
            [(pipe_path.as_str(), "is a named pipe"), (&directory, "is a directory"), ("/dev/zero", "is a device")]
        {
            ends(&[command, "--config", path], 3, &format!("{path}: {told} and not a regular file"));
        }
        for name in ["c.yaml", "votes.key"] {
            let _lease = Lease::take(&folder.path().join(name));
            ends(&[command, "--config", &config], 9, &format!("{name}: was not read within 5 s"));
        }
    }
    let lease = Lease::take(&folder.path().join("votes.key"));
    let key = folder.path().join("votes.key").display().to_string();
    ends_with(1, &["keygen", "--public", &key], 9, "votes.key: was not read within 5 s");
    drop(lease);
    pipe(&folder.path().join("votes.key"));
    ends_with(1, &["keygen", "--public", &key], 3, "votes.key: is a named pipe");
    ends(&["check", "--config", &config], 3, "votes.key_file: \"votes.key\" is a named pipe and not a regular file");
}

#[test]
fn a_trust_store_that_hangs_ends_a_start_and_a_reload_by_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free();
    let config = configuration(folder.path(), listen);
    let plain = fs::read_to_string(&config).unwrap();
    let verifies = plain.replace("kind: tcp, port: 1", "kind: tcp, port: 1, tls: true");
    let store = folder.path().join("store.pem");
    let (key, store_path) = (folder.path().join("ca.key"), store.display().to_string());
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=ca", "-out", &store_path, "-keyout"]);
    assert!(openssl.arg(&key).output().unwrap().status.success());
    let environment = [("SSL_CERT_FILE", store_path.as_str())];
    let late = "store.pem: was not read within 5 s";
    {
        let _lease = Lease::take(&store);
        write(folder.path(), "c.yaml", &verifies);
        let mut start = Running::start(binary(), &["run", "--config", &config], &environment);
        assert_ne!(start.ends_within(Duration::from_secs(9)), 0, "{}", start.said());
        assert!(start.said().contains(late), "{}", start.said());
    }
    write(folder.path(), "c.yaml", &plain);
    let lease = Lease::take(&store);
    let running = sidecar(&["run", "--config", &config], &environment, listen);
    write(folder.path(), "c.yaml", &verifies);
    running.signal("HUP");
    let probes = || value(&get(listen, "/metrics"), "regionwatch_probe_start_delay_seconds_count").unwrap();
    let before = probes();
    eventually("the reload has failed", Duration::from_secs(9), || running.said().contains(late).then_some(()));
    assert!(probes() > before + 20.0, "measuring goes on");
    drop(lease);
    assert_eq!(request(listen, "POST", "/-/reload").unwrap().status, 200);
}

#[test]
fn a_trust_store_that_is_named_and_missing_ends_a_start_and_fails_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free();
    let config = configuration(folder.path(), listen);
    let plain = fs::read_to_string(&config).unwrap();
    let verifies = plain.replace("kind: tcp, port: 1", "kind: tcp, port: 1, tls: true");
    let store = folder.path().join("store.pem").display().to_string();
    // The environment of the test may name a folder of authorities.
    let environment = [("SSL_CERT_FILE", store.as_str()), ("SSL_CERT_DIR", "")];
    write(folder.path(), "c.yaml", &verifies);
    let mut start = Running::start(binary(), &["run", "--config", &config], &environment);
    assert_ne!(start.ends_within(Duration::from_secs(9)), 0, "{}", start.said());
    let reason = "trust store of the system: SSL_CERT_FILE: ";
    assert!(start.said().contains(reason), "{}", start.said());
    write(folder.path(), "c.yaml", &plain);
    let _running = sidecar(&["run", "--config", &config], &environment, listen);
    write(folder.path(), "c.yaml", &verifies);
    let answer = request(listen, "POST", "/-/reload").unwrap();
    assert_eq!((answer.status, answer.body.contains(reason)), (500, true), "{}", answer.body);
}

#[test]
fn keys_that_can_be_guessed_or_read_by_all_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free();
    let config = configuration(folder.path(), listen);
    let key = folder.path().join("votes.key");
    let said = || String::from_utf8(output(&["check", "--config", &config], &[]).stderr).unwrap();
    assert!(!said().contains("votes.key_file"), "{}", said());
    fs::write(&key, "a".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = ["contains a key of one repeated character", "can be read by every user of this machine"];
    let running = sidecar(&["run", "--config", &config], &[], listen);
    for said in [said(), running.said()] {
        for warning in warnings {
            assert!(said.contains(&format!("votes.key_file: {warning}")), "{warning} in {said}");
        }
    }
}

#[test]
fn another_site_cannot_request_a_reload_through_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free();
    let config = configuration(folder.path(), listen);
    let text = fs::read_to_string(&config).unwrap();
    let running = sidecar(&["run", "--config", &config], &[], listen);
    let post = |host: &str, header: &str| {
        let mut stream = TcpStream::connect(listen).unwrap();
        write!(stream, "POST /-/reload HTTP/1.1\r\nHost: {host}\r\n{header}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer.split(' ').nth(1).unwrap().to_owned(), answer)
    };
    let own = listen.to_string();
    for (host, header, told) in [
        ("evil.example:9877", "", "the host of the URL is neither an address"),
        (&own, "Origin: http://evil.example\r\n", "a page of another site (Origin)"),
        (&own, "Origin: null\r\n", "a page of another site (Origin)"),
        (&own, "Sec-Fetch-Site: cross-site\r\n", "a page of another site (Sec-Fetch-Site)"),
        ("watch.example", "", "set external_url"),
    ] {
        let (status, answer) = post(host, header);
        assert!(status == "403" && answer.contains(told), "{host} {header}: {answer}");
    }
    assert!(!running.said().contains("configuration reloaded"), "{}", running.said());
    for (host, header) in [
        (own.as_str(), ""),
        ("localhost", "Sec-Fetch-Site: none\r\n"),
        (&own, &format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n")),
    ] {
        assert_eq!(post(host, header).0, "200", "{host} {header}");
    }
    // It is a setting that a reload changes.
    write(folder.path(), "c.yaml", &format!("{text}external_url: https://watch.example/\n"));
    assert_eq!(post(&own, "").0, "200");
    assert_eq!(post("watch.example", "Origin: https://watch.example\r\n").0, "200");
    assert_eq!(post("evil.example", "").0, "403");
}

#[test]
fn more_peers_than_votes_can_have_are_an_error() {
    let peers = |count: usize| {
        let peers: Vec<_> = (0..count)
            .map(|n| format!("{{region: r{n}, targets: [{{host: 127.0.0.1, probes: [{{kind: tcp, port: 1}}]}}]}}"))
            .collect();
        peers.join(", ")
    };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "votes.key", KEY);
    let check = |votes: &str, count: usize| {
        let config = write(folder.path(), "c.yaml", &format!("region: here\n{votes}peers: [{}]\n", peers(count)));
        let output = output(&["check", "--config", &config], &[]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let votes = "votes: {key_file: votes.key}\n";
    assert_eq!(check(votes, 1024).0, Some(0));
    assert_eq!(check("", 1025).0, Some(0));
    let (status, told) = check(votes, 1025);
    assert!(
        status == Some(64) && told.contains("peers: has 1025 peers, but a vantage that votes can have 1024"),
        "{told}"
    );
}
