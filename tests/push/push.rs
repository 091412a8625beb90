//! From a push to the webhook, through the real Alertmanager.

use std::time::Duration;

use regionwatch::model::{Incident, Stage};
use serde_json::{Value, json};
use testkit::{cpu::waited, stalls::Stalls};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::support::{Alertmanager, Sink, free, incident, need_alertmanager, posted, resolved, telling};

const PAGE: &str = include_str!("../../docs/webhook.md");

/// The webhook that docs/webhook.md shows.
fn documented() -> Value {
    let (_, rest) = PAGE.split_once("```json\n").unwrap();
    serde_json::from_str(rest.split_once("```").unwrap().0).unwrap()
}

/// The names of all fields, and the values of the labels.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), if name.ends_with("abels") { value.clone() } else { shape(value) }))
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        other => other.clone(),
    }
}

#[test]
async fn a_push_fires_one_webhook_with_exactly_these_labels_and_annotations() {
    need_alertmanager();
    let sink = Sink::start();
    let alertmanager = Alertmanager::started(&sink).await;
    let telling = telling(&[alertmanager.addr]);
    let down = incident("us-east-1", Stage::Execute);
    telling.notifier.publish(vec![down.clone()]);
    let (_, webhook) = sink.nth(1).await;
    let alert = &webhook["alerts"][0];
    assert_eq!(webhook["alerts"].as_array().unwrap().len(), 1);
    assert_eq!((&webhook["status"], &alert["status"]), (&json!("firing"), &json!("firing")));
    assert_eq!(
        alert["labels"],
        json!({
            "alertname": "RegionwatchPeerFailover", "peer_region": "us-east-1",
            "failover": "true", "stage": "execute", "drill": "false", "severity": "critical", "source": "push",
        })
    );
    let onset = down.onset.to_string();
    let expires_at =
        regionwatch::model::UnixMillis::parse(alert["annotations"]["expires_at"].as_str().unwrap()).unwrap();
    assert!(expires_at.0.abs_diff(down.onset.0 + 60_000) < 5_000, "{expires_at}");
    assert_eq!(
        alert["annotations"],
        json!({
            "summary": "A peer region stays down and is to be failed over.",
            "description": format!("us-east-1 is down as seen from eu-west-1 since {onset} (silence), confirmed with \
                2 of 2 votes. Fail over to eu-central-1."),
            "runbook_url": "https://github.com/regionwatch/regionwatch/blob/main/docs/runbooks/RegionwatchPeerFailover.md",
            "failover_target": "eu-central-1",
            "candidates": "[{\"region\":\"eu-central-1\",\"rank\":1,\"score_seconds\":0.033}]",
            "votes": "2/2", "confirmed": "true", "cause": "silence", "onset": onset,
            "expires_at": expires_at.to_string(),
            "evidence": "icmp and tcp are silent", "incident_id": &*down.id, "vantage_region": "eu-west-1",
        })
    );
    let started = regionwatch::model::UnixMillis::parse(alert["startsAt"].as_str().unwrap());
    assert_eq!((started, &alert["generatorURL"]), (Some(down.onset), &json!("http://eu.example:9877/peer/us-east-1")));

    let (shown, mut arrived) = (shape(&documented()), shape(&webhook));
    // A newer Alertmanager may add fields, which the page names but does not show.
    arrived.as_object_mut().unwrap().retain(|field, _| {
        let is_named = PAGE.contains(&format!("such as `{field}`"));
        !is_named || shown.get(field).is_some()
    });
    assert_eq!(arrived, shown, "docs/webhook.md shows another webhook");

    // What may change changes, and is pushed again; no one is paged again.
    let fingerprint = alert["fingerprint"].clone();
    for evidence in ["once", "twice"] {
        telling.notifier.publish(vec![Incident { evidence: evidence.into(), candidates: Vec::new(), ..down.clone() }]);
        sleep(Duration::from_millis(100)).await;
    }
    telling.pushed(alertmanager.addr, "ok", 4).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(sink.statuses(), ["firing"]);
    let held = alertmanager.alerts();
    let held = held.iter().find(|alert| alert["labels"]["failover"] == "true").unwrap();
    assert_eq!((&held["fingerprint"], &held["annotations"]["evidence"]), (&fingerprint, &json!("twice")));

    telling.notifier.publish(vec![resolved(&down)]);
    let (_, webhook) = sink.nth(2).await;
    assert_eq!((&webhook["status"], &webhook["alerts"][0]["fingerprint"]), (&json!("resolved"), &fingerprint));
    sleep(Duration::from_secs(6)).await;
    assert_eq!(sink.statuses(), ["firing", "resolved"]);
}

