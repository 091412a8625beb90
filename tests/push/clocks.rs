//! Vantages whose clocks are hours off, and the real Alertmanager, whose clock is right.

use std::{net::SocketAddr, time::Duration};

use regionwatch::{
    model::{Incident, Stage, UnixMillis},
    net::Resolver,
};
use serde_json::Value;
use tokio::time::sleep;

use crate::support::{
    Alertmanager, Sink, Telling, incident, need_alertmanager, now, resolved, telling, telling_by, url,
};

const SKEW: u64 = 3 * 3_600_000;

fn behind() -> UnixMillis {
    UnixMillis(now().0 - SKEW)
}

fn ahead() -> UnixMillis {
    UnixMillis(now().0 + SKEW)
}

fn telling_at(clock: fn() -> UnixMillis, alertmanager: SocketAddr) -> Telling {
    telling_by(clock, &[url(alertmanager).into()], &Resolver::new(None))
}

/// For how many seconds an alert lasts.
fn lasts(alert: &Value) -> i64 {
    let end = UnixMillis::parse(alert["endsAt"].as_str().unwrap()).unwrap();
    (end.0 as i64 - now().0 as i64) / 1_000
}

#[test]
async fn a_clock_three_hours_behind_neither_resolves_the_alerts_of_others_nor_its_own() {
    need_alertmanager();
    let sink = Sink::start();
    let alertmanager = Alertmanager::started(&sink).await;
    let right = telling(&[alertmanager.addr]);
    let wrong = telling_at(behind, alertmanager.addr);
    let down = incident("us-east-1", Stage::Execute);
    let down_there = Incident { onset: UnixMillis(down.onset.0 - SKEW), ..down.clone() };
    right.notifier.publish(vec![down.clone()]);
    wrong.notifier.publish(vec![down_there.clone()]);
    sink.nth(1).await;
    // Both push again twice.
    sleep(Duration::from_secs(26)).await;
    assert_eq!(sink.statuses(), ["firing"]);
    right.notifier.publish(vec![resolved(&down)]);
    wrong.notifier.publish(vec![Incident { resolved: Some(behind()), ..down_there }]);
    sink.nth(2).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(sink.statuses(), ["firing", "resolved"]);
}

#[test]
async fn no_alert_of_a_clock_three_hours_ahead_outlives_its_vantage() {
    need_alertmanager();
    let sink = Sink::start();
    let alertmanager = Alertmanager::started(&sink).await;
    let wrong = telling_at(ahead, alertmanager.addr);
    let down = |stage| Incident { onset: ahead(), ..incident("us-east-1", stage) };
    wrong.notifier.publish(vec![down(Stage::Prepare), down(Stage::Execute)]);
    sink.nth(2).await;
    wrong.pushed(alertmanager.addr, "ok", 3).await;
    let alerts = alertmanager.alerts();
    assert_eq!(alerts.len(), 3, "{alerts:?}");
    for alert in &alerts {
        let limit = if alert["labels"]["stage"] == "execute" { 62 } else { 302 };
        assert!((1..=limit).contains(&lasts(alert)), "{alert}");
    }
}
