//! Operators who arm, disarm and maintain regions while these go down and vantages restart.

use std::sync::Arc;

use regionwatch::{
    model::{Region, UnixMillis},
    signing::{Action, Command, FailoverTerms, PrivateKey},
};
use testkit::simulation::world::EPOCH;

use super::*;

const COMMANDED: Time = 5 * SECOND;

/// What an operator commands one vantage.
struct Commanded {
    at: Time,
    to: usize,
    action: Action,
    hold: Time,
}

/// The operator of all vantages.
struct Alice(PrivateKey);

impl Alice {
    fn new() -> Self {
        Self(PrivateKey::generate().unwrap().0)
    }

    fn operators(&self) -> Operators {
        Operators { environment: String::new(), keys: vec![("alice".to_owned(), self.0.public())] }
    }

    fn commands(&self, world: &mut World, of: usize, Commanded { at, to, action, hold }: &Commanded) {
        let begin = EPOCH + at / MILLI;
        let command = Command {
            operator: "alice".to_owned(),
            environment: String::new(),
            region: Some(Region::new(&format!("r{of:02}")).unwrap()),
            action: *action,
            failover: None,
            until: Some(UnixMillis(begin + hold / MILLI)),
            at: UnixMillis(begin),
        };
        world.state(*at, *to, Arc::from(command.sign(&self.0).unwrap()));
    }
}

/// What four vantages do about these troubles, while an operator commands these things of the region 1.
fn commanded(spans: &[(Time, Time, Trouble)], commands: &[Commanded], state: bool, until: Time) -> Journal {
    skewed(&[], spans, commands, state, until)
}

/// The same, while the clocks of the first vantages are ahead by so many milliseconds.
fn skewed(skew: &[i64], spans: &[(Time, Time, Trouble)], commands: &[Commanded], state: bool, until: Time) -> Journal {
    let alice = Alice::new();
    let span = |&(begin, end, trouble)| Span { begin: begin * SECOND, end: end * SECOND, trouble };
    let setup = Setup { skip: false, state, operators: alice.operators(), skew: skew.to_vec(), ..setup(4, 0.02) };
    let mut world = World::new(setup, spans.iter().map(span).collect());
    commands.iter().for_each(|command| alice.commands(&mut world, 1, command));
    world.run(until, |_| false);
    assert_eq!((world.journal.unheld, world.journal.unlawful), (0, 0));
    world.journal
}

/// A failover of a region that is up, which one vantage is told of, and its release, which another one is told of; while all
/// vantages restart one after the other.
#[test]
fn a_failover_that_an_operator_orders_has_one_target_on_every_vantage_over_restarts_until_its_release() {
    for state in [false, true] {
        let alice = Alice::new();
        let restarts = [(30, 0), (36, 1), (42, 2), (48, 3)];
        let span = |(at, node): (Time, usize)| Span {
            begin: at * SECOND,
            end: (at + 2) * SECOND,
            trouble: Trouble::Restart(node),
        };
        let setup = Setup { skip: false, state, operators: alice.operators(), ..setup(4, 0.02) };
        let mut world = World::new(setup, restarts.into_iter().map(span).collect());
        let region = |n: usize| Region::new(&format!("r{n:02}")).unwrap();
        let command = |at: Time, action, failover, hold: Option<Time>| Command {
            operator: "alice".to_owned(),
            environment: String::new(),
            region: Some(region(1)),
            action,
            failover,
            until: hold.map(|hold| UnixMillis(EPOCH + (at + hold) / MILLI)),
            at: UnixMillis(EPOCH + at / MILLI),
        };
        let (ordered_at, released_at) = (15 * SECOND, 90 * SECOND);
        let terms = FailoverTerms { target: region(3), accept_loss: false, force: None };
        let order = command(ordered_at, Action::Failover, Some(terms), Some(600 * SECOND));
        let release = command(released_at, Action::Release, None, None);
        for (at, to, command) in [(ordered_at, 2, order), (released_at, 0, release)] {
            world.state(at, to, Arc::from(command.sign(&alice.0).unwrap()));
        }
        world.run(110 * SECOND, |_| false);
        let Journal { commanded, retargeted, .. } = &world.journal;
        assert!(commanded.iter().all(|told| (told.of, told.target) == (1, 3)), "{state}: {commanded:?}");
        assert_eq!(*retargeted, 0, "{state}");
        for by in 0..4 {
            let told: Vec<_> = commanded.iter().filter(|told| told.by == by).collect();
            if by == 1 {
                assert!(told.is_empty(), "{state}: of its own region, {told:?}");
                continue;
            }
            let (first, last) = (told.first().unwrap(), told.last().unwrap());
            assert!(first.ordered && first.at < ordered_at + 8 * SECOND, "{state} {by}: {told:?}");
            assert!(
                !last.ordered && last.at >= released_at && last.at < released_at + 3 * SECOND,
                "{state} {by}: {told:?}"
            );
            // Twice: before its restart and after it.
            assert_eq!(told.iter().filter(|told| told.ordered).count(), 2, "{state} {by}: {told:?}");
        }
    }
}

/// The first order, and how many vantages gave one.
fn first(journal: &Journal) -> Option<Time> {
    journal.orders.iter().map(|order| order.begin).min()
}

