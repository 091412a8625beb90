//! The samples of one path over a trailing time, and their summary.

mod history;
mod packed;
mod trace;

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

pub use self::{
    history::{History, PathHistory, Record},
    trace::{Bucket, Trace},
};
use crate::model::Outcome;

/// The summary of the samples in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Probes in the window, without local failures.
    pub count: usize,
    /// The fraction of them that failed, 0 to 1.
    pub loss: f64,
    /// The fraction of them that got no answer at all, which is a part of those that failed.
    pub unanswered: f64,
    /// Quantiles and jitter of the successful ones; `None` if there is none: no data is not zero.
    pub latency: Option<Latency>,
}

/// The latency of the successful samples of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// The mean difference between the latencies of consecutive successful probes: the packet delay variation
    /// of RFC 3393 on round trips, without the smoothing of RFC 3550 6.4.1. `None` for a single one.
    pub jitter: Option<Duration>,
}

/// One sample in 8 bytes, because hundreds of thousands are kept.
#[derive(Debug, Clone, Copy)]
struct Packed {
    /// Milliseconds since the window was made, modulo 2^32 (49 days; windows are an hour at the most).
    at: u32,
    /// Units of 100 ns, or [`LOST`] or [`FAILED`].
    latency: u32,
}

impl Packed {
    /// In milliseconds. Signed, so that a sample sent after `now` is young and not 49 days old.
    const fn age(self, now: u32) -> i32 {
        now.wrapping_sub(self.at).cast_signed()
    }
}

/// No answer came.
const LOST: u32 = u32::MAX;
/// An answer came that was not the expected one.
const FAILED: u32 = LOST - 1;
const UNIT: u128 = 100;

/// The samples of one path over a trailing time.
///
/// ```
/// use std::time::Duration;
/// use regionwatch::{
///     model::{Failure, Phase, StampSource, Timings},
///     window::Window,
/// };
/// use tokio::time::Instant;
///
/// let (now, ms) = (Instant::now(), Duration::from_millis);
/// let mut window = Window::new(ms(60_000), ms(1_000), now);
/// for latency in [10, 30, 20] {
///     window.push(now, &Ok(Timings::single(Phase::Rtt, ms(latency), StampSource::Kernel)));
/// }
/// window.push(now, &Err(Failure::Timeout));
/// let summary = window.summary(now).unwrap();
/// assert_eq!((summary.loss, summary.latency.unwrap().p50), (0.25, ms(20)));
/// ```
#[derive(Debug)]
pub struct Window {
    span: Duration,
    capacity: usize,
    made: Instant,
    samples: VecDeque<Packed>,
}

impl Window {
    /// A window over the trailing `span` for one sample per `interval`. It never holds more than fit in.
    pub fn new(span: Duration, interval: Duration, now: Instant) -> Self {
        let capacity = span.as_nanos().div_ceil(interval.as_nanos().max(1)) + 1;
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        Self { span, capacity, made: now, samples: VecDeque::new() }
    }

    /// Adds a sample that was sent at `at`. Local failures are left out, because they do not describe the path; so are
    /// samples from before the window, when the path may have been another.
    pub fn push(&mut self, at: Instant, outcome: &Outcome) {
        if at < self.made {
            return;
        }
        let latency = match outcome {
            Ok(timings) => u32::try_from(timings.total.as_nanos() / UNIT).unwrap_or(LOST).min(FAILED - 1),
            Err(failure) if failure.is_local() => return,
            Err(failure) if failure.is_unanswered() => LOST,
            Err(_) => FAILED,
        };
        if self.samples.len() == self.capacity {
            self.samples.pop_front();
        } else if self.samples.len() == self.samples.capacity() {
            // Doubling would leave up to half of the memory unused.
            let more = (self.capacity - self.samples.len()).min(self.samples.len().max(16) / 2);
            self.samples.reserve_exact(more.max(1));
        }
        self.samples.push_back(Packed { at: self.millis(at), latency });
    }

