//! Sole owner of what was measured and of what follows from it: samples and votes in, metrics, orders and incidents out.
//! Synchronous, without clock or lock.

mod overview;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    config::{Config, Failover, ProbeConfig},
    geography::light_round_trip,
    metrics::{AnchorSeries, Candidacy, Exposed, Metrics, PathSeries, PeerSeries, RegionSeries, VoteSeries},
    model::{Candidate, Cause, Incident, Outcome, Path, PathId, PeerState, ProbeKind, Region, Stage},
    quorum::Views,
    ranking::{Published, Ranking, Standing, Table, preferred},
    schedule::{Event, Patience},
    vantage::{Episode, News, Now, Policy, Vantage, Watched},
    verdict::{Lane, Reading},
    window::{History, PathHistory, Record, Summary, Trace, Window},
};

/// How many probes are remembered in all, which bounds memory; and for one path.
const REMEMBERED: usize = 32_000;
const REMEMBERED_EACH: usize = 50;

/// In how many steps all peers' gauges are brought up to date: quantiles over five minutes cost time, and need
/// not be younger than this many [ticks](Recorder::tick).
const STEPS: usize = 5;

/// The same for how well each peer has answered in the last minute.
const READING_STEPS: usize = 10;
const READING_SPAN: Duration = Duration::from_secs(60);

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
    /// How long its probes are waited for; set here, by what is usual for it.
    pub patience: Patience,
}

/// An endpoint outside all regions.
#[derive(Debug)]
pub struct Anchor {
    /// How it is probed; its target is of no meaning.
    pub lane: Lane,
    /// Its name as configured.
    pub name: String,
}

/// Everything that is recorded from now on.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The paths to the peers; those of a peer stand together.
    pub paths: Vec<Tracking<'a>>,
    /// The anchors.
    pub anchors: Vec<Anchor>,
    /// The configuration that they are from.
    pub config: &'a Config,
    /// The series of what the peers' sidecars answer.
    pub votes: Vec<Arc<VoteSeries>>,
}

#[derive(Debug)]
struct Tracked {
    path: Path,
    window: Window,
    trace: Trace,
    history: History,
    series: Arc<PathSeries>,
    patience: Patience,
}

/// All targets of a peer, for one kind of probe.
#[derive(Debug)]
struct Group {
    kind: ProbeKind,
    members: Vec<PathId>,
    series: Arc<PeerSeries>,
    summary: Option<Summary>,
}

/// A peer region.
#[derive(Debug)]
struct Peer {
    region: Region,
    groups: Vec<Group>,
    series: Arc<RegionSeries>,
}

/// Keeps windows, histories, verdicts and series of everything.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    paths: HashMap<PathId, Tracked>,
    peers: Vec<Peer>,
    anchors: HashMap<PathId, Arc<AnchorSeries>>,
    vantage: Vantage,
    ranking: Ranking,
    /// Who could take over for those that were dead before this process had heard of them, as it was told before.
    adopted: BTreeMap<Region, Vec<Candidate>>,
    /// The ranking that each vantage has published last, and when it was asked for it.
    published: BTreeMap<Region, (Instant, Vec<Candidate>)>,
    ticks: usize,
}

/// What may be decided under a configuration.
const fn policy(config: &Config) -> Policy {
    let Failover { edge_burst, execute_after, allow_single_vantage, .. } = config.failover;
    Policy { edge_burst, execute_after, allow_single_vantage }
}

impl Recorder {
    /// A recorder without paths.
    pub fn new(metrics: Arc<Metrics>, config: &Config, now: Instant) -> Self {
        Self {
            metrics,
            paths: HashMap::new(),
            peers: Vec::new(),
            anchors: HashMap::new(),
            vantage: Vantage::new(policy(config), now),
            ranking: Ranking::new(config),
            adopted: BTreeMap::new(),
            published: BTreeMap::new(),
            ticks: 0,
        }
    }

