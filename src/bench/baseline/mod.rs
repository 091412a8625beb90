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

use std::time::Duration;

use self::shift::{Prepared, Shift, shift};
pub(crate) use self::shift::{normal_quantile, student_quantile};
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

/// The independent samples from which on an interval can be made at all.
const FEWEST: f64 = 30.0;

/// Compares a run with its baseline; `effect` is the smallest change of a latency that matters, as a share.
pub(super) fn compare(old: &Results, new: &Results, effect: f64) -> Vec<Check> {
    let pairs: Vec<_> = new
        .series
        .iter()
        .filter_map(|series| Some((old.series.iter().find(|other| is_same(other, series))?, series)))
        .collect();
    // Two tests for each pair.
    let tail = FALSE_ALARMS / 2.0 / pairs.len().max(1) as f64;
    let compared = pairs.iter().flat_map(|(old, new)| [latency(old, new, effect, tail), failures(old, new, tail)]);
    let unmatched = |these: &[Series], others: &[Series], reason: &str| -> Vec<_> {
        let alone = these.iter().filter(|series| !others.iter().any(|other| is_same(other, series)));
        alone.map(|series| check(series, "same series", Verdict::Inconclusive, reason.to_owned())).collect()
    };
    let added = unmatched(&new.series, &old.series, "is not in the baseline; save a new one with --save");
    let gone = unmatched(&old.series, &new.series, "is in the baseline and was not measured");
    compared.chain(added).chain(gone).collect()
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
    let z = normal_quantile(tail);
    let (_, before_high) = wilson(before, before_count, z);
    let (after_low, _) = wilson(after, after_count, z);
    let difference = after - before;
    let reach = (after - after_low).hypot(before_high - before);
    let is_large = difference >= FAILURE_EFFECT;
    let verdict = match () {
        () if is_large && difference > reach => Verdict::Fail,
        () if is_large => Verdict::Inconclusive,
        () => Verdict::Pass,
    };
    let mut reason = format!("{} after {}", percent(after), percent(before));
    if verdict == Verdict::Inconclusive {
        let needed = (samples as f64 * (reach / difference).powi(2)).ceil();
        reason += &format!(", which chance explains; about {needed:.0} samples on each side would tell");
    }
    check(new, &criterion, verdict, reason)
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
