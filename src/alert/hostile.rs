//! What the fuzz targets call: a push and a query against an Alertmanager that says whatever the fuzzer wants.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use tokio::{sync::watch, time::Instant};

use super::{
    delivery::{ResultLog, excerpt, result_of},
    message::{self, AlertSource, Clocks},
    pusher::Pusher,
    restore,
    transport::Transport,
};
use crate::{
    config::UrlTemplate,
    metrics::{Metrics, PushSeries},
    model::{ConstantLabels, Incident, Region, Stage, UnixMillis},
    net::hostile::{Peer, Script, api_client},
    status::AlertmanagerView,
};

fn source() -> AlertSource {
    AlertSource {
        vantage: Region::new("here").expect("a constant"),
        constant: ConstantLabels::default(),
        external_url: None,
        runbook_url: UrlTemplate::runbooks(),
        dashboard_url: UrlTemplate::default(),
        since: UnixMillis(0),
        clock: || UnixMillis(4_102_444_800_000),
    }
}

/// The series of pushes to one Alertmanager.
pub fn push_series() -> Arc<PushSeries> {
    Metrics::new(&source().vantage, &[0.1]).pushes(["http://a.example"]).remove(0)
}

/// Two pushes, as the second may find the connection that the first has left, and a query.
pub async fn fuzz_push(peer: &Peer, script: &Script, series: &Arc<PushSeries>) {
    let pusher = Pusher {
        transport: api_client(peer),
        url: "http://a.example".into(),
        series: Arc::clone(series),
        source: Arc::new(source()),
        evaluated: watch::channel(Instant::now()).1,
        view: watch::Sender::new(AlertmanagerView::new("http://a.example")),
    };
    let exchanges = async {
        let (mut results, mut clock) = (ResultLog::default(), None);
        for _ in 0..2 {
            pusher.push(&[], &mut results, &mut clock).await;
        }
        let answer =
            Transport::request(&pusher.transport, Method::GET, "/api/v2/alerts", Bytes::new(), restore::MAX_BODY).await;
        let result = result_of(&answer);
        drop(pusher);
        (answer, result)
    };
    if let (Ok(answer), _) = peer.during(script, exchanges).await {
        assert!(answer.body.len() <= restore::MAX_BODY);
        assert!(!excerpt(&answer.body).contains(char::is_control));
        fuzz_held(&answer.body);
    }
}

/// Reads what an Alertmanager says it holds. What is read of it is pushed and read again as the same.
pub fn fuzz_held(body: &[u8]) {
    let read = |body: &[u8]| restore::read(body, None).unwrap_or_default();
    let incidents = read(body);
    assert!(incidents.len() <= restore::MAX_INCIDENTS);
    let now = (source().clock)();
    let again = read(&message::body(&source(), &incidents, Clocks { own: now, there: Some(now) }));
    assert_eq!(again.len(), incidents.len());
    for (before, after) in incidents.iter().zip(&again) {
        assert_eq!((&before.peer, before.stage, &before.id), (&after.peer, after.stage, &after.id));
        assert_eq!((&before.onset, &before.evidence), (&after.onset, &after.evidence));
        assert_eq!((before.cause, before.confirmed, before.tally), (after.cause, after.confirmed, after.tally));
        let named = |incident: &Incident| -> Vec<_> {
            incident.candidates.iter().map(|candidate| (candidate.region.clone(), candidate.rank)).collect()
        };
        assert_eq!(named(before), named(after));
        assert!(before.stage != Stage::Execute || before.signatures == after.signatures);
    }
}
