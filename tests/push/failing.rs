//! Alertmanagers that fail in every way, beside one that works.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use regionwatch::{
    config::HttpUrl,
    model::{Host, Stage},
    net::Resolver,
};
use testkit::{cpu::waited, stalls::Stalls};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::support::{
    Alertmanager, Sink, eventually, free, incident, need_alertmanager, posted, read_request, resolved, serve, telling,
    telling_urls, url,
};

fn answers(answer: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| while read_request(&mut stream).is_some() && stream.write_all(answer).is_ok() {})
}

/// A body of a gibibyte, for as long as somebody reads it.
fn floods(mut stream: TcpStream) {
    while read_request(&mut stream).is_some() {
        let mut result = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        for _ in 0..1 << 14 {
            result = result.and_then(|()| stream.write_all(&[b'['; 1 << 16]));
        }
        if result.is_err() {
            return;
        }
    }
}

#[test]
async fn no_failure_of_an_alertmanager_delays_the_others() {
    need_alertmanager();
    let sink = Sink::start();
    let works = Alertmanager::started(&sink).await;
    let plain = Sink::start();
    let beside = Alertmanager::started(&plain).await;
    let hangs = serve(|mut stream| while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {});
    let drips = serve(|mut stream| {
        read_request(&mut stream);
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let refuses = answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\n\x1b[2J");
    let broken = answers(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    let redirects = answers(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n");
    let garbage = answers(b"\x00\xff SSH-2.0\r\n\r\n");
    let flood = serve(floods);
    let closed = free();
    let telling = telling(&[hangs, drips, refuses, broken, redirects, garbage, flood, closed, works.addr]);
    telling.pushed(works.addr, "ok", 1).await;
    sleep(Duration::from_millis(300)).await;
    let mut set = Vec::new();
    // Of the pushes, and of alerts that the test posts itself at the same time, to an Alertmanager beside.
    let (mut most, mut usual) = (Duration::ZERO, Duration::ZERO);
    let stalls = Stalls::watch();
    for n in 0..20 {
        let (to, told) = (beside.addr, plain.clone());
        let bystander = spawn_blocking(move || posted(to, &told, n + 1));
        set.push(incident(&format!("region-{n}"), Stage::Prepare));
        let (published, before) = (Instant::now(), waited());
        telling.notifier.publish(set.clone());
        let (received, _) = sink.nth(n + 1).await;
        // What pushes is on this thread.
        most = most.max(received.saturating_duration_since(published).saturating_sub(waited() - before));
        usual = usual.max(bystander.await.unwrap());
        sleep(Duration::from_millis(100)).await;
    }
    eprintln!("push to webhook beside eight failing Alertmanagers: most {most:?}, without the product {usual:?}");
    assert!(
        most < Duration::from_millis(250) + usual + stalls.worst(),
        "{most:?}, and {usual:?} without the product, where the machine stood still for {:?}",
        stalls.worst()
    );
    for (addr, result) in [
        (hangs, "timeout"),
        (drips, "timeout"),
        (refuses, "status_4xx"),
        (broken, "status_5xx"),
        (redirects, "status_3xx"),
        (garbage, "protocol"),
        (flood, "protocol"),
        (closed, "refused"),
    ] {
        telling.pushed(addr, result, 1).await;
        assert_eq!(telling.pushes(addr, "ok"), 0, "{result}");
    }
    let all: u64 =
        ["timeout", "refused", "protocol", "status_5xx"].iter().map(|it| telling.pushes(works.addr, it)).sum();
    assert_eq!(all, 0);
}

#[test]
async fn a_connection_closed_between_pushes_is_no_failure() {
    let addr = serve(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        // Leaves when the next push has come.
        read_request(&mut stream);
    });
    let telling = telling(&[addr]);
    for n in 1..=10 {
        telling.pushed(addr, "ok", n).await;
        telling.notifier.publish(vec![incident(&format!("region-{n}"), Stage::Prepare)]);
    }
    for result in ["timeout", "refused", "protocol", "local"] {
        assert_eq!(telling.pushes(addr, result), 0, "{result}");
    }
}

#[test]
async fn incidents_published_while_an_alertmanager_hangs_are_not_lost() {
    need_alertmanager();
    let sink = Sink::start();
    let alertmanager = Alertmanager::started(&sink).await;
    let telling = telling(&[alertmanager.addr]);
    let down = incident("us-east-1", Stage::Prepare);
    telling.notifier.publish(vec![down.clone()]);
    sink.nth(1).await;
    alertmanager.stop();
    let execute = incident("us-east-1", Stage::Execute);
    telling.notifier.publish(vec![down.clone(), execute.clone()]);
    telling.pushed(alertmanager.addr, "timeout", 2).await;
    telling.notifier.publish(vec![resolved(&down), execute]);
    telling.pushed(alertmanager.addr, "timeout", 3).await;
    alertmanager.go_on();
    sink.nth(3).await;
    let mut statuses = sink.statuses();
    statuses.sort_unstable();
    assert_eq!(statuses, ["firing", "firing", "resolved"]);
}

#[test]
async fn an_alertmanager_without_tls_counts_as_tls_failure() {
    let plain = HttpUrl { https: true, ..url(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) };
    let hello = HttpUrl { https: true, ..url(serve(|mut stream| drop(stream.write_all(b"HTTP/1.1 400 X\r\n\r\n")))) };
    let telling = telling_urls(&[plain.clone(), hello.clone()], &Resolver::new(None));
    let limit = Duration::from_secs(20);
    eventually("a failed handshake", limit, || (telling.pushes_to(&hello, "tls") > 0).then_some(())).await;
    // It waits for what it takes for a request.
    eventually("a handshake without end", limit, || (telling.pushes_to(&plain, "timeout") > 0).then_some(())).await;
    assert_eq!(telling.pushes_to(&plain, "ok") + telling.pushes_to(&hello, "ok"), 0);
}

#[test]
async fn a_name_that_does_not_resolve_counts_as_resolve_failure_and_delays_no_other() {
    let works = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let nowhere = HttpUrl { host: Host::Name("nothing.invalid".into()), ..url(works) };
    let telling = telling_urls(&[nowhere.clone(), url(works)], &Resolver::new(None));
    telling.pushed(works, "ok", 1).await;
    telling.notifier.publish(vec![incident("us-east-1", Stage::Prepare)]);
    telling.pushed(works, "ok", 2).await;
    let failed = || telling.pushes_to(&nowhere, "resolve");
    eventually("a name without an address", Duration::from_secs(20), || (failed() > 0).then_some(())).await;
}
