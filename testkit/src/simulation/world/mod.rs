//! Regions, the paths between them, and a vantage in each: every probe, vote and order for one is an event.

mod probing;
mod recording;
mod scenes;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use regionwatch::{
    decision::{
        self, Effects, Input, Now, PathInfo, PeerSetup, Policy, QualitySample, Remembered, Vantage,
        ranking::RegionAttributes, votes::VoteSet,
    },
    model::{
        Candidate, Cause, FailoverMode, Failure, Incident, Kind, Outcome, PathId, Phase, Region, Sample, Stage,
        StampSource, Tally, TargetName, Timings, UnixMillis,
    },
    probe,
    signing::Operators,
    window::{Latency, Summary},
};
use tokio::time::Instant;

use super::{
    journal::Journal,
    random::Random,
    timeline::{MILLI, SECOND, Span, Time},
};

const FAST_SLOT: Time = 250 * MILLI;
const DEADLINE: Time = SECOND;
/// After so long without a tick, a sidecar evaluates all peers before it takes anything else.
const STALL: Time = 2 * SECOND;
/// The wall clock when the simulation begins.
pub const EPOCH: u64 = 1_700_000_000_000;

const KINDS: [Kind; 4] = [probe::ICMP, probe::TCP, probe::SIDECAR, probe::HTTP];
const SIDECAR: usize = 2;
/// A probe of what a region is for.
const SERVICE: usize = 3;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Round trips in seconds, from one region to another.
    pub rtt: Vec<Vec<f64>>,
    pub policy: Policy,
    /// The regions that are not armed, a bit for each.
    pub disarmed: u64,
    /// Whether the vantages hear each other; if not, each decides alone.
    pub quorum: bool,
    /// Whether the last region is none, but the place of a witness. Then each vantage has an anchor, as two regions need.
    pub witness: bool,
    /// Whether they probe the services of the regions.
    pub critical: bool,
    /// Whether each has a folder for what a restart must not forget.
    pub state: bool,
    /// Who may state which regions may be failed over.
    pub operators: Operators,
    /// By how many milliseconds the clocks of the first vantages are ahead. Those of the others are right.
    pub skew: Vec<i64>,
    /// Whether they ask each other at once, or wait for what the slots bring.
    pub ask: bool,
    pub loss: f64,
    /// Whether calm time is skipped.
    pub skip: bool,
    pub seed: u64,
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
        failure: Option<Failure>,
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
        views: Option<Box<VoteSet>>,
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
    /// The signed statement of an operator.
    Stated {
        text: Arc<str>,
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
    common_mode: bool,
    target: Option<Region>,
}

#[derive(Debug, Default)]
struct Node {
    /// `None` while the region is dead or the sidecar starts.
    vantage: Option<Vantage>,
    boot: u32,
    frozen_until: Time,
    ticked_at: Time,
    wake_at: Option<Time>,
    /// Sidecar probes under way, and to whom.
    pending: HashMap<u64, usize>,
    told: BTreeMap<usize, Told>,
    /// What its folder holds.
    remembered: Remembered,
    /// When each peer was down last with all that an order needs.
    held_at: BTreeMap<usize, Time>,
    /// Where the journal has the order for each peer that is ordered to be failed over now.
    orders: BTreeMap<usize, usize>,
    ticks: u64,
    /// Slots that are still to be lost, by peer, and whether the last one was.
    forced: BTreeMap<usize, u32>,
    lost: Vec<bool>,
}

pub struct World {
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
    pub journal: Journal,
}

