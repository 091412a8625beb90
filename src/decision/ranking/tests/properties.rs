use std::collections::BTreeSet;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::{Index, select},
};

use super::*;

const PEERS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn summaries() -> impl Strategy<Value = Option<Summary>> {
    option::weighted(0.9, (0..200_usize, 0.0..=1.0, 0..400_u64, 0..400_u64)).prop_map(|parts| {
        let (count, loss, p50, more) = parts?;
        let (p50, p95) = (Duration::from_millis(p50), Duration::from_millis(p50 + more));
        let latency = (loss < 1.0).then_some(Latency { p50, p95, p99: p95, jitter: None });
        Some(Summary { count, loss, unanswered: loss, latency })
    })
}

fn state() -> impl Strategy<Value = PeerState> {
    prop_oneof![8 => Just(PeerState::Healthy), 2 => Just(PeerState::Degraded), 2 => select(PeerState::ALL.to_vec())]
}

fn inputs() -> impl Strategy<Value = Vec<RankInput>> {
    let one = (state(), summaries(), option::of(0..9_000_u64), prop::bool::weighted(0.05));
    btree_map(select(PEERS.to_vec()), one, 0..=PEERS.len()).prop_map(|map| {
        let input = |(name, (state, summary, lag, held_down)): (&str, (_, _, Option<u64>, _))| RankInput {
            region: region(name),
            state,
            summary,
            losses: lag
                .map(|lag| (region("own"), Loss::of(Some(Duration::from_millis(lag)), 5 * SECOND)))
                .into_iter()
                .collect(),
            held_down,
            unserved: false,
            failed_over: false,
            maintenance: false,
        };
        map.into_iter().map(input).collect()
    })
}

fn anything_published() -> impl Strategy<Value = Vec<PublishedRanking>> {
    let everybody = || select(["own", "unranked"].into_iter().chain(PEERS).map(region).collect::<Vec<_>>());
    let candidate = (everybody(), any::<u32>(), any::<Option<Duration>>())
        .prop_map(|(region, rank, score)| Candidate { region, rank, score });
    let one = (everybody(), 0..30_u64, vec(candidate, 0..8));
    vec(
        one.prop_map(|(by, h, candidates): (_, u64, _)| PublishedRanking {
            by,
            age: Duration::from_secs(h * 3600),
            candidates,
        }),
        0..6,
    )
}

fn ranker() -> Ranker {
    new_ranker(&config("", &[("a", ""), ("b", "priority: 1,"), ("c", ""), ("d", "priority: 1,"), ("e", "")]))
}

