//! Regions, the paths between them, and a vantage in each: every probe, vote and order for one is an event.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use regionwatch::{
    model::{
        Cause, Failure, PathId, PeerState, Phase, ProbeKind, Region, Stage, StampSource, TargetName, Timings,
        UnixMillis,
    },
    quorum::{View, Views},
    vantage::{News, Now, Policy, Vantage, Watched, proposed_id},
    verdict::{Lane, Reading, Transition},
};
use tokio::time::Instant;

use super::{
    journal::{Journal, Said},
    random::Random,
    timeline::{MILLI, SECOND, Span, Time, Trouble},
};

const FAST_SLOT: Time = 250 * MILLI;
const DEADLINE: Time = SECOND;
/// Jitter of a round trip, as a part of it.
const JITTER: f64 = 0.05;
/// Probe by probe from so long before something happens, until so long after.
const BEFORE: Time = 4 * SECOND;
const AFTER: Time = 3 * SECOND;
/// Where something goes on for long: until nothing has changed for so long.
const UNCHANGED: Time = 70 * SECOND;
/// The schedule has no more probes of one path beside the slots under way.
const MOST_ASKED: usize = 8;
/// The wall clock when the simulation begins.
const EPOCH: u64 = 1_700_000_000_000;

const KINDS: [ProbeKind; 3] = [ProbeKind::Icmp, ProbeKind::Tcp, ProbeKind::Sidecar];
const SIDECAR: usize = 2;

/// What is simulated.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Round trips in seconds, from one region to another.
    pub(crate) rtt: Vec<Vec<f64>>,
    pub(crate) policy: Policy,
    /// Whether the vantages hear each other; if not, each decides alone.
    pub(crate) quorum: bool,
    /// Whether they ask each other at once, or wait for what the slots bring.
    pub(crate) ask: bool,
    pub(crate) loss: f64,
    /// Whether calm time is skipped.
    pub(crate) skip: bool,
    pub(crate) seed: u64,
}

#[derive(Debug)]
enum Event {
    Slot {
        from: usize,
        to: usize,
        n: u32,
    },
    Ended {
        path: usize,
        sent: Time,
        ok: bool,
    },
    Overdue {
        path: usize,
        sent: Time,
    },
    Serve {
        from: usize,
        to: usize,
        sent: Time,
        id: u64,
    },
    Answer {
        to: usize,
        sent: Time,
        id: u64,
        views: Option<Box<Views>>,
    },
    Impatient {
        to: usize,
        sent: Time,
        id: u64,
    },
    Deadline {
        to: usize,
        sent: Time,
        id: u64,
    },
    Wake,
    Tick,
    /// Something begins or ends, or will in a moment, or did a moment ago.
    Scene,
    Look,
}

#[derive(Debug)]
struct Queued {
    at: Time,
    order: u64,
    node: usize,
    /// The process that it is for.
    boot: u32,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What was seen of an incident last.
#[derive(Debug, Clone)]
struct Told {
    id: Arc<str>,
    onset: UnixMillis,
    cause: Cause,
    confirmed: bool,
    executed: bool,
}

#[derive(Debug, Default)]
struct Node {
    /// `None` while the region is dead or the sidecar starts.
    vantage: Option<Vantage>,
    boot: u32,
    frozen_until: Time,
    wake_at: Option<Time>,
    /// Sidecar probes under way, and to whom.
    pending: HashMap<u64, usize>,
    told: BTreeMap<usize, Told>,
    ticks: u64,
    /// Slots that are still to be lost, by peer, and whether the last one was.
    forced: BTreeMap<usize, u32>,
    lost: Vec<bool>,
}

pub(crate) struct World {
    setup: Setup,
    spans: Vec<Span>,
    upcoming: usize,
    /// Which of them the queue waits for.
    announced: Option<usize>,
    /// What goes on now, or did or will within a second.
    near: Vec<Span>,
    regions: Vec<Region>,
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    now: Time,
    origin: Instant,
    random: Random,
    last_scene: Time,
    last_news: Time,
    /// No run of losses begins before, because the first one that does was drawn.
    calm_until: Time,
    pub(crate) journal: Journal,
}

impl World {
    pub(crate) fn new(setup: Setup, spans: Vec<Span>) -> Self {
        let count = setup.rtt.len();
        let random = Random::stream(setup.seed, "world");
        let mut world = Self {
            regions: (0..count).map(|n| Region::new(&format!("r{n:02}")).expect("a valid name")).collect(),
            nodes: (0..count).map(|_| Node { lost: vec![false; count], ..Node::default() }).collect(),
            setup,
            spans,
            upcoming: 0,
            announced: None,
            near: Vec::new(),
            queue: BinaryHeap::new(),
            order: 0,
            now: 0,
            origin: Instant::now(),
            random,
            last_scene: 0,
            last_news: 0,
            calm_until: 0,
            journal: Journal::default(),
        };
        for node in 0..count {
            world.boot(node);
        }
        world.begin();
        world
    }

