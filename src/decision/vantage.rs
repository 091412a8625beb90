//! What one vantage knows and concludes: samples and votes go in, verdicts, orders for more probes and incidents come
//! out. Synchronous, without clock, lock or metrics, so that years of it can be simulated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    CutOff, Evidence, Isolation, Lane, Reading, Transition,
    extra_probes::{BURST, FRESH},
    incidents::{Closed, Hold, Open},
    local_health::Health,
    peer::{Desk, oldest, open},
    votes::{Ballots, Said, Views},
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
pub struct Watched {
    /// Its name.
    pub region: Region,
    /// The paths to it.
    pub lanes: Vec<Lane>,
}

/// Something that has changed, for the log and the metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
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
    Isolated(Option<CutOff>),
    /// The incidents, or what is told of them.
    Incidents,
}

/// What a peer looks like now; a copy for metrics, votes and ranking.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
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
    pub incident: Option<Episode<'a>>,
    /// What an incident of it would be called now, where it is failing: its onset, and its name.
    pub proposal: Option<&'a (UnixMillis, Arc<str>)>,
}

/// An open incident, as far as this vantage knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Episode<'a> {
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

impl<'a> Episode<'a> {
    const fn of(open: &'a Open, resolved: Option<UnixMillis>) -> Self {
        let Open { id, onset, cause, confirmed, executed, tally, .. } = open;
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
    pub(super) desks: Vec<Desk>,
    pub(super) anchors: Vec<(PathId, Evidence)>,
    places: HashMap<PathId, Place>,
    pub(super) ballots: Ballots,
    /// The paths on which vantages are asked for their votes.
    pub(super) asks: BTreeMap<Region, PathId>,
    pub(super) next_ask: Option<Instant>,
    pub(super) closed: Vec<(Region, Closed)>,
    pub(super) isolation: Isolation,
    pub(super) health: Health,
    pub(super) orders: Vec<PathId>,
    pub(super) news: Vec<News>,
}

impl Vantage {
    /// A vantage that watches nothing yet.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            desks: Vec::new(),
            anchors: Vec::new(),
            places: HashMap::new(),
            ballots: Ballots::default(),
            asks: BTreeMap::new(),
            next_ask: None,
            closed: Vec::new(),
            isolation: Isolation::new(now),
            health: Health::default(),
            orders: Vec::new(),
            news: Vec::new(),
        }
    }

    /// Watches these peers and anchors from now on, and no others. A peer that was watched before keeps its state;
    /// an incident of one that is watched no more is forgotten.
    pub fn watch(&mut self, policy: Policy, peers: Vec<Watched>, anchors: Vec<Lane>, now: Instant) {
        self.policy = policy;
        let mut before: BTreeMap<Region, Desk> =
            std::mem::take(&mut self.desks).into_iter().map(|desk| (desk.region.clone(), desk)).collect();
        self.places.clear();
        self.asks.clear();
        let mut voters = Vec::new();
        for Watched { region, lanes } in peers {
            let place = Place::Peer(self.desks.len());
            self.places.extend(lanes.iter().map(|lane| (lane.path, place)));
            if let Some(sidecar) = lanes.iter().find(|lane| lane.kind.carries_votes()) {
                self.asks.insert(region.clone(), sidecar.path);
                voters.push((region.clone(), (3 * sidecar.interval).min(FRESH)));
            }
            let desk = match before.remove(&region) {
                Some(mut desk) => {
                    desk.verdict.evidence.watch(lanes, policy.confirm_burst);
                    desk
                }
                None => Desk::new(region, Evidence::new(lanes, policy.confirm_burst), now),
            };
            self.desks.push(desk);
        }
        self.ballots.admit(voters);
        if before.values().any(|desk| desk.incident.is_some()) {
            // It is not told any more, and expires.
            self.news.push(News::Incidents);
        }
        let mut known = std::mem::take(&mut self.anchors);
        for lane in anchors {
            let path = lane.path;
            self.places.insert(path, Place::Anchor(self.anchors.len()));
            let known = known.iter().position(|(other, _)| *other == path).map(|n| known.swap_remove(n).1);
            self.anchors.push((path, known.unwrap_or_else(|| Evidence::new([lane], false))));
        }
    }

    /// A probe came to its end, and so many answers to earlier ones came late.
    pub fn ended(&mut self, path: PathId, sent_at: Instant, outcome: &Outcome, late: u32, now: Now) {
        match self.places.get(&path) {
            Some(&Place::Peer(n)) => {
                self.isolation.ended(outcome.is_err_and(|failure| failure.is_local()));
                let desk = &mut self.desks[n];
                if late > 0 {
                    desk.verdict.evidence.spoke(now.instant);
                }
                let news = desk.verdict.evidence.ended(path, sent_at, outcome);
                if news || late > 0 || desk.is_eventful() {
                    self.consider(n, now);
                }
            }
            Some(&Place::Anchor(n)) => {
                self.anchors[n].1.ended(path, sent_at, outcome);
                self.consider_isolation(now);
            }
            None => {}
        }
    }

    /// A probe has waited for longer than usual.
    pub fn overdue(&mut self, path: PathId, sent_at: Instant, now: Now) {
        match self.places.get(&path) {
            Some(&Place::Peer(n)) => {
                self.desks[n].verdict.evidence.overdue(path, sent_at);
                self.consider(n, now);
            }
            Some(&Place::Anchor(n)) => {
                self.anchors[n].1.overdue(path, sent_at);
                self.consider_isolation(now);
            }
            None => {}
        }
    }

    /// An answer came after the deadline.
    pub fn answered_late(&mut self, path: PathId, now: Now) {
        if let Some(&Place::Peer(n)) = self.places.get(&path) {
            self.desks[n].verdict.evidence.spoke(now.instant);
            self.consider(n, now);
        }
    }

    /// A probe started so much later than it was due.
    pub fn started(&mut self, delay: Duration) {
        self.health.started(delay);
    }

    /// Slots passed without a probe.
    pub fn missed_slots(&mut self) {
        self.health.missed();
    }

    /// How well a peer has answered in the last minute; to be told every 10 s.
    pub fn read(&mut self, peer: &Region, reading: Option<Reading>, now: Now) {
        if let Some(n) = self.desks.iter().position(|desk| desk.region == *peer) {
            self.desks[n].verdict.quality.read(reading, now.instant);
            self.consider(n, now);
        }
    }

    /// A vantage has said something, which it was asked for at `asked_at`.
    pub fn hear(&mut self, from: &Region, asked_at: Instant, views: Views, now: Now) {
        self.ballots.hear(from, asked_at, views);
        for n in 0..self.desks.len() {
            if self.desks[n].heeds_votes() {
                self.consider(n, now);
            }
        }
    }

    /// An incident that the process before this one had told of goes on, until the peer has proved to be well.
    pub fn adopt(&mut self, told: &Incident) {
        let Some(desk) = self.desks.iter_mut().find(|desk| desk.region == told.peer) else { return };
        let open = desk.incident.get_or_insert_with(|| {
            let mut open = Open::new(Arc::clone(&told.id), told.onset, told.cause);
            open.tally = told.tally;
            open
        });
        open.confirmed |= told.confirmed || told.stage == Stage::Execute;
        open.executed |= told.stage == Stage::Execute;
        desk.verdict.evidence.assume(told.cause);
        self.news.push(News::Incidents);
    }

    /// Looks at everything again; to be called at [`wake_at`](Self::wake_at).
    pub fn wake(&mut self, now: Now) {
        for n in 0..self.desks.len() {
            self.send_burst(n, now.instant);
            if self.desks[n].is_eventful() {
                self.consider(n, now);
            }
        }
        if self.next_ask.is_some_and(|at| at <= now.instant) {
            self.ask(now.instant);
        }
    }

    /// Looks at everything again and judges our own fitness; to be called each second.
    pub fn tick(&mut self, now: Now) {
        self.health.tick();
        let told = self.closed.len();
        // Who has a new incident must not find it resolved by the old one.
        let (ballots, at) = (&self.ballots, now.instant);
        let reopened = |peer: &Region| ballots.views(peer, at).any(|view| view.incident.is_some());
        self.closed.retain(|(peer, closed)| !closed.is_told(at) && !reopened(peer));
        if self.closed.len() != told {
            self.news.push(News::Incidents);
        }
        self.consider_isolation(now);
        for n in 0..self.desks.len() {
            self.consider(n, now);
        }
        self.keep_fresh(now.instant);
    }

    /// When to [`wake`](Self::wake) it, if ever.
    pub fn wake_at(&self) -> Option<Instant> {
        let hold = self.hold();
        let isolated = self.isolation.is_isolated();
        let desks = self.desks.iter().flat_map(|desk| {
            let due = desk.incident.as_ref().filter(|_| desk.verdict.state() == PeerState::Down && !isolated);
            [desk.burst.map(|(_, at)| at), due.and_then(|open| open.due(hold))]
        });
        desks.chain([self.next_ask]).flatten().min()
    }

    fn hold(&self) -> Hold {
        let Policy { execute_after, allow_single_vantage, .. } = self.policy;
        Hold { execute_after, allow_single_vantage }
    }

    fn consider_isolation(&mut self, now: Now) {
        let was = self.isolation.is_isolated();
        let judged =
            || self.desks.iter().filter(|desk| !matches!(desk.verdict.state(), PeerState::Unknown | PeerState::Down));
        let peers = judged().count();
        // Who answers, but is of no use, says nothing about us.
        let dead = |evidence: &Evidence| evidence.failing().is_some_and(|failing| failing.cause == Cause::Silence);
        let silent = |evidence: &Evidence| if peers > 1 { evidence.is_quiet() } else { dead(evidence) };
        let quiet = judged().filter(|desk| silent(&desk.verdict.evidence)).count();
        let mut anchors = self.anchors.iter().filter(|(_, anchor)| anchor.alive_at().is_some()).peekable();
        let outside = anchors.peek().is_some().then(|| anchors.any(|(_, anchor)| !anchor.is_quiet()));
        let why = self.isolation.judge(quiet, peers, outside, now.instant);
        if why.is_some() != was {
            self.news.push(News::Isolated(why));
            if was {
                // What fell silent meanwhile may have been heard by everyone else; not what was down before.
                let fell_silent = self.desks.iter_mut().filter(|desk| desk.verdict.state() != PeerState::Down);
                fell_silent.for_each(|desk| desk.verdict.evidence.forgive());
            }
            for n in 0..self.desks.len() {
                self.conclude(n, now);
            }
        }
    }

    fn consider(&mut self, n: usize, now: Now) {
        let desk = &mut self.desks[n];
        let quiet = desk.verdict.evidence.is_quiet();
        if quiet && !desk.was_quiet && self.policy.confirm_burst && desk.verdict.state() != PeerState::Down {
            desk.burst = Some((BURST, now.instant));
            self.send_burst(n, now.instant);
        }
        let desk = &mut self.desks[n];
        if std::mem::replace(&mut desk.was_quiet, quiet) || quiet || self.isolation.is_isolated() {
            self.consider_isolation(now);
        }
        self.conclude(n, now);
    }

    /// What follows of what is known now.
    fn conclude(&mut self, n: usize, now: Now) {
        let isolated = self.isolation.is_isolated();
        let hold = self.hold();
        let desk = &mut self.desks[n];
        desk.verdict.look();
        desk.propose(now);
        loop {
            let silence = desk.verdict.failing().map(|failing| (failing.onset, failing.decisive));
            desk.tally = self.ballots.count(&desk.region, desk.vote(isolated), silence, now.instant);
            let Some(transition) = desk.verdict.judge(&desk.tally, isolated, now.instant) else { break };
            let (peer, tally) = (desk.region.clone(), desk.tally);
            self.news.push(News::State { peer, transition, tally });
            match transition.to {
                PeerState::Suspect => {
                    self.next_ask = Some(now.instant);
                }
                PeerState::Down if desk.incident.is_none() => {
                    desk.incident = Some(open(desk, &self.ballots, now));
                    self.closed.retain(|(region, _)| *region != desk.region);
                    self.news.push(News::Incidents);
                }
                _ => {}
            }
        }
        if let Some(incident) = &mut desk.incident {
            let mut changed = incident.look(desk.verdict.state(), &desk.tally, isolated, hold, now.instant);
            if desk.verdict.state() == PeerState::Down && !isolated {
                changed |= incident.rename(oldest(&desk.region, &self.ballots, now));
            }
            if incident.is_over(now.instant) {
                let held_by_others = self.ballots.views(&desk.region, now.instant).any(|view| view.incident.is_some());
                // Whoever is the last tells that it is over. Where two end at once nobody does, and the alert expires.
                if let Some(open) = desk.incident.take().filter(|_| !held_by_others) {
                    self.closed.push((desk.region.clone(), Closed::new(open, now.unix, now.instant)));
                }
                self.news.push(News::Incidents);
            } else if changed {
                self.news.push(News::Incidents);
            }
        }
        if self.next_ask.is_some_and(|at| at <= now.instant) {
            self.ask(now.instant);
        }
    }

    /// What has changed since it was asked last.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Why this vantage is isolated, where it is.
    pub const fn cut_off(&self) -> Option<CutOff> {
        self.isolation.why()
    }

    /// What each vantage that may vote has said last on a peer, by name.
    pub fn ballots<'a>(&'a self, peer: &'a Region, now: Instant) -> impl Iterator<Item = Said> + 'a {
        self.ballots.said(peer, now)
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
        self.anchors.iter().map(|(path, seen)| (*path, seen.alive_at().map(|_| !seen.is_quiet())))
    }

    /// Every peer as it looks now, in the order in which they are watched.
    pub fn standings(&self) -> impl Iterator<Item = Standing<'_>> {
        let isolated = self.isolation.is_isolated();
        self.desks.iter().map(move |desk| Standing {
            region: &desk.region,
            state: desk.verdict.state(),
            since: desk.verdict.since(),
            tally: desk.tally,
            vote: desk.vote(isolated),
            good_at: desk.verdict.evidence.good_at(),
            onset: desk.verdict.failing().map(|failing| failing.onset),
            incident: desk.incident.as_ref().map(|open| Episode::of(open, None)),
            proposal: desk.proposal.as_ref().map(|(_, proposal)| proposal),
        })
    }

    /// What Alertmanager is to be told: the incidents that are open, and those whose end is still being told.
    pub fn episodes(&self) -> impl Iterator<Item = (&Region, Episode<'_>)> {
        let open =
            self.desks.iter().filter_map(|desk| Some((&desk.region, Episode::of(desk.incident.as_ref()?, None))));
        let closed = self.closed.iter().map(|(region, closed)| (region, Episode::of(&closed.open, Some(closed.at))));
        open.chain(closed)
    }
}
