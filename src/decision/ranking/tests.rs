use std::time::Duration;

use tokio::time::Instant;

use super::{filters::MIN_SAMPLES, hysteresis::HOLD, *};
use crate::{
    config::Config,
    engine::{attributes, own_attributes, target_policy},
    model::{Candidate, Ineligible, PeerState, Region},
    window::{Latency, Summary},
};

mod failover_target;
mod properties;

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

fn reload(ranker: &mut Ranker, config: &Config) {
    let peers = config.peers.iter().map(|peer| (peer.region.clone(), attributes(peer)));
    ranker.reconfigure(target_policy(&config.failover), own_attributes(config), peers.collect());
}

fn new_ranker(config: &Config) -> Ranker {
    let mut ranker = Ranker::new(config.region.clone());
    reload(&mut ranker, config);
    ranker
}

fn input(name: &str, millis: u64) -> RankInput {
    let ms = Duration::from_millis(millis);
    let latency = Some(Latency { p50: ms, p95: ms, p99: ms, jitter: None });
    let summary = Some(Summary { count: 100, loss: 0.0, unanswered: 0.0, latency });
    RankInput {
        region: region(name),
        state: PeerState::Healthy,
        summary,
        losses: Losses::new(),
        held_down: false,
        unserved: false,
        failed_over: false,
        maintenance: false,
    }
}

fn names(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| candidate.region.as_str()).collect()
}

fn reasons(ranking: &Ranking, name: &str) -> Vec<Ineligible> {
    ranking.of(&region(name)).unwrap().reasons.clone()
}

fn published(by: &str, hours: u64, candidates: &[(&str, u64)]) -> PublishedRanking {
    let candidates = (1..).zip(candidates).map(|(rank, (name, ms))| Candidate {
        region: region(name),
        rank,
        score: Some(Duration::from_millis(*ms)),
    });
    PublishedRanking { by: region(by), age: Duration::from_secs(hours * 3600), candidates: candidates.collect() }
}

/// What is known of the own region, if its failover would lose so much of what has its primary in `c`.
fn losing(upper: Duration) -> OwnRegion {
    OwnRegion { losses: [(region("c"), Loss::of(Some(upper), 5 * SECOND))].into(), ..OwnRegion::default() }
}

#[test]
fn every_ineligibility_reason_is_reported() {
    let keys = "zone: eu\nfailure_domain: grid\nlocation: {latitude: 53.3, longitude: -6.3}\n\
                failover: {allowed_zones: [eu], min_distance: 300km, min_capacity: 0.5}";
    let good = "zone: eu, location: {latitude: 50, longitude: 8}, capacity: 0.5,";
    let bad =
        "zone: us, failure_domain: grid, location: {latitude: 53, longitude: -6}, capacity: 0.4, maintenance: true,";
    let mut ranker = new_ranker(&config(keys, &[("good", good), ("bad", bad), ("bare", "")]));
    let mut worst = input("bad", 1);
    worst.state = PeerState::Down;
    (worst.held_down, worst.unserved, worst.failed_over) = (true, true, true);
    // Of two databases.
    let loss = Loss { share: 1.0, above: true, unknown: true };
    worst.losses = [(region("own"), loss)].into();
    worst.summary = worst.summary.map(|summary| Summary { count: MIN_SAMPLES - 1, ..summary });
    let ranking = ranker.update(&[input("good", 90), worst], Instant::now());
    assert_eq!(reasons(ranking, "good"), []);
    assert_eq!(reasons(ranking, "bad"), Ineligible::ALL);
    let unknown = [
        Ineligible::State,
        Ineligible::Residency,
        Ineligible::Distance,
        Ineligible::Capacity,
        Ineligible::InsufficientData,
    ];
    assert_eq!(reasons(ranking, "bare"), unknown);
    assert_eq!(names(&ranking.candidates()), ["good"]);
}

#[test]
fn each_filter_gives_its_own_reason() {
    let now = Instant::now();
    let of = |keys: &str, change: &dyn Fn(&mut RankInput)| {
        let mut ranker = new_ranker(&config("failure_domain: grid", &[("a", keys)]));
        let mut a = input("a", 10);
        change(&mut a);
        reasons(ranker.update(&[a], now), "a")
    };
    assert_eq!(of("", &|_| {}), []);
    assert_eq!(of("failure_domain: grid,", &|_| {}), [Ineligible::FailureDomain]);
    assert_eq!(of("failure_domain: other,", &|_| {}), []);
    assert_eq!(of("maintenance: true,", &|_| {}), [Ineligible::Maintenance]);
    let loss = |upper| [(region("own"), Loss::of(upper, 5 * SECOND))];
    assert_eq!(of("", &|a| a.losses = loss(Some(5 * SECOND)).into()), []);
    assert_eq!(of("", &|a| a.losses = loss(Some(5 * SECOND + Duration::from_nanos(1))).into()), [Ineligible::Rpo]);
    assert_eq!(of("", &|a| a.losses = loss(None).into()), [Ineligible::RpoUnknown]);
    assert_eq!(of("", &|a| a.held_down = true), [Ineligible::Quorum]);
    assert_eq!(of("", &|a| a.summary = None), [Ineligible::InsufficientData]);
    for state in [PeerState::Unknown, PeerState::Suspect, PeerState::Down, PeerState::Recovering] {
        assert_eq!(of("", &|a| a.state = state), [Ineligible::State]);
    }
}

