//! Verdicts: what a threshold or a comparison with a baseline says about results.

use std::{fmt, time::Duration};

use super::{
    Distribution, Estimate, Outcome, Quantile, Series, Totals, Value, failure_rate_interval, samples_for,
    threshold::{Aggregation, Comparison, Metric, Threshold},
};
use crate::model::{Phase, labels};

labels! {
    /// What a check says.
    pub enum Verdict {
        /// It holds.
        Pass = "pass",
        /// It is broken.
        Fail = "fail",
        /// The samples cannot tell.
        Inconclusive = "inconclusive",
    }
}

/// A threshold or a test against the baseline, with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked: the metric with its tags, or the series.
    pub subject: String,
    /// The criterion: `p(95)<200`, or the name of the test.
    pub criterion: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why: the measured value with its interval, and how many samples would tell.
    pub reason: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}: {}", self.verdict, self.subject, self.criterion, self.reason)
    }
}

/// A number with its interval, in the unit of its threshold. Infinite if it is that of a failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) samples: usize,
    /// The samples from which on the interval has two ends.
    fewest: usize,
    /// Whether it is a share of failures, whose interval is Wilson's.
    is_rate: bool,
}

impl Measured {
    pub(super) fn exact(value: f64, samples: usize) -> Self {
        Self { value, low: value, high: value, samples, fewest: 0, is_rate: false }
    }

    fn verdict(&self, comparison: Comparison, bound: f64) -> Verdict {
        let ends = [self.low, self.high].map(|end| comparison.holds(end, bound));
        let covers = self.low <= bound && bound <= self.high;
        match comparison {
            Comparison::Equal if !covers => Verdict::Fail,
            Comparison::Unequal if !covers => Verdict::Pass,
            Comparison::Equal | Comparison::Unequal if self.low < self.high => Verdict::Inconclusive,
            _ => match ends {
                [true, true] => Verdict::Pass,
                [false, false] => Verdict::Fail,
                _ => Verdict::Inconclusive,
            },
        }
    }

    /// How many samples would probably tell on which side of the bound the value is.
    fn needed(&self, bound: f64) -> Option<u64> {
        if self.samples < self.fewest {
            return Some(self.fewest as u64);
        }
        if self.is_rate {
            let tells = |samples: usize| {
                let failed = (self.value * samples as f64).round() as usize;
                let (low, high) = failure_rate_interval(failed, samples)?;
                Some(high < bound || low > bound)
            };
            let sizes =
                std::iter::successors(Some(self.samples.max(1)), |samples| Some(samples + samples.div_ceil(50)));
            let mut sizes = sizes.take_while(|samples| *samples < 1_000_000_000);
            return sizes.find(|samples| tells(*samples) == Some(true)).map(|samples| samples as u64);
        }
        let distance = (self.value - bound).abs();
        let reach = if self.value < bound { self.high - self.value } else { self.value - self.low };
        let needed = self.samples as f64 * (reach / distance).powi(2);
        // An interval shrinks with the root of the number of samples.
        (needed.is_finite() && needed < 1e9).then_some(needed.ceil() as u64)
    }
}

impl Threshold {
    /// What series that were measured for so long, and requests that were not sent, say of the threshold; `None` if it
    /// selects none of them.
    pub fn check(&self, series: &[Series], duration: Duration, dropped: u64) -> Option<Check> {
        let mut phase = None;
        let selected: Vec<_> = series.iter().filter(|series| self.selects(series, &mut phase)).collect();
        (!selected.is_empty()).then(|| self.judged(self.measure(&selected, phase, duration, dropped), true))
    }

    /// The check of a measured number.
    pub(super) fn judged(&self, measured: Option<Measured>, has_interval: bool) -> Check {
        let (verdict, reason) = match measured {
            None => (Verdict::Inconclusive, "no sample".to_owned()),
            Some(measured) => {
                let verdict = measured.verdict(self.comparison, self.bound);
                (verdict, self.reason(&measured, verdict, has_interval))
            }
        };
        Check { subject: self.selector(), criterion: self.expression(), verdict, reason }
    }

    fn selects(&self, series: &Series, phase: &mut Option<Phase>) -> bool {
        self.tags.iter().all(|(name, wanted)| match (name.as_str(), self.metric) {
            ("peer_region" | "region", _) => series.region == *wanted,
            ("phase", Metric::ProbeDuration) if series.tag("phase").is_none() => {
                *phase = Phase::parse(wanted);
                // If all requests of a file failed, their phases are unknown.
                let is_unknown =
                    || series.tag("probe").is_none() && series.phases().is_empty() && has_no_success(series);
                phase.is_some_and(|phase| series.phases().contains(&phase) || is_unknown())
            }
            _ => series.tag(name) == Some(wanted),
        })
    }

