//! Many clients, few file descriptors, and shutdown.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use regionwatch::server::Limits;

use crate::support::{Answer, Running, Setup, alone, eventually};

/// Longer than an answer takes on a busy machine, shorter than any limit that would let the crowd go.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn idle_connections_do_not_delay_a_scrape() {
    if !alone("load::idle_connections_do_not_delay_a_scrape", "ulimit -n 4096;") {
        return;
    }
    let server = Setup::default().run();
    let mut crowd: Vec<TcpStream> = Vec::new();
    for n in 0..1_000 {
        let mut stream = server.connect();
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"G").unwrap(),
            _ => stream.write_all(b"GET /metrics HTTP/1.1\r\nX-A: ").unwrap(),
        }
        crowd.push(stream);
    }
    eventually("the crowd is at the cap", || server.stats().connections() == 256);
    for _ in 0..5 {
        assert!(server.scrape() < AT_ONCE);
    }
    assert!(server.stats().connections() <= 257);
    drop(crowd);
    server.settles();
}

#[test]
fn a_scrape_succeeds_during_a_flood_of_connections() {
    let limits = Limits { max_connections: 32, ..Limits::default() };
    let server = Setup { limits, ..Setup::default() }.run();
    let addr = server.addr;
    let crowd: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(move || {
                let mut held = std::collections::VecDeque::new();
                for _ in 0..1_000 {
                    held.extend(TcpStream::connect(addr));
                    if held.len() > 50 {
                        held.pop_front();
                    }
                }
            })
        })
        .collect();
    for _ in 0..20 {
        assert!(server.scrape() < AT_ONCE);
    }
    crowd.into_iter().for_each(|one| one.join().unwrap());
    server.settles();
}

#[test]
fn ten_thousand_requests_leak_no_connection() {
    let server = Setup { page: 1_000, ..Setup::default() }.run();
    let addr = server.addr;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..25 {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(99)
                        + "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                    stream.write_all(requests.as_bytes()).unwrap();
                    let mut answers = String::new();
                    stream.read_to_string(&mut answers).unwrap();
                    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 100);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    server.settles();
    assert_eq!(server.stats().evicted(), 0);
}

/// Clients that have asked for the page and read its first byte.
fn readers(server: &Running, count: usize) -> Vec<TcpStream> {
    let reader = || {
        let mut reader = server.connect_small();
        reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        reader.read_exact(&mut [0; 1]).unwrap();
        reader
    };
    std::iter::repeat_with(reader).take(count).collect()
}

/// A client that has asked for this, and reads no more than the first bytes; they begin with the head.
fn stalled(server: &Running, target: &str, accepts: &str) -> (TcpStream, String) {
    let mut reader = server.connect_small();
    write!(reader, "GET {target} HTTP/1.1\r\nHost: x\r\n{accepts}\r\n").unwrap();
    let mut bytes = [0; 1_000];
    reader.read_exact(&mut bytes).unwrap();
    (reader, String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn with_all_encoders_in_use_a_page_is_sent_plain() {
    let limits = Limits { encoders: 2, ..Limits::default() };
    let server = Setup { page: 100_000_000, limits, ..Setup::default() }.run();
    let page = || stalled(&server, "/metrics", "Accept-Encoding: gzip\r\n");
    let is_gzip = |(_, head): &(TcpStream, String)| head.contains("content-encoding: gzip");
    let readers = [page(), page()];
    assert!(readers.iter().all(is_gzip) && !is_gzip(&page()));
    drop(readers);
    eventually("the encoders are free again", || is_gzip(&page()));
}

#[test]
fn more_requests_for_histories_than_are_answered_at_once_are_refused() {
    let limits = Limits { histories: 2, send_buffer: 2 << 10, ..Limits::default() };
    let server = Setup { limits, ..Setup::default() }.run();
    let all = "/api/v1/probes?paths=10000";
    let readers = [stalled(&server, all, ""), stalled(&server, all, "")];
    let answer = server.get(all);
    assert!(answer.status == 503 && answer.text() == "too many concurrent requests for probes\n", "{}", answer.head);
    drop(readers);
    eventually("they are answered again", || server.get(all).status == 200);
}

#[test]
fn at_the_limit_a_new_connection_waits_and_no_progressing_response_is_evicted() {
    const PAGE: usize = 1_000_000;
    let limits = Limits { max_connections: 4, ..Limits::default() };
    let server = Setup { page: PAGE, limits, ..Setup::default() }.run();
    let mut readers = readers(&server, 4);
    let mut waiting = server.connect();
    waiting.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    // All four pages move, and none has ended: together they are more than all buffers hold.
    waiting.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    for _ in 0..5 {
        for reader in &mut readers {
            reader.read_exact(&mut [0; 1_000]).unwrap();
        }
        let answered = waiting.read(&mut [0; 1]);
        assert!(answered.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it does not wait");
    }
    let pages: Vec<_> = readers
        .into_iter()
        .map(|mut reader| thread::spawn(move || reader.read_to_end(&mut Vec::new()).unwrap()))
        .collect();
    waiting.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = Vec::new();
    waiting.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer).status, 200);
    for page in pages {
        assert!(page.join().unwrap() >= PAGE - 200_000, "a page was cut");
    }
    assert_eq!(server.stats().evicted(), 0);
}

#[test]
fn at_the_limit_a_new_connection_replaces_a_stalled_response() {
    let limits = Limits { max_connections: 4, stall_timeout: Duration::from_secs(1), ..Limits::default() };
    let server = Setup { page: 20_000_000, limits, ..Setup::default() }.run();
    let stalled = readers(&server, 4);
    assert_eq!(server.get("/-/healthy").status, 200);
    assert!(server.stats().evicted() >= 1);
    drop(stalled);
    server.settles();
}

#[test]
fn the_server_recovers_when_file_descriptors_are_available_again() {
    if !alone("load::the_server_recovers_when_file_descriptors_are_available_again", "ulimit -n 64;") {
        return;
    }
    let server = Setup::default().run();
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    hoard.pop();
    // The client takes the last descriptor; the server has none to accept it with.
    let mut stream = server.connect();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    eventually("the server has tried again and again", || server.stats().accept_errors() >= 3);
    drop(hoard);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer).status, 200);
    server.settles();
}

#[test]
fn shutdown_closes_idle_connections_and_completes_responses_in_flight() {
    let server = Setup { page: 3_000_000, ..Setup::default() }.run();
    let mut idle = server.connect();
    let mut half = server.connect();
    half.write_all(b"GET /metrics HT").unwrap();
    let mut reader = server.connect();
    reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut page = vec![0];
    reader.read_exact(&mut page).unwrap();
    let rest = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        reader.read_to_end(&mut page).unwrap();
        Answer::parse(&page).body.len()
    });
    eventually("all three are connected", || server.stats().connections() == 3);
    let addr = server.addr;
    server.stop();
    assert!(rest.join().unwrap() >= 3_000_000);
    let _ = idle.read_to_end(&mut Vec::new());
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn shutdown_takes_no_longer_than_the_grace_period() {
    let server = Setup { page: 100_000_000, ..Setup::default() }.run();
    let mut reader = server.connect();
    reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    reader.read_exact(&mut [0; 1]).unwrap();
    let took = server.stop();
    assert!(took >= Limits::default().shutdown_grace && took < Duration::from_secs(5), "{took:?}");
}
