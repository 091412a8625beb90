//! The series of one path.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::model::{Failure, Kind, Path, Phase, Region, Shape, Timings};

/// How many series a path of this shape has, once it has succeeded one time.
pub(super) fn series(shape: Shape, buckets: usize) -> usize {
    let histogram = buckets + 3;
    let gauges = 2 + usize::from(shape.duplicates) + usize::from(shape.phases.contains(Phase::Tls));
    let counters = 1 + [shape.late, shape.duplicates, shape.retransmits()].map(usize::from).iter().sum::<usize>();
    // One result more is `ok`.
    histogram + gauges + counters + 1 + shape.results.len() + 2 * shape.phases.len()
}

/// No value yet, in a gauge that is absent until it has one.
pub(super) const ABSENT: u64 = u64::MAX;

/// The series of one path. Written by the engine alone, read by scrapes; nothing waits.
#[derive(Debug)]
pub struct PathSeries {
    /// `vantage_region="..",peer_region="..",target="..",probe=".."`, rendered once.
    pub(super) labels: Box<str>,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    pub(super) bounds: Arc<[Bound]>,
    /// Not cumulative; the last is +Inf.
    pub(super) buckets: Box<[AtomicU64]>,
    pub(super) sum_nanos: AtomicU64,
    pub(super) results: [AtomicU64; Failure::ALL.len() + 1],
    pub(super) phase_counts: [AtomicU64; Phase::ALL.len()],
    pub(super) phase_nanos: [AtomicU64; Phase::ALL.len()],
    pub(super) success: AtomicU64,
    pub(super) last_success_nanos: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) duplicates: AtomicU64,
    pub(super) retransmits: AtomicU64,
    pub(super) slots_missed: AtomicU64,
    pub(super) hop_limit: AtomicU64,
    pub(super) certificate_expiry: AtomicI64,
}

/// An upper bound of a bucket, and how it is written.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) nanos: u64,
    pub(super) text: String,
}

pub(super) fn bounds(seconds: &[f64]) -> Arc<[Bound]> {
    let bound = |seconds: &f64| Bound {
        nanos: Duration::from_secs_f64(*seconds).as_nanos() as u64,
        text: format!("{seconds}"),
    };
    seconds.iter().map(bound).collect()
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(super) fn zeros<const N: usize>() -> [AtomicU64; N] {
    [const { AtomicU64::new(0) }; N]
}

impl PathSeries {
    pub(super) fn new(vantage: &Region, path: &Path, shape: Shape, bounds: Arc<[Bound]>) -> Self {
        let labels = format!(
            "vantage_region=\"{vantage}\",peer_region=\"{}\",target=\"{}\",probe=\"{}\"",
            path.peer, path.target, path.kind
        );
        Self {
            labels: labels.into(),
            kind: path.kind,
            shape,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            bounds,
            sum_nanos: AtomicU64::new(0),
            results: zeros(),
            phase_counts: zeros(),
            phase_nanos: zeros(),
            success: AtomicU64::new(ABSENT),
            last_success_nanos: AtomicU64::new(ABSENT),
            late: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            retransmits: AtomicU64::new(0),
            slots_missed: AtomicU64::new(0),
            hop_limit: AtomicU64::new(ABSENT),
            certificate_expiry: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether a path of this shape has exactly these series.
    pub fn fits(&self, shape: Shape) -> bool {
        self.shape == shape
    }

    /// A probe that began at `sent_at` (nanoseconds since 1970) succeeded.
    pub fn succeeded(&self, timings: &Timings, sent_at: u64) {
        let nanos = u64::try_from(timings.total.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| bound.nanos < nanos);
        add(&self.buckets[bucket], 1);
        add(&self.sum_nanos, nanos);
        add(&self.results[0], 1);
        for (phase, duration) in timings.phases.iter() {
            add(&self.phase_counts[phase as usize], 1);
            add(&self.phase_nanos[phase as usize], duration.as_nanos() as u64);
        }
        add(&self.retransmits, timings.syn_retransmits.into());
        if let Some(hops) = timings.hop_limit {
            self.hop_limit.store(hops.into(), Ordering::Relaxed);
        }
        if let Some(expiry) = timings.certificate_expiry {
            self.certificate_expiry.store(expiry, Ordering::Relaxed);
        }
        self.success.store(1, Ordering::Relaxed);
        self.last_success_nanos.store(sent_at, Ordering::Relaxed);
    }

    /// A probe failed. It has no latency.
    pub fn failed(&self, failure: Failure) {
        add(&self.results[1 + failure as usize], 1);
        self.success.store(0, Ordering::Relaxed);
    }

    /// Answers came after their deadlines.
    pub fn came_late(&self, count: u32) {
        add(&self.late, count.into());
    }

    /// Replies came more than once.
    pub fn came_twice(&self, count: u32) {
        add(&self.duplicates, count.into());
    }

    /// Slots passed without a probe.
    pub fn missed_slots(&self, count: u64) {
        add(&self.slots_missed, count);
    }
}
