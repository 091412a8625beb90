//! A month of deciding, simulated: nobody alive is given up, nobody dead is missed. `docs/simulation.md` has the model,
//! and what years of it say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod commands;
mod common_mode;
mod memory;
mod rivals;
mod witness;

use std::time::Duration;

use regionwatch::{
    decision::{Policy, Transition},
    signing::Operators,
};
use testkit::simulation::{
    figures::{self, Worth},
    journal::{Journal, Order, Said},
    places,
    rivals::ALL,
    timeline::{DAY, MILLI, SECOND, Span, Time, Trouble, Weather, draw},
    truth::{Plight, Truth},
    world::{Setup, World},
};

const HOLD: Time = 30 * SECOND;

fn setup(regions: usize, loss: f64) -> Setup {
    // What is limited is another question: here every death is to be ordered.
    let (max_down, min_interval) = (regions as u32, Duration::ZERO);
    let policy = Policy { execute_after: Duration::from_micros(HOLD), max_down, min_interval, ..Policy::default() };
    let rtt = places::even(regions, 0.1);
    Setup {
        rtt,
        policy,
        disarmed: 0,
        quorum: true,
        critical: false,
        witness: false,
        state: false,
        operators: Operators::default(),
        skew: Vec::new(),
        ask: true,
        loss,
        skip: true,
        seed: 1,
    }
}

fn burst(mut setup: Setup) -> Setup {
    setup.policy.confirm_burst = true;
    setup
}

/// Everything that happens in a minute of one trouble that lasts for so long.
fn trouble(regions: usize, trouble: Trouble, lasts: Time) -> Journal {
    let span = Span { begin: 10 * SECOND, end: 10 * SECOND + lasts, trouble };
    let mut world = World::new(setup(regions, 0.0), vec![span]);
    world.run(70 * SECOND, |_| false);
    assert_eq!(world.journal.unheld, 0);
    world.journal
}

#[test]
fn a_month_on_a_rough_network_has_no_false_failover_and_no_missed_outage() {
    let (regions, length) = (3, 30 * DAY);
    let spans = draw(&Weather { deaths: 50.0, ..Weather::ROUGH }, regions, length, 1, true);
    let truth = Truth::new(&spans, regions);
    for setup in [setup(regions, 0.02), burst(setup(regions, 0.02))] {
        let mut world = World::new(setup, spans.clone());
        world.run(length, |_| false);
        let journal = &world.journal;
        let Worth { dead, wrong, .. } = figures::worth(&journal.executed, figures::switch(&truth, HOLD));
        assert!(dead > 5 && wrong == 0, "{dead} {wrong}");
        assert_eq!(figures::worth(&journal.opened, figures::page(&truth)).wrong, 0);
        let down: Vec<_> = journal.down.iter().map(|(said, _)| *said).collect();
        let (times, missed) = figures::detection(&journal.confirmed, &down, &truth);
        assert!(times.len() > 5 && missed == 0, "{times:?} {missed}");
        let (alike, extra_probes) = figures::named_alike(&journal.executed);
        assert_eq!(alike, extra_probes, "every vantage has one name for the incident when it extra_probes to switch");
        assert_eq!(journal.restless, 0);
        assert_eq!(journal.unheld, 0, "an order is given only while its vantage holds the region down");
        assert!(journal.orders.iter().any(|order| order.end.is_some()));
        assert!(journal.moves.keys().all(|change| Transition::ALL.contains(change)), "{:?}", journal.moves);
    }
}

