//! Everything that was computed, for programs. Durations are in seconds, as on `/metrics`.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{content::Report, notes};
use crate::bench::{CONFIDENCE, Check, Estimate, Ranked, Ranking, Value};
use crate::model::UnixMillis;

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    source: &'a str,
    began: String,
    duration_seconds: f64,
    confidence: f64,
    rankings: Vec<Kind<'a>>,
    checks: Vec<Checked<'a>>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Checked<'a> {
    subject: &'a str,
    criterion: &'a str,
    verdict: &'static str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Kind<'a> {
    probe: Option<&'a str>,
    regions: Vec<Region<'a>>,
}

#[derive(Serialize)]
struct Region<'a> {
    region: &'a str,
    /// The best and the worst.
    rank: Option<[usize; 2]>,
    score: Option<Score>,
    samples: usize,
    failed: usize,
    missed: u64,
    failures: BTreeMap<&'a str, u64>,
    p50: Option<Interval>,
    p95: Option<Interval>,
    p99: Option<Interval>,
    mean: Option<Interval>,
    min_seconds: Option<f64>,
    max_seconds: Option<f64>,
    jitter_seconds: Option<f64>,
    phases: BTreeMap<&'static str, Interval>,
    slower: Option<Ratio>,
    light: Option<Light>,
}

#[derive(Serialize)]
struct Score {
    seconds: f64,
    low: f64,
    high: Option<f64>,
    median: f64,
    tail: f64,
    retries: f64,
}

#[derive(Serialize)]
struct Interval {
    seconds: f64,
    /// The value is that of a failure, and may be more.
    censored: bool,
    low: f64,
    high: Option<f64>,
}

#[derive(Serialize)]
struct Ratio {
    times: f64,
    half_width: f64,
}

#[derive(Serialize)]
struct Light {
    round_trip_seconds: f64,
    light_seconds: f64,
}

/// The report as JSON.
pub(super) fn write(report: &Report<'_>) -> String {
    let results = report.results;
    let began = results.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        source: &results.source,
        began: UnixMillis(u64::try_from(began.as_millis()).unwrap_or_default()).to_string(),
        duration_seconds: results.duration.as_secs_f64(),
        confidence: CONFIDENCE,
        rankings: report.rankings.iter().map(kind).collect(),
        checks: report.gate.iter().flat_map(|gate| &gate.checks).map(checked).collect(),
        notes: notes::notes(report),
    };
    // Maps with keys of text, and finite numbers: nothing of it can fail.
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn checked(check: &Check) -> Checked<'_> {
    let Check { subject, criterion, verdict, reason } = check;
    Checked { subject, criterion, verdict: verdict.as_str(), reason }
}

fn kind(ranking: &Ranking) -> Kind<'_> {
    Kind { probe: ranking.probe.as_deref(), regions: ranking.regions.iter().map(region).collect() }
}

fn region(ranked: &Ranked) -> Region<'_> {
    let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
    let quantile = |n: usize| ranked.quantiles.map(|quantiles| interval(&quantiles[n]));
    Region {
        region: &ranked.region,
        rank: ranked.rank.map(|(best, worst)| [best, worst]),
        score: ranked.score.map(|score| Score {
            seconds: score.cost.total().as_secs_f64(),
            low: score.low.as_secs_f64(),
            high: seconds(score.high),
            median: score.cost.median.as_secs_f64(),
            tail: score.cost.tail.as_secs_f64(),
            retries: score.cost.retries.as_secs_f64(),
        }),
        samples: ranked.count,
        failed: ranked.failed,
        missed: ranked.missed,
        failures: ranked.failures.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        p50: quantile(0),
        p95: quantile(1),
        p99: quantile(2),
        mean: ranked.mean.as_ref().map(interval),
        min_seconds: seconds(ranked.extremes.and_then(|(min, _)| min.exact())),
        max_seconds: seconds(ranked.extremes.and_then(|(_, max)| max.exact())),
        jitter_seconds: seconds(ranked.jitter),
        phases: ranked.phases.iter().map(|(phase, median)| (phase.as_str(), interval(median))).collect(),
        slower: ranked.slower.map(|ratio| Ratio { times: ratio.value, half_width: ratio.half_width }),
        light: ranked.light.map(|gap| Light {
            round_trip_seconds: gap.round_trip.as_secs_f64(),
            light_seconds: gap.light.as_secs_f64(),
        }),
    }
}

fn interval(estimate: &Estimate) -> Interval {
    Interval {
        seconds: estimate.value.least().as_secs_f64(),
        censored: matches!(estimate.value, Value::AtLeast(_)),
        low: estimate.low.least().as_secs_f64(),
        high: estimate.high.map(|high| high.as_secs_f64()),
    }
}
