//! Two environments with the same names of regions, around one Prometheus and one Alertmanager.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use testkit::regions::{
    World,
    process::wait_for,
    region::{NamedBy, Plan, peer_label},
};

const SECOND: Duration = Duration::from_secs(1);

fn both() -> Plan {
    Plan { environments: &["prod", "staging"], ..Plan::default() }
}

/// What the failover webhook was called for: environment, region and kind.
fn told(world: &World) -> BTreeSet<(String, String, String)> {
    let calls = world.sink.calls("failover");
    calls.iter().map(|call| (call.label("environment").to_owned(), call.peer().to_owned(), call.kind())).collect()
}

/// Waits until the webhook was called for both stages.
fn is_failed_over(world: &World, environment: &str, peer: char, since: Instant, limit: Duration) {
    for kind in ["prepare firing", "execute firing"] {
        let call = (environment.to_owned(), peer.to_string(), kind.to_owned());
        let left = limit.saturating_sub(since.elapsed());
        wait_for(&format!("{kind} about {peer} in {environment}"), left, || told(world).contains(&call).then_some(()));
    }
}

/// Whether nothing but this was told: both stages about each of these.
fn nothing_else_was_told(world: &World, failed_over: &[(&str, char)]) {
    let stages = |(environment, peer): &(&str, char)| {
        ["prepare firing", "execute firing"].map(|kind| ((*environment).to_owned(), peer.to_string(), kind.to_owned()))
    };
    assert_eq!(told(world), failed_over.iter().flat_map(stages).collect());
}

#[test]
fn pushes_of_two_environments_are_two_incidents_of_the_same_region() {
    let world = World::new(&both());
    let died = world.swallow(world.region_of("staging", 'c'));
    is_failed_over(&world, "staging", 'c', died, 20 * SECOND);
    std::thread::sleep(6 * SECOND);
    nothing_else_was_told(&world, &[("staging", 'c')]);
    // Not hidden by the alert of the other environment, which still fires.
    let died = world.swallow(world.region_of("prod", 'c'));
    is_failed_over(&world, "prod", 'c', died, 20 * SECOND);
    std::thread::sleep(6 * SECOND);
    nothing_else_was_told(&world, &[("staging", 'c'), ("prod", 'c')]);
}

/// In staging `c` is up, `a` is isolated, and so `a` is down for the others. None of that concerns prod.
fn rules_keep_the_environments_apart(named_by: NamedBy) {
    let world = World::new(&Plan { pushes: false, rules: true, named_by, ..both() });
    let began = Instant::now();
    world.seclude(world.region_of("staging", 'a'));
    is_failed_over(&world, "staging", 'a', began, 60 * SECOND);
    nothing_else_was_told(&world, &[("staging", 'a')]);
    let died = world.swallow(world.region_of("prod", 'c'));
    is_failed_over(&world, "prod", 'c', died, 60 * SECOND);
    std::thread::sleep(6 * SECOND);
    nothing_else_was_told(&world, &[("staging", 'a'), ("prod", 'c')]);
}

#[test]
fn rules_keep_environments_apart_that_the_sidecars_name() {
    rules_keep_the_environments_apart(NamedBy::Setting);
}

#[test]
fn rules_keep_environments_apart_that_the_scrape_configuration_names() {
    rules_keep_the_environments_apart(NamedBy::Scrape);
}

#[test]
fn votes_from_the_sidecar_of_another_environment_are_rejected() {
    let mut world = World::new(&both());
    world.redirect(world.region_of("prod", 'a'), world.region_of("prod", 'b'), world.region_of("staging", 'b'));
    // A new process opens new connections, which lead to the wrong sidecar.
    world.region_mut('a').start();
    let from_b = peer_label('b');
    let count = |result: &str| {
        let result = format!("result=\"{result}\"");
        world.region_of("prod", 'a').any_value("votes_received_total", &[&from_b, &result, "environment=\"prod\""])
    };
    wait_for("ten rejected votes", 40 * SECOND, || count("environment").filter(|rejected| *rejected >= 10.0));
    assert_eq!(count("accepted"), Some(0.0));
    assert_eq!(count("environment_missing"), Some(0.0));
    let log = world.region_of("prod", 'a').said();
    assert_eq!(log.matches("rejecting the votes of b: environment; its environment differs").count(), 1, "{log}");
    nothing_else_was_told(&world, &[]);
}