    fn millis(&self, at: Instant) -> u32 {
        at.saturating_duration_since(self.made).as_millis() as u32
    }

    /// The summary of the trailing span at `now`; `None` if it has no samples. Older samples are dropped.
    pub fn summary(&mut self, now: Instant) -> Option<Summary> {
        Self::merged(std::iter::once(self), now)
    }

    /// The summary of several windows together, such as those of all targets of a peer.
    pub fn merged<'a>(windows: impl IntoIterator<Item = &'a mut Self>, now: Instant) -> Option<Summary> {
        Self::merged_over(windows, Duration::MAX, now)
    }

    /// The same for the last `span` only.
    pub fn merged_over<'a>(
        windows: impl IntoIterator<Item = &'a mut Self>,
        span: Duration,
        now: Instant,
    ) -> Option<Summary> {
        let (mut count, mut lost) = (0, 0);
        let mut latencies: Vec<u32> = Vec::new();
        let mut differences: (u64, u64) = (0, 0);
        for window in windows {
            window.expire(now);
            let samples = window.youngest(span, now);
            count += samples.len();
            let mut last = None;
            for sample in samples {
                if sample.latency >= FAILED {
                    lost += usize::from(sample.latency == LOST);
                    continue;
                }
                if let Some(last) = last.replace(sample.latency) {
                    differences.0 += u64::from(sample.latency.abs_diff(last));
                    differences.1 += 1;
                }
                latencies.push(sample.latency);
            }
        }
        if count == 0 {
            return None;
        }
        let share = |some: usize| some as f64 / count as f64;
        let (loss, unanswered) = (share(count - latencies.len()), share(lost));
        let duration = |units: u64| Duration::from_nanos(units * UNIT as u64);
        let jitter = differences.0.checked_div(differences.1).map(duration);
        let latency = (!latencies.is_empty()).then(|| {
            let p50 = quantile(&mut latencies, 0.50);
            let p95 = quantile(&mut latencies, 0.95);
            let p99 = quantile(&mut latencies, 0.99);
            Latency { p50: duration(p50.into()), p95: duration(p95.into()), p99: duration(p99.into()), jitter }
        });
        Some(Summary { count, loss, unanswered, latency })
    }

    fn expire(&mut self, now: Instant) {
        let now = self.millis(now);
        let span = self.span.as_millis() as i32;
        while self.samples.front().is_some_and(|sample| sample.age(now) > span) {
            self.samples.pop_front();
        }
    }

    /// The samples of the last `span`. They are in the order in which the probes ended, which is almost that of their age.
    fn youngest(&self, span: Duration, now: Instant) -> std::collections::vec_deque::Iter<'_, Packed> {
        let now = self.millis(now);
        let span = i32::try_from(span.as_millis()).unwrap_or(i32::MAX);
        self.samples.range(self.samples.partition_point(|sample| sample.age(now) > span)..)
    }
}

