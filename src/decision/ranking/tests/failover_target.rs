use super::*;

fn ranker(keys: &str, peers: &[(&str, &str)]) -> Ranker {
    let mut ranker = new_ranker(&config(keys, peers));
    let inputs: Vec<_> = (1..).zip(peers).map(|(n, (name, _))| input(name, 10 * n)).collect();
    ranker.update(&inputs, Instant::now());
    ranker
}

const PEERS: [(&str, &str); 4] = [("x", ""), ("a", ""), ("b", ""), ("c", "")];

#[test]
fn the_last_ranking_of_the_down_region_decides() {
    let ranker = ranker("", &PEERS);
    let last = published("x", 23, &[("c", 5), ("own", 6), ("x", 7), ("unranked", 8), ("c", 9), ("a", 10)]);
    let others = published("b", 0, &[("a", 1)]);
    let targets = ranker.failover_targets(&region("x"), &[others, last]);
    assert_eq!(names(&targets), ["c", "own", "a"]);
    let parts: Vec<_> = targets.iter().map(|target| (target.rank, target.score.unwrap().as_millis())).collect();
    assert_eq!(parts, [(1, 5), (2, 6), (3, 10)]);
}

#[test]
fn an_ineligible_region_is_no_target_whatever_was_published() {
    let mut ranker = ranker("", &PEERS);
    let mut dead = input("c", 1);
    dead.state = PeerState::Down;
    ranker.update(&[input("a", 10), input("b", 20), dead], Instant::now());
    let last = published("x", 0, &[("c", 1), ("b", 2), ("a", 3)]);
    assert_eq!(names(&ranker.failover_targets(&region("x"), &[last])), ["b", "a"]);
}

#[test]
fn a_witness_is_no_target_and_its_own_distances_count_only_where_no_survivor_has_any() {
    let mut ranker = ranker("", &PEERS);
    ranker.set_witness(true);
    let last = published("x", 0, &[("own", 1), ("c", 2)]);
    assert_eq!(names(&ranker.failover_targets(&region("x"), &[last])), ["c"]);
    assert_eq!(
        names(&ranker.failover_targets(&region("x"), &[])),
        ["a", "b", "c"],
        "as near as they are to the witness"
    );
    let survivors = [published("a", 0, &[("b", 30), ("c", 10)]), published("b", 0, &[("a", 20)])];
    assert_eq!(names(&ranker.failover_targets(&region("x"), &survivors)), ["c", "a", "b"]);
}

#[test]
fn a_ranking_older_than_a_day_does_not_count() {
    let ranker = ranker("", &PEERS);
    let of = |hours| ranker.failover_targets(&region("x"), &[published("x", hours, &[("c", 1), ("a", 2)])]);
    assert_eq!(names(&of(24)), ["c", "a"]);
    assert_eq!(names(&of(25)), ["a", "b", "c", "own"]);
}

/// The last ranking that an isolated region publishes is empty.
#[test]
fn without_a_last_ranking_the_survivors_decide() {
    let ranker = ranker("", &PEERS);
    let empty = published("x", 0, &[]);
    let old = published("x", 25, &[("c", 1)]);
    // a: (90 + 20) / 2, b: (10 + 30) / 2, c: (20 + 10 + 40) / 3, own: (30 + 50 + 1) / 3.
    let survivors = [
        published("a", 0, &[("b", 10), ("c", 20), ("own", 30)]),
        published("b", 0, &[("a", 90), ("c", 10), ("own", 50)]),
        published("b", 2, &[("a", 0)]),
        published("c", 0, &[("own", 1)]),
        published("own", 0, &[("a", 1)]),
    ];
    let all: Vec<_> = survivors.into_iter().chain([empty, old]).collect();
    let targets = ranker.failover_targets(&region("x"), &all);
    assert_eq!(names(&targets), ["b", "c", "own", "a"]);
    assert_eq!(targets[1].score, Some(Duration::from_millis(70) / 3));
}

#[test]
fn without_any_measurement_preference_decides_then_the_name() {
    let peers = [("x", ""), ("c", "priority: 1,"), ("b", "priority: 2,"), ("a", "priority: 2,")];
    let mut ranker = new_ranker(&config("priority: 3", &peers));
    let silent = |name| {
        let mut input = input(name, 1);
        input.summary = Some(Summary { count: 100, loss: 1.0, unanswered: 1.0, latency: None });
        input
    };
    ranker.update(&[silent("a"), silent("b"), silent("c")], Instant::now());
    assert_eq!(names(&ranker.failover_targets(&region("x"), &[])), ["c", "a", "b", "own"]);
}

/// A region too near to this one may be far enough from the down one, and vice versa.
#[test]
fn the_filters_of_the_down_region_apply() {
    let keys = "failure_domain: g1\nlocation: {latitude: 0, longitude: 0}\nfailover: {min_distance: 300km}";
    let peers = [
        ("x", "failure_domain: g2, location: {latitude: 0, longitude: 90},"),
        ("near-own", "failure_domain: g1, location: {latitude: 0, longitude: 1},"),
        ("near-x", "failure_domain: g2, location: {latitude: 0, longitude: 91},"),
    ];
    let ranker = ranker(keys, &peers);
    assert_eq!(names(&ranker.ranking().candidates()), ["x", "near-x"]);
    assert_eq!(names(&ranker.failover_targets(&region("x"), &[])), ["near-own", "own"]);
    assert_eq!(names(&ranker.failover_targets(&region("near-x"), &[])), ["near-own", "own"]);
}

#[test]
fn no_region_is_too_near_to_a_witness() {
    let peers = [("x", "location: {latitude: 0, longitude: 1},"), ("y", "location: {latitude: 0, longitude: 90},")];
    for location in ["", "location: {latitude: 0, longitude: 0}\n"] {
        let mut ranker = new_ranker(&config(&format!("{location}failover: {{min_distance: 300km}}"), &peers));
        ranker.set_witness(true);
        let ranking = ranker.update(&[input("x", 10), input("y", 20)], Instant::now());
        assert_eq!(names(&ranking.candidates()), ["x", "y"], "{location:?}");
    }
}

#[test]
fn this_region_is_excluded_if_its_configuration_says_so() {
    let out = |keys: &str| !names(&ranker(keys, &PEERS).failover_targets(&region("x"), &[])).contains(&"own");
    assert!(!out(""));
    assert!(out("maintenance: true"));
    assert!(out("failover: {allowed_zones: [eu]}\nzone: us"));
    assert!(out("failover: {min_capacity: 0.5}\ncapacity: 0.4"));
    assert!(!out("failover: {min_capacity: 0.5}\ncapacity: 0.5"));
}
