use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    decision::votes::VoteSet,
    model::{DatabaseLoss, TargetName},
};

const SECOND: Duration = Duration::from_secs(1);
const RPO: Duration = Duration::from_secs(5);

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

fn bounds(lower: u64, upper: u64) -> LossBounds {
    LossBounds::new(Duration::from_millis(lower), Duration::from_millis(upper))
}

fn loss(primary: Option<&str>, replicas: &[(&str, u64, u64)]) -> DatabaseLoss {
    let replicas: BTreeMap<_, _> =
        replicas.iter().map(|(name, lower, upper)| (region(name), bounds(*lower, *upper))).collect();
    DatabaseLoss { database: TargetName::new("orders").unwrap(), primary: primary.map(region), replicas }
}

/// This vantage, `m`, with what it and the others know of a database with servers in `p`, `r` and `s`.
struct Fixture {
    databases: Databases,
    votes: VoteTable,
    now: Instant,
}

impl Fixture {
    fn new(own: DatabaseLoss, others: &[(&str, DatabaseLoss)]) -> Self {
        let (mut databases, mut votes) = (Databases::default(), VoteTable::default());
        let servers = ["p", "r", "s"].map(region).to_vec();
        databases.update(vec![DatabaseReport { loss: own, servers, rpo: RPO, promotion: None }]);
        votes.set_voters(["a", "b", "c", "p"].map(|name| (region(name), 3 * SECOND)));
        let now = Instant::now() + 3600 * SECOND;
        for (from, loss) in others {
            votes.record(&region(from), now, VoteSet { databases: vec![loss.clone()], ..VoteSet::default() });
        }
        Self { databases, votes, now }
    }

    fn loss(&self, from: &str, to: &str) -> Option<Loss> {
        self.databases.losses(&region(to), &self.votes, self.now).get(&region(from)).copied()
    }

    fn expected(&self, from: &str, to: &str) -> Option<LossBounds> {
        self.databases.expected(&region(from), &region(to), &self.votes, self.now)
    }
}

fn unknown() -> Option<Loss> {
    Some(Loss::of(None, RPO))
}

#[test]
fn a_failover_loses_only_what_has_its_primary_in_the_region_that_is_replaced() {
    let fixture = Fixture::new(loss(Some("p"), &[("r", 500, 1_500), ("s", 6_000, 7_000)]), &[]);
    assert_eq!(fixture.loss("p", "r"), Some(Loss::of(Some(Duration::from_millis(1_500)), RPO)));
    assert!(fixture.loss("p", "s").is_some_and(|loss| loss.above && !loss.unknown));
    assert_eq!((fixture.loss("r", "s"), fixture.loss("m", "r")), (None, None));
    assert!(fixture.loss("p", "elsewhere").is_some_and(|loss| loss.above), "there is no server");
    assert_eq!(fixture.expected("p", "r"), Some(bounds(500, 1_500)));
    assert_eq!((fixture.expected("r", "s"), fixture.expected("p", "elsewhere")), (None, None));
}

#[test]
fn where_the_primary_is_unknown_each_server_may_be_it() {
    let fixture = Fixture::new(loss(None, &[]), &[("a", loss(Some("p"), &[("r", 0, 900)]))]);
    for (from, to) in [("p", "r"), ("r", "p"), ("s", "m")] {
        assert_eq!(fixture.loss(from, to), unknown(), "{from} {to}");
    }
    assert_eq!(fixture.loss("m", "r"), None, "it has no server");
    assert_eq!(fixture.databases.of(0, &region("p"), &fixture.votes, fixture.now), Some(None));
    // Two others know.
    let told = loss(Some("p"), &[("r", 0, 900)]);
    let fixture = Fixture::new(loss(None, &[]), &[("a", told.clone()), ("b", told)]);
    assert_eq!(fixture.loss("p", "r"), Some(Loss::of(Some(Duration::from_millis(900)), RPO)));
    assert_eq!(fixture.databases.of(0, &region("p"), &fixture.votes, fixture.now), None);
    assert_eq!(fixture.databases.of(0, &region("r"), &fixture.votes, fixture.now), Some(Some(bounds(0, 900))));
}

