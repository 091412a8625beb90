//! Samples of a load test into series, in bounded memory.
//!
//! Where a file has more samples than are kept, each sample is kept with the same probability: the intervals are those of the
//! samples that are kept. What is no estimate is exact, in [`Series::drawn_from`].

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::fault::{Fault, Parsed};
use crate::{
    bench::{Outcome, Results, Sample, Series, Totals},
    model::{Failure, Phase},
};

/// The most samples that are kept: some 100 MB with what is made of them.
const MAX_SAMPLES: usize = 500_000;

/// The most series; more are not regions.
const MAX_SERIES: usize = 1000;

/// The longest name of a region and value of a tag, in characters.
const MAX_NAME: usize = 200;

/// How the samples of a file become series.
#[derive(Debug, Clone, Default)]
pub struct Grouping {
    /// The tag or column that names the region; without one JMeter's label, and k6's tag `region` or else `name`.
    pub region_by: Option<String>,
    /// Tags that distinguish series of one region, because a threshold asks for them.
    pub tags: BTreeSet<String>,
}

/// One request of a load test.
pub(super) struct Request<'a> {
    /// When it began, since 1970.
    pub(super) at: Duration,
    pub(super) outcome: Result<Duration, Failure>,
    /// How long it took, also if it failed.
    pub(super) took: Duration,
    /// What a tag of it is, if it has the tag.
    pub(super) tag: &'a dyn Fn(&str) -> Option<String>,
    /// What names its region if no tag is chosen.
    pub(super) region: &'a dyn Fn() -> Option<String>,
    pub(super) phases: &'a [(Phase, Duration)],
}

struct Kept {
    series: usize,
    at: Duration,
    outcome: Result<Duration, Failure>,
    phases: [Option<(Phase, Duration)>; 3],
}

/// Makes series of requests.
pub(super) struct Collector {
    grouping: Grouping,
    series: HashMap<(String, Vec<(String, String)>), usize>,
    /// In the order of `series`' numbers.
    keys: Vec<(String, Vec<(String, String)>)>,
    /// What all requests of each series were.
    totals: Vec<Totals>,
    /// The shortest time that a failure of each series took.
    failures_took: Vec<Option<Duration>>,
    dropped: Option<u64>,
    kept: Vec<Kept>,
    most: usize,
    /// A sample is kept with a probability of `1 / 2^halvings`.
    halvings: u32,
    random: StdRng,
    seen: u64,
    span: Option<(Duration, Duration)>,
}

impl Collector {
    pub(super) fn new(grouping: Grouping) -> Self {
        Self::with_most(grouping, MAX_SAMPLES)
    }

    pub(super) fn with_most(grouping: Grouping, most: usize) -> Self {
        Self {
            grouping,
            series: HashMap::new(),
            keys: Vec::new(),
            totals: Vec::new(),
            failures_took: Vec::new(),
            dropped: None,
            kept: Vec::new(),
            most,
            halvings: 0,
            // The same file gives the same samples.
            random: StdRng::seed_from_u64(0),
            seen: 0,
            span: None,
        }
    }

    /// Adds a request.
    ///
    /// # Errors
    /// If there are too many series.
    pub(super) fn add(&mut self, request: &Request<'_>, line: u64) -> Parsed<()> {
        self.seen += 1;
        let end = request.at.saturating_add(request.took);
        let (first, last) = self.span.unwrap_or((request.at, end));
        self.span = Some((first.min(request.at), last.max(end)));
        let series = self.series_of(request, line)?;
        self.totals[series].add(&outcome(request.outcome));
        if request.outcome.is_err_and(|failure| !failure.is_local()) {
            let shortest = &mut self.failures_took[series];
            *shortest = Some(shortest.map_or(request.took, |took| took.min(request.took)));
        }
        if self.halvings > 0 && self.random.random_range(0..1_u64 << self.halvings.min(63)) > 0 {
            return Ok(());
        }
        if self.kept.len() >= self.most {
            let random = &mut self.random;
            self.kept.retain(|_| random.random());
            self.halvings += 1;
        }
        let mut phases = [None; 3];
        phases.iter_mut().zip(request.phases).for_each(|(slot, phase)| *slot = Some(*phase));
        self.kept.push(Kept { series, at: request.at, outcome: request.outcome, phases });
        Ok(())
    }

    /// Adds requests that were due and not sent. A file that counts them says so, even if there are none.
    pub(super) fn add_dropped(&mut self, count: u64) {
        self.dropped = Some(self.dropped.unwrap_or(0).saturating_add(count));
    }

    fn series_of(&mut self, request: &Request<'_>, line: u64) -> Parsed<usize> {
        let short = |text: String| text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect::<String>();
        let region = match &self.grouping.region_by {
            Some(tag) => (request.tag)(tag),
            None => (request.region)(),
        };
        let region = region.map(short).filter(|name| !name.is_empty()).unwrap_or_else(|| "(none)".to_owned());
        let tags = self.grouping.tags.iter().filter_map(|tag| Some((tag.clone(), short((request.tag)(tag)?))));
        let key = (region, tags.collect());
        if let Some(number) = self.series.get(&key) {
            return Ok(*number);
        }
        if self.keys.len() == MAX_SERIES {
            let reason = format!(
                "has more than {MAX_SERIES} regions, such as {:?}; choose what names the region with --region-by",
                key.0
            );
            return Err(Fault::new(line, reason));
        }
        self.keys.push(key.clone());
        self.totals.push(Totals::default());
        self.failures_took.push(None);
        self.series.insert(key, self.keys.len() - 1);
        Ok(self.keys.len() - 1)
    }

    /// Everything that was added.
    ///
    /// # Errors
    /// If nothing was.
    pub(super) fn finish(self, name: &str) -> Parsed<Results> {
        let Some((first, last)) = self.span else {
            return Err(Fault::new(0, "has no request; name a file with results of JMeter or k6"));
        };
        let Self { mut kept, keys, totals, failures_took, dropped, .. } = self;
        // JMeter writes a request when it ends.
        kept.sort_by_key(|sample| sample.at);
        let mut series: Vec<_> = keys
            .into_iter()
            .zip(failures_took)
            // Each failure took at least as long as the shortest one.
            .map(|((region, tags), took)| Series::new(region, tags.into_iter().collect::<BTreeMap<_, _>>(), took))
            .collect();
        if (kept.len() as u64) < self.seen {
            series.iter_mut().zip(totals).for_each(|(series, totals)| series.drawn_from = Some(totals));
        }
        for Kept { series: number, at, outcome: kept, phases } in kept {
            let sample = Sample { at: at.saturating_sub(first), outcome: outcome(kept) };
            series[number].push_phases(sample, phases.into_iter().flatten());
        }
        let kept: usize = series.iter().map(|series| series.samples().len()).sum();
        let source = match kept as u64 {
            kept if kept < self.seen => format!("{name} ({kept} of {} requests, drawn at random)", self.seen),
            _ => name.to_owned(),
        };
        let began = SystemTime::UNIX_EPOCH.checked_add(first).unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Results { began, duration: last.saturating_sub(first), source, series, dropped })
    }
}

fn outcome(of: Result<Duration, Failure>) -> Outcome {
    match of {
        Ok(latency) => Outcome::Ok(latency),
        Err(failure) => Outcome::Failed(Cow::Borrowed(failure.as_str())),
    }
}
