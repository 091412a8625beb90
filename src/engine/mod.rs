//! Sole owner of what was measured and of what follows from it: samples and votes in, metrics, extra_probes and incidents out.
//! Synchronous, without clock or lock.

mod overview;
mod summaries;
mod targets;

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use self::targets::FailoverTargets;
use crate::{
    config::{Config, Failover, ProbeConfig},
    decision::{
        Now, PathInfo, PeerSetup, Policy, StateChange, Vantage,
        ranking::{RankInput, Ranking, preferred},
        votes::VoteSet,
    },
    geography::light_round_trip,
    metrics::{AnchorSeries, Candidacy, Exposed, Metrics, PathSeries, PeerSeries, RegionSeries, VoteSeries},
    model::{Candidate, Kind, Outcome, Path, PathId, Region},
    schedule::{Event, OverdueAfter},
    window::{History, PathHistory, Summary, Trace, Window},
};

/// How many probes are remembered in all, which bounds memory; and for one path.
const REMEMBERED: usize = 32_000;
const REMEMBERED_EACH: usize = 50;

/// A path to be recorded.
#[derive(Debug)]
pub struct PathSetup<'a> {
    /// Its number.
    pub id: PathId,
    /// What it is.
    pub path: Path,
    /// How it is probed.
    pub probe: &'a ProbeConfig,
    /// Whether it is measured as before, so that its window still holds.
    pub unchanged: bool,
    /// How long its probes are waited for; set here, by what is usual for it.
    pub overdue_after: OverdueAfter,
}

/// An endpoint outside all regions.
#[derive(Debug)]
pub struct Anchor {
    /// How it is probed; its target is of no meaning.
    pub lane: PathInfo,
    /// Its name as configured.
    pub name: String,
}

/// Everything that is recorded from now on.
#[derive(Debug)]
pub struct Topology<'a> {
    /// The paths to the peers; those of a peer stand together.
    pub paths: Vec<PathSetup<'a>>,
    /// The anchors.
    pub anchors: Vec<Anchor>,
    /// The configuration that they are from.
    pub config: &'a Config,
    /// The series of what the peers' sidecars answer.
    pub votes: Vec<Arc<VoteSeries>>,
}

#[derive(Debug)]
struct PathState {
    path: Path,
    window: Window,
    trace: Trace,
    history: History,
    series: Arc<PathSeries>,
    overdue_after: OverdueAfter,
    /// Whether it was ever answered, since it is measured as it is now.
    answered: bool,
}

/// All targets of a peer, for one kind of probe.
#[derive(Debug)]
struct KindGroup {
    kind: Kind,
    members: Vec<PathId>,
    series: Arc<PeerSeries>,
    summary: Option<Summary>,
}

/// A peer region.
#[derive(Debug)]
struct Peer {
    region: Region,
    groups: Vec<KindGroup>,
    series: Arc<RegionSeries>,
}

/// Keeps windows, histories, verdicts and series of everything.
#[derive(Debug)]
pub struct Engine {
    metrics: Arc<Metrics>,
    paths: HashMap<PathId, PathState>,
    peers: Vec<Peer>,
    anchors: HashMap<PathId, Arc<AnchorSeries>>,
    vantage: Vantage,
    targets: FailoverTargets,
    ticks: usize,
}

/// What may be decided under a configuration.
const fn policy(config: &Config) -> Policy {
    let Failover { confirm_burst, execute_after, allow_single_vantage, .. } = config.failover;
    Policy { confirm_burst, execute_after, allow_single_vantage }
}

impl Engine {
    /// A engine without paths.
    pub fn new(metrics: Arc<Metrics>, config: &Config, now: Instant) -> Self {
        Self {
            metrics,
            paths: HashMap::new(),
            peers: Vec::new(),
            anchors: HashMap::new(),
            vantage: Vantage::new(policy(config), now),
            targets: FailoverTargets::new(config),
            ticks: 0,
        }
    }

