//! Lifeguard's local health (Dadgar et al., arXiv 1707.00788, IV-A): a vantage that cannot start its probes on time suspects
//! peers more slowly.

use std::time::Duration;

/// How much later than due a probe may start: half of the usual interval of the fast kinds.
const LATE: Duration = Duration::from_millis(125);

/// How fit this vantage is to judge.
#[derive(Debug, Default)]
pub(super) struct LocalHealth {
    score: u8,
    started: u32,
    late: u32,
}

impl LocalHealth {
    /// The worst score; 0 is the best.
    pub(super) const WORST: u8 = 7;

    /// A probe started so much later than it was due.
    pub(super) fn on_start(&mut self, delay: Duration) {
        self.started = self.started.saturating_add(1);
        self.late = self.late.saturating_add(u32::from(delay > LATE));
    }

    /// Slots passed without a probe.
    pub(super) const fn on_missed_slots(&mut self) {
        self.late = self.late.saturating_add(1);
    }

    /// Judges what happened since it was asked last; to be called each second. The 99th percentile of the delays is
    /// too long where more than one in a hundred is.
    pub(super) fn tick(&mut self) {
        if self.started + self.late > 0 {
            let is_late = u64::from(self.late) * 100 > u64::from(self.started);
            self.score = if is_late { (self.score + 1).min(Self::WORST) } else { self.score.saturating_sub(1) };
        }
        (self.started, self.late) = (0, 0);
    }

    /// 0 is well; each point lets a probe wait once more as long.
    pub(super) const fn score(&self) -> u8 {
        self.score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_with_late_starts_adds_a_point_and_a_punctual_one_removes_it() {
        let mut health = LocalHealth::default();
        for score in [1, 2, 3, 4, 5, 6, 7, 7] {
            (0..98).for_each(|_| health.on_start(Duration::ZERO));
            (0..2).for_each(|_| health.on_start(LATE * 2));
            health.tick();
            assert_eq!(health.score(), score);
        }
        for score in [6, 5] {
            (0..100).for_each(|_| health.on_start(LATE));
            health.tick();
            assert_eq!(health.score(), score);
        }
    }
}
