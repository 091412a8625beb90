use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::{Index, select},
};

use super::*;
use crate::window::Latency;

const SECOND: Duration = Duration::from_secs(1);

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

/// A configuration of this region `own` and of peers, each with its keys.
fn config(keys: &str, peers: &[(&str, &str)]) -> Config {
    let peers: String = peers
        .iter()
        .map(|(name, keys)| {
            format!("  - {{region: {name}, {keys} targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}\n")
        })
        .collect();
    let text = format!("region: own\n{keys}\npeers:\n{peers}");
    Config::load(Some(("x.yaml".as_ref(), &text)), []).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}")).config
}

fn standing(name: &str, millis: u64) -> Standing {
    let ms = Duration::from_millis(millis);
    let latency = Some(Latency { p50: ms, p95: ms, p99: ms, jitter: None });
    let summary = Some(Summary { count: 100, loss: 0.0, latency });
    Standing { region: region(name), state: PeerState::Healthy, summary, lag: None, held_down: false }
}

fn names(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| candidate.region.as_str()).collect()
}

fn reasons(table: &Table, name: &str) -> Vec<Ineligible> {
    table.row(&region(name)).unwrap().reasons.clone()
}

fn published(by: &str, hours: u64, candidates: &[(&str, u64)]) -> Published {
    let candidates = (1..).zip(candidates).map(|(rank, (name, ms))| Candidate {
        region: region(name),
        rank,
        score: Some(Duration::from_millis(*ms)),
    });
    Published { by: region(by), age: Duration::from_secs(hours * 3600), candidates: candidates.collect() }
}

#[test]
fn every_reason_is_told_and_not_just_the_first() {
    let keys = "zone: eu\nfailure_domain: grid\nlocation: {latitude: 53.3, longitude: -6.3}\n\
                failover: {allowed_zones: [eu], min_distance: 300km, min_capacity: 0.5, rpo: 5s}";
    let good = "zone: eu, location: {latitude: 50, longitude: 8}, capacity: 0.5,";
    let bad =
        "zone: us, failure_domain: grid, location: {latitude: 53, longitude: -6}, capacity: 0.4, maintenance: true,";
    let mut ranking = Ranking::new(&config(keys, &[("good", good), ("bad", bad), ("bare", "")]));
    let mut worst = standing("bad", 1);
    worst.state = PeerState::Down;
    worst.held_down = true;
    worst.lag = Some(6 * SECOND);
    worst.summary = worst.summary.map(|summary| Summary { count: MIN_SAMPLES - 1, ..summary });
    let table = ranking.update(&[standing("good", 90), worst], Instant::now());
    assert_eq!(reasons(table, "good"), []);
    assert_eq!(reasons(table, "bad"), Ineligible::ALL);
    let unknown = [
        Ineligible::State,
        Ineligible::Residency,
        Ineligible::Distance,
        Ineligible::Capacity,
        Ineligible::InsufficientData,
    ];
    assert_eq!(reasons(table, "bare"), unknown);
    assert_eq!(names(&table.candidates()), ["good"]);
}

#[test]
fn each_gate_closes_for_its_own_reason() {
    let now = Instant::now();
    let of = |keys: &str, change: &dyn Fn(&mut Standing)| {
        let mut ranking = Ranking::new(&config("failure_domain: grid", &[("a", keys)]));
        let mut a = standing("a", 10);
        change(&mut a);
        reasons(ranking.update(&[a], now), "a")
    };
    assert_eq!(of("", &|_| {}), []);
    assert_eq!(of("failure_domain: grid,", &|_| {}), [Ineligible::FailureDomain]);
    assert_eq!(of("failure_domain: other,", &|_| {}), []);
    assert_eq!(of("maintenance: true,", &|_| {}), [Ineligible::Maintenance]);
    assert_eq!(of("", &|a| a.lag = Some(5 * SECOND)), []);
    assert_eq!(of("", &|a| a.lag = Some(5 * SECOND + Duration::from_nanos(1))), [Ineligible::Rpo]);
    assert_eq!(of("", &|a| a.held_down = true), [Ineligible::Quorum]);
    assert_eq!(of("", &|a| a.summary = None), [Ineligible::InsufficientData]);
    for state in [PeerState::Unknown, PeerState::Suspect, PeerState::Down, PeerState::Recovering] {
        assert_eq!(of("", &|a| a.state = state), [Ineligible::State]);
    }
}

