use std::{
    net::Ipv4Addr,
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::coldstart::{fake, page_cache::PageCache, pull::Model};

/// An engine whose containers have this address. A test may answer before it does.
fn engine(
    architecture: &'static str,
    address: &'static str,
    first: impl Fn(&str) -> Option<(&'static str, String)> + Send + Sync + 'static,
) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    fake::engine(&path, move |request| {
        if let Some(answer) = first(request) {
            return answer;
        }
        let body = match request {
            "GET /version" => serde_json::json!({ "Version": "0", "Arch": architecture }),
            "POST /containers/c/start" => return ("204 Done", String::new()),
            "GET /containers/c/json" => serde_json::json!({
                "State": { "Running": true },
                "NetworkSettings": { "Networks": { "n": { "IPAddress": address } } }
            }),
            _ => serde_json::json!({ "Id": "c" }),
        };
        ("200 OK", body.to_string())
    });
    (folder, path)
}

/// A program that answers everything.
async fn program() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    });
    port
}

fn plan(socket: PathBuf, port: u16, rounds: usize) -> Plan {
    let question = Question::parse(&format!("http://:{port}/")).unwrap();
    let candidate = |name: &str| Candidate {
        name: name.to_owned(),
        origin: Origin::Engine(name.to_owned()),
        question: question.clone(),
        options: ContainerOptions::default(),
    };
    Plan {
        sockets: vec![socket],
        images: vec![candidate("a"), candidate("b")],
        question: question.clone(),
        rounds,
        // Longer than a program on a busy machine needs for an answer.
        timeout: Duration::from_secs(60),
        options: ContainerOptions::default(),
        model: Model { bandwidths: Vec::new(), present: Present::All },
        page_cache: PageCache::Warm,
    }
}

async fn compared(plan: &Plan) -> Result<(Comparison, End), ColdstartError> {
    compare(plan, &mut |_, _, _| ControlFlow::Continue(())).await
}

#[test]
fn every_round_starts_every_image_once() {
    for count in 0..6 {
        let mut order = shuffled(count);
        order.sort_unstable();
        assert_eq!(order, (0..count).collect::<Vec<_>>());
    }
    assert!((0..100).any(|_| shuffled(3) != [0, 1, 2]));
}

#[tokio::test]
async fn containers_that_cannot_be_reached_end_the_run_at_the_null_image() {
    // No host has an address of TEST-NET-1 (RFC 5737).
    let (_folder, socket) = engine("amd64", "192.0.2.1", |_| None);
    let mut plan = plan(socket, 80, 20);
    plan.timeout = Duration::from_millis(500);
    let reason = compared(&plan).await.unwrap_err().to_string();
    assert!(reason.starts_with("the null image does not answer at 192.0.2.1:8080: "), "{reason}");
    assert!(reason.contains("; add --publish"), "{reason}");
    plan.options.publish = true;
    let refused = Err(NotReady::Unanswered(crate::model::Failure::Refused));
    let address = "127.0.0.1:1".parse().ok();
    let reason = reached(&refused, address, true).unwrap_err().to_string();
    assert!(!reason.contains("--publish") && reason.contains("127.0.0.1:1: "), "{reason}");
    assert!(reached(&Err(NotReady::ClockStep), address, false).is_ok());
}

#[tokio::test]
async fn images_of_which_none_is_ready_in_the_first_round_are_not_started_again() {
    let (_folder, socket) = engine("riscv64", "127.0.0.1", |request| {
        (request == "POST /containers/c/start").then(|| ("500 No", "x".into()))
    });
    let (comparison, end) = compared(&plan(socket, 1, 20)).await.unwrap();
    assert!(matches!(end, End::Complete) && comparison.broken.is_none());
    for image in &comparison.images {
        assert_eq!(image.starts, [Err(NotReady::NotStarted("x".to_owned()))]);
    }
    assert_eq!(comparison.results.series.len(), 2);
}

#[tokio::test]
async fn an_image_that_is_not_there_is_said_before_another_one_is_read() {
    let exports = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&exports);
    let (_folder, socket) = engine("riscv64", "127.0.0.1", move |request| {
        counted.fetch_add(usize::from(request.ends_with("/get")), Ordering::Relaxed);
        (request == "GET /images/b/json").then(|| ("404 No", "{}".to_owned()))
    });
    let mut plan = plan(socket, 1, 1);
    plan.model.present = Present::None;
    let reason = compared(&plan).await.unwrap_err().to_string();
    assert!(reason.starts_with("\"b\" is no image of Docker"), "{reason}");
    assert_eq!(exports.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_engine_that_fails_once_fails_one_start() {
    let inspections = AtomicUsize::new(0);
    let (_folder, socket) = engine("riscv64", "127.0.0.1", move |request| {
        let is_fifth = request == "GET /containers/c/json" && inspections.fetch_add(1, Ordering::Relaxed) == 4;
        is_fifth.then(|| ("500 No", r#"{"message":"a moment please"}"#.to_owned()))
    });
    let (comparison, _) = compared(&plan(socket, program().await, 3)).await.unwrap();
    let starts: Vec<_> = comparison.images.iter().flat_map(|image| &image.starts).collect();
    let failed: Vec<_> = starts.iter().filter_map(|start| start.as_ref().err()).collect();
    assert_eq!((starts.len(), failed.len()), (6, 1), "{failed:?}");
    assert!(failed[0].to_string().contains("a moment please"), "{failed:?}");
}

#[tokio::test]
async fn what_was_measured_before_an_engine_broke_is_reported() {
    let removals = AtomicUsize::new(0);
    // The fifth container cannot be removed, until the end.
    let (_folder, socket) = engine("riscv64", "127.0.0.1", move |request| {
        let is_container = request.starts_with("DELETE /containers");
        let busy = is_container && (4..9).contains(&removals.fetch_add(1, Ordering::Relaxed));
        busy.then(|| ("500 No", r#"{"message":"device busy"}"#.to_owned()))
    });
    let (comparison, _) = compared(&plan(socket, program().await, 5)).await.unwrap();
    assert!(comparison.broken.as_ref().is_some_and(|reason| reason.contains("device busy")), "{comparison:?}");
    assert_eq!(comparison.images.iter().map(|image| image.ready().count()).sum::<usize>(), 2);
}

#[tokio::test]
async fn an_image_that_cannot_be_read_is_started_all_the_same() {
    let (_folder, socket) = engine("riscv64", "127.0.0.1", |request| {
        let is_export = request.starts_with("GET /images/") && request.ends_with("/get");
        is_export.then(|| ("200 OK", "no archive".to_owned()))
    });
    let mut plan = plan(socket, program().await, 1);
    plan.model.present = Present::None;
    let (comparison, _) = compared(&plan).await.unwrap();
    for image in &comparison.images {
        assert!(image.unread.as_ref().is_some_and(|reason| reason.contains("manifest.json")), "{image:?}");
        assert_eq!((image.pull, image.ready().count()), (None, 1));
    }
}
