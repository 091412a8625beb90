//! What a restart of all vantages at the same time forgets, and what it does not.

use std::collections::BTreeSet;

use testkit::simulation::{
    timeline::{SECOND, Span, Trouble},
    world::{Setup, World},
};

/// One region dies and comes back. When its incident is over, all vantages restart, and then another region dies: the first one
/// is not released, so that it takes the only slot.
fn ordered(state: bool) -> BTreeSet<usize> {
    let restarts = (0..4).map(|vantage| (520, 522, Trouble::Restart(vantage)));
    let deaths = [(10, 60, Trouble::Dead(1)), (620, 700, Trouble::Dead(2))];
    let mut spans: Vec<_> = restarts
        .chain(deaths)
        .map(|(begin, end, trouble)| Span { begin: begin * SECOND, end: end * SECOND, trouble })
        .collect();
    spans.sort_by_key(|span| span.begin);
    let mut setup = Setup { state, skip: false, ..super::setup(4, 0.0) };
    setup.policy.max_down = 1;
    let mut world = World::new(setup, spans);
    world.run(710 * SECOND, |_| false);
    assert_eq!(world.journal.unheld, 0);
    world.journal.orders.iter().map(|order| order.of).collect()
}

#[test]
fn a_restart_of_all_vantages_forgets_no_failover_if_they_have_a_state_dir() {
    assert_eq!(ordered(true), [1].into());
}

/// Else the test above would prove nothing.
#[test]
fn a_restart_of_all_vantages_without_a_state_dir_forgets_failovers_whose_incidents_are_over() {
    assert_eq!(ordered(false), [1, 2].into());
}