#[test]
fn a_degraded_region_takes_over_only_where_no_healthy_one_can() {
    let mut ranking = Ranking::new(&config("", &[("slow", ""), ("well", ""), ("gone", "")]));
    let now = Instant::now();
    let mut slow = standing("slow", 1);
    slow.state = PeerState::Degraded;
    let table = ranking.update(&[slow.clone(), standing("well", 200)], now);
    assert_eq!((names(&table.candidates()), reasons(table, "slow")), (vec!["well"], vec![Ineligible::State]));
    let mut well = standing("well", 200);
    well.held_down = true;
    let table = ranking.update(&[slow.clone(), well], now);
    assert_eq!(names(&table.candidates()), ["slow"]);
    // This region is healthy, so that nobody needs the slow one when another dies.
    assert_eq!(names(&ranking.targets_for(&region("gone"), &[])), ["own"]);
}

#[test]
fn tiers_come_before_scores() {
    let mut ranking = Ranking::new(&config("", &[("far", ""), ("near", "priority: 1,"), ("mid", "")]));
    let standings = [standing("near", 10), standing("far", 90), standing("mid", 50)];
    let table = ranking.update(&standings, Instant::now());
    assert_eq!(names(&table.candidates()), ["mid", "far", "near"]);
    let ranks: Vec<_> = table.rows().iter().map(|row| row.rank).collect();
    assert_eq!(ranks, [Some(1), Some(2), Some(3)]);
}

#[test]
fn what_never_answered_comes_last_without_a_score() {
    let mut ranking = Ranking::new(&config("", &[("a", ""), ("b", "")]));
    let mut silent = standing("a", 1);
    silent.summary = Some(Summary { count: 100, loss: 1.0, latency: None });
    let candidates = ranking.update(&[silent, standing("b", 900)], Instant::now()).candidates();
    assert_eq!(names(&candidates), ["b", "a"]);
    assert_eq!(candidates[1].score, None);
}

#[test]
fn the_ranking_is_frozen_while_anybody_is_suspect() {
    let mut ranking = Ranking::new(&config("", &[("a", ""), ("b", ""), ("c", "")]));
    let start = Instant::now();
    ranking.update(&[standing("a", 10), standing("b", 20), standing("c", 30)], start);
    let mut suspect = standing("a", 10);
    suspect.state = PeerState::Suspect;
    for seconds in 0..300 {
        let standings = [suspect.clone(), standing("b", 200), standing("c", 1)];
        let table = ranking.update(&standings, start + seconds * SECOND);
        assert_eq!(names(&table.candidates()), ["b", "c"]);
    }
}

#[test]
fn a_reload_keeps_who_leads() {
    let peers = [("a", ""), ("b", "")];
    let mut ranking = Ranking::new(&config("", &peers));
    let now = Instant::now();
    ranking.update(&[standing("a", 50), standing("b", 60)], now);
    ranking.reload(&config("failover: {rpo: 9s}", &peers));
    let turned = [standing("a", 50), standing("b", 1)];
    assert_eq!(names(&ranking.update(&turned, now).candidates()), ["a", "b"]);
    ranking.reload(&config("", &peers[1..]));
    assert_eq!(names(&ranking.update(&turned, now).candidates()), ["b"]);
}

mod succession {
    use super::*;

    fn ranking(keys: &str, peers: &[(&str, &str)]) -> Ranking {
        let mut ranking = Ranking::new(&config(keys, peers));
        let standings: Vec<_> = (1..).zip(peers).map(|(n, (name, _))| standing(name, 10 * n)).collect();
        ranking.update(&standings, Instant::now());
        ranking
    }

    const PEERS: [(&str, &str); 4] = [("x", ""), ("a", ""), ("b", ""), ("c", "")];

    #[test]
    fn the_dead_regions_own_last_ranking_decides() {
        let ranking = ranking("", &PEERS);
        let last = published("x", 23, &[("c", 5), ("own", 6), ("x", 7), ("nobody", 8), ("c", 9), ("a", 10)]);
        let others = published("b", 0, &[("a", 1)]);
        let targets = ranking.targets_for(&region("x"), &[others, last]);
        assert_eq!(names(&targets), ["c", "own", "a"]);
        let parts: Vec<_> = targets.iter().map(|target| (target.rank, target.score.unwrap().as_millis())).collect();
        assert_eq!(parts, [(1, 5), (2, 6), (3, 10)]);
    }

    #[test]
    fn who_is_not_able_now_is_not_named_whatever_was_published() {
        let mut ranking = ranking("", &PEERS);
        let mut dead = standing("c", 1);
        dead.state = PeerState::Down;
        ranking.update(&[standing("a", 10), standing("b", 20), dead], Instant::now());
        let last = published("x", 0, &[("c", 1), ("b", 2), ("a", 3)]);
        assert_eq!(names(&ranking.targets_for(&region("x"), &[last])), ["b", "a"]);
    }

