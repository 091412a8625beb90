//! Regions, ranked for each kind of probe: with ties where the intervals of their scores overlap.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{
    Distribution, Estimate, Outcome, Quantile, Results, Series, Value, failure_rate_interval, jitter, results::is_local,
};
use crate::{decision::ranking::Cost, model::Phase, probe};

/// The regions that were measured in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// The kind of probe; `None` for results without a tag `probe`.
    pub probe: Option<String>,
    /// The best one first; those that cannot be ranked last.
    pub regions: Vec<Ranked>,
}

/// What a region costs, and the interval that holds the true cost with [`CONFIDENCE`](super::CONFIDENCE) or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// The cost, with its parts.
    pub cost: Cost,
    /// The lower end of the interval.
    pub low: Duration,
    /// The upper end; `None` where there are too few samples for one.
    pub high: Option<Duration>,
}

/// How many times as long something takes, with half the width of its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The ratio.
    pub value: f64,
    /// Half the width.
    pub half_width: f64,
}

/// A network's round trip, and the shortest possible one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LightGap {
    /// The median round trip.
    pub round_trip: Duration,
    /// That of light in a straight fiber.
    pub light: Duration,
}

impl LightGap {
    /// How many times as long as light the network takes.
    pub fn times(self) -> f64 {
        self.round_trip.as_secs_f64() / self.light.as_secs_f64()
    }

    /// Whether the answer cannot have come from there.
    pub fn is_impossible(self) -> bool {
        self.round_trip < self.light
    }
}

/// A region with what was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The region.
    pub region: String,
    /// The best and the worst rank that it may have; `None` where nothing answered.
    pub rank: Option<(usize, usize)>,
    /// What ranks it; `None` where nothing answered.
    pub score: Option<Score>,
    /// All probes but local failures.
    pub count: usize,
    /// How many of them failed.
    pub failed: usize,
    /// Slots at which no probe could start in time.
    pub missed: u64,
    /// All failures by their reasons, the most frequent one first; local failures too.
    pub failures: Vec<(String, u64)>,
    /// The fastest and the slowest probe.
    pub extremes: Option<(Value, Value)>,
    /// The mean.
    pub mean: Option<Estimate>,
    /// Median, 95th and 99th percentile; failures are censored.
    pub quantiles: Option<[Estimate; 3]>,
    /// The mean difference between consecutive successes.
    pub jitter: Option<Duration>,
    /// The median of each phase, of the successes that have it.
    pub phases: Vec<(Phase, Estimate)>,
    /// How many times as slow its median is as that of the first region.
    pub slower: Option<Ratio>,
    /// How far its round trip is from that of light, if it is known where it is.
    pub light: Option<LightGap>,
}

/// The quantiles of a table.
pub const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P95, Quantile::P99];

/// Ranks the regions for each kind of probe. The kind with the most regions is the first, and of several the one that ranks
/// failover targets.
pub fn rank(results: &Results, light: &BTreeMap<String, Duration>) -> Vec<Ranking> {
    let mut kinds: BTreeMap<Option<&str>, BTreeMap<&str, Vec<&Series>>> = BTreeMap::new();
    for series in &results.series {
        kinds.entry(series.tag("probe")).or_default().entry(&series.region).or_default().push(series);
    }
    let mut rankings: Vec<_> = kinds
        .into_iter()
        .map(|(probe, regions)| {
            let regions = regions.into_iter().map(|(region, series)| measured(region, &series, light.get(region)));
            Ranking { probe: probe.map(str::to_owned), regions: in_order(regions.collect()) }
        })
        .collect();
    rankings.sort_by_key(|ranking| {
        let kind = ranking.probe.as_deref().and_then(probe::kind_named);
        (Reverse(ranking.regions.len()), kind.is_none(), kind.map(|kind| kind.preference()))
    });
    rankings
}

