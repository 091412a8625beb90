//! More regions than three, and fewer.

use std::{fs, thread, time::Duration};

use regionwatch::signing::PrivateKey;
use testkit::{binary, space::at_once};
use tokio::time::Instant;

use testkit::regions::{
    World,
    process::{Process, wait_for},
    region::{Plan, peer_label},
};

const SECOND: Duration = Duration::from_secs(1);

/// Two regions may be failed over, one right after the other.
const TWO: &str = "max_down: 2, min_interval: 0s,";

#[test]
fn only_the_majority_of_a_partition_triggers_failovers() {
    let world = World::new(&Plan { regions: 5, failover: TWO, ..Plan::default() });
    let parted = world.part("abc", "de");
    let told = ['d', 'e'].map(|region| {
        world.webhook(region, "prepare firing", parted, 4 * SECOND);
        // By now it is clear that the other one is dead too.
        let call = world.webhook(region, "execute firing", parted, 12 * SECOND);
        assert_eq!(call.annotation("votes"), "3/3", "{call:?}");
        assert!(["a", "b", "c"].contains(&call.annotation("failover_target")), "{call:?}");
        [(region, "prepare firing"), (region, "execute firing")]
    });
    for region in ['d', 'e'] {
        assert_eq!(world.region(region).value("vantage_isolated", &[]), Some(1.0));
    }
    world.nothing_but(&told.concat(), 14 * SECOND);
}

/// Each half reaches its anchors, but not the other half.
#[test]
fn neither_half_of_an_even_partition_executes() {
    let world = World::new(&Plan { regions: 4, anchors: true, ..Plan::default() });
    let parted = world.part("ab", "cd");
    let told = ['a', 'b', 'c', 'd'].map(|region| {
        let call = world.webhook(region, "prepare firing", parted, 20 * SECOND);
        assert_eq!(call.annotation("confirmed"), "false", "{call:?}");
        (region, "prepare firing")
    });
    world.nothing_but(&told, 8 * SECOND);
}

/// Region `e` reaches both sides: the network is at fault, and no region is down.
#[test]
fn a_partition_that_one_region_bridges_executes_nothing() {
    let world = World::new(&Plan { regions: 5, ..Plan::default() });
    world.part("ab", "cd");
    thread::sleep(14 * SECOND);
    let story = world.story();
    assert!(story.iter().all(|(region, kind)| region != "e" && kind == "prepare firing"), "{story:?}");
}

#[test]
fn two_successive_outages_each_fail_over_to_a_region_that_is_up() {
    let world = World::new(&Plan { regions: 5, failover: TWO, ..Plan::default() });
    let mut told = Vec::new();
    for region in ['c', 'e'] {
        let died = world.blackhole(region);
        for kind in ["prepare firing", "execute firing"] {
            let call = world.webhook(region, kind, died, 12 * SECOND);
            let alive: &[_] = if region == 'c' { &["a", "b", "d", "e"] } else { &["a", "b", "d"] };
            assert!(alive.contains(&call.annotation("failover_target")), "{call:?}");
            told.push((region, kind));
        }
    }
    world.nothing_but(&told, 6 * SECOND);
}

#[test]
fn a_second_region_is_not_failed_over_while_the_first_one_is() {
    let world = World::new(&Plan { regions: 5, ..Plan::default() });
    let died = world.blackhole('c');
    world.webhook('c', "prepare firing", died, 4 * SECOND);
    let target = world.webhook('c', "execute firing", died, 12 * SECOND);
    let target = target.annotation("failover_target").chars().next().unwrap();
    // The region that took over, so that its loss withdraws the order, too.
    let second = world.blackhole(target);
    world.webhook(target, "prepare firing", second, 4 * SECOND);
    thread::sleep(10 * SECOND);
    for (region, reason) in [('c', "target_down"), (target, "limit")] {
        let alive = ['a', 'b', 'd', 'e'].into_iter().filter(|other| *other != target);
        for vantage in alive {
            let labels = [peer_label(region), format!("reason=\"{reason}\"")];
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            let blocked = || world.region(vantage).value("failover_blocked", &labels).filter(|value| *value == 1.0);
            wait_for(&format!("{vantage} to block {region}: {reason}"), 10 * SECOND, blocked);
        }
    }
    world.nothing_but(&[('c', "prepare firing"), ('c', "execute firing"), (target, "prepare firing")], 4 * SECOND);
}