    /// Records this from now on, and nothing else. A path that was recorded before keeps its counters, and its window
    /// where it is unchanged; a peer keeps its state.
    pub fn reconfigure(&mut self, topology: Topology<'_>, now: Now) {
        let Topology { paths, anchors, config, votes } = topology;
        let span = config.window;
        let mut before = std::mem::take(&mut self.paths);
        let mut known: HashMap<Region, Arc<RegionSeries>> =
            self.peers.drain(..).map(|peer| (peer.region, peer.series)).collect();
        let remembered = (REMEMBERED / paths.len().max(1)).clamp(4, REMEMBERED_EACH);
        let mut order = Vec::with_capacity(paths.len());
        let mut watched: Vec<PeerSetup> = Vec::new();
        for PathSetup { id, path, probe, unchanged, overdue_after } in paths {
            let window = || Window::new(span, probe.cadence.interval(), now.instant);
            let state = match before.remove(&id) {
                Some(state) if unchanged => PathState { overdue_after, ..state },
                Some(state) if state.series.fits(probe.shape()) => PathState {
                    window: window(),
                    trace: Trace::new(now.instant),
                    overdue_after,
                    answered: false,
                    ..state
                },
                // What can come of it is different now, so its series are, too.
                Some(state) => PathState {
                    window: window(),
                    trace: Trace::new(now.instant),
                    series: self.metrics.path(&path, probe.shape()),
                    overdue_after,
                    answered: false,
                    ..state
                },
                None => PathState {
                    window: window(),
                    trace: Trace::new(now.instant),
                    history: History::new(remembered),
                    series: self.metrics.path(&path, probe.shape()),
                    path: path.clone(),
                    overdue_after,
                    answered: false,
                },
            };
            order.push(Arc::clone(&state.series));
            self.paths.insert(id, state);
            if self.peers.last().is_none_or(|peer| peer.region != path.peer) {
                let region = path.peer.clone();
                let series = known.remove(&region).unwrap_or_else(|| self.metrics.region(&region));
                watched.push(PeerSetup { region: region.clone(), paths: Vec::new() });
                self.peers.push(Peer { region, groups: Vec::new(), series });
            }
            let (Some(peer), Some(watched)) = (self.peers.last_mut(), watched.last_mut()) else { continue };
            watched.paths.push(PathInfo {
                path: id,
                target: path.target,
                kind: path.kind,
                interval: probe.cadence.interval(),
                critical: probe.critical,
            });
            match peer.groups.iter_mut().find(|group| group.kind == path.kind) {
                Some(group) => group.members.push(id),
                None => {
                    let series = self.metrics.peer(&path.peer, path.kind);
                    peer.groups.push(KindGroup { kind: path.kind, members: vec![id], series, summary: None });
                }
            }
        }
        self.anchors.clear();
        let mut anchor_series = Vec::with_capacity(anchors.len());
        for Anchor { lane, name } in &anchors {
            let series = self.metrics.anchor(name);
            anchor_series.push(Arc::clone(&series));
            self.anchors.insert(lane.path, series);
        }
        self.vantage.reconfigure(
            policy(config),
            watched,
            anchors.into_iter().map(|anchor| anchor.lane).collect(),
            now.instant,
        );
        self.targets.reload(config);
        self.locate(config);
        // Filled before they are shown, so that no scrape misses them.
        (0..self.peers.len()).for_each(|n| self.publish(n, now.instant));
        self.rank(now);
        self.show(now);
        let groups = self.peers.iter().flat_map(|peer| &peer.groups);
        self.metrics.expose(Exposed {
            paths: order.into(),
            peers: groups.map(|group| Arc::clone(&group.series)).collect(),
            regions: self.peers.iter().map(|peer| Arc::clone(&peer.series)).collect(),
            votes: votes.into(),
            anchors: anchor_series.into(),
            ..Exposed::default()
        });
    }

    /// Takes what the schedule says. Events of paths that are not recorded any more are dropped.
    pub fn record(&mut self, event: Event, now: Now) {
        match event {
            Event::Sampled { sample, start_delay, late, duplicates, failed_in } => {
                self.metrics.vantage().observe_start_delay(start_delay);
                self.vantage.on_start(start_delay);
                self.vantage.on_result(sample.path, sample.sent_at, &sample.outcome, late, now);
                let Some(state) = self.paths.get_mut(&sample.path) else { return };
                state.answered |= sample.outcome.is_ok();
                state.window.push(sample.sent_at, &sample.outcome);
                state.trace.push(sample.sent_at, &sample.outcome);
                state.history.push(sample.sent_at_unix, sample.outcome, failed_in);
                count(&state.series, &sample.outcome, sample.sent_at_unix);
                if late > 0 {
                    state.series.add_late(late);
                }
                if duplicates > 0 {
                    state.series.add_duplicates(duplicates);
                }
                if let Ok(timings) = sample.outcome {
                    self.metrics.vantage().set_timestamp_source(timings.source);
                }
            }
            Event::Overdue { path, sent_at } => self.vantage.on_overdue(path, sent_at, now),
            Event::Late { path } => {
                self.vantage.on_late_reply(path, now);
                if let Some(state) = self.paths.get(&path) {
                    state.series.add_late(1);
                }
            }
            Event::ClockStepped { .. } => self.metrics.vantage().count_clock_step(),
            Event::SlotsMissed { path, count } => {
                self.vantage.on_missed_slots();
                if let Some(state) = self.paths.get(&path) {
                    state.series.add_missed_slots(count);
                }
            }
        }
    }