fn measured(region: &str, series: &[&Series], light: Option<&Duration>) -> Ranked {
    let all = Distribution::of(series.iter().copied());
    let phases = phases(series);
    let round_trip = [Phase::Rtt, Phase::Connect, Phase::Request, Phase::Processing];
    let round_trip = round_trip.iter().find_map(|wanted| phases.iter().find(|(phase, _)| phase == wanted));
    let quantiles = QUANTILES.map(|quantile| all.quantile(quantile));
    Ranked {
        region: region.to_owned(),
        rank: None,
        score: score(&all),
        count: all.count(),
        failed: all.failed(),
        missed: series.iter().map(|series| series.missed).fold(0, u64::saturating_add),
        failures: failures(series),
        extremes: all.min().zip(all.max()),
        mean: all.mean(),
        quantiles: if let [Some(p50), Some(p95), Some(p99)] = quantiles { Some([p50, p95, p99]) } else { None },
        jitter: jitter(series.iter().copied()),
        slower: None,
        light: round_trip
            .zip(light)
            .filter(|(_, light)| !light.is_zero())
            .map(|((_, estimate), light)| LightGap { round_trip: estimate.value.least(), light: *light }),
        phases,
    }
}

/// The score of failover targets: of the latencies of successes, and of failures by what retries cost.
fn score(all: &Distribution) -> Option<Score> {
    let successes = all.of_successes();
    let (p50, p95) = (successes.quantile(Quantile::P50)?, successes.quantile(Quantile::P95)?);
    let rate = all.failure_rate()?;
    // None of many failures may be a small rate, but nothing that was measured says so.
    let (least, most) = if all.failed() == 0 { (0.0, 0.0) } else { failure_rate_interval(all.failed(), all.count())? };
    let cost = |p50: Duration, p95: Duration, rate| Cost::of(p50, p95.max(p50), rate);
    Some(Score {
        cost: cost(p50.value.least(), p95.value.least(), rate)?,
        low: cost(p50.low.least(), p95.low.least(), least)?.total(),
        high: p50.high.zip(p95.high).and_then(|(p50, p95)| cost(p50, p95, most)).map(Cost::total),
    })
}

fn failures(series: &[&Series]) -> Vec<(String, u64)> {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for sample in series.iter().flat_map(|series| series.samples()) {
        if let Outcome::Failed(reason) = &sample.outcome {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    // Stable, so that equals stay sorted by name.
    reasons.sort_by_key(|(_, count)| Reverse(*count));
    reasons
}

fn phases(series: &[&Series]) -> Vec<(Phase, Estimate)> {
    let median = |phase| {
        let all = series.iter().flat_map(|series| series.phase(phase)).flatten();
        Some((phase, Distribution::of_latencies(all).quantile(Quantile::P50)?))
    };
    Phase::ALL.into_iter().filter_map(median).collect()
}

fn in_order(mut regions: Vec<Ranked>) -> Vec<Ranked> {
    let scores: Vec<_> = regions.iter().filter_map(|ranked| ranked.score).collect();
    let is_better = |one: &Score, other: &Score| one.high.is_some_and(|high| high < other.low);
    for ranked in &mut regions {
        let Some(own) = ranked.score else { continue };
        let better = scores.iter().filter(|other| is_better(other, &own)).count();
        let worse = scores.iter().filter(|other| is_better(&own, other)).count();
        ranked.rank = Some((1 + better, scores.len() - worse));
    }
    // Stable, so that those without a score stay sorted by name.
    regions.sort_by_key(|ranked| (ranked.score.is_none(), ranked.score.map(|score| score.cost.total())));
    let first = regions.first().and_then(|first| first.quantiles).map(|[median, ..]| median);
    for ranked in regions.iter_mut().skip(1) {
        ranked.slower = ranked.quantiles.zip(first).and_then(|([median, ..], first)| ratio(&median, &first));
    }
    regions
}

/// The ratio of two medians, whose errors are independent.
fn ratio(one: &Estimate, other: &Estimate) -> Option<Ratio> {
    let known = |of: &Estimate| Some((of.value.exact()?.as_secs_f64(), of.half_width()?.as_secs_f64()));
    let ((one, one_half), (other, other_half)) = (known(one)?, known(other)?);
    let value = one / other;
    let ratio = Ratio { value, half_width: value * (one_half / one).hypot(other_half / other) };
    ratio.half_width.is_finite().then_some(ratio)
}

/// Whether all that was measured of a region are failures of this host.
pub(super) fn only_local(ranked: &Ranked) -> bool {
    ranked.count == 0 && !ranked.failures.is_empty() && ranked.failures.iter().all(|(reason, _)| is_local(reason))
}

#[cfg(test)]
mod tests;