    /// A region that is cut off publishes last that it sees nobody.
    #[test]
    fn without_last_words_the_survivors_decide() {
        let ranking = ranking("", &PEERS);
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
        let targets = ranking.targets_for(&region("x"), &all);
        assert_eq!(names(&targets), ["b", "c", "own", "a"]);
        assert_eq!(targets[1].score, Some(Duration::from_millis(70) / 3));
    }

    #[test]
    fn without_any_measurement_preference_decides_then_the_name() {
        let peers = [("x", ""), ("c", "priority: 1,"), ("b", "priority: 2,"), ("a", "priority: 2,")];
        let mut ranking = Ranking::new(&config("priority: 3", &peers));
        let silent = |name| {
            let mut standing = standing(name, 1);
            standing.summary = Some(Summary { count: 100, loss: 1.0, latency: None });
            standing
        };
        ranking.update(&[silent("a"), silent("b"), silent("c")], Instant::now());
        assert_eq!(names(&ranking.targets_for(&region("x"), &[])), ["c", "a", "b", "own"]);
    }

    /// What is too near to this region may be far enough from the dead one, and the other way round.
    #[test]
    fn gates_are_those_of_the_dead_region() {
        let keys = "failure_domain: g1\nlocation: {latitude: 0, longitude: 0}\nfailover: {min_distance: 300km}";
        let peers = [
            ("x", "failure_domain: g2, location: {latitude: 0, longitude: 90},"),
            ("near-own", "failure_domain: g1, location: {latitude: 0, longitude: 1},"),
            ("near-x", "failure_domain: g2, location: {latitude: 0, longitude: 91},"),
        ];
        let ranking = ranking(keys, &peers);
        assert_eq!(names(&ranking.table().candidates()), ["x", "near-x"]);
        assert_eq!(names(&ranking.targets_for(&region("x"), &[])), ["near-own", "own"]);
        assert_eq!(names(&ranking.targets_for(&region("near-x"), &[])), ["near-own", "own"]);
    }

    #[test]
    fn this_region_stays_out_where_its_configuration_says_so() {
        let out = |keys: &str| !names(&ranking(keys, &PEERS).targets_for(&region("x"), &[])).contains(&"own");
        assert!(!out(""));
        assert!(out("maintenance: true"));
        assert!(out("failover: {allowed_zones: [eu]}\nzone: us"));
        assert!(out("failover: {min_capacity: 0.5}\ncapacity: 0.4"));
        assert!(!out("failover: {min_capacity: 0.5}\ncapacity: 0.5"));
    }
}

const PEERS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn summaries() -> impl Strategy<Value = Option<Summary>> {
    option::weighted(0.9, (0..200_usize, 0.0..=1.0, 0..400_u64, 0..400_u64)).prop_map(|parts| {
        let (count, loss, p50, more) = parts?;
        let (p50, p95) = (Duration::from_millis(p50), Duration::from_millis(p50 + more));
        let latency = (loss < 1.0).then_some(Latency { p50, p95, p99: p95, jitter: None });
        Some(Summary { count, loss, latency })
    })
}

fn state() -> impl Strategy<Value = PeerState> {
    prop_oneof![8 => Just(PeerState::Healthy), 2 => Just(PeerState::Degraded), 2 => select(PeerState::ALL.to_vec())]
}

fn standings() -> impl Strategy<Value = Vec<Standing>> {
    let one = (state(), summaries(), option::of(0..9_000_u64), prop::bool::weighted(0.05));
    btree_map(select(PEERS.to_vec()), one, 0..=PEERS.len()).prop_map(|map| {
        let standing = |(name, (state, summary, lag, held_down)): (&str, (_, _, Option<u64>, _))| Standing {
            region: region(name),
            state,
            summary,
            lag: lag.map(Duration::from_millis),
            held_down,
        };
        map.into_iter().map(standing).collect()
    })
}

fn anything_published() -> impl Strategy<Value = Vec<Published>> {
    let everybody = || select(["own", "nobody"].into_iter().chain(PEERS).map(region).collect::<Vec<_>>());
    let candidate = (everybody(), any::<u32>(), any::<Option<Duration>>())
        .prop_map(|(region, rank, score)| Candidate { region, rank, score });
    let one = (everybody(), 0..30_u64, vec(candidate, 0..8));
    vec(
        one.prop_map(|(by, h, candidates): (_, u64, _)| Published {
            by,
            age: Duration::from_secs(h * 3600),
            candidates,
        }),
        0..6,
    )
}

