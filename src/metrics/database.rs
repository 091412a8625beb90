//! The series of one server of a database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use super::{
    samples::{InstanceLabels, Samples, Series},
    value::{Bound, Counter, Gauge, Histogram},
};
use crate::{
    model::{Failure, Label, LossBounds, Outcome, Phase, Region, ReplicaState, TargetName},
    replication::Status,
};

/// The series of one server of a database.
#[derive(Debug)]
pub struct DatabaseSeries {
    labels: Box<str>,
    lower: Gauge,
    upper: Gauge,
    state: AtomicU8,
    loss_lower: Gauge,
    loss_upper: Gauge,
    pub(super) rpo: Gauge,
    pub(super) loss_unknown: Gauge,
    pub(super) lost: Gauge,
    pub(super) writable: Gauge,
    pub(super) engine_lag: Gauge,
    pub(super) read: Histogram,
    pub(super) write: Histogram,
    succeeded: Counter,
    failed: [Counter; Failure::ALL.len()],
}

impl Series for DatabaseSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl DatabaseSeries {
    /// The series of a server about which nothing is known but the most that a failover to it may lose.
    pub(super) fn new(
        instance: &InstanceLabels,
        database: &TargetName,
        region: &Region,
        rpo: Duration,
        bounds: &Arc<[Bound]>,
    ) -> Self {
        Self {
            labels: format!("{instance},database=\"{database}\",peer_region=\"{region}\"").into(),
            lower: Gauge::default(),
            upper: Gauge::default(),
            state: AtomicU8::new(ReplicaState::Unknown.index() as u8),
            loss_lower: Gauge::default(),
            loss_upper: Gauge::default(),
            rpo: Gauge::new(rpo.as_secs_f64()),
            loss_unknown: Gauge::default(),
            lost: Gauge::default(),
            writable: Gauge::default(),
            engine_lag: Gauge::default(),
            read: Histogram::new(Arc::clone(bounds)),
            write: Histogram::new(Arc::clone(bounds)),
            succeeded: Counter::default(),
            failed: Default::default(),
        }
    }

    /// Shows what is known of it.
    pub fn show(&self, status: &Status) {
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
        self.lower.set(seconds(status.lag.lower));
        self.upper.set(seconds(status.lag.upper));
        self.state.store(status.state.index() as u8, Ordering::Relaxed);
        self.writable.set(status.writable.map(|writable| f64::from(u8::from(writable))));
        self.engine_lag.set(seconds(status.engine_lag));
    }

    /// Shows what a failover to it would lose: `None` of the primary itself, `Some(None)` where that is unknown.
    pub fn show_loss(&self, loss: Option<Option<LossBounds>>) {
        let bounds = loss.flatten();
        self.loss_lower.set(bounds.map(|bounds| bounds.lower.as_secs_f64()));
        self.loss_upper.set(bounds.map(|bounds| bounds.upper.as_secs_f64()));
        self.loss_unknown.set(f64::from(u8::from(loss == Some(None))));
    }

    /// Shows how many tokens the last promotion of it has lost, if that is known.
    pub fn set_lost(&self, tokens: Option<u64>) {
        self.lost.set(tokens.map(|tokens| tokens as f64));
    }

    /// Counts a probe.
    pub fn record(&self, outcome: &Outcome) {
        match outcome {
            Ok(timings) => {
                self.succeeded.add(1);
                for (phase, duration) in timings.phases.iter() {
                    match phase {
                        Phase::Read => self.read.observe(duration),
                        Phase::Write => self.write.observe(duration),
                        _ => {}
                    }
                }
            }
            Err(failure) => self.failed[*failure as usize].add(1),
        }
    }

    pub(super) fn write_lag(&self, out: &mut Samples<'_>) {
        out.gauge_with(&[("bound", "lower")], &self.lower);
        out.gauge_with(&[("bound", "upper")], &self.upper);
    }

    pub(super) fn write_loss(&self, out: &mut Samples<'_>) {
        out.gauge_with(&[("bound", "lower")], &self.loss_lower);
        out.gauge_with(&[("bound", "upper")], &self.loss_upper);
    }

    pub(super) fn write_state(&self, out: &mut Samples<'_>) {
        let current = usize::from(self.state.load(Ordering::Relaxed));
        out.each("state", |state: ReplicaState| state.index() == current);
    }

    pub(super) fn write_results(&self, out: &mut Samples<'_>) {
        out.put_with(&[("result", "ok")], self.succeeded.get());
        for failure in Failure::ALL {
            out.put_with(&[("result", failure.as_str())], self.failed[failure as usize].get());
        }
    }
}
