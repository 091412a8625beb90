//! Peers whose kernel takes nothing more, and packets in pieces.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use testkit::regions::stranger_address;
use tokio::time::Instant;

use crate::{
    attack::{Crew, Underway, pace, withstood},
    peers::probe,
};

const PORT: u16 = 8000;

/// Probes and pushes go to the stranger.
fn told(plan: &mut testkit::regions::region::Plan, body: usize) {
    let body = "x".repeat(body);
    let url = format!("http://{}:{PORT}", stranger_address(0));
    probe(
        plan,
        &[
            format!("kind: http, interval: 250ms, url: \"{url}/\", method: POST, body: \"{body}\""),
            format!("kind: tcp, port: {PORT}, send: \"{body}\", expect: never"),
        ],
    );
    plan.pushes_to = vec![url];
}

#[test]
fn a_peer_whose_window_stays_closed_delays_nothing() {
    withstood(
        "TCP: zero window",
        |plan| told(plan, 200_000),
        |world| {
            let mut crew = Crew::default();
            let listener = world.strangers[0].run(|| {
                let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
                let socket = SockRef::from(&listener);
                // Connections inherit it.
                socket.set_recv_buffer_size(1).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                listener
            });
            let mut open = Vec::new();
            crew.join(&world.strangers[0], move || {
                let Ok((stream, _)) = listener.accept() else { return false };
                open.push(stream);
                true
            });
            crew.attack(10.0)
        },
    );
}

#[test]
fn a_peer_whose_accept_queue_is_full_delays_nothing() {
    withstood(
        "TCP: full accept queue",
        |plan| told(plan, 10),
        |world| {
            let address: SocketAddr = format!("{}:{PORT}", stranger_address(0)).parse().unwrap();
            let full = world.strangers[0].run(move || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.set_reuse_address(true).unwrap();
                socket.bind(&SocketAddr::from(([0; 4], PORT)).into()).unwrap();
                socket.listen(0).unwrap();
                let wait = Duration::from_millis(200);
                let mut open = Vec::new();
                while let Ok(stream) = TcpStream::connect_timeout(&address, wait) {
                    open.push(stream);
                }
                (socket, open)
            });
            Underway::new(1.0, || 1.0, vec![Box::new(full)])
        },
    );
}

/// The first piece of a datagram of 1,000 bytes to port 9877, of which no other piece follows.
fn piece(source: [u8; 4], target: [u8; 4], id: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    // More fragments follow.
    packet.extend([0x20, 0, 64, 17, 0, 0]);
    packet.extend(source);
    packet.extend(target);
    packet.extend([0x26, 0x95, 0x26, 0x95, 0x0f, 0xa0, 0, 0]);
    packet.resize(20 + 1000, 0);
    packet
}

#[test]
fn packets_in_pieces_that_never_become_whole_delay_nothing() {
    withstood(
        "IP: 4,000 fragments a second",
        |plan| {
            // Questions that come in pieces, too.
            probe(plan, &["kind: icmp, size: 4000".to_owned()]);
        },
        |world| {
            let mut crew = Crew::default();
            let host = &world.strangers[0];
            let socket =
                host.run(|| Socket::new(Domain::IPV4, Type::from(libc::SOCK_RAW), Some(Protocol::from(255))).unwrap());
            let (mut began, mut done, mut id) = (Instant::now(), 0, 0u16);
            crew.join(host, move || {
                id = id.wrapping_add(1);
                let [high, low] = id.to_be_bytes();
                for net in [1, 2] {
                    let target = [10, 0, net, 2];
                    let address = SocketAddr::from((target, 0)).into();
                    let _ = socket.send_to(&piece([192, 0, high % 200, low], target, id), &address);
                }
                done += 1;
                pace(&mut began, &mut done, Duration::from_micros(500));
                true
            });
            crew.attack(1000.0)
        },
    );
}

#[test]
fn a_peer_that_answers_by_single_bytes_delays_nothing() {
    withstood(
        "TCP: a byte in each segment",
        |plan| told(plan, 10),
        |world| {
            let mut crew = Crew::default();
            let hits = std::sync::Arc::clone(&crew.hits);
            crew.serve(&world.strangers[0], PORT, move |stream| {
                let _ = stream.read(&mut [0; 4096])?;
                stream.set_nodelay(true)?;
                for _ in 0..20_000 {
                    io::Write::write_all(stream, b"H")?;
                    hits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    thread::sleep(Duration::from_micros(100));
                }
                Err(io::ErrorKind::ConnectionAborted.into())
            });
            crew.attack(1000.0)
        },
    );
}
