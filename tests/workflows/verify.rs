//! `.github/verify`, against the page of a running sidecar, and against that page with one fault in it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    thread,
    time::Duration,
};

use testkit::{
    binary,
    needs::{Need, require},
    process::free,
};

use crate::{script, text};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const NEEDS: &[Need] = &[Need::Tool("curl")];

/// A sidecar with peers that it has to itself, and where it serves.
pub(crate) struct Demo(Child, pub(crate) SocketAddr);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn demo(options: &[&str]) -> Demo {
    let address = free();
    let child = Command::new(binary())
        .args(["demo", "--listen", &address.to_string()])
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Demo(child, address)
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn verify(address: SocketAddr, options: &[&str]) -> (Option<i32>, String) {
    let output = script("verify").args(options).arg(format!("http://{address}/")).output().unwrap();
    (output.status.code(), text(&output))
}

/// The page of a sidecar that has reached all its peers.
pub(crate) static PAGE: LazyLock<String> = LazyLock::new(|| {
    let demo = demo(&[]);
    let (status, said) = verify(demo.1, &["--version", VERSION, "--within", "60", "--pause", "1"]);
    assert_eq!(status, Some(0), "{said}");
    get(demo.1, "/metrics")
});

/// Serves a page for ever; `ready` is what /-/ready answers with.
pub(crate) fn serve(ready: &'static str, page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            lines.map_while(Result::ok).find(String::is_empty);
            let (status, body) = if first.contains("/-/ready") { (ready, "") } else { ("200 OK", page.as_str()) };
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    address
}

/// What is said of a page once, without waiting.
fn once(ready: &'static str, page: String, options: &[&str]) -> (Option<i32>, String) {
    let options = [&["--within", "0", "--times", "1", "--pause", "0"], options].concat();
    verify(serve(ready, page), &options)
}

fn replaced(from: &str, to: &str) -> String {
    assert!(PAGE.contains(from), "the page has no {from}");
    PAGE.replace(from, to)
}

/// The page with every success of a peer region turned into a failure.
fn unreached(region: &str) -> String {
    let of_region = format!("peer_region=\"{region}\"");
    let line = |line: &str| match line.strip_suffix(" 1") {
        Some(rest) if rest.starts_with("regionwatch_probe_success{") && rest.contains(&of_region) => {
            format!("{rest} 0\n")
        }
        _ => format!("{line}\n"),
    };
    PAGE.lines().map(line).collect()
}

/// The page where a peer region is down, although all of its probes are answered.
fn dead(region: &str) -> String {
    let of_region = format!("peer_region=\"{region}\"");
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((series, _)) if series.starts_with("regionwatch_peer_state{") && series.contains(&of_region) => {
            format!("{series} {}\n", u8::from(series.contains("state=\"down\"")))
        }
        _ => format!("{line}\n"),
    };
    PAGE.lines().map(line).collect()
}

#[test]
fn a_running_sidecar_passes() {
    require(NEEDS);
    assert!(PAGE.contains("regionwatch_build_info"));
    let (status, said) = once("200 OK", PAGE.clone(), &["--version", &format!("v{VERSION}")]);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn every_seeded_fault_is_found_and_named() {
    require(NEEDS);
    let gauge = |name: &str| {
        let line = PAGE.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap();
        line.rsplit_once(' ').unwrap().0.to_owned()
    };
    let isolated = gauge("regionwatch_vantage_isolated");
    let reload = gauge("regionwatch_config_last_reload_successful");
    let own_fault = unreached("us-east-1").replace("result=\"local\"} 0", "result=\"local\"} 7");
    let cases = [
        (replaced(&format!("{isolated} 0"), &format!("{isolated} 1")), "holds itself for cut off"),
        (replaced(&format!("{isolated} 0"), ""), "no regionwatch_vantage_isolated"),
        (replaced(&format!("{reload} 1"), &format!("{reload} 0")), "the configuration was refused"),
        (replaced(&format!("version=\"{VERSION}\""), "version=\"9.9.9\""), "version 9.9.9 runs, not"),
        (replaced("regionwatch_", "other_"), "this is not the page of regionwatch"),
        (replaced("regionwatch_peer_state{", "other{"), "no peer region is measured"),
        (unreached("us-east-1"), "no probe reaches us-east-1"),
        (dead("us-east-1"), "us-east-1 is down, as regionwatch_peer_state says"),
        (own_fault, "the probe us-east-1/edge/tcp fails by a fault of this side (result local, 7 times)"),
        (String::new(), "this is not the page of regionwatch"),
    ];
    for (page, expected) in cases {
        let (status, said) = once("200 OK", page, &["--version", VERSION]);
        assert!(status == Some(1) && said.contains(expected), "{expected}: {status:?} {said}");
    }
    let (status, said) = once("503 Service Unavailable", PAGE.clone(), &[]);
    assert!(status == Some(1) && said.contains("not ready") && said.contains("503"), "{said}");
}

#[test]
fn a_peer_named_with_down_does_not_fail_the_verification() {
    require(NEEDS);
    for page in [unreached("us-east-1"), dead("us-east-1")] {
        let (status, said) = once("200 OK", page, &["--down", "us-east-1"]);
        assert_eq!(status, Some(0), "{said}");
    }
    let (status, said) = once("200 OK", unreached("us-east-1"), &["--down", "us-east"]);
    assert_eq!(status, Some(1), "{said}");
}

/// Its pings are still answered: they alone would not show the outage.
#[test]
fn an_outage_during_the_verification_is_reported() {
    require(NEEDS);
    let demo = demo(&["--kill", "us-east-1"]);
    let options = ["--within", "25", "--times", "30", "--pause", "1"];
    let (status, said) = verify(demo.1, &options);
    assert!(status == Some(1) && said.contains("us-east-1 is down"), "{said}");
}

#[test]
fn an_absent_server_is_an_error_after_the_timeout() {
    require(NEEDS);
    let nobody = free();
    let began = tokio::time::Instant::now();
    let (status, said) = verify(nobody, &["--within", "2", "--pause", "1"]);
    assert!(status == Some(1) && said.contains("not ready"), "{said}");
    assert!(began.elapsed() >= Duration::from_secs(1), "it did not wait");
}

#[test]
fn help_is_printed_with_status_0() {
    for asked in ["--help", "-h"] {
        let output = script("verify").arg(asked).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{said}");
        assert!(said.starts_with("Asks a running regionwatch") && said.contains("--down REGION"), "{said}");
        assert!(said.trim_end().ends_with("unless --down names it."), "no line of the script: {said}");
    }
}

#[test]
fn a_usage_error_exits_with_64() {
    for wrong in [&["--within", "x", "http://a"][..], &["ftp://a"], &[], &["--version"], &["http://a", "http://b"]] {
        let output = script("verify").args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{wrong:?}: {}", text(&output));
    }
}
