//! Alertmanagers that are away just when they are needed.

use std::{thread, time::Duration};

use tokio::time::Instant;

use crate::{region::Plan, report, world::World};

const SECOND: Duration = Duration::from_secs(1);
const TOLD: [(char, &str); 2] = [('c', "prepare firing"), ('c', "execute firing")];

#[test]
fn an_alertmanager_restart_during_an_incident_repeats_no_webhook() {
    let mut world = World::new(&Plan::default());
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.alertmanagers[0].end();
    world.alertmanagers[0].go(&world.control);
    let execute = world.webhook('c', "execute firing", died, 15 * SECOND);
    world.nothing_but(&TOLD, 3 * SECOND);
    world.is_one_incident('c', &[&prepare, &execute]);
    world.alertmanagers[0].end();
    world.alertmanagers[0].go(&world.control);
    world.nothing_but(&TOLD, 12 * SECOND);
}

#[test]
fn an_alertmanager_that_was_down_receives_the_alerts_as_soon_as_it_is_back() {
    let mut world = World::new(&Plan::default());
    world.alertmanagers[0].end();
    world.blackhole('c');
    thread::sleep(3 * SECOND);
    world.nothing_but(&[], Duration::ZERO);
    world.alertmanagers[0].go(&world.control);
    world.alertmanagers[0].is_ready(&world.control);
    let ready = Instant::now();
    world.webhook('c', "prepare firing", ready, 4 * SECOND);
    world.webhook('c', "execute firing", ready, 8 * SECOND);
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
