//! A run against a baseline: did a region get slower, or fail more often?
//!
//! A regression needs both: an effect that matters and an interval that excludes chance. The latency is compared by the
//! Hodges-Lehmann shift of its logarithm, so that the effect is a ratio, and failures count with their deadline. The
//! failure rate is compared by Newcombe's interval for the difference of two rates. Both allow for autocorrelation.
//!
//! All series of a comparison together raise a false alarm in at most [`FALSE_ALARMS`] of runs that did not change: the
//! share is divided by the number of tests (Bonferroni).

mod shift;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, time::Duration};

use self::shift::{Prepared, Shift, normal_quantile, shift};
use super::{
    Outcome, Results, Series,
    results::is_local,
    verdict::{Check, Verdict},
};

/// In how many comparisons of equal runs a regression may be reported.
const FALSE_ALARMS: f64 = 0.01;

/// A change of a latency by less is that of the machine.
const LEAST_CHANGE: Duration = Duration::from_micros(100);

/// The smallest change of the failure rate that matters.
const FAILURE_EFFECT: f64 = 0.01;

/// A run passes only if its failure rate would be seen to be higher by this much, as a share. Smaller samples say nothing.
const FAILURE_BOUND: f64 = 0.1;

/// How often a rise by [`FAILURE_BOUND`] may be missed.
const MISSED: f64 = 0.05;

/// The independent samples from which on an interval can be made at all.
const FEWEST: f64 = 30.0;

/// Compares a run with its baseline; `effect` is the smallest change of a latency that matters, as a share.
///
/// # Errors
/// If no series is in both: without a comparison, every later run would pass too.
pub(super) fn compare(old: &Results, new: &Results, effect: f64) -> Result<Vec<Check>, String> {
    let (old, new) = (&common(&old.series, &new.series), &common(&new.series, &old.series));
    let pairs: Vec<_> =
        new.iter().filter_map(|series| Some((old.iter().find(|other| is_same(other, series))?, series))).collect();
    if pairs.is_empty() {
        let names = |series: &[Cow<'_, Series>]| {
            let more = if series.len() > SHOWN { ", ..." } else { "" };
            let shown: Vec<_> = series.iter().take(SHOWN).map(|series| name(series)).collect();
            format!("{}{more}", shown.join(", "))
        };
        return Err(format!(
            "--baseline: nothing of it was measured now: it has {}, and this run has {}; save a new one with --save",
            names(old),
            names(new)
        ));
    }
    // Two tests for each pair.
    let tail = FALSE_ALARMS / 2.0 / pairs.len().max(1) as f64;
    let compared = pairs.iter().flat_map(|(old, new)| [latency(old, new, effect, tail), failures(old, new, tail)]);
    let unmatched = |these: &[Cow<'_, Series>], others: &[Cow<'_, Series>], reason: &str| -> Vec<_> {
        let alone = these.iter().filter(|series| !others.iter().any(|other| is_same(other, series)));
        alone.map(|series| check(series, "same series", Verdict::Inconclusive, reason.to_owned())).collect()
    };
    let added = unmatched(new, old, "is not in the baseline; save a new one with --save");
    let gone = unmatched(old, new, "is in the baseline and was not measured");
    Ok(compared.chain(added).chain(gone).collect())
}

/// How many series an error names.
const SHOWN: usize = 10;

/// The series without the tags that the others do not know, such as one that a threshold asked for. Those that are the same
/// without them are one. How a region was probed is never left out.
fn common<'a>(series: &'a [Series], others: &[Series]) -> Vec<Cow<'a, Series>> {
    let is_known = |tag: &str| tag == "probe" || others.iter().any(|other| other.tags.contains_key(tag));
    if series.iter().all(|one| one.tags.keys().all(|tag| is_known(tag))) {
        return series.iter().map(Cow::Borrowed).collect();
    }
    let mut merged: Vec<Cow<'a, Series>> = Vec::new();
    for one in series {
        let mut tags = one.tags.clone();
        tags.retain(|tag, _| is_known(tag));
        match merged.iter_mut().find(|other| other.region == one.region && other.tags == tags) {
            Some(same) => same.to_mut().merge(one),
            None => {
                let mut owned = one.clone();
                owned.tags = tags;
                merged.push(Cow::Owned(owned));
            }
        }
    }
    merged
}

fn is_same(one: &Series, other: &Series) -> bool {
    one.region == other.region && one.tags == other.tags
}

/// The series as the selector of a threshold.
fn name(series: &Series) -> String {
    let tags = series.tags.iter().map(|(name, value)| format!(",{name}={value:?}"));
    format!("{{peer_region={:?}{}}}", series.region, tags.collect::<String>())
}

fn check(series: &Series, criterion: &str, verdict: Verdict, reason: String) -> Check {
    Check { subject: name(series), criterion: criterion.to_owned(), verdict, reason }
}

/// The samples that say something about the region: latencies in nanoseconds, `None` for a failure.
fn counted(series: &Series) -> Vec<Option<f64>> {
    let samples = series.samples().iter().filter_map(|sample| match &sample.outcome {
        Outcome::Ok(latency) => Some(Some((latency.as_nanos() as f64).max(1.0))),
        Outcome::Failed(reason) if is_local(reason) => None,
        Outcome::Failed(_) => Some(None),
    });
    samples.collect()
}

