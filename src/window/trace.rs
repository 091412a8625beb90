//! The last minutes of one path in coarse steps, for people.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Outcome;

/// The probes of a few seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// In µs, as `most` and `sum`; without meaning if nothing was answered.
    least: u32,
    most: u32,
    /// Cannot overflow: a bucket holds at most one probe an interval, of which 64 are under way at a time, so that
    /// the longest is an hour (see [`Cadence`](crate::model::Cadence)).
    sum: u32,
    answered: u16,
    lost: u16,
}

impl Bucket {
    /// Probes that were answered.
    pub const fn answered(&self) -> u32 {
        self.answered as u32
    }

    /// Probes that failed, without local failures.
    pub const fn lost(&self) -> u32 {
        self.lost as u32
    }

    /// The shortest, the mean and the longest latency; `None` if nothing was answered.
    pub fn latency(&self) -> Option<[Duration; 3]> {
        let mean = self.sum.checked_div(self.answered.into())?;
        Some([self.least, mean.clamp(self.least, self.most), self.most].map(|us| Duration::from_micros(us.into())))
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (least, most) = match (self.answered, other.answered) {
            (0, _) => (other.least, other.most),
            (_, 0) => (self.least, self.most),
            _ => (self.least.min(other.least), self.most.max(other.most)),
        };
        Self {
            least,
            most,
            sum: self.sum.saturating_add(other.sum),
            answered: self.answered.saturating_add(other.answered),
            lost: self.lost.saturating_add(other.lost),
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        let one = match outcome {
            Ok(timings) => {
                let us = u32::try_from(timings.total.as_micros()).unwrap_or(u32::MAX);
                Self { least: us, most: us, sum: us, answered: 1, lost: 0 }
            }
            Err(failure) if failure.is_local() => return,
            Err(_) => Self { lost: 1, ..Self::default() },
        };
        *self = self.and(one);
    }
}

/// The last five minutes of one path, in 960 bytes whatever its rate.
#[derive(Debug, Clone)]
pub struct Trace {
    made: Instant,
    /// The number of the newest bucket, counted from `made`.
    newest: u32,
    /// Bucket `n` is at `n` modulo their number. Apart, because its owner is moved about.
    buckets: Box<[Bucket; Self::BUCKETS]>,
}

impl Trace {
    /// How many buckets there are.
    pub const BUCKETS: usize = 60;
    /// How long a bucket is.
    pub const STEP: Duration = Duration::from_secs(5);

    /// A trace without probes.
    pub fn new(now: Instant) -> Self {
        Self { made: now, newest: 0, buckets: Box::new([Bucket::default(); Self::BUCKETS]) }
    }

    /// Adds a probe that was sent at `at`, unless it is a local failure, or older than five minutes or than the trace.
    pub fn push(&mut self, at: Instant, outcome: &Outcome) {
        if at < self.made {
            return;
        }
        let number = self.number(at);
        while self.newest < number {
            self.newest = (self.newest + 1).max(number.saturating_sub(Self::BUCKETS as u32));
            self.buckets[self.newest as usize % Self::BUCKETS] = Bucket::default();
        }
        if self.newest - number < Self::BUCKETS as u32 {
            self.buckets[number as usize % Self::BUCKETS].add(outcome);
        }
    }

    /// The buckets of the last five minutes at `now`, oldest first. The last one is not complete yet.
    pub fn buckets(&self, now: Instant) -> impl Iterator<Item = Bucket> + '_ {
        let last = self.number(now);
        (0..Self::BUCKETS as u32).rev().map(move |back| {
            let held = last.checked_sub(back).filter(|n| *n <= self.newest && self.newest - n < Self::BUCKETS as u32);
            held.map_or_else(Bucket::default, |n| self.buckets[n as usize % Self::BUCKETS])
        })
    }

    /// Wraps after 680 years.
    fn number(&self, at: Instant) -> u32 {
        let steps = at.saturating_duration_since(self.made).as_secs() / Self::STEP.as_secs();
        u32::try_from(steps).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Failure, Phase, StampSource, Timings};

    fn ok(micros: u64) -> Outcome {
        Ok(Timings::single(Phase::Rtt, Duration::from_micros(micros), StampSource::Kernel))
    }

    fn micros(bucket: &Bucket) -> Option<[u128; 3]> {
        bucket.latency().map(|each| each.map(|duration| duration.as_micros()))
    }

    #[test]
    fn a_failure_is_a_mark_and_never_a_latency() {
        let start = Instant::now();
        let mut trace = Trace::new(start);
        for outcome in [ok(10), Err(Failure::Timeout), ok(31), Err(Failure::Local)] {
            trace.push(start, &outcome);
        }
        trace.push(start + Trace::STEP, &Err(Failure::Refused));
        let buckets: Vec<_> = trace.buckets(start + Trace::STEP).collect();
        assert_eq!(buckets.len(), Trace::BUCKETS);
        let [before, last] = [buckets[58], buckets[59]];
        assert_eq!((micros(&before), before.answered(), before.lost()), (Some([10, 20, 31]), 2, 1));
        assert_eq!((micros(&last), last.answered(), last.lost()), (None, 0, 1));
        assert!(buckets[..58].iter().all(|bucket| *bucket == Bucket::default()));
    }

    #[test]
    fn probes_older_than_five_minutes_expire_even_without_new_ones() {
        let start = Instant::now();
        let mut trace = Trace::new(start);
        trace.push(start, &ok(10));
        assert_eq!(trace.buckets(start + 59 * Trace::STEP).next().unwrap().answered(), 1);
        assert_eq!(trace.buckets(start + 60 * Trace::STEP).map(|bucket| bucket.answered()).sum::<u32>(), 0);
        trace.push(start + 1_000 * Trace::STEP, &ok(20));
        trace.push(start + 1_000 * Trace::STEP - 60 * Trace::STEP, &ok(30));
        let buckets: Vec<_> = trace.buckets(start + 1_000 * Trace::STEP).collect();
        assert_eq!(buckets.iter().map(Bucket::answered).sum::<u32>(), 1);
        assert_eq!(micros(&buckets[59]), Some([20, 20, 20]));
    }

    #[test]
    fn a_trace_takes_the_documented_memory() {
        assert_eq!(size_of::<[Bucket; Trace::BUCKETS]>(), 960);
    }

    proptest! {
        #[test]
        fn every_probe_of_the_last_minutes_is_counted_once(
            steps in prop::collection::vec((0_u64..20, any::<bool>()), 0..200),
        ) {
            let start = Instant::now();
            let mut trace = Trace::new(start);
            let (mut at, mut sent) = (0, Vec::new());
            for (pause, answered) in steps {
                at += pause;
                let outcome = if answered { ok(at + 1) } else { Err(Failure::Timeout) };
                trace.push(start + Duration::from_secs(at), &outcome);
                sent.push(at);
            }
            let last = at / 5;
            let young = sent.iter().filter(|at| last - **at / 5 < 60).count();
            let buckets = trace.buckets(start + Duration::from_secs(at));
            let counted: u32 = buckets.map(|bucket| bucket.answered() + bucket.lost()).sum();
            prop_assert_eq!(counted as usize, young);
        }
    }
}
