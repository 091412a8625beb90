//! A log that cannot be written costs log lines, and nothing else.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use testkit::{
    binary,
    process::{eventually, free, get, request, value},
};
use tokio::time::Instant;

use crate::failover_page::receiver;

/// What a busy machine needs less than.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program under this log, killed when dropped.
struct Vantage {
    child: Child,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Vantage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Vantage {
    fn start(stderr: Stdio) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (addr, peer) = (free(), free());
        let file = folder.path().join("regionwatch.yaml");
        let text = format!(
            "region: a\nlisten: {addr}\nlog: {{level: debug}}\n\
             peers: [{{region: b, targets: [{{host: 127.0.0.1, probes: [{{kind: tcp, port: {}}}]}}]}}]\n",
            peer.port()
        );
        fs::write(&file, &text).unwrap();
        let mut command = Command::new(binary());
        command.args(["run", "--config"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut vantage = Self { child: command.spawn().unwrap(), addr, _folder: folder };
        eventually("the vantage is ready", Duration::from_secs(10), || {
            assert_eq!(vantage.child.try_wait().unwrap(), None, "it ended");
            request(addr, "GET", "/-/ready").filter(|answer| answer.status == 200)
        });
        // From now on each reload fails, with 100 KB of errors.
        fs::write(
            file,
            format!("{text}{}", (0..300).map(|n| format!("{}{n}: 1\n", "x".repeat(60))).collect::<String>()),
        )
        .unwrap();
        vantage
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn value(&self, series: &str) -> f64 {
        let page = get(self.addr, "/metrics");
        value(&page, series).unwrap_or_else(|| panic!("no {series} in\n{page}"))
    }

    fn probes(&self) -> f64 {
        self.value("regionwatch_probe_start_delay_seconds_count")
    }

    /// Logs until lines are dropped, and then shows that nothing else is.
    fn goes_on_without_its_log(mut self) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.value("regionwatch_log_lines_dropped_total") < 3.0 {
            self.signal("HUP");
            std::thread::sleep(Duration::from_millis(50));
            assert!(Instant::now() < until, "no line is dropped");
        }
        // A write that blocks would hold up every answer and every probe, without end: no process reads.
        let before = self.probes();
        for _ in 0..50 {
            assert_eq!(request(self.addr, "GET", "/api/v1/regions").map(|answer| answer.status), Some(200));
        }
        eventually("probes go on", PATIENCE, || (self.probes() - before >= 7.0).then_some(()));
        self.signal("TERM");
        let status = eventually("the end", PATIENCE, || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_full_disk_under_the_log_stops_nothing() {
    Vantage::start(full()).goes_on_without_its_log();
}

/// One on a full disk, and one whose reader stalls.
#[test]
fn the_example_receiver_carries_out_orders_whatever_becomes_of_its_log() {
    let alert = |id: &str| {
        format!(
            r#"{{"status":"firing","labels":{{"failover":"true","drill":"false","peer_region":"{id}","stage":"execute","source":"push"}},
            "annotations":{{"incident_id":"{id}","failover_target":"b"}}}}"#
        )
    };
    for stderr in [full(), Stdio::piped()] {
        let folder = tempfile::tempdir().unwrap();
        let (at, acts) = (free(), folder.path().join("acts"));
        let mut command = Command::new(receiver());
        command.arg(format!("--listen={at}")).arg(format!("--record={}", folder.path().join("record").display()));
        command.arg(format!("--exec=echo $INCIDENT_ID >> {}", acts.display()));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let _vantage = Vantage { child, addr: at, _folder: folder };
        eventually("the receiver is ready", Duration::from_secs(20), || {
            request(at, "GET", "/-/healthy").filter(|answer| answer.status == 200)
        });
        // A hundred lines a webhook, which is more than a pipe holds in the end.
        for round in 0..8 {
            let alerts: Vec<_> = (0..100).map(|n| alert(&format!("{round}-{n}-{}", "x".repeat(150)))).collect();
            assert_eq!(post(at, &format!(r#"{{"alerts":[{}]}}"#, alerts.join(","))), 200);
        }
        eventually("every order is carried out", Duration::from_secs(60), || {
            (fs::read_to_string(&acts).unwrap_or_default().lines().count() == 800).then_some(())
        });
    }
}

/// The status of the answer to a webhook.
fn post(addr: SocketAddr, body: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "POST / HTTP/1.0\r\nHost: {addr}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_log_whose_reader_ended_stops_nothing() {
    let mut vantage = Vantage::start(Stdio::piped());
    drop(vantage.child.stderr.take());
    vantage.goes_on_without_its_log();
}

#[test]
fn a_log_whose_reader_stalls_stops_nothing() {
    Vantage::start(Stdio::piped()).goes_on_without_its_log();
}

#[test]
fn a_log_with_a_reader_has_its_last_lines() {
    let vantage = Vantage::start(Stdio::piped());
    let mut vantage = vantage;
    vantage.signal("TERM");
    eventually("the end", PATIENCE, || vantage.child.try_wait().unwrap());
    let said = std::io::read_to_string(vantage.child.stderr.take().unwrap()).unwrap();
    assert!(said.lines().last().unwrap().contains("stopping"), "{said}");
}

#[test]
fn no_command_aborts_where_its_output_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.yaml");
    fs::write(
        &good,
        "region: a\nfailover: {min_capacity: 0.5}\npeers: [{region: b, targets: [{host: h, probes: [{kind: icmp}]}]}]\n",
    )
    .unwrap();
    let (good, key) = (good.to_str().unwrap(), folder.path().join("key"));
    let commands: [&[&str]; 8] = [
        &["check", "--config", good],
        &["check", "--print", "--config", good],
        &["check", "--config", "/nonexistent"],
        &["run", "--config", "/nonexistent"],
        &["healthcheck", "--listen", "127.0.0.1:1"],
        &["doctor"],
        &["keygen", key.to_str().unwrap()],
        &["--nonsense"],
    ];
    for command in commands {
        let run = |stdout: Stdio, stderr: Stdio| {
            let _ = fs::remove_file(&key);
            let child = Command::new(binary()).args(command).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
            let mut child = child.unwrap();
            drop((child.stdout.take(), child.stderr.take()));
            child.wait().unwrap().code()
        };
        let expected = run(Stdio::null(), Stdio::null());
        assert_eq!(run(Stdio::null(), full()), expected, "{command:?}");
        assert_eq!(run(Stdio::null(), Stdio::piped()), expected, "{command:?}");
        // On a full disk the output is lost, which is a failure.
        assert!(matches!(run(full(), Stdio::null()), Some(0 | 1 | 64)), "{command:?}");
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let peers: String = (0..300)
        .map(|n| format!("  - {{region: r{n}, targets: [{{host: h{n}, probes: [{{kind: icmp}}]}}]}}\n"))
        .collect();
    let file = folder.path().join("c.yaml");
    fs::write(&file, format!("region: a\npeers:\n{peers}")).unwrap();
    let mut command = Command::new(binary());
    command.args(["check", "--print", "--config"]).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap()), (Some(0), String::new()));
}
