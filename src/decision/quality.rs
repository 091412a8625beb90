//! Whether a peer that answers does so well: loss and latency against what is usual for it.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::model::Kind;

/// Loss over a minute above which a peer is degraded, if that is more than a few probes, and below which it is well
/// again.
const LOSSY: f64 = 0.02;
const LOST: usize = 3;
const CLEAN: f64 = 0.01;

/// The baseline is the median of one p95 each five minutes, over a day.
const BASELINE_STEP: Duration = Duration::from_secs(300);
const BASELINE_STEPS: usize = 288;

/// Slow readings running that count as slow: one sample may be an accident.
const SLOW_READINGS: u32 = 3;

/// What the samples of the last minute say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualitySample {
    /// The kind of probe with the largest share of failed probes, which the share is about.
    pub kind: Kind,
    /// The share of failed probes, 0 to 1.
    pub loss: f64,
    /// How many they are.
    pub lost: usize,
    /// 95th percentile of the latency; `None` where nothing succeeded.
    pub p95: Option<Duration>,
}

/// Why a peer that answers does so badly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QualityFault {
    /// More probes fail than on an ordinary path.
    Lossy(QualitySample),
    /// It has been slower than usual for a while.
    Slow {
        /// 95th percentile of the latency.
        p95: Duration,
        /// What is usual for it.
        usual: Duration,
    },
}

/// How well a peer answers, by readings 10 s apart.
#[derive(Debug, Clone, Default)]
pub struct Quality {
    baseline: VecDeque<Duration>,
    next_step: Option<Instant>,
    slow: u32,
    last: Option<QualitySample>,
    sampled_at: Option<Instant>,
}

impl Quality {
    /// Takes a sample.
    pub fn on_sample(&mut self, sample: Option<QualitySample>, now: Instant) {
        self.last = sample;
        self.sampled_at = Some(now);
        let p95 = sample.and_then(|sample| sample.p95);
        let Some(p95) = p95 else {
            self.slow = 0;
            return;
        };
        let usual = self.usual();
        let limit = usual.map(|usual| (usual * 3 / 2).max(usual + Duration::from_millis(20)));
        self.slow = if limit.is_some_and(|limit| p95 > limit) { self.slow.saturating_add(1) } else { 0 };
        if self.next_step.is_none_or(|at| at <= now) {
            self.next_step = Some(now + BASELINE_STEP);
            if self.baseline.len() == BASELINE_STEPS {
                self.baseline.pop_front();
            }
            self.baseline.push_back(p95);
        }
    }

    /// The usual p95.
    fn usual(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.baseline.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// Whether it is lossy, or has been slow for a while.
    pub fn is_bad(&self) -> bool {
        self.fault().is_some()
    }

    /// What is bad, if anything is.
    pub fn fault(&self) -> Option<QualityFault> {
        let is_lossy = |last: &QualitySample| last.loss > LOSSY && last.lost >= LOST;
        let lossy = self.last.filter(is_lossy).map(QualityFault::Lossy);
        lossy.or_else(|| {
            let p95 = self.last.and_then(|last| last.p95).filter(|_| self.slow >= SLOW_READINGS)?;
            Some(QualityFault::Slow { p95, usual: self.usual().unwrap_or(p95) })
        })
    }

    /// The last sample, and the usual 95th percentile of the latency.
    pub fn last(&self) -> Option<(QualitySample, Option<Duration>)> {
        Some((self.last?, self.usual()))
    }

    /// When the last sample was made: it covers the minute before.
    pub const fn sampled_at(&self) -> Option<Instant> {
        self.sampled_at
    }

    /// Whether hardly anything is lost.
    pub fn is_clean(&self) -> bool {
        self.last.is_some_and(|last| last.loss < CLEAN)
    }

    /// Whether it is clean and as fast as usual, by limits that are stricter than those of [`is_bad`](Self::is_bad).
    pub fn is_good(&self) -> bool {
        let fast = match (self.last.and_then(|last| last.p95), self.usual()) {
            (Some(p95), Some(usual)) => p95 <= usual * 6 / 5 + Duration::from_millis(2),
            _ => true,
        };
        self.is_clean() && fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::TCP;

    const MS: Duration = Duration::from_millis(1);

    fn sample(loss: f64, p95: u32) -> Option<QualitySample> {
        Some(QualitySample { kind: TCP, loss, lost: 10, p95: Some(MS * p95) })
    }

    #[test]
    fn three_samples_in_a_row_at_half_again_the_usual_latency_are_slow() {
        let mut quality = Quality::default();
        let now = Instant::now();
        for _ in 0..10 {
            quality.on_sample(sample(0.0, 100), now);
        }
        for (n, bad) in [(0, false), (1, false), (2, true)] {
            quality.on_sample(sample(0.0, 151), now);
            assert_eq!(quality.is_bad(), bad, "{n}");
        }
        quality.on_sample(sample(0.0, 130), now);
        assert!(!quality.is_bad() && !quality.is_good(), "leaving needs more than not entering");
        quality.on_sample(sample(0.0, 110), now);
        assert!(quality.is_good());
    }

    #[test]
    fn loss_has_different_limits_for_entering_and_leaving() {
        let mut quality = Quality::default();
        let now = Instant::now();
        for (loss, bad, clean) in [(0.021, true, false), (0.015, false, false), (0.009, false, true)] {
            quality.on_sample(sample(loss, 10), now);
            assert_eq!((quality.is_bad(), quality.is_clean()), (bad, clean), "{loss}");
        }
        quality.on_sample(Some(QualitySample { kind: TCP, loss: 0.1, lost: 2, p95: None }), now);
        assert!(!quality.is_bad(), "two probes of a process that has just begun");
        quality.on_sample(None, now);
        assert!(!quality.is_clean() && !quality.is_bad(), "no data is neither");
    }
}