#[test]
fn one_vantage_that_took_a_command_is_enough_even_if_it_dies_with_its_region() {
    for action in [Action::Disarm, Action::Maintenance] {
        let command = Commanded { at: COMMANDED, to: 1, action, hold: 3600 * SECOND };
        let journal = commanded(&[(10, 200, Trouble::Dead(1))], &[command], false, 150 * SECOND);
        assert_eq!((journal.orders.len(), journal.opened.len()), (0, 3), "{action}: {:?}", journal.orders);
    }
}

#[test]
fn a_region_is_ordered_a_whole_hold_after_the_end_of_its_maintenance() {
    let command = Commanded { at: COMMANDED, to: 2, action: Action::Maintenance, hold: 60 * SECOND };
    let journal = commanded(&[(10, 200, Trouble::Dead(1))], &[command], false, 150 * SECOND);
    let end = COMMANDED + 60 * SECOND;
    assert_eq!(journal.orders.len(), 3, "{:?}", journal.orders);
    assert!(first(&journal).unwrap() >= end + HOLD && first(&journal).unwrap() < end + HOLD + 8 * SECOND);
}

#[test]
fn to_disarm_a_region_withdraws_the_orders_of_every_vantage_within_two_seconds() {
    let disarm = Commanded { at: 60 * SECOND, to: 3, action: Action::Disarm, hold: 3600 * SECOND };
    let journal = commanded(&[(10, 200, Trouble::Dead(1))], &[disarm], false, 150 * SECOND);
    assert_eq!(journal.orders.len(), 3, "{:?}", journal.orders);
    let last = 62 * SECOND;
    assert!(journal.orders.iter().all(|order| order.end.is_some_and(|end| end < last)), "{:?}", journal.orders);
}

/// One after the other, so that each learns from the rest; or all at once, where each has a disk.
#[test]
fn a_command_outlives_restarts_of_all_vantages() {
    let one_by_one = [0, 1, 2, 3].map(|n| (20 + 10 * n, 22 + 10 * n, Trouble::Restart(n as usize)));
    let at_once = [0, 1, 2, 3].map(|n| (20, 22, Trouble::Restart(n)));
    for (restarts, state) in [(one_by_one, false), (at_once, true)] {
        let disarm = Commanded { at: COMMANDED, to: 0, action: Action::Disarm, hold: 3600 * SECOND };
        let spans: Vec<_> = restarts.into_iter().chain([(80, 300, Trouble::Dead(1))]).collect();
        let journal = commanded(&spans, &[disarm], state, 200 * SECOND);
        assert_eq!((journal.orders.len(), journal.opened.len()), (0, 3), "{state}: {:?}", journal.orders);
    }
}

/// A clock may be wrong from the start or after a restart, of one vantage or of two.
#[test]
fn a_vantage_whose_clock_is_ahead_or_behind_orders_nothing_that_an_operator_has_forbidden() {
    const HOURS: i64 = 3 * 3_600_000;
    for action in [Action::Disarm, Action::Maintenance] {
        for skew in [&[HOURS][..], &[-HOURS], &[HOURS, 0, -HOURS], &[60 * HOURS], &[30_000]] {
            let command = Commanded { at: COMMANDED, to: 3, action, hold: 300 * SECOND };
            let spans = [(20, 22, Trouble::Restart(0)), (60, 280, Trouble::Dead(1))];
            let journal = skewed(skew, &spans, &[command], true, 290 * SECOND);
            assert_eq!((journal.orders.len(), journal.opened.len()), (0, 3), "{action} {skew:?}: {:?}", journal.orders);
        }
    }
}

/// The newest command counts, whichever vantage it was given to.
#[test]
fn a_region_that_was_disarmed_is_ordered_once_another_vantage_is_told_to_arm_it() {
    let disarm = Commanded { at: COMMANDED, to: 0, action: Action::Disarm, hold: 3600 * SECOND };
    let arm = Commanded { at: 80 * SECOND, to: 3, action: Action::Arm, hold: 3600 * SECOND };
    let journal = commanded(&[(10, 200, Trouble::Dead(1))], &[disarm, arm], false, 150 * SECOND);
    assert_eq!(journal.orders.len(), 3, "{:?}", journal.orders);
    assert!(first(&journal).unwrap() >= 80 * SECOND + HOLD);
}

/// A command every two minutes, while regions die, instances restart and paths break.
#[test]
fn no_vantage_orders_what_an_operator_has_forbidden_as_far_as_it_knows() {
    let (regions, length) = (4, DAY / 24);
    for (seed, state) in [(1, false), (2, true)] {
        let alice = Alice::new();
        let weather = Weather { deaths: 8000.0, restarts: 4000.0, partitions: 200.0, ..Weather::ROUGH };
        let mut setup = Setup { seed, state, skip: false, operators: alice.operators(), ..setup(regions, 0.02) };
        (setup.policy.max_down, setup.policy.min_interval) = (1, Duration::from_secs(60));
        let mut world = World::new(setup, draw(&weather, regions, length, seed, false));
        for n in 1..length / (97 * SECOND) {
            let action = [Action::Disarm, Action::Maintenance, Action::Arm][n as usize % 3];
            let (at, hold) = (n * 97 * SECOND, (n % 5) * 100 * SECOND);
            let to = (n as usize * 7 + 1) % regions;
            alice.commands(&mut world, n as usize % regions, &Commanded { at, to, action, hold });
        }
        world.run(length, |_| false);
        let Journal { orders, unlimited, retargeted, unlawful, unheld, .. } = &world.journal;
        assert_eq!([unlimited, retargeted, unlawful, unheld], [&0; 4], "{state}");
        assert!(orders.len() > 5, "{state}: {} orders", orders.len());
    }
}
