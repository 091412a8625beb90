//! From the death of a region to the webhook, in one piece: the binary as a sidecar in every region, the real
//! Alertmanager and Prometheus with the files of `alerts/`, and a receiver of webhooks. Regions are network namespaces,
//! and the hub between them is where they are cut, refused and made to lose packets.
//!
//! Scenarios wait more than they work, so they run at the same time, each in a world of its own; the test harness of
//! Rust would run as many as there are processors. Like it, this one takes parts of names, `--ignored`, which runs
//! those that take minutes, and `--list`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test harness prints")]

mod alerting;
mod alertmanagers;
mod death;
mod majority;
mod outage;
mod partial;
mod process;
mod prometheus;
mod region;
mod rules;
mod service;
mod world;

use std::{
    env,
    process::ExitCode,
    sync::{Condvar, Mutex},
    thread,
};

use testkit::{
    privileges::{Need, granted},
    space,
};
use tokio::time::Instant;

/// A scenario, by a name that says what is guaranteed.
type Scenario = (&'static str, fn());

/// Names scenarios by their functions.
macro_rules! scenarios {
    ($($module:ident::$name:ident),* $(,)?) => { &[$((stringify!($name), $module::$name as fn())),*] };
}

const SCENARIOS: &[Scenario] = scenarios![
    death::a_dead_region_reaches_the_webhook_once_to_prepare_and_once_to_execute,
    death::a_dead_service_is_a_dead_region_where_it_is_critical,
    death::a_region_that_refuses_everything_is_dead_where_its_service_is_critical,
    death::a_region_that_still_says_no_is_not_dead_where_nothing_is_critical,
    outage::an_outage_that_comes_again_is_the_same_incident,
    outage::a_sidecar_that_restarts_during_an_incident_neither_ends_nor_repeats_it,
    outage::the_last_vantage_but_one_may_restart_during_an_incident,
    partial::a_region_that_only_one_vantage_cannot_reach_is_not_failed_over,
    partial::a_region_that_cannot_be_heard_by_anybody_is_dead,
    partial::an_observer_that_is_cut_off_accuses_nobody_and_is_what_the_others_miss,
    partial::losses_are_not_a_death,
    alertmanagers::an_alertmanager_that_restarts_during_an_incident_repeats_nothing,
    alertmanagers::an_alertmanager_that_was_away_is_told_as_soon_as_it_is_back,
    alertmanagers::a_frozen_alertmanager_delays_its_cluster_by_no_more_than_the_peer_timeout,
    majority::of_a_network_in_two_parts_only_the_majority_speaks,
    majority::of_a_network_in_two_halves_none_executes,
    majority::across_a_cut_that_somebody_bridges_nothing_is_executed,
    majority::of_two_regions_that_die_one_after_the_other_each_is_failed_over_to_a_third,
    majority::two_regions_prepare_unconfirmed_and_execute_only_where_that_is_allowed,
    majority::of_two_regions_none_speaks_that_sees_nothing_of_the_world,
    rules::the_rules_alone_call_the_webhook_and_a_restart_of_prometheus_ends_nothing,
    rules::push_and_rules_together_call_once,
];

/// Scenarios that take minutes, because what they wait for does.
const LONG: &[Scenario] = scenarios![outage::an_incident_ends_when_the_region_has_been_well_for_six_minutes];

/// How many run at the same time: all of them would be slower than what they measure.
const AT_ONCE: usize = 10;

fn possible() -> bool {
    space::possible()
        && granted(&[Need::Tool("setpriv"), Need::Tool("prometheus"), Need::Tool("prometheus-alertmanager")])
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let parts: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let all = if has("--ignored") { LONG } else { SCENARIOS };
    let chosen = |(name, _): &&Scenario| parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()));
    let chosen: Vec<_> = all.iter().filter(chosen).collect();
    if has("--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() || !possible() {
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} scenarios", chosen.len());
    let began = Instant::now();
    let failed = run(&chosen);
    println!("\n{} passed; {} failed; {:.1?}", chosen.len() - failed.len(), failed.len(), began.elapsed());
    failed.iter().for_each(|name| println!("failed: {name}"));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs scenarios, a few at the same time; the names of those that failed.
fn run(scenarios: &[&Scenario]) -> Vec<&'static str> {
    let (running, ended) = (Mutex::new(0), Condvar::new());
    let start = |scenario: fn()| {
        let full = |running: &mut usize| *running >= AT_ONCE;
        *ended.wait_while(running.lock().unwrap(), full).unwrap() += 1;
        let result = std::panic::catch_unwind(scenario);
        *running.lock().unwrap() -= 1;
        ended.notify_one();
        result
    };
    thread::scope(|scope| {
        let spawn = |&&(name, scenario): &&Scenario| {
            let thread = thread::Builder::new().name(name.to_owned());
            (name, thread.spawn_scoped(scope, move || start(scenario)).unwrap())
        };
        let threads: Vec<_> = scenarios.iter().map(spawn).collect();
        let failed = |(name, thread): (&'static str, thread::ScopedJoinHandle<'_, thread::Result<()>>)| {
            let passed = matches!(thread.join(), Ok(Ok(())));
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            (!passed).then_some(name)
        };
        threads.into_iter().filter_map(failed).collect()
    })
}

/// Says what was measured.
fn report(what: &str) {
    println!("{}: {what}", thread::current().name().unwrap_or_default());
}
