//! One vantage: what it knows and concludes. Synchronous, without clock, lock or metrics, so that years of it can be
//! simulated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Effects, Evidence, Input, Isolation, IsolationReason, Now, OperatorOrder, PeerStatus, Policy, Remembered,
    StateChange,
    execution::Executions,
    extra_probes::ExtraProbes,
    failover_targets::FailoverTargets,
    incidents::ResolvedIncident,
    local_health::LocalHealth,
    losses::Databases,
    operator_order::EndedOrder,
    peer::{Context, PeerMonitor},
    ranking::Ranking,
    statements::Statements,
    votes::{FailedOver, VoteStatus, VoteTable},
};
use crate::model::{Cause, Incident, PathId, PeerState, Region, Sample, Stage};

mod commands;
mod explain;
mod failovers;
mod orders;
mod setup;
mod targets;

/// How long a vote counts at most, however seldom its vantage is probed.
const MAX_VOTE_AGE: Duration = Duration::from_secs(5);

/// How long a witness may be alive that does not answer: nothing else is known of it.
const WITNESS_AWAY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
enum Owner {
    Peer(usize),
    Anchor(usize),
}

/// One vantage: a state machine that is driven by [`handle`](Self::handle) alone.
#[derive(Debug)]
pub struct Vantage {
    /// Since when this process runs and the vantage is not isolated.
    connected: Instant,
    policy: Policy,
    peers: Vec<PeerMonitor>,
    anchors: Vec<(PathId, Evidence)>,
    owners: HashMap<PathId, Owner>,
    votes: VoteTable,
    targets: FailoverTargets,
    executions: Executions,
    statements: Statements,
    /// The failovers that operators have ordered, as long as they hold; and those that have ended lately.
    operator_orders: BTreeMap<Region, OperatorOrder>,
    ended_orders: Vec<EndedOrder>,
    /// Whether another vantage has told this process, or the one before, what operators have stated.
    informed: bool,
    started: Instant,
    databases: Databases,
    resolved: Vec<(Region, ResolvedIncident)>,
    isolation: Isolation,
    health: LocalHealth,
    extra_probes: ExtraProbes,
    changes: Vec<StateChange>,
    incidents_changed: bool,
    /// Something was evaluated, so that the next wake-up may be another one.
    evaluated: bool,
    wake_at: Option<Instant>,
    ranking_due: bool,
}

impl Vantage {
    /// A vantage in this region that monitors nothing yet.
    pub fn new(region: Region, now: Instant) -> Self {
        Self {
            connected: now,
            policy: Policy::default(),
            peers: Vec::new(),
            anchors: Vec::new(),
            owners: HashMap::new(),
            votes: VoteTable::default(),
            targets: FailoverTargets::new(region),
            executions: Executions::default(),
            statements: Statements::default(),
            operator_orders: BTreeMap::new(),
            ended_orders: Vec::new(),
            informed: false,
            started: now,
            databases: Databases::default(),
            resolved: Vec::new(),
            isolation: Isolation::new(now),
            health: LocalHealth::default(),
            extra_probes: ExtraProbes::default(),
            changes: Vec::new(),
            incidents_changed: false,
            evaluated: false,
            wake_at: None,
            ranking_due: false,
        }
    }

