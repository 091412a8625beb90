//! Sole owner of what was measured and of what follows from it: one [`Input`] in, [`Effects`] out, metrics updated.
//! Synchronous, without clock or lock.

mod databases;
mod orders;
mod overview;
mod setup;
mod summaries;
mod topology;
mod votes;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

#[cfg(test)]
pub(crate) use self::setup::{attributes, own_attributes, target_policy};
pub use self::topology::{Change, PathSetup, Slot, Topology};
use self::{databases::Databases, orders::Orders, votes::Votes};
use crate::{
    config::{Config, Voters},
    decision::{
        self, Effects, Explanation, Now, OpenIncident, OperatorOrder, PeerStatus, Remembered, StateChange, Vantage,
        votes::Keys,
    },
    geography::light_round_trip,
    metrics::{AnchorSeries, Candidacy, Exposed, Metrics, PathSeries, PeerSeries, RegionSeries},
    model::{DatabaseEvent, Incident, Kind, Outcome, Path, PathId, PeerState, Region, Sample, Stage, VoteResponse},
    schedule::{Event, OverdueAfter},
    window::{History, PathHistory, Summary, Trace, Window},
};

/// How many probes are remembered in all, which bounds memory; and for one path.
const REMEMBERED: usize = 32_000;
const REMEMBERED_EACH: usize = 50;

/// How long before its own order a vantage signs that of the others: theirs may come first, and must not lack a signature.
const SIGN_AHEAD: Duration = Duration::from_secs(3);