fn latency(old: &Series, new: &Series, effect: f64, tail: f64) -> Check {
    let criterion = format!("latency not {} slower (Hodges-Lehmann shift)", percent(effect));
    let (before, after) = (counted(old), counted(new));
    let deadline = [old.deadline, new.deadline].into_iter().flatten().max().unwrap_or_default().as_nanos() as f64;
    let ceiling = before.iter().chain(&after).flatten().fold(deadline.max(1.0), |most, latency| latency.max(most));
    let logs =
        |samples: &[Option<f64>]| -> Vec<f64> { samples.iter().map(|sample| sample.unwrap_or(ceiling).ln()).collect() };
    let (before, after) = (Prepared::new(&logs(&before)), Prepared::new(&logs(&after)));
    let counts = format!("{} against {} samples", after.count(), before.count());
    let Some(shift) = shift(&before, &after, tail) else {
        let each = [&before, &after].map(|side| FEWEST * side.count() as f64 / side.independent().max(1.0));
        let needed = each[0].max(each[1]).max(FEWEST).ceil();
        let reason = format!("{counts} are too few; about {needed} samples on each side would tell");
        return check(new, &criterion, Verdict::Inconclusive, reason);
    };
    let (verdict, target) = judge_latency(&shift, effect, before.median().exp());
    let needed = target.map(|target| needed(&shift, target, before.count().min(after.count())));
    let reason = format!(
        "{} ({} to {}, {} interval), {counts}{}",
        change(shift.value),
        change(shift.low),
        change(shift.high),
        percent(1.0 - 2.0 * tail),
        needed.unwrap_or_default()
    );
    check(new, &criterion, verdict, reason)
}

/// The verdict, and how wide the interval may be for one, if the samples cannot tell.
fn judge_latency(shift: &Shift, effect: f64, before: f64) -> (Verdict, Option<f64>) {
    let matters = effect.ln_1p();
    let is_large = shift.value >= matters && shift.value.exp_m1() * before >= LEAST_CHANGE.as_nanos() as f64;
    match is_large {
        true if shift.low > 0.0 => (Verdict::Fail, None),
        true => (Verdict::Inconclusive, Some(shift.value)),
        // Twice the effect would not be seen.
        false if shift.half_width() > (2.0 * effect).ln_1p() => (Verdict::Inconclusive, Some((2.0 * effect).ln_1p())),
        false => (Verdict::Pass, None),
    }
}

fn needed(shift: &Shift, target: f64, samples: usize) -> String {
    let needed = samples as f64 * (shift.half_width() / target).powi(2);
    format!("; about {:.0} samples on each side would tell", needed.max(samples as f64 + 1.0).min(1e9).ceil())
}

fn failures(old: &Series, new: &Series, tail: f64) -> Check {
    let criterion = format!("failure rate not {} higher (Newcombe interval)", percent(FAILURE_EFFECT));
    let side = |series: &Series| {
        let failed: Vec<_> = counted(series).iter().map(|sample| f64::from(u8::from(sample.is_none()))).collect();
        let independent = Prepared::new(&failed).independent();
        (!failed.is_empty()).then(|| (failed.iter().sum::<f64>() / failed.len() as f64, independent, failed.len()))
    };
    let (Some((before, before_count, _)), Some((after, after_count, samples))) = (side(old), side(new)) else {
        return check(new, &criterion, Verdict::Inconclusive, "no sample".to_owned());
    };
    let difference = after - before;
    // How far the true difference may lie below and above.
    let below = newcombe((before, before_count), (after, after_count), tail);
    let above = newcombe((after, after_count), (before, before_count), MISSED);
    let reason = format!("{} after {}", percent(after), percent(before));
    let too_few = |reason: String, factor: f64| {
        let needed = (samples as f64 * factor.powi(2)).ceil();
        (Verdict::Inconclusive, format!("{reason}; about {needed:.0} samples on each side would tell"))
    };
    let (verdict, reason) = match () {
        () if difference >= FAILURE_EFFECT && difference > below => (Verdict::Fail, reason),
        () if difference >= FAILURE_EFFECT => too_few(format!("{reason}, which chance explains"), below / difference),
        () if difference + above > FAILURE_BOUND => {
            let bound = percent(FAILURE_BOUND);
            too_few(format!("{reason}, and {bound} more would not be seen"), above / (FAILURE_BOUND - difference))
        }
        () => (Verdict::Pass, reason),
    };
    check(new, &criterion, verdict, reason)
}

/// By how much more than measured one rate may lie above another, by Newcombe's interval that leaves out `tail`.
fn newcombe((one, one_count): (f64, f64), (other, other_count): (f64, f64), tail: f64) -> f64 {
    let z = normal_quantile(tail);
    let (_, one_high) = wilson(one, one_count, z);
    let (other_low, _) = wilson(other, other_count, z);
    (other - other_low).hypot(one_high - one)
}

/// Wilson's interval of a rate.
fn wilson(rate: f64, count: f64, z: f64) -> (f64, f64) {
    let square = z * z;
    let center = (rate + square / (2.0 * count)) / (1.0 + square / count);
    let half = z / (1.0 + square / count) * (rate * (1.0 - rate) / count + square / (4.0 * count * count)).sqrt();
    ((center - half).clamp(0.0, rate), (center + half).clamp(rate, 1.0))
}

/// A change of a logarithm as people say it.
fn change(log: f64) -> String {
    let share = log.exp_m1();
    format!("{} {}", percent(share.abs()), if share < 0.0 { "faster" } else { "slower" })
}

/// A share as a percentage with at most four digits.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}
