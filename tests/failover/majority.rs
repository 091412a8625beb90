//! More regions than three, and fewer.

use std::{thread, time::Duration};

use testkit::space::at_once;

use testkit::regions::{
    World,
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
            assert_eq!(world.region(vantage).value("failover_blocked", &labels), Some(1.0), "{vantage} of {region}");
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
