//! Regions that die, and come back.

use std::time::Duration;

use tokio::time::Instant;

use testkit::regions::{
    World,
    region::{Plan, Serves, peer_label},
};

const SECOND: Duration = Duration::from_secs(1);
const PREPARED: [(char, &str); 1] = [('c', "prepare firing")];
const EXECUTED: [(char, &str); 2] = [('c', "prepare firing"), ('c', "execute firing")];
const NAMES: [&str; 2] = ["RegionwatchPeerDown", "RegionwatchPeerFailover"];

#[test]
fn a_region_outage_calls_the_webhook_once_to_prepare_and_once_to_execute() {
    let world = World::new(&Plan::default());
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    let execute = world.webhook('c', "execute firing", died, 12 * SECOND);
    for call in [&prepare, &execute] {
        for (name, value) in [("failover", "true"), ("drill", "false"), ("severity", "critical"), ("source", "push")] {
            assert_eq!(call.label(name), value, "{name}: {call:?}");
        }
        // All vantages tell one alert.
        assert_eq!(call.label("vantage_region"), "", "{call:?}");
        for (name, value) in [("votes", "2/2"), ("cause", "silence"), ("confirmed", "true")] {
            assert_eq!(call.annotation(name), value, "{name}: {call:?}");
        }
        assert!(["a", "b"].contains(&call.annotation("failover_target")), "{call:?}");
        assert!(call.annotation("incident_id").starts_with("c-"), "{call:?}");
        let link = call.body["alerts"][0]["generatorURL"].as_str().unwrap();
        assert!(
            link.starts_with("http://10.0.") && link.ends_with("/peer/c"),
            "the alert links to the sidecar: {call:?}"
        );
    }
    assert_eq!([&prepare, &execute].map(|call| call.label("alertname")), NAMES);
    world.nothing_but(&EXECUTED, 12 * SECOND);
    // All of them have the clock of this machine.
    let offset = world.region('a').any_value("peer_clock_offset_seconds", &[&peer_label('b')]);
    assert!(offset.is_some_and(|offset| offset.abs() < 1.0), "{offset:?}");
    world.is_one_incident('c', &[&prepare, &execute]);
    // People are told the same.
    let paged = world.sink.calls("oncall");
    assert_eq!(paged.iter().map(|call| call.label("alertname")).collect::<Vec<_>>(), NAMES);
}

#[test]
fn an_outage_of_a_critical_service_triggers_a_failover() {
    let mut world = World::new(&Plan { serves: Serves::Everything, ..Plan::default() });
    let died = Instant::now();
    world.region_mut('c').service = None;
    for kind in ["prepare firing", "execute firing"] {
        let call = world.webhook('c', kind, died, 20 * SECOND);
        assert_eq!((call.annotation("cause"), call.annotation("votes")), ("service", "2/2"), "{call:?}");
    }
    world.nothing_but(&EXECUTED, 6 * SECOND);
}

#[test]
fn a_region_that_refuses_connections_is_down_if_its_service_is_critical() {
    let world = World::new(&Plan { serves: Serves::Everything, execute_after: "60s", ..Plan::default() });
    let died = world.refuse('c');
    let call = world.webhook('c', "prepare firing", died, 20 * SECOND);
    assert_eq!((call.annotation("cause"), call.annotation("votes")), ("service", "2/2"), "{call:?}");
    world.nothing_but(&PREPARED, 6 * SECOND);
}

#[test]
fn a_region_that_refuses_connections_is_not_down_without_a_critical_service() {
    let mut world = World::new(&Plan { serves: Serves::Something, ..Plan::default() });
    world.region_mut('c').kill();
    world.region_mut('c').service = None;
    world.comes_to_see('a', 'c', "degraded");
    world.nothing_but(&[], 14 * SECOND);
    world.refuse('c');
    world.nothing_but(&[], 14 * SECOND);
}
