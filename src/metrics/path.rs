//! The series of one path.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    samples::{InstanceLabels, Samples, Series, escaped},
    value::{Bound, Counter, Gauge, Histogram, seconds},
};
use crate::{
    config::ProbeConfig,
    model::{CertificateDates, Failure, Kind, LabelName, LabelValue, Path, PeerFacts, Phase, Shape, Timings, TlsFacts},
};

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
    http_status: Gauge,
    http_version: Gauge,
    tls: Mutex<Option<ShownTls>>,
    question: Option<Question>,
    /// Those of the target, as a part of `labels`.
    own_labels: Arc<BTreeMap<LabelName, LabelValue>>,
}

/// A peer that shows another certificate in each probe must not make a series of each: the labels change no more often.
const TLS_LABELS_LAST: Duration = Duration::from_secs(60);

/// The session of TLS that is on the page, and since when.
#[derive(Debug)]
struct ShownTls {
    facts: Arc<TlsFacts>,
    since: Instant,
}

/// What DNS is asked for, as the values of two labels.
#[derive(Debug, PartialEq)]
struct Question {
    name: Box<str>,
    record: Box<str>,
}

impl Question {
    fn of(probe: &ProbeConfig) -> Option<Self> {
        let (name, record) = probe.spec.question()?;
        Some(Self { name: escaped(name).as_ref().into(), record: record.into() })
    }
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
            http_status: Gauge::default(),
            http_version: Gauge::default(),
            tls: Mutex::default(),
            question: None,
            own_labels: Arc::default(),
        }
    }

    /// The same, with what the configuration of the probe says of it.
    pub(super) fn describing(self, probe: &ProbeConfig) -> Self {
        let own_labels = Arc::clone(&probe.labels);
        let mut labels = self.labels.into_string();
        for (name, value) in &*own_labels {
            // Writing to a String cannot fail.
            let _ = write!(labels, ",{name}=\"{}\"", escaped(value.as_str()));
        }
        Self { labels: labels.into(), question: Question::of(probe), own_labels, ..self }
    }

    /// Whether a path that is probed so has exactly these series.
    pub fn fits(&self, probe: &ProbeConfig) -> bool {
        self.shape == probe.shape() && self.own_labels == probe.labels && self.question == Question::of(probe)
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

    /// Sets what the peer has shown in a probe. Of its certificates, the last ones stay until others are shown; without an
    /// HTTP response there is no status.
    pub fn set_facts(&self, facts: &PeerFacts, now: Instant) {
        self.http_status.set(facts.http.map(|answer| f64::from(answer.status)));
        self.http_version.set(facts.http.map(|answer| answer.protocol.number()));
        if let Some(dates) = facts.certificate {
            self.set_certificate(dates);
        }
        if let Some(facts) = &facts.tls {
            let mut shown = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |shown: &ShownTls| now.saturating_duration_since(shown.since) >= TLS_LABELS_LAST;
            if shown.as_ref().is_none_or(|shown| shown.facts != *facts && is_due(shown)) {
                *shown = Some(ShownTls { facts: Arc::clone(facts), since: now });
            }
        }
    }

    fn set_certificate(&self, dates: CertificateDates) {
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

    pub(super) fn write_http_status(&self, out: &mut Samples<'_>) {
        if self.shape.http {
            out.gauge(&self.http_status);
        }
    }

    pub(super) fn write_http_version(&self, out: &mut Samples<'_>) {
        if self.shape.http {
            out.gauge(&self.http_version);
        }
    }

    pub(super) fn write_question(&self, out: &mut Samples<'_>) {
        if let Some(Question { name, record }) = &self.question {
            out.put_with(&[("query", name), ("record", record)], true);
        }
    }

    pub(super) fn write_certificate_info(&self, out: &mut Samples<'_>) {
        if !self.shape.phases.contains(Phase::Tls) {
            return;
        }
        if out.counts_only() {
            return out.put(true);
        }
        let shown = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ShownTls { facts, .. }) = &*shown else { return };
        let TlsFacts { version, cipher, issuer, subject, fingerprint } = &**facts;
        let (issuer, subject) = (escaped(issuer), escaped(subject));
        let labels = [
            ("version", version.unwrap_or_default()),
            ("cipher", cipher.unwrap_or_default()),
            ("issuer", &issuer),
            ("subject", &subject),
            ("fingerprint_sha256", fingerprint),
        ];
        // An empty label is none.
        let mut known = labels;
        let mut count = 0;
        for label in labels.into_iter().filter(|(_, value)| !value.is_empty()) {
            known[count] = label;
            count += 1;
        }
        out.put_with(&known[..count], true);
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