/// Several regions die in an hour, sidecars restart and paths break meanwhile.
#[test]
fn never_more_regions_than_allowed_are_failed_over_and_no_target_changes() {
    for (regions, seed, max_down) in [(3, 1, 1), (4, 2, 1), (5, 3, 2), (5, 4, 1)] {
        let length = DAY / 6;
        let weather =
            Weather { deaths: 4000.0, restarts: 2000.0, one_way_cuts: 200.0, partitions: 100.0, ..Weather::ROUGH };
        let spans = draw(&weather, regions, length, seed, true);
        let mut limited = Setup { seed, disarmed: 1, ..setup(regions, 0.02) };
        (limited.policy.max_down, limited.policy.min_interval) = (max_down, Duration::from_secs(60));
        let mut world = World::new(limited, spans);
        world.run(length, |_| false);
        let Journal { orders, unlimited, retargeted, unlawful, unheld, .. } = &world.journal;
        assert_eq!([unlimited, retargeted, unlawful, unheld], [&0; 4], "{regions} regions");
        assert!(orders.len() > 5, "{regions} regions, {} orders", orders.len());
    }
}

/// Without it, the tests above would also pass in a simulation in which nothing can fail.
#[test]
fn a_single_vantage_and_every_rival_have_false_positives() {
    let (regions, length) = (3, 10 * DAY);
    let spans = draw(&Weather { one_way_cuts: 150.0, ..Weather::ROUGH }, regions, length, 1, true);
    let truth = Truth::new(&spans, regions);
    let mut alone = Setup { quorum: false, ..setup(regions, 0.02) };
    alone.policy.allow_single_vantage = true;
    let mut world = World::new(alone, spans.clone());
    world.run(length, |_| false);
    let switched = figures::worth(&world.journal.executed, figures::switch(&truth, HOLD));
    let opened = figures::worth(&world.journal.opened, figures::page(&truth));
    assert!(switched.wrong > 5 && opened.wrong > switched.wrong, "{switched:?} {opened:?}");
    for rival in &ALL {
        let alarms = rival.alarms(&spans, regions, 0.02, length, 1);
        let worth = figures::worth(&alarms, figures::page(&truth));
        assert!(worth.wrong > 5, "{}: {worth:?}", rival.name);
    }
}

/// Everything in a time with these troubles.
fn troubles(regions: usize, spans: &[(Time, Time, Trouble)], until: Time) -> Journal {
    let span = |&(begin, end, trouble)| Span { begin: begin * SECOND, end: end * SECOND, trouble };
    let mut world = World::new(Setup { skip: false, ..setup(regions, 0.02) }, spans.iter().map(span).collect());
    world.run(until * SECOND, |_| false);
    assert_eq!(world.journal.unheld, 0);
    world.journal
}

#[test]
fn orders_end_within_eight_seconds_of_the_return_of_a_region() {
    let journal = troubles(4, &[(10, 60, Trouble::Dead(1))], 120);
    assert_eq!(journal.orders.len(), 3, "{:?}", journal.orders);
    let end = |order: &Order| order.end.expect("the region is back");
    assert!(
        journal.orders.iter().map(end).all(|end| (60 * SECOND..68 * SECOND).contains(&end)),
        "{:?}",
        journal.orders
    );
}

#[test]
fn a_relapse_is_ordered_again_only_while_a_quorum_holds_it_down() {
    let journal = troubles(4, &[(10, 60, Trouble::Dead(1)), (80, 100, Trouble::Dead(1))], 130);
    assert_eq!(journal.orders.len(), 6, "{:?}", journal.orders);
    let relapse = (80 * SECOND..108 * SECOND, |order: &&Order| order.begin > 70 * SECOND);
    let again: Vec<_> = journal.orders.iter().filter(relapse.1).collect();
    assert!(again.iter().all(|order| relapse.0.contains(&order.end.unwrap_or(order.begin))), "{again:?}");
    assert_eq!(journal.executed.len(), 3, "it is the same incident");
}

#[test]
fn a_restarted_vantage_orders_a_region_again_only_while_it_is_down() {
    // One restarts during the outage, and one after it: both had executed.
    let spans = [(10, 90, Trouble::Dead(1)), (60, 62, Trouble::Restart(2)), (100, 102, Trouble::Restart(3))];
    let journal = troubles(4, &spans, 140);
    let by = |vantage| journal.orders.iter().filter(move |order| order.by == vantage);
    assert_eq!((by(2).count(), by(3).count()), (2, 1), "{:?}", journal.orders);
    assert!(journal.orders.iter().all(|order| order.end < Some(98 * SECOND)), "{:?}", journal.orders);
}

