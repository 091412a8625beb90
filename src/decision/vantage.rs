//! What one vantage knows and concludes: samples and votes go in, verdicts, extra_probes for more probes and incidents come
//! out. Synchronous, without clock, lock or metrics, so that years of it can be simulated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Evidence, Isolation, IsolationReason, PathInfo, QualitySample, Transition,
    extra_probes::{BURST, MAX_VOTE_AGE},
    incidents::{Hold, OpenIncident, ResolvedIncident},
    local_health::LocalHealth,
    peer::{PeerMonitor, oldest, open},
    votes::{VoteSet, VoteStatus, VoteTable},
};
use crate::model::{Cause, Incident, Outcome, PathId, PeerState, Region, Stage, Tally, UnixMillis, Vote};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The monotonic clock, by which everything is decided.
    pub instant: Instant,
    /// The wall clock, for people.
    pub unix: UnixMillis,
}

impl Now {
    /// An earlier or later moment on the wall clock.
    pub fn unix_at(self, instant: Instant) -> UnixMillis {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let before = millis(self.instant.saturating_duration_since(instant));
        let after = millis(instant.saturating_duration_since(self.instant));
        UnixMillis(self.unix.0.saturating_sub(before).saturating_add(after))
    }
}

/// What may be decided, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether a peer that falls quiet is probed three times more, 50 ms apart.
    pub confirm_burst: bool,
    /// How long a peer must be down, with a quorum, until the second stage of its incident.
    pub execute_after: Duration,
    /// Whether the second stage may be reached without a quorum.
    pub allow_single_vantage: bool,
}

/// A peer to be watched.
#[derive(Debug, Clone)]
pub struct PeerSetup {
    /// Its name.
    pub region: Region,
    /// The paths to it.
    pub paths: Vec<PathInfo>,
}

/// Something that has changed, for the log and the metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum StateChange {
    /// A peer's state.
    State {
        /// The peer.
        peer: Region,
        /// From what to what.
        transition: Transition,
        /// The votes that were counted.
        tally: Tally,
    },
    /// That we are isolated now and why, or that we are not any more.
    Isolated(Option<IsolationReason>),
    /// The incidents, or what is told of them.
    Incidents,
}

/// What a peer looks like now; a copy for metrics, votes and ranking.
#[derive(Debug, Clone, Copy)]
pub struct PeerStatus<'a> {
    /// The peer.
    pub region: &'a Region,
    /// Its state.
    pub state: PeerState,
    /// Since when.
    pub since: Instant,
    /// The votes on it.
    pub tally: Tally,
    /// What we vote.
    pub vote: Vote,
    /// When the newest probe was sent that shows the region to be of use.
    pub good_at: Option<Instant>,
    /// When the first probe was sent that had no answer, where it is failing.
    pub onset: Option<Instant>,
    /// Its open incident.
    pub incident: Option<IncidentView<'a>>,
    /// What an incident of it would be called now, where it is failing: its onset, and its name.
    pub incident_id_candidate: Option<&'a (UnixMillis, Arc<str>)>,
}

/// An open incident, as far as this vantage knows of it.
#[derive(Debug, Clone, Copy)]
pub struct IncidentView<'a> {
    /// The same on every vantage that votes on it.
    pub id: &'a Arc<str>,
    /// When the first probe that was lost was sent.
    pub onset: UnixMillis,
    /// What it consists in.
    pub cause: Cause,
    /// Whether a quorum confirmed it.
    pub confirmed: bool,
    /// Whether the second stage was reached.
    pub executed: bool,
    /// The votes, as counted last while the peer was down.
    pub tally: Tally,
    /// When it ended, if it has.
    pub resolved: Option<UnixMillis>,
}

impl<'a> IncidentView<'a> {
    const fn of(open: &'a OpenIncident, resolved: Option<UnixMillis>) -> Self {
        let OpenIncident { id, onset, cause, confirmed, executed, tally, .. } = open;
        Self { id, onset: *onset, cause: *cause, confirmed: *confirmed, executed: *executed, tally: *tally, resolved }
    }