    /// Records this from now on, and nothing else. A path that was recorded before keeps its counters, and its window
    /// where it is unchanged; a peer keeps its state.
    pub fn track(&mut self, scope: Scope<'_>, now: Now) {
        let Scope { paths, anchors, config, votes } = scope;
        let span = config.window;
        let mut before = std::mem::take(&mut self.paths);
        let mut known: HashMap<Region, Arc<RegionSeries>> =
            self.peers.drain(..).map(|peer| (peer.region, peer.series)).collect();
        let remembered = (REMEMBERED / paths.len().max(1)).clamp(4, REMEMBERED_EACH);
        let mut order = Vec::with_capacity(paths.len());
        let mut watched: Vec<Watched> = Vec::new();
        for Tracking { id, path, probe, unchanged, patience } in paths {
            let window = || Window::new(span, probe.cadence.interval(), now.instant);
            let tracked = match before.remove(&id) {
                Some(tracked) if unchanged => Tracked { patience, ..tracked },
                Some(tracked) if tracked.series.fits(probe) => {
                    Tracked { window: window(), trace: Trace::new(now.instant), patience, ..tracked }
                }
                // What can come of it is different now, so its series are, too.
                Some(tracked) => Tracked {
                    window: window(),
                    trace: Trace::new(now.instant),
                    series: self.metrics.path(&path, probe),
                    patience,
                    ..tracked
                },
                None => Tracked {
                    window: window(),
                    trace: Trace::new(now.instant),
                    history: History::new(remembered),
                    series: self.metrics.path(&path, probe),
                    path: path.clone(),
                    patience,
                },
            };
            order.push(Arc::clone(&tracked.series));
            self.paths.insert(id, tracked);
            if self.peers.last().is_none_or(|peer| peer.region != path.peer) {
                let region = path.peer.clone();
                let series = known.remove(&region).unwrap_or_else(|| self.metrics.region(&region));
                watched.push(Watched { region: region.clone(), lanes: Vec::new() });
                self.peers.push(Peer { region, groups: Vec::new(), series });
            }
            let (Some(peer), Some(watched)) = (self.peers.last_mut(), watched.last_mut()) else { continue };
            watched.lanes.push(Lane {
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
                    peer.groups.push(Group { kind: path.kind, members: vec![id], series, summary: None });
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
        self.vantage.watch(
            policy(config),
            watched,
            anchors.into_iter().map(|anchor| anchor.lane).collect(),
            now.instant,
        );
        self.ranking.reload(config);
        let is_peer = |region: &Region| config.peers.iter().any(|peer| peer.region == *region);
        self.published.retain(|region, _| is_peer(region));
        self.adopted.retain(|region, _| is_peer(region));
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
                self.metrics.started_late_by(start_delay);
                self.vantage.started(start_delay);
                self.vantage.ended(sample.path, sample.sent_at, &sample.outcome, late, now);
                let Some(tracked) = self.paths.get_mut(&sample.path) else { return };
                tracked.window.push(sample.sent_at, &sample.outcome);
                tracked.trace.push(sample.sent_at, &sample.outcome);
                tracked.history.push(Record { sent_at: sample.sent_at_unix, outcome: sample.outcome, failed_in });
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
            Event::Overdue { path, sent_at } => self.vantage.overdue(path, sent_at, now),
            Event::Late { path } => {
                self.vantage.answered_late(path, now);
                if let Some(tracked) = self.paths.get(&path) {
                    tracked.series.came_late(1);
                }
            }
            Event::ClockStepped { .. } => self.metrics.clock_stepped(),
            Event::SlotsMissed { path, count } => {
                self.vantage.missed_slots();
                if let Some(tracked) = self.paths.get(&path) {
                    tracked.series.missed_slots(count);
                }
            }
        }
    }

    /// Takes what a vantage says, which it was asked for at `asked_at`: its votes, and who could replace it.
    pub fn hear(&mut self, from: &Region, asked_at: Instant, views: Views, candidates: Vec<Candidate>, now: Now) {
        self.published.insert(from.clone(), (asked_at, candidates));
        self.vantage.hear(from, asked_at, views, now);
    }

    /// When to [`wake`](Self::wake) it, if ever.
    pub fn wake_at(&self) -> Option<Instant> {
        self.vantage.wake_at()
    }

    /// Does what was to be done at this time.
    pub fn wake(&mut self, now: Now) {
        self.vantage.wake(now);
    }

    /// Judges anew, and brings a share of the peers' gauges up to date; to be called each second.
    pub fn tick(&mut self, now: Now) {
        self.ticks += 1;
        for n in (self.ticks % STEPS..self.peers.len()).step_by(STEPS) {
            self.publish(n, now.instant);
        }
        for n in (self.ticks % READING_STEPS..self.peers.len()).step_by(READING_STEPS) {
            let reading = self.reading(n, now.instant);
            self.vantage.read(&self.peers[n].region, reading, now);
        }
        self.vantage.tick(now);
        self.rank(now);
        self.show(now);
    }

    /// What has changed since it was asked last.
    pub fn take_news(&mut self, now: Now) -> Vec<News> {
        let news = self.vantage.take_news();
        for news in &news {
            if let News::State { peer, transition, .. } = news
                && let Some(peer) = self.peers.iter().find(|known| known.region == *peer)
            {
                peer.series.changed(*transition);
            }
        }
        if !news.is_empty() {
            self.rank(now);
            self.show(now);
        }
        news
    }

    /// The paths to be probed now, beside their slots.
    pub fn take_orders(&mut self) -> Vec<PathId> {
        self.vantage.take_orders()
    }

    /// Who could take over from this region.
    pub fn ranking(&self) -> &Table {
        self.ranking.table()
    }

    /// What this vantage thinks.
    pub const fn vantage(&self) -> &Vantage {
        &self.vantage
    }

    /// What Alertmanager is to be told.
    pub fn incidents(&self, now: Now) -> Vec<Incident> {
        let heard = self.published.iter().map(|(by, (at, candidates))| Published {
            by: by.clone(),
            age: now.instant.saturating_duration_since(*at),
            candidates: candidates.clone(),
        });
        // What was told before a restart was the dead region's last ranking, if it had one.
        let adopted = self.adopted.iter().filter(|(by, _)| !self.published.contains_key(*by));
        let adopted = adopted.map(|(by, candidates)| Published {
            by: by.clone(),
            age: Duration::ZERO,
            candidates: candidates.clone(),
        });
        let published: Vec<_> = heard.chain(adopted).collect();
        let each = |(peer, episode): (&Region, Episode<'_>)| {
            let evidence = match episode.cause {
                Cause::Silence => format!("Nothing that was sent to {peer} since {} was answered.", episode.onset),
                Cause::Service => {
                    format!("{peer} answers on the network, and its critical services fail since {}.", episode.onset)
                }
            };
            let incident = Incident {
                peer: peer.clone(),
                stage: Stage::Prepare,
                id: Arc::clone(episode.id),
                onset: episode.onset,
                cause: episode.cause,
                confirmed: episode.confirmed,
                tally: episode.tally,
                candidates: self.targets_for(peer, &published),
                evidence,
                resolved: episode.resolved,
            };
            episode.stages().map(|stage| Incident { stage, ..incident.clone() }).collect::<Vec<_>>()
        };
        self.vantage.episodes().flat_map(each).collect()
    }

    /// Who can take over. As long as this process knows nobody but itself, what it told before it was restarted holds, of
    /// those who are not down.
    fn targets_for(&self, dead: &Region, published: &[Published]) -> Vec<Candidate> {
        let targets = self.ranking.targets_for(dead, published);
        let knows_others = targets.iter().any(|target| target.region != *self.ranking.own());
        let adopted = self.adopted.get(dead).filter(|_| !knows_others);
        adopted.map_or(targets, |adopted| {
            let is_down = |region: &Region| {
                let mut standings = self.vantage.standings();
                standings.any(|standing| standing.region == region && standing.state == PeerState::Down)
            };
            adopted.iter().filter(|candidate| !is_down(&candidate.region)).cloned().collect()
        })
    }

    /// An incident goes on that the process before this one had told of.
    pub fn adopt(&mut self, incident: &Incident) {
        if !incident.candidates.is_empty() {
            self.adopted.insert(incident.peer.clone(), incident.candidates.clone());
        }
        self.vantage.adopt(incident);
    }

    /// Ranks the peers by what is known now.
    fn rank(&mut self, now: Now) {
        let standings: Vec<_> = self
            .peers
            .iter()
            .zip(self.vantage.standings())
            .map(|(peer, standing)| Standing {
                region: peer.region.clone(),
                state: standing.state,
                summary: preferred(peer.groups.iter().filter_map(|group| Some((group.kind, group.summary?))))
                    .map(|(_, summary)| summary),
                lag: None,
                held_down: standing.tally.reached,
            })
            .collect();
        let table = self.ranking.update(&standings, now.instant);
        for peer in &self.peers {
            if let Some(row) = table.row(&peer.region) {
                let score = row.score.map(|score| score.as_secs_f64());
                peer.series.ranked(&Candidacy { reasons: row.reasons.clone(), rank: row.rank, score });
            }
        }
    }

    /// Shows how far away the peers are, where that is known.
    fn locate(&self, config: &Config) {
        for (peer, configured) in self.peers.iter().zip(&config.peers) {
            if let (Some(here), Some(there)) = (config.location, configured.location) {
                let meters = here.distance_meters(there);
                peer.series.located(meters, light_round_trip(meters).as_secs_f64());
            }
        }
    }

    fn show(&self, now: Now) {
        for (peer, standing) in self.peers.iter().zip(self.vantage.standings()) {
            peer.series.stands(standing.state, now.unix_at(standing.since), &standing.tally);
            peer.series.told(standing.incident.into_iter().flat_map(|episode| episode.stages()));
        }
        for (path, answers) in self.vantage.anchors() {
            if let Some(series) = self.anchors.get(&path) {
                series.answers(answers);
            }
        }
        self.metrics.vantage_is(self.vantage.is_isolated(), self.vantage.health_score());
    }

    /// Brings the gauges of a peer up to date, and with them how long its probes are waited for.
    fn publish(&mut self, n: usize, now: Instant) {
        let health = self.vantage.health_score();
        for group in &mut self.peers[n].groups {
            let summary = merged(&mut self.paths, &group.members, None, now);
            if let Some(latency) = summary.and_then(|summary| summary.latency) {
                let patience = patience(latency.p99, health);
                for tracked in group.members.iter().filter_map(|id| self.paths.get(id)) {
                    tracked.patience.set(patience);
                }
            }
            group.series.publish(summary);
            group.summary = summary;
        }
    }

    /// How well a peer has answered in the last minute: the loss of the worst of the fast kinds, and the latency of TCP
    /// where it is probed, because pings are served last by busy routers. A kind that never is answered is filtered,
    /// and says nothing.
    fn reading(&mut self, n: usize, now: Instant) -> Option<Reading> {
        let mut summaries: Vec<(ProbeKind, Summary)> = Vec::new();
        for group in &self.peers[n].groups {
            let summary = merged(&mut self.paths, &group.members, Some(READING_SPAN), now);
            summaries.extend(summary.map(|summary| (group.kind, summary)));
        }
        let is_fast = |kind: ProbeKind| matches!(kind, ProbeKind::Icmp | ProbeKind::Tcp);
        let answered = |(kind, summary): &(ProbeKind, Summary)| {
            let before = self.peers[n].groups.iter().find(|group| group.kind == *kind).and_then(|group| group.summary);
            summary.latency.is_some() || before.is_some_and(|before| before.latency.is_some())
        };
        summaries.retain(answered);
        if summaries.iter().any(|(kind, _)| is_fast(*kind)) {
            summaries.retain(|(kind, _)| is_fast(*kind));
        }
        let (_, worst) = summaries.iter().max_by(|(_, a), (_, b)| a.loss.total_cmp(&b.loss))?;
        let (loss, lost) = (worst.loss, (worst.loss * worst.count as f64).round() as usize);
        let by_preference = summaries.iter().max_by_key(|(kind, _)| *kind == ProbeKind::Tcp);
        let p95 = by_preference.and_then(|(_, summary)| summary.latency).map(|latency| latency.p95);
        Some(Reading { loss, lost, p95 })
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

/// What several paths say together, over the whole span of their windows or the last part of it.
fn merged(
    paths: &mut HashMap<PathId, Tracked>,
    members: &[PathId],
    span: Option<Duration>,
    now: Instant,
) -> Option<Summary> {
    // Taken out of the map for the time of the merge, because it borrows them all.
    let mut taken: Vec<_> = members.iter().filter_map(|id| Some((*id, paths.remove(id)?))).collect();
    let windows = taken.iter_mut().map(|(_, tracked)| &mut tracked.window);
    let summary = match span {
        None => Window::merged(windows, now),
        Some(span) => Window::merged_over(windows, span, now),
    };
    paths.extend(taken);
    summary
}

/// How long an answer is waited for before the probe counts as silent: twice what almost all take, and 50 ms; at most
/// a second, in which TCP would send a SYN again (RFC 6298 2). Whoever is late itself waits longer.
fn patience(p99: Duration, health: u8) -> Duration {
    let usual = 2 * p99 + Duration::from_millis(50);
    usual.clamp(Duration::from_millis(200), Duration::from_secs(1)) * (1 + u32::from(health))
}

fn count(series: &PathSeries, outcome: &Outcome, sent_at: u64) {
    match outcome {
        Ok(timings) => series.succeeded(timings, sent_at),
        Err(failure) => series.failed(*failure),
    }
}

#[cfg(test)]
mod tests;
