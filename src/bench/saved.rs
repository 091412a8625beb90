//! Results in a file of ours: what `--save` writes and `--baseline` reads.
//!
//! Raw samples, so that a later version can compare by another test.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{Outcome, Results, Sample, Series, Totals, results::nanos};
use crate::model::{Failure, Phase};

/// The version of the format.
const VERSION: u32 = 1;

/// The key that no other format has, and its value.
const MARK: &str = "\"regionwatch_results\"";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    regionwatch_results: u32,
    began_unix_ms: u64,
    duration_ns: u64,
    source: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
    series: Vec<Saved<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved<'a> {
    region: Cow<'a, str>,
    tags: Cow<'a, BTreeMap<String, String>>,
    deadline_ns: Option<u64>,
    missed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drawn_from: Option<Totals>,
    at_ns: Vec<u64>,
    /// `null` for a failure.
    latency_ns: Vec<Option<u64>>,
    /// The reasons of the failures, in their order.
    failures: Vec<Cow<'a, str>>,
    /// The phases in which they failed, `null` where that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failed_in: Vec<Option<Cow<'a, str>>>,
    /// By the name of the phase; `null` where a sample does not have it.
    phases_ns: BTreeMap<Cow<'a, str>, Vec<Option<u64>>>,
}

/// The text of a file with these results.
pub fn saved_text(results: &Results) -> String {
    let began = results.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let file = File {
        regionwatch_results: VERSION,
        began_unix_ms: u64::try_from(began.as_millis()).unwrap_or_default(),
        duration_ns: nanos(results.duration),
        source: Cow::Borrowed(&results.source),
        dropped: results.dropped,
        series: results.series.iter().map(saved).collect(),
    };
    // Maps with keys of text and numbers: nothing of it can fail.
    let mut text = serde_json::to_string(&file).unwrap_or_default();
    text.push('\n');
    text
}

fn saved(series: &Series) -> Saved<'_> {
    let samples = series.samples();
    let has_failed = |n: &usize| matches!(samples[*n].outcome, Outcome::Failed(_));
    let failed_in = (0..samples.len()).filter(has_failed);
    let failed_in = failed_in.map(|n| series.failed_in(n).map(|phase| Cow::Borrowed(phase.as_str())));
    let phase = |phase: Phase| (Cow::Borrowed(phase.as_str()), series.phase(phase).map(|one| one.map(nanos)).collect());
    Saved {
        region: Cow::Borrowed(&series.region),
        tags: Cow::Borrowed(&series.tags),
        deadline_ns: series.deadline.map(nanos),
        missed: series.missed,
        drawn_from: series.drawn_from,
        at_ns: samples.iter().map(|sample| nanos(sample.at)).collect(),
        latency_ns: samples
            .iter()
            .map(|sample| match sample.outcome {
                Outcome::Ok(latency) => Some(nanos(latency)),
                Outcome::Failed(_) => None,
            })
            .collect(),
        failures: samples
            .iter()
            .filter_map(|sample| match &sample.outcome {
                Outcome::Ok(_) => None,
                Outcome::Failed(reason) => Some(Cow::Borrowed(reason.as_ref())),
            })
            .collect(),
        failed_in: failed_in.collect(),
        phases_ns: series.phases().into_iter().map(phase).collect(),
    }
}

/// Whether these bytes begin like a file of ours.
pub(super) fn is_saved(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(128)]);
    head.trim_start().trim_start_matches('{').trim_start().starts_with(MARK)
}

/// Reads results.
///
/// # Errors
/// What is wrong; what to do instead.
pub fn read_saved(bytes: &[u8]) -> Result<Results, String> {
    const AGAIN: &str = "save the results again with --save";
    if !is_saved(bytes) {
        return Err("is not a file that --save wrote; name one".to_owned());
    }
    let file: File<'_> = serde_json::from_slice(bytes).map_err(|error| format!("is broken: {error}; {AGAIN}"))?;
    if file.regionwatch_results != VERSION {
        return Err(format!("has format {}, and this version reads {VERSION}; {AGAIN}", file.regionwatch_results));
    }
    let series = file.series.into_iter().enumerate().map(|(n, saved)| {
        let region = saved.region.clone();
        loaded(saved).ok_or_else(|| format!("series {n} ({region:?}) has columns of different lengths; {AGAIN}"))
    });
    let began = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(file.began_unix_ms));
    Ok(Results {
        began: began.unwrap_or(SystemTime::UNIX_EPOCH),
        duration: Duration::from_nanos(file.duration_ns),
        source: file.source.into_owned(),
        series: series.collect::<Result<_, _>>()?,
        dropped: file.dropped,
    })
}

