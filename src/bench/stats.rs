//! Exact quantiles of raw samples, with intervals that assume nothing about their distribution.
//!
//! A failure is censored: it took at least until its deadline, so it lies above every success. It is never left out, and
//! never a number that could be averaged away. Only a failure of our own host (`local`) says nothing about the region.
//!
//! The interval of a quantile is a pair of order statistics (David & Nagaraja, Order Statistics, 7.1): the number of
//! samples below the true quantile `q` is binomial with `n` and `q`, whatever the distribution is.

use std::{borrow::Borrow, time::Duration};

use super::results::{Outcome, Series, is_local, nanos};
use crate::model::Phase;

/// How often an interval holds the true value.
pub const CONFIDENCE: f64 = 0.95;

/// What an interval leaves out on each side.
const TAIL: f64 = (1.0 - CONFIDENCE) / 2.0;

/// The quantile of the normal distribution that leaves out [`TAIL`].
const Z: f64 = 1.959_963_984_540_054;

/// A latency, exact or censored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// This latency.
    At(Duration),
    /// This latency or more: the value is that of a failure.
    AtLeast(Duration),
}

impl Value {
    /// The latency, which may be more if the value is censored.
    pub const fn least(self) -> Duration {
        match self {
            Self::At(latency) | Self::AtLeast(latency) => latency,
        }
    }

    /// The latency, if it is known.
    pub const fn exact(self) -> Option<Duration> {
        match self {
            Self::At(latency) => Some(latency),
            Self::AtLeast(_) => None,
        }
    }
}

/// A value that was estimated from samples, and the interval that holds the true one with [`CONFIDENCE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The estimate.
    pub value: Value,
    /// The lower end of the interval; zero where there are too few samples for one, and a failure where there are so many.
    pub low: Value,
    /// The upper end of the interval; `None` where there are too few samples for one, or too many failures.
    pub high: Option<Duration>,
}

impl Estimate {
    /// Half the width of the interval, if it has two ends.
    pub fn half_width(&self) -> Option<Duration> {
        self.high.map(|high| high.saturating_sub(self.low.least()) / 2)
    }
}

/// A quantile, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Quantile(f64);

impl Quantile {
    /// The median.
    pub const P50: Self = Self(0.5);
    /// The 95th percentile.
    pub const P95: Self = Self(0.95);
    /// The 99th percentile.
    pub const P99: Self = Self(0.99);

    /// `None` unless it is greater than 0 and less than 1.
    pub fn new(quantile: f64) -> Option<Self> {
        (quantile > 0.0 && quantile < 1.0).then_some(Self(quantile))
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// All samples of some series together, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    /// The latencies of successes in nanoseconds, ascending.
    sorted: Vec<u64>,
    failed: usize,
    /// What a failure took at least.
    deadline: Duration,
}

impl Distribution {
    /// The distribution of all samples of these series.
    pub fn of<S: Borrow<Series>>(series: impl IntoIterator<Item = S>) -> Self {
        Self::of_each(series, |_, _, latency| Some(latency), |_, _| true)
    }

    /// The distribution of a phase of these series. A failure in it or before it never got through it; one of which this is
    /// not known may not have. A failure after it, and a success without it, say nothing.
    pub fn of_phase<S: Borrow<Series>>(series: impl IntoIterator<Item = S>, phase: Phase) -> Self {
        let never_passed = |series: &Series, n| series.failed_in(n).is_none_or(|failed| failed <= phase);
        Self::of_each(series, |series, n, _| series.phase_of(n, phase), never_passed)
    }

    /// `of` says how long a success counts, and `fails` whether a failure does.
    fn of_each<S: Borrow<Series>>(
        series: impl IntoIterator<Item = S>,
        of: impl Fn(&Series, usize, Duration) -> Option<Duration>,
        fails: impl Fn(&Series, usize) -> bool,
    ) -> Self {
        let mut all = Self { deadline: Duration::MAX, ..Self::default() };
        for series in series {
            let series = series.borrow();
            all.deadline = all.deadline.min(series.deadline.unwrap_or_default());
            for (n, sample) in series.samples().iter().enumerate() {
                match &sample.outcome {
                    Outcome::Ok(latency) => all.sorted.extend(of(series, n, *latency).map(nanos)),
                    Outcome::Failed(reason) if is_local(reason) => {}
                    Outcome::Failed(_) => all.failed += usize::from(fails(series, n)),
                }
            }
        }
        all.sorted.sort_unstable();
        all
    }

    /// The distribution of these successes.
    pub fn of_latencies(latencies: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<_> = latencies.into_iter().map(nanos).collect();
        sorted.sort_unstable();
        Self { sorted, ..Self::default() }
    }

    /// The same with so many failures, each of which took at least until this deadline.
    #[must_use]
    pub fn with_failures(self, failed: usize, deadline: Duration) -> Self {
        Self { failed, deadline, ..self }
    }

    /// The distribution of its successes.
    #[must_use]
    pub fn of_successes(&self) -> Self {
        Self { sorted: self.sorted.clone(), ..Self::default() }
    }

    /// How many samples there are, with failures.
    pub const fn count(&self) -> usize {
        self.sorted.len() + self.failed
    }

    /// How many of them failed.
    pub const fn failed(&self) -> usize {
        self.failed
    }

    /// The fraction of them that failed; `None` without a sample.
    pub fn failure_rate(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.failed as f64 / self.count() as f64)
    }

    /// The latencies of successes in nanoseconds, ascending.
    pub fn successes(&self) -> &[u64] {
        &self.sorted
    }

    /// The sample with this rank; 1 is the fastest.
    fn ranked(&self, rank: usize) -> Option<Value> {
        if rank == 0 || rank > self.count() {
            return None;
        }
        Some(match self.sorted.get(rank - 1) {
            Some(nanos) => Value::At(Duration::from_nanos(*nanos)),
            None => Value::AtLeast(self.floor_of_failures()),
        })
    }