    /// Runs until `end`, or until `enough` of it was seen.
    pub(crate) fn run(&mut self, end: Time, enough: impl Fn(&Journal) -> bool) {
        while let Some(Reverse(next)) = self.queue.pop() {
            if next.at >= end || enough(&self.journal) {
                return;
            }
            self.journal.watched += next.at - self.now;
            self.now = next.at;
            self.take(next, end);
        }
    }

    fn instant(&self, at: Time) -> Instant {
        self.origin + Duration::from_micros(at)
    }

    fn clock(&self) -> Now {
        Now { instant: self.instant(self.now), unix: UnixMillis(EPOCH + self.now / MILLI) }
    }

    fn push(&mut self, at: Time, node: usize, event: Event) {
        self.order += 1;
        let boot = self.nodes[node].boot;
        self.queue.push(Reverse(Queued { at: at.max(self.now), order: self.order, node, boot, event }));
    }

    /// Fills the queue with what is due from now on.
    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].vantage.is_some() {
                self.schedule(node);
            }
        }
        self.scene();
        self.push(self.now + SECOND, 0, Event::Look);
    }

    fn schedule(&mut self, from: usize) {
        let count = self.nodes.len();
        for to in (0..count).filter(|to| *to != from) {
            // Spread as the product spreads its targets, and by the seed as the time of its start does.
            let phase = Random::stream(self.setup.seed, &format!("phase {from} {to}")).below(4 * FAST_SLOT);
            let n = (self.now + 4 * FAST_SLOT - phase).div_ceil(FAST_SLOT);
            self.push(phase + n * FAST_SLOT - 4 * FAST_SLOT, from, Event::Slot { from, to, n: (n % 4) as u32 });
        }
        let offset = Random::stream(self.setup.seed, &format!("tick {from}")).below(SECOND);
        self.push(self.now + offset, from, Event::Tick);
        self.nodes[from].wake_at = None;
        self.after(from);
    }

    fn boot(&mut self, node: usize) {
        let now = self.instant(self.now);
        let mut vantage = Vantage::new(self.setup.policy, now);
        let target = TargetName::new("edge").expect("a valid name");
        let kinds = if self.setup.quorum { KINDS } else { [ProbeKind::Icmp, ProbeKind::Tcp, ProbeKind::Http] };
        let lane = |to: usize, n: usize| Lane {
            path: PathId((to * KINDS.len() + n) as u32),
            target: target.clone(),
            kind: kinds[n],
            interval: Duration::from_micros(if n == SIDECAR { 4 * FAST_SLOT } else { FAST_SLOT }),
            critical: false,
        };
        let peers = (0..self.regions.len()).filter(|to| *to != node).map(|to| Watched {
            region: self.regions[to].clone(),
            lanes: (0..KINDS.len()).map(|n| lane(to, n)).collect(),
        });
        vantage.watch(self.setup.policy, peers.collect(), Vec::new(), now);
        // What the process before it had told Alertmanager of.
        for (&peer, told) in &self.nodes[node].told {
            let stage = if told.executed { Stage::Execute } else { Stage::Prepare };
            vantage.adopt(&self.regions[peer], Arc::clone(&told.id), told.onset, told.cause, stage);
        }
        let node = &mut self.nodes[node];
        node.boot += 1;
        node.wake_at = None;
        node.vantage = Some(vantage);
    }

    fn take(&mut self, next: Queued, end: Time) {
        let Queued { node, boot, event, .. } = next;
        match event {
            Event::Scene => return self.scene(),
            Event::Look => return self.look(end),
            Event::Serve { from, to, sent, id } => return self.serve(from, to, sent, id, boot),
            _ if self.nodes[node].boot != boot || self.nodes[node].vantage.is_none() => return,
            _ => {}
        }
        let thaw = self.nodes[node].frozen_until;
        if thaw > self.now {
            let Event::Slot { from, to, n } = event else { return self.push(thaw, node, event) };
            if let Some(vantage) = &mut self.nodes[node].vantage {
                vantage.missed_slots();
            }
            return self.push(self.now + FAST_SLOT, from, Event::Slot { from, to, n: (n + 1) % 4 });
        }
        let now = self.clock();
        let sent_at = |sent| self.origin + Duration::from_micros(sent);
        let regions = &self.regions;
        let node_ = &mut self.nodes[node];
        let vantage = node_.vantage.as_mut().expect("it runs");
        let path = |to: usize| PathId((to * KINDS.len() + SIDECAR) as u32);
        let ok = || Ok(Timings::single(Phase::Rtt, Duration::from_millis(1), StampSource::Kernel));
        match event {
            Event::Slot { from, to, n } => return self.slot(from, to, n),
            Event::Ended { path, sent, ok: answered } => {
                let outcome = if answered { ok() } else { Err(Failure::Timeout) };
                vantage.ended(PathId(path as u32), sent_at(sent), &outcome, 0, now);
            }
            Event::Overdue { path, sent } => vantage.overdue(PathId(path as u32), sent_at(sent), now),
            Event::Impatient { to, sent, id } if node_.pending.contains_key(&id) => {
                vantage.overdue(path(to), sent_at(sent), now);
            }
            Event::Deadline { to, sent, id } if node_.pending.remove(&id).is_some() => {
                vantage.ended(path(to), sent_at(sent), &Err(Failure::Timeout), 0, now);
            }
            Event::Answer { to, sent, id, views } => match (node_.pending.remove(&id), views) {
                (None, _) => vantage.answered_late(path(to), now),
                (Some(_), None) => vantage.ended(path(to), sent_at(sent), &Err(Failure::Refused), 0, now),
                (Some(_), Some(views)) => {
                    vantage.ended(path(to), sent_at(sent), &ok(), 0, now);
                    if self.setup.quorum {
                        vantage.hear(&regions[to], sent_at(sent), *views, now);
                    }
                }
            },
            Event::Wake => {
                node_.wake_at = None;
                vantage.wake(now);
                if vantage.wake_at().is_some_and(|at| at <= now.instant) {
                    self.journal.restless += 1;
                }
            }
            Event::Tick => {
                node_.ticks += 1;
                if node_.ticks.is_multiple_of(10) {
                    for (to, region) in regions.iter().enumerate().filter(|(to, _)| *to != node) {
                        let p95 = Some(Duration::from_secs_f64(self.setup.rtt[node][to]));
                        vantage.read(
                            region,
                            Some(Reading { loss: self.setup.loss, lost: (self.setup.loss * 240.0) as usize, p95 }),
                            now,
                        );
                    }
                }
                vantage.tick(now);
                self.push(self.now + SECOND, node, Event::Tick);
            }
            _ => return,
        }
        self.after(node);
    }

    fn slot(&mut self, from: usize, to: usize, n: u32) {
        self.push(self.now + FAST_SLOT, from, Event::Slot { from, to, n: (n + 1) % 4 });
        let loss = self.setup.loss;
        let mut lost = [self.random.chance(loss), self.random.chance(loss)];
        let node = &mut self.nodes[from];
        if let Some(left) = node.forced.get_mut(&to) {
            // A run is over when one is answered.
            lost = [*left > 0; 2];
            *left = left.saturating_sub(1);
            if lost == [false; 2] {
                node.forced.remove(&to);
            }
        } else if self.now < self.calm_until && node.lost[to] {
            lost[0] = false;
        }
        node.lost[to] = lost == [true; 2];
        self.journal.probes += if n == 0 { 3 } else { 2 };
        for (kind, lost) in lost.into_iter().enumerate() {
            self.probe(from, to, kind, lost);
        }
        if n == 0 {
            let lost = self.random.chance(loss);
            self.probe(from, to, SIDECAR, lost);
        }
    }

    fn probe(&mut self, from: usize, to: usize, kind: usize, lost: bool) {
        let sent = self.now;
        let usual = self.setup.rtt[from][to];
        let rtt = (usual * (1.0 + JITTER * self.random.unit()) * SECOND as f64) as Time;
        let vantage = self.nodes[from].vantage.as_mut().expect("it runs");
        vantage.started(Duration::ZERO);
        let patience = (2.0 * usual * (1.0 + JITTER) + 0.05).clamp(0.2, 1.0) * f64::from(1 + vantage.health_score());
        let patience = (patience * SECOND as f64) as Time;
        let blind = self.near.iter().any(|span| span.covers(sent) && span.trouble == Trouble::Blind(from));
        let arrives = !lost && !blind && self.passes(from, to, sent + rtt / 4) && self.lives(to, sent + rtt / 2);
        let returns = arrives && self.passes(to, from, sent + rtt * 3 / 4);
        let path = to * KINDS.len() + kind;
        if kind == SIDECAR {
            self.order += 1;
            let id = self.order;
            self.nodes[from].pending.insert(id, to);
            if arrives {
                self.push(sent + rtt / 2, from, Event::Serve { from, to, sent, id });
            }
            if patience < DEADLINE {
                self.push(sent + patience, from, Event::Impatient { to, sent, id });
            }
            self.push(sent + DEADLINE, from, Event::Deadline { to, sent, id });
        } else if returns {
            if patience < rtt {
                self.push(sent + patience, from, Event::Overdue { path, sent });
            }
            self.push(sent + rtt, from, Event::Ended { path, sent, ok: true });
        } else {
            if patience < DEADLINE {
                self.push(sent + patience, from, Event::Overdue { path, sent });
            }
            self.push(sent + DEADLINE, from, Event::Ended { path, sent, ok: false });
        }
    }

    /// A sidecar is asked. What it says is what it knew when it ran last.
    fn serve(&mut self, from: usize, to: usize, sent: Time, id: u64, boot: u32) {
        if self.nodes[from].boot != boot || !self.lives(to, self.now) {
            return;
        }
        let thaw = self.nodes[to].frozen_until;
        if thaw > self.now {
            return self.push(thaw, from, Event::Serve { from, to, sent, id });
        }
        let half = (self.setup.rtt[from][to] * SECOND as f64) as Time / 2;
        if !self.passes(to, from, self.now + half / 2) {
            return;
        }
        let views = self.views(to, sent).map(Box::new);
        self.push(self.now + half, from, Event::Answer { to, sent, id, views });
    }

    fn views(&self, of: usize, asked: Time) -> Option<Views> {
        let vantage = self.nodes[of].vantage.as_ref()?;
        let now = self.clock();
        let asked_at = self.instant(asked);
        let peers = vantage.standings().map(|standing| {
            let good_at = standing.good_at.map(|at| asked_at - now.instant.saturating_duration_since(at));
            let named = standing.incident.map(|episode| (episode.onset, Arc::clone(episode.id)));
            let proposed = || {
                let onset = UnixMillis(EPOCH + (standing.onset? - self.origin).as_millis() as u64);
                Some((onset, proposed_id(standing.region, onset)))
            };
            (standing.region.clone(), View { vote: standing.vote, good_at, incident: named.or_else(proposed) })
        });
        Some(Views { isolated: vantage.is_isolated(), peers: peers.collect() })
    }

    fn passes(&self, from: usize, to: usize, at: Time) -> bool {
        let dead = |span: &Span| matches!(span.trouble, Trouble::Dead(_));
        self.near.iter().all(|span| dead(span) || !(span.covers(at) && span.stops(from, to)))
    }

    fn lives(&self, region: usize, at: Time) -> bool {
        !self.near.iter().any(|span| span.covers(at) && span.trouble == Trouble::Dead(region))
    }

    /// After a vantage was told of something: does what it orders, writes down what it says.
    fn after(&mut self, node: usize) {
        let vantage = self.nodes[node].vantage.as_mut().expect("it runs");
        let orders = vantage.take_orders();
        let news = vantage.take_news();
        let wake_at = vantage.wake_at().map(|at| (at - self.origin).as_micros() as Time);
        if wake_at.is_some() && wake_at != self.nodes[node].wake_at {
            self.nodes[node].wake_at = wake_at;
            let restless = wake_at <= Some(self.now);
            self.push(wake_at.unwrap_or_default() + if restless { 10 * MILLI } else { 0 }, node, Event::Wake);
        }
        for PathId(path) in orders {
            let (to, kind) = (path as usize / KINDS.len(), path as usize % KINDS.len());
            let asked = self.nodes[node].pending.values().filter(|other| **other == to).count();
            if kind != SIDECAR || (self.setup.ask && asked < MOST_ASKED) {
                self.journal.extra += 1;
                let lost = self.random.chance(self.setup.loss);
                self.probe(node, to, kind, lost);
            }
        }
        if !news.is_empty() {
            self.last_news = self.now;
            self.record(node, news);
        }
    }

    fn record(&mut self, by: usize, news: Vec<News>) {
        let place = |region: &Region| self.regions.iter().position(|other| other == region).expect("one of ours");
        let (at, vantage) = (self.now, self.nodes[by].vantage.as_ref().expect("it runs"));
        for news in &news {
            match news {
                News::State { peer, transition: Transition { from, to }, tally } => {
                    *self.journal.moves.entry((*from, *to)).or_default() += 1;
                    let onset = vantage.standings().find(|standing| standing.region == peer).and_then(|s| s.onset);
                    let onset = onset.map_or(at, |onset| (onset - self.origin).as_micros() as Time);
                    let said = Said { at, by, of: place(peer), onset };
                    match to {
                        PeerState::Suspect => self.journal.suspected.push(said),
                        PeerState::Down => self.journal.down.push((said, tally.reached)),
                        _ => {}
                    }
                }
                News::Isolated(isolated) => self.journal.isolated += u64::from(*isolated),
                News::Incidents => {}
            }
        }
        if !news.contains(&News::Incidents) {
            return;
        }
        let before = std::mem::take(&mut self.nodes[by].told);
        let mut told = BTreeMap::new();
        for standing in self.nodes[by].vantage.iter().flat_map(Vantage::standings) {
            let Some(episode) = standing.incident else { continue };
            let of = place(standing.region);
            let onset = (episode.onset.0 - EPOCH) * MILLI;
            let said = Said { at, by, of, onset };
            let known = before.get(&of).filter(|known| known.id == *episode.id);
            if known.is_none() {
                self.journal.opened.push(said);
            }
            if episode.confirmed && !known.is_some_and(|known| known.confirmed) {
                self.journal.confirmed.push(said);
            }
            if episode.executed && !known.is_some_and(|known| known.executed) {
                self.journal.executed.push(said);
            }
            let now = Told {
                id: Arc::clone(episode.id),
                onset: episode.onset,
                cause: episode.cause,
                confirmed: episode.confirmed,
                executed: episode.executed,
            };
            told.insert(of, now);
        }
        self.nodes[by].told = told;
    }

    /// Something begins or ends.
    fn scene(&mut self) {
        while let Some(span) = self.spans.get(self.upcoming).filter(|span| span.begin <= self.now + SECOND).copied() {
            self.upcoming += 1;
            // Within time that is simulated probe by probe, runs come by chance.
            if matches!(span.trouble, Trouble::Run { .. }) && span.begin != self.calm_until {
                continue;
            }
            self.near.push(span);
            for at in [span.begin, span.end, span.end + SECOND] {
                self.push(at, 0, Event::Scene);
            }
        }
        if let Some(span) = self.spans.get(self.upcoming)
            && self.announced.replace(self.upcoming) != Some(self.upcoming)
        {
            self.push(span.begin.saturating_sub(SECOND), 0, Event::Scene);
        }
        let now = self.now;
        self.near.retain(|span| span.end + SECOND > now);
        for span in self.near.clone() {
            if span.begin == now || span.end == now {
                self.last_scene = now;
            }
            if let Trouble::Run { from, to, slots } = span.trouble
                && span.begin == now
            {
                self.nodes[from].forced.insert(to, slots);
            }
        }
        for node in 0..self.nodes.len() {
            let now_on = |trouble| self.near.iter().filter(move |span| span.covers(now) && span.trouble == trouble);
            let dead = now_on(Trouble::Dead(node)).next().is_some();
            let runs = !dead && now_on(Trouble::Restart(node)).next().is_none();
            let thaw = now_on(Trouble::Frozen(node)).map(|span| span.end).max().unwrap_or_default();
            self.nodes[node].frozen_until = thaw;
            if dead {
                self.nodes[node].told.clear();
            }
            match (self.nodes[node].vantage.is_some(), runs) {
                (true, false) => {
                    self.nodes[node].vantage = None;
                    self.nodes[node].pending.clear();
                }
                (false, true) => {
                    self.boot(node);
                    self.schedule(node);
                }
                _ => {}
            }
        }
    }

    /// Skips what is calm, or has been the same for long.
    fn look(&mut self, end: Time) {
        let near = self.near.iter().flat_map(|span| [span.begin, span.end]);
        let edges = near.chain(self.spans.get(self.upcoming).map(|span| span.begin));
        let next = edges.filter(|at| *at > self.now).min().unwrap_or(end).min(end);
        if self.setup.skip && next > self.now + BEFORE + SECOND && self.is_settled() {
            self.now = next - BEFORE;
            // What is next of all is kept if it is a run of losses; those that come after it are by chance.
            self.calm_until = next;
            self.queue.clear();
            self.announced = None;
            for node in &mut self.nodes {
                node.pending.clear();
                node.forced.clear();
                node.lost.fill(false);
            }
            for span in self.near.clone() {
                for at in [span.end, span.end + SECOND] {
                    self.push(at, 0, Event::Scene);
                }
            }
            self.begin();
            return;
        }
        self.push(self.now + SECOND, 0, Event::Look);
    }

    fn is_settled(&self) -> bool {
        let awake = |vantage: &Vantage| vantage.wake_at().is_none();
        if self.last_scene + AFTER > self.now || !self.nodes.iter().filter_map(|n| n.vantage.as_ref()).all(awake) {
            return false;
        }
        let standings = || self.nodes.iter().filter_map(|node| node.vantage.as_ref()).flat_map(Vantage::standings);
        let well = |state| matches!(state, PeerState::Healthy | PeerState::Degraded);
        let calm = || standings().all(|s| well(s.state) && s.incident.is_none() && s.onset.is_none());
        let same = || standings().all(|s| !matches!(s.state, PeerState::Suspect | PeerState::Recovering));
        let lasting = self.near.iter().all(|span| {
            matches!(
                span.trouble,
                Trouble::Path { .. } | Trouble::Cut(_) | Trouble::Dead(_) | Trouble::Partition(_) | Trouble::Blind(_)
            )
        });
        (self.near.is_empty() && calm())
            || (lasting && same() && self.last_news.max(self.last_scene) + UNCHANGED < self.now)
    }
}
