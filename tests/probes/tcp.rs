//! TCP probes.

use std::{io::Write, time::Duration};

use regionwatch::model::{Failure, StampSource};

use crate::{
    servers,
    support::{phases, probing},
};

#[tokio::test]
async fn a_connection_is_measured_by_the_kernel() {
    let addr = servers::tcp(drop);
    let timings = probing("127.0.0.1", format!("kind: tcp, port: {}", addr.port())).succeeds().await;
    assert_eq!(phases(&timings), ["connect"]);
    assert_eq!(timings.source, StampSource::Kernel);
    assert!(timings.total > Duration::ZERO && timings.total < Duration::from_millis(50), "{timings:?}");
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
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let probe = format!("kind: tcp, port: {}, expect: x", addr.port());
    assert_eq!(probing("127.0.0.1", probe).fails_at_the_deadline().await, Failure::Mismatch);
}

#[tokio::test]
async fn a_flood_that_does_not_match_ends_at_the_limit() {
    let addr = servers::tcp(|mut stream| while stream.write_all(&[b'a'; 65_536]).is_ok() {});
    let probe = format!("kind: tcp, port: {}, expect: x", addr.port());
    assert_eq!(probing("127.0.0.1", probe).fails().await, Failure::Mismatch);
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
    probe("(?-u)^\\x00\\xd2").succeeds().await;
    // Without (?-u), a number is that of a character, which has two bytes in UTF-8.
    assert_eq!(probe("\\xd2").fails().await, Failure::Mismatch);
}
