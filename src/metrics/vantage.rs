//! The series that an instance has once.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::{
    samples::{InstanceLabels, Samples, Series},
    value::{Counter, Gauge, Histogram, bounds},
};
use crate::model::StampSource;

/// Upper bounds of the start delay, in seconds: timers have a resolution of 1 ms, a throttle period is 100 ms.
const START_DELAY_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// The series that an instance has once.
#[derive(Debug)]
pub struct VantageSeries {
    labels: Box<str>,
    pub(super) start_delay: Histogram,
    pub(super) clock_steps: Counter,
    pub(super) reload_successful: Gauge,
    pub(super) reload_timestamp: Gauge,
    pub(super) isolated: Gauge,
    pub(super) health_score: Gauge,
    pub(super) vantages: Gauge,
    /// The index of the last one, or [`usize::MAX`].
    source: AtomicUsize,
}

impl Series for VantageSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl VantageSeries {
    pub(super) fn new(instance: &InstanceLabels) -> Self {
        Self {
            labels: instance.to_string().into(),
            start_delay: Histogram::new(bounds(&START_DELAY_BUCKETS)),
            clock_steps: Counter::default(),
            reload_successful: Gauge::new(0.0),
            reload_timestamp: Gauge::new(0.0),
            isolated: Gauge::new(0.0),
            health_score: Gauge::new(0.0),
            vantages: Gauge::new(1.0),
            source: AtomicUsize::new(usize::MAX),
        }
    }

    /// Sets whether this vantage is isolated, and its health score.
    pub fn set_health(&self, isolated: bool, score: u8) {
        self.isolated.set(f64::from(u8::from(isolated)));
        self.health_score.set(f64::from(score));
    }

    /// Sets how many vantages' votes count, with this one's.
    pub fn set_vantages(&self, count: usize) {
        self.vantages.set(count as f64);
    }

    /// Observes how much later than scheduled a probe started.
    pub fn observe_start_delay(&self, delay: Duration) {
        self.start_delay.observe(delay);
    }

    /// Counts a probe that was discarded because the clock was set.
    pub fn count_clock_step(&self) {
        self.clock_steps.add(1);
    }

    /// Sets the clock of the last successful probe.
    pub fn set_timestamp_source(&self, source: StampSource) {
        self.source.store(source as usize, Ordering::Relaxed);
    }

    /// Records that a configuration was loaded, at this time since 1970.
    pub fn config_loaded(&self, at: Duration) {
        self.reload_successful.set(1.0);
        self.reload_timestamp.set(at.as_secs_f64());
    }

    /// Records that a configuration was rejected.
    pub fn config_rejected(&self) {
        self.reload_successful.set(0.0);
    }

    pub(super) fn write_build(&self, out: &mut Samples<'_>) {
        let revision = option_env!("REGIONWATCH_REVISION").unwrap_or("unknown");
        out.put_with(&[("version", env!("CARGO_PKG_VERSION")), ("revision", revision)], 1);
    }

    pub(super) fn write_source(&self, out: &mut Samples<'_>) {
        let last = self.source.load(Ordering::Relaxed);
        out.each("source", |source: StampSource| source as usize == last);
    }
}