    fn measure(&self, series: &[&Series], phase: Option<Phase>, duration: Duration, dropped: u64) -> Option<Measured> {
        let distribution = match phase {
            None => Distribution::of(series.iter().copied()),
            Some(phase) => Distribution::of_phase(series.iter().copied(), phase),
        };
        let samples = distribution.count();
        let totals = series.iter().fold(Totals::default(), |all, series| all.and(series.totals()));
        let all = usize::try_from(totals.counted()).unwrap_or(usize::MAX);
        let counted = |count: f64| match self.aggregation {
            Aggregation::Rate => {
                let seconds = duration.as_secs_f64();
                (seconds > 0.0).then(|| Measured::exact(count / seconds, all))
            }
            _ => Some(Measured::exact(count, all)),
        };
        // Of the phases of requests that were not kept nothing is known: they may be more, faster and slower.
        let is_drawn = phase.is_some() && series.iter().any(|series| series.drawn_from.is_some());
        let extreme = |is_min: bool| {
            let kept = if is_min { distribution.min() } else { distribution.max() };
            let kept = || kept.map(|kept| Measured::exact(milliseconds(kept), samples));
            match is_drawn {
                true if is_min => Some(Measured { low: 0.0, ..kept()? }),
                true => Some(Measured { high: f64::INFINITY, ..kept()? }),
                false if phase.is_some() => kept(),
                false => extreme_of(&totals, is_min).map(|value| Measured::exact(milliseconds(value), all)),
            }
        };
        match self.metric {
            Metric::Probes => {
                let in_flight = series.iter().map(|series| series.in_flight).fold(0, u64::saturating_add);
                counted(totals.count.saturating_add(in_flight) as f64)
            }
            Metric::SlotsMissed => {
                counted(series.iter().map(|series| series.missed as f64).sum::<f64>() + dropped as f64)
            }
            Metric::ProbeFailed if self.aggregation == Aggregation::Count => counted(totals.failed as f64),
            Metric::ProbeFailed => {
                let failed = usize::try_from(totals.failed).unwrap_or(usize::MAX);
                let (low, high) = failure_rate_interval(failed, all)?;
                Some(Measured { value: failed as f64 / all as f64, low, high, samples: all, fewest: 0, is_rate: true })
            }
            Metric::ProbeDuration => match self.aggregation {
                Aggregation::Min => extreme(true),
                Aggregation::Max => extreme(false),
                Aggregation::Avg => Some(interval(distribution.mean()?, samples, 2, false)),
                Aggregation::Percentile(percentile) => match Quantile::new(percentile.share()) {
                    Some(quantile) => {
                        let fewest = samples_for(quantile);
                        Some(interval(distribution.quantile(quantile)?, samples, fewest, true))
                    }
                    None => extreme(percentile.share() == 0.0),
                },
                Aggregation::Rate | Aggregation::Count if is_drawn => {
                    Some(Measured { high: all as f64, ..Measured::exact(samples as f64, samples) })
                }
                Aggregation::Rate | Aggregation::Count => counted(if phase.is_some() { samples } else { all } as f64),
            },
        }
    }

    fn reason(&self, measured: &Measured, verdict: Verdict, has_interval: bool) -> String {
        let Measured { value, low, high, samples, .. } = *measured;
        let number = |number| self.number(number);
        let mut text = format!("{} = {}", self.aggregation, number(value));
        if low < high {
            text += &format!(", 95% interval {} to {}", number(low), number(high));
        }
        if samples > 0 {
            text += &format!(", {samples} {}", if samples == 1 { "sample" } else { "samples" });
        }
        if !has_interval {
            text += ", no interval because a summary has no samples";
        }
        match measured.needed(self.bound) {
            Some(needed) if verdict == Verdict::Inconclusive => text + &format!("; about {needed} samples would tell"),
            _ => text,
        }
    }

    /// A number with its unit.
    fn number(&self, number: f64) -> String {
        match (self.metric, self.aggregation) {
            (Metric::ProbeDuration, Aggregation::Count) | (_, Aggregation::Count) => format!("{number}"),
            (Metric::ProbeDuration, _) if number.is_infinite() => "no answer".to_owned(),
            (Metric::ProbeDuration, _) => format!("{} ms", rounded(number)),
            (Metric::ProbeFailed, _) => format!("{}%", rounded(number * 100.0)),
            _ => format!("{}/s", rounded(number)),
        }
    }
}

/// The fastest or the slowest sample; `None` without any.
fn extreme_of(totals: &Totals, is_min: bool) -> Option<Value> {
    let found = if is_min { totals.min_ns } else { totals.max_ns };
    match found {
        Some(found) if is_min || totals.failed == 0 => Some(Value::At(Duration::from_nanos(found))),
        _ => (totals.failed > 0).then(|| Value::AtLeast(Duration::from_nanos(totals.max_ns.unwrap_or_default()))),
    }
}

fn has_no_success(series: &Series) -> bool {
    series.samples().iter().all(|sample| matches!(sample.outcome, Outcome::Failed(_)))
}

/// A failure is later than every bound.
fn milliseconds(value: Value) -> f64 {
    value.exact().map_or(f64::INFINITY, |latency| latency.as_secs_f64() * 1e3)
}

/// A quantile is censored if it is a failure; a mean counts a failure as its deadline, so that it is a lower bound.
fn interval(estimate: Estimate, samples: usize, fewest: usize, is_quantile: bool) -> Measured {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let value = if is_quantile { milliseconds(estimate.value) } else { ms(estimate.value.least()) };
    let high = estimate.high.map_or(f64::INFINITY, ms);
    let low = if is_quantile { milliseconds(estimate.low) } else { ms(estimate.low.least()) };
    Measured { value, low, high, samples, fewest, is_rate: false }
}

/// Four significant digits at most.
fn rounded(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let digits = 3 - number.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    let rounded = (number * scale).round() / scale;
    format!("{rounded}")
}

#[cfg(test)]
mod tests;