    /// The stages that it has reached.
    pub fn stages(self) -> impl Iterator<Item = Stage> {
        [Some(Stage::Prepare), self.executed.then_some(Stage::Execute)].into_iter().flatten()
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Peer(usize),
    Anchor(usize),
}

/// One vantage.
#[derive(Debug)]
pub struct Vantage {
    pub(super) policy: Policy,
    pub(super) peers: Vec<PeerMonitor>,
    pub(super) anchors: Vec<(PathId, Evidence)>,
    places: HashMap<PathId, Place>,
    pub(super) votes: VoteTable,
    /// The paths on which vantages are asked for their votes.
    pub(super) vote_paths: BTreeMap<Region, PathId>,
    pub(super) next_vote_request: Option<Instant>,
    pub(super) closed: Vec<(Region, ResolvedIncident)>,
    pub(super) isolation: Isolation,
    pub(super) health: LocalHealth,
    pub(super) extra_probes: Vec<PathId>,
    pub(super) changes: Vec<StateChange>,
}

impl Vantage {
    /// A vantage that watches nothing yet.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            peers: Vec::new(),
            anchors: Vec::new(),
            places: HashMap::new(),
            votes: VoteTable::default(),
            vote_paths: BTreeMap::new(),
            next_vote_request: None,
            closed: Vec::new(),
            isolation: Isolation::new(now),
            health: LocalHealth::default(),
            extra_probes: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Watches these peers and anchors from now on, and no others. A peer that was watched before keeps its state;
    /// an incident of one that is watched no more is forgotten.
    pub fn reconfigure(&mut self, policy: Policy, peers: Vec<PeerSetup>, anchors: Vec<PathInfo>, now: Instant) {
        self.policy = policy;
        let mut before: BTreeMap<Region, PeerMonitor> =
            std::mem::take(&mut self.peers).into_iter().map(|peer| (peer.region.clone(), peer)).collect();
        self.places.clear();
        self.vote_paths.clear();
        let mut voters = Vec::new();
        for PeerSetup { region, paths } in peers {
            let place = Place::Peer(self.peers.len());
            self.places.extend(paths.iter().map(|info| (info.path, place)));
            if let Some(sidecar) = paths.iter().find(|info| info.kind.carries_votes()) {
                self.vote_paths.insert(region.clone(), sidecar.path);
                voters.push((region.clone(), (3 * sidecar.interval).min(MAX_VOTE_AGE)));
            }
            let peer = match before.remove(&region) {
                Some(mut peer) => {
                    peer.verdict.evidence.reconfigure(paths, policy.confirm_burst);
                    peer
                }
                None => PeerMonitor::new(region, Evidence::new(paths, policy.confirm_burst), now),
            };
            self.peers.push(peer);
        }
        self.votes.set_voters(voters);
        if before.values().any(|peer| peer.incident.is_some()) {
            // It is not told any more, and expires.
            self.changes.push(StateChange::Incidents);
        }
        let mut known = std::mem::take(&mut self.anchors);
        for info in anchors {
            let path = info.path;
            self.places.insert(path, Place::Anchor(self.anchors.len()));
            let known = known.iter().position(|(other, _)| *other == path).map(|n| known.swap_remove(n).1);
            self.anchors.push((path, known.unwrap_or_else(|| Evidence::new([info], false))));
        }
    }

    /// A probe came to its end, and so many answers to earlier ones came late.
    pub fn on_result(&mut self, path: PathId, sent_at: Instant, outcome: &Outcome, late: u32, now: Now) {
        match self.places.get(&path) {
            Some(&Place::Peer(n)) => {
                self.isolation.on_result(outcome.is_err_and(|failure| failure.is_local()));
                let peer = &mut self.peers[n];
                if late > 0 {
                    peer.verdict.evidence.on_late_reply(now.instant);
                }
                let changes = peer.verdict.evidence.on_result(path, sent_at, outcome);
                if changes || late > 0 || peer.is_eventful() {
                    self.update_peer(n, now);
                }
            }
            Some(&Place::Anchor(n)) => {
                self.anchors[n].1.on_result(path, sent_at, outcome);
                self.update_isolation(now);
            }
            None => {}
        }
    }

    /// A probe has waited for longer than usual.
    pub fn on_overdue(&mut self, path: PathId, sent_at: Instant, now: Now) {
        match self.places.get(&path) {
            Some(&Place::Peer(n)) => {
                self.peers[n].verdict.evidence.on_overdue(path, sent_at);
                self.update_peer(n, now);
            }
            Some(&Place::Anchor(n)) => {
                self.anchors[n].1.on_overdue(path, sent_at);
                self.update_isolation(now);
            }
            None => {}
        }
    }

    /// An answer came after the deadline.
    pub fn on_late_reply(&mut self, path: PathId, now: Now) {
        if let Some(&Place::Peer(n)) = self.places.get(&path) {
            self.peers[n].verdict.evidence.on_late_reply(now.instant);
            self.update_peer(n, now);
        }
    }

    /// A probe started so much later than it was due.
    pub fn on_start(&mut self, delay: Duration) {
        self.health.started(delay);
    }

    /// Slots passed without a probe.
    pub fn on_missed_slots(&mut self) {
        self.health.missed();
    }

    /// How well a peer has answered in the last minute; to be told every 10 s.
    pub fn on_quality(&mut self, peer: &Region, sample: Option<QualitySample>, now: Now) {
        if let Some(n) = self.peers.iter().position(|known| known.region == *peer) {
            self.peers[n].verdict.quality.on_sample(sample, now.instant);
            self.update_peer(n, now);
        }
    }

