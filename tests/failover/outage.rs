//! Outages that end, and what is restarted during one.

use std::{thread, time::Duration};

use tokio::time::Instant;

use testkit::regions::{
    World,
    process::wait_for,
    region::{Plan, peer_label},
};

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

/// It held the region down when it was stopped, and that was an hour ago, for all it knows.
#[test]
fn an_instance_that_was_stopped_while_the_region_came_back_orders_no_failover_when_it_goes_on() {
    let world = World::new(&Plan { regions: 4, ..Plan::default() });
    let died = world.blackhole('c');
    world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.webhook('c', "execute firing", died, 14 * SECOND);
    world.region('a').signal("STOP");
    world.mend();
    let mended = Instant::now();
    // Its host still answers, so it may hold the region down unheard: the others report no end, and the order expires.
    world.webhook('c', "execute resolved", mended, 100 * SECOND);
    let told = [('c', "prepare firing"), ('c', "execute firing"), ('c', "execute resolved")];
    world.nothing_but(&told, Duration::ZERO);
    world.region('a').signal("CONT");
    world.comes_to_see('a', 'c', "recovering");
    let told = told.map(|(name, kind)| (name.to_string(), kind.to_owned()));
    thread::sleep(6 * SECOND);
    // It was dead for the others, and may be a moment for itself: that is no order.
    let orders: Vec<_> = world.story().into_iter().filter(|(_, kind)| kind.starts_with("execute")).collect();
    assert_eq!(orders, told[1..]);
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
fn execute_ends_when_the_region_is_back_and_an_alertmanager_that_is_killed_then_is_not_told_it_again() {
    let mut world = World::new(&Plan::default());
    let died = world.blackhole('c');
    world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.webhook('c', "execute firing", died, 12 * SECOND);
    world.mend();
    let mended = Instant::now();
    world.webhook('c', "execute resolved", mended, 30 * SECOND);
    let told = [('c', "prepare firing"), ('c', "execute firing"), ('c', "execute resolved")];
    world.nothing_but(&told, 5 * SECOND);
    world.alertmanagers[0].signal("KILL");
    world.alertmanagers[0].go(&world.control);
    world.alertmanagers[0].is_ready(&world.control);
    thread::sleep(15 * SECOND);
    let calls = world.story();
    let again: Vec<_> = calls[told.len()..].iter().map(|(_, kind)| kind.as_str()).collect();
    assert!(again.iter().all(|kind| *kind == "prepare firing"), "{again:?}");
    let alerts = world.alertmanagers[0].alerts(&world.control, 'c');
    assert!(alerts.iter().all(|alert| alert["labels"]["stage"] == "prepare"), "{alerts:?}");
    assert_eq!(world.region('a').value("incidents", &[&peer_label('c'), "stage=\"execute\""]), Some(0.0));
    assert_eq!(world.region('a').value("incidents", &[&peer_label('c'), "stage=\"prepare\""]), Some(1.0));
}

/// One of three vantages cannot vote any more, and reaches Alertmanager.
#[test]
fn a_vantage_that_does_not_hold_any_more_ends_no_order_of_the_others() {
    let world = World::new(&Plan { regions: 5, ..Plan::default() });
    let died = world.blackhole('e');
    world.webhook('e', "prepare firing", died, 4 * SECOND);
    world.webhook('e', "execute firing", died, 12 * SECOND);
    world.part("a", "bcd");
    let execute = |vantage| world.region(vantage).value("incidents", &[&peer_label('e'), "stage=\"execute\""]);
    wait_for("a to hold nothing", 15 * SECOND, || (execute('a') == Some(0.0)).then_some(()));
    thread::sleep(12 * SECOND);
    assert_eq!((execute('b'), execute('c')), (Some(1.0), Some(1.0)));
    assert!(!world.story().contains(&("e".to_owned(), "execute resolved".to_owned())), "{:?}", world.story());
    world.mend();
    let mended = Instant::now();
    world.webhook('e', "execute resolved", mended, 30 * SECOND);
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
    world.webhook('c', "execute resolved", mended, 30 * SECOND);
    // A minute to recover, six to be well; where both vantages end at the same moment, five more until it expires.
    let call = world.webhook('c', "prepare resolved", mended, 760 * SECOND);
    assert!(call.at >= mended + 420 * SECOND, "{call:?}");
    thread::sleep(12 * SECOND);
    let mut kinds: Vec<_> = world.story().into_iter().map(|(_, kind)| kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["execute firing", "execute resolved", "prepare firing", "prepare resolved"]);
}
