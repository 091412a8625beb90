//! Alertmanagers that are away just when they are needed.

use std::{thread, time::Duration};

use regionwatch::{model::UnixMillis, net::Timestamp};
use testkit::needs::{Need, require};
use tokio::time::Instant;

use testkit::regions::{World, process::wait_for, region::Plan, report};

const SECOND: Duration = Duration::from_secs(1);
const TOLD: [(char, &str); 2] = [('c', "prepare firing"), ('c', "execute firing")];

#[test]
fn an_alertmanager_restart_during_an_incident_repeats_no_webhook() {
    let mut world = World::new(&Plan::default());
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.alertmanagers[0].end(&world.control);
    world.alertmanagers[0].go(&world.control);
    let execute = world.webhook('c', "execute firing", died, 15 * SECOND);
    world.nothing_but(&TOLD, 3 * SECOND);
    world.is_one_incident('c', &[&prepare, &execute]);
    world.alertmanagers[0].end(&world.control);
    world.alertmanagers[0].go(&world.control);
    world.nothing_but(&TOLD, 12 * SECOND);
}

#[test]
fn an_alertmanager_that_was_down_receives_the_alerts_as_soon_as_it_is_back() {
    // Both stages in one push would be in any order, and a busy machine needs seconds to start an Alertmanager.
    let mut world = World::new(&Plan { execute_after: "20s", ..Plan::default() });
    world.alertmanagers[0].end(&world.control);
    world.blackhole('c');
    thread::sleep(3 * SECOND);
    world.nothing_but(&[], Duration::ZERO);
    world.alertmanagers[0].go(&world.control);
    world.alertmanagers[0].is_ready(&world.control);
    let ready = Instant::now();
    world.webhook('c', "prepare firing", ready, 4 * SECOND);
    world.webhook('c', "execute firing", ready, 24 * SECOND);
    world.nothing_but(&TOLD, 8 * SECOND);
}

#[test]
fn a_frozen_alertmanager_delays_its_cluster_by_no_more_than_the_peer_timeout() {
    let world = World::new(&Plan { alertmanagers: 2, ..Plan::default() });
    // The first of them would have told; the other gives it a second.
    world.alertmanagers[0].signal("STOP");
    let died = world.blackhole('c');
    // About 2 s. With the peer timeout that is Alertmanager's own, it would be 16 s.
    world.webhook('c', "prepare firing", died, 7 * SECOND);
    world.webhook('c', "execute firing", died, 14 * SECOND);
    world.nothing_but(&TOLD, 3 * SECOND);
    world.alertmanagers[0].signal("CONT");
    thread::sleep(10 * SECOND);
    report(&format!("{} calls after the thaw", world.story().len() - TOLD.len()));
    // Alertmanager tells at least once: the first finds the pushes in its queue before it hears that the other has
    // told. So it may tell each stage once more, of the same incident.
    for kind in ["prepare firing", "execute firing"] {
        let calls: Vec<_> = world.sink.calls("failover").into_iter().filter(|call| call.kind() == kind).collect();
        assert!(calls.len() <= 2, "{calls:?}");
        world.is_one_incident('c', &calls.iter().collect::<Vec<_>>());
    }
    assert!(world.story().iter().all(|(_, kind)| kind.ends_with("firing")), "{:?}", world.story());
}

/// No keys are configured, so that nothing but the sidecars' own evidence speaks against it.
#[test]
fn planted_orders_for_a_healthy_region_are_not_pushed_on_by_starting_sidecars_and_name_no_later_outage() {
    require(&[Need::Tool("amtool")]);
    let mut world = World::new(&Plan::default());
    let ends_at = UnixMillis(Timestamp::now().unix_nanos() / 1_000_000 + 20_000);
    let planted = [("prepare", "RegionwatchPeerDown"), ("execute", "RegionwatchPeerFailover")]
        .map(|alert| world.alertmanagers[0].plant(&world.control, 'c', alert, ends_at));
    let planted = &*planted[0];
    for name in ['a', 'b'] {
        world.region_mut(name).start();
        wait_for("the planted order to be read", 10 * SECOND, || {
            let said = world.region(name).said();
            ["stage=prepare", "stage=execute"]
                .iter()
                .all(|stage| said.lines().any(|line| line.contains(planted) && line.contains(stage)))
                .then_some(())
        });
    }
    for name in ['a', 'b'] {
        world.comes_to_see(name, 'c', "healthy");
    }
    // Pushes would make it last longer.
    let left = ends_at.0.saturating_sub(Timestamp::now().unix_nanos() / 1_000_000);
    thread::sleep(Duration::from_millis(left) + SECOND);
    assert_eq!(world.alertmanagers[0].alerts(&world.control, 'c'), [] as [serde_json::Value; 0]);
    let died = world.blackhole('c');
    let calls = ["prepare firing", "execute firing"].map(|kind| {
        let limit = (25 * SECOND).saturating_sub(died.elapsed());
        wait_for(&format!("{kind} of the outage"), limit, || {
            let mut calls = world.sink.calls("failover").into_iter();
            calls.find(|call| call.kind() == kind && call.annotation("incident_id") != planted)
        })
    });
    world.is_one_incident('c', &calls.each_ref());
}
