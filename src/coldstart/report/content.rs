//! What a report is about.

use std::time::Duration;

use crate::{
    bench::{Distribution, Gate, Quantile, Value, millis},
    coldstart::{
        ranking::{Median, Standing, compare, median},
        round::{NotReady, Step},
        run::{Comparison, Image},
    },
};

/// What was compared, and what follows from it.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was measured.
    pub comparison: &'a Comparison,
    /// The images, the best one first.
    pub standings: Vec<Standing>,
    /// What thresholds and a baseline say of it.
    pub gate: Option<&'a Gate>,
}

/// An image with all that is shown of it. Times are in seconds.
pub(super) struct Row<'a> {
    pub(super) image: &'a Image,
    pub(super) name: String,
    pub(super) rank: Option<(usize, usize)>,
    pub(super) median: Option<Median>,
    pub(super) behind: Option<Median>,
    /// Whether the median is that of failures: it is the timeout or more.
    pub(super) is_censored: bool,
    pub(super) p95: Option<Value>,
    pub(super) steps: [Option<f64>; Step::ALL.len()],
    /// What a pull takes, by bandwidth; empty where it is not modelled.
    pub(super) pulls: Vec<f64>,
    /// The 99th percentile of the answers after the first, as the median of the starts.
    pub(super) next: Option<f64>,
}

impl Row<'_> {
    pub(super) fn failed(&self) -> usize {
        self.image.starts.iter().filter(|start| start.is_err()).count()
    }

    pub(super) fn is_floor(&self) -> bool {
        self.name == FLOOR
    }
}

/// What stands for the null image.
pub(super) const FLOOR: &str = "(null image)";

impl<'a> Report<'a> {
    /// The report of a comparison.
    pub fn new(comparison: &'a Comparison) -> Self {
        let timeout = comparison.timeout.as_secs_f64();
        // A run that was ended has started some images once more than others.
        let rounds = comparison.images.iter().map(|image| image.starts.len()).min().unwrap_or_default();
        // A round in which the clock was set says nothing.
        let is_sound = |round: &usize| {
            comparison.images.iter().all(|image| !matches!(image.starts[*round], Err(NotReady::ClockStep)))
        };
        let sound: Vec<usize> = (0..rounds).filter(is_sound).collect();
        let rows: Vec<_> = comparison
            .images
            .iter()
            .map(|image| {
                let starts = sound.iter().map(|round| &image.starts[*round]);
                let pull = pulls(comparison, image).first().copied().unwrap_or_default();
                let times =
                    starts.map(|start| pull + start.as_ref().map_or(timeout, |start| start.total.as_secs_f64()));
                (times.collect(), image.ready().next().is_some())
            })
            .collect();
        Self { comparison, standings: compare(&rows), gate: None }
    }

    /// The same with what thresholds and a baseline say.
    #[must_use]
    pub fn with(self, gate: &'a Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Whether any image was ready.
    pub fn has_success(&self) -> bool {
        self.standings.iter().any(|standing| standing.rank.is_some())
    }

    /// The rows of the table: the images in their order, and the null image.
    pub(super) fn rows(&self) -> Vec<Row<'a>> {
        let images = self.standings.iter().map(|standing| {
            let image = &self.comparison.images[standing.image];
            row(image, image.name.clone(), standing, pulls(self.comparison, image), self.comparison.timeout)
        });
        images.chain(self.floor()).collect()
    }

    /// The row of the null image.
    pub(super) fn floor(&self) -> Option<Row<'a>> {
        let floor = self.comparison.floor.as_ref().filter(|floor| !floor.starts.is_empty())?;
        let times: Vec<_> = floor.ready().map(|start| start.total.as_secs_f64()).collect();
        let standing = compare(&[(times, true)]).into_iter().next()?;
        Some(row(floor, FLOOR.to_owned(), &Standing { rank: None, ..standing }, Vec::new(), self.comparison.timeout))
    }
}

/// What it takes to pull an image, by bandwidth.
fn pulls(comparison: &Comparison, image: &Image) -> Vec<f64> {
    let Some(pull) = image.pull else { return Vec::new() };
    comparison.model.bandwidths.iter().map(|bandwidth| pull.seconds(*bandwidth, comparison.unpacking)).collect()
}

fn row<'a>(image: &'a Image, name: String, standing: &Standing, pulls: Vec<f64>, timeout: Duration) -> Row<'a> {
    let step = |step: Step| {
        let mut all: Vec<_> = image.ready().map(|start| start.steps[step as usize].as_secs_f64()).collect();
        (!all.is_empty()).then(|| median(&mut all))
    };
    let counts = |start: &&Result<_, NotReady>| matches!(start, Err(why) if *why != NotReady::ClockStep);
    let (ready, failed) = (image.ready().count(), image.starts.iter().filter(counts).count());
    let totals = Distribution::of_latencies(image.ready().map(|start| start.total)).with_failures(failed, timeout);
    let mut next: Vec<_> = image
        .ready()
        .filter_map(|start| {
            let answers = Distribution::of_latencies(start.next.iter().copied().flatten());
            Some(answers.quantile(Quantile::P99)?.value.least().as_secs_f64())
        })
        .collect();
    Row {
        image,
        name,
        rank: standing.rank,
        median: standing.median.map(|median| median.less(pulls.first().copied().unwrap_or_default())),
        behind: standing.behind,
        pulls,
        is_censored: failed >= ready,
        p95: totals.quantile(Quantile::P95).map(|p95| p95.value),
        steps: Step::ALL.map(step),
        next: (!next.is_empty()).then(|| median(&mut next)),
    }
}

/// A time, or the least that it is.
pub(super) fn shown_value(value: Value) -> String {
    let sign = if value.exact().is_some() { "" } else { "\u{2265}" };
    format!("{sign}{}", millis(value.least()))
}

/// Seconds as milliseconds, for people.
pub(super) fn shown(seconds: f64) -> String {
    millis(Duration::from_secs_f64(seconds.max(0.0)))
}
