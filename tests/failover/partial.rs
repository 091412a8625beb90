//! Troubles that are no death, and of which nothing is told; and one that is a death for some.

use std::time::Duration;

use tokio::time::Instant;

use testkit::regions::{
    World,
    process::wait_for,
    region::{Plan, Serves, peer_label},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_region_that_only_one_vantage_cannot_reach_is_not_failed_over() {
    let world = World::new(&Plan::default());
    world.cut('c', 'a');
    world.comes_to_see('a', 'c', "degraded");
    world.comes_to_see('c', 'a', "degraded");
    // Longer than a suspicion waits for votes, and the hold after it.
    world.nothing_but(&[], 16 * SECOND);
    assert_eq!(world.region('b').state_of('c').as_deref(), Some("healthy"));
}

#[test]
fn a_region_from_which_no_vantage_receives_anything_is_down() {
    let world = World::new(&Plan::default());
    let died = world.mute('c');
    world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.webhook('c', "execute firing", died, 12 * SECOND);
    assert_eq!(world.region('c').value("vantage_isolated", &[]), Some(1.0));
    world.nothing_but(&[('c', "prepare firing"), ('c', "execute firing")], 6 * SECOND);
}

#[test]
fn an_isolated_vantage_suspects_no_peer_and_the_others_report_it_down() {
    let world = World::new(&Plan::default());
    // It still reaches Alertmanager, so that its silence is its own decision.
    let died = world.part("a", "bc");
    world.webhook('a', "prepare firing", died, 4 * SECOND);
    world.webhook('a', "execute firing", died, 12 * SECOND);
    let told = [('a', "prepare firing"), ('a', "execute firing")];
    world.nothing_but(&told, 10 * SECOND);
    assert_eq!(world.region('a').value("vantage_isolated", &[]), Some(1.0));
    world.mend();
    let mended = Instant::now();
    world.comes_to_see('b', 'a', "recovering");
    world.webhook('a', "execute resolved", mended, 30 * SECOND);
    world.nothing_but(&[told[0], told[1], ('a', "execute resolved")], 8 * SECOND);
    for peer in ['b', 'c'] {
        let state = world.region('a').state_of(peer).unwrap();
        assert!(["healthy", "degraded"].contains(&&*state), "{peer} is {state}");
    }
}

/// As a database that the health pages of both ask.
#[test]
fn services_that_fail_in_two_regions_at_once_fail_none_over_until_one_is_silent() {
    let mut world = World::new(&Plan { serves: Serves::Everything, ..Plan::default() });
    for region in ['b', 'c'] {
        world.region_mut(region).service = None;
    }
    for (vantage, peer) in [('a', 'b'), ('a', 'c'), ('b', 'c'), ('c', 'b')] {
        world.comes_to_see(vantage, peer, "degraded");
    }
    // Longer than a suspicion waits for votes, and the hold after it.
    world.nothing_but(&[], 16 * SECOND);
    for (vantage, peer) in [('a', 'b'), ('a', 'c'), ('b', 'c'), ('c', 'b')] {
        let labels = [&*peer_label(peer), "reason=\"common_mode\""];
        let reason = || world.region(vantage).value("peer_state_reason", &labels).filter(|value| *value == 1.0);
        wait_for(&format!("{vantage} to say so of {peer}"), 10 * SECOND, reason);
    }
    let died = world.blackhole('c');
    let call = world.webhook('c', "execute firing", died, 20 * SECOND);
    assert_eq!((call.annotation("cause"), call.annotation("failover_target")), ("silence", "a"), "{call:?}");
    world.nothing_but(&[('c', "prepare firing"), ('c', "execute firing")], 6 * SECOND);
}

#[test]
fn packet_loss_triggers_no_failover() {
    let world = World::new(&Plan::default());
    let link = world.region('c').link();
    for way in ["-i", "-o"] {
        world.forward(&format!("{way} {link} -m statistic --mode random --probability 0.2 -j DROP"));
    }
    world.nothing_but(&[], 30 * SECOND);
    // They were seen.
    world.comes_to_see('a', 'c', "degraded");
}
