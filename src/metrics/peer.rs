//! The series of one peer and one kind of probe, over all targets.

use super::{
    samples::{InstanceLabels, Samples, Series},
    value::Gauge,
};
use crate::{
    model::{Kind, Region},
    window::Summary,
};

/// The series of one peer and one kind of probe, over all targets.
#[derive(Debug)]
pub struct PeerSeries {
    labels: Box<str>,
    quantiles: [Gauge; 3],
    pub(super) loss: Gauge,
    pub(super) failures: Gauge,
    pub(super) jitter: Gauge,
}

impl Series for PeerSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl PeerSeries {
    pub(super) fn new(instance: &InstanceLabels, peer: &Region, kind: Kind) -> Self {
        let labels = format!("{instance},peer_region=\"{peer}\",probe=\"{kind}\"");
        Self {
            labels: labels.into(),
            quantiles: Default::default(),
            loss: Gauge::default(),
            failures: Gauge::default(),
            jitter: Gauge::default(),
        }
    }

    /// Shows a summary, or that there is none.
    pub fn publish(&self, summary: Option<Summary>) {
        let latency = summary.and_then(|summary| summary.latency);
        let quantiles = latency.map(|latency| [latency.p50, latency.p95, latency.p99]);
        for (n, gauge) in self.quantiles.iter().enumerate() {
            gauge.set(quantiles.map(|quantiles| quantiles[n].as_secs_f64()));
        }
        self.loss.set(summary.map(|summary| summary.unanswered));
        self.failures.set(summary.map(|summary| summary.loss));
        self.jitter.set(latency.and_then(|latency| latency.jitter).map(|jitter| jitter.as_secs_f64()));
    }

    pub(super) fn write_quantiles(&self, out: &mut Samples<'_>) {
        for (gauge, quantile) in self.quantiles.iter().zip(["0.5", "0.95", "0.99"]) {
            out.gauge_with(&[("quantile", quantile)], gauge);
        }
    }
}