    /// Takes what happened, and says what follows.
    pub fn handle(&mut self, input: Input<'_>, now: Now) -> Effects {
        let ranks = matches!(input, Input::Tick | Input::Reconfigured(_));
        // What changes between two ticks, and is known from votes and commands, is decided on at once.
        let orders =
            ranks || matches!(input, Input::Votes { .. } | Input::Stated(_) | Input::Release(_) | Input::Remembered(_));
        match input {
            Input::Result { sample, start_delay, late } => {
                self.health.on_start(start_delay);
                self.on_result(sample, late, now);
            }
            Input::Overdue { path, sent_at } => match self.owners.get(&path) {
                Some(&Owner::Peer(n)) => {
                    self.peers[n].verdict.evidence.on_overdue(path, sent_at);
                    self.update_peer(n, now);
                }
                Some(&Owner::Anchor(n)) => {
                    self.anchors[n].1.on_overdue(path, sent_at);
                    self.update_isolation(now);
                }
                None => {}
            },
            Input::LateReply(path) => {
                if let Some(&Owner::Peer(n)) = self.owners.get(&path) {
                    self.peers[n].verdict.evidence.on_late_reply(now.instant);
                    self.update_peer(n, now);
                }
            }
            Input::MissedSlots => self.health.on_missed_slots(),
            Input::Quality { peer, sample } => {
                if let Some(n) = self.position(peer) {
                    self.peers[n].verdict.quality.on_sample(sample, now.instant);
                    self.update_peer(n, now);
                }
            }
            Input::Summary { peer, summary } => {
                if let Some(n) = self.position(peer) {
                    self.peers[n].summary = summary;
                }
            }
            Input::Databases(reports) => {
                self.databases.update(reports);
                self.ranking_due = true;
            }
            Input::Votes { from, requested_at, votes } => {
                self.adopt(from, &votes);
                let (statements, is_first) = (votes.statements.clone(), !self.votes.any_heard_since(self.started));
                self.votes.record(from, requested_at, votes);
                self.executions.count_reports(&self.votes, now.instant);
                // Before anything ends or is taken by a clock that is wrong.
                self.correct_statements(now);
                self.adopt_statements(from, &statements, is_first, now);
                self.update_peers(PeerMonitor::depends_on_votes, now);
            }
            Input::Restored(incident) => self.on_restored(incident, now),
            Input::Remembered(before) => {
                self.executions.remember(before);
                self.executions.retain(|region| self.peers.iter().any(|peer| peer.region == *region));
                self.remember_statements(before, now);
                self.ranking_due = true;
            }
            Input::Release(region) => self.release(region, now.instant),
            Input::Stated(text) => self.on_statement(text, now),
            Input::Timer => self.on_timer(now),
            Input::Tick => self.on_tick(now),
            Input::Reconfigured(setup) => self.reconfigure(setup, now),
        }
        if orders {
            self.refresh_operator_orders(now);
        }
        self.effects(ranks, now)
    }

    fn effects(&mut self, ranks: bool, now: Now) -> Effects {
        if std::mem::take(&mut self.evaluated) {
            self.wake_at = self.next_wake_up();
        }
        let incidents_changed = std::mem::take(&mut self.incidents_changed);
        let stated = self.statements.take_changed() | self.is_informed_now();
        self.ranking_due |= ranks || incidents_changed || !self.changes.is_empty();
        if ranks || incidents_changed {
            self.refresh_ranking(now);
        }
        if ranks || incidents_changed || !self.changes.is_empty() {
            (0..self.peers.len()).for_each(|n| self.refresh_candidates(n, now));
        }
        Effects {
            extra_probes: std::mem::take(&mut self.extra_probes.due),
            changes: std::mem::take(&mut self.changes),
            incidents: incidents_changed.then(|| self.incidents(now)),
            remember: self.executions.changed(stated).map(|left| Remembered {
                statements: self.statements.texts(),
                informed: self.informed,
                ..left
            }),
            wake_at: self.wake_at,
        }
    }

    fn position(&self, peer: &Region) -> Option<usize> {
        self.peers.iter().position(|known| known.region == *peer)
    }

    fn on_result(&mut self, sample: &Sample, late: u32, now: Now) {
        match self.owners.get(&sample.path) {
            Some(&Owner::Peer(n)) => {
                self.isolation.on_result(sample.outcome.is_err_and(|failure| failure.is_local()));
                let peer = &mut self.peers[n];
                if late > 0 {
                    peer.verdict.evidence.on_late_reply(now.instant);
                }
                let news = peer.verdict.evidence.on_result(sample.path, sample.sent_at, &sample.outcome);
                if news || late > 0 || peer.is_eventful() {
                    self.update_peer(n, now);
                }
            }
            Some(&Owner::Anchor(n)) => {
                self.anchors[n].1.on_result(sample.path, sample.sent_at, &sample.outcome);
                self.update_isolation(now);
            }
            None => {}
        }
    }

    fn on_restored(&mut self, restored: &Incident, now: Now) {
        let Some(n) = self.position(&restored.peer) else { return };
        let candidates = self.known_candidates(restored);
        self.incidents_changed |= self.peers[n].restore(&Incident { candidates, ..restored.clone() });
        self.evaluate(n, now);
    }

    fn on_timer(&mut self, now: Now) {
        for n in 0..self.peers.len() {
            self.extra_probes.continue_burst(&mut self.peers[n], now.instant);
        }
        self.update_peers(PeerMonitor::is_eventful, now);
        self.extra_probes.request_votes(&self.peers, now.instant);
        self.evaluated = true;
    }

