//! What a report is about.

use std::time::Duration;

use crate::{
    bench::{Distribution, Gate, Quantile, Value, millis},
    coldstart::{
        comparison::{Comparison, Image},
        ranking::{Median, Standing, compare, median},
        readiness::ANSWER,
        round::{NotReady, Start, Step},
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

/// An estimate in seconds. An end of its interval is `None` with too few rounds, and where it is that of failures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounded {
    pub(super) value: f64,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
}

impl Bounded {
    /// An estimate from these values of successes, among which failures counted with the timeout.
    fn of(median: Median, successes: impl Iterator<Item = f64>) -> Self {
        let (low, high) = median.interval.unzip();
        // What lies beyond all successes is made of the timeout.
        let ends = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
        let (least, most) = successes.fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        Self { value: median.value, low: low.filter(|low| *low >= least), high: high.filter(|high| *high <= most) }
    }

    /// The same without a part that is known.
    fn less(self, part: f64) -> Self {
        let less = |end: f64| end - part;
        Self { value: less(self.value), low: self.low.map(less), high: self.high.map(less) }
    }

    /// The interval, if an end is known.
    pub(super) fn interval(self) -> Option<(Option<f64>, Option<f64>)> {
        (self.low.is_some() || self.high.is_some()).then_some((self.low, self.high))
    }
}

/// An image with all that is shown of it. Times are in seconds.
pub(super) struct Row<'a> {
    pub(super) image: &'a Image,
    pub(super) name: String,
    is_floor: bool,
    pub(super) rank: Option<(usize, usize)>,
    pub(super) median: Option<Bounded>,
    /// How far it is behind the first one, or at least where it is censored.
    pub(super) behind: Option<Bounded>,
    /// Whether the median is that of failures: it is the timeout or more.
    pub(super) is_censored: bool,
    pub(super) p95: Option<Value>,
    /// The medians of the steps. With published ports, the last one has that of `listen` in it.
    pub(super) steps: [Option<f64>; Step::ALL.len()],
    /// What a pull takes, by bandwidth, as far as that is known; empty where it is not modelled.
    pub(super) pulls: Vec<Option<f64>>,
    /// The one of them that counts for the rank.
    pub(super) pull: Option<f64>,
    pub(super) next: Option<Next>,
}

/// The answers after the first one of each start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    /// The 99th percentile of a start, as the median of all starts.
    pub(super) p99: Value,
    /// The answers of all starts, and how many of them were none.
    pub(super) answers: usize,
    pub(super) failed: usize,
    /// The answers of one start, as their median.
    pub(super) of_start: usize,
}

impl Next {
    fn of(image: &Image) -> Option<Self> {
        let failed = |start: &Start| start.next.iter().filter(|answer| answer.is_none()).count();
        // A failure took longer than any answer.
        let p99 = |start: &Start| {
            let answers = Distribution::of_latencies(start.next.iter().copied().flatten());
            Some(answers.with_failures(failed(start), ANSWER).quantile(Quantile::P99)?.value)
        };
        let mut values: Vec<_> = image.ready().filter_map(p99).collect();
        values.sort_unstable_by_key(|value| (value.exact().is_none(), value.least()));
        let middle = *values.get(values.len() / 2)?;
        let mut seconds: Vec<_> = values.iter().map(|value| value.least().as_secs_f64()).collect();
        let mut counts: Vec<_> = image.ready().map(|start| start.next.len()).collect();
        counts.sort_unstable();
        Some(Self {
            p99: middle.exact().map_or(middle, |_| Value::At(Duration::from_secs_f64(median(&mut seconds)))),
            answers: counts.iter().sum(),
            failed: image.ready().map(failed).sum(),
            of_start: counts[counts.len() / 2],
        })
    }
}

impl Row<'_> {
    pub(super) fn failed(&self) -> usize {
        self.image.starts.iter().filter(|start| start.is_err()).count()
    }

    pub(super) fn is_floor(&self) -> bool {
        self.is_floor
    }
}