fn loaded(saved: Saved<'_>) -> Option<Series> {
    let count = saved.at_ns.len();
    let failed = saved.latency_ns.iter().filter(|latency| latency.is_none()).count();
    let is_whole = saved.latency_ns.len() == count
        && saved.failures.len() == failed
        && (saved.failed_in.is_empty() || saved.failed_in.len() == failed)
        && saved.phases_ns.values().all(|column| column.len() == count);
    if !is_whole {
        return None;
    }
    let deadline = saved.deadline_ns.map(Duration::from_nanos);
    // A phase that a later version has is left out.
    let phases: Vec<_> =
        saved.phases_ns.iter().filter_map(|(name, column)| Some((Phase::parse(name)?, column))).collect();
    let mut series = Series::new(saved.region.into_owned(), saved.tags.into_owned(), deadline)
        .with_phases(phases.iter().map(|(phase, _)| *phase));
    (series.missed, series.drawn_from) = (saved.missed, saved.drawn_from);
    let mut failures = saved.failures.into_iter();
    let mut failed_in = saved.failed_in.into_iter();
    for (n, (at, latency)) in saved.at_ns.into_iter().zip(saved.latency_ns).enumerate() {
        let at = Duration::from_nanos(at);
        let of_sample = phases.iter().filter_map(|(phase, column)| Some((*phase, Duration::from_nanos(column[n]?))));
        match latency {
            Some(latency) => {
                series.push_phases(Sample { at, outcome: Outcome::Ok(Duration::from_nanos(latency)) }, of_sample);
            }
            None => {
                let outcome = Outcome::Failed(reason(failures.next()?));
                let phase = failed_in.next().flatten().and_then(|name| Phase::parse(&name));
                series.push_phases(Sample { at, outcome }, of_sample);
                series.set_failed_in(phase);
            }
        }
    }
    Some(series)
}

fn reason(text: Cow<'_, str>) -> Cow<'static, str> {
    match Failure::parse(&text) {
        Some(failure) => Cow::Borrowed(failure.as_str()),
        None => Cow::Owned(text.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_series() -> impl Strategy<Value = Series> {
        let outcome = prop_oneof![
            4 => any::<u64>().prop_map(|nanos| Outcome::Ok(Duration::from_nanos(nanos))),
            1 => Just(Outcome::Failed("timeout".into())),
            1 => "[a-z ]{0,9}".prop_map(|reason| Outcome::Failed(reason.into())),
        ];
        let sample = (any::<u64>(), outcome, prop::collection::btree_map(0..Phase::ALL.len(), 0..u64::MAX - 1, 0..3));
        let tags = prop::collection::btree_map("\\PC{0,5}", "\\PC{0,5}", 0..3);
        let deadline = prop::option::of(any::<u64>().prop_map(Duration::from_nanos));
        (".{0,5}", tags, deadline, any::<u64>(), prop::collection::vec(sample, 0..20)).prop_map(
            |(region, tags, deadline, missed, samples)| {
                let mut series = Series::new(region, tags, deadline);
                series.missed = missed;
                for (at, outcome, phases) in samples {
                    let phases = phases.into_iter().map(|(n, nanos)| (Phase::ALL[n], Duration::from_nanos(nanos)));
                    series.push_phases(Sample { at: Duration::from_nanos(at), outcome }, phases);
                }
                series
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_saved_is_read_as_itself(series in prop::collection::vec(a_series(), 0..4), ms in 0..1_u64 << 40) {
            let began = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
            let results = Results { began, duration: Duration::from_nanos(ms), source: "x".to_owned(), series, dropped: Some(ms) };
            let read = read_saved(saved_text(&results).as_bytes()).unwrap();
            prop_assert_eq!(saved_text(&read), saved_text(&results));
            for (one, other) in read.series.iter().zip(&results.series) {
                prop_assert_eq!(one.samples(), other.samples());
                prop_assert_eq!((&one.region, &one.tags, one.deadline), (&other.region, &other.tags, other.deadline));
            }
        }
    }

    #[test]
    fn a_broken_file_is_an_error_with_its_reason() {
        let whole = saved_text(&Results {
            began: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            source: String::new(),
            series: vec![Series::new("us", BTreeMap::new(), None)],
            dropped: None,
        });
        let error = |from: &str, to: &str| read_saved(whole.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert_eq!(error("regionwatch_results", "other"), "is not a file that --save wrote; name one");
        assert!(error("\"regionwatch_results\":1", "\"regionwatch_results\":2").starts_with("has format 2, and"));
        assert!(error("}]}", "}]").starts_with("is broken: EOF"));
        assert!(error("\"at_ns\":[]", "\"at_ns\":[1]").contains("series 0 (\"us\") has columns of different lengths"));
        assert!(error("\"missed\":0", "\"missed\":-1").starts_with("is broken: invalid value"));
    }
}
