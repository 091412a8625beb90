//! The last minutes of a path as a picture: a bar from the shortest to the longest latency for each step, a line through
//! the means, and bars that hang from the top for what was lost. Nothing is drawn where nothing was measured.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use super::words::{Count, Latency, Percent};
use super::{Html, put};
use crate::window::{Bucket, Trace};

/// Units of the picture for each bucket.
const STEP: usize = 4;

/// What some paths came to in the last minutes, together.
pub(super) struct Minutes(Vec<Bucket>);

impl Minutes {
    pub(super) fn of<'a>(traces: impl IntoIterator<Item = &'a Trace>, now: Instant) -> Self {
        let mut buckets = vec![Bucket::default(); Trace::BUCKETS];
        for trace in traces {
            for (sum, bucket) in buckets.iter_mut().zip(trace.buckets(now)) {
                *sum = sum.and(bucket);
            }
        }
        Self(buckets)
    }

    /// Everything together.
    pub(super) fn whole(&self) -> Whole {
        let mut whole = Whole { answered: 0, lost: 0, latency: None };
        let mut sum = Duration::ZERO;
        for bucket in &self.0 {
            whole.answered += bucket.answered();
            whole.lost += bucket.lost();
            if let Some([least, mean, most]) = bucket.latency() {
                sum += mean * bucket.answered();
                let [low, _, high] = whole.latency.unwrap_or([least, mean, most]);
                whole.latency = Some([low.min(least), sum / whole.answered, high.max(most)]);
            }
        }
        whole
    }
}

/// What all probes of the last minutes came to.
pub(super) struct Whole {
    pub(super) answered: u32,
    pub(super) lost: u32,
    /// The shortest, the mean and the longest.
    pub(super) latency: Option<[Duration; 3]>,
}

impl Whole {
    /// The share of lost probes; `None` where there were none.
    pub(super) fn loss(&self) -> Option<f64> {
        let all = self.answered + self.lost;
        (all > 0).then(|| f64::from(self.lost) / f64::from(all))
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Last 5 minutes: ")?;
        let Some(loss) = self.loss() else { return f.write_str("no probe yet") };
        match self.latency {
            Some([least, mean, most]) => {
                write!(f, "{} to {}, mean {}", Latency(least), Latency(most), Latency(mean))?;
            }
            None => f.write_str("no answer")?,
        }
        let probes = Count(self.answered + self.lost, "probe");
        write!(f, "; {} of {probes} failed ({})", self.lost, Percent(loss))
    }
}

/// Draws them, this many units high; the highest latency is at the top.
pub(super) fn draw(page: &mut Html, minutes: &Minutes, height: u32) {
    let whole = minutes.whole();
    let width = Trace::BUCKETS * STEP;
    put!(page; "<svg class=\"spark\" role=\"img\" viewBox=\"0 0 " (width) " " (height) "\" preserveAspectRatio=\"none\" \
        aria-label=\"" (whole) "\"><title>" (whole) "</title>");
    let top = whole.latency.map_or(1, |[_, _, most]| most.as_micros().max(1));
    // Two units stay free above, so that the highest one is seen whole.
    let y = |latency: Duration| height - (latency.as_micros() * u128::from(height - 3) / top) as u32 - 1;
    put!(page; "<path class=\"range\" d=\"");
    for (n, bucket) in minutes.0.iter().enumerate() {
        if let Some([least, _, most]) = bucket.latency() {
            let (low, high) = (y(least), y(most));
            put!(page; "M" (n * STEP + 2) " " (high.saturating_sub(1)) "v" (low - high + 2));
        }
    }
    put!(page; "\"/><path class=\"mean\" d=\"");
    let mut before = None;
    for (n, bucket) in minutes.0.iter().enumerate() {
        let mean = bucket.latency().map(|[_, mean, _]| y(mean));
        match (before, mean) {
            // A line to a point of its own shows as a dot.
            (None, Some(y)) => put!(page; "M" (n * STEP + 1) " " (y) "h1"),
            (Some(_), Some(y)) => put!(page; "L" (n * STEP + 2) " " (y)),
            _ => {}
        }
        before = mean;
    }
    put!(page; "\"/><path class=\"lost\" d=\"");
    for (n, bucket) in minutes.0.iter().enumerate() {
        let (lost, all) = (bucket.lost(), bucket.answered() + bucket.lost());
        // What is lost is seen, however little it is.
        if let Some(length) = (lost * height).checked_div(all).filter(|_| lost > 0) {
            put!(page; "M" (n * STEP + 2) " 0v" (length.max(height / 5)));
        }
    }
    put!(page; "\"/></svg>");
}
