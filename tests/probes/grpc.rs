//! grpc probes against Python's grpcio-health-checking, nginx before it, and hostile servers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use regionwatch::model::{Failure, FailureDetail, Phase};
use testkit::{needs::installed, root};

use crate::{
    servers,
    support::{Certificate, Seen, TIMEOUT, phases, probing},
};

/// The Python server, ended when dropped.
struct HealthServer {
    child: Child,
    addr: SocketAddr,
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn health_server(arguments: &[&str]) -> HealthServer {
    let mut child = Command::new(installed().join("bin/python"))
        .arg(root().join("tests/probes/health_server.py"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("python with grpcio-health-checking: {error}; tests/run installs it"));
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let port = port.trim().parse().expect("the server has started; tests/run installs grpcio-health-checking");
    HealthServer { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

async fn check(addr: SocketAddr, more: &str) -> Seen {
    let probe = format!("kind: grpc, port: {}{more}", addr.port());
    probing("127.0.0.1", probe).run(1).await.remove(0)
}

#[tokio::test]
async fn a_service_that_serves_is_measured_in_the_phases_of_http() {
    let server = health_server(&["health"]);
    for service in ["", ", service: shop.v1.Cart", &format!(", service: {}", "x".repeat(300))] {
        let timings = check(server.addr, service).await.outcome.unwrap();
        assert_eq!(phases(&timings), ["connect", "processing", "transfer"]);
    }

    let certificate = Certificate::new(&["a.example"]);
    let server = health_server(&["health", &certificate.cert(), &certificate.key()]);
    let tls = format!(", tls: {{server_name: a.example, ca_file: '{}'}}", certificate.cert());
    let seen = check(server.addr, &tls).await;
    assert_eq!(phases(&seen.outcome.unwrap()), ["connect", "tls", "processing", "transfer"]);
    assert_eq!(seen.certificate, Some(certificate.dates));
    assert_eq!(check(server.addr, ", tls: true").await.outcome, Err(Failure::Tls));
}

#[tokio::test]
async fn a_connection_that_is_kept_serves_the_next_probe() {
    let server = health_server(&["health"]);
    let probe = format!("kind: grpc, port: {}, keep_alive: true", server.addr.port());
    let seen = probing("127.0.0.1", probe).run(12).await;
    let measured: Vec<_> = seen.iter().map(|seen| phases(&seen.outcome.unwrap())).collect();
    assert_eq!(measured[0], ["connect", "processing", "transfer"]);
    // One that begins before the last has ended has a connection of its own.
    assert!(measured.iter().any(|phases| phases == &["processing", "transfer"]), "{measured:?}");
}

#[tokio::test]
async fn a_service_that_does_not_serve_or_is_unknown_is_a_status_in_words() {
    let (server, bare) = (health_server(&["health"]), health_server(&["bare"]));
    for (addr, service, detail, words) in [
        (server.addr, "down", FailureDetail::Health(2), "health status NOT_SERVING from 127.0.0.1"),
        (server.addr, "unknown", FailureDetail::Health(0), "health status UNKNOWN from 127.0.0.1"),
        (server.addr, "no.such.Service", FailureDetail::GrpcStatus(5), "gRPC status NOT_FOUND from 127.0.0.1"),
        (bare.addr, "down", FailureDetail::GrpcStatus(12), "gRPC status UNIMPLEMENTED from 127.0.0.1"),
    ] {
        let seen = check(addr, &format!(", service: {service}")).await;
        assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Status), Some(detail)), "{service}");
        assert_eq!(seen.failed.to_string(), words);
    }
}

#[tokio::test]
async fn metadata_goes_out_and_refused_credentials_are_auth() {
    let server = health_server(&["health"]);
    let seen = check(server.addr, ", headers: {X-Guarded: '1'}").await;
    assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Auth), Some(FailureDetail::GrpcStatus(16))));
    let seen = check(server.addr, ", headers: {X-Guarded: '1'}, bearer_token: '${PROBE_TOKEN}'").await;
    assert!(seen.outcome.is_ok(), "{seen:?}");
}

#[tokio::test]
async fn the_authority_chooses_the_virtual_host_and_a_proxy_without_its_server_is_an_http_status() {
    let (server, addr) = (health_server(&["health"]), servers::closed());
    let block = |name: &str, to: SocketAddr| {
        format!("server {{ listen {addr} http2; server_name {name}; location / {{ grpc_pass grpc://{to}; }} }}\n")
    };
    let blocks = format!(
        "server {{ listen {addr} http2 default_server; return 404; }}\n{}{}",
        block("a.example", server.addr),
        block("gone.example", servers::closed())
    );
    let folder = tempfile::tempdir().unwrap();
    let _nginx = servers::nginx(folder.path(), &blocks, addr);
    let seen = check(addr, ", authority: a.example").await;
    assert!(seen.outcome.is_ok(), "{seen:?}");
    for (authority, status) in [("", 404), (", authority: 'gone.example:443'", 502)] {
        let seen = check(addr, authority).await;
        let detail = Some(FailureDetail::HttpStatus(status));
        assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Status), detail), "{authority}");
    }
}

