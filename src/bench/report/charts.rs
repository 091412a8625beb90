//! The drawings of the page: distributions, time lines and phases.

use std::{fmt::Write as _, time::Duration};

use maud::{Markup, html};

use super::grid::{millis, printable};
use crate::{
    bench::{Distribution, Outcome, QUANTILES, Ranked, Series, Value},
    model::Phase,
};

/// The units of a drawing across; it is stretched to the width of the page.
const WIDTH: usize = 600;

/// The units of a drawing from top to bottom.
const HEIGHT: f64 = 40.0;

/// The bars of a distribution.
const BINS: usize = 120;

/// The steps of a time line.
const STEPS: usize = 150;

/// The samples of each region.
type Rows<'a> = [(&'a str, Vec<&'a Series>)];

/// A logarithmic axis of latencies.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn of(latencies: impl Iterator<Item = u64>) -> Option<Self> {
        let span = latencies.fold(None, |span: Option<(u64, u64)>, nanos| {
            let (low, high) = span.unwrap_or((nanos, nanos));
            Some((low.min(nanos), high.max(nanos)))
        });
        let (low, high) = span?;
        let (low, high) = ((low.max(1) as f64).ln(), (high.max(1) as f64).ln());
        // The same latency everywhere is in the middle.
        let margin = ((high - low) * 0.02).max(0.02);
        Some(Self { low: low - margin, high: high + margin })
    }

    /// Where a latency is, 0 to 1.
    fn place(&self, nanos: u64) -> f64 {
        (((nanos.max(1) as f64).ln() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The latency at a place.
    fn label(&self, place: f64) -> String {
        let nanos = (self.low + place * (self.high - self.low)).exp();
        format!("{} ms", millis(Duration::from_nanos(nanos as u64)))
    }
}

/// How often each latency was measured, with marks at the median, the 95th and the 99th percentile.
pub(super) fn distribution(rows: &Rows<'_>) -> Markup {
    let all: Vec<_> = rows.iter().map(|(region, series)| (*region, Distribution::of(series.iter().copied()))).collect();
    let Some(axis) = Axis::of(all.iter().flat_map(|(_, all)| all.successes().iter().copied())) else { return html! {} };
    html! {
        h3 { "Distribution" }
        div.rows {
            @for (region, all) in &all {
                (row(region, "distribution of latency", &histogram(all, &axis)))
            }
            span {}
            div.axis { @for n in 0..=4 { span { (axis.label(f64::from(n) / 4.0)) } } }
        }
        p.dim { "Bars: how many probes took so long, on a logarithmic scale. Lines: p50, p95 and p99." }
    }
}

fn histogram(all: &Distribution, axis: &Axis) -> Drawing {
    let mut bins = [0_u32; BINS];
    for nanos in all.successes() {
        bins[((axis.place(*nanos) * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    let most = f64::from(bins.into_iter().max().unwrap_or_default().max(1));
    let step = WIDTH / BINS;
    let mut drawing = Drawing::default();
    for (n, count) in bins.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        // A single probe is seen, too.
        let height = (f64::from(count) / most * HEIGHT).max(2.0);
        let _ = write!(drawing.bars, "M{} {HEIGHT}v-{height:.1}h{step}v{height:.1}z", n * step);
    }
    let quantiles = QUANTILES.iter().filter_map(|quantile| all.quantile(*quantile)?.value.exact());
    for latency in quantiles {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let _ = write!(drawing.marks, "M{:.1} 0v{HEIGHT}", axis.place(nanos) * WIDTH as f64);
    }
    drawing
}

/// The latencies over time: from the shortest to the longest of each step, a line through the medians, and from the top
/// the share of failures.
pub(super) fn time_line(rows: &Rows<'_>, duration: Duration) -> Markup {
    let latencies = rows.iter().flat_map(|(_, series)| series).flat_map(|series| series.samples());
    let latencies = latencies.filter_map(|sample| match sample.outcome {
        Outcome::Ok(latency) => u64::try_from(latency.as_nanos()).ok(),
        Outcome::Failed(_) => None,
    });
    let axis = Axis::of(latencies).unwrap_or(Axis { low: 0.0, high: 1.0 });
    html! {
        h3 { "Time line" }
        div.rows {
            @for (region, series) in rows { (row(region, "latency over time", &steps(series, duration, &axis))) }
            span {}
            div.axis {
                @for n in 0..=4 { span { (format!("{:.1} s", duration.as_secs_f64() * f64::from(n) / 4.0)) } }
            }
        }
        p.dim {
            "From " (axis.label(0.0)) " at the bottom to " (axis.label(1.0)) " at the top. Bar: shortest to longest. Line: \
             median. From the top: failed."
        }
    }
}

fn steps(series: &[&Series], duration: Duration, axis: &Axis) -> Drawing {
    let mut steps = vec![(Vec::new(), 0_usize); STEPS];
    let all = duration.as_secs_f64().max(1e-9);
    for sample in series.iter().flat_map(|series| series.samples()) {
        let step = ((sample.at.as_secs_f64() / all * STEPS as f64) as usize).min(STEPS - 1);
        match sample.outcome {
            Outcome::Ok(latency) => steps[step].0.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)),
            Outcome::Failed(_) => steps[step].1 += 1,
        }
    }
    let y = |nanos: u64| (1.0 - axis.place(nanos)) * (HEIGHT - 2.0) + 1.0;
    let mut drawing = Drawing::default();
    let width = WIDTH / STEPS;
    let mut follows = false;
    for (n, (mut latencies, failed)) in steps.into_iter().enumerate() {
        latencies.sort_unstable();
        let middle = n * width + width / 2;
        if let (Some(least), Some(most)) = (latencies.first(), latencies.last()) {
            let median = y(latencies[latencies.len() / 2]);
            let _ = write!(drawing.range, "M{middle} {:.1}V{:.1}", y(*most) - 0.5, y(*least) + 0.5);
            let _ = write!(drawing.marks, "{}{middle} {median:.1}", if follows { "L" } else { "M" });
            if !follows {
                drawing.marks.push_str("h0.1");
            }
            follows = true;
        }
        if failed > 0 {
            let share = failed as f64 / (failed + latencies.len()) as f64;
            let _ = write!(drawing.lost, "M{middle} 0v{:.1}", (share * HEIGHT).max(HEIGHT / 5.0));
        }
    }
    drawing
}

/// The median phases of each region, one after the other.
pub(super) fn phases(regions: &[Ranked]) -> Markup {
    let length = |ranked: &Ranked| -> f64 { ranked.phases.iter().map(|(_, median)| seconds(median.value)).sum() };
    let longest = regions.iter().map(length).fold(1e-9, f64::max);
    let mut known: Vec<Phase> = regions.iter().flat_map(|ranked| &ranked.phases).map(|(phase, _)| *phase).collect();
    known.sort_unstable();
    known.dedup();
    html! {
        h3 { "Phases" }
        ul.key {
            @for phase in known {
                li { svg viewBox="0 0 1 1" aria-hidden="true" { rect class=(class(phase)) width="1" height="1" {} } (phase) }
            }
        }
        div.rows {
            @for ranked in regions {
                div.name { (printable(&ranked.region)) }
                svg role="img" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none"
                    aria-label={ "median phases of " (printable(&ranked.region)) } {
                    @for (class, x, width) in boxes(ranked, longest) {
                        rect class=(class) x=(format!("{x:.1}")) y="6" width=(format!("{width:.1}")) height="28" {}
                    }
                }
            }
            span {}
            div.axis {
                @for n in 0..=4 {
                    span { (millis(Duration::from_secs_f64(longest * f64::from(n) / 4.0))) " ms" }
                }
            }
        }
    }
}

fn boxes(ranked: &Ranked, longest: f64) -> Vec<(&'static str, f64, f64)> {
    let mut x = 0.0;
    let boxes = ranked.phases.iter().map(|(phase, median)| {
        let width = seconds(median.value) / longest * WIDTH as f64;
        x += width;
        (class(*phase), x - width, width)
    });
    boxes.collect()
}

fn seconds(value: Value) -> f64 {
    value.least().as_secs_f64()
}

fn class(phase: Phase) -> &'static str {
    ["p1", "p2", "p3", "p4", "p5", "p6", "p7"][phase as usize % 7]
}

/// The paths of a drawing.
#[derive(Default)]
struct Drawing {
    bars: String,
    range: String,
    marks: String,
    lost: String,
}

fn row(region: &str, what: &str, drawing: &Drawing) -> Markup {
    let region = printable(region);
    html! {
        div.name { (region) }
        svg role="img" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" aria-label={ (what) " of " (region) } {
            path.bars d=(drawing.bars) {}
            path.range d=(drawing.range) {}
            path.marks d=(drawing.marks) {}
            path.lost d=(drawing.lost) {}
        }
    }
}
