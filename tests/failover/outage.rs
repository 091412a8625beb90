//! Outages that end, and what is restarted during one.

use std::{thread, time::Duration};

use tokio::time::Instant;

use crate::{region::Plan, world::World};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_second_outage_during_recovery_is_the_same_incident() {
    let world = World::new(&Plan { execute_after: "8s", ..Plan::default() });
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    thread::sleep((5 * SECOND / 2).saturating_sub(died.elapsed()));
    world.mend();
    for vantage in ['a', 'b'] {
        world.comes_to_see(vantage, 'c', "recovering");
    }
    world.nothing_but(&[('c', "prepare firing")], 10 * SECOND);
    world.blackhole('c');
    for vantage in ['a', 'b'] {
        world.comes_to_see(vantage, 'c', "down");
    }
    thread::sleep(SECOND);
    world.mend();
    world.nothing_but(&[('c', "prepare firing")], 10 * SECOND);
    world.is_one_incident('c', &[&prepare]);
}

#[test]
fn an_instance_restart_during_an_incident_neither_resolves_nor_repeats_it() {
    let mut world = World::new(&Plan { regions: 5, ..Plan::default() });
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.region_mut('a').start();
    let execute = world.webhook('c', "execute firing", died, 12 * SECOND);
    let told = [('c', "prepare firing"), ('c', "execute firing")];
    world.nothing_but(&told, 5 * SECOND);
    world.region_mut('b').start();
    world.region_mut('d').start();
    world.nothing_but(&told, 10 * SECOND);
    world.is_one_incident('c', &[&prepare, &execute]);
}

/// The quorum needs both remaining vantages; the restarted one has never reached the region itself.
#[test]
fn one_of_the_last_two_vantages_may_restart_during_an_incident() {
    let mut world = World::new(&Plan::default());
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.region_mut('a').start();
    let execute = world.webhook('c', "execute firing", died, 16 * SECOND);
    world.nothing_but(&[('c', "prepare firing"), ('c', "execute firing")], 8 * SECOND);
    world.is_one_incident('c', &[&prepare, &execute]);
    assert_eq!(world.region('a').state_of('c').as_deref(), Some("down"));
}

#[test]
#[ignore = "takes minutes, because what it waits for does"]
fn an_incident_resolves_after_six_healthy_minutes() {
    let world = World::new(&Plan::default());
    let died = world.blackhole('c');
    world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.webhook('c', "execute firing", died, 12 * SECOND);
    world.mend();
    let mended = Instant::now();
    // A minute to recover, six to be well; where both vantages end at the same moment, five more until it expires.
    for stage in ["prepare resolved", "execute resolved"] {
        let call = world.webhook('c', stage, mended, 760 * SECOND);
        assert!(call.at >= mended + 420 * SECOND, "{call:?}");
    }
    thread::sleep(12 * SECOND);
    let mut kinds: Vec<_> = world.story().into_iter().map(|(_, kind)| kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["execute firing", "execute resolved", "prepare firing", "prepare resolved"]);
}
