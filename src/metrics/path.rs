//! The series of one path.

use std::sync::Arc;

use super::{
    samples::{InstanceLabels, Samples, Series},
    value::{Bound, Counter, Gauge, Histogram, seconds},
};
use crate::model::{CertificateDates, Failure, Kind, Path, Phase, Shape, Timings};

/// The series of one path.
#[derive(Debug)]
pub struct PathSeries {
    labels: Box<str>,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    pub(super) duration: Histogram,
    succeeded: Counter,
    failed: [Counter; Failure::ALL.len()],
    phase_counts: [Counter; Phase::ALL.len()],
    phase_nanos: [Counter; Phase::ALL.len()],
    pub(super) success: Gauge,
    pub(super) last_success: Gauge,
    pub(super) late: Counter,
    pub(super) duplicates: Counter,
    pub(super) retransmits: Counter,
    pub(super) slots_missed: Counter,
    hop_limit: Gauge,
    certificate_not_before: Gauge,
    certificate_expiry: Gauge,
    issuers_expiry: Gauge,
}

impl Series for PathSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl PathSeries {
    pub(super) fn new(instance: &InstanceLabels, path: &Path, shape: Shape, bounds: Arc<[Bound]>) -> Self {
        let Path { peer, target, kind } = path;
        let labels = format!("{instance},peer_region=\"{peer}\",target=\"{target}\",probe=\"{kind}\"");
        Self {
            labels: labels.into(),
            kind: *kind,
            shape,
            duration: Histogram::new(bounds),
            succeeded: Counter::default(),
            failed: Default::default(),
            phase_counts: Default::default(),
            phase_nanos: Default::default(),
            success: Gauge::default(),
            last_success: Gauge::default(),
            late: Counter::default(),
            duplicates: Counter::default(),
            retransmits: Counter::default(),
            slots_missed: Counter::default(),
            hop_limit: Gauge::default(),
            certificate_not_before: Gauge::default(),
            certificate_expiry: Gauge::default(),
            issuers_expiry: Gauge::default(),
        }
    }

    /// Whether a path of this shape has exactly these series.
    pub fn fits(&self, shape: Shape) -> bool {
        self.shape == shape
    }

    /// Records a successful probe that began at `sent_at`, in nanoseconds since 1970.
    pub fn record_success(&self, timings: &Timings, sent_at: u64) {
        // A page reads these two the other way round.
        self.succeeded.add(1);
        self.duration.observe(timings.total);
        for (phase, duration) in timings.phases.iter() {
            self.phase_counts[phase as usize].add(1);
            self.phase_nanos[phase as usize].add(duration.as_nanos() as u64);
        }
        self.retransmits.add(timings.syn_retransmits.into());
        if let Some(hops) = timings.hop_limit {
            self.hop_limit.set(f64::from(hops));
        }
        self.success.set(1.0);
        // Milliseconds: a double cannot hold nanoseconds since 1970.
        self.last_success.set((sent_at / 1_000_000) as f64 / 1e3);
    }

    /// Sets when the certificates are valid that the peer has shown last.
    pub fn set_certificate(&self, dates: CertificateDates) {
        let CertificateDates { not_before, not_after, issuers_not_after } = dates;
        self.certificate_not_before.set(not_before as f64);
        self.certificate_expiry.set(not_after as f64);
        self.issuers_expiry.set(issuers_not_after.map_or(f64::NAN, |at| at as f64));
    }

    /// Records a failed probe. It has no latency.
    pub fn record_failure(&self, failure: Failure) {
        self.failed[failure as usize].add(1);
        self.success.set(0.0);
    }

    /// Adds answers that came after their deadlines.
    pub fn add_late(&self, count: u32) {
        self.late.add(count.into());
    }

    /// Adds duplicate replies.
    pub fn add_duplicates(&self, count: u32) {
        self.duplicates.add(count.into());
    }

    /// Adds scheduled starts at which no probe started.
    pub fn add_missed_slots(&self, count: u64) {
        self.slots_missed.add(count);
    }

    pub(super) fn write_results(&self, out: &mut Samples<'_>) {
        out.put_with(&[("result", "ok")], self.succeeded.get());
        for failure in Failure::ALL {
            let count = self.failed[failure as usize].get();
            // A result that should not be possible is shown all the same once it has happened.
            if count > 0 || self.shape.results.contains(failure) {
                out.put_with(&[("result", failure.as_str())], count);
            }
        }
    }

    pub(super) fn write_phases(&self, out: &mut Samples<'_>) {
        for phase in Phase::ALL {
            let count = self.phase_counts[phase as usize].get();
            if count > 0 || self.shape.phases.contains(phase) {
                out.summary(&[("phase", phase.as_str())], seconds(&self.phase_nanos[phase as usize]), count);
            }
        }
    }

    pub(super) fn write_hop_limit(&self, out: &mut Samples<'_>) {
        if self.shape.phases.contains(Phase::Rtt) {
            out.gauge(&self.hop_limit);
        }
    }

    pub(super) fn write_certificate_not_before(&self, out: &mut Samples<'_>) {
        if self.shape.phases.contains(Phase::Tls) {
            out.gauge(&self.certificate_not_before);
        }
    }

    pub(super) fn write_issuers_expiry(&self, out: &mut Samples<'_>) {
        if self.shape.phases.contains(Phase::Tls) {
            out.gauge(&self.issuers_expiry);
        }
    }

    pub(super) fn write_certificate_expiry(&self, out: &mut Samples<'_>) {
        if self.shape.phases.contains(Phase::Tls) {
            out.gauge(&self.certificate_expiry);
        }
    }
}
