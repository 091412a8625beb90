//! The last minutes of a path as a drawing: for each step a bar from the shortest to the longest latency, a line through
//! the means, and a bar from the top for failed probes. Nothing is drawn for a step without probes.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use maud::{Markup, html};
use tokio::time::Instant;

use crate::{
    status::format,
    window::{Bucket, Trace},
};

/// Units of the drawing for each bucket.
const STEP: usize = 4;

/// The last minutes of some paths together.
pub(super) struct ChartData(Vec<Bucket>);

impl ChartData {
    pub(super) fn of<'a>(traces: impl IntoIterator<Item = &'a Trace>, now: Instant) -> Self {
        let mut buckets = vec![Bucket::default(); Trace::BUCKETS];
        for trace in traces {
            for (sum, bucket) in buckets.iter_mut().zip(trace.buckets(now)) {
                *sum = sum.and(bucket);
            }
        }
        Self(buckets)
    }

    /// All probes together.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals { answered: 0, lost: 0, latency: None };
        let mut sum = Duration::ZERO;
        for bucket in &self.0 {
            totals.answered += bucket.answered();
            totals.lost += bucket.lost();
            if let Some([least, mean, most]) = bucket.latency() {
                sum += mean * bucket.answered();
                let [low, _, high] = totals.latency.unwrap_or([least, mean, most]);
                totals.latency = Some([low.min(least), sum / totals.answered, high.max(most)]);
            }
        }
        totals
    }
}

/// The results of all probes of the last minutes.
pub(super) struct Totals {
    pub(super) answered: u32,
    pub(super) lost: u32,
    /// The shortest, the mean and the longest.
    pub(super) latency: Option<[Duration; 3]>,
}

impl Totals {
    pub(super) fn probes(&self) -> u32 {
        self.answered + self.lost
    }

    /// The share of lost probes; `None` if there were no probes.
    pub(super) fn loss(&self) -> Option<f64> {
        (self.probes() > 0).then(|| f64::from(self.lost) / f64::from(self.probes()))
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Last 5 minutes: ")?;
        let Some(loss) = self.loss() else { return f.write_str("no probe yet") };
        match self.latency.map(|latency| latency.map(format::latency)) {
            Some([least, mean, most]) => write!(f, "{least} to {most}, mean {mean}")?,
            None => f.write_str("no answer")?,
        }
        let probes = format::count(self.probes() as usize, "probe");
        write!(f, "; {} of {probes} failed ({})", self.lost, format::percent(loss))
    }
}

/// The drawing, this many units high; the highest latency is at the top.
pub(super) fn chart(data: &ChartData, height: u32) -> Markup {
    let totals = data.totals();
    let label = totals.to_string();
    let top = totals.latency.map_or(1, |[_, _, most]| most.as_micros().max(1));
    // Two units stay free above, so that the highest bar is seen whole.
    let y = |latency: Duration| height - (latency.as_micros() * u128::from(height - 3) / top) as u32 - 1;
    let (mut range, mut mean, mut lost) = (String::new(), String::new(), String::new());
    let mut drawn_before = false;
    for (n, bucket) in data.0.iter().enumerate() {
        let (left, middle) = (n * STEP + 1, n * STEP + 2);
        // Writing to a String does not fail.
        if let Some([least, average, most]) = bucket.latency() {
            let (low, high, average) = (y(least), y(most), y(average));
            let _ = write!(range, "M{middle} {}v{}", high.saturating_sub(1), low - high + 2);
            let _ = match drawn_before {
                true => write!(mean, "L{middle} {average}"),
                // A mean without one before it shows as a dot.
                false => write!(mean, "M{left} {average}h1"),
            };
        }
        drawn_before = bucket.latency().is_some();
        // However few are lost, they are seen.
        let probes = bucket.answered() + bucket.lost();
        if let Some(length) = (bucket.lost() * height).checked_div(probes).filter(|_| bucket.lost() > 0) {
            let _ = write!(lost, "M{middle} 0v{}", length.max(height / 5));
        }
    }
    html! {
        svg.spark role="img" viewBox={ "0 0 " (Trace::BUCKETS * STEP) " " (height) } preserveAspectRatio="none"
            aria-label=(label) {
            title { (label) }
            path.range d=(range) {}
            path.mean d=(mean) {}
            path.lost d=(lost) {}
        }
    }
}