    /// A failure is above every success, and took until its deadline.
    fn floor_of_failures(&self) -> Duration {
        let slowest = self.sorted.last().map_or(Duration::ZERO, |nanos| Duration::from_nanos(*nanos));
        self.deadline.max(slowest)
    }

    /// The quantile by the nearest rank: the fastest sample that at least this share of all samples is not slower than.
    /// `None` without a sample.
    pub fn quantile(&self, quantile: Quantile) -> Option<Estimate> {
        let count = self.count();
        // A product such as 0.95 * 20 must not become 19.000000000000004.
        let rank = (quantile.0 * count as f64 - 1e-9).ceil().max(1.0) as usize;
        let value = self.ranked(rank.min(count))?;
        let (low, high) = ranks_of_interval(count, quantile.0);
        let low = self.ranked(low).unwrap_or(Value::At(Duration::ZERO));
        let high = self.ranked(high).and_then(Value::exact);
        Some(Estimate { value, low, high })
    }

    /// The mean, in which a failure counts with its deadline, and the interval of the central limit theorem. `None`
    /// without a sample.
    pub fn mean(&self) -> Option<Estimate> {
        let (count, failure) = (self.count() as f64, nanos(self.floor_of_failures()) as f64);
        if self.count() == 0 {
            return None;
        }
        let all = || self.sorted.iter().map(|nanos| *nanos as f64).chain(std::iter::repeat_n(failure, self.failed));
        let mean = all().sum::<f64>() / count;
        let variance = all().map(|nanos| (nanos - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let half = Z * (variance / count).sqrt();
        let duration = |nanos: f64| Duration::from_nanos(nanos.max(0.0).round() as u64);
        let value = if self.failed == 0 { Value::At(duration(mean)) } else { Value::AtLeast(duration(mean)) };
        let high = (self.failed == 0 && self.count() > 1).then(|| duration(mean + half));
        let low = if self.count() > 1 { duration(mean - half) } else { Duration::ZERO };
        Some(Estimate { value, low: Value::At(low), high })
    }

    /// The fastest sample.
    pub fn min(&self) -> Option<Value> {
        self.ranked(1)
    }

    /// The slowest sample.
    pub fn max(&self) -> Option<Value> {
        self.ranked(self.count())
    }
}

/// The mean difference between the latencies of consecutive successes of a series, as
/// [`Latency::jitter`](crate::window::Latency). `None` if no series has two.
pub fn jitter<S: Borrow<Series>>(series: impl IntoIterator<Item = S>) -> Option<Duration> {
    let (mut sum, mut count) = (Duration::ZERO, 0_u32);
    for series in series {
        let mut last = None;
        for sample in series.borrow().samples() {
            let Outcome::Ok(latency) = sample.outcome else { continue };
            if let Some(last) = last.replace(latency) {
                sum = sum.saturating_add(latency.abs_diff(last));
                count = count.saturating_add(1);
            }
        }
    }
    sum.checked_div(count)
}

/// The interval of a failure rate (Wilson, JASA 22 (1927) 209), which is honest for none of many too: 0 failures of 60 may
/// be a rate of 6%. `None` without a sample.
pub fn failure_rate_interval(failed: usize, count: usize) -> Option<(f64, f64)> {
    if count == 0 {
        return None;
    }
    let (n, rate, square) = (count as f64, failed as f64 / count as f64, Z * Z);
    let center = (rate + square / (2.0 * n)) / (1.0 + square / n);
    let half = Z / (1.0 + square / n) * (rate * (1.0 - rate) / n + square / (4.0 * n * n)).sqrt();
    let low = if failed == 0 { 0.0 } else { (center - half).max(0.0) };
    let high = if failed == count { 1.0 } else { (center + half).min(1.0) };
    Some((low, high))
}

/// From how many samples on the interval of a quantile has two ends.
pub fn samples_for(quantile: Quantile) -> usize {
    let extreme = quantile.0.max(1.0 - quantile.0);
    (TAIL.ln() / extreme.ln()).ceil() as usize
}

/// The ranks of the samples at the ends of the interval of a quantile: 0 is below the first one, and `count + 1` is above
/// the last one.
fn ranks_of_interval(count: usize, quantile: f64) -> (usize, usize) {
    let n = count as f64;
    let deviation = (n * quantile * (1.0 - quantile)).sqrt();
    let mode = ((n + 1.0) * quantile).floor().min(n);
    // What is further away has a probability of less than 1e-20.
    let reach = (10.0 * deviation).ceil() + 20.0;
    let (from, to) = ((mode - reach).max(0.0) as usize, (mode + reach).min(n) as usize);
    let odds = quantile / (1.0 - quantile);
    let mut weights = vec![0.0; to - from + 1];
    let mode = mode as usize - from;
    weights[mode] = 1.0;
    for at in mode + 1..weights.len() {
        let k = (from + at) as f64;
        weights[at] = weights[at - 1] * odds * (n - k + 1.0) / k;
    }
    for at in (0..mode).rev() {
        let k = (from + at) as f64;
        weights[at] = weights[at + 1] * (k + 1.0) / ((n - k) * odds);
    }
    let tail = TAIL * weights.iter().sum::<f64>();
    let below = |weights: &mut dyn Iterator<Item = &f64>| {
        let mut sum = 0.0;
        weights
            .take_while(|weight| {
                sum += **weight;
                sum <= tail
            })
            .count()
    };
    let low = from + below(&mut weights.iter());
    let high = to + 1 - below(&mut weights.iter().rev());
    (low, high)
}

#[cfg(test)]
mod tests;
