//! Everything that was computed, for programs: the shape of hyperfine's export, with more keys. Durations are in seconds.

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;

use super::{
    content::{Bounded, Report, Row},
    notes,
    smaller::{Smaller, smaller},
};
use crate::{
    bench::{CONFIDENCE, Check, Value},
    coldstart::{
        comparison::{Comparison, Image},
        findings::Part,
        registry::Rate,
        round::Step,
    },
    model::UnixMillis,
};

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    engine: &'a str,
    architecture: &'a str,
    began: String,
    duration_seconds: f64,
    confidence: f64,
    timeout_seconds: f64,
    page_cache: &'static str,
    measured_bandwidth: Option<MeasuredBandwidth<'a>>,
    results: Vec<Entry<'a>>,
    floor: Option<Entry<'a>>,
    checks: Vec<Checked<'a>>,
    notes: Vec<String>,
}

/// How fast this node pulls, or why that is unknown.
#[derive(Default, Serialize)]
struct MeasuredBandwidth<'a> {
    bits_per_second: Option<f64>,
    bytes: Option<u64>,
    seconds: Option<f64>,
    registry: Option<&'a str>,
    unknown: Option<&'a str>,
}

#[derive(Serialize)]
struct Entry<'a> {
    /// What hyperfine calls a command.
    command: &'a str,
    mean: Option<f64>,
    stddev: Option<f64>,
    median: Option<f64>,
    /// Instead of the median where at least half of the starts failed.
    median_at_least: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    times: Vec<f64>,
    /// The best and the worst.
    rank: Option<[usize; 2]>,
    /// An end is absent where it is that of failures.
    median_interval: Option<(Option<f64>, Option<f64>)>,
    behind: Option<Interval>,
    /// Instead of it where at least half of the starts failed.
    behind_at_least: Option<f64>,
    p95: Option<f64>,
    p95_at_least: Option<f64>,
    steps: BTreeMap<&'static str, Option<f64>>,
    next_100_p99: Option<f64>,
    next_100_p99_at_least: Option<f64>,
    next_100_answers: usize,
    next_100_failed: usize,
    pull: Option<Pulled>,
    findings: Vec<Found<'a>>,
    hygiene: &'a [String],
    size_bytes: u64,
    layers: usize,
    cpus: Option<f64>,
    memory_bytes: Option<u64>,
    starts: usize,
    failed: usize,
    failures: Vec<String>,
}

#[derive(Serialize)]
struct Pulled {
    bytes: u64,
    unpacked_bytes: u64,
    layers: usize,
    /// By bandwidth; null where that is unknown.
    seconds: BTreeMap<String, Option<f64>>,
    /// All of the base image; null if that is not known.
    base_bytes: Option<u64>,
    /// What of it has to be pulled, at the bandwidth that ranks.
    base_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Found<'a> {
    part: &'static str,
    /// At the bandwidth that ranks.
    seconds: Option<f64>,
    bytes: u64,
    files: usize,
    example: &'a str,
    advice: &'static str,
    /// Of the base image: another image of the comparison that has a smaller one.
    smaller: Option<SmallerBase<'a>>,
}

#[derive(Serialize)]
struct SmallerBase<'a> {
    image: &'a str,
    saves_seconds: f64,
    /// Whether it has no base image, and all of it is compared.
    is_whole: bool,
}

#[derive(Serialize)]
struct Interval {
    seconds: f64,
    interval: Option<(Option<f64>, Option<f64>)>,
}

#[derive(Serialize)]
struct Checked<'a> {
    subject: &'a str,
    criterion: &'a str,
    verdict: &'static str,
    reason: &'a str,
}

/// The report as JSON.
pub(super) fn write(report: &Report<'_>) -> String {
    let comparison = report.comparison;
    let began = comparison.results.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let rows = report.rows();
    let (floor, images): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.is_floor());
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        engine: &comparison.engine,
        architecture: &comparison.architecture,
        began: UnixMillis(u64::try_from(began.as_millis()).unwrap_or_default()).to_string(),
        duration_seconds: comparison.results.duration.as_secs_f64(),
        confidence: CONFIDENCE,
        timeout_seconds: comparison.timeout.as_secs_f64(),
        page_cache: comparison.page_cache.as_str(),
        measured_bandwidth: comparison.line.as_ref().map(measured),
        results: images.into_iter().map(|row| entry(row, comparison)).collect(),
        floor: floor.into_iter().next().map(|row| entry(row, comparison)),
        checks: report.gate.iter().flat_map(|gate| &gate.checks).map(checked).collect(),
        notes: notes::notes(report),
    };
    // Maps with keys of text, and finite numbers: nothing of it can fail.
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn measured(line: &Result<Rate, String>) -> MeasuredBandwidth<'_> {
    match line {
        Ok(rate) => MeasuredBandwidth {
            bits_per_second: Some(rate.bits_per_second),
            bytes: Some(rate.bytes),
            seconds: Some(rate.duration.as_secs_f64()),
            registry: Some(&rate.registry),
            unknown: None,
        },
        Err(reason) => MeasuredBandwidth { unknown: Some(reason), ..MeasuredBandwidth::default() },
    }
}