#[test]
async fn push_to_webhook_takes_milliseconds() {
    need_alertmanager();
    let sink = Sink::start();
    let alertmanager = Alertmanager::started(&sink).await;
    let telling = telling(&[alertmanager.addr]);
    telling.pushed(alertmanager.addr, "ok", 1).await;
    let plain = Sink::start();
    let beside = Alertmanager::started(&plain).await;
    let mut set = Vec::new();
    // Of the pushes, and of alerts that the test posts itself, to an Alertmanager beside.
    let (mut times, mut usual) = (Vec::new(), Vec::new());
    for n in 0..50 {
        let (to, told) = (beside.addr, plain.clone());
        usual.push(spawn_blocking(move || posted(to, &told, n + 1)).await.unwrap());
        set.push(incident(&format!("region-{n}"), Stage::Prepare));
        let (published, before) = (Instant::now(), waited());
        telling.notifier.publish(set.clone());
        let (received, _) = sink.nth(n + 1).await;
        // What pushes is on this thread.
        times.push(received.saturating_duration_since(published).saturating_sub(waited() - before));
    }
    times.sort_unstable();
    usual.sort_unstable();
    let [least, median, most] = [0, 25, 49].map(|n| times[n]);
    eprintln!("push to webhook, {} times: least {least:?}, median {median:?}, most {most:?}", times.len());
    assert!(median < Duration::from_millis(50) + usual[25], "{median:?}, and {:?} without the product", usual[25]);
}

#[test]
async fn an_alertmanager_that_starts_late_receives_the_alerts_soon_after() {
    need_alertmanager();
    let sink = Sink::start();
    let mut alertmanager = Alertmanager::new(&sink);
    let telling = telling(&[alertmanager.addr, free()]);
    telling.notifier.publish(vec![incident("us-east-1", Stage::Prepare)]);
    telling.pushed(alertmanager.addr, "refused", 6).await;
    alertmanager.start().await;
    let (up, stalls) = (Instant::now(), Stalls::watch());
    let (received, _) = sink.nth(1).await;
    // The webhook may be here before its server is seen to listen.
    let took = received.saturating_duration_since(up);
    eprintln!("received {took:?} after it was up");
    assert!(took < Duration::from_secs(3) + stalls.sum(), "{took:?}");
    assert_eq!(sink.statuses(), ["firing"]);
}

#[test]
async fn an_alertmanager_that_restarts_loses_nothing_and_resolves_nothing() {
    need_alertmanager();
    let sink = Sink::start();
    let mut alertmanager = Alertmanager::started(&sink).await;
    let telling = telling(&[alertmanager.addr]);
    let down = incident("us-east-1", Stage::Execute);
    telling.notifier.publish(vec![down.clone()]);
    sink.nth(1).await;
    alertmanager.is_answered().await;
    let accepted = telling.pushes(alertmanager.addr, "ok");
    // It writes down right after that whom it has notified.
    sleep(Duration::from_millis(500)).await;
    alertmanager.signal("TERM");
    sleep(Duration::from_secs(1)).await;
    alertmanager.start().await;
    let (up, stalls) = (Instant::now(), Stalls::watch());
    telling.pushed(alertmanager.addr, "ok", accepted + 1).await;
    assert!(up.elapsed() < Duration::from_secs(3) + stalls.sum(), "{:?}", up.elapsed());
    // It wrote down what it had notified of: no one is paged twice.
    sleep(Duration::from_secs(6)).await;
    assert_eq!(sink.statuses(), ["firing"]);

    // Killed, it has forgotten that. The webhook comes again, by the same name.
    alertmanager.signal("KILL");
    std::fs::remove_dir_all(alertmanager.data()).unwrap();
    alertmanager.start().await;
    let (_, again) = sink.nth(2).await;
    assert_eq!(again["alerts"][0]["annotations"]["incident_id"], *down.id);
    telling.notifier.publish(vec![resolved(&down)]);
    sink.nth(3).await;
    assert_eq!(sink.statuses(), ["firing", "firing", "resolved"]);
}