#[test]
fn a_loss_counts_for_the_region_that_has_the_primary_only() {
    let mut ranker = new_ranker(&config("", &[("a", ""), ("b", ""), ("c", "")]));
    let lossy = |name: &str, upper| RankInput {
        losses: [(region("c"), Loss::of(upper, 5 * SECOND))].into(),
        ..input(name, 10)
    };
    ranker.set_own(losing(SECOND));
    let inputs = [lossy("a", Some(6 * SECOND)), lossy("b", None), input("c", 10)];
    let ranking = ranker.update(&inputs, Instant::now());
    assert_eq!(names(&ranking.candidates()), ["a", "b", "c"]);
    assert_eq!(names(&ranker.failover_targets(&region("c"), &[])), ["own"]);
    ranker.set_own(losing(6 * SECOND));
    assert_eq!(ranker.failover_targets(&region("c"), &[]), []);
    // Where the last ranking of the dead region names them, too.
    let last = published("c", 0, &[("a", 1), ("b", 2), ("own", 3)]);
    assert_eq!(ranker.failover_targets(&region("c"), &[last]), []);
}

#[test]
fn a_degraded_region_takes_over_only_if_no_healthy_one_can() {
    let mut ranker = new_ranker(&config("", &[("slow", ""), ("well", ""), ("gone", "")]));
    let now = Instant::now();
    let mut slow = input("slow", 1);
    slow.state = PeerState::Degraded;
    let ranking = ranker.update(&[slow.clone(), input("well", 200)], now);
    assert_eq!((names(&ranking.candidates()), reasons(ranking, "slow")), (vec!["well"], vec![Ineligible::State]));
    let mut well = input("well", 200);
    well.held_down = true;
    let ranking = ranker.update(&[slow, well], now);
    assert_eq!(names(&ranking.candidates()), ["slow"]);
    // This region is healthy, so the slow one is not needed when another region goes down.
    assert_eq!(names(&ranker.failover_targets(&region("gone"), &[])), ["own"]);
}

#[test]
fn tiers_come_before_scores() {
    let mut ranker = new_ranker(&config("", &[("far", ""), ("near", "priority: 1,"), ("mid", "")]));
    let inputs = [input("near", 10), input("far", 90), input("mid", 50)];
    let ranking = ranker.update(&inputs, Instant::now());
    assert_eq!(names(&ranking.candidates()), ["mid", "far", "near"]);
    let ranks: Vec<_> = ranking.regions().iter().map(|ranked| ranked.rank).collect();
    assert_eq!(ranks, [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_region_that_never_answered_ranks_last_without_a_score() {
    let mut ranker = new_ranker(&config("", &[("a", ""), ("b", "")]));
    let mut silent = input("a", 1);
    silent.summary = Some(Summary { count: 100, loss: 1.0, unanswered: 1.0, latency: None });
    let candidates = ranker.update(&[silent, input("b", 900)], Instant::now()).candidates();
    assert_eq!(names(&candidates), ["b", "a"]);
    assert_eq!(candidates[1].score, None);
}

#[test]
fn the_ranking_is_frozen_while_a_peer_is_suspect() {
    let mut ranker = new_ranker(&config("", &[("a", ""), ("b", ""), ("c", "")]));
    let start = Instant::now();
    ranker.update(&[input("a", 10), input("b", 20), input("c", 30)], start);
    let mut suspect = input("a", 10);
    suspect.state = PeerState::Suspect;
    for seconds in 0..300 {
        let inputs = [suspect.clone(), input("b", 200), input("c", 1)];
        let ranking = ranker.update(&inputs, start + seconds * SECOND);
        assert_eq!(names(&ranking.candidates()), ["b", "c"]);
    }
}

#[test]
fn the_own_region_whose_services_others_see_fail_takes_over_for_none_however_alone() {
    let config = config("", &[("a", ""), ("b", "")]);
    let mut ranker = new_ranker(&config);
    let down = |name: &str| RankInput { state: PeerState::Down, ..input(name, 20) };
    ranker.update(&[down("a"), down("b")], Instant::now());
    assert_eq!(names(&ranker.failover_targets(&region("b"), &[])), ["own"]);
    ranker.set_own(OwnRegion { unserved: true, ..OwnRegion::default() });
    ranker.update(&[down("a"), down("b")], Instant::now());
    assert_eq!(ranker.failover_targets(&region("b"), &[]), []);
    assert!(ranker.reasons(&region("b")).any(|reasons| reasons == [Ineligible::Critical]));
}

#[test]
fn a_reload_keeps_the_leader() {
    let peers = [("a", ""), ("b", "")];
    let mut ranker = new_ranker(&config("", &peers));
    let now = Instant::now();
    ranker.update(&[input("a", 50), input("b", 60)], now);
    reload(&mut ranker, &config("failover: {min_capacity: 0}", &peers));
    let turned = [input("a", 50), input("b", 1)];
    assert_eq!(names(&ranker.update(&turned, now).candidates()), ["a", "b"]);
    reload(&mut ranker, &config("", &peers[1..]));
    assert_eq!(names(&ranker.update(&turned, now).candidates()), ["b"]);
}

#[test]
fn a_region_whose_critical_probe_never_succeeded_takes_over_for_none_however_alone() {
    let config = config("", &[("a", ""), ("b", "")]);
    let mut ranker = new_ranker(&config);
    let unproven = RankInput { unserved: true, state: PeerState::Degraded, ..input("a", 10) };
    let down = RankInput { state: PeerState::Down, ..input("b", 20) };
    let ranking = ranker.update(&[unproven, down], Instant::now()).clone();
    assert_eq!(ranking.candidates(), []);
    assert!(reasons(&ranking, "a").contains(&Ineligible::Critical));
    assert_eq!(names(&ranker.failover_targets(&region("b"), &[])), ["own"]);
}
