//! Two regions and a witness, which owns none: two of three confirm an outage, and no vantage decides alone.

use std::collections::BTreeSet;

use regionwatch::model::Region;
use testkit::simulation::{
    figures::{self, Worth},
    journal::Journal,
    timeline::{DAY, SECOND, Span, Time, Trouble, Weather, draw},
    truth::Truth,
    world::{Setup, World},
};

/// The witness, beside the regions 0 and 1.
const WITNESS: usize = 2;

fn run(spans: &[(Time, Time, Trouble)]) -> Journal {
    let span = |&(begin, end, trouble)| Span { begin: begin * SECOND, end: end * SECOND, trouble };
    let setup = Setup { witness: true, skip: false, ..super::setup(3, 0.02) };
    let mut world = World::new(setup, spans.iter().map(span).collect());
    world.run(120 * SECOND, |_| false);
    assert_eq!(world.journal.unheld, 0);
    world.journal
}

#[test]
fn the_outage_of_one_of_two_regions_is_ordered_by_the_other_one_and_the_witness() {
    let journal = run(&[(10, 110, Trouble::Dead(1))]);
    let orders: BTreeSet<_> = journal.orders.iter().map(|order| (order.by, order.of)).collect();
    assert_eq!(orders, [(0, 1), (WITNESS, 1)].into());
    let target = Region::new("r00").unwrap();
    assert!(journal.targets.values().all(|other| *other == target), "{:?}", journal.targets);
}

#[test]
fn neither_the_outage_of_the_witness_nor_a_cut_between_the_regions_orders_a_failover() {
    for trouble in [
        Trouble::Dead(WITNESS),
        Trouble::Cut(WITNESS),
        Trouble::Blind(WITNESS),
        Trouble::Path { from: 0, to: 1 },
        Trouble::Path { from: 0, to: WITNESS },
        Trouble::Restart(WITNESS),
    ] {
        let journal = run(&[(10, 110, trouble)]);
        assert_eq!((journal.orders.len(), journal.executed.len()), (0, 0), "{trouble:?}");
    }
    let both_ways = [(0, 1), (1, 0)].map(|(from, to)| (10, 110, Trouble::Path { from, to }));
    let journal = run(&both_ways);
    assert_eq!((journal.orders.len(), journal.suspected.is_empty()), (0, false), "{:?}", journal.orders);
}

#[test]
fn an_outage_while_the_witness_is_away_orders_nothing() {
    let journal = run(&[(10, 110, Trouble::Dead(WITNESS)), (30, 110, Trouble::Dead(1))]);
    assert_eq!((journal.orders.len(), journal.down.len()), (0, 1), "{:?} {:?}", journal.orders, journal.down);
}

/// As the month with three regions, which has the same weather.
#[test]
fn a_month_with_a_witness_on_a_rough_network_has_no_false_failover() {
    let (regions, length) = (3, 30 * DAY);
    for seed in [1, 2] {
        let spans = draw(&Weather { deaths: 50.0, ..Weather::ROUGH }, regions, length, seed, true);
        let truth = Truth::new(&spans, regions);
        let mut world = World::new(Setup { witness: true, seed, ..super::setup(regions, 0.02) }, spans);
        world.run(length, |_| false);
        let journal = &world.journal;
        let Worth { dead, wrong, .. } = figures::worth(&journal.executed, figures::switch(&truth, super::HOLD));
        // Not those while the witness is away, nor those that end before the hold does.
        let deaths = truth.deaths().filter(|(region, ..)| *region != WITNESS).count() as u64;
        assert!(dead > 1 && 2 * dead >= deaths && wrong == 0, "seed {seed}: {dead} of {deaths}, {wrong}");
        assert!(journal.executed.iter().all(|said| said.of != WITNESS));
        assert_eq!([journal.unheld, journal.unlawful, journal.retargeted], [0; 3], "seed {seed}");
    }
}
