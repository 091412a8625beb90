//! Failovers by the rules of Prometheus.

use std::{thread, time::Duration};

use testkit::regions::{World, region::Plan};

const SECOND: Duration = Duration::from_secs(1);

/// The alerts of the rules are each vantage's own. Where Prometheus sees the verdict of one before the other's,
/// Alertmanager tells the stage again with both; never more often, and never that it is over.
fn each_stage_was_told_once_or_once_a_vantage(world: &World) {
    let story = world.story();
    let told = |kind: &str| story.iter().filter(|told| **told == ("c".to_owned(), kind.to_owned())).count();
    let (prepared, executed) = (told("prepare firing"), told("execute firing"));
    assert!((1..=2).contains(&prepared) && (1..=2).contains(&executed), "{story:?}");
    assert_eq!(prepared + executed, story.len(), "{story:?}");
}

#[test]
fn rules_alone_call_the_webhook_and_a_prometheus_restart_resolves_nothing() {
    let mut world = World::new(&Plan { pushes: false, rules: true, ..Plan::default() });
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 10 * SECOND);
    world.restart_prometheus();
    // The sidecars hold the region down after their own hold, and Prometheus wants to see that for 15 s.
    let execute = world.webhook('c', "execute firing", died, 40 * SECOND);
    for call in [&prepare, &execute] {
        assert_eq!(call.label("source"), "rules", "{call:?}");
        assert_eq!(call.label("failover"), "true", "{call:?}");
        let targets = call.annotations("failover_target");
        assert!(targets.iter().all(|target| ["a", "b"].contains(target)), "{call:?}");
    }
    assert!(prepare.at < execute.at);
    assert!(execute.at - died > 15 * SECOND, "{execute:?}");
    world.restart_prometheus();
    thread::sleep(12 * SECOND);
    each_stage_was_told_once_or_once_a_vantage(&world);
}

#[test]
fn push_and_rules_together_call_the_webhook_once_per_stage() {
    let world = World::new(&Plan { rules: true, ..Plan::default() });
    let died = world.blackhole('c');
    for kind in ["prepare firing", "execute firing"] {
        let call = world.webhook('c', kind, died, 12 * SECOND);
        assert_eq!(call.label("source"), "push", "{call:?}");
    }
    world.nothing_but(&[('c', "prepare firing"), ('c', "execute firing")], 25 * SECOND);
    let alerts = world.alertmanagers[0].alerts(&world.control, 'c');
    let sources = |source: &str| alerts.iter().filter(|alert| alert["labels"]["source"] == source).count();
    assert_eq!(sources("push"), 2, "{alerts:?}");
    assert!(sources("rules") >= 4, "{alerts:?}");
}
