//! Sole owner of what was measured: a sample in, metrics and windows out. Synchronous, without clock or lock.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    config::ProbeConfig,
    metrics::{Exposed, Metrics, PathSeries, PeerSeries},
    model::{Outcome, Path, PathId, ProbeKind, Region},
    schedule::Event,
    window::{History, PathHistory, Record, Window},
};

/// How many probes are remembered in all, which bounds memory; and for one path.
const REMEMBERED: usize = 32_000;
const REMEMBERED_EACH: usize = 50;

/// In how many steps all peers' gauges are brought up to date: quantiles over five minutes cost time, and need
/// not be younger than this many [ticks](Recorder::tick).
const STEPS: usize = 5;

/// A path to be recorded.
#[derive(Debug)]
pub struct Tracking<'a> {
    /// Its number.
    pub id: PathId,
    /// What it is.
    pub path: Path,
    /// How it is probed.
    pub probe: &'a ProbeConfig,
    /// Whether it is measured as before, so that its window still holds.
    pub unchanged: bool,
}

#[derive(Debug)]
struct Tracked {
    path: Path,
    window: Window,
    history: History,
    series: Arc<PathSeries>,
}

/// All targets of a peer, for one kind of probe.
#[derive(Debug)]
struct Group {
    members: Vec<PathId>,
    series: Arc<PeerSeries>,
}

/// Keeps windows, histories and series of all paths.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    paths: HashMap<PathId, Tracked>,
    groups: Vec<Group>,
    step: usize,
}

impl Recorder {
    /// A recorder without paths.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, paths: HashMap::new(), groups: Vec::new(), step: 0 }
    }

    /// Records these paths from now on, and no others. A path that was recorded before keeps its counters, and
    /// its window where it is unchanged.
    pub fn track(&mut self, trackings: Vec<Tracking<'_>>, span: Duration, now: Instant) {
        let mut before = std::mem::take(&mut self.paths);
        let remembered = (REMEMBERED / trackings.len().max(1)).clamp(4, REMEMBERED_EACH);
        let mut groups: Vec<((Region, ProbeKind), Group)> = Vec::new();
        let mut places: HashMap<(Region, ProbeKind), usize> = HashMap::new();
        let mut order = Vec::with_capacity(trackings.len());
        for Tracking { id, path, probe, unchanged } in trackings {
            let window = || Window::new(span, probe.cadence.interval(), now);
            let tracked = match before.remove(&id) {
                Some(tracked) if unchanged => tracked,
                Some(tracked) if tracked.series.fits(probe) => Tracked { window: window(), ..tracked },
                // What can come of it is different now, so its series are, too.
                Some(tracked) => Tracked { window: window(), series: self.metrics.path(&path, probe), ..tracked },
                None => Tracked {
                    window: window(),
                    history: History::new(remembered),
                    series: self.metrics.path(&path, probe),
                    path: path.clone(),
                },
            };
            let key = (path.peer, path.kind);
            let place = *places.entry(key.clone()).or_insert_with(|| {
                let series = self.metrics.peer(&key.0, key.1);
                groups.push((key, Group { members: Vec::new(), series }));
                groups.len() - 1
            });
            groups[place].1.members.push(id);
            order.push(Arc::clone(&tracked.series));
            self.paths.insert(id, tracked);
        }
        self.groups = groups.into_iter().map(|(_, group)| group).collect();
        // Filled before they are shown, so that no scrape misses them.
        self.publish(now, 0, 1);
        let peers = self.groups.iter().map(|group| Arc::clone(&group.series)).collect();
        self.metrics.expose(Exposed { paths: order.into(), peers, ..Exposed::default() });
    }

    /// Takes what the schedule says. Events of paths that are not recorded any more are dropped.
    pub fn record(&mut self, event: Event) {
        match event {
            Event::Sampled { sample, start_delay, late, duplicates } => {
                self.metrics.started_late_by(start_delay);
                let Some(tracked) = self.paths.get_mut(&sample.path) else { return };
                tracked.window.push(sample.sent_at, &sample.outcome);
                tracked.history.push(Record { sent_at: sample.sent_at_unix, outcome: sample.outcome });
                count(&tracked.series, &sample.outcome, sample.sent_at_unix);
                if late > 0 {
                    tracked.series.came_late(late);
                }
                if duplicates > 0 {
                    tracked.series.came_twice(duplicates);
                }
                if let Ok(timings) = sample.outcome {
                    self.metrics.measured_by(timings.source);
                }
            }
            Event::Late { path } => {
                if let Some(tracked) = self.paths.get(&path) {
                    tracked.series.came_late(1);
                }
            }
            Event::Overdue { .. } => {}
            Event::ClockStepped { .. } => self.metrics.clock_stepped(),
            Event::SlotsMissed { path, count } => {
                if let Some(tracked) = self.paths.get(&path) {
                    tracked.series.missed_slots(count);
                }
            }
        }
    }

    /// Brings a share of the peers' gauges up to date; to be called each second.
    pub fn tick(&mut self, now: Instant) {
        self.step = (self.step + 1) % STEPS;
        self.publish(now, self.step, STEPS);
    }

    fn publish(&mut self, now: Instant, first: usize, step: usize) {
        for group in self.groups.iter().skip(first).step_by(step) {
            let mut windows: Vec<_> = Vec::with_capacity(group.members.len());
            // Taken out of the map for the time of the merge, because it borrows them all.
            for id in &group.members {
                windows.extend(self.paths.remove(id).map(|tracked| (*id, tracked)));
            }
            let summary = Window::merged(windows.iter_mut().map(|(_, tracked)| &mut tracked.window), now);
            self.paths.extend(windows);
            group.series.publish(summary);
        }
    }

    /// The last probes of the paths that match, in the order of their names, of at most `limit` paths.
    pub fn histories(&self, matches: impl Fn(&Path) -> bool, limit: usize) -> Vec<PathHistory> {
        let mut found: Vec<_> = self.paths.values().filter(|tracked| matches(&tracked.path)).collect();
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let history =
            |tracked: &Tracked| PathHistory { path: tracked.path.clone(), samples: tracked.history.records() };
        found.into_iter().take(limit).map(history).collect()
    }
}

