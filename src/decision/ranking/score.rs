//! How much a region costs those who would be sent to it, in time.

use std::time::Duration;

use super::{Loss, RankInput};
use crate::{
    model::{Kind, PeerState},
    window::Summary,
};

/// What a lost SYN costs a new connection: the first retransmission timeout of RFC 6298 2.1.
const RETRY: Duration = Duration::from_secs(1);

/// What data that are as old as is tolerated cost: fresher data win between equals, and never across an ocean.
const STALE: Duration = Duration::from_millis(100);

/// What a degraded region costs, which takes over only where nothing is healthy.
const DEGRADED: Duration = Duration::from_millis(250);

/// The kind of probe that ranks a region, of those that it has, and its summary.
pub fn preferred(summaries: impl IntoIterator<Item = (Kind, Summary)>) -> Option<(Kind, Summary)> {
    summaries.into_iter().filter(|(_, summary)| summary.count > 0).min_by_key(|(kind, _)| kind.preference())
}

/// What a region costs by its latency and its failures: `p50 + 0.5 (p95 - p50) + 1 s * loss / (1 - loss)`.
///
/// `loss / (1 - loss)` is how often a connection is expected to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// The median latency of successes.
    pub median: Duration,
    /// Half of what the 95th percentile is above the median.
    pub tail: Duration,
    /// What new connections wait for retries, on average.
    pub retries: Duration,
}

impl Cost {
    /// `None` if all or no number of probes fail.
    pub fn of(p50: Duration, p95: Duration, loss: f64) -> Option<Self> {
        // Also false for what is no number.
        if !(0.0..1.0).contains(&loss) {
            return None;
        }
        let retries = Duration::try_from_secs_f64(RETRY.as_secs_f64() * loss / (1.0 - loss));
        let tail = p95.saturating_sub(p50) / 2;
        Some(Self { median: p50, tail, retries: retries.unwrap_or(Duration::MAX) })
    }

    /// The sum of all parts.
    pub const fn total(self) -> Duration {
        self.median.saturating_add(self.tail).saturating_add(self.retries)
    }
}