    /// Takes what a vantage says, which it was asked for at `asked_at`: its votes, and who could replace it.
    pub fn hear(&mut self, from: &Region, asked_at: Instant, views: VoteSet, candidates: Vec<Candidate>, now: Now) {
        self.targets.hear(from, asked_at, candidates);
        self.vantage.on_votes(from, asked_at, views, now);
    }

    /// When to [`wake`](Self::wake) it, if ever.
    pub fn wake_at(&self) -> Option<Instant> {
        self.vantage.wake_at()
    }

    /// Does what was to be done at this time.
    pub fn wake(&mut self, now: Now) {
        self.vantage.on_timer(now);
    }

    /// Judges anew, and brings a share of the peers' gauges up to date; to be called each second.
    pub fn tick(&mut self, now: Now) {
        self.ticks += 1;
        self.publish_some(now.instant);
        self.read_some(now);
        self.vantage.on_tick(now);
        self.rank(now);
        self.show(now);
    }

    /// What has changed since it was asked last.
    pub fn take_changes(&mut self, now: Now) -> Vec<StateChange> {
        let news = self.vantage.take_changes();
        for news in &news {
            if let StateChange::State { peer, transition, .. } = news
                && let Some(peer) = self.peers.iter().find(|known| known.region == *peer)
            {
                peer.series.count_change(*transition);
            }
        }
        if !news.is_empty() {
            self.rank(now);
            self.show(now);
        }
        news
    }

    /// The paths to be probed now, beside their slots.
    pub fn take_extra_probes(&mut self) -> Vec<PathId> {
        self.vantage.take_extra_probes()
    }

    /// Who could take over from this region.
    pub fn ranking(&self) -> &Ranking {
        self.targets.ranking()
    }

    /// What this vantage thinks.
    pub const fn vantage(&self) -> &Vantage {
        &self.vantage
    }

    /// Ranks the peers by what is known now.
    fn rank(&mut self, now: Now) {
        let standings: Vec<_> = self
            .peers
            .iter()
            .zip(self.vantage.peers())
            .map(|(peer, standing)| RankInput {
                region: peer.region.clone(),
                state: standing.state,
                summary: preferred(peer.groups.iter().filter_map(|group| Some((group.kind, group.summary?))))
                    .map(|(_, summary)| summary),
                lag: None,
                held_down: standing.tally.reached,
            })
            .collect();
        let ranking = self.targets.rank(&standings, now.instant);
        for peer in &self.peers {
            if let Some(row) = ranking.of(&peer.region) {
                let score = row.score.map(|score| score.as_secs_f64());
                peer.series.set_candidacy(&Candidacy { reasons: row.reasons.clone(), rank: row.rank, score });
            }
        }
    }

    /// Shows how far away the peers are, where that is known.
    fn locate(&self, config: &Config) {
        for (peer, configured) in self.peers.iter().zip(&config.peers) {
            if let (Some(here), Some(there)) = (config.location, configured.location) {
                let meters = here.distance_meters(there);
                peer.series.set_distance(meters, light_round_trip(meters).as_secs_f64());
            }
        }
    }

    fn show(&self, now: Now) {
        for (peer, standing) in self.peers.iter().zip(self.vantage.peers()) {
            peer.series.set_state(standing.state, now.unix_at(standing.since), &standing.tally);
            peer.series.set_incidents(standing.incident.into_iter().flat_map(|incident| incident.stages()));
        }
        for (path, answers) in self.vantage.anchors() {
            if let Some(series) = self.anchors.get(&path) {
                series.set_success(answers);
            }
        }
        self.metrics.vantage().set_health(self.vantage.is_isolated(), self.vantage.health_score());
    }

    /// The last probes of the paths that match, in the order of their names, of at most `limit` paths.
    pub fn histories(&self, matches: impl Fn(&Path) -> bool, limit: usize) -> Vec<PathHistory> {
        let mut found: Vec<_> = self.paths.values().filter(|state| matches(&state.path)).collect();
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let history = |state: &PathState| PathHistory { path: state.path.clone(), samples: state.history.records() };
        found.into_iter().take(limit).map(history).collect()
    }
}

fn count(series: &PathSeries, outcome: &Outcome, sent_at: u64) {
    match outcome {
        Ok(timings) => series.record_success(timings, sent_at),
        Err(failure) => series.record_failure(*failure),
    }
}

#[cfg(test)]
mod tests;
