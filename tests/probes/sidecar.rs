//! Probes of a peer's sidecar, and what they hand over.

use std::{
    collections::HashSet,
    io::Write,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use regionwatch::{
    config::DEFAULT_BUCKETS,
    decision::votes::{Keys, RejectReason, VoteMessage, verify},
    metrics::Metrics,
    model::{Failure, Nonce, Region, VoteResponse},
    server::{self, EncodedVotes, KnownVantages, Limits, Query, ServerState},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    servers,
    support::{Certificate, Probing, phases, probing},
};

fn sidecar(addr: SocketAddr, more: &str) -> (Probing, mpsc::Receiver<VoteResponse>) {
    let (sender, replies) = mpsc::channel(16);
    let probe = format!("kind: http, sidecar: true, url: 'http://{addr}/x'{more}");
    (probing("127.0.0.1", probe).with_response_sender(sender), replies)
}

fn vote_message() -> Vec<u8> {
    let there = Region::new("there").unwrap();
    VoteMessage::new(there, (1, 1), false, Vec::new(), Vec::new()).unwrap().encode().unwrap().to_vec()
}

/// Answers with this status, these header fields and this body, and notes the heads of the requests.
fn answering(status: &'static str, fields: &'static str, body: Vec<u8>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&heads);
    let addr = servers::tcp(move |mut stream| {
        noted.lock().unwrap().push(servers::read_head(&mut stream));
        let _ = write!(stream, "HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(&body);
    });
    (addr, heads)
}

fn nonces(heads: &Mutex<Vec<String>>) -> Vec<String> {
    let heads = heads.lock().unwrap();
    let nonce = |head: &String| {
        let line = head.lines().find_map(|line| line.strip_prefix("regionwatch-nonce: "));
        line.unwrap_or_else(|| panic!("no nonce in {head}")).to_owned()
    };
    heads.iter().map(nonce).collect()
}

#[tokio::test]
async fn each_request_has_its_own_nonce_and_the_response_is_sent_on_with_it() {
    let (addr, heads) = answering("200 OK", "Regionwatch-Signature: v1=00\r\n", vote_message());
    let (probing, mut replies) = sidecar(addr, "");
    for seen in probing.run(3).await {
        assert_eq!(phases(&seen.outcome.unwrap()), ["connect", "processing", "transfer"]);
    }
    let nonces = nonces(&heads);
    assert_eq!(nonces.iter().collect::<HashSet<_>>().len(), nonces.len());
    let mut requested = HashSet::new();
    for _ in 0..3 {
        let reply = replies.recv().await.unwrap();
        assert!(nonces.contains(&reply.nonce.to_string()) && reply.peer.as_str() == "there");
        assert_eq!(reply.signature.as_deref(), Some(&b"v1=00"[..]));
        assert_eq!(reply.body.as_deref(), Some(&vote_message()[..]));
        assert!(requested.insert((reply.nonce.to_string(), reply.requested_at)));
        assert!(!reply.trusted_transport);
    }
}

#[tokio::test]
async fn a_signature_that_the_peer_makes_for_the_nonce_is_accepted() {
    let keys = Keys::new(&["a secret of all regions"]).unwrap();
    let signer = keys.clone();
    let addr = servers::tcp(move |mut stream| {
        let head = servers::read_head(&mut stream);
        let nonce = head.lines().find_map(|line| line.strip_prefix("regionwatch-nonce: ")).unwrap();
        let signature = signer.sign(Nonce::parse(nonce.as_bytes()).unwrap(), &vote_message());
        let length = vote_message().len();
        let head = format!("HTTP/1.1 200 OK\r\nregionwatch-signature: {signature}\r\nContent-Length: {length}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&vote_message());
    });
    let (probing, mut replies) = sidecar(addr, "");
    probing.succeeds().await;
    let reply = replies.recv().await.unwrap();
    assert_eq!(verify(&reply, Some(&keys)).map(|message| message.sequence()), Ok(1));
    assert_eq!(
        verify(&reply, Some(&Keys::new(&["another secret, of others"]).unwrap())),
        Err(RejectReason::BadSignature)
    );
}

#[tokio::test]
async fn the_probe_accepts_the_votes_of_our_server() {
    let keys = Keys::new(&["a secret of all regions"]).unwrap();
    let there = Region::new("there").unwrap();
    let (queries, mut queried) = mpsc::channel(4);
    let state = ServerState {
        metrics: Arc::new(Metrics::new(&there, &DEFAULT_BUCKETS)),
        queries,
        lifecycle: false,
        vantages: KnownVantages::default(),
        external_url: watch::Sender::new(None).subscribe(),
        ready: Arc::default(),
        region: there,
        environment: None,
        version: "1.2.3",
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = server::spawn(listener, state, Limits::default(), async {
        let _ = stopped.await;
    });
    let signing = keys.clone();
    tokio::spawn(async move {
        while let Some(query) = queried.recv().await {
            if let Query::Votes(reply) = query {
                let _ = reply.send(EncodedVotes { body: vote_message().into(), keys: Some(signing.clone()) });
            }
        }
    });
    let (sender, mut replies) = mpsc::channel(16);
    let probe = format!("kind: http, sidecar: true, url: 'http://{addr}/api/v1/regions', keep_alive: true");
    for seen in probing("127.0.0.1", probe).with_response_sender(sender).run(3).await {
        seen.outcome.unwrap();
        let reply = replies.recv().await.unwrap();
        assert!(verify(&reply, Some(&keys)).is_ok());
        let recorded = VoteResponse { nonce: Nonce(reply.nonce.0 ^ 1), ..reply };
        assert_eq!(verify(&recorded, Some(&keys)), Err(RejectReason::BadSignature));
    }
    let _ = stop.send(());
    server.unwrap().join().unwrap();
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_protocol_error_and_is_reported() {
    let spaces = |count| answering("200 OK", "", vec![b' '; count]).0;
    let (probing, mut replies) = sidecar(spaces(VoteResponse::MAX_BODY), "");
    probing.succeeds().await;
    assert_eq!(replies.recv().await.unwrap().body.map(|body| body.len()), Some(VoteResponse::MAX_BODY));
    for (addr, more) in [(spaces(VoteResponse::MAX_BODY + 1), ""), (spaces(2000), ", body_limit: 1KiB")] {
        let (probing, mut replies) = sidecar(addr, more);
        assert_eq!(probing.fails().await, Failure::Protocol);
        let reply = replies.recv().await.unwrap();
        assert_eq!((reply.body.as_ref(), verify(&reply, None)), (None, Err(RejectReason::Oversized)));
    }
}

#[tokio::test]
async fn only_a_response_with_status_200_is_sent_on() {
    let accepted = ", expect: {status: [200, 204, 302, 500]}";
    for (status, fields) in [
        ("500 Internal Server Error", ""),
        ("204 No Content", ""),
        ("302 Found", "Location: /y\r\n"),
        ("503 Busy", "Retry-After: 1\r\n"),
    ] {
        for more in ["", accepted] {
            let (addr, _) = answering(status, fields, Vec::new());
            let (probing, mut replies) = sidecar(addr, more);
            let _ = probing.run(1).await;
            assert!(replies.recv().await.is_none(), "{status}");
        }
    }
    let (addr, _) = answering("200 OK", "", vote_message());
    let (probing, mut replies) = sidecar(addr, ", expect: {body: something else}");
    assert_eq!(probing.fails().await, Failure::Mismatch);
    assert!(replies.recv().await.is_none(), "it is not the answer that was expected");
}

#[tokio::test]
async fn a_redirect_is_asked_with_a_new_nonce_and_the_last_one_counts() {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&heads);
    let addr = servers::tcp(move |mut stream| {
        let head = servers::read_head(&mut stream);
        let answer = if head.starts_with("GET /x ") {
            &b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"[..]
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        };
        noted.lock().unwrap().push(head);
        let _ = stream.write_all(answer);
    });
    let (probing, mut replies) = sidecar(addr, ", redirects: 1");
    probing.succeeds().await;
    let nonces = nonces(&heads);
    assert_ne!(nonces[0], nonces[1]);
    assert_eq!(replies.recv().await.unwrap().nonce.to_string(), nonces[1]);
}

#[tokio::test]
async fn a_long_signature_is_truncated_and_a_full_channel_fails_no_probe() {
    let addr = servers::tcp(|mut stream| {
        servers::read_head(&mut stream);
        let signature = "a".repeat(30_000);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nregionwatch-signature: {signature}\r\nContent-Length: 0\r\n\r\n");
    });
    let (sender, mut replies) = mpsc::channel(1);
    let probe = format!("kind: http, sidecar: true, url: 'http://{addr}/x'");
    for seen in probing("127.0.0.1", probe).with_response_sender(sender).run(3).await {
        seen.outcome.unwrap();
    }
    assert_eq!(replies.recv().await.unwrap().signature.map(|text| text.len()), Some(VoteResponse::MAX_SIGNATURE));
    assert!(replies.recv().await.is_none(), "there was room for one");
}

#[tokio::test]
async fn a_plain_http_probe_sends_no_nonce() {
    let (addr, heads) = answering("200 OK", "", vote_message());
    let (sender, mut replies) = mpsc::channel(1);
    probing("127.0.0.1", format!("kind: http, url: 'http://{addr}/x'")).with_response_sender(sender).succeeds().await;
    assert!(!heads.lock().unwrap()[0].contains("regionwatch-nonce"));
    assert!(replies.recv().await.is_none());
}

#[tokio::test]
async fn only_verified_mutual_tls_authenticates_the_peer() {
    let certificate = Certificate::new(&["a.example"]);
    let (plain, secure) = (servers::closed(), servers::closed());
    let (cert, key) = (certificate.cert(), certificate.key());
    let blocks = format!(
        "server {{ listen {plain}; return 200 '{{}}'; }}\n\
         server {{ listen {secure} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}; return 200 '{{}}'; }}"
    );
    let _nginx = servers::nginx(certificate.folder.path(), &blocks, plain);
    let verified = format!("server_name: a.example, ca_file: '{cert}'");
    let identity = format!("cert_file: '{cert}', key_file: '{key}'");
    for (tls, vouches) in [
        (format!("{verified}, {identity}"), true),
        (verified, false),
        (format!("insecure_skip_verify: true, {identity}"), false),
    ] {
        let (sender, mut replies) = mpsc::channel(1);
        let probe = format!("kind: http, sidecar: true, url: 'https://{secure}/', tls: {{{tls}}}");
        probing("127.0.0.1", probe).with_response_sender(sender).succeeds().await;
        assert_eq!(replies.recv().await.unwrap().trusted_transport, vouches, "{tls}");
    }
}