/// What it knew before says nothing about now.
#[test]
fn a_vantage_that_was_frozen_during_an_order_gives_none_before_it_has_evaluated_all_peers() {
    let journal = troubles(5, &[(10, 100, Trouble::Dead(1)), (60, 68, Trouble::Frozen(0))], 90);
    let by = |vantage| journal.orders.iter().filter(move |order| order.by == vantage).count();
    assert_eq!([0, 2, 3, 4].map(by), [2, 1, 1, 1], "{:?}", journal.orders);
}

/// Where one vantage reaches a region again, the network is at fault: none orders it.
#[test]
fn a_region_that_returns_to_one_vantage_is_ordered_by_none() {
    let cuts = [0, 2, 3].map(|from| (10, if from == 0 { 60 } else { 110 }, Trouble::Path { from, to: 1 }));
    let journal = troubles(4, &cuts, 100);
    assert_eq!(journal.orders.len(), 3, "{:?}", journal.orders);
    assert!(journal.orders.iter().all(|order| order.end < Some(70 * SECOND)), "{:?}", journal.orders);
}

/// A longer timeout alone does not prevent this false failover; a quorum does.
#[test]
fn a_one_way_cut_makes_a_single_vantage_fail_over_and_a_quorum_not() {
    let cut = Trouble::Path { from: 0, to: 1 };
    let span = Span { begin: 10 * SECOND, end: 70 * SECOND, trouble: cut };
    let mut alone = Setup { quorum: false, ..setup(3, 0.0) };
    alone.policy.allow_single_vantage = true;
    let [by_quorum, alone] = [setup(3, 0.0), alone].map(|setup| {
        let mut world = World::new(setup, vec![span]);
        world.run(80 * SECOND, |_| false);
        world.journal.executed
    });
    assert_eq!((by_quorum.len(), alone.len()), (0, 2), "{by_quorum:?} {alone:?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let run = || {
        let spans = draw(&Weather::ROUGH.times(20.0), 3, DAY / 4, 7, true);
        let mut world = World::new(setup(3, 0.02), spans);
        world.run(DAY / 4, |_| false);
        (world.journal.suspected, world.journal.opened, world.journal.probes)
    };
    assert_eq!(run(), run());
}

