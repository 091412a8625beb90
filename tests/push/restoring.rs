//! A sidecar that restarts in the middle of an incident.

use std::time::Duration;

use regionwatch::model::{Incident, Stage, Tally};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Alertmanager, Sink, incident, need_alertmanager, resolved, telling};

#[test]
async fn a_restarted_notifier_restores_its_incidents_and_sends_no_second_page() {
    need_alertmanager();
    let sink = Sink::start();
    let mut away = Alertmanager::new(&sink);
    let alertmanager = Alertmanager::started(&sink).await;
    let before = telling(&[alertmanager.addr, away.addr]);
    let down = incident("us-east-1", Stage::Execute);
    let over = incident("ap-south-1", Stage::Execute);
    before.notifier.publish(vec![down.clone(), over.clone()]);
    sink.nth(2).await;
    before.notifier.publish(vec![down.clone(), resolved(&over)]);
    sink.nth(3).await;
    drop(before);

    let mut after = telling(&[alertmanager.addr, away.addr]);
    let restored = timeout(Duration::from_secs(5), after.notifier.restored().recv()).await.unwrap().unwrap();
    assert_eq!(restored.alertmanager.as_ref(), format!("http://{}/", alertmanager.addr));
    // The number of votes needed is not pushed.
    let pushed = Incident { tally: Tally { needed: 0, ..down.tally }, ..down.clone() };
    assert_eq!(restored.incident, pushed);
    after.notifier.publish(vec![restored.incident]);
    // An Alertmanager that was away is asked when it comes back, and knows nothing: then all have been asked.
    assert!(timeout(Duration::from_millis(1500), after.notifier.restored().recv()).await.is_err());
    away.start().await;
    let last = timeout(Duration::from_secs(5), after.notifier.restored().recv()).await.unwrap();
    assert_eq!(last.map(|restored| restored.incident.id).filter(|id| *id != down.id), None);

    sink.nth(4).await;
    after.pushed(alertmanager.addr, "ok", 3).await;
    sleep(Duration::from_secs(6)).await;
    // The fourth is the first of the Alertmanager that was away.
    assert_eq!(sink.statuses(), ["firing", "firing", "resolved", "firing"]);
    after.notifier.publish(vec![resolved(&down)]);
    sink.nth(6).await;
    assert_eq!(sink.statuses()[4..], ["resolved", "resolved"]);
}

/// Stopped for a while, as by SIGSTOP or a frozen machine: what it pushed last may not be so any more.
#[test]
async fn a_stalled_instance_pushes_nothing_until_it_has_evaluated_all_peers_again() {
    need_alertmanager();
    let sink = Sink::start();
    let mut alertmanager = Alertmanager::started(&sink).await;
    let telling = telling(&[alertmanager.addr]);
    let down = incident("us-east-1", Stage::Execute);
    telling.notifier.publish(vec![incident("us-east-1", Stage::Prepare), down.clone()]);
    sink.nth(2).await;
    telling.ticks.abort();
    sleep(Duration::from_secs(6)).await;
    let pushes = telling.pushes(alertmanager.addr, "ok");
    // An Alertmanager that is new knows nothing, and would get everything at once.
    alertmanager.signal("KILL");
    alertmanager.start().await;
    sleep(Duration::from_secs(12)).await;
    assert_eq!(telling.pushes(alertmanager.addr, "ok"), pushes);
    assert_eq!(alertmanager.alerts(), [] as [serde_json::Value; 0]);
    telling.notifier.publish(vec![incident("us-east-1", Stage::Prepare), resolved(&down)]);
    telling.evaluated.send_replace(Instant::now());
    telling.pushed(alertmanager.addr, "ok", pushes + 1).await;
    sleep(Duration::from_secs(2)).await;
    let firing = sink.statuses()[2..].iter().filter(|status| *status == "firing").count();
    assert_eq!((firing, sink.failovers()[2..].len()), (1, 1), "{:?}", sink.failovers());
    assert_eq!(sink.failovers()[2].1["commonLabels"]["stage"], "prepare");
}