fn count(series: &PathSeries, outcome: &Outcome, sent_at: u64) {
    match outcome {
        Ok(timings) => series.succeeded(timings, sent_at),
        Err(failure) => series.failed(*failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{IcmpSpec, ProbeSpec},
        metrics::Collect,
        model::{AddressFamily, Cadence, Failure, Host, Phase, Sample, StampSource, TargetName, Timings},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn probe() -> ProbeConfig {
        ProbeConfig {
            cadence: Cadence::new(SECOND, SECOND).unwrap(),
            host: Host::Addr("127.0.0.1".parse().unwrap()),
            family: AddressFamily::Any,
            tos: None,
            spec: ProbeSpec::Icmp(IcmpSpec::default()),
        }
    }

    fn path(target: &str) -> Path {
        Path { peer: Region::new("there").unwrap(), target: TargetName::new(target).unwrap(), kind: ProbeKind::Icmp }
    }

    fn sampled(id: u32, outcome: Outcome, at: Instant) -> Event {
        Event::Sampled {
            sample: Sample { path: PathId(id), sent_at: at, sent_at_unix: 1, outcome },
            start_delay: Duration::ZERO,
            late: 0,
            duplicates: 0,
        }
    }

    fn ok() -> Outcome {
        Ok(Timings::single(Phase::Rtt, Duration::from_millis(5), StampSource::Kernel))
    }

    struct Fixture {
        recorder: Recorder,
        metrics: Arc<Metrics>,
        probe: ProbeConfig,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let metrics = Arc::new(Metrics::new(&Region::new("here").unwrap(), &[0.01]).unwrap());
            let recorder = Recorder::new(Arc::clone(&metrics));
            Self { recorder, metrics, probe: probe(), now: Instant::now() }
        }

        fn track(&mut self, targets: &[(u32, &str, bool)]) {
            let tracking = |&(id, target, unchanged): &(u32, &str, bool)| Tracking {
                id: PathId(id),
                path: path(target),
                probe: &self.probe,
                unchanged,
            };
            self.recorder.track(targets.iter().map(tracking).collect(), SECOND * 60, self.now);
        }

        fn page(&self) -> String {
            let mut out = Vec::new();
            let mut page = self.metrics.page(Collect::All);
            while page.next(&mut out) {}
            String::from_utf8(out).unwrap()
        }
    }

    #[test]
    fn a_path_that_stays_keeps_its_counters_and_its_window() {
        let mut fixture = Fixture::new();
        fixture.track(&[(1, "a", false), (2, "b", false)]);
        fixture.recorder.record(sampled(1, ok(), fixture.now));
        fixture.recorder.record(sampled(1, Err(Failure::Timeout), fixture.now));
        fixture.track(&[(1, "a", true), (3, "c", false)]);
        let page = fixture.page();
        assert!(page.contains("target=\"a\",probe=\"icmp\",result=\"ok\"} 1\n"), "{page}");
        assert!(!page.contains("target=\"b\"") && page.contains("target=\"c\""));
        assert!(page.contains(
            "regionwatch_peer_loss_ratio{vantage_region=\"here\",peer_region=\"there\",probe=\"icmp\"} 0.5\n"
        ));
    }

    #[test]
    fn a_path_that_is_measured_otherwise_keeps_its_counters_but_not_its_window() {
        let mut fixture = Fixture::new();
        fixture.track(&[(1, "a", false)]);
        fixture.recorder.record(sampled(1, Err(Failure::Timeout), fixture.now));
        fixture.track(&[(1, "a", false)]);
        let page = fixture.page();
        assert!(page.contains("result=\"timeout\"} 1\n"));
        assert!(!page.contains("regionwatch_peer_loss_ratio{"));
    }

    #[test]
    fn a_path_whose_results_can_be_others_now_begins_anew() {
        let mut fixture = Fixture::new();
        fixture.track(&[(1, "a", false)]);
        fixture.recorder.record(sampled(1, Err(Failure::Timeout), fixture.now));
        fixture.probe.host = Host::Name("a.example".into());
        fixture.track(&[(1, "a", false)]);
        let page = fixture.page();
        assert!(page.contains("result=\"resolve\"} 0\n") && page.contains("result=\"timeout\"} 0\n"), "{page}");
    }

    #[test]
    fn what_a_path_says_after_it_was_removed_is_dropped() {
        let mut fixture = Fixture::new();
        fixture.track(&[(1, "a", false)]);
        fixture.track(&[]);
        fixture.recorder.record(sampled(1, ok(), fixture.now));
        fixture.recorder.record(Event::Late { path: PathId(1) });
        fixture.recorder.record(Event::SlotsMissed { path: PathId(1), count: 3 });
        assert!(!fixture.page().contains("target="));
    }

    #[test]
    fn gauges_of_every_peer_are_published_within_the_steps() {
        let mut fixture = Fixture::new();
        fixture.track(&[(1, "a", false)]);
        fixture.recorder.record(sampled(1, ok(), fixture.now));
        for _ in 0..STEPS {
            fixture.recorder.tick(fixture.now);
        }
        assert!(fixture.page().contains("quantile=\"0.5\"} 0.005\n"));
        // Silence ages: what is older than the span says nothing any more.
        for _ in 0..STEPS {
            fixture.recorder.tick(fixture.now + SECOND * 61);
        }
        assert!(!fixture.page().contains("quantile=\"0.5\"}"));
    }

    #[test]
    fn histories_are_filtered_ordered_and_limited() {
        let mut fixture = Fixture::new();
        fixture.track(&[(1, "b", false), (2, "a", false), (3, "c", false)]);
        fixture.recorder.record(sampled(2, ok(), fixture.now));
        let histories = fixture.recorder.histories(|path| path.target.as_str() != "c", 10);
        let names: Vec<_> = histories.iter().map(|history| history.path.target.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((histories[0].samples.len(), histories[1].samples.len()), (1, 0));
        assert_eq!(fixture.recorder.histories(|_| true, 1).len(), 1);
    }
}