fn checked(check: &Check) -> Checked<'_> {
    let Check { subject, criterion, verdict, reason } = check;
    Checked { subject, criterion, verdict: verdict.as_str(), reason }
}

fn entry<'a>(row: &'a Row<'_>, comparison: &'a Comparison) -> Entry<'a> {
    let (bandwidths, ranking) = (&comparison.model.bandwidths, comparison.model.ranking());
    let times: Vec<_> = row.image.ready().map(|start| start.total.as_secs_f64()).collect();
    let count = times.len() as f64;
    let mean = (!times.is_empty()).then(|| times.iter().sum::<f64>() / count);
    let deviation = mean
        .filter(|_| times.len() > 1)
        .map(|mean| (times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt());
    Entry {
        command: &row.name,
        mean,
        stddev: deviation,
        median: row.median.filter(|_| !row.is_censored).map(|median| median.value),
        median_at_least: row.median.filter(|_| row.is_censored).map(|median| median.value),
        min: times.iter().copied().reduce(f64::min),
        max: times.iter().copied().reduce(f64::max),
        rank: row.rank.map(|(best, worst)| [best, worst]),
        median_interval: row.median.filter(|_| !row.is_censored).and_then(Bounded::interval),
        behind: row
            .behind
            .filter(|_| !row.is_censored)
            .map(|behind| Interval { seconds: behind.value, interval: behind.interval() }),
        behind_at_least: row.behind.filter(|_| row.is_censored).map(|behind| behind.value),
        p95: row.p95.and_then(Value::exact).map(|p95| p95.as_secs_f64()),
        p95_at_least: row.p95.filter(|p95| p95.exact().is_none()).map(|p95| p95.least().as_secs_f64()),
        steps: Step::ALL.map(|step| (step.as_str(), row.steps[step as usize])).into(),
        next_100_p99: row.next.and_then(|next| next.p99.exact()).map(|p99| p99.as_secs_f64()),
        next_100_p99_at_least: row
            .next
            .filter(|next| next.p99.exact().is_none())
            .map(|next| next.p99.least().as_secs_f64()),
        next_100_answers: row.next.map_or(0, |next| next.answers),
        next_100_failed: row.next.map_or(0, |next| next.failed),
        pull: row.image.pull.map(|pull| Pulled {
            bytes: pull.packed,
            unpacked_bytes: pull.size,
            layers: pull.layers,
            seconds: bandwidths.iter().map(|bandwidth| bandwidth.key()).zip(row.pulls.iter().copied()).collect(),
            base_bytes: row.image.base.map(|base| base.whole.packed),
            base_seconds: row.image.base.and_then(|base| base.missing.seconds(ranking?, comparison.unpacking)),
        }),
        findings: row
            .image
            .findings
            .iter()
            .map(|finding| Found {
                part: finding.part.as_str(),
                seconds: ranking.and_then(|bandwidth| finding.pull.seconds(bandwidth, comparison.unpacking)),
                bytes: finding.pull.packed,
                files: finding.files,
                example: &finding.example,
                advice: finding.part.advice(),
                smaller: smaller(comparison, row.image).filter(|_| finding.part == Part::Base).map(
                    |Smaller { image, is_whole, saves }| SmallerBase {
                        image: &image.name,
                        saves_seconds: saves,
                        is_whole,
                    },
                ),
            })
            .collect(),
        hygiene: &row.image.hygiene,
        size_bytes: row.image.size,
        layers: row.image.layers,
        cpus: row.image.options.cpus,
        memory_bytes: row.image.options.memory,
        starts: row.image.starts.len(),
        failed: row.failed(),
        failures: failures(row.image),
        times,
    }
}

/// Why starts failed, each reason once.
fn failures(image: &Image) -> Vec<String> {
    let mut reasons: Vec<_> =
        image.starts.iter().filter_map(|start| start.as_ref().err()).map(ToString::to_string).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}