#[test]
fn skipping_calm_periods_finds_as_many_suspicions_as_simulating_them() {
    let length = 5400 * SECOND;
    let suspicions = |skip| -> (usize, Time) {
        let seeds = (1..=3).map(|seed| {
            let spans = draw(&Weather { loss: 0.28, ..Weather::CALM }, 3, length, seed, skip);
            let mut world = World::new(Setup { skip, seed, ..setup(3, 0.28) }, spans);
            world.run(length, |_| false);
            (world.journal.suspected.len(), world.journal.watched)
        });
        seeds.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    let ((skipped, part), (watched, all)) = (suspicions(true), suspicions(false));
    assert!(part < all * 9 / 10, "{part} of {all}");
    // Both are counts of rare and independent events, so that their difference has their sum as its variance.
    let deviation = skipped.abs_diff(watched) as f64 / ((skipped + watched) as f64).sqrt();
    eprintln!("{skipped} {watched} {part} {all}");
    assert!(watched > 30 && deviation < 3.0, "{skipped} and {watched}");
}

fn detection(setup: &Setup) -> Vec<Time> {
    let one = |n: u64| {
        let begin = 8 * SECOND + n * 23 * MILLI;
        let span = Span { begin, end: begin + 60 * SECOND, trouble: Trouble::Dead(n as usize % setup.rtt.len()) };
        let mut world = World::new(Setup { seed: n, skip: false, ..setup.clone() }, vec![span]);
        world.run(begin + 20 * SECOND, |journal| !journal.confirmed.is_empty());
        world.journal.confirmed.first().expect("it is found to be dead").at - begin
    };
    let mut times: Vec<_> = (0..40).map(one).collect();
    times.sort_unstable();
    times
}

#[test]
fn a_quorum_detects_an_outage_within_1400_ms_and_sooner_with_vote_requests_and_bursts() {
    let usual = setup(3, 0.02);
    let [asked, unasked, bursts] =
        [detection(&usual), detection(&Setup { ask: false, ..usual.clone() }), detection(&burst(usual))]
            .map(|times| (figures::quantile(&times, 0.5).unwrap(), figures::quantile(&times, 0.99).unwrap()));
    assert!(asked.1 <= 1.4, "{asked:?}");
    assert!(asked < unasked && bursts < asked, "{asked:?} {unasked:?} {bursts:?}");
}

#[test]
fn only_the_majority_of_a_partition_reports_regions_as_down() {
    let greater = trouble(5, Trouble::Partition(0b00111), 50 * SECOND);
    assert!(greater.opened.iter().all(|said| said.by < 3 && said.of >= 3));
    assert_eq!(greater.executed.len(), 6);
    let equal = trouble(4, Trouble::Partition(0b0011), 50 * SECOND);
    assert_eq!((equal.suspected, equal.opened), (Vec::new(), Vec::new()));
    assert_eq!(equal.isolated, 4);
}

#[test]
fn an_isolated_vantage_suspects_no_peer_and_is_not_suspected_by_those_that_reach_it() {
    let journal = trouble(4, Trouble::Blind(1), 50 * SECOND);
    assert_eq!((journal.suspected, journal.opened), (Vec::new(), Vec::new()));
    assert_eq!(journal.isolated, 1);
}

#[test]
fn a_region_that_one_vantage_cannot_reach_is_not_down() {
    for regions in 3..6 {
        let journal = trouble(regions, Trouble::Path { from: 0, to: 1 }, 50 * SECOND);
        assert!(!journal.suspected.is_empty());
        assert_eq!(journal.opened, Vec::new(), "{regions}");
    }
}

#[test]
fn an_instance_that_freezes_for_ten_seconds_suspects_no_peer() {
    let journal = trouble(3, Trouble::Frozen(1), 10 * SECOND);
    assert_eq!((journal.suspected, journal.opened), (Vec::new(), Vec::new()));
}

#[test]
fn a_restarted_instance_suspects_no_peer_and_is_not_suspected() {
    let journal = trouble(3, Trouble::Restart(1), 10 * SECOND);
    assert_eq!((journal.suspected, journal.opened), (Vec::new(), Vec::new()));
}

#[test]
fn a_region_counts_as_connected_if_it_reaches_half_of_the_others() {
    let span = |trouble, begin, end| Span { begin: begin * SECOND, end: end * SECOND, trouble };
    let (one, two) = (Trouble::Path { from: 0, to: 1 }, Trouble::Path { from: 1, to: 2 });
    let truth = Truth::new(&[span(one, 10, 60), span(two, 20, 60), span(Trouble::Dead(1), 40, 50)], 3);
    let worst = |begin, end| truth.worst(1, begin * SECOND, end * SECOND);
    assert_eq!(worst(10, 19), Plight::InTouch);
    assert_eq!(worst(10, 30), Plight::IsolationReason);
    assert_eq!(worst(30, 45), Plight::Dead);
    let throughout = |begin, end| truth.throughout(1, begin * SECOND, end * SECOND);
    assert_eq!(throughout(10, 45), Plight::InTouch);
    assert_eq!(throughout(20, 39), Plight::IsolationReason);
    assert_eq!(throughout(20, 45), Plight::Dead);
    let said = |at| Said { at: at * SECOND, by: 0, of: 1, onset: (at - 1) * SECOND };
    let worth = figures::worth(&[said(15), said(25), said(45), said(200)], figures::page(&truth));
    assert_eq!(worth, Worth { dead: 1, isolation_reason: 0, wrong: 1 }, "alarms within a minute are one");
}
