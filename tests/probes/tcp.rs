//! TCP probes.

use std::{io::Write, net::SocketAddr, time::Duration};

use regionwatch::model::{Failure, StampSource};

use crate::{
    servers,
    support::{phases, probing},
};

#[tokio::test]
async fn a_connection_is_measured_by_the_kernel() {
    let addr = servers::tcp(drop);
    let seen = probing("127.0.0.1", format!("kind: tcp, port: {}", addr.port())).run(1).await.remove(0);
    let timings = seen.outcome.unwrap();
    assert_eq!(phases(&timings), ["connect"]);
    assert_eq!(timings.source, StampSource::Kernel);
    assert!(timings.total > Duration::ZERO && timings.total < seen.took, "{timings:?}");
}

#[tokio::test]
async fn a_closed_port_is_refused_at_once() {
    let addr = servers::closed();
    assert_eq!(probing("127.0.0.1", format!("kind: tcp, port: {}", addr.port())).fails().await, Failure::Refused);
}

#[tokio::test]
async fn a_banner_that_matches_is_a_success_and_another_a_mismatch() {
    let addr = servers::tcp(|mut stream| drop(stream.write_all(b"220 mail.example.com ESMTP\r\n")));
    let probe = |expect: &str| probing("127.0.0.1", format!("kind: tcp, port: {}, expect: '{expect}'", addr.port()));
    assert_eq!(phases(&probe("^220 .* ESMTP").succeeds().await), ["connect"]);
    assert_eq!(probe("^SSH-2").fails().await, Failure::Mismatch);
}

#[tokio::test]
async fn what_is_sent_is_answered() {
    let addr = servers::tcp(|mut stream| {
        let mut question = [0; 6];
        let read = std::io::Read::read_exact(&mut stream, &mut question);
        if read.is_ok() && &question == b"PING\r\n" {
            let _ = stream.write_all(b"+PONG\r\n");
        }
    });
    let probe = format!(r#"kind: tcp, port: {}, send: "PING\r\n", expect: "PONG""#, addr.port());
    probing("127.0.0.1", probe).succeeds().await;
}

#[tokio::test]
async fn a_silent_peer_that_accepts_times_out_at_the_deadline() {
    let addr = servers::tcp(|_stream| std::thread::sleep(Duration::from_secs(5)));
    let probe = format!("kind: tcp, port: {}, expect: x", addr.port());
    assert_eq!(probing("127.0.0.1", probe).fails_at_the_deadline().await, Failure::Timeout);
}

#[tokio::test]
async fn an_endless_banner_that_does_not_match_is_a_mismatch_at_the_deadline() {
    let addr = servers::tcp(|mut stream| {
        while stream.write_all(b"blah ").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let probe = format!("kind: tcp, port: {}, expect: x", addr.port());
    assert_eq!(probing("127.0.0.1", probe).fails_at_the_deadline().await, Failure::Mismatch);
}

#[tokio::test]
async fn a_banner_in_many_pieces_that_does_not_match_ends_at_the_limit() {
    let addr = servers::tcp(|mut stream| {
        while stream.write_all(b"blah ").is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let probe = format!("kind: tcp, port: {}, expect: x", addr.port());
    assert_eq!(probing("127.0.0.1", probe).fails_early().await, Failure::Mismatch);
}

#[tokio::test]
async fn a_flood_that_does_not_match_ends_at_the_limit() {
    let addr = servers::tcp(|mut stream| while stream.write_all(&[b'a'; 65_536]).is_ok() {});
    let probe = format!("kind: tcp, port: {}, expect: x", addr.port());
    assert_eq!(probing("127.0.0.1", probe).fails_early().await, Failure::Mismatch);
}

#[tokio::test]
async fn ipv6_works_as_ipv4_does() {
    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let timings = probing("::1", format!("kind: tcp, port: {port}")).succeeds().await;
    assert_eq!(timings.source, StampSource::Kernel);
}

#[tokio::test]
async fn bytes_are_sent_and_matched_as_they_are() {
    let addr = servers::tcp(|mut stream| {
        let mut asked = [0; 3];
        let _ = std::io::Read::read_exact(&mut stream, &mut asked);
        let _ = stream.write_all(if asked == [0xd2, 0x00, 0xff] { b"\x00\xd2\xff" } else { b"\x00" });
    });
    let probe = |expect: &str| {
        let probe = format!("kind: tcp, port: {}, send_hex: d2 00 FF, expect: '{expect}'", addr.port());
        probing("127.0.0.1", probe)
    };
    // What bash sends and reads there.
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; printf '\\xd2\\x00\\xff' >&3; od -An -tx1 <&3", addr.port());
    let bash = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "00 d2 ff");
    probe("(?-u)^\\x00\\xd2").succeeds().await;
    // Without (?-u), a number is that of a character, which has two bytes in UTF-8.
    assert_eq!(probe("\\xd2").fails().await, Failure::Mismatch);
}

/// The address that a server sees of each connection.
fn clients_of(addr: &str) -> (SocketAddr, std::sync::mpsc::Receiver<std::net::IpAddr>) {
    let listener = std::net::TcpListener::bind(addr).unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, clients) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((_, client)) = listener.accept() {
            let _ = sender.send(client.ip());
        }
    });
    (addr, clients)
}

#[tokio::test]
async fn a_probe_leaves_from_the_address_or_the_interface_that_is_asked_for() {
    let probe = |addr: SocketAddr, source: &str| {
        probing("127.0.0.1", format!("kind: tcp, port: {}", addr.port())).with_target(&format!("source: {source}"))
    };
    for source in ["127.0.0.5", "127.0.0.6"] {
        let (addr, clients) = clients_of("127.0.0.1:0");
        let curl = ["--silent", "--max-time", "5", "--interface", source, &format!("http://{addr}/")];
        std::process::Command::new("curl").args(curl).status().unwrap();
        assert_eq!(clients.recv().unwrap().to_string(), source);
        probe(addr, source).succeeds().await;
        assert_eq!(clients.recv().unwrap().to_string(), source);
    }
    let (addr, _clients) = clients_of("127.0.0.1:0");
    probe(addr, "lo").succeeds().await;
    // Documentation addresses and this interface are nowhere.
    assert_eq!(probe(addr, "192.0.2.9").fails().await, Failure::Local);
    assert_eq!(probe(addr, "nowhere0").fails().await, Failure::Local);

    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    let seen = std::sync::Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            seen.lock().unwrap().push(from.ip().to_string());
            buffer[2] |= 0x80;
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    let dns = format!("kind: dns, port: {}, query: a.example", server.port());
    probing("127.0.0.1", dns).with_target("source: 127.0.0.7").succeeds().await;
    assert!(asked.lock().unwrap().iter().all(|from| from == "127.0.0.7"));
    let ping = async |target: &str| {
        probing("127.0.0.1", "kind: icmp").with_target(target).run(1).await.remove(0).outcome.is_ok()
    };
    assert_eq!(ping("source: 127.0.0.8").await, ping("address_family: any").await);
}
