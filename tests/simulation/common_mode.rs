//! Services that fail in several regions at once: failing one of them over would not help.

use std::collections::BTreeSet;

use testkit::simulation::{
    journal::Journal,
    timeline::{SECOND, Span, Time, Trouble},
    world::{Setup, World},
};

/// What the vantages of so many regions do, with these troubles in seconds.
fn run(regions: usize, spans: &[(Time, Time, Trouble)]) -> Journal {
    let span = |&(begin, end, trouble)| Span { begin: begin * SECOND, end: end * SECOND, trouble };
    let setup = Setup { critical: true, skip: false, ..super::setup(regions, 0.02) };
    let mut world = World::new(setup, spans.iter().map(span).collect());
    world.run(240 * SECOND, |_| false);
    assert_eq!(world.journal.unheld, 0);
    world.journal
}

/// The regions that were ordered to be failed over.
fn ordered(journal: &Journal) -> BTreeSet<usize> {
    journal.orders.iter().map(|order| order.of).collect()
}

#[test]
fn a_region_whose_services_fail_alone_is_failed_over() {
    for regions in 3..6 {
        let journal = run(regions, &[(10, 200, Trouble::Service(1))]);
        assert_eq!((ordered(&journal), journal.common), ([1].into(), 0), "{regions} regions");
    }
}

#[test]
fn regions_whose_services_fail_within_a_minute_of_each_other_are_not_failed_over() {
    for regions in 3..6 {
        for second in [10, 35] {
            let spans = [(10, 200, Trouble::Service(1)), (second, 200, Trouble::Service(2))];
            let journal = run(regions, &spans);
            assert_eq!(ordered(&journal), [].into(), "{regions} regions, at {second} s");
            assert!(journal.common >= 2, "{regions} regions, at {second} s: {}", journal.common);
        }
    }
}

/// The first region has an incident already when the services of the second one fail.
#[test]
fn a_restart_of_all_vantages_in_a_common_mode_fails_no_region_over() {
    for regions in 3..6 {
        for second in [10, 35] {
            let troubles = [(10, 200, Trouble::Service(1)), (second, 200, Trouble::Service(2))];
            let restarts = (0..regions).map(|vantage| (80, 82, Trouble::Restart(vantage)));
            let journal = run(regions, &troubles.into_iter().chain(restarts).collect::<Vec<_>>());
            assert_eq!(ordered(&journal), [].into(), "{regions} regions, at {second} s");
        }
    }
}

/// What is repaired in one region first may take a little longer in the other.
#[test]
fn a_region_is_not_failed_over_because_the_other_one_of_a_common_mode_recovers_first() {
    let journal = run(4, &[(10, 200, Trouble::Service(1)), (20, 60, Trouble::Service(2))]);
    assert_eq!(ordered(&journal), [].into());
}

#[test]
fn services_that_fail_more_than_a_minute_after_another_region_are_judged_alone() {
    let journal = run(4, &[(10, 230, Trouble::Service(1)), (110, 230, Trouble::Service(2))]);
    assert_eq!((ordered(&journal), journal.common), ([1, 2].into(), 0));
}

#[test]
fn an_order_that_was_given_stands_when_the_services_of_another_region_fail() {
    let journal = run(4, &[(10, 200, Trouble::Service(1)), (62, 200, Trouble::Service(2))]);
    assert_eq!(ordered(&journal), [1].into());
    assert!(journal.orders.iter().all(|order| order.end > Some(200 * SECOND)), "{:?}", journal.orders);
}

#[test]
fn a_token_that_expires_for_all_vantages_fails_no_region_over() {
    for regions in 3..6 {
        let journal = run(regions, &[(10, 200, Trouble::Token)]);
        assert_eq!((ordered(&journal), journal.down.len()), ([].into(), 0), "{regions} regions");
        assert_eq!(journal.common as usize, regions * (regions - 1), "every vantage sees it of every peer");
    }
}

#[test]
fn a_region_that_falls_silent_in_a_common_mode_is_judged_alone() {
    for common in [Trouble::Token, Trouble::Service(2)] {
        let journal = run(4, &[(10, 200, Trouble::Service(1)), (15, 200, common), (60, 190, Trouble::Dead(1))]);
        assert_eq!(ordered(&journal), [1].into(), "{common:?}");
        assert!(journal.orders.iter().all(|order| order.begin > 90 * SECOND), "{:?}", journal.orders);
    }
}
