//! What a released version wrote is still read: the configuration of its users, the vote messages of its instances, and
//! the incidents that Alertmanager holds from it. A folder for each version; its files are as that version wrote them, and
//! do not change any more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use regionwatch::{
    alert::{Notifier, Setup},
    config::{Config, UrlTemplate},
    decision::votes::{Keys, RejectReason, VoteMessage, verify},
    metrics::Metrics,
    model::{Cause, ConstantLabels, Host, HttpUrl, Incident, Nonce, Region, Stage, UnixMillis, Vote, VoteResponse},
    net::{Resolver, TlsContext},
};
use tokio::time::{Instant, timeout};

/// The folders, one for each version that is compatible with this one.
fn versions() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compatibility");
    let mut versions: Vec<_> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    versions.sort();
    assert!(versions.iter().any(|version| version.ends_with("0.2.0")), "{versions:?}");
    versions
}

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

#[test]
fn a_configuration_of_a_released_version_is_read_without_an_error() {
    for version in versions() {
        let file = version.join("regionwatch.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let loaded = Config::load(Some((&file, &text)), []).unwrap_or_else(|errors| panic!("{errors}"));
        let config = loaded.config;
        assert_eq!(config.region, region("eu-west-1"));
        assert_eq!((config.alertmanagers.len(), config.anchors.len(), config.votes.is_some()), (2, 2, true));
        assert_eq!(config.failover.execute_after, Duration::from_secs(60));
        assert_eq!(config.paths().count(), 12, "{}", version.display());
    }
}

const NONCE: &[u8] = b"0123456789abcdef0123456789abcdef";

fn response(version: &Path, message: &str, signature: Option<&str>) -> VoteResponse {
    let read = |name: &str| Bytes::from(fs::read(version.join(name)).unwrap());
    VoteResponse {
        peer: region("eu-west-1"),
        nonce: Nonce::parse(NONCE).unwrap(),
        body: Some(read(message)),
        signature: signature.map(read),
        trusted_transport: signature.is_none(),
        requested_at: Instant::now(),
        received_at: Instant::now(),
    }
}

#[test]
fn a_signed_vote_message_of_a_released_version_is_verified() {
    for version in versions() {
        let key = fs::read_to_string(version.join("votes.key")).unwrap();
        let key = key.lines().find(|line| !line.starts_with('#')).unwrap();
        let response = response(&version, "vote-message.json", Some("vote-message.signature"));
        let message = verify(&response, Some(&Keys::new(&[key]).unwrap())).unwrap();
        assert_eq!((message.incarnation(), message.sequence()), (0xb747_957a_89d2_b105, 1));
        assert_eq!(message.environment(), None);
        assert_eq!(message.statements().len(), 0);
        let other = Keys::new(&["another key of another product"]).unwrap();
        assert_eq!(verify(&response, Some(&other)).err(), Some(RejectReason::BadSignature));
    }
}

#[test]
fn votes_and_ranking_of_a_released_version_are_counted() {
    for version in versions() {
        let response = response(&version, "vote-message-in-an-incident.json", None);
        let message: VoteMessage = verify(&response, None).unwrap();
        let votes = message.votes(response.requested_at + Duration::from_secs(100));
        let down = &votes.peers[&region("us-east-1")];
        assert_eq!(down.vote, Vote::Down);
        assert_eq!(down.incident, Some((UnixMillis(1_795_961_897_384), "us-east-1-1795961897384".into())));
        assert_eq!(votes.peers[&region("ap-southeast-2")].vote, Vote::Up);
        assert!(!votes.isolated);
        let ranking: Vec<_> =
            votes.ranking.iter().map(|candidate| (candidate.region.as_str(), candidate.rank)).collect();
        assert_eq!(ranking, [("eu-central-1", 1), ("ap-southeast-2", 2)]);
    }
}

/// An Alertmanager that holds these alerts, and takes every push.
fn alertmanager(alerts: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let alerts = alerts.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                reader.read_line(&mut first).unwrap();
                let body = if first.starts_with("GET ") { &*alerts } else { "{}" };
                let length = body.len();
                let _ = write!(
                    &stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            });
        }
    });
    addr
}

#[tokio::test]
async fn incidents_that_alertmanager_holds_from_a_released_version_are_restored() {
    for version in versions() {
        let addr = alertmanager(fs::read_to_string(version.join("alerts.json")).unwrap());
        let vantage = region("eu-west-1");
        let url = HttpUrl { https: false, host: Host::Addr(addr.ip()), port: addr.port(), path: "/".into() };
        let (_, evaluated) = tokio::sync::watch::channel(Instant::now());
        let setup = Setup {
            public_keys: &regionwatch::signing::PublicKeys::default(),
            vantage: &vantage,
            labels: &ConstantLabels::default(),
            alertmanagers: &[url.into()],
            external_url: None,
            runbook_url: &UrlTemplate::runbooks(),
            dashboard_url: &UrlTemplate::default(),
            // A minute after the onset: they are recent enough to count.
            clock: || UnixMillis(1_795_961_957_384),
            evaluated: &evaluated,
        };
        let metrics = Metrics::new(&vantage, &[0.1]);
        let mut notifier = Notifier::spawn(setup, &Resolver::new(None), &TlsContext::default(), &metrics).unwrap();
        let mut restored: Vec<Incident> = Vec::new();
        while restored.len() < 2 {
            let next = timeout(Duration::from_secs(5), notifier.restored().recv()).await.unwrap().unwrap();
            restored.push(next.incident);
        }
        restored.sort_by_key(|incident| incident.stage);
        assert_eq!(restored.iter().map(|incident| incident.stage).collect::<Vec<_>>(), Stage::ALL);
        for incident in restored {
            assert_eq!(incident.peer, region("us-east-1"));
            assert_eq!(&*incident.id, "us-east-1-1795961897384");
            assert_eq!((incident.onset, incident.cause), (UnixMillis(1_795_961_897_384), Cause::Service));
            assert!(incident.confirmed && incident.tally.reached);
            assert_eq!((incident.tally.down, incident.tally.voters), (3, 3));
            let candidates: Vec<_> = incident.candidates.iter().map(|candidate| candidate.region.as_str()).collect();
            assert_eq!(candidates, ["eu-central-1", "eu-west-1", "ap-southeast-2"]);
        }
    }
}