/// What stands for the null image.
const FLOOR: &str = "(null image)";

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
                let pull = pull(comparison, image).unwrap_or_default();
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
            let row = row(image, image.name.clone(), standing, self.comparison);
            Row { behind: standing.behind.and_then(|behind| self.behind(behind, image)), ..row }
        });
        images.chain(self.floor()).collect()
    }

    /// How far an image is behind the first one; unknown if most starts of that one failed.
    fn behind(&self, behind: Median, image: &Image) -> Option<Bounded> {
        let first = &self.comparison.images[self.standings.first()?.image];
        let pull = |image: &Image| pull(self.comparison, image).unwrap_or_default();
        let (pull, pull_of_first) = (pull(image), pull(first));
        let both = image.starts.iter().zip(&first.starts).filter_map(|pair| match pair {
            (Ok(one), Ok(other)) => Some(pull + one.total.as_secs_f64() - (pull_of_first + other.total.as_secs_f64())),
            _ => None,
        });
        (!is_censored(first)).then(|| Bounded::of(behind, both))
    }

    /// The row of the null image.
    pub(super) fn floor(&self) -> Option<Row<'a>> {
        let floor = self.comparison.floor.as_ref().filter(|floor| !floor.starts.is_empty())?;
        let times: Vec<_> = floor.ready().map(|start| start.total.as_secs_f64()).collect();
        let standing = compare(&[(times, true)]).into_iter().next()?;
        Some(Row {
            is_floor: true,
            ..row(floor, FLOOR.to_owned(), &Standing { rank: None, ..standing }, self.comparison)
        })
    }
}

/// How many starts failed, without those that say nothing.
fn failures(image: &Image) -> usize {
    let counts = |start: &&Result<_, NotReady>| matches!(start, Err(why) if *why != NotReady::ClockStep);
    image.starts.iter().filter(counts).count()
}

/// Whether so many starts failed that the median is that of failures.
fn is_censored(image: &Image) -> bool {
    failures(image) >= image.ready().count()
}

/// What it takes to pull an image, by bandwidth.
fn pulls(comparison: &Comparison, image: &Image) -> Vec<Option<f64>> {
    let Some(pull) = image.pull else { return Vec::new() };
    comparison.model.bandwidths.iter().map(|bandwidth| pull.seconds(*bandwidth, comparison.unpacking)).collect()
}

/// What it takes to pull an image at the bandwidth that ranks, if one is known.
fn pull(comparison: &Comparison, image: &Image) -> Option<f64> {
    image.pull?.seconds(comparison.ranking()?, comparison.unpacking)
}

fn row<'a>(image: &'a Image, name: String, standing: &Standing, comparison: &Comparison) -> Row<'a> {
    // A published port accepts before the program does: when it listened is not known.
    let is_published = comparison.is_published();
    let step = |step: Step| {
        let of = |start: &Start| match step {
            Step::Listen if is_published => None,
            Step::Ready if is_published => Some(start.steps[Step::Listen as usize] + start.steps[Step::Ready as usize]),
            step => Some(start.steps[step as usize]),
        };
        let mut all: Vec<_> = image.ready().filter_map(|start| Some(of(start)?.as_secs_f64())).collect();
        (!all.is_empty()).then(|| median(&mut all))
    };
    let totals = Distribution::of_latencies(image.ready().map(|start| start.total))
        .with_failures(failures(image), comparison.timeout);
    let pull = pull(comparison, image);
    let known = pull.unwrap_or_default();
    let successes = image.ready().map(|start| known + start.total.as_secs_f64());
    Row {
        image,
        name,
        is_floor: false,
        rank: standing.rank,
        median: standing.median.map(|median| Bounded::of(median, successes).less(known)),
        behind: None,
        pulls: pulls(comparison, image),
        pull,
        is_censored: is_censored(image),
        p95: totals.quantile(Quantile::P95).map(|p95| p95.value),
        steps: Step::ALL.map(step),
        next: Next::of(image),
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
