//! Clients that break the protocol or stall.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use regionwatch::server::Limits;
use tokio::time::Instant;

use crate::support::{Answer, Setup, alone, eventually};

/// Limits so short that a test can wait for them.
fn short() -> Limits {
    let ms = Duration::from_millis;
    Limits { head_timeout: ms(300), idle_timeout: ms(600), stall_timeout: ms(500), ..Limits::default() }
}

fn status(answer: &[u8]) -> Option<u16> {
    (!answer.is_empty()).then(|| Answer::parse(answer).status)
}

#[test]
fn malformed_requests_are_rejected_and_leak_no_connection() {
    let server = Setup::default().run();
    for garbage in [
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}",
    ] {
        let mut stream = server.connect();
        stream.write_all(garbage.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(matches!(status(&answer), None | Some(400)), "{garbage:?}");
    }
    server.settles();
    server.scrape();
}

#[test]
fn the_size_and_number_of_request_headers_are_limited() {
    let server = Setup::default().run();
    let with =
        |fields: &str| status(&server.raw(&format!("GET /-/healthy HTTP/1.1\r\nConnection: close\r\n{fields}\r\n")));
    assert_eq!(with(&format!("A: {}\r\n", "x".repeat(8 << 10))), Some(200));
    assert_eq!(with(&format!("A: {}\r\n", "x".repeat(17 << 10))), Some(431));
    assert_eq!(with(&"A: x\r\n".repeat(60)), Some(200));
    assert_eq!(with(&"A: x\r\n".repeat(65)), Some(431));
    // Far more than the kernel and the server together would buffer: nobody reads on.
    assert!(matches!(with(&format!("A: {}\r\n", "x".repeat(16 << 20))), None | Some(431)));
    assert!(matches!(status(&server.raw(&"x".repeat(16 << 20))), None | Some(400 | 414 | 431)));
    server.settles();
}

#[test]
fn request_bodies_are_not_read() {
    let server = Setup::default().run();
    assert_eq!(server.ask("GET", "/-/healthy", "Content-Length: 0\r\n").status, 200);
    let mut stream = server.connect();
    stream.write_all(b"POST /-/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while sent < 1_000_000_000 && stream.write_all(&piece).is_ok() {
        sent += piece.len();
    }
    // What left is what the two kernels buffered.
    assert!(sent < 32 << 20, "{sent} bytes were taken");
    // A body that is promised and never sent delays neither the answer nor the next client.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /-/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(status(&answer), Some(200));
    server.settles();
}

#[test]
fn a_slow_request_head_is_evicted_even_if_it_trickles() {
    let server = Setup { limits: short(), ..Setup::default() }.run();
    let _silent = server.connect();
    let mut trickling = server.connect();
    let _ = trickling.write_all(b"GET /metrics HTTP/1.1\r\nA: ");
    eventually("both are cut", || {
        let _ = trickling.write_all(b"x");
        thread::sleep(Duration::from_millis(20));
        server.stats().evicted() == 2 && server.stats().connections() == 0
    });
}

#[test]
fn an_idle_connection_is_closed_after_the_idle_timeout() {
    // A client on a busy machine may need long to send its head.
    let limits = Limits { head_timeout: Duration::from_secs(2), idle_timeout: Duration::from_secs(4), ..short() };
    let server = Setup { limits, ..Setup::default() }.run();
    let mut stream = server.connect();
    let start = Instant::now();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(status(&answer), Some(200));
    assert!(start.elapsed() > limits.idle_timeout, "not cut for the shorter limit on heads");
    server.settles();
}

#[test]
fn a_client_that_disconnects_during_a_response_leaks_no_connection() {
    let server = Setup { page: 50_000_000, ..Setup::default() }.run();
    for gzip in ["", "Accept-Encoding: gzip\r\n"] {
        for _ in 0..10 {
            let mut stream = server.connect();
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n{gzip}\r\n").unwrap();
            stream.read_exact(&mut [0; 10_000]).unwrap();
        }
    }
    server.settles();
    assert_eq!(server.stats().evicted(), 0, "hyper noticed by itself");
}

/// Reads a byte now and then.
fn sip(streams: &mut [TcpStream]) {
    for stream in streams {
        let _ = stream.read(&mut [0; 1]);
    }
}

#[test]
fn a_stalled_response_is_evicted() {
    let server = Setup { page: 100_000_000, limits: short(), ..Setup::default() }.run();
    let mut readers: Vec<_> = (0..4).map(|_| server.connect_small()).collect();
    for (n, reader) in readers.iter_mut().enumerate() {
        let gzip = if n % 2 == 0 { "" } else { "Accept-Encoding: gzip\r\n" };
        write!(reader, "GET /metrics HTTP/1.1\r\nHost: x\r\n{gzip}\r\n").unwrap();
    }
    eventually("those that read nothing or sips are cut", || {
        sip(&mut readers[..2]);
        thread::sleep(Duration::from_millis(50));
        server.stats().connections() == 0
    });
}

#[test]
fn a_response_is_evicted_after_its_timeout_even_if_it_progresses() {
    let limits = Limits { response_timeout: Duration::from_secs(1), ..Limits::default() };
    let server = Setup { page: 500_000_000, limits, ..Setup::default() }.run();
    let start = Instant::now();
    let mut reader = server.connect();
    reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    eventually("the steady one is cut", || {
        let _ = reader.read(&mut [0; 100 << 10]);
        thread::sleep(Duration::from_millis(20));
        server.stats().connections() == 0
    });
    assert!(start.elapsed() >= limits.response_timeout, "it made progress all the time");
}

#[test]
fn pipelined_requests_are_answered_in_order_and_an_unread_flood_is_evicted() {
    let server = Setup::default().run();
    let one = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = server.raw(&(one.repeat(500) + last));
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("regionwatch is healthy.\n").count(), 500);
    assert!(answers.ends_with("regionwatch is ready.\n"));

    server.settles();

    let server = Setup { limits: short(), ..Setup::default() }.run();
    let mut flood = server.connect();
    let many = one.repeat(1_000);
    eventually("the flood is cut", || flood.write_all(many.as_bytes()).is_err());
    server.settles();
    server.scrape();
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn memory_stays_bounded_with_every_connection_asking_for_a_huge_page() {
    if !alone("hostile::memory_stays_bounded_with_every_connection_asking_for_a_huge_page", "ulimit -n 2048;") {
        return;
    }
    // A busy machine takes long to read 250 heads and begin as many pages, and none may be given up meanwhile.
    let long = Duration::from_secs(300);
    let limits = Limits { head_timeout: long, stall_timeout: long, response_timeout: long, ..Limits::default() };
    let server = Setup { page: 1_000_000_000, limits, ..Setup::default() }.run();
    server.settles();
    let before = resident();
    let mut readers: Vec<_> = (0..250).map(|_| server.connect_small()).collect();
    for reader in &mut readers {
        reader.set_read_timeout(Some(long)).unwrap();
        reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
    }
    // Each reader takes a little, so that all of them are in the middle of their page.
    for reader in &mut readers {
        reader.read_exact(&mut [0; 1_000]).unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    let grown = resident().saturating_sub(before);
    println!("{} MiB for {} readers", grown >> 20, server.stats().connections());
    assert!(grown < 100 << 20, "{} MiB for {} readers", grown >> 20, server.stats().connections());
    drop(readers);
    server.settles();
    assert!(resident().saturating_sub(before) < 100 << 20);
}
