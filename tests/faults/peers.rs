//! Peers that send more than anyone asked for: DNS, HTTP, pages.

use std::{
    io::{Read, Write},
    net::{SocketAddr, UdpSocket},
    sync::atomic::Ordering,
    time::Duration,
};

use testkit::regions::{region::Plan, stranger_address};
use tokio::time::Instant;

use crate::attack::{Crew, Underway, is_shipped, withstood, withstood_with};

/// The survivors probe a host in this way too. It is a region whose network and service are well.
pub(crate) fn probe(plan: &mut Plan, probes: &[String]) {
    plan.strangers = 1;
    let host = stranger_address(0);
    // A target has one probe of a kind.
    let target = |(n, probe): (usize, &String)| {
        format!("      - name: hostile{n}\n        host: {host}\n        probes:\n          - {{{probe}}}\n")
    };
    let targets: String = probes.iter().enumerate().map(target).collect();
    plan.peers = format!(
        "  - region: h\n    targets:\n      - name: edge\n        host: {host}\n        probes:\n          - {{kind: icmp}}\n{targets}"
    );
}

/// A DNS message with another id than that which was asked, of this many records.
fn message(query: &[u8], records: u16) -> Vec<u8> {
    let mut message = query[..query.len().min(512)].to_vec();
    // Additional records of the question are no part of the answer.
    message.truncate(12 + message[12..].windows(5).position(|end| end[0] == 0).map_or(0, |at| at + 5));
    message[0] ^= 0xff;
    message[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
    message[6..8].copy_from_slice(&records.to_be_bytes());
    // Each is a CNAME that points to the first, a name of 126 labels.
    let name = u16::try_from(message.len()).unwrap() + 12;
    for n in 0..records {
        message.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60]);
        if n == 0 {
            message.extend(253u16.to_be_bytes());
            message.extend([1, b'a'].repeat(126));
            message.push(0);
        } else {
            message.extend(2u16.to_be_bytes());
            message.extend((0xc000 | name).to_be_bytes());
        }
    }
    message
}

#[test]
fn a_dns_server_that_floods_with_wrong_ids_delays_nothing() {
    withstood(
        "DNS: 3,000 wrong ids a second",
        |plan| probe(plan, &["kind: dns, query: app.example.com, record: A".to_owned()]),
        |world| {
            let mut crew = Crew::default();
            let host = &world.strangers[0];
            let socket = host.run(|| UdpSocket::bind("0.0.0.0:53").unwrap());
            socket.set_nonblocking(true).unwrap();
            let (mut clients, mut buffer): (Vec<(SocketAddr, Vec<u8>)>, _) = (Vec::new(), [0; 1500]);
            let (mut began, mut bursts) = (Instant::now(), 0);
            crew.join(host, move || {
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    clients.retain(|(client, _)| client.ip() != from.ip());
                    clients.push((from, message(&buffer[..length], 85)));
                }
                for _ in 0..15 {
                    for (client, message) in &clients {
                        let _ = socket.send_to(message, client);
                    }
                }
                bursts += 1;
                crate::attack::pace(&mut began, &mut bursts, Duration::from_millis(5));
                !clients.is_empty()
            });
            crew.attack(200.0)
        },
    );
}

#[test]
fn a_dns_server_that_floods_with_long_messages_delays_nothing() {
    withstood(
        "DNS over TCP: messages of 64 KiB",
        |plan| probe(plan, &["kind: dns, transport: tcp, query: app.example.com, record: A".to_owned()]),
        |world| {
            let mut crew = Crew::default();
            crew.serve(&world.strangers[0], 53, |stream| {
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query)?;
                let message = message(&query, 4600);
                let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
                Ok((Vec::new(), framed))
            });
            crew.attack(20.0)
        },
    );
}

/// A frame of HTTP/2 (RFC 9113 4.1) on a stream below 256.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A HEADERS frame with this status, on the first stream of a client.
fn status(status: &str) -> Vec<u8> {
    // A literal field without indexing, whose name is entry 8 of the static table (RFC 7541).
    frame(1, 4, 1, &[&[8, 3], status.as_bytes()].concat())
}

