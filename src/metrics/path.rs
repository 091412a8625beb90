//! The series of one path.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    config::{DnsTransport, ProbeConfig, ProbeSpec},
    model::{Failure, Host, Kind, Path, Phase, Region, Timings},
    probe,
};

/// The results and phases that a path can have: those stand on the page from the start, at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) results: u16,
    pub(super) phases: u16,
    pub(super) late: bool,
    pub(super) duplicates: bool,
    pub(super) retransmits: bool,
}

impl Shape {
    pub(super) fn of(probe: &ProbeConfig) -> Self {
        use Failure::{Auth, Local, Mismatch, Protocol, Refused, Resolve, Status, Timeout, Tls, Unreachable};
        let mut results = vec![Timeout, Unreachable, Local];
        let mut phases = Vec::new();
        match &probe.spec {
            ProbeSpec::Icmp(_) => phases.push(Phase::Rtt),
            ProbeSpec::Dns(spec) => {
                results.extend([Refused, Protocol, Status]);
                phases.push(Phase::Request);
                if !spec.answers.is_empty() {
                    results.push(Mismatch);
                }
                if spec.transport != DnsTransport::Udp || spec.retry_over_tcp {
                    phases.push(Phase::Connect);
                }
                if matches!(spec.transport, DnsTransport::Tls(_) | DnsTransport::Https { .. }) {
                    results.push(Tls);
                    phases.push(Phase::Tls);
                }
            }
            ProbeSpec::Tcp(spec) => {
                results.push(Refused);
                phases.push(Phase::Connect);
                if spec.tls.is_some() {
                    results.push(Tls);
                    phases.push(Phase::Tls);
                }
                if spec.expect.is_some() {
                    results.push(Mismatch);
                }
            }
            ProbeSpec::Http(spec) => {
                results.extend([Refused, Protocol, Status, Auth]);
                phases.extend([Phase::Connect, Phase::Processing, Phase::Transfer]);
                if spec.url.https {
                    results.push(Tls);
                    phases.push(Phase::Tls);
                }
                if spec.expect_body.is_some() || !spec.expect_headers.is_empty() {
                    results.push(Mismatch);
                }
            }
        }
        if matches!(probe.host, Host::Name(_)) {
            results.push(Resolve);
            phases.push(Phase::Resolve);
        }
        let kind = probe.kind();
        Self {
            // Bit 0 is the result ok.
            results: results.iter().fold(1, |set, result| set | 2 << *result as u16),
            phases: phases.iter().fold(0, |set, phase| set | 1 << *phase as u16),
            late: kind != probe::HTTP && kind != probe::SIDECAR,
            duplicates: kind == probe::ICMP,
            retransmits: phases.contains(&Phase::Connect),
        }
    }

    /// How many series a path of this shape makes, once it has succeeded one time.
    pub(super) fn series(self, buckets: usize) -> usize {
        let histogram = buckets + 3;
        let gauges = 2 + usize::from(self.duplicates) + usize::from(self.phases & 1 << Phase::Tls as u16 != 0);
        let counters = 1 + usize::from(self.late) + usize::from(self.duplicates) + usize::from(self.retransmits);
        let results = self.results.count_ones() as usize;
        let phases = 2 * self.phases.count_ones() as usize;
        histogram + gauges + counters + results + phases
    }
}

/// No value yet, in a gauge that is absent until it has one.
pub(super) const ABSENT: u64 = u64::MAX;

/// The series of one path. Written by the recorder alone, read by scrapes; nothing waits.
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

    /// Whether a probe that is configured so has exactly these series.
    pub fn fits(&self, probe: &ProbeConfig) -> bool {
        self.shape == Shape::of(probe)
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