impl World {
    pub fn new(setup: Setup, spans: Vec<Span>) -> Self {
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
    pub fn run(&mut self, end: Time, enough: impl Fn(&Journal) -> bool) {
        while let Some(Reverse(next)) = self.queue.pop() {
            if next.at >= end || enough(&self.journal) {
                return;
            }
            self.journal.watched += next.at - self.now;
            self.now = next.at;
            self.take(next, end);
        }
    }

    /// Gives a vantage the signed statement of an operator at a time; nothing, if it does not run then.
    pub fn state(&mut self, at: Time, node: usize, text: Arc<str>) {
        self.push(at, node, Event::Stated { text });
    }

    fn instant(&self, at: Time) -> Instant {
        self.origin + Duration::from_micros(at)
    }

    /// What the clocks of a vantage say.
    fn clock(&self, node: usize) -> Now {
        let unix = UnixMillis((EPOCH + self.now / MILLI).saturating_add_signed(self.skew(node)));
        Now { instant: self.instant(self.now), unix }
    }

    fn skew(&self, node: usize) -> i64 {
        self.setup.skew.get(node).copied().unwrap_or(0)
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
        let node = &mut self.nodes[from];
        (node.wake_at, node.ticked_at) = (None, self.now);
        let wake_at = node.vantage.as_ref().and_then(Vantage::wake_at);
        self.after(from, Effects { wake_at, ..Effects::default() });
    }

    /// Starts a process, which goes on with the incidents of the one before.
    fn boot(&mut self, node: usize) -> Effects {
        let now = self.instant(self.now);
        let clock = self.clock(node);
        let mut vantage = Vantage::new(self.regions[node].clone(), now);
        let target = TargetName::new("edge").expect("a valid name");
        let mut kinds = KINDS;
        if !self.setup.quorum {
            kinds[SIDECAR] = probe::HTTP;
        }
        let probed = if self.setup.critical { KINDS.len() } else { SERVICE };
        let info = |to: usize, n: usize| PathInfo {
            path: PathId((to * KINDS.len() + n) as u32),
            target: target.clone(),
            kind: kinds[n],
            interval: Duration::from_micros(if n < SIDECAR { FAST_SLOT } else { 4 * FAST_SLOT }),
            critical: n == SERVICE,
            question: 0,
        };
        let count = self.regions.len();
        let witness = self.setup.witness.then_some(count - 1);
        let peers = (0..count).filter(|to| *to != node && Some(*to) != witness).map(|to| PeerSetup {
            region: self.regions[to].clone(),
            attributes: RegionAttributes::default(),
            mode: if self.setup.disarmed >> to & 1 == 1 { FailoverMode::Disarmed } else { FailoverMode::Armed },
            paths: (0..probed).map(|n| info(to, n)).collect(),
        });
        let setup = decision::Setup {
            policy: self.setup.policy,
            peers: peers.collect(),
            is_witness: witness == Some(node),
            witnesses: witness
                .filter(|witness| *witness != node)
                .map(|witness| (self.regions[witness].clone(), info(witness, SIDECAR)))
                .into_iter()
                .collect(),
            anchors: witness.map(|_| info(count, 1)).into_iter().collect(),
            operators: self.setup.operators.clone(),
            ..decision::Setup::default()
        };
        let mut effects = vantage.handle(Input::Reconfigured(setup), clock);
        if self.setup.state {
            effects.append(vantage.handle(Input::Remembered(&self.nodes[node].remembered), clock));
        }
        // What the process before it had told Alertmanager of.
        for (&peer, told) in &self.nodes[node].told {
            let stage = if told.executed { Stage::Execute } else { Stage::Prepare };
            let incident = Incident {
                peer: self.regions[peer].clone(),
                stage,
                id: Arc::clone(&told.id),
                onset: told.onset,
                cause: told.cause,
                confirmed: told.confirmed,
                tally: Tally::default(),
                candidates: told
                    .target
                    .iter()
                    .map(|region| Candidate { region: region.clone(), rank: 1, score: None })
                    .collect(),
                blocked: None,
                blocked_by: Vec::new(),
                common_mode: told.common_mode,
                loss: None,
                lost: None,
                evidence: String::new(),
                ordered_by: None,
                resolved: None,
                signatures: Vec::new(),
            };
            effects.append(vantage.handle(Input::Restored(&incident), clock));
        }
        let node = &mut self.nodes[node];
        node.boot += 1;
        node.wake_at = None;
        node.held_at.clear();
        node.vantage = Some(vantage);
        effects
    }

    /// Evaluates all peers if that is overdue, because the sidecar was frozen.
    fn catch_up(&mut self, node: usize) {
        let (now, clock) = (self.now, self.clock(node));
        let Node { vantage: Some(vantage), ticked_at, .. } = &mut self.nodes[node] else { return };
        if *ticked_at + STALL < now {
            *ticked_at = now;
            let effects = vantage.handle(Input::Tick, clock);
            self.after(node, effects);
        }
    }

    fn take(&mut self, next: Queued, end: Time) {
        let Queued { node, boot, event, .. } = next;
        match event {
            Event::Scene => return self.scene(),
            Event::Look => return self.look(end),
            Event::Serve { from, to, sent, id } => return self.serve(from, to, sent, id, boot),
            // An operator does not know whether it has restarted.
            Event::Stated { .. } if self.nodes[node].vantage.is_some() => {}
            _ if self.nodes[node].boot != boot || self.nodes[node].vantage.is_none() => return,
            _ => {}
        }
        let thaw = self.nodes[node].frozen_until;
        if thaw > self.now {
            let Event::Slot { from, to, n } = event else { return self.push(thaw, node, event) };
            let clock = self.clock(node);
            if let Some(vantage) = &mut self.nodes[node].vantage {
                vantage.handle(Input::MissedSlots, clock);
            }
            return self.push(self.now + FAST_SLOT, from, Event::Slot { from, to, n: (n + 1) % 4 });
        }
        if !matches!(event, Event::Tick | Event::Slot { .. }) {
            self.catch_up(node);
        }
        let (now, regions) = (self.clock(node), &self.regions);
        let sent_at = |sent| self.origin + Duration::from_micros(sent);
        let node_ = &mut self.nodes[node];
        let vantage = node_.vantage.as_mut().expect("it runs");
        let sidecar = |to: usize| PathId((to * KINDS.len() + SIDECAR) as u32);
        let answered = Ok(Timings::single(Phase::Rtt, Duration::from_millis(1), StampSource::Kernel));
        let effects = match event {
            Event::Slot { from, to, n } => return self.slot(from, to, n),
            Event::Ended { path, sent, failure } => {
                let outcome = failure.map_or(answered, Err);
                vantage.handle(result(&sample(PathId(path as u32), sent_at(sent), outcome)), now)
            }
            Event::Overdue { path, sent } => {
                vantage.handle(Input::Overdue { path: PathId(path as u32), sent_at: sent_at(sent) }, now)
            }
            Event::Impatient { to, sent, id } if node_.pending.contains_key(&id) => {
                vantage.handle(Input::Overdue { path: sidecar(to), sent_at: sent_at(sent) }, now)
            }
            Event::Deadline { to, sent, id } if node_.pending.remove(&id).is_some() => {
                vantage.handle(result(&sample(sidecar(to), sent_at(sent), Err(Failure::Timeout))), now)
            }
            Event::Answer { to, sent, id, views } => match (node_.pending.remove(&id), views) {
                (None, _) => vantage.handle(Input::LateReply(sidecar(to)), now),
                (Some(_), None) => {
                    vantage.handle(result(&sample(sidecar(to), sent_at(sent), Err(Failure::Refused))), now)
                }
                (Some(_), Some(votes)) => {
                    let mut effects = vantage.handle(result(&sample(sidecar(to), sent_at(sent), answered)), now);
                    if self.setup.quorum {
                        let (from, requested_at) = (&regions[to], sent_at(sent));
                        effects.append(vantage.handle(Input::Votes { from, requested_at, votes: *votes }, now));
                    }
                    effects
                }
            },
            Event::Stated { text } => vantage.handle(Input::Stated(&text), now),
            Event::Wake => {
                node_.wake_at = None;
                let effects = vantage.handle(Input::Timer, now);
                if effects.wake_at.is_some_and(|at| at <= now.instant) {
                    self.journal.restless += 1;
                }
                effects
            }
            Event::Tick => {
                let mut effects = Effects::default();
                (node_.ticks, node_.ticked_at) = (node_.ticks + 1, self.now);
                if node_.ticks.is_multiple_of(10) {
                    for (to, peer) in regions.iter().enumerate().filter(|(to, _)| *to != node) {
                        let (loss, lost) = (self.setup.loss, (self.setup.loss * 240.0) as usize);
                        let p95 = Some(Duration::from_secs_f64(self.setup.rtt[node][to]));
                        let sample = Some(QualitySample { kind: probe::TCP, loss, lost, p95 });
                        effects.append(vantage.handle(Input::Quality { peer, sample }, now));
                        let latency = p95.map(|rtt| Latency { p50: rtt, p95: rtt, p99: rtt, jitter: None });
                        let summary = Some(Summary { count: 240, loss, unanswered: loss, latency });
                        effects.append(vantage.handle(Input::Summary { peer, summary }, now));
                    }
                }
                effects.append(vantage.handle(Input::Tick, now));
                self.push(self.now + SECOND, node, Event::Tick);
                effects
            }
            _ => return,
        };
        self.after(node, effects);
    }
}

fn sample(path: PathId, sent_at: Instant, outcome: Outcome) -> Sample {
    Sample { path, sent_at, sent_at_unix: 0, outcome }
}

fn result(sample: &Sample) -> Input<'_> {
    Input::Result { sample, start_delay: Duration::ZERO, late: 0 }
}