/// What happens to the engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// The schedule and the probes report; the events are taken out. Those of paths that are not measured any more change
    /// nothing. Of many at once, which come when a thousand probes start, only the last one costs a ranking.
    Events(&'a mut Vec<Event>),
    /// A peer's sidecar has answered.
    VoteResponse(&'a VoteResponse),
    /// A prober of a database has learnt something.
    Database(&'a DatabaseEvent),
    /// An Alertmanager still holds an incident that the process before this one had reported.
    Restored(&'a Incident),
    /// What the process before this one has left: see [`Effects::remember`].
    Remembered(&'a Remembered),
    /// An operator releases a region that was failed over.
    Release(&'a Region),
    /// The signed statement of an operator.
    Stated(&'a str),
    /// The moment that [`Effects::wake_at`] asked for.
    Timer,
    /// Due every second.
    Tick,
    /// What is measured from now on. A path that stays keeps its counters, and its window if it is measured as before; a
    /// peer keeps its state.
    Topology(&'a Topology),
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

/// Keeps windows, histories, decision, votes and series of everything.
#[derive(Debug)]
pub struct Engine {
    metrics: Arc<Metrics>,
    config: Arc<Config>,
    /// Boxed, because a hash table has room for up to twice as many.
    paths: HashMap<PathId, Box<PathState>>,
    peers: Vec<Peer>,
    anchors: HashMap<PathId, Arc<AnchorSeries>>,
    vantage: Vantage,
    votes: Votes,
    orders: Orders,
    databases: Databases,
    ticks: usize,
    started: Instant,
}

impl Engine {
    /// An engine that measures nothing yet.
    pub fn new(metrics: Arc<Metrics>, config: Arc<Config>, now: Instant) -> Self {
        Self {
            metrics,
            paths: HashMap::new(),
            peers: Vec::new(),
            anchors: HashMap::new(),
            vantage: Vantage::new(config.region.clone(), now),
            votes: Votes::new(),
            orders: Orders::new(config.region.clone()),
            databases: Databases::default(),
            ticks: 0,
            started: now,
            config,
        }
    }

    /// Takes what happened, updates the metrics, and says what follows.
    pub fn handle(&mut self, input: Input<'_>, now: Now) -> Effects {
        let is_tick = matches!(input, Input::Tick);
        let mut effects = match input {
            Input::Events(events) => {
                let mut effects = Effects::default();
                events.drain(..).for_each(|event| effects.append(self.on_event(event, now)));
                effects
            }
            Input::VoteResponse(response) => self.on_vote_response(response, now),
            Input::Database(event) => self.on_database(event, now),
            Input::Restored(incident) => self.vantage.handle(decision::Input::Restored(incident), now),
            Input::Remembered(before) => self.vantage.handle(decision::Input::Remembered(before), now),
            Input::Release(region) => self.vantage.handle(decision::Input::Release(region), now),
            Input::Stated(text) => self.vantage.handle(decision::Input::Stated(text), now),
            Input::Timer => self.vantage.handle(decision::Input::Timer, now),
            Input::Tick => self.on_tick(now),
            Input::Topology(topology) => return self.reconfigure(topology, now),
        };
        let is_told = |peer: PeerStatus<'_>| peer.incident.is_some() || peer.operator_order.is_some();
        if is_tick && self.orders.are_signed() && self.vantage.peers().any(is_told) {
            // With signatures of late.
            effects.incidents.get_or_insert_with(|| self.vantage.incidents(now));
        }
        if let Some(incidents) = &mut effects.incidents {
            self.orders.sign(incidents, now);
        }
        for change in &effects.changes {
            if let StateChange::Peer { peer, transition, .. } = change
                && let Some(peer) = self.peers.iter().find(|known| known.region == *peer)
            {
                peer.series.count_change(*transition);
            }
        }
        if !effects.changes.is_empty() || effects.incidents.is_some() || is_tick {
            self.vantage.refresh_ranking(now);
            self.show(now);
        }
        effects.wake_at = self.vantage.wake_at();
        effects
    }

    fn on_event(&mut self, event: Event, now: Now) -> Effects {
        if let Event::Sampled { sample, .. } = &event
            && self.databases.has(sample.path)
        {
            self.databases.count(sample);
            return Effects::default();
        }
        let input = match &event {
            &Event::Sampled { ref sample, start_delay, late, .. } => {
                decision::Input::Result { sample, start_delay, late }
            }
            &Event::Overdue { path, sent_at } => decision::Input::Overdue { path, sent_at },
            &Event::Late { path } => decision::Input::LateReply(path),
            Event::SlotsMissed { .. } => decision::Input::MissedSlots,
            Event::ClockStepped { .. } => {
                self.metrics.vantage().count_clock_step();
                return Effects::default();
            }
        };
        let effects = self.vantage.handle(input, now);
        match event {
            Event::Sampled { sample, start_delay, late, duplicates, failed, facts } => {
                self.metrics.vantage().observe_start_delay(start_delay);
                let Some(state) = self.paths.get_mut(&sample.path) else { return effects };
                let Sample { sent_at, sent_at_unix, outcome, .. } = sample;
                state.answered |= outcome.is_ok();
                state.window.push(sent_at, &outcome);
                state.trace.push(sent_at, &outcome);
                state.history.push(sent_at_unix, outcome, failed);
                count(&state.series, &outcome, sent_at_unix);
                state.series.set_facts(&facts, now.instant);
                if let Err(failure) = outcome {
                    debug!(path = %state.path, result = %failure, why = %failed, "probe failed");
                }
                if late > 0 {
                    state.series.add_late(late);
                }
                if duplicates > 0 {
                    state.series.add_duplicates(duplicates);
                }
                if let Ok(timings) = outcome {
                    self.metrics.vantage().set_timestamp_source(timings.source);
                }
            }
            Event::Late { path } => {
                if let Some(state) = self.paths.get(&path) {
                    state.series.add_late(1);
                }
            }
            Event::SlotsMissed { path, count } => {
                if let Some(state) = self.paths.get(&path) {
                    state.series.add_missed_slots(count);
                }
            }
            Event::Overdue { .. } | Event::ClockStepped { .. } => {}
        }
        effects
    }

    fn on_vote_response(&mut self, response: &VoteResponse, now: Now) -> Effects {
        let (message, change) = self.votes.on_response(response);
        let mut effects = Effects::default();
        if let Some(message) = message {
            let (from, requested_at) = (&response.peer, response.requested_at);
            let mut votes = message.votes(requested_at);
            self.orders.on_votes(&message, requested_at);
            votes.clock_offset_ms = self.votes.compare_clocks(&message, response, now);
            effects = self.vantage.handle(decision::Input::Votes { from, requested_at, votes }, now);
        }
        effects.changes.extend(change);
        effects
    }

    fn on_tick(&mut self, now: Now) -> Effects {
        self.ticks += 1;
        self.publish_some(now);
        self.votes.show_clocks(now.instant);
        let mut effects = self.sample_quality(now);
        if !self.config.databases.is_empty() {
            let onsets: HashMap<_, _> =
                self.vantage.peers().filter_map(|peer| Some((peer.region.clone(), peer.onset?))).collect();
            let onset = |region: &Region| onsets.get(region).copied();
            let reports = self.databases.reports(&self.config.databases, onset, now.instant);
            effects.append(self.vantage.handle(decision::Input::Databases(reports), now));
            self.databases.show(&self.vantage, &self.config.databases, now.instant);
        }
        effects.append(self.vantage.handle(decision::Input::Tick, now));
        let vantage = &self.vantage;
        let state = |peer: &Region| vantage.peers().find(|status| status.region == peer).map(|status| status.state);
        let is_up = |peer: &Region| !matches!(state(peer), Some(PeerState::Suspect | PeerState::Down));
        effects.changes.extend(self.votes.tick(is_up, now.instant));
        effects
    }

    fn on_database(&mut self, event: &DatabaseEvent, now: Now) -> Effects {
        let mut effects = Effects::default();
        if let Some(promotion) = self.databases.handle(event, &self.config.databases, now)
            && let Some(database) = self.config.databases.get(event.database)
        {
            effects
                .changes
                .push(StateChange::Promoted { database: database.name.clone(), promotion: promotion.clone() });
        }
        effects
    }

    fn reconfigure(&mut self, topology: &Topology, now: Now) -> Effects {
        let config = &topology.config;
        self.config = Arc::clone(config);
        let mut before = std::mem::take(&mut self.paths);
        let mut known: HashMap<Region, Arc<RegionSeries>> =
            self.peers.drain(..).map(|peer| (peer.region, peer.series)).collect();
        let remembered = (REMEMBERED / topology.path_count().max(1)).clamp(4, REMEMBERED_EACH);
        let mut path_series = Vec::with_capacity(topology.path_count());
        for setup in topology.paths() {
            let PathSetup { path, probe, slot } = setup;
            let id = slot.id;
            let window = || Window::new(config.window, probe.cadence.interval(), now.instant);
            let new_series = || self.metrics.path_of(&path, probe);
            let mut state = before.remove(&id).unwrap_or_else(|| {
                Box::new(PathState {
                    window: window(),
                    trace: Trace::new(now.instant),
                    history: History::new(remembered),
                    series: new_series(),
                    path: path.clone(),
                    overdue_after: slot.overdue_after.clone(),
                    answered: false,
                })
            });
            if slot.change == Change::Changed || topology.window_changed {
                (state.window, state.trace, state.answered) = (window(), Trace::new(now.instant), false);
            }
            // What can come of it or its labels are different now, so its series are, too.
            if !state.series.fits(probe) {
                state.series = new_series();
            }
            let series = Arc::clone(&state.series);
            self.paths.insert(id, state);
            // The path to a witness says nothing about a region, and rules take every path for one to a region.
            if config.other_witnesses().any(|witness| witness.name == path.peer) {
                continue;
            }
            path_series.push(series);
            if self.peers.last().is_none_or(|peer| peer.region != path.peer) {
                let region = path.peer.clone();
                let series = known.remove(&region).unwrap_or_else(|| self.metrics.region(&region));
                self.peers.push(Peer { region, groups: Vec::new(), series });
            }
            let Some(peer) = self.peers.last_mut() else { continue };
            match peer.groups.iter_mut().find(|group| group.kind == path.kind) {
                Some(group) => group.members.push(id),
                None => {
                    let series = self.metrics.peer(&path.peer, path.kind);
                    peer.groups.push(KindGroup { kind: path.kind, members: vec![id], series, summary: None });
                }
            }
        }
        let anchors = topology.anchors.iter();
        let anchors = anchors.map(|(anchor, slot)| (slot.id, self.metrics.anchor(&anchor.to_string())));
        let anchors: Vec<_> = anchors.collect();
        self.anchors = anchors.iter().cloned().collect();
        let votes = self.votes.reconfigure(config, &self.metrics);
        self.databases.reconfigure(topology, &self.metrics);
        let voters = Voters::of(config);
        self.metrics.vantage().set_vantages(voters.vantages());
        self.peers.iter().for_each(|peer| peer.series.set_quorum_possible(voters.can_confirm(&peer.region)));
        self.orders.reconfigure(config, self.votes.series());
        self.locate();
        // Filled before they are shown, so that no scrape misses them.
        let mut effects = self.vantage.handle(decision::Input::Reconfigured(setup::decision(topology)), now);
        if let Some(incidents) = &mut effects.incidents {
            self.orders.sign(incidents, now);
        }
        (0..self.peers.len()).for_each(|n| self.publish(n, now));
        effects.wake_at = self.vantage.wake_at();
        self.show(now);
        let groups = self.peers.iter().flat_map(|peer| &peer.groups);
        self.metrics.expose(Exposed {
            paths: path_series.into(),
            peers: groups.map(|group| Arc::clone(&group.series)).collect(),
            regions: self.peers.iter().map(|peer| Arc::clone(&peer.series)).collect(),
            votes: votes.into(),
            anchors: anchors.into_iter().map(|(_, series)| series).collect(),
            databases: self.databases.series().cloned().collect(),
            ..Exposed::default()
        });
        effects
    }

    /// The decisions of this vantage.
    pub const fn vantage(&self) -> &Vantage {
        &self.vantage
    }

    /// The decision about a peer, laid open; `None` if there is no such peer.
    pub fn explain(&self, region: &Region, now: Now) -> Option<Explanation> {
        self.vantage.explain(region, now)
    }

    /// What Alertmanager must know.
    pub fn incidents(&mut self, now: Now) -> Vec<Incident> {
        let mut incidents = self.vantage.incidents(now);
        self.orders.sign(&mut incidents, now);
        incidents
    }

    /// The next vote message of this vantage, encoded, and what signs it; `None` if it is too large to be sent.
    pub fn vote_message(&mut self, now: Now) -> Option<(Bytes, Option<Keys>)> {
        let hold = self.config.failover.execute_after.saturating_sub(SIGN_AHEAD);
        let signs = |peer: &PeerStatus<'_>| {
            peer.incident.is_some_and(|incident| incident.is_held_for(hold))
                || peer.operator_order.is_some_and(OperatorOrder::is_signed)
        };
        let ordered = self.vantage.peers().filter(signs).map(|peer| peer.region);
        let orders: HashMap<_, _> = ordered
            .filter_map(|region| Some((region.clone(), self.orders.own(region, Stage::Execute, now)?)))
            .collect();
        self.votes.next_message(&self.vantage, self.orders.public_key(), &orders, now)
    }

    /// Shows how far away the peers are, if that is known.
    fn locate(&self) {
        for (peer, configured) in self.peers.iter().zip(&self.config.peers) {
            if let (Some(here), Some(there)) = (self.config.location, configured.location) {
                let meters = here.distance_meters(there);
                peer.series.set_distance(meters, light_round_trip(meters).as_secs_f64());
            }
        }
    }

    /// Brings the gauges of the decision up to date.
    fn show(&self, now: Now) {
        for (peer, status) in self.peers.iter().zip(self.vantage.peers()) {
            peer.series.set_state(status.state, status.rule.reason(), now.unix_at(status.since), &status.tally);
            peer.series.set_order_signatures(self.orders.signatures_of(&peer.region));
            let blocked = status.incident.and_then(OpenIncident::blocked_now);
            peer.series.set_blocked(blocked.or_else(|| status.operator_order.and_then(OperatorOrder::blocked)));
            peer.series.set_incidents(status.incident.into_iter().flat_map(|incident| incident.stages()));
            if let Some(ranked) = self.vantage.ranking().of(&peer.region) {
                let score = ranked.score.map(|score| score.as_secs_f64());
                peer.series.set_candidacy(&Candidacy { reasons: ranked.reasons.clone(), rank: ranked.rank, score });
            }
        }
        for (path, answers) in self.vantage.anchors() {
            if let Some(series) = self.anchors.get(&path) {
                series.set_success(answers);
            }
        }
        self.metrics.vantage().set_health(self.vantage.is_isolated(), self.vantage.health_score());
    }

    /// The paths that match, in the order of their names, at most `limit`.
    pub fn matching(&self, matches: impl Fn(&Path) -> bool, limit: usize) -> Vec<PathId> {
        let mut found: Vec<_> = self.paths.iter().filter(|(_, state)| matches(&state.path)).collect();
        found.sort_unstable_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        found.into_iter().take(limit).map(|(id, _)| *id).collect()
    }

    /// The last probes of a path, unless it is not measured any more.
    pub fn history(&self, path: PathId) -> Option<PathHistory> {
        let state = self.paths.get(&path)?;
        Some(PathHistory { path: state.path.clone(), samples: state.history.records() })
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