/// The score of a region, lower is better: its [`Cost`] `+ 100 ms * min(1, loss / rpo) + 250 ms if degraded`.
///
/// `None` where nothing ever answered: such a region has no latency, rather than an infinite one.
pub(super) fn score(input: &RankInput, loss: Loss) -> Option<Duration> {
    let summary = input.summary?;
    let latency = summary.latency?;
    let cost = Cost::of(latency.p50, latency.p95, summary.loss)?;
    let stale = STALE.mul_f64(loss.share);
    let degraded = if input.state == PeerState::Degraded { DEGRADED } else { Duration::ZERO };
    Some(cost.total().saturating_add(stale).saturating_add(degraded))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{model::Region, probe, window::Latency};

    /// The score of what has a replica with this lag, if it has one.
    fn scored(input: &RankInput, lag: Option<Duration>, rpo: Duration) -> Option<Duration> {
        score(input, lag.map(|lag| Loss::of(Some(lag), rpo)).unwrap_or_default())
    }

    fn input(p50: f64, p95: f64, loss: f64, state: PeerState) -> RankInput {
        let ms = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        let latency = Latency { p50: ms(p50), p95: ms(p95), p99: ms(p95), jitter: None };
        let summary = Some(Summary { count: 100, loss, unanswered: loss, latency: Some(latency) });
        RankInput {
            region: Region::new("r").unwrap(),
            state,
            summary,
            losses: Default::default(),
            held_down: false,
            unserved: false,
            failed_over: false,
            maintenance: false,
        }
    }

    const RPO: Duration = Duration::from_secs(5);

    /// The table of the design, whose replication lag is in seconds.
    #[test]
    fn the_score_matches_the_examples_of_the_design() {
        for (p50, p95, loss, lag, expected) in [
            (26.0, 28.0, 0.0, 300, 33.0),
            (11.0, 30.0, 0.03, 200, 55.4),
            (74.0, 80.0, 0.002, 900, 97.0),
            (35.0, 37.0, 0.0, 400, 44.0),
            (33.0, 36.0, 0.0, 7000, 134.5),
        ] {
            let lag = Some(Duration::from_millis(lag));
            let found = scored(&input(p50, p95, loss, PeerState::Healthy), lag, RPO).unwrap();
            assert!((found.as_secs_f64() * 1000.0 - expected).abs() < 0.1, "{found:?}, not {expected} ms");
        }
    }

    #[test]
    fn a_region_that_never_answered_has_no_score() {
        let mut silent = input(1.0, 2.0, 1.0, PeerState::Healthy);
        assert_eq!(scored(&silent, None, RPO), None);
        for loss in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
            assert_eq!(scored(&input(1.0, 2.0, loss, PeerState::Healthy), None, RPO), None);
        }
        silent.summary = Some(Summary { count: 5, loss: 0.5, unanswered: 0.5, latency: None });
        assert_eq!(scored(&silent, None, RPO), None);
        silent.summary = None;
        assert_eq!(scored(&silent, None, RPO), None);
    }

    #[test]
    fn an_rpo_of_zero_divides_nothing() {
        let of = |lag| scored(&input(1.0, 1.0, 0.0, PeerState::Healthy), Some(lag), Duration::ZERO).unwrap();
        assert_eq!(of(Duration::ZERO).as_millis(), 1);
        assert_eq!(of(Duration::from_nanos(1)).as_millis(), 101);
    }

    #[test]
    fn tcp_latency_ranks_a_region_if_it_was_measured() {
        let of = |count| Summary { count, loss: 0.0, unanswered: 0.0, latency: None };
        let kinds = [(probe::DNS, of(1)), (probe::ICMP, of(2)), (probe::HTTP, of(3)), (probe::SIDECAR, of(4))];
        for (n, expected) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
            assert_eq!(preferred(kinds.into_iter().take(n)).unwrap().1.count, expected);
        }
        let count = |tcp| preferred(kinds.into_iter().chain([(probe::TCP, of(tcp))])).unwrap().1.count;
        assert_eq!((count(5), count(0)), (5, 4));
        assert_eq!(preferred([]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

        #[test]
        fn more_of_anything_bad_never_scores_better(
            (p50, p95, loss) in (0.0..5000.0, 0.0..5000.0, 0.0..1.0),
            (more_p50, more_p95, more_loss) in (0.0..5000.0, 0.0..5000.0, 0.0..1.0),
            (lag, more_lag, rpo) in (0..9_000_u64, 0..9_000_u64, 0..9_000_u64),
        ) {
            let ms = Duration::from_millis;
            let of =
                |p50, p95, loss, lag, state| scored(&input(p50, p95, loss, state), Some(ms(lag)), ms(rpo)).unwrap();
            let base = of(p50, p95, loss, lag, PeerState::Healthy);
            for worse in [
                of(p50 + more_p50, p95, loss, lag, PeerState::Healthy),
                of(p50, p95 + more_p95, loss, lag, PeerState::Healthy),
                of(p50, p95, loss + (1.0 - loss) * more_loss, lag, PeerState::Healthy),
                of(p50, p95, loss, lag + more_lag, PeerState::Healthy),
                of(p50, p95, loss, lag, PeerState::Degraded),
            ] {
                // A nanosecond is lost to halving.
                prop_assert!(worse + Duration::from_nanos(1) >= base, "{worse:?} < {base:?}");
            }
        }

        #[test]
        fn no_input_panics(p50: Duration, p95: Duration, loss: f64, lag: Option<Duration>, rpo: Duration) {
            let mut any = input(0.0, 0.0, loss, PeerState::Degraded);
            any.summary = Some(Summary { count: 1, loss, unanswered: loss, latency: Some(Latency { p50, p95, p99: p95, jitter: None }) });
            let _ = scored(&any, lag, rpo);
        }
    }
}
