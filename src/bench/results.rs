//! What was measured: samples in series, whether measured now or read from a file.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::model::{Failure, Phase};

/// Everything that one run measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// When it began, on the wall clock.
    pub began: SystemTime,
    /// How long it measured.
    pub duration: Duration,
    /// Where it comes from, for people: the configuration, the targets, or the file.
    pub source: String,
    /// What was measured, in the order in which it was configured or first seen.
    pub series: Vec<Series>,
    /// What a load test should have sent and did not, of no region in particular; `None` if its results do not count that.
    pub dropped: Option<u64>,
}

/// The samples of one way to measure a region.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// The region that is ranked.
    pub region: String,
    /// What distinguishes the series from others of its region: `probe`, `target`, and whatever a file has.
    pub tags: BTreeMap<String, String>,
    /// How long an answer was waited for. A failure took at least that long.
    pub deadline: Option<Duration>,
    /// Slots at which no probe could start in time.
    pub missed: u64,
    /// Probes that were sent and have no result yet; none when the run is over.
    pub in_flight: u64,
    /// What all samples were, where those that are kept were drawn from them.
    pub drawn_from: Option<Totals>,
    samples: Vec<Sample>,
    /// For each sample the phase in which it failed, if it failed and that is known.
    failed_in: Vec<Option<Phase>>,
    /// The phases that were measured, as columns: an entry for each sample, [`UNMEASURED`] where it has none.
    phases: Vec<(Phase, Vec<u64>)>,
}

/// What is known of all samples, however many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// All of them.
    pub count: u64,
    /// Those that failed on this host, which says nothing about the region.
    pub local: u64,
    /// The other ones that failed.
    pub failed: u64,
    /// The fastest success, in nanoseconds.
    pub min_ns: Option<u64>,
    /// The slowest success, in nanoseconds.
    pub max_ns: Option<u64>,
}

impl Totals {
    /// Adds a sample.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.count += 1;
        match outcome {
            Outcome::Ok(latency) => {
                let latency = nanos(*latency);
                self.min_ns = Some(self.min_ns.map_or(latency, |min| min.min(latency)));
                self.max_ns = self.max_ns.max(Some(latency));
            }
            Outcome::Failed(reason) if is_local(reason) => self.local += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }

    /// These and others.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            local: self.local.saturating_add(other.local),
            failed: self.failed.saturating_add(other.failed),
            min_ns: self.min_ns.into_iter().chain(other.min_ns).min(),
            max_ns: self.max_ns.max(other.max_ns),
        }
    }

    /// Those that say something about the region.
    pub(super) fn counted(&self) -> u64 {
        self.count.saturating_sub(self.local)
    }
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When it began, since [`Results::began`].
    pub at: Duration,
    /// Its result.
    pub outcome: Outcome,
}

/// The result of one measurement. A failure has no latency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The latency, in whole nanoseconds.
    Ok(Duration),
    /// Why it failed.
    Failed(Cow<'static, str>),
}

/// Stands for a phase that a sample does not have.
const UNMEASURED: u64 = u64::MAX;

impl Series {
    /// A series without samples.
    pub fn new(region: impl Into<String>, tags: BTreeMap<String, String>, deadline: Option<Duration>) -> Self {
        Self { region: region.into(), tags, deadline, ..Self::default() }
    }

    /// Says that a success of the series has these phases, before there is one.
    #[must_use]
    pub fn with_phases(mut self, phases: impl IntoIterator<Item = Phase>) -> Self {
        self.phases.extend(phases.into_iter().map(|phase| (phase, vec![UNMEASURED; self.samples.len()])));
        self
    }

    /// What all samples were.
    pub fn totals(&self) -> Totals {
        self.drawn_from.unwrap_or_else(|| {
            let mut totals = Totals::default();
            self.samples.iter().for_each(|sample| totals.add(&sample.outcome));
            totals
        })
    }