#[tokio::test]
async fn a_server_of_another_protocol_a_silent_one_and_a_closed_port_are_told_apart() {
    // A server that closes before it has read everything resets the connection, and the answer may be lost with it.
    let http1 = servers::tcp(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    assert_eq!(check(http1, "").await.outcome, Err(Failure::Protocol));
    assert_eq!(check(servers::closed(), "").await.outcome, Err(Failure::Refused));
    let silent = servers::tcp(|_stream| std::thread::sleep(Duration::from_secs(5)));
    let probe = probing("127.0.0.1", format!("kind: grpc, port: {}", silent.port()));
    let seen = probe.timeout(TIMEOUT).run(1).await.remove(0);
    assert_eq!((seen.outcome, seen.failed.phase), (Err(Failure::Timeout), Some(Phase::Processing)));
}

/// A frame of HTTP/2 on the first stream of a client (RFC 9113 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Fields without an index and without Huffman's code (RFC 7541 6.2.2); `:status: 200` is in the static table.
fn head(flags: u8, with_status: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = if with_status { vec![0x88] } else { Vec::new() };
    for text in fields.iter().map(|(name, value)| [name, value]) {
        block.push(0);
        for part in text {
            block.push(u8::try_from(part.len()).unwrap());
            block.extend_from_slice(part.as_bytes());
        }
    }
    frame(1, END_HEADERS | flags, 1, &block)
}

fn data(flags: u8, body: &[u8]) -> Vec<u8> {
    frame(0, flags, 1, body)
}

/// Reads frames until that of the request's head.
fn read_request(stream: &mut TcpStream) -> Option<()> {
    stream.read_exact(&mut [0; 24]).ok()?;
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; usize::try_from(length).ok()?];
        stream.read_exact(&mut payload).ok()?;
        if header[3] == 1 {
            return Some(());
        }
    }
}

/// A server that answers the request with these bytes, and the last of them again and again if asked to.
fn answering(frames: Vec<Vec<u8>>, endless: bool) -> SocketAddr {
    servers::tcp(move |mut stream| {
        let _ = stream.write_all(&frame(4, 0, 0, &[]));
        if read_request(&mut stream).is_none() {
            return;
        }
        let _ = stream.write_all(&frames.concat());
        while endless && stream.write_all(frames.last().unwrap()).is_ok() {}
        // Whatever the client still sends must not make the kernel reset what it has not read yet.
        while stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
    })
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";

fn trailers(status: &str) -> Vec<u8> {
    head(END_STREAM, false, &[("grpc-status", status)])
}

#[tokio::test]
async fn what_a_server_may_send_is_read() {
    let whole = |format: &str, body: Vec<Vec<u8>>| {
        [vec![head(0, true, &[("content-type", format)])], body, vec![trailers("0")]].concat()
    };
    for (name, frames) in [
        ("one frame", whole("application/grpc", vec![data(0, SERVING)])),
        ("a format", whole("application/grpc+proto", vec![data(0, SERVING)])),
        ("a parameter", whole("application/grpc;x=y", vec![data(0, SERVING)])),
        ("pieces", whole("application/grpc", SERVING.chunks(1).map(|piece| data(0, piece)).collect())),
        ("a field of a later version", whole("application/grpc", vec![data(0, b"\0\0\0\0\x05\x12\x01x\x08\x01")])),
    ] {
        let seen = check(answering(frames, false), "").await;
        assert!(seen.outcome.is_ok(), "{name}: {seen:?}");
    }
    let only = |status| vec![head(END_STREAM, true, &[GRPC, ("grpc-status", status)])];
    for (status, detail) in [("14", 14), ("99", 99)] {
        let seen = check(answering(only(status), false), "").await;
        let detail = Some(FailureDetail::GrpcStatus(detail));
        assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Status), detail), "{status}");
    }
}

#[tokio::test]
async fn hostile_answers_are_a_broken_protocol_before_the_deadline() {
    let start = || head(0, true, &[GRPC]);
    let with = |body: &[u8]| vec![start(), data(0, body), trailers("0")];
    for (name, frames, endless) in [
        ("no status", vec![start(), data(END_STREAM, SERVING)], false),
        ("a status that is no number", vec![start(), data(0, SERVING), trailers("ok")], false),
        ("an empty status", vec![start(), data(0, SERVING), trailers("")], false),
        ("a status below 0", vec![start(), data(0, SERVING), trailers("-1")], false),
        ("a status without end", vec![start(), data(0, SERVING), trailers("99999999999")], false),
        ("another format", vec![head(0, true, &[("content-type", "text/html")]), data(END_STREAM, b"ok")], false),
        ("a format that begins alike", vec![head(0, true, &[("content-type", "application/grpcx")])], true),
        ("no message", vec![head(END_STREAM, true, &[GRPC, ("grpc-status", "0")])], false),
        ("a compressed message", with(b"\x01\0\0\0\x02\x08\x01"), false),
        ("two messages", with(&[SERVING, SERVING].concat()), false),
        ("a length beyond the end", with(b"\0\xff\xff\xff\xff\x08\x01"), false),
        ("half a message", with(b"\0\0\0\0\x02\x08"), false),
        ("a huge message", with(&[b"\0\0\0\x20\0".to_vec(), vec![0; 0x2000]].concat()), false),
        ("a reset", vec![start(), frame(3, 0, 1, &[0, 0, 0, 2])], false),
        ("a goodbye", vec![frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2])], false),
        ("a frame that is too large", vec![[&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[0; 100]].concat()], false),
        ("bytes without end", vec![start(), data(0, &[0; 100])], true),
        ("empty frames without end", vec![start(), data(0, &[])], true),
        ("settings without end", vec![frame(4, 0, 0, &[])], true),
    ] {
        let seen = check(answering(frames, endless), "").await;
        assert_eq!(seen.outcome, Err(Failure::Protocol), "{name}: {seen:?}");
        assert!(seen.took < Duration::from_secs(5), "{name}");
    }
}