fn ranking() -> Ranking {
    Ranking::new(&config("", &[("a", ""), ("b", "priority: 1,"), ("c", ""), ("d", "priority: 1,"), ("e", "")]))
}

/// Who is live as this vantage sees it.
fn live(standings: &[Standing], region: &Region) -> bool {
    standings.iter().any(|standing| {
        standing.region == *region && matches!(standing.state, PeerState::Healthy | PeerState::Degraded)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_dead_region_never_outranks_a_live_one(history in vec(standings(), 1..6), published in anything_published()) {
        let mut ranking = ranking();
        let start = Instant::now();
        for (seconds, standings) in (0..).zip(&history) {
            let table = ranking.update(standings, start + seconds * 30 * SECOND).clone();
            for row in table.rows() {
                prop_assert!(row.rank.is_none() || live(standings, &row.region), "{row:?}");
                prop_assert_eq!(row.rank.is_some(), row.eligible());
            }
            for dead in PEERS.map(region) {
                for target in ranking.targets_for(&dead, &published) {
                    prop_assert!(target.region != dead);
                    prop_assert!(target.region.as_str() == "own" || live(standings, &target.region), "{target:?}");
                }
            }
        }
    }

    #[test]
    fn ranks_are_1_to_n_and_every_peer_has_its_row(history in vec(standings(), 1..6), published in anything_published()) {
        let mut ranking = ranking();
        let start = Instant::now();
        for (seconds, standings) in (0..).zip(&history) {
            let table = ranking.update(standings, start + seconds * 30 * SECOND).clone();
            let candidates = table.candidates();
            let ranks: Vec<_> = candidates.iter().map(|candidate| candidate.rank).collect();
            prop_assert_eq!(ranks, (1..=candidates.len() as u32).collect::<Vec<_>>());
            let mut all: Vec<_> = table.rows().iter().map(|row| row.region.as_str()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, PEERS);
            let targets = ranking.targets_for(&region("c"), &published);
            let ranks: Vec<_> = targets.iter().map(|target| target.rank).collect();
            prop_assert_eq!(ranks, (1..=targets.len() as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        history in vec((standings(), any::<[Index; 5]>()), 1..6),
        published in anything_published(),
    ) {
        let (mut ranking, mut other) = (ranking(), ranking());
        let start = Instant::now();
        for (seconds, (standings, swaps)) in (0..).zip(&history) {
            let (mut turned, mut turned_published) = (standings.clone(), published.clone());
            // Of two that one vantage published at the same moment the first counts.
            turned_published.sort_by_key(|published| std::cmp::Reverse(published.by.clone()));
            for (n, swap) in swaps.iter().enumerate().take(turned.len()) {
                turned.swap(n, swap.index(standings.len()));
            }
            let now = start + seconds * 30 * SECOND;
            prop_assert_eq!(ranking.update(standings, now), other.update(&turned, now));
            for dead in PEERS.map(region) {
                prop_assert_eq!(ranking.targets_for(&dead, &published), other.targets_for(&dead, &turned_published));
            }
        }
    }

    /// Whoever leads does so for a minute, unless it cannot take over any more.
    #[test]
    fn rank_1_does_not_flap(history in vec((standings(), 1..40_u64), 1..40)) {
        let mut ranking = ranking();
        let mut now = Instant::now();
        let mut leader: Option<(Region, Instant)> = None;
        for (standings, seconds) in &history {
            now += Duration::from_secs(*seconds);
            let table = ranking.update(standings, now);
            let first = table.candidates().first().map(|candidate| candidate.region.clone());
            if let Some((region, since)) = &leader
                && first.as_ref() != Some(region)
            {
                let able = table.row(region).is_some_and(Row::eligible);
                prop_assert!(!able || now - *since >= HOLD, "{region} led for {:?}", now - *since);
            }
            if leader.as_ref().map(|(region, _)| region) != first.as_ref() {
                leader = first.map(|region| (region, now));
            }
        }
    }

    /// A region that gets better, with all else the same, does not lose its rank.
    #[test]
    fn a_better_score_never_ranks_lower(standings in standings(), at: Index, better in 0.0..1.0) {
        prop_assume!(!standings.is_empty());
        let at = at.index(standings.len());
        let rank = |standings: &[Standing]| {
            let mut ranking = ranking();
            ranking.update(standings, Instant::now()).row(&standings[at].region).and_then(|row| row.rank)
        };
        let mut improved = standings.clone();
        if let Some(Summary { latency: Some(latency), loss, .. }) = &mut improved[at].summary {
            *loss *= better;
            latency.p95 = latency.p50 + (latency.p95 - latency.p50).mul_f64(better);
        }
        prop_assert!(rank(&improved) <= rank(&standings));
    }
}