    /// The value of a tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.get(name).map(String::as_str)
    }

    /// Adds a sample without phases.
    pub fn push(&mut self, sample: Sample) {
        self.push_phases(sample, []);
    }

    /// Adds a failure, with the phase in which it failed, if that is known.
    pub fn push_failure(&mut self, sample: Sample, phase: Option<Phase>) {
        self.push(sample);
        self.set_failed_in(phase);
    }

    /// Notes in which phase the last sample failed.
    pub(super) fn set_failed_in(&mut self, phase: Option<Phase>) {
        if let Some(last) = self.failed_in.last_mut() {
            *last = phase;
        }
    }

    /// Adds a sample with the phases that it consists of, each at most once.
    pub fn push_phases(&mut self, sample: Sample, phases: impl IntoIterator<Item = (Phase, Duration)>) {
        for (phase, duration) in phases {
            let known = self.phases.iter().position(|(known, _)| *known == phase);
            let known = known.unwrap_or_else(|| {
                self.phases.push((phase, vec![UNMEASURED; self.samples.len()]));
                self.phases.len() - 1
            });
            let column = &mut self.phases[known].1;
            column.truncate(self.samples.len());
            column.push(nanos(duration).min(UNMEASURED - 1));
        }
        self.samples.push(sample);
        self.failed_in.push(None);
        for (_, column) in &mut self.phases {
            column.resize(self.samples.len(), UNMEASURED);
        }
    }

    /// Adds the samples of another series, in the order in which they began. Their phases are left out.
    pub(super) fn merge(&mut self, other: &Self) {
        let totals = self.totals().and(other.totals());
        let is_drawn = self.drawn_from.is_some() || other.drawn_from.is_some();
        self.samples.extend_from_slice(&other.samples);
        self.samples.sort_by_key(|sample| sample.at);
        self.failed_in = vec![None; self.samples.len()];
        self.phases.clear();
        self.deadline = self.deadline.into_iter().chain(other.deadline).min();
        self.missed = self.missed.saturating_add(other.missed);
        self.drawn_from = is_drawn.then_some(totals);
    }

    /// All samples, in the order in which they were added.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The phases that any sample has, or that a success would have, in their order on the network.
    pub fn phases(&self) -> Vec<Phase> {
        let mut phases: Vec<_> = self.phases.iter().map(|(phase, _)| *phase).collect();
        phases.sort_unstable();
        phases
    }

    /// How long a phase took: one entry for each sample, `None` where the sample does not have it.
    pub fn phase(&self, phase: Phase) -> impl Iterator<Item = Option<Duration>> + '_ {
        let column = self.phases.iter().find(|(known, _)| *known == phase).map_or(&[][..], |(_, column)| column);
        (0..self.samples.len())
            .map(|n| column.get(n).filter(|nanos| **nanos != UNMEASURED))
            .map(|nanos| nanos.map(|nanos| Duration::from_nanos(*nanos)))
    }

    /// The phase in which a sample failed, if it failed and that is known.
    pub fn failed_in(&self, sample: usize) -> Option<Phase> {
        self.failed_in.get(sample).copied().flatten()
    }

    /// How long a phase of one sample took.
    pub fn phase_of(&self, sample: usize, phase: Phase) -> Option<Duration> {
        let (_, column) = self.phases.iter().find(|(known, _)| *known == phase)?;
        column.get(sample).filter(|nanos| **nanos != UNMEASURED).map(|nanos| Duration::from_nanos(*nanos))
    }
}

/// Whether a failure was on this host.
pub(super) fn is_local(reason: &str) -> bool {
    Failure::parse(reason).is_some_and(Failure::is_local)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_keeps_its_own_phases_whatever_the_others_have() {
        let ms = Duration::from_millis;
        let sample = |at| Sample { at: ms(at), outcome: Outcome::Ok(ms(5)) };
        let mut series = Series::new("us", BTreeMap::new(), Some(ms(250)));
        series.push(sample(0));
        series.push_phases(sample(1), [(Phase::Transfer, ms(2)), (Phase::Connect, ms(3))]);
        series.push_phases(sample(2), [(Phase::Connect, ms(4))]);
        series.push(Sample { at: ms(3), outcome: Outcome::Failed("timeout".into()) });
        assert_eq!(series.phases(), [Phase::Connect, Phase::Transfer]);
        let of = |phase| series.phase(phase).collect::<Vec<_>>();
        assert_eq!(of(Phase::Connect), [None, Some(ms(3)), Some(ms(4)), None]);
        assert_eq!(of(Phase::Transfer), [None, Some(ms(2)), None, None]);
        assert_eq!(of(Phase::Tls), [None; 4]);
        for (n, connect) in of(Phase::Connect).into_iter().enumerate() {
            assert_eq!(series.phase_of(n, Phase::Connect), connect);
        }
        assert_eq!((series.phase_of(1, Phase::Tls), series.phase_of(9, Phase::Connect)), (None, None));
    }
}