    /// A vantage has said something, which it was asked for at `asked_at`.
    pub fn on_votes(&mut self, from: &Region, asked_at: Instant, views: VoteSet, now: Now) {
        self.votes.record(from, asked_at, views);
        for n in 0..self.peers.len() {
            if self.peers[n].depends_on_votes() {
                self.update_peer(n, now);
            }
        }
    }

    /// An incident that the process before this one had told of goes on, until the peer has proved to be well.
    pub fn restore(&mut self, told: &Incident) {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.region == told.peer) else { return };
        let open = peer.incident.get_or_insert_with(|| {
            let mut open = OpenIncident::new(Arc::clone(&told.id), told.onset, told.cause);
            open.tally = told.tally;
            open
        });
        open.confirmed |= told.confirmed || told.stage == Stage::Execute;
        open.executed |= told.stage == Stage::Execute;
        peer.verdict.evidence.assume_was_up(told.cause);
        self.changes.push(StateChange::Incidents);
    }

    /// Looks at everything again; to be called at [`wake_at`](Self::wake_at).
    pub fn on_timer(&mut self, now: Now) {
        for n in 0..self.peers.len() {
            self.send_burst(n, now.instant);
            if self.peers[n].is_eventful() {
                self.update_peer(n, now);
            }
        }
        if self.next_vote_request.is_some_and(|at| at <= now.instant) {
            self.request_votes(now.instant);
        }
    }

    /// Looks at everything again and judges our own fitness; to be called each second.
    pub fn on_tick(&mut self, now: Now) {
        self.health.tick();
        let told = self.closed.len();
        // Who has a new incident must not find it resolved by the old one.
        let (votes, at) = (&self.votes, now.instant);
        let reopened = |peer: &Region| votes.fresh_votes(peer, at).any(|view| view.incident.is_some());
        self.closed.retain(|(peer, closed)| !closed.is_expired(at) && !reopened(peer));
        if self.closed.len() != told {
            self.changes.push(StateChange::Incidents);
        }
        self.update_isolation(now);
        for n in 0..self.peers.len() {
            self.update_peer(n, now);
        }
        self.refresh_votes(now.instant);
    }

    /// When to [`on_timer`](Self::on_timer) it, if ever.
    pub fn wake_at(&self) -> Option<Instant> {
        let hold = self.hold();
        let isolated = self.isolation.is_isolated();
        let peers = self.peers.iter().flat_map(|peer| {
            let due = peer.incident.as_ref().filter(|_| peer.verdict.state() == PeerState::Down && !isolated);
            [peer.burst.map(|(_, at)| at), due.and_then(|open| open.due(hold))]
        });
        peers.chain([self.next_vote_request]).flatten().min()
    }

    fn hold(&self) -> Hold {
        let Policy { execute_after, allow_single_vantage, .. } = self.policy;
        Hold { execute_after, allow_single_vantage }
    }

    fn update_isolation(&mut self, now: Now) {
        let was = self.isolation.is_isolated();
        let judged =
            || self.peers.iter().filter(|peer| !matches!(peer.verdict.state(), PeerState::Unknown | PeerState::Down));
        let peers = judged().count();
        // Who answers, but is of no use, says nothing about us.
        let dead = |evidence: &Evidence| evidence.failing().is_some_and(|failing| failing.cause == Cause::Silence);
        let silent = |evidence: &Evidence| if peers > 1 { evidence.is_silent() } else { dead(evidence) };
        let quiet = judged().filter(|peer| silent(&peer.verdict.evidence)).count();
        let mut anchors = self.anchors.iter().filter(|(_, anchor)| anchor.alive_at().is_some()).peekable();
        let outside = anchors.peek().is_some().then(|| anchors.any(|(_, anchor)| !anchor.is_silent()));
        let why = self.isolation.update(quiet, peers, outside, now.instant);
        if why.is_some() != was {
            self.changes.push(StateChange::Isolated(why));
            if was {
                // What fell silent meanwhile may have been heard by everyone else; not what was down before.
                let fell_silent = self.peers.iter_mut().filter(|peer| peer.verdict.state() != PeerState::Down);
                fell_silent.for_each(|peer| peer.verdict.evidence.reset_failures());
            }
            for n in 0..self.peers.len() {
                self.evaluate(n, now);
            }
        }
    }