    fn on_tick(&mut self, now: Now) {
        self.health.tick();
        self.correct_statements(now);
        self.expire_statements(now);
        let standings = self.peers.iter().map(|peer| peer.standing(&self.votes, now.instant));
        self.executions.release(standings, &self.votes, now.instant);
        let reported = self.resolved.len();
        // A vantage with a new incident must not find it resolved by the old one.
        let (votes, at) = (&self.votes, now.instant);
        let reopened = |peer: &Region| votes.fresh_votes(peer, at).any(|vote| vote.incident.is_some());
        self.resolved.retain(|(peer, resolved)| !resolved.is_expired(at) && !reopened(peer));
        self.incidents_changed |= self.resolved.len() != reported;
        self.update_isolation(now);
        self.update_peers(|_| true, now);
        self.extra_probes.refresh_votes(&self.peers, &self.votes, now.instant);
    }

    fn update_peers(&mut self, which: impl Fn(&PeerMonitor) -> bool, now: Now) {
        for n in 0..self.peers.len() {
            if which(&self.peers[n]) {
                self.update_peer(n, now);
            }
        }
    }

    fn update_peer(&mut self, n: usize, now: Now) {
        let peer = &mut self.peers[n];
        let silent = peer.verdict.evidence.is_silent();
        if silent && !peer.was_silent && self.policy.confirm_burst && peer.verdict.state() != PeerState::Down {
            self.extra_probes.start_burst(peer, now.instant);
        }
        if std::mem::replace(&mut peer.was_silent, silent) || silent || self.isolation.is_isolated() {
            self.update_isolation(now);
        }
        self.evaluate(n, now);
    }

    fn update_isolation(&mut self, now: Now) {
        let was_isolated = self.isolation.is_isolated();
        let watched =
            || self.peers.iter().filter(|peer| !matches!(peer.verdict.state(), PeerState::Unknown | PeerState::Down));
        let peers = watched().count();
        // A peer that answers, but not usefully, says nothing about us.
        let dead = |evidence: &Evidence| evidence.failing().is_some_and(|failing| failing.cause == Cause::Silence);
        let is_silent = |evidence: &Evidence| if peers > 1 { evidence.is_silent() } else { dead(evidence) };
        let silent = watched().filter(|peer| is_silent(&peer.verdict.evidence)).count();
        let mut anchors = self.anchors.iter().filter(|(_, anchor)| anchor.alive_at().is_some()).peekable();
        let outside = anchors.peek().is_some().then(|| anchors.any(|(_, anchor)| !anchor.is_silent()));
        let reason = self.isolation.update(silent, peers, outside, now.instant);
        if reason.is_some() == was_isolated {
            return;
        }
        self.changes.push(StateChange::Isolation(reason));
        if was_isolated {
            self.connected = now.instant;
            // Other vantages may have reached what fell silent meanwhile; not what was down before.
            let fell_silent = self.peers.iter_mut().filter(|peer| peer.verdict.state() != PeerState::Down);
            fell_silent.for_each(|peer| peer.verdict.evidence.reset_failures());
        }
        for n in 0..self.peers.len() {
            self.evaluate(n, now);
        }
    }

    fn evaluate(&mut self, n: usize, now: Now) {
        self.evaluated = true;
        let (isolated, unheard) = (self.isolation.is_isolated(), self.has_unheard(n, now.instant));
        let (gate, shared) = (self.gate(n, now.instant), self.shares_failure(n, now.instant));
        let peer = &mut self.peers[n];
        let context = Context {
            votes: &self.votes,
            isolated,
            policy: self.policy,
            unheard,
            shared,
            gate: &gate,
            failed_over_to: self.executions.certain_target(&peer.region),
            released: self.executions.released(&peer.region),
            now,
        };
        let found = peer.evaluate(context, &mut self.changes);
        self.incidents_changed |= found.incident_changed;
        if let Some(open) = peer.incident.as_ref().filter(|open| open.executed)
            && let Some(target) = &open.target
        {
            let (id, target) = (Arc::clone(&open.id), target.clone());
            let failover = FailedOver { id, onset: open.onset, target, at: now.instant };
            self.ranking_due |= self.executions.record(&peer.region, &failover);
        }
        if found.opened {
            self.resolved.retain(|(region, _)| *region != peer.region);
        }
        self.resolved.extend(found.resolved.map(|resolved| (peer.region.clone(), resolved)));
        if let Some(candidates) = found.restored {
            self.targets.restore(&peer.region, &candidates);
        }
        if found.opened {
            // Nothing is known of its targets before. The first report must not lack them.
            self.refresh_candidates(n, now);
            self.evaluate(n, now);
        }
        self.estimate_loss(n, now.instant);
        if found.suspected {
            self.extra_probes.request_votes_at(now.instant);
        }
        self.extra_probes.request_votes(&self.peers, now.instant);
    }

