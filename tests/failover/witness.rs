//! Two regions `a` and `b`, and `c`, which is the place of a witness.

use std::{thread, time::Duration};

use testkit::regions::{
    World,
    process::wait_for,
    region::{Plan, peer_label},
};

const SECOND: Duration = Duration::from_secs(1);
const EXECUTED: [(char, &str); 2] = [('b', "prepare firing"), ('b', "execute firing")];

fn plan() -> Plan {
    Plan { witness: true, anchors: true, ..Plan::default() }
}

/// These vantages see these regions answer.
fn are_up(world: &World, pairs: &[(char, char)]) {
    for (vantage, peer) in pairs {
        let state = world.region(*vantage).state_of(*peer);
        assert!(matches!(state.as_deref(), Some("healthy" | "degraded")), "{vantage} about {peer}: {state:?}");
    }
}

#[test]
fn two_regions_and_a_witness_execute_the_outage_of_one_by_two_votes() {
    let world = World::new(&plan());
    for vantage in ['a', 'b', 'c'] {
        assert_eq!(world.region(vantage).value("vantages", &[]), Some(3.0), "{vantage}");
        for peer in ['a', 'b'].into_iter().filter(|peer| *peer != vantage) {
            let possible = world.region(vantage).value("peer_quorum_possible", &[&peer_label(peer)]);
            assert_eq!(possible, Some(1.0), "{vantage} about {peer}");
        }
        // It is no peer and no candidate of any vantage.
        assert_eq!(world.region(vantage).state_of('c'), None, "{vantage}");
        assert_eq!(world.region(vantage).value("candidate_eligible", &[&peer_label('c')]), None, "{vantage}");
    }
    let died = world.blackhole('b');
    world.webhook('b', "prepare firing", died, 4 * SECOND);
    let call = world.webhook('b', "execute firing", died, 12 * SECOND);
    for (name, value) in [("votes", "2/2"), ("confirmed", "true"), ("failover_target", "a")] {
        assert_eq!(call.annotation(name), value, "{name}: {call:?}");
    }
    world.nothing_but(&EXECUTED, 8 * SECOND);
    // Both hold it down: the witness, too.
    for vantage in ['a', 'c'] {
        let execute = world.region(vantage).value("incidents", &[&peer_label('b'), "stage=\"execute\""]);
        assert_eq!(execute, Some(1.0), "{vantage}");
    }
}

#[test]
fn the_outage_of_the_witness_fails_no_region_over_and_no_outage_is_confirmed_without_it() {
    let world = World::new(&plan());
    world.blackhole('c');
    let isolated = || world.region('c').value("vantage_isolated", &[]).filter(|isolated| *isolated == 1.0);
    wait_for("c to know that it is isolated", 20 * SECOND, isolated);
    world.nothing_but(&[], 14 * SECOND);
    are_up(&world, &[('a', 'b'), ('b', 'a')]);
    let died = world.blackhole('b');
    let call = world.webhook('b', "prepare firing", died, 20 * SECOND);
    assert_eq!(call.annotation("confirmed"), "false", "{call:?}");
    world.nothing_but(&[('b', "prepare firing")], 12 * SECOND);
}

#[test]
fn a_cut_between_two_regions_that_both_reach_the_witness_fails_neither_over() {
    let world = World::new(&plan());
    world.part("a", "b");
    world.comes_to_see('a', 'b', "degraded");
    world.comes_to_see('b', 'a', "degraded");
    // Longer than a suspicion waits for votes, and the hold after it.
    world.nothing_but(&[], 16 * SECOND);
    are_up(&world, &[('c', 'a'), ('c', 'b')]);
}

/// It still reaches Alertmanager and its anchors, so that its silence is its own decision.
#[test]
fn a_witness_that_reaches_neither_region_confirms_nothing() {
    let world = World::new(&plan());
    world.part("c", "ab");
    for peer in ['a', 'b'] {
        let state = || world.region('c').state_of(peer).filter(|state| state == "down");
        wait_for(&format!("c to call {peer} down"), 30 * SECOND, state);
    }
    thread::sleep(8 * SECOND);
    let story = world.story();
    assert!(story.iter().all(|(_, kind)| kind == "prepare firing"), "{story:?}");
    are_up(&world, &[('a', 'b'), ('b', 'a')]);
}
