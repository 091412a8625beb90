//! How far a failed probe came.

use std::{
    io::{Read, Write},
    net::UdpSocket,
    thread,
    time::Duration,
};

use regionwatch::model::{Failure, Phase};

use crate::{
    servers,
    support::{TIMEOUT, probing},
};

async fn failed(probe: String, limit: Duration) -> (Failure, Option<Phase>) {
    let seen = probing("127.0.0.1", probe).timeout(limit).run(1).await.remove(0);
    (seen.outcome.unwrap_err(), seen.failed.phase)
}

#[tokio::test]
async fn a_failure_reports_the_phase_it_occurred_in() {
    let closed = servers::closed();
    let silent = servers::tcp(|_stream| thread::sleep(Duration::from_secs(5)));
    let stalling = servers::tcp(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        thread::sleep(Duration::from_secs(5));
    });
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent_dns = mute.local_addr().unwrap().port();
    let (refused, timeout) = (Failure::Refused, Failure::Timeout);
    for (probe, failure, phase) in [
        (format!("kind: tcp, port: {}", closed.port()), refused, Phase::Connect),
        (format!("kind: tcp, port: {}, tls: true", silent.port()), timeout, Phase::Tls),
        (format!("kind: tcp, port: {}, expect: x", silent.port()), timeout, Phase::Processing),
        (format!("kind: http, url: 'http://{closed}/'"), refused, Phase::Connect),
        (format!("kind: http, url: 'https://{silent}/'"), timeout, Phase::Tls),
        (format!("kind: http, url: 'http://{silent}/'"), timeout, Phase::Processing),
        (format!("kind: http, url: 'http://{stalling}/'"), timeout, Phase::Transfer),
        (format!("kind: dns, query: a.example, port: {silent_dns}"), timeout, Phase::Request),
        (format!("kind: dns, query: a.example, transport: tcp, port: {}", closed.port()), refused, Phase::Connect),
        (format!("kind: dns, query: a.example, transport: tls, port: {}", silent.port()), timeout, Phase::Tls),
        (format!("kind: dns, query: a.example, transport: tcp, port: {}", silent.port()), timeout, Phase::Request),
        (format!("kind: postgres, user: app, port: {}", silent.port()), timeout, Phase::Auth),
        (format!("kind: postgres, user: app, tls: true, port: {}", silent.port()), timeout, Phase::Tls),
        // The server speaks first.
        (format!("kind: mysql, user: app, tls: true, port: {}", silent.port()), timeout, Phase::Auth),
        (format!("kind: redis, port: {}", silent.port()), timeout, Phase::Read),
        (format!("kind: redis, user: app, port: {}", silent.port()), timeout, Phase::Auth),
        (format!("kind: redis, user: app, tls: true, port: {}", silent.port()), timeout, Phase::Tls),
    ] {
        // A peer that must do something before the deadline has time for it, on a busy machine too.
        let limit = match (failure, phase) {
            (Failure::Timeout, Phase::Transfer) => 5 * TIMEOUT,
            (Failure::Timeout, _) => TIMEOUT,
            _ => 10 * TIMEOUT,
        };
        assert_eq!(failed(probe.clone(), limit).await, (failure, Some(phase)), "{probe}");
    }
}