/// Such as after a password has expired here.
#[test]
fn what_this_vantage_cannot_measure_is_unknown_until_two_others_say_it() {
    let (own, told) = (loss(Some("p"), &[]), loss(Some("p"), &[("r", 500, 1_500)]));
    assert_eq!(Fixture::new(own.clone(), &[]).loss("p", "r"), unknown());
    assert_eq!(Fixture::new(own.clone(), &[("a", told.clone())]).loss("p", "r"), unknown());
    let fixture = Fixture::new(own.clone(), &[("a", told.clone()), ("b", told.clone())]);
    assert_eq!(fixture.expected("p", "r"), Some(bounds(500, 1_500)));
    // Two that contradict each other say nothing.
    let other = loss(Some("p"), &[("r", 0, 0)]);
    assert_eq!(Fixture::new(own.clone(), &[("a", told.clone()), ("b", other)]).loss("p", "r"), unknown());
    // Nor does what was measured against another primary.
    let other = loss(Some("s"), &[("r", 500, 1_500)]);
    assert_eq!(Fixture::new(own.clone(), &[("a", told.clone()), ("b", other)]).loss("p", "r"), unknown());
    // Nor votes that are old.
    let mut fixture = Fixture::new(own, &[("a", told.clone()), ("b", told)]);
    fixture.now += 4 * SECOND;
    assert_eq!(fixture.loss("p", "r"), unknown());
}

#[test]
fn a_liar_with_a_loss_of_zero_does_not_open_the_gate() {
    let liar = ("a", loss(Some("p"), &[("r", 0, 0)]));
    let honest = |lower, upper| loss(Some("p"), &[("r", lower, upper)]);
    for (own, others) in [
        // The bounds are wide, so that the lie is inside.
        (honest(0, 6_000), vec![]),
        (honest(0, 6_000), vec![("b", honest(0, 6_200))]),
        (honest(0, 6_000), vec![("b", honest(0, 6_200)), ("c", honest(0, 5_100))]),
        // They are narrow.
        (honest(5_900, 6_900), vec![]),
        (honest(5_900, 6_900), vec![("b", honest(6_000, 6_500))]),
        // It was not measured here.
        (loss(Some("p"), &[]), vec![("b", honest(5_900, 6_900)), ("c", honest(6_000, 6_500))]),
    ] {
        let others = [others.clone(), vec![liar.clone()]].concat();
        let fixture = Fixture::new(own, &others);
        assert!(fixture.loss("p", "r").is_some_and(|loss| loss.above), "{others:?} {:?}", fixture.expected("p", "r"));
    }
}

#[test]
fn a_liar_with_a_great_loss_does_not_close_the_gate_where_two_others_know() {
    let honest = |lower, upper| loss(Some("p"), &[("r", lower, upper)]);
    for lie in [(60_000, 60_000), (0, 60_000)] {
        let others = [("a", honest(lie.0, lie.1)), ("b", honest(600, 1_600))];
        let fixture = Fixture::new(honest(500, 1_500), &others);
        assert_eq!(fixture.expected("p", "r").unwrap().upper, Duration::from_millis(1_600), "{lie:?}");
    }
}

proptest! {
    /// Honest bounds contain the truth. Whatever one of the others says, the upper bound that counts is no smaller.
    #[test]
    fn no_single_vantage_makes_a_loss_look_smaller_than_it_is(
        truth in 1_000..9_000_u64,
        honest in proptest::collection::vec((0..1_000_u64, 0..4_000_u64), 1..5),
        (lie, width) in (0..12_000_u64, 0..12_000_u64),
        (measured, place) in (any::<bool>(), 0..5_usize),
    ) {
        let mut all: Vec<_> =
            honest.iter().map(|(below, above)| bounds(truth - below, truth + above)).collect();
        let own = if measured { Some(all.remove(0)) } else { None };
        all.insert(place.min(all.len()), bounds(lie, lie + width));
        let found = confirmed(own, all.clone());
        if let Some(found) = found {
            let truth = Duration::from_millis(truth);
            prop_assert!(found.lower <= truth && truth <= found.upper, "{found:?} {own:?} {all:?}");
        }
    }
}