#[test]
fn a_region_that_is_not_armed_is_prepared_and_never_executed() {
    let world = World::new(&Plan { of_peers: "    armed: false\n", ..Plan::default() });
    let died = world.blackhole('c');
    let call = world.webhook('c', "prepare firing", died, 4 * SECOND);
    assert_eq!(call.annotation("reason"), "disarmed", "{call:?}");
    world.nothing_but(&[('c', "prepare firing")], 12 * SECOND);
}

#[test]
fn a_region_that_an_operator_disarms_is_executed_by_no_vantage_until_it_is_armed() {
    let (key, pem) = PrivateKey::generate().unwrap();
    let settings = format!("operators: ['alice={}']\n", key.public());
    let world = World::new(&Plan { state: true, settings, ..Plan::default() });
    let config = &world.region('a').config;
    let folder = config.parent().unwrap();
    let key = folder.join("alice.key");
    fs::write(&key, pem).unwrap();
    let command = |action: &str, answers: &[&str]| {
        let (log, key, config) = (folder.join(format!("{action}.log")), key.display(), config.display());
        let line = format!("{} {action} c --operator alice --key {key} --config {config}", binary());
        let _commanding = Process::start(&world.region('a').host, &line, &log);
        for answer in answers {
            let said = || fs::read_to_string(&log).ok().filter(|said| said.contains(answer));
            wait_for(answer, 15 * SECOND, said);
        }
    };
    let taken = |by: char, done: &str| format!("{by}: taken: alice has {done} c until ");
    let [a, b, c] = ['a', 'b', 'c'].map(|by| taken(by, "disarmed"));
    command("disarm", &[&a, &b, &c]);
    let died = world.blackhole('c');
    let call = world.webhook('c', "prepare firing", died, 4 * SECOND);
    assert_eq!(call.annotation("reason"), "disarmed", "{call:?}");
    world.nothing_but(&[('c', "prepare firing")], 12 * SECOND);
    let [a, b] = ['a', 'b'].map(|by| taken(by, "armed"));
    command("arm", &[&a, &b, "c: no answer from "]);
    world.webhook('c', "execute firing", Instant::now(), 30 * SECOND);
    let audit = fs::read_to_string(folder.join("state1/audit.log")).unwrap();
    assert!(audit.contains(r#""operator":"alice","action":"disarm","region":"c","until":"#), "{audit}");
}

#[test]
fn two_regions_prepare_unconfirmed_and_execute_only_with_allow_single_vantage() {
    at_once([false, true], two_regions);
}

fn two_regions(allow_single_vantage: bool) {
    let world = World::new(&Plan { regions: 2, anchors: true, allow_single_vantage, ..Plan::default() });
    let died = world.blackhole('b');
    let mut told = vec![('b', "prepare firing")];
    // Alone, a suspicion waits 10 s for votes.
    let call = world.webhook('b', "prepare firing", died, 20 * SECOND);
    assert!(call.at >= died + 10 * SECOND, "{call:?}");
    assert_eq!(call.annotation("confirmed"), "false", "{call:?}");
    assert_eq!(call.annotation("failover_target"), "a", "{call:?}");
    if allow_single_vantage {
        let call = world.webhook('b', "execute firing", died, 28 * SECOND);
        assert_eq!(call.annotation("confirmed"), "false", "{call:?}");
        told.push(('b', "execute firing"));
    }
    world.nothing_but(&told, 8 * SECOND);
}

#[test]
fn two_regions_isolated_from_anchors_and_each_other_send_no_alert() {
    let world = World::new(&Plan { regions: 2, anchors: true, allow_single_vantage: true, ..Plan::default() });
    world.lose_anchors();
    world.part("a", "b");
    world.nothing_but(&[], 18 * SECOND);
    for region in ['a', 'b'] {
        assert_eq!(world.region(region).value("vantage_isolated", &[]), Some(1.0));
    }
}
