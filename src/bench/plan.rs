//! What a run measures, how often, and for how long.

use std::{collections::BTreeMap, time::Duration};

use super::{Series, target};
use crate::{
    config::{Config, ProbeConfig},
    geography::{Location, light_round_trip},
    model::{Cadence, Path, Phase, Region},
    yaml::units::duration_text,
};

/// Probes per second of a path, unless asked otherwise: 420 in a minute give the 99th percentile an interval, which needs 368.
/// Twenty regions with four kinds of probes then take less than a tenth of a processor.
const RATE: f64 = 7.0;

/// Samples that are kept at most; some 100 bytes each.
const MAX_SAMPLES: u64 = 10_000_000;

/// How long a run measures, unless asked otherwise.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(60);

/// How long and how often a run measures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// For how long; [`DEFAULT_DURATION`] if neither this nor `samples` is given.
    pub duration: Option<Duration>,
    /// The number of probes of each path.
    pub samples: Option<u64>,
    /// Probes per second of each path. Without it, seven, or fewer if a path waits longer for its answers.
    pub rate: Option<f64>,
}

/// A path that is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// What it is.
    pub path: Path,
    /// How it is probed.
    pub probe: ProbeConfig,
}

/// Everything that a run measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where it comes from, for people.
    pub source: String,
    /// The paths, those of a region and target together.
    pub paths: Vec<Planned>,
    /// The shortest possible round trip to each region, as far as it is known where it is.
    pub light: BTreeMap<String, Duration>,
    /// For how long it measures; without it, until every path has its samples.
    pub duration: Option<Duration>,
    /// After how many probes a path is done.
    pub samples: Option<u64>,
}

impl Plan {
    /// The series of the paths, without samples.
    pub fn series(&self) -> Vec<Series> {
        let series = self.paths.iter().map(|Planned { path, probe }| {
            let tags = [("probe", path.kind.as_str()), ("target", path.target.as_str())];
            let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let phases = probe.shape().phases;
            let series = Series::new(path.peer.as_str(), tags, Some(probe.cadence.timeout()));
            series.with_phases(Phase::ALL.iter().copied().filter(|phase| phases.contains(*phase)))
        });
        series.collect()
    }

    /// The plan for a configuration.
    ///
    /// # Errors
    /// What is wrong with the limits; what to do instead.
    pub fn of_config(config: &Config, source: String, limits: Limits) -> Result<Self, String> {
        let paths = config.peer_paths().map(|(path, probe)| Planned { path, probe: probe.clone() }).collect();
        let places = config.peers.iter().map(|peer| (peer.region.to_string(), peer.location));
        let light = light(config.location, places);
        Self { source, paths, light, duration: None, samples: None }.limited(limits)
    }

    /// The plan for targets of the command line. `from` is the region that this host is in.
    ///
    /// # Errors
    /// What is wrong with the targets or the limits, a line for each; what to do instead.
    pub fn of_targets(targets: &[String], from: Option<&Region>, limits: Limits) -> Result<Self, String> {
        let paths: Vec<_> = target::read(targets)?.into_iter().map(|(path, probe)| Planned { path, probe }).collect();
        let places = paths.iter().map(|planned| {
            let region = planned.path.peer.as_str();
            (region.to_owned(), Location::of_region(region))
        });
        let light = light(from.and_then(|from| Location::of_region(from.as_str())), places);
        Self { source: targets.join(" "), paths, light, duration: None, samples: None }.limited(limits)
    }

    fn limited(mut self, limits: Limits) -> Result<Self, String> {
        self.samples = limits.samples;
        self.duration = limits.duration.or_else(|| limits.samples.is_none().then_some(DEFAULT_DURATION));
        let mut expected = 0_u64;
        for Planned { path, probe } in &mut self.paths {
            let timeout = probe.cadence.timeout();
            // More in flight are not allowed.
            let least = (timeout / Cadence::MAX_IN_FLIGHT + Duration::from_nanos(1)).max(Cadence::MIN_INTERVAL);
            let asked = Duration::from_secs_f64(1.0 / limits.rate.unwrap_or(RATE));
            let interval = if limits.rate.is_none() { asked.max(least) } else { asked };
            let Some(cadence) = Cadence::new(interval, timeout) else {
                return Err(format!(
                    "--rate {}: keeps more than {} probes of {path} in flight, whose timeout is {}; write at most {}",
                    limits.rate.unwrap_or(RATE),
                    Cadence::MAX_IN_FLIGHT,
                    duration_text(timeout),
                    (1.0 / least.as_secs_f64()).floor(),
                ));
            };
            probe.cadence = cadence;
            let by_time = self.duration.map(|whole| whole.as_nanos() / interval.as_nanos().max(1) + 1);
            let by_time = by_time.map_or(u64::MAX, |count| u64::try_from(count).unwrap_or(u64::MAX));
            expected = expected.saturating_add(by_time.min(self.samples.unwrap_or(u64::MAX)));
        }
        if expected > MAX_SAMPLES {
            return Err(format!(
                "this run would take {expected} samples, and {MAX_SAMPLES} can be kept; write a shorter --duration, fewer \
                 --samples or a lower --rate"
            ));
        }
        Ok(self)
    }
}

/// The shortest possible round trip to each place that is known.
pub(super) fn light(
    from: Option<Location>,
    places: impl IntoIterator<Item = (String, Option<Location>)>,
) -> BTreeMap<String, Duration> {
    let trip = |to: Location| Some(light_round_trip(from?.distance_meters(to)));
    places.into_iter().filter_map(|(region, place)| Some((region, place.and_then(trip)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(limits: Limits) -> Result<Plan, String> {
        let targets = ["us-east-1=http://192.0.2.1/", "here=icmp://192.0.2.2"].map(str::to_owned);
        Plan::of_targets(&targets, Some(&Region::new("eu-west-1").unwrap()), limits)
    }

    #[test]
    fn a_run_lasts_a_minute_at_seven_probes_per_second_unless_asked_otherwise() {
        let usual = plan(Limits::default()).unwrap();
        assert_eq!((usual.duration, usual.samples), (Some(Duration::from_secs(60)), None));
        assert!(
            usual.paths.iter().all(|planned| planned.probe.cadence.interval() == Duration::from_secs_f64(1.0 / 7.0))
        );
        let counted = plan(Limits { samples: Some(7), rate: Some(0.5), ..Limits::default() }).unwrap();
        assert_eq!((counted.duration, counted.samples), (None, Some(7)));
        assert!(counted.paths.iter().all(|planned| planned.probe.cadence.interval() == Duration::from_secs(2)));
        assert_eq!(
            usual.light.iter().map(|(name, trip)| (&**name, trip.as_millis())).collect::<Vec<_>>(),
            [("us-east-1", 54)]
        );
    }

    #[test]
    fn limits_that_cannot_be_kept_are_refused_with_those_that_can() {
        let error = |limits| plan(limits).unwrap_err();
        let told = error(Limits { rate: Some(101.0), ..Limits::default() });
        assert!(told.starts_with("--rate 101: ") && told.contains("; write at most "), "{told}");
        let most: f64 = told.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(plan(Limits { rate: Some(most), ..Limits::default() }).is_ok(), "{told}");
        let told = error(Limits { samples: Some(MAX_SAMPLES), ..Limits::default() });
        assert!(told.starts_with("this run would take 20000000 samples"), "{told}");
        assert!(plan(Limits { samples: Some(MAX_SAMPLES), duration: Some(DEFAULT_DURATION), rate: None }).is_ok());
    }
}