    /// Whether a vantage that may vote on a peer with an incident is alive, as far as is known, and was not heard lately.
    fn has_unheard(&self, n: usize, now: Instant) -> bool {
        let peer = &self.peers[n];
        let is_alive = |voter: &Region| match self.position(voter) {
            Some(n) => !matches!(self.peers[n].verdict.state(), PeerState::Unknown | PeerState::Down),
            None => self.votes.age(voter, now).is_some_and(|age| age <= WITNESS_AWAY),
        };
        peer.incident.is_some() && self.votes.unheard(&peer.region, now).any(is_alive)
    }

    fn next_wake_up(&self) -> Option<Instant> {
        let peers = self.peers.iter().flat_map(|peer| {
            let due = peer.incident.as_ref().and_then(|open| open.due(self.policy));
            [peer.burst.map(|(_, at)| at), due]
        });
        peers.chain([self.extra_probes.next_request()]).flatten().min()
    }

    /// When [`Input::Timer`] is due, if ever.
    pub const fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Why this vantage is isolated, if it is.
    pub const fn isolation_reason(&self) -> Option<IsolationReason> {
        self.isolation.why()
    }

    /// Whether this vantage is isolated.
    pub const fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// 0 if probes start on time, up to 7; probes are to be waited for (1 + score) times as long.
    pub const fn health_score(&self) -> u8 {
        self.health.score()
    }

    /// Whether each anchor answers; `None` if it never did.
    pub fn anchors(&self) -> impl Iterator<Item = (PathId, Option<bool>)> {
        self.anchors.iter().map(|(path, seen)| (*path, seen.alive_at().map(|_| !seen.is_silent())))
    }

    /// Every peer as it looks now, in the order of the setup.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus<'_>> {
        let isolated = self.isolation.is_isolated();
        self.peers.iter().map(move |peer| {
            let reached = peer.verdict.state() != PeerState::Unknown;
            PeerStatus {
                operator_order: self.operator_orders.get(&peer.region),
                ..peer.status(isolated, self.executions.reported(&peer.region, reached))
            }
        })
    }

    /// The last votes on a peer of each vantage that may vote, by name.
    pub fn last_votes<'a>(&'a self, peer: &'a Region, now: Instant) -> impl Iterator<Item = VoteStatus> + 'a {
        self.votes.last_votes(peer, now)
    }

    /// The peers as failover targets for this region.
    pub const fn ranking(&self) -> &Ranking {
        self.targets.ranking()
    }

    /// The statements of operators as they travel, the most important first.
    pub fn statements(&self) -> Vec<Arc<str>> {
        self.statements.texts()
    }

    /// This vantage's own region; of a witness, its name.
    pub const fn region(&self) -> &Region {
        self.targets.own()
    }

    /// Whether this vantage is a witness: it votes, and owns no region.
    pub const fn is_witness(&self) -> bool {
        self.targets.is_witness()
    }

    /// How old the votes of another vantage are, if it has ever sent any.
    pub fn vote_age(&self, of: &Region, now: Instant) -> Option<Duration> {
        self.votes.age(of, now)
    }

    /// What Alertmanager must know: each stage of each incident that is open or has ended lately, with its targets.
    pub fn incidents(&self, now: Now) -> Vec<Incident> {
        let published = self.targets.published(&self.votes, now.instant);
        // An operator's order takes the place of what the vantages themselves order of the region.
        let commanded = self.operator_incidents();
        let is_commanded = |peer: &Region| commanded.iter().any(|order| order.peer == *peer);
        let open = self.peers.iter().filter_map(|peer| Some((&peer.region, peer.incident.as_ref()?, None)));
        let resolved = self.resolved.iter().map(|(region, resolved)| (region, &resolved.open, Some(resolved.at)));
        let incidents = open.chain(resolved).flat_map(|(peer, open, resolved)| {
            let candidates = self.targets.of(peer, &published, |region| self.is_down(region));
            let blocked_by = self.blocking_files(open.blocked_now(), peer, now.instant);
            let is_replaced = is_commanded(peer);
            let stages = open.reports(resolved).filter(move |(stage, _)| *stage != Stage::Execute || !is_replaced);
            stages.map(move |(stage, end)| Incident {
                blocked_by: blocked_by.clone(),
                ..open.report(peer, stage, candidates.clone(), end)
            })
        });
        incidents.chain(commanded.iter().cloned()).collect()
    }
}