/// Who is live as this vantage sees it.
fn live(inputs: &[RankInput], region: &Region) -> bool {
    inputs
        .iter()
        .any(|input| input.region == *region && matches!(input.state, PeerState::Healthy | PeerState::Degraded))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_down_region_never_outranks_one_that_is_up(history in vec(inputs(), 1..6), published in anything_published()) {
        let mut ranker = ranker();
        let start = Instant::now();
        for (seconds, inputs) in (0..).zip(&history) {
            let ranking = ranker.update(inputs, start + seconds * 30 * SECOND).clone();
            for ranked in ranking.regions() {
                prop_assert!(ranked.rank.is_none() || live(inputs, &ranked.region), "{ranked:?}");
                prop_assert_eq!(ranked.rank.is_some(), ranked.eligible());
            }
            for dead in PEERS.map(region) {
                for target in ranker.failover_targets(&dead, &published) {
                    prop_assert!(target.region != dead);
                    prop_assert!(target.region.as_str() == "own" || live(inputs, &target.region), "{target:?}");
                }
            }
        }
    }

    #[test]
    fn ranks_are_1_to_n_and_every_peer_has_its_row(history in vec(inputs(), 1..6), published in anything_published()) {
        let mut ranker = ranker();
        let start = Instant::now();
        for (seconds, inputs) in (0..).zip(&history) {
            let ranking = ranker.update(inputs, start + seconds * 30 * SECOND).clone();
            let candidates = ranking.candidates();
            let ranks: Vec<_> = candidates.iter().map(|candidate| candidate.rank).collect();
            prop_assert_eq!(ranks, (1..=candidates.len() as u32).collect::<Vec<_>>());
            let mut all: Vec<_> = ranking.regions().iter().map(|ranked| ranked.region.as_str()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, PEERS);
            let targets = ranker.failover_targets(&region("c"), &published);
            let ranks: Vec<_> = targets.iter().map(|target| target.rank).collect();
            prop_assert_eq!(ranks, (1..=targets.len() as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        history in vec((inputs(), any::<[Index; 5]>()), 1..6),
        published in anything_published(),
    ) {
        let (mut ranker, mut other) = (ranker(), ranker());
        let start = Instant::now();
        for (seconds, (inputs, swaps)) in (0..).zip(&history) {
            let (mut turned, mut turned_published) = (inputs.clone(), published.clone());
            // Of two that one vantage published at the same moment the first counts.
            turned_published.sort_by_key(|published| std::cmp::Reverse(published.by.clone()));
            for (n, swap) in swaps.iter().enumerate().take(turned.len()) {
                turned.swap(n, swap.index(inputs.len()));
            }
            let now = start + seconds * 30 * SECOND;
            prop_assert_eq!(ranker.update(inputs, now), other.update(&turned, now));
            for dead in PEERS.map(region) {
                prop_assert_eq!(ranker.failover_targets(&dead, &published), other.failover_targets(&dead, &turned_published));
            }
        }
    }

    /// A leader stays for a minute, unless it becomes ineligible or a better region is ranked for the first time.
    #[test]
    fn rank_1_does_not_flap(history in vec((inputs(), 1..40_u64), 1..40)) {
        let mut ranker = ranker();
        let mut now = Instant::now();
        let mut leader: Option<(Region, Instant)> = None;
        let mut ranked = BTreeSet::new();
        for (inputs, seconds) in &history {
            now += Duration::from_secs(*seconds);
            let ranking = ranker.update(inputs, now);
            prop_assert!(ranking.regions().iter().all(|row| ranking.of(&row.region) == Some(row)), "{ranking:?}");
            let candidates: Vec<_> = ranking.candidates().into_iter().map(|candidate| candidate.region).collect();
            let first = candidates.first().cloned();
            if let Some((region, since)) = &leader
                && first.as_ref() != Some(region)
            {
                let able = ranking.of(region).is_some_and(RankedRegion::eligible);
                let is_new = first.as_ref().is_some_and(|first| !ranked.contains(first));
                prop_assert!(!able || is_new || now - *since >= HOLD, "{region} led for {:?}", now - *since);
            }
            let frozen = |input: &RankInput| matches!(input.state, PeerState::Suspect | PeerState::Down);
            if !inputs.iter().any(frozen) {
                ranked.extend(candidates);
            }
            if leader.as_ref().map(|(region, _)| region) != first.as_ref() {
                leader = first.map(|region| (region, now));
            }
        }
    }

    /// A region that gets better, with all else the same, does not lose its rank.
    #[test]
    fn a_better_score_never_ranks_lower(inputs in inputs(), at: Index, better in 0.0..1.0) {
        prop_assume!(!inputs.is_empty());
        let at = at.index(inputs.len());
        let rank = |inputs: &[RankInput]| {
            let mut ranker = ranker();
            ranker.update(inputs, Instant::now()).of(&inputs[at].region).and_then(|ranked| ranked.rank)
        };
        let mut improved = inputs.clone();
        if let Some(Summary { latency: Some(latency), loss, .. }) = &mut improved[at].summary {
            *loss *= better;
            latency.p95 = latency.p50 + (latency.p95 - latency.p50).mul_f64(better);
        }
        prop_assert!(rank(&improved) <= rank(&inputs));
    }
}