/// The nearest-rank quantile: always a measured value.
fn quantile(values: &mut [u32], q: f64) -> u32 {
    let rank = (values.len() as f64 * q).ceil() as usize;
    let (_, value, _) = values.select_nth_unstable(rank.clamp(1, values.len()) - 1);
    *value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Failure, Phase, StampSource, Timings};

    const SPAN: Duration = Duration::from_secs(60);

    fn ok(micros: u64) -> Outcome {
        Ok(Timings::single(Phase::Rtt, Duration::from_micros(micros), StampSource::Kernel))
    }

    fn window(outcomes: &[Outcome]) -> (Window, Instant) {
        let start = Instant::now();
        let mut window = Window::new(SPAN, Duration::from_millis(100), start);
        for (n, outcome) in outcomes.iter().enumerate() {
            window.push(start + Duration::from_millis(100) * n as u32, outcome);
        }
        (window, start)
    }

    #[test]
    fn no_data_is_none_and_not_zero() {
        let (mut window, start) = window(&[]);
        assert_eq!(window.summary(start), None);
    }

    #[test]
    fn a_path_that_never_answered_has_loss_and_no_latency() {
        let (mut window, start) = window(&[Err(Failure::Timeout), Err(Failure::Refused)]);
        // A refusal is an answer.
        assert_eq!(window.summary(start), Some(Summary { count: 2, loss: 1.0, unanswered: 0.5, latency: None }));
    }

    #[test]
    fn local_failures_do_not_count() {
        let (mut window, start) = window(&[ok(10), Err(Failure::Local)]);
        let summary = window.summary(start).unwrap();
        assert_eq!((summary.count, summary.loss), (1, 0.0));
    }

    #[test]
    fn samples_older_than_the_span_are_removed() {
        let (mut window, start) = window(&[ok(10), Err(Failure::Timeout)]);
        assert_eq!(window.summary(start + SPAN).unwrap().count, 2);
        assert_eq!(window.summary(start + SPAN + Duration::from_millis(50)).unwrap().count, 1);
        assert_eq!(window.summary(start + SPAN * 2), None);
    }

    #[test]
    fn quantiles_and_jitter_are_those_of_the_successes() {
        let (mut window, start) = window(&[ok(10), Err(Failure::Timeout), ok(30), ok(20)]);
        let latency = window.summary(start).unwrap().latency.unwrap();
        let micros = Duration::from_micros;
        assert_eq!((latency.p50, latency.p95, latency.p99), (micros(20), micros(30), micros(30)));
        assert_eq!(latency.jitter, Some(micros(15)));
    }

    #[test]
    fn probes_sent_before_the_window_was_created_are_not_counted() {
        let start = Instant::now();
        let mut window = Window::new(SPAN, Duration::from_millis(100), start + SPAN);
        window.push(start, &Err(Failure::Timeout));
        assert_eq!(window.summary(start + SPAN), None);
    }

    fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
        let outcome = prop_oneof![
            3 => (1_u64..1_000_000).prop_map(ok),
            1 => Just(Err(Failure::Timeout)),
            1 => Just(Err(Failure::Local)),
        ];
        prop::collection::vec(outcome, 0..200)
    }

    proptest! {
        #[test]
        fn quantiles_are_ordered_measured_values(outcomes in outcomes()) {
            let (mut window, start) = window(&outcomes);
            let measured: Vec<_> = outcomes.iter().flatten().map(|timings| timings.total).collect();
            if let Some(latency) = window.summary(start).and_then(|summary| summary.latency) {
                prop_assert!(latency.p50 <= latency.p95 && latency.p95 <= latency.p99);
                for value in [latency.p50, latency.p95, latency.p99] {
                    prop_assert!(measured.contains(&value));
                }
            } else {
                prop_assert!(measured.is_empty());
            }
        }

        #[test]
        fn merged_windows_equal_one_window_except_for_jitter(a in outcomes(), b in outcomes()) {
            let all: Vec<_> = a.iter().chain(&b).copied().collect();
            let (mut whole, now) = window(&all);
            let (mut first, _) = window(&a);
            let (mut second, _) = window(&b);
            let strip = |summary: Option<Summary>| summary.map(|summary| Summary {
                latency: summary.latency.map(|latency| Latency { jitter: None, ..latency }),
                ..summary
            });
            prop_assert_eq!(
                strip(whole.summary(now)),
                strip(Window::merged([&mut first, &mut second], now))
            );
        }

        #[test]
        fn memory_is_bounded_by_the_span(pushes in 0_usize..3000) {
            let start = Instant::now();
            let mut window = Window::new(Duration::from_secs(10), Duration::from_millis(100), start);
            for _ in 0..pushes {
                window.push(start, &ok(1));
            }
            prop_assert!(window.samples.len() <= 101 && window.samples.capacity() <= 110);
        }
    }
}