    fn update_peer(&mut self, n: usize, now: Now) {
        let peer = &mut self.peers[n];
        let quiet = peer.verdict.evidence.is_silent();
        if quiet && !peer.was_silent && self.policy.confirm_burst && peer.verdict.state() != PeerState::Down {
            peer.burst = Some((BURST, now.instant));
            self.send_burst(n, now.instant);
        }
        let peer = &mut self.peers[n];
        if std::mem::replace(&mut peer.was_silent, quiet) || quiet || self.isolation.is_isolated() {
            self.update_isolation(now);
        }
        self.evaluate(n, now);
    }

    /// What follows of what is known now.
    fn evaluate(&mut self, n: usize, now: Now) {
        let isolated = self.isolation.is_isolated();
        let hold = self.hold();
        let peer = &mut self.peers[n];
        peer.verdict.refresh();
        peer.name_incident(now);
        loop {
            let silence = peer.verdict.failing().map(|failing| (failing.onset, failing.decisive));
            peer.tally = self.votes.count(&peer.region, peer.vote(isolated), silence, now.instant);
            let Some(transition) = peer.verdict.step(&peer.tally, isolated, now.instant) else { break };
            let (region, tally) = (peer.region.clone(), peer.tally);
            self.changes.push(StateChange::State { peer: region, transition, tally });
            match transition.to {
                PeerState::Suspect => {
                    self.next_vote_request = Some(now.instant);
                }
                PeerState::Down if peer.incident.is_none() => {
                    peer.incident = Some(open(peer, &self.votes, now));
                    self.closed.retain(|(region, _)| *region != peer.region);
                    self.changes.push(StateChange::Incidents);
                }
                _ => {}
            }
        }
        if let Some(incident) = &mut peer.incident {
            let mut changed = incident.look(peer.verdict.state(), &peer.tally, isolated, hold, now.instant);
            if peer.verdict.state() == PeerState::Down && !isolated {
                changed |= incident.rename(oldest(&peer.region, &self.votes, now));
            }
            if incident.is_over(now.instant) {
                let held_by_others =
                    self.votes.fresh_votes(&peer.region, now.instant).any(|view| view.incident.is_some());
                // Whoever is the last tells that it is over. Where two end at once nobody does, and the alert expires.
                if let Some(open) = peer.incident.take().filter(|_| !held_by_others) {
                    self.closed.push((peer.region.clone(), ResolvedIncident::new(open, now.unix, now.instant)));
                }
                self.changes.push(StateChange::Incidents);
            } else if changed {
                self.changes.push(StateChange::Incidents);
            }
        }
        if self.next_vote_request.is_some_and(|at| at <= now.instant) {
            self.request_votes(now.instant);
        }
    }

    /// What has changed since it was asked last.
    pub fn take_changes(&mut self) -> Vec<StateChange> {
        std::mem::take(&mut self.changes)
    }

    /// Why this vantage is isolated, where it is.
    pub const fn isolation_reason(&self) -> Option<IsolationReason> {
        self.isolation.why()
    }

    /// What each vantage that may vote has said last on a peer, by name.
    pub fn last_votes<'a>(&'a self, peer: &'a Region, now: Instant) -> impl Iterator<Item = VoteStatus> + 'a {
        self.votes.last_votes(peer, now)
    }

    /// Whether this vantage is isolated.
    pub const fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// 0 where it is fit to judge, up to 7; probes are to be waited for (1 + score) times as long.
    pub const fn health_score(&self) -> u8 {
        self.health.score()
    }

    /// Whether each anchor answers; `None` where it never did.
    pub fn anchors(&self) -> impl Iterator<Item = (PathId, Option<bool>)> {
        self.anchors.iter().map(|(path, seen)| (*path, seen.alive_at().map(|_| !seen.is_silent())))
    }

    /// Every peer as it looks now, in the order in which they are watched.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus<'_>> {
        let isolated = self.isolation.is_isolated();
        self.peers.iter().map(move |peer| PeerStatus {
            region: &peer.region,
            state: peer.verdict.state(),
            since: peer.verdict.since(),
            tally: peer.tally,
            vote: peer.vote(isolated),
            good_at: peer.verdict.evidence.good_at(),
            onset: peer.verdict.failing().map(|failing| failing.onset),
            incident: peer.incident.as_ref().map(|open| IncidentView::of(open, None)),
            incident_id_candidate: peer
                .incident_id_candidate
                .as_ref()
                .map(|(_, incident_id_candidate)| incident_id_candidate),
        })
    }

    /// What Alertmanager is to be told: the incidents that are open, and those whose end is still being told.
    pub fn incidents(&self) -> impl Iterator<Item = (&Region, IncidentView<'_>)> {
        let open =
            self.peers.iter().filter_map(|peer| Some((&peer.region, IncidentView::of(peer.incident.as_ref()?, None))));
        let closed =
            self.closed.iter().map(|(region, closed)| (region, IncidentView::of(&closed.open, Some(closed.at))));
        open.chain(closed)
    }
}
