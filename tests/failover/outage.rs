//! Outages that end, and what is restarted during one.

use std::{fs, path::Path, thread, time::Duration};

use tokio::time::Instant;

use regionwatch::signing::PrivateKey;
use testkit::{
    binary,
    regions::{
        World,
        process::{Process, wait_for},
        region::{Plan, peer_label},
    },
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

/// Nothing outside the instances remembers the failover either.
#[test]
fn a_restart_of_everything_at_once_forgets_no_failover() {
    let (key, pem) = PrivateKey::generate().unwrap();
    let settings = format!("operators: ['alice={}']\n", key.public());
    let mut world = World::new(&Plan { state: true, settings, ..Plan::default() });
    let died = world.blackhole('c');
    world.webhook('c', "execute firing", died, 12 * SECOND);
    world.mend();
    world.comes_to_see('a', 'c', "recovering");
    for name in ['a', 'b', 'c'] {
        world.region_mut(name).kill();
    }
    world.alertmanagers[0].kill();
    world.alertmanagers[0].go(&world.control);
    world.alertmanagers[0].is_ready(&world.control);
    for name in ['a', 'b', 'c'] {
        world.region_mut(name).start();
    }
    for vantage in ['a', 'b'] {
        world.comes_to_see(vantage, 'c', "healthy");
        // An instance that did not order the failover itself learns of it from the first votes of the other.
        let labels = [&*peer_label('c'), "reason=\"failed_over\""];
        let remembered = || world.region(vantage).value("candidate_ineligible", &labels).filter(|value| *value == 1.0);
        wait_for("c to be no target", 5 * SECOND, remembered);
    }
    // Everything has forgotten the incident, so that the region can be released.
    let folder = world.region('a').config.parent().unwrap().to_owned();
    let (key, log) = (folder.join("alice.key"), folder.join("release.log"));
    fs::write(&key, pem).unwrap();
    let config = world.region('a').config.display().to_string();
    let line = format!("{} release c --operator alice --key {} --config {config}", binary(), key.display());
    let _releasing = Process::start(&world.region('a').host, &line, &log);
    for vantage in ['a', 'b'] {
        let labels = [&*peer_label('c'), "reason=\"failed_over\""];
        let released = || world.region(vantage).value("candidate_ineligible", &labels).filter(|value| *value == 0.0);
        wait_for("the release of c", 15 * SECOND, released);
    }
    let has = |file: &Path, text: &str| {
        wait_for(text, 10 * SECOND, || fs::read_to_string(file).ok().filter(|content| content.contains(text)));
    };
    ["a: c is released", "b: c is released"].iter().for_each(|said| has(&log, said));
    // The region itself knows it only from the others, whose votes it may have read again before the command came.
    wait_for("the answer of c", 10 * SECOND, || {
        let said = fs::read_to_string(&log).ok()?;
        ["c: c is released\n", "c: c is not failed over here\n"]
            .iter()
            .any(|answer| said.contains(answer))
            .then_some(())
    });
    let audit = r#""operator":"alice","action":"release","region":"c","result":"c is released""#;
    has(&folder.join("state1/audit.log"), audit);
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
