//! Counters, gauges and histograms. One task writes them, scrapes read them, and none waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A number that only grows. Who reads one and then another, which was added to first, finds the second not behind.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Release);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A number that goes up and down, or none.
#[derive(Debug)]
pub(super) struct Gauge(AtomicU64);

impl Default for Gauge {
    /// Without a number.
    fn default() -> Self {
        Self::new(f64::NAN)
    }
}

impl Gauge {
    pub(super) const fn new(value: f64) -> Self {
        Self(AtomicU64::new(value.to_bits()))
    }

    pub(super) fn set(&self, value: impl Into<Option<f64>>) {
        self.0.store(value.into().unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Ordering::Relaxed))).filter(|value| !value.is_nan())
    }
}

/// An upper bound of a bucket, and its label as the page has it, such as `,le="0.01"`.
#[derive(Debug)]
pub(super) struct Bound {
    nanos: u64,
    label: Box<str>,
}

/// The upper bounds of these many seconds, in ascending order.
pub(super) fn bounds(seconds: &[f64]) -> Arc<[Bound]> {
    let bound = |seconds: &f64| Bound {
        nanos: Duration::from_secs_f64(*seconds).as_nanos() as u64,
        label: format!(",le=\"{seconds}\"").into(),
    };
    seconds.iter().map(bound).collect()
}

/// How often durations were in which range, and their sum.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Arc<[Bound]>,
    /// Not cumulative; the last is +Inf.
    buckets: Box<[Counter]>,
    sum_nanos: Counter,
}

impl Histogram {
    pub(super) fn new(bounds: Arc<[Bound]>) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Counter::default()).collect();
        Self { bounds, buckets, sum_nanos: Counter::default() }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[self.bounds.partition_point(|bound| bound.nanos < nanos)].add(1);
        self.sum_nanos.add(nanos);
    }

    /// The labels of the upper bounds, each with the number of durations up to it.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&str, u64)> {
        let bounds = self.bounds.iter().map(|bound| &*bound.label).chain([",le=\"+Inf\""]);
        bounds.zip(self.buckets.iter().scan(0, |count, bucket| {
            *count += bucket.get();
            Some(*count)
        }))
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        seconds(&self.sum_nanos)
    }
}

/// The seconds of a counter of nanoseconds.
pub(super) fn seconds(nanos: &Counter) -> f64 {
    nanos.get() as f64 / 1e9
}