/// Serves on one port after another; each says something first, and then something else again and again.
fn endless(world: &testkit::regions::World, says: Vec<(Vec<u8>, Vec<u8>)>) -> Underway {
    let mut crew = Crew::default();
    for (port, (first, again)) in (8000..).zip(says) {
        let again = again.repeat(16384 / again.len().max(1));
        crew.serve(&world.strangers[0], port, move |stream| {
            // The request, or its first part.
            let _ = stream.read(&mut [0; 4096])?;
            Ok((first.clone(), again.clone()))
        });
    }
    crew.attack(20.0)
}

fn http(port: u16, more: &str) -> String {
    format!("kind: http, interval: 250ms, url: \"http://{}:{port}/\"{more}", stranger_address(0))
}

#[test]
fn interim_answers_without_end_delay_nothing() {
    withstood(
        "HTTP/1: 100 Continue without end",
        |plan| probe(plan, &[http(8000, ""), http(8000, ", keep_alive: true")]),
        |world| endless(world, vec![(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())]),
    );
}

#[test]
fn interim_answers_without_end_over_http_2_delay_nothing() {
    withstood(
        "HTTP/2: 103 without end",
        |plan| probe(plan, &[http(8000, ", version: 2"), http(8000, ", version: 2, keep_alive: true")]),
        |world| endless(world, vec![(frame(4, 0, 0, &[]), status("103"))]),
    );
}

#[test]
fn an_alertmanager_that_answers_without_end_delays_nothing() {
    withstood(
        "Alertmanager: 100 Continue without end",
        |plan| {
            plan.strangers = 1;
            plan.pushes_to = vec![format!("http://{}:8000", stranger_address(0))];
        },
        |world| endless(world, vec![(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())]),
    );
}

#[test]
fn frames_that_bring_nothing_on_delay_nothing() {
    let frames = || {
        [
            frame(4, 0, 0, &[]),
            frame(6, 0, 0, &[0; 8]),
            frame(8, 0, 0, &[0, 0, 0, 1]),
            frame(2, 0, 3, &[0; 5]),
            frame(7, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
            frame(0xfa, 0, 0, &[]),
        ]
        .into_iter()
        .map(|again| (frame(4, 0, 0, &[]), again))
        .chain([([frame(4, 0, 0, &[]), status("200")].concat(), frame(0, 0, 1, b"a"))])
        .collect::<Vec<_>>()
    };
    withstood(
        "HTTP/2: seven kinds of frames without progress",
        |plan| {
            probe(
                plan,
                &(8000..8007).map(|port| http(port, ", version: 2").replace("250ms", "500ms")).collect::<Vec<_>>(),
            )
        },
        |world| endless(world, frames()),
    );
}

#[test]
fn large_pages_whose_bodies_are_matched_delay_nothing() {
    // To read and to match 8 MB a second is 4 % of a CPU alone, and all of one without optimisation.
    let pages = if is_shipped() { 8 } else { 1 };
    withstood_with(
        4,
        "HTTP: matched pages of 1 MB, eight a second",
        |plan| {
            let page = http(8000, ", expect: {body: \"(a+b)+c\"}").replace("250ms", "1s");
            // They differ in their paths.
            probe(plan, &(0..pages).map(|n| page.replace("/\"", &format!("/{n}\""))).collect::<Vec<_>>());
        },
        |world| {
            let mut crew = Crew::default();
            let pages = std::sync::Arc::clone(&crew.hits);
            crew.serve(&world.strangers[0], 8000, move |stream| {
                let _ = stream.read(&mut [0; 4096])?;
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n";
                stream.write_all(head.as_bytes())?;
                stream.write_all(&vec![b'a'; 1_000_000])?;
                pages.fetch_add(1, Ordering::Relaxed);
                Err(std::io::ErrorKind::ConnectionAborted.into())
            });
            crew.attack(4.0)
        },
    );
}
