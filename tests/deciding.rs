//! What holds whatever happens to the peers, the votes and ourselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use regionwatch::{
    decision::{
        Input, Now, OpenIncident, OrderStatus, Orderer, PathInfo, PeerSetup, Policy, QualitySample, Released,
        Remembered, Restriction, Rule, Setup, StateChange, StatementNews, Transition, Vantage,
        ranking::{RegionAttributes, TargetPolicy},
        votes::{FailedOver, PeerVote, VoteSet},
    },
    model::{
        Blocked, Candidate, Cause, DatabaseLoss, DatabaseReport, FailoverMode, Failure, Incident, Ineligible,
        LossBounds, PathId, PeerState, Phase, Promotion, RealisedLoss, Region, Sample, Stage, StampSource, Tally,
        TargetName, Timings, UnixMillis, Vote,
    },
    probe,
    signing::{Action, Command, FailoverTerms, Operators, PrivateKey},
    window::{Latency, Summary},
};
use tokio::time::Instant;

#[path = "deciding/orders.rs"]
mod orders;
#[path = "deciding/statements.rs"]
mod statements;

const MS: Duration = Duration::from_millis(1);
const SLOT: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_secs(30);
/// How long the quorum may be away during the hold.
const GAP: Duration = Duration::from_secs(5);
/// How long a peer has to prove itself.
const CLEAN: Duration = Duration::from_secs(60);
/// How long a peer must be well for its incident to end.
const WELL: Duration = Duration::from_secs(360);
const PATIENCE: Duration = Duration::from_millis(250);

const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);

const ICMP: u32 = 0;
const TCP: u32 = 1;
const SIDECAR: u32 = 2;

/// What another vantage says of all peers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    Nothing,
    Down,
    /// With a probe that it sent just now.
    Up,
    /// With a probe that it sent long ago.
    WasUp,
    Isolated,
}

/// A part of a history.
#[derive(Debug, Clone)]
struct Part {
    slots: u32,
    /// Who answers.
    up: Vec<bool>,
    says: Vec<Says>,
    /// Whether our own pings and connections cannot be begun, while the others' votes still come.
    cannot_send: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Opened {
    peer: usize,
    at: Instant,
    executed: bool,
}

/// One vantage, and what was seen of it.
struct Scene {
    vantage: Vantage,
    regions: Vec<Region>,
    start: Instant,
    now: Instant,
    slot: u32,
    /// Probes that are waited for: when they are overdue, the path, and when they were sent.
    waited: Vec<(Instant, u32, Instant)>,
    moves: Vec<(Instant, usize, Transition)>,
    open: Vec<Option<Opened>>,
    opened: usize,
    /// Since when each peer has been down with a quorum, with ourselves not isolated and nobody who reached it, but for short
    /// gaps; and when it was last so.
    reached: Vec<Option<(Instant, Instant)>>,
    /// When each peer was last so.
    held_at: Vec<Option<Instant>>,
    /// Since when it has been in its state.
    since: Vec<Instant>,
    was_isolated: bool,
    ordered: usize,
    extra_probes: Vec<PathId>,
    /// Which of each peer's slots of the last minute were answered.
    minutes: Vec<VecDeque<bool>>,
    /// Whose port is closed, while its pings are answered.
    refuses: Option<usize>,
    /// Whether the other vantages say that they hold down all peers.
    others_hold: bool,
    /// The peers that the other vantages reach, whatever they say of the others.
    spared: Vec<usize>,
    /// The target of each incident that was ordered.
    targets: BTreeMap<Arc<str>, Region>,
    /// Whether the vantage decides alone.
    alone: bool,
    /// What the first of the other vantages relay, and how many of them do.
    relayed: (usize, Vec<Arc<str>>),
    /// Whether the other vantages say that they order what an operator has commanded of the first peer.
    others_order: bool,
}

fn policy(confirm_burst: bool) -> Policy {
    Policy { confirm_burst, execute_after: HOLD, min_interval: Duration::ZERO, ..Policy::default() }
}

fn setup(confirm_burst: bool, peers: Vec<PeerSetup>) -> Setup {
    Setup { policy: policy(confirm_burst), peers, ..Setup::default() }
}

fn watched(peers: usize) -> Vec<PeerSetup> {
    let target = TargetName::new("edge").unwrap();
    let info = |peer: usize, n: u32, kind, interval| PathInfo {
        path: PathId(peer as u32 * 3 + n),
        target: target.clone(),
        kind,
        interval,
        critical: false,
        question: 0,
    };
    (0..peers)
        .map(|peer| PeerSetup {
            region: Region::new(&format!("p{peer}")).unwrap(),
            attributes: RegionAttributes::default(),
            mode: FailoverMode::Armed,
            paths: vec![
                info(peer, ICMP, probe::ICMP, SLOT),
                info(peer, TCP, probe::TCP, SLOT),
                info(peer, SIDECAR, probe::SIDECAR, SECOND),
            ],
        })
        .collect()
}

impl Scene {
    fn new(peers: usize, confirm_burst: bool) -> Self {
        let start = Instant::now() + 1000 * SECOND;
        let mut vantage = Vantage::new(Region::new("here").unwrap(), start);
        let clock = Now { instant: start, unix: EPOCH };
        vantage.handle(Input::Reconfigured(setup(confirm_burst, watched(peers))), clock);
        let regions: Vec<_> = (0..peers).map(|n| Region::new(&format!("p{n}")).unwrap()).collect();
        for peer in &regions {
            let latency = Some(Latency { p50: MS, p95: MS, p99: MS, jitter: None });
            let summary = Some(Summary { count: 240, loss: 0.0, unanswered: 0.0, latency });
            vantage.handle(Input::Summary { peer, summary }, clock);
        }
        Self {
            vantage,
            regions,
            start,
            now: start,
            slot: 0,
            waited: Vec::new(),
            moves: Vec::new(),
            open: vec![None; peers],
            opened: 0,
            reached: vec![None; peers],
            held_at: vec![None; peers],
            since: vec![start; peers],
            was_isolated: false,
            ordered: 0,
            extra_probes: Vec::new(),
            minutes: vec![VecDeque::new(); peers],
            refuses: None,
            others_hold: false,
            spared: Vec::new(),
            targets: BTreeMap::new(),
            alone: false,
            relayed: (0, Vec::new()),
            others_order: false,
        }
    }

    /// One that knows all of its peers to be well.
    fn well(peers: usize, confirm_burst: bool) -> Self {
        let mut scene = Self::new(peers, confirm_burst);
        scene.live(&Part { slots: 12, up: vec![true; peers], says: vec![Says::Up; peers], cannot_send: false });
        assert!((0..peers).all(|peer| scene.state(peer) == PeerState::Healthy));
        scene
    }

    /// What the process before this one had told of the first peer.
    fn told(&self, stage: Stage) -> Incident {
        Incident {
            peer: self.regions[0].clone(),
            stage,
            id: "p0-1".into(),
            onset: UnixMillis(1),
            cause: Cause::Silence,
            confirmed: true,
            tally: Tally::default(),
            candidates: Vec::new(),
            blocked: None,
            blocked_by: Vec::new(),
            common_mode: false,
            loss: None,
            lost: None,
            evidence: String::new(),
            ordered_by: None,
            resolved: None,
            signatures: Vec::new(),
        }
    }

    /// What is reported of the second stage of the first peer: nothing, an order, or when it ended.
    fn execute(&self) -> Option<Option<UnixMillis>> {
        let incidents = self.vantage.incidents(self.clock());
        incidents.into_iter().find(|told| told.stage == Stage::Execute).map(|told| told.resolved)
    }

    /// Onset and id of the incident of the first peer.
    fn id(&self) -> Option<(UnixMillis, String)> {
        let incident = self.vantage.peers().next().unwrap().incident;
        incident.map(|incident| (incident.onset, incident.id.to_string()))
    }

    /// What Alertmanager held at the start arrives.
    fn restore(&mut self, told: &Incident) {
        self.handle(Input::Restored(told));
    }

    fn clock(&self) -> Now {
        let since = self.now.saturating_duration_since(self.start).as_millis() as u64;
        Now { instant: self.now, unix: UnixMillis(EPOCH.0 + since) }
    }

    fn state(&self, peer: usize) -> PeerState {
        self.vantage.peers().nth(peer).unwrap().state
    }

    fn live(&mut self, part: &Part) {
        for _ in 0..part.slots {
            self.slot(part);
        }
    }

    /// A slot in which everybody is probed; who answers does so at once.
    fn slot(&mut self, part: &Part) {
        let end = self.now + SLOT;
        let asks = self.slot.is_multiple_of(4);
        for peer in 0..self.regions.len() {
            for kind in [ICMP, TCP, SIDECAR] {
                if kind != SIDECAR || asks {
                    self.probe(peer, kind, part);
                }
            }
        }
        for (minute, up) in self.minutes.iter_mut().zip(&part.up) {
            minute.push_back(*up || part.cannot_send);
            minute.drain(..minute.len().saturating_sub(240));
        }
        if self.slot.is_multiple_of(40) {
            for peer in 0..self.regions.len() {
                let minute = &self.minutes[peer];
                let lost = minute.iter().filter(|up| !**up).count();
                let reading =
                    QualitySample { kind: probe::TCP, loss: lost as f64 / minute.len() as f64, lost, p95: Some(MS) };
                let region = self.regions[peer].clone();
                self.handle(Input::Quality { peer: &region, sample: Some(reading) });
            }
        }
        if self.slot.is_multiple_of(4) {
            self.handle(Input::Tick);
        }
        self.slot += 1;
        loop {
            let waking = self.vantage.wake_at().filter(|at| *at <= end);
            let overdue = self.waited.first().map(|(at, ..)| *at).filter(|at| *at <= end);
            let Some(at) = waking.into_iter().chain(overdue).min() else { break };
            self.now = self.now.max(at);
            if overdue == Some(at) {
                let (_, path, sent_at) = self.waited.remove(0);
                self.handle(Input::Overdue { path: PathId(path), sent_at });
            } else {
                self.handle(Input::Timer);
                assert!(self.vantage.wake_at().is_none_or(|next| next > self.now), "it wants to be woken at once");
            }
            let extra_probes = std::mem::take(&mut self.extra_probes);
            self.ordered += extra_probes.len();
            for PathId(path) in extra_probes {
                self.probe(path as usize / 3, path % 3, part);
            }
        }
        self.now = end;
    }

    fn probe(&mut self, peer: usize, kind: u32, part: &Part) {
        let path = peer as u32 * 3 + kind;
        let outcome = match (part.cannot_send && kind != SIDECAR, part.up[peer]) {
            (true, _) => Err(Failure::Local),
            (false, true) if kind == TCP && self.refuses == Some(peer) => Err(Failure::Refused),
            (false, true) => Ok(Timings::single(Phase::Rtt, MS, StampSource::Kernel)),
            (false, false) => {
                self.waited.push((self.now + PATIENCE, path, self.now));
                return;
            }
        };
        let sample = Sample { path: PathId(path), sent_at: self.now, sent_at_unix: 0, outcome };
        self.handle(Input::Result { sample: &sample, start_delay: Duration::ZERO, late: 0 });
        if kind == SIDECAR && outcome.is_ok() && part.says[peer] != Says::Nothing {
            let (from, mut votes) = (self.regions[peer].clone(), self.views(part.says[peer]));
            if peer < self.relayed.0 {
                votes.statements.clone_from(&self.relayed.1);
            }
            votes.peers.get_mut(&self.regions[0]).unwrap().operator_order = self.others_order;
            self.handle(Input::Votes { from: &from, requested_at: self.now, votes });
        }
    }

    fn views(&self, says: Says) -> VoteSet {
        let (vote, good_at) = match says {
            Says::Down => (Vote::Down, None),
            Says::Up => (Vote::Up, Some(self.now)),
            _ => (Vote::Up, Some(self.start)),
        };
        let view = PeerVote {
            vote,
            good_at,
            alive_at: good_at,
            unserved_since: None,
            incident: None,
            held: self.others_hold,
            mode: None,
            target: None,
            failed_over: None,
            operator_order: false,
        };
        let of = |(n, region): (usize, &Region)| {
            let spared = PeerVote {
                vote: Vote::Up,
                good_at: Some(self.now),
                alive_at: Some(self.now),
                held: false,
                ..view.clone()
            };
            (region.clone(), if self.spared.contains(&n) { spared } else { view.clone() })
        };
        let peers = self.regions.iter().enumerate().map(of).collect();
        VoteSet { isolated: says == Says::Isolated, peers, ..VoteSet::default() }
    }

    fn handle(&mut self, input: Input<'_>) {
        let effects = self.vantage.handle(input, self.clock());
        self.extra_probes.extend(effects.extra_probes);
        self.check(effects.changes);
    }

    /// What holds after every step.
    fn check(&mut self, changes: Vec<StateChange>) {
        let isolated = self.vantage.is_isolated();
        let now = self.now;
        let incidents = self.vantage.incidents(self.clock());
        for news in changes {
            let StateChange::Peer { peer, transition, tally, .. } = news else { continue };
            let Transition { from, to } = transition;
            assert!(Transition::ALL.contains(&(from, to)), "{from} to {to}");
            assert!(!(tally.reached && tally.contradicted));
            if matches!(to, PeerState::Suspect | PeerState::Down) {
                assert!(!(isolated && self.was_isolated), "accused {peer} while isolated");
            }
            let n = self.regions.iter().position(|region| *region == peer).unwrap();
            let proves_itself = matches!(from, PeerState::Recovering | PeerState::Degraded);
            if to == PeerState::Healthy && proves_itself {
                assert!(now - self.since[n] >= CLEAN, "{from} for {:?} only", now - self.since[n]);
            }
            self.since[n] = now;
            self.moves.push((now, n, transition));
        }
        self.was_isolated = isolated;
        let orders = incidents.iter().filter(|told| told.stage == Stage::Execute && told.resolved.is_none());
        for order in orders.clone() {
            let target = &order.candidates.first().expect("an order has a target").region;
            let first = self.targets.entry(Arc::clone(&order.id)).or_insert_with(|| target.clone());
            assert_eq!(first, target, "the target of {} has changed", order.id);
            assert_ne!(*target, order.peer);
        }
        let ordered: BTreeSet<_> = orders.map(|order| &order.peer).collect();
        assert!(ordered.len() <= 1, "more than one region is failed over: {ordered:?}");
        for (n, standing) in self.vantage.peers().enumerate() {
            assert!(!isolated || standing.vote == Vote::Abstain);
            let Tally { reached, up, .. } = standing.tally;
            let agreed = standing.state == PeerState::Down && (reached || self.alone) && up == 0 && !isolated;
            self.reached[n] = match self.reached[n] {
                None => agreed.then_some((now, now)),
                Some((since, _)) if agreed => Some((since, now)),
                Some((_, last)) if now - last > GAP => None,
                gap => gap,
            };
            if agreed {
                self.held_at[n] = Some(now);
            }
            let executed = standing.incident.is_some_and(|incident| incident.executed);
            let is_held = standing.incident.is_some_and(|incident| incident.held);
            assert!(is_held || !agreed || standing.incident.is_none(), "not held, although all agree");
            let last = self.held_at[n].map(|at| now - at);
            assert!(!is_held || last.is_some_and(|last| last <= GAP), "held down {last:?} after it was");
            let execute = incidents.iter().filter(|told| told.peer == *standing.region && told.stage == Stage::Execute);
            let (commanded, execute): (Vec<_>, Vec<_>) = execute.partition(|told| told.ordered_by.is_some());
            assert!(commanded.len() + execute.len() <= 1, "{commanded:?} {execute:?}");
            let commanded = !commanded.is_empty();
            let blocked = standing.incident.and_then(OpenIncident::blocked_now).is_some();
            let ordered = execute.iter().any(|told| told.resolved.is_none());
            let anew = standing.incident.is_some_and(|incident| incident.held_anew);
            assert_eq!(ordered, executed && is_held && !blocked && !anew && !commanded, "{execute:?}");
            if execute.iter().any(|told| told.resolved.is_some()) && standing.incident.is_some() {
                assert!(executed && !isolated && !matches!(standing.state, PeerState::Down | PeerState::Unknown));
            }
            match (&mut self.open[n], standing.incident) {
                (place @ None, Some(_)) => {
                    *place = Some(Opened { peer: n, at: now, executed });
                    self.opened += 1;
                }
                (place @ Some(_), None) => {
                    assert!(now - place.unwrap().at >= WELL, "an incident of {:?}", now - place.unwrap().at);
                    *place = None;
                }
                (Some(open), Some(_)) if executed && !open.executed => {
                    let held = self.reached[n].map(|(since, _)| now - since);
                    assert!(held >= Some(HOLD), "executed after a quorum of {held:?}");
                    open.executed = true;
                }
                (Some(open), Some(_)) => assert_eq!(open.executed, executed, "the second stage was taken back"),
                (None, None) => {}
            }
        }
    }
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        1 => Just(Says::Nothing),
        4 => Just(Says::Down),
        2 => Just(Says::Up),
        1 => Just(Says::WasUp),
        1 => Just(Says::Isolated),
    ]
}

fn part(peers: usize) -> impl Strategy<Value = Part> {
    let slots = prop_oneof![3 => 1..12u32, 2 => 12..80u32, 1 => 120..280u32];
    let up = proptest::collection::vec(proptest::bool::weighted(0.7), peers);
    let says = proptest::collection::vec(says(), peers);
    let cannot_send = proptest::bool::weighted(0.05);
    (slots, up, says, cannot_send).prop_map(|(slots, up, says, cannot_send)| Part { slots, up, says, cannot_send })
}

fn histories() -> impl Strategy<Value = (usize, Vec<Part>)> {
    (1..5usize).prop_flat_map(|peers| (Just(peers), proptest::collection::vec(part(peers), 1..14)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Transitions are those that are listed, an isolated vantage accuses nobody, nobody is well again before the
    /// hold, incidents last for a minute, the second stage waits for an uninterrupted quorum, and a wake is later
    /// than the one before: [`Scene::check`].
    #[test]
    fn invariants_hold_for_any_history((peers, parts) in histories(), burst: bool) {
        let mut scene = Scene::new(peers, burst);
        for part in &parts {
            scene.live(part);
        }
    }

    #[test]
    fn silence_leads_to_suspicion_in_time_and_to_down_if_the_others_agree(
        before in proptest::collection::vec(part(4), 0..4), burst: bool
    ) {
        let mut scene = Scene::well(4, burst);
        for part in &before {
            scene.live(&Part { cannot_send: false, up: vec![true; 4], ..part.clone() });
        }
        let died = scene.now;
        let part = Part { slots: 12, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
        scene.live(&part);
        let first = |to| scene.moves.iter().find(|(at, n, change)| *at >= died && *n == 0 && change.to == to);
        let suspect = first(PeerState::Suspect).expect("suspected").0 - died;
        let down = first(PeerState::Down).expect("down").0 - died;
        prop_assert!(suspect <= 2 * SLOT + PATIENCE, "{suspect:?}");
        prop_assert!(down <= suspect + 100 * MS, "{down:?}");
    }

    #[test]
    fn a_peer_that_other_vantages_reach_is_never_down(
        slots in 1..400u32, answers in proptest::collection::vec(1..8u32, 50)
    ) {
        let mut scene = Scene::well(4, false);
        // The others are heard again after at most two seconds.
        let mut left = slots;
        for gap in answers {
            let quiet = Part { slots: gap.min(left), up: vec![false, true, true, true], says: vec![Says::Nothing; 4], cannot_send: false };
            scene.live(&quiet);
            left -= quiet.slots;
            scene.live(&Part { slots: 4, says: vec![Says::Up; 4], ..quiet });
        }
        prop_assert!(scene.opened == 0);
        prop_assert!(scene.moves.iter().all(|(_, _, change)| change.to != PeerState::Down));
    }

    #[test]
    fn a_vantage_that_loses_more_than_half_of_its_peers_at_once_suspects_none(
        slots in 1..300u32, says in proptest::collection::vec(says(), 4), dead in 3..=4usize
    ) {
        let mut scene = Scene::well(4, false);
        let up = (0..4).map(|n| n >= dead).collect();
        let before = scene.moves.len();
        scene.live(&Part { slots, up, says, cannot_send: false });
        prop_assert_eq!(&scene.moves[before..], &[]);
        prop_assert!(slots < 2 || scene.vantage.is_isolated());
    }

    #[test]
    fn a_restart_resolves_no_incident_and_suspects_no_other_peer(
        slots in 1..400u32, says in proptest::collection::vec(says(), 4), executed: bool
    ) {
        let mut scene = Scene::new(4, false);
        let stage = if executed { Stage::Execute } else { Stage::Prepare };
        scene.restore(&scene.told(stage));
        let part = Part { slots, up: vec![false, true, true, true], says, cannot_send: false };
        scene.live(&part);
        // Only others that reach it, or an outage that this process has not seen, end it before.
        let doubted = part.says.iter().any(|says| matches!(says, Says::Up | Says::WasUp));
        prop_assert!(scene.open[0].is_some() || doubted || slots < 12);
        let accused = |change: &Transition| matches!(change.to, PeerState::Suspect | PeerState::Down);
        prop_assert!(scene.moves.iter().all(|(_, n, change)| *n == 0 || !accused(change)));
        prop_assert!(scene.open[0].is_none_or(|_| scene.id().unwrap().1 == "p0-1"));
        if scene.open[0].is_some() {
            // Not before it has been well for six minutes, up to 100 s of which it was well to others.
            scene.live(&Part { slots: 4 * 250, up: vec![true; 4], ..part.clone() });
            prop_assert!(scene.open[0].is_some());
            scene.live(&Part { slots: 4 * 200, up: vec![true; 4], ..part });
            prop_assert!(scene.open[0].is_none());
        }
    }

    #[test]
    fn a_peer_that_never_answered_is_never_suspected(slots in 1..400u32, says in proptest::collection::vec(says(), 4)) {
        let mut scene = Scene::new(4, false);
        scene.live(&Part { slots, up: vec![false, true, true, true], says, cannot_send: false });
        prop_assert_eq!(scene.state(0), PeerState::Unknown);
    }

    #[test]
    fn no_execute_for_a_region_that_a_vantage_reaches(slots in 1..400u32, reaches in 1..4usize) {
        let mut scene = Scene::well(4, false);
        let mut says = vec![Says::Down; 4];
        says[reaches] = Says::Up;
        scene.live(&Part { slots, up: vec![false, true, true, true], says, cannot_send: false });
        prop_assert!(scene.open[0].is_none_or(|open| !open.executed));
        prop_assert!(slots < 12 || scene.open[0].is_some());
    }

    #[test]
    fn votes_alone_never_make_a_region_down(slots in 1..400u32) {
        let mut scene = Scene::well(4, false);
        scene.live(&Part { slots, up: vec![true; 4], says: vec![Says::Down; 4], cannot_send: false });
        prop_assert_eq!(scene.opened, 0);
        prop_assert!(scene.moves.iter().all(|(_, _, change)| change.to != PeerState::Down));
    }

    #[test]
    fn a_second_outage_within_a_minute_is_the_same_incident(first in 8..80u32, between in 1..200u32, second in 8..80u32) {
        let mut scene = Scene::well(4, false);
        let dead = Part { slots: first, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
        scene.live(&dead);
        prop_assert_eq!(scene.opened, 1);
        scene.live(&Part { slots: between, up: vec![true; 4], says: vec![Says::Up; 4], ..dead.clone() });
        scene.live(&Part { slots: second, ..dead });
        prop_assert_eq!(scene.opened, 1);
        prop_assert!(scene.open[0].is_some());
    }
}

#[test]
fn an_ordinary_outage_goes_through_all_stages() {
    let mut scene = Scene::well(4, false);
    let dead = Part { slots: 4 * 40, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&dead);
    assert!(scene.open[0].is_some_and(|open| open.executed));
    scene.live(&Part { slots: 4 * 430, up: vec![true; 4], says: vec![Says::Up; 4], ..dead });
    assert!(scene.open[0].is_none());
    let states: Vec<_> = scene.moves.iter().filter(|(_, n, _)| *n == 0).map(|(_, _, change)| change.to).collect();
    use PeerState::{Down, Healthy, Recovering, Suspect};
    assert_eq!(states, [Healthy, Suspect, Down, Recovering, Healthy]);
}

fn dead(slots: u32) -> Part {
    Part { slots, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false }
}

fn recovered(slots: u32) -> Part {
    Part { slots, up: vec![true; 4], says: vec![Says::Up; 4], cannot_send: false }
}

/// A vantage whose second stage was reached.
fn executed() -> Scene {
    let mut scene = Scene::well(4, false);
    scene.live(&dead(4 * 33));
    assert_eq!(scene.execute(), Some(None));
    scene
}

#[test]
fn execute_ends_when_the_region_is_back_and_prepare_goes_on() {
    let mut scene = executed();
    let back = scene.now;
    while scene.execute() == Some(None) {
        scene.live(&recovered(1));
        assert!(scene.now - back < 8 * SECOND);
    }
    let Some(Some(ended)) = scene.execute() else { panic!("the end is reported") };
    let told = scene.vantage.incidents(scene.clock());
    assert_eq!(
        told.iter().map(|told| (told.stage, told.resolved)).collect::<Vec<_>>(),
        [(Stage::Prepare, None), (Stage::Execute, Some(ended))]
    );
    scene.live(&recovered(4 * 290));
    assert_eq!(scene.execute(), Some(Some(ended)), "for an Alertmanager that was away");
    scene.live(&recovered(4 * 20));
    assert_eq!(scene.execute(), None);
    assert!(scene.open[0].is_some_and(|open| open.executed));
}

#[test]
fn a_relapse_needs_the_quorum_again_and_is_the_same_incident() {
    let mut scene = executed();
    let id = |scene: &Scene| scene.vantage.peers().next().unwrap().incident.map(|incident| incident.id.to_string());
    let first = id(&scene);
    scene.live(&recovered(4 * 20));
    assert!(matches!(scene.execute(), Some(Some(_))));
    scene.live(&Part { says: vec![Says::Nothing; 4], ..dead(4 * 20) });
    assert_eq!((scene.state(0), scene.execute()), (PeerState::Down, None));
    scene.live(&dead(8));
    assert_eq!((scene.execute(), id(&scene)), (Some(None), first));
}

#[test]
fn a_lapse_of_the_quorum_of_less_than_five_seconds_ends_nothing() {
    let mut scene = executed();
    for _ in 0..3 {
        // Votes are fresh for 3 s.
        for _ in 0..4 * 6 {
            scene.live(&Part { says: vec![Says::Nothing; 4], ..dead(1) });
            assert_eq!(scene.execute(), Some(None));
        }
        scene.live(&dead(4 * 5));
    }
    scene.live(&Part { says: vec![Says::Nothing; 4], ..dead(4 * 9) });
    assert_eq!(scene.execute(), None, "quiet: others may have a quorum");
}

#[test]
fn a_vantage_that_does_not_hold_any_more_is_quiet_until_no_other_vantage_does() {
    let mut scene = executed();
    scene.others_hold = true;
    scene.live(&Part { says: vec![Says::Down; 4], ..recovered(4 * 20) });
    assert_eq!((scene.state(0), scene.execute()), (PeerState::Recovering, None));
    scene.others_hold = false;
    scene.live(&recovered(4 * 2));
    assert!(matches!(scene.execute(), Some(Some(_))));
    scene.others_hold = true;
    scene.live(&recovered(4 * 2));
    assert_eq!(scene.execute(), None, "it must not end the order of another vantage");
}

#[test]
fn a_vantage_that_does_not_hear_another_one_that_is_alive_ends_no_order() {
    let mut scene = executed();
    let says = vec![Says::Up, Says::Nothing, Says::Up, Says::Up];
    scene.live(&Part { says, ..recovered(4 * 20) });
    assert_eq!((scene.state(0), scene.execute()), (PeerState::Recovering, None));
    scene.live(&recovered(4 * 2));
    assert!(matches!(scene.execute(), Some(Some(_))));
}

#[test]
fn an_isolated_vantage_orders_nothing_and_ends_no_order() {
    let mut scene = executed();
    scene.live(&Part { up: vec![false; 4], ..dead(4 * 20) });
    assert!(scene.vantage.is_isolated());
    assert_eq!(scene.execute(), None);
    scene.live(&dead(4 * 10));
    assert_eq!(scene.execute(), Some(None));
}

#[test]
fn a_restored_execute_of_a_healthy_region_is_never_ordered() {
    for told_after in [0, 4 * 100] {
        let mut scene = Scene::new(4, false);
        scene.live(&recovered(told_after));
        for stage in Stage::ALL {
            scene.restore(&scene.told(stage));
        }
        for _ in 0..4 * 60 {
            assert_eq!(scene.vantage.incidents(scene.clock()), []);
            assert!(scene.vantage.peers().all(|peer| peer.incident.is_none()), "it is in no vote");
            scene.live(&recovered(1));
        }
    }
}

#[test]
fn a_restored_incident_of_a_healthy_region_names_no_later_outage_and_shortens_no_hold() {
    let mut scene = Scene::new(4, false);
    for stage in Stage::ALL {
        scene.restore(&scene.told(stage));
    }
    scene.live(&recovered(4 * 10));
    assert_eq!(scene.state(0), PeerState::Healthy);
    let died = scene.clock().unix;
    scene.live(&dead(4 * 10));
    assert_eq!(scene.state(0), PeerState::Down);
    let (onset, id) = scene.id().unwrap();
    assert!(onset >= died && id != "p0-1", "{id}");
    // Another Alertmanager answers only now.
    scene.restore(&scene.told(Stage::Execute));
    assert_eq!((scene.execute(), scene.id()), (None, Some((onset, id))));
    scene.live(&dead(4 * 15));
    assert_eq!(scene.execute(), None, "the hold is waited for");
    scene.live(&dead(4 * 10));
    assert_eq!(scene.execute(), Some(None));
}

#[test]
fn a_restored_incident_goes_on_by_its_id_once_the_region_is_suspect_or_down() {
    let mut scene = Scene::new(4, false);
    for stage in Stage::ALL {
        scene.restore(&scene.told(stage));
    }
    assert_eq!(scene.vantage.incidents(scene.clock()), [], "nothing is known yet");
    scene.live(&Part { says: vec![Says::Nothing; 4], ..dead(8) });
    assert_eq!(scene.state(0), PeerState::Suspect);
    let told = scene.vantage.incidents(scene.clock());
    assert_eq!(told.iter().map(|told| (told.stage, &*told.id)).collect::<Vec<_>>(), [(Stage::Prepare, "p0-1")]);
    scene.live(&dead(8));
    assert_eq!((scene.execute(), scene.id()), (Some(None), Some((UnixMillis(1), "p0-1".to_owned()))));
}

#[test]
fn an_order_that_is_restored_beside_another_incident_is_the_one_that_goes_on() {
    let mut scene = Scene::new(4, false);
    let other = Incident { id: "p0-0".into(), onset: UnixMillis(0), ..scene.told(Stage::Prepare) };
    scene.restore(&other);
    scene.restore(&scene.told(Stage::Execute));
    scene.restore(&other);
    scene.live(&dead(16));
    assert_eq!((scene.execute(), scene.id()), (Some(None), Some((UnixMillis(1), "p0-1".to_owned()))));
}

/// Pings alone make a region well, before its service has failed for long enough.
#[test]
fn a_restart_while_a_service_is_dead_keeps_the_incident_and_its_id() {
    for (refuses, goes_on) in [(Some(0), true), (None, false)] {
        let mut scene = Scene::new(4, false);
        let mut peers = watched(4);
        peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
        scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
        scene.refuses = refuses;
        scene.restore(&Incident { cause: Cause::Service, ..scene.told(Stage::Prepare) });
        let says = |says| Part { says: vec![says; 4], ..recovered(4 * 8) };
        scene.live(&says(if goes_on { Says::Down } else { Says::Up }));
        assert_eq!(scene.id().is_some_and(|(_, id)| id == "p0-1"), goes_on);
        assert_eq!(scene.state(0) == PeerState::Down, goes_on);
    }
}

#[test]
fn a_critical_probe_that_never_succeeded_makes_a_region_ineligible_and_never_suspect() {
    let mut scene = Scene::new(4, false);
    let mut peers = watched(4);
    peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
    scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
    scene.refuses = Some(0);
    scene.live(&Part { says: vec![Says::Down; 4], ..recovered(4 * 60) });
    assert_eq!(scene.state(0), PeerState::Degraded);
    assert!(scene.moves.iter().all(|(_, _, change)| change.to != PeerState::Suspect), "{:?}", scene.moves);
    let ranked = scene.vantage.ranking().of(&scene.regions[0]).unwrap();
    assert!(ranked.reasons.contains(&Ineligible::Critical), "{ranked:?}");
    scene.refuses = None;
    scene.live(&recovered(8));
    let ranked = scene.vantage.ranking().of(&scene.regions[0]).unwrap();
    assert!(!ranked.reasons.contains(&Ineligible::Critical), "{ranked:?}");
}

#[test]
fn a_restored_execute_is_ordered_again_when_the_vantage_itself_holds_the_region_down() {
    let mut scene = Scene::new(4, false);
    scene.restore(&scene.told(Stage::Execute));
    scene.live(&Part { says: vec![Says::Nothing; 4], ..dead(4 * 20) });
    assert_eq!(scene.execute(), None);
    scene.live(&dead(8));
    assert_eq!(scene.execute(), Some(None));
}

#[test]
fn a_process_that_did_not_run_orders_nothing_before_it_has_looked_again() {
    let mut scene = executed();
    let mut lone = setup(false, watched(4));
    lone.policy.allow_single_vantage = true;
    scene.vantage.handle(Input::Reconfigured(lone), scene.clock());
    scene.now += 60 * SECOND;
    scene.vantage.handle(Input::Tick, scene.clock());
    assert_eq!(scene.execute(), None);
}

#[test]
fn the_last_peer_is_suspected_if_its_service_fails_while_its_pings_are_answered() {
    let mut scene = Scene::well(2, false);
    let mut peers = watched(2);
    peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
    scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
    let well = Part { slots: 12, up: vec![true; 2], says: vec![Says::Down; 2], cannot_send: false };
    scene.live(&well);
    let dead = Part { slots: 4 * 8, up: vec![false, true], ..well };
    scene.live(&dead);
    assert_eq!(scene.state(0), PeerState::Down);
    scene.refuses = Some(1);
    scene.live(&dead);
    assert!(!scene.vantage.is_isolated());
    assert_eq!(scene.state(1), PeerState::Suspect, "who votes on the other is dead, so that none confirms it");
    assert_eq!(scene.vantage.peers().nth(1).map(|standing| standing.vote), Some(Vote::Down));
    scene.live(&Part { slots: 4 * 8, up: vec![false; 2], ..dead });
    assert!(scene.vantage.is_isolated(), "now nobody answers");
}

#[test]
fn a_restart_during_the_hold_delays_the_second_stage_and_no_more() {
    let mut scene = Scene::new(4, false);
    scene.restore(&scene.told(Stage::Prepare));
    let dead = Part { slots: 8, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&dead);
    assert_eq!(scene.state(0), PeerState::Down);
    scene.live(&Part { slots: 4 * 31, ..dead });
    assert!(scene.open[0].is_some_and(|open| open.executed));
}

#[test]
fn an_older_incident_id_is_adopted_until_execute_and_never_after() {
    let mut scene = Scene::well(4, false);
    let dead = Part { slots: 8, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&dead);
    let own = scene.id().expect("it is open");
    let hear = |scene: &mut Scene, onset: u64, id: &str| {
        let mut views = scene.views(Says::Down);
        let view = views.peers.get_mut(&scene.regions[0]).unwrap();
        view.incident = Some((UnixMillis(onset), id.into()));
        let (from, requested_at) = (scene.regions[1].clone(), scene.now);
        scene.handle(Input::Votes { from: &from, requested_at, votes: views });
    };
    hear(&mut scene, own.0.0 + 1, "younger");
    assert_eq!(scene.id(), Some(own.clone()));
    hear(&mut scene, own.0.0 - 1, "older");
    assert_eq!(scene.id(), Some((UnixMillis(own.0.0 - 1), "older".to_owned())));
    scene.live(&Part { slots: 4 * 35, ..dead });
    assert!(scene.open[0].is_some_and(|open| open.executed));
    hear(&mut scene, own.0.0 - 2, "oldest");
    assert_eq!(scene.id(), Some((UnixMillis(own.0.0 - 1), "older".to_owned())));
}

#[test]
fn the_incident_id_candidate_does_not_depend_on_clock_rounding() {
    let mut scene = Scene::well(4, false);
    scene.live(&Part { slots: 4, up: vec![false, true, true, true], says: vec![Says::Up; 4], cannot_send: false });
    let proposal = |scene: &Scene| scene.vantage.peers().next().unwrap().incident_id_candidate.cloned();
    let first = proposal(&scene).expect("it is failing");
    for late in [1, 2] {
        let clock = scene.clock();
        scene.vantage.handle(Input::Tick, Now { unix: UnixMillis(clock.unix.0 + late), ..clock });
        assert_eq!(proposal(&scene), Some(first.clone()));
    }
}

#[test]
fn the_execute_hold_pauses_while_isolated() {
    let mut scene = Scene::well(4, false);
    let mut part = Part { slots: 40, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&part);
    assert_eq!(scene.state(0), PeerState::Down);
    (part.slots, part.cannot_send) = (4 * 40, true);
    scene.live(&part);
    assert!(scene.vantage.is_isolated());
    (part.slots, part.cannot_send) = (4 * 25, false);
    scene.live(&part);
    assert!(scene.open[0].is_some_and(|open| !open.executed));
    scene.live(&part);
    assert!(scene.open[0].is_some_and(|open| open.executed));
}

#[test]
fn the_hold_survives_the_loss_of_a_pair_of_probes_to_the_last_other_vantage() {
    let mut scene = Scene::well(2, false);
    let dead = Part { slots: 20, up: vec![false, true], says: vec![Says::Down; 2], cannot_send: false };
    scene.live(&dead);
    assert_eq!(scene.state(0), PeerState::Down);
    for _ in 0..9 {
        scene.live(&Part { slots: 1, up: vec![false, false], ..dead.clone() });
        assert!(!scene.vantage.is_isolated());
        scene.live(&dead);
    }
    assert!(scene.open[0].is_some_and(|open| open.executed));
}

#[test]
fn a_peer_that_was_down_before_an_isolation_is_not_voted_up_after_it() {
    let mut scene = Scene::well(4, false);
    let dead = Part { slots: 20, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&dead);
    scene.live(&Part { up: vec![false; 4], ..dead.clone() });
    assert!(scene.vantage.is_isolated());
    scene.live(&Part { slots: 1, ..dead });
    assert!(!scene.vantage.is_isolated());
    assert_eq!(scene.vantage.peers().next().map(|standing| standing.vote), Some(Vote::Down));
}

#[test]
fn stale_votes_do_not_lead_to_execute() {
    let mut scene = Scene::well(4, false);
    let dead = Part { slots: 20, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&dead);
    scene.live(&Part { slots: 4 * 60, says: vec![Says::Nothing; 4], ..dead });
    assert!(scene.open[0].is_some_and(|open| !open.executed));
}

#[test]
fn an_incident_of_a_removed_peer_is_no_longer_reported() {
    let mut scene = Scene::well(4, false);
    let dead = Part { slots: 20, up: vec![false, true, true, true], says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&dead);
    assert_eq!(scene.vantage.incidents(scene.clock()).len(), 1);
    let setup = setup(false, watched(4).split_off(1));
    let effects = scene.vantage.handle(Input::Reconfigured(setup), scene.clock());
    assert_eq!((effects.changes, effects.incidents), (Vec::new(), Some(Vec::new())));
    assert_eq!(scene.vantage.incidents(scene.clock()).len(), 0);
}

#[test]
fn a_resolved_incident_is_reported_for_five_minutes() {
    let mut scene = Scene::well(4, false);
    let well = Part { slots: 4 * 430, up: vec![true; 4], says: vec![Says::Up; 4], cannot_send: false };
    scene.live(&Part { slots: 20, up: vec![false, true, true, true], says: vec![Says::Down; 4], ..well.clone() });
    scene.live(&well);
    let told =
        |scene: &Scene| scene.vantage.incidents(scene.clock()).iter().map(|told| told.resolved).collect::<Vec<_>>();
    let [Some(resolved)] = told(&scene)[..] else { panic!("{:?}", told(&scene)) };
    let since = Duration::from_millis(scene.clock().unix.0 - resolved.0);
    let left = Duration::from_secs(300).checked_sub(since).expect("it is told for five minutes");
    scene.live(&Part { slots: (left.as_secs() as u32 - 2) * 4, ..well.clone() });
    assert_eq!(told(&scene), [Some(resolved)]);
    let mut published = Vec::new();
    for _ in 0..4 {
        scene.now += SECOND;
        published.extend(scene.vantage.handle(Input::Tick, scene.clock()).incidents);
    }
    assert_eq!(told(&scene), []);
    assert_eq!(published, [Vec::new()], "it must be published again without it");
}

#[test]
fn extra_probes_are_bounded_by_the_suspicion() {
    let mut scene = Scene::well(4, true);
    scene.live(&Part {
        slots: 400,
        up: vec![false, true, true, true],
        says: vec![Says::Nothing; 4],
        cannot_send: false,
    });
    // Ten seconds of asking three others each 100 ms, and one burst.
    assert!(scene.ordered <= 3 * 101 + 9, "{}", scene.ordered);
}

/// What is reported of the first stage of a peer as the reason that it is not failed over.
fn blocked(scene: &Scene, peer: usize) -> Option<Blocked> {
    let told = scene.vantage.incidents(scene.clock());
    let prepare = told.iter().find(|told| told.peer == scene.regions[peer] && told.stage == Stage::Prepare);
    prepare.expect("it is reported").blocked
}

fn ordered(scene: &Scene) -> Vec<(String, String)> {
    let told = scene.vantage.incidents(scene.clock());
    let orders = told.iter().filter(|told| told.stage == Stage::Execute && told.resolved.is_none());
    orders.map(|order| (order.peer.to_string(), order.candidates[0].region.to_string())).collect()
}

#[test]
fn a_region_that_is_not_armed_or_in_maintenance_is_reported_and_never_failed_over() {
    for (mode, reason) in
        [(FailoverMode::Disarmed, Blocked::Disarmed), (FailoverMode::Maintenance, Blocked::Maintenance)]
    {
        let mut scene = Scene::well(4, false);
        let mut peers = watched(4);
        peers[0].mode = mode;
        scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
        scene.live(&dead(4 * 60));
        assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(reason), Vec::new()));
        // Arming it during the outage orders it: the hold is over.
        scene.vantage.handle(Input::Reconfigured(setup(false, watched(4))), scene.clock());
        scene.live(&dead(8));
        assert_eq!((blocked(&scene, 0), ordered(&scene).len()), (None, 0), "the others must know first");
        scene.live(&dead(8));
        assert_eq!((blocked(&scene, 0), ordered(&scene).len()), (None, 1));
        // And disarming it withdraws the order.
        let mut peers = watched(4);
        peers[0].mode = mode;
        scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
        scene.live(&dead(8));
        assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(reason), Vec::new()));
    }
}

#[test]
fn a_second_region_is_limited_while_the_first_is_not_released() {
    let mut scene = executed();
    let second =
        Part { slots: 4 * 60, up: vec![false, false, true, true], says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&second);
    assert_eq!((blocked(&scene, 1), ordered(&scene).len()), (Some(Blocked::Limit), 1));
    // The first one is back, and not released.
    scene.live(&Part { up: vec![true, false, true, true], ..second });
    assert_eq!((blocked(&scene, 1), ordered(&scene)), (Some(Blocked::Limit), Vec::new()));
    let row = scene.vantage.ranking().of(&scene.regions[0]).unwrap();
    assert!(row.reasons.contains(&Ineligible::FailedOver), "{row:?}");
    let explained = scene.vantage.explain(&scene.regions[1], scene.clock()).unwrap();
    assert_eq!(explained.failed_over, scene.regions[..1], "what holds the slot");
}

#[test]
fn a_region_that_was_failed_over_is_a_target_again_after_half_an_hour_of_health() {
    let mut scene = executed();
    scene.live(&recovered(4 * 60 * 20));
    let eligible = |scene: &Scene| scene.vantage.ranking().of(&scene.regions[0]).unwrap().eligible();
    assert!(scene.open[0].is_none() && !eligible(&scene));
    scene.live(&recovered(4 * 60 * 15));
    assert!(eligible(&scene));
}

#[test]
fn nothing_is_ordered_without_a_target() {
    let mut scene = Scene::well(4, false);
    let mut peers = watched(4);
    peers.iter_mut().for_each(|peer| peer.attributes.maintenance = true);
    let mut setup = setup(false, peers);
    setup.own.maintenance = true;
    scene.vantage.handle(Input::Reconfigured(setup), scene.clock());
    scene.live(&dead(4 * 60));
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::NoTarget), Vec::new()));
}

#[test]
fn an_order_is_withdrawn_when_its_target_goes_down_and_never_names_another_one() {
    let mut scene = Scene::well(4, false);
    let mut peers_only = setup(false, watched(4));
    peers_only.own.maintenance = true;
    scene.spared = vec![1, 2, 3];
    scene.vantage.handle(Input::Reconfigured(peers_only), scene.clock());
    scene.live(&dead(4 * 33));
    let [(_, target)] = &ordered(&scene)[..] else { panic!("{:?}", ordered(&scene)) };
    let n = scene.regions.iter().position(|region| region.as_str() == target).unwrap();
    let mut up = vec![true; 4];
    (up[0], up[n]) = (false, false);
    scene.spared.retain(|spared| *spared != n);
    let both = Part { slots: 4 * 20, up, says: vec![Says::Down; 4], cannot_send: false };
    scene.live(&both);
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::TargetDown), Vec::new()));
    scene.spared.push(n);
    scene.live(&dead(4 * 20));
    assert_eq!(ordered(&scene), [("p0".to_owned(), target.clone())]);
}

#[test]
fn a_restarted_vantage_orders_the_target_that_was_ordered_before() {
    let candidate = |n: usize| Candidate { region: Region::new(&format!("p{n}")).unwrap(), rank: 1, score: None };
    for target in 1..4 {
        let mut scene = Scene::new(4, false);
        scene.restore(&Incident { candidates: vec![candidate(target)], ..scene.told(Stage::Execute) });
        scene.live(&dead(16));
        assert_eq!(ordered(&scene), [("p0".to_owned(), format!("p{target}"))]);
    }
}

/// The candidates of an alert are not signed.
#[test]
fn a_restarted_vantage_orders_no_restored_target_that_is_not_configured() {
    let candidate = |name: &&str| Candidate { region: Region::new(name).unwrap(), rank: 1, score: None };
    for (names, restored) in [(&["p1", "nowhere"][..], true), (&["nowhere", "p1"], false), (&["p0"], false)] {
        let mut scene = Scene::new(4, false);
        let candidates = names.iter().map(candidate).collect();
        scene.restore(&Incident { candidates, ..scene.told(Stage::Execute) });
        scene.live(&dead(16));
        let targets: Vec<_> = ordered(&scene).into_iter().map(|(_, target)| target).collect();
        assert!(targets.iter().all(|target| ["here", "p1", "p2", "p3"].contains(&&**target)), "{names:?}: {targets:?}");
        assert!(!restored || targets == ["p1"], "{names:?}: {targets:?}");
    }
}

#[test]
fn the_target_that_two_other_vantages_have_ordered_is_taken_over() {
    for (target, reports) in (1..4).flat_map(|target| [(target, 1), (target, 2)]) {
        let mut scene = Scene::well(4, false);
        let mut votes = scene.views(Says::Down);
        let order = FailedOver {
            id: "p0-1".into(),
            onset: UnixMillis(1),
            target: scene.regions[target].clone(),
            at: scene.now,
        };
        votes.peers.get_mut(&scene.regions[0]).unwrap().failed_over = Some(order);
        for from in 1..=reports {
            let (from, requested_at, votes) = (scene.regions[from].clone(), scene.now, votes.clone());
            scene.handle(Input::Votes { from: &from, requested_at, votes });
        }
        scene.live(&dead(4 * 33));
        let expected = [("p0".to_owned(), format!("p{target}"))];
        // One alone may lie: as the votes are down for all, the target passes no gate here, and no other one is ordered.
        assert_eq!(ordered(&scene), expected[..reports - 1]);
    }
}

#[test]
fn a_reload_with_another_interval_keeps_an_order_and_one_that_asks_something_else_votes_for_nothing() {
    let mut scene = Scene::well(3, false);
    let dead = Part { slots: 400, up: vec![false, true, true], says: vec![Says::Down; 3], cannot_send: false };
    scene.others_hold = true;
    scene.spared = vec![1, 2];
    scene.live(&dead);
    assert_eq!(scene.execute(), Some(None));
    let vote = |scene: &Scene| scene.vantage.peers().next().unwrap().vote;

    let mut peers = watched(3);
    peers[0].paths.iter_mut().for_each(|info| info.interval *= 2);
    scene.handle(Input::Reconfigured(setup(false, peers.clone())));
    assert_eq!((vote(&scene), scene.execute()), (Vote::Down, Some(None)));
    scene.live(&Part { slots: 40, ..dead.clone() });
    assert_eq!((vote(&scene), scene.execute()), (Vote::Down, Some(None)));

    peers[0].paths.iter_mut().for_each(|info| info.question = 1);
    scene.handle(Input::Reconfigured(setup(false, peers)));
    assert_eq!((vote(&scene), scene.state(0)), (Vote::Abstain, PeerState::Down));
    scene.live(&Part { slots: 400, ..dead });
    assert_eq!(vote(&scene), Vote::Abstain);
}

/// The regions to whose databases nothing is written; `None`: all.
fn withheld(scene: &Scene) -> Option<Vec<String>> {
    let regions = scene.vantage.withheld(scene.now)?;
    Some(regions.into_iter().map(|region| region.to_string()).collect())
}

#[test]
fn no_token_is_written_to_a_region_that_was_failed_over_until_it_is_released() {
    let mut scene = executed();
    assert_eq!(withheld(&scene), Some(vec!["p0".to_owned()]));
    scene.live(&recovered(4 * 60 * 20));
    assert!(scene.open[0].is_none());
    assert_eq!(withheld(&scene), Some(vec!["p0".to_owned()]));
    scene.live(&recovered(4 * 60 * 15));
    assert_eq!(withheld(&scene), Some(Vec::new()));
}

#[test]
fn no_token_is_written_to_what_one_other_vantage_reports_as_failed_over() {
    let mut scene = Scene::well(4, false);
    let mut votes = scene.views(Says::Up);
    let (id, target, at) = ("p0-1".into(), scene.regions[1].clone(), scene.now);
    votes.peers.get_mut(&scene.regions[0]).unwrap().failed_over =
        Some(FailedOver { id, onset: UnixMillis(1), target, at });
    let from = scene.regions[2].clone();
    scene.handle(Input::Votes { from: &from, requested_at: at, votes });
    assert_eq!(withheld(&scene), Some(vec!["p0".to_owned()]));
}

#[test]
fn a_vantage_that_is_isolated_or_knows_no_votes_yet_writes_no_token() {
    let mut scene = Scene::new(4, false);
    assert_eq!(withheld(&scene), None);
    scene.live(&Part { slots: 8, up: vec![true; 4], says: vec![Says::Nothing; 4], cannot_send: false });
    assert_eq!(withheld(&scene), None, "the others may know of a failover");
    scene.live(&recovered(8));
    assert_eq!(withheld(&scene), Some(Vec::new()));
    scene.live(&Part { slots: 40, up: vec![false; 4], says: vec![Says::Nothing; 4], cannot_send: false });
    assert!(scene.vantage.is_isolated());
    assert_eq!(withheld(&scene), None);
    // One of the others may be dead at the start.
    let mut scene = Scene::new(4, false);
    scene.live(&Part { slots: 44, up: vec![false, true, true, true], says: vec![Says::Up; 4], cannot_send: false });
    assert_eq!(withheld(&scene), Some(Vec::new()));
}

#[test]
fn a_vantage_that_has_heard_no_other_one_writes_no_token_however_long_it_waits() {
    let mut scene = Scene::new(4, false);
    scene.live(&Part { slots: 400, up: vec![false; 4], says: vec![Says::Nothing; 4], cannot_send: false });
    assert!(!scene.vantage.is_isolated(), "it has no reason to think so");
    assert_eq!(withheld(&scene), None, "its own region may have been failed over meanwhile");
}

/// What another vantage says of the region of this one.
fn told_of_own(scene: &Scene, vote: PeerVote) -> VoteSet {
    VoteSet { peers: [(scene.vantage.region().clone(), vote)].into(), ..scene.views(Says::Up) }
}

#[test]
fn no_token_is_written_to_the_own_region_once_another_vantage_has_failed_it_over_until_that_one_says_otherwise() {
    let mut scene = Scene::well(4, false);
    let order =
        FailedOver { id: "here-1".into(), onset: UnixMillis(1), target: scene.regions[1].clone(), at: scene.now };
    let plain = PeerVote::plain(Vote::Up, Some(scene.now));
    let votes = told_of_own(&scene, PeerVote { failed_over: Some(order), ..plain });
    let (from, requested_at) = (scene.regions[1].clone(), scene.now);
    scene.handle(Input::Votes { from: &from, requested_at, votes });
    // Its votes grow old, while those of the others go on, which do not know.
    let silent = Part { says: vec![Says::Up, Says::Nothing, Says::Up, Says::Up], ..recovered(4 * 60) };
    scene.live(&silent);
    assert_eq!(withheld(&scene), Some(vec!["here".to_owned()]));
    scene.live(&Part { slots: 40, up: vec![false; 4], says: vec![Says::Nothing; 4], cannot_send: false });
    assert!(scene.vantage.is_isolated());
    scene.live(&Part { says: vec![Says::Nothing; 4], ..recovered(8) });
    assert!(!scene.vantage.is_isolated());
    assert_eq!(withheld(&scene), None, "what it knew is from before");
    scene.live(&Part { slots: 44, ..silent });
    assert_eq!(withheld(&scene), Some(vec!["here".to_owned()]));
    scene.live(&recovered(8));
    assert_eq!(withheld(&scene), Some(Vec::new()), "it was released");
}

#[test]
fn a_vantage_that_decides_alone_keeps_no_order_for_what_it_has_never_asked() {
    let mut scene = executed();
    let mut peers = watched(4);
    peers[0].paths.iter_mut().for_each(|info| info.question = 1);
    let mut lone = setup(false, peers);
    lone.policy.allow_single_vantage = true;
    scene.vantage.handle(Input::Reconfigured(lone), scene.clock());
    scene.live(&Part { says: vec![Says::Nothing; 4], ..dead(4 * 60) });
    assert_eq!((scene.state(0), scene.execute()), (PeerState::Down, None));
}

/// The first of two peers, whose service refuses, with reports of its own region's failing services from these peers.
fn refusing(reporters: &[usize]) -> Scene {
    let mut scene = Scene::new(2, false);
    let mut peers = watched(2);
    peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
    scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
    scene.live(&Part { slots: 12, up: vec![true; 2], says: vec![Says::Up; 2], cannot_send: false });
    scene.refuses = Some(0);
    let onset = scene.now;
    let part = Part { slots: 1, up: vec![true; 2], says: vec![Says::Nothing; 2], cannot_send: false };
    for _ in 0..12 {
        for reporter in reporters {
            let plain = PeerVote::plain(Vote::Up, Some(scene.now));
            let votes = told_of_own(&scene, PeerVote { unserved_since: Some(onset), ..plain });
            let (from, requested_at) = (scene.regions[*reporter].clone(), scene.now);
            scene.handle(Input::Votes { from: &from, requested_at, votes });
        }
        scene.slot(&part);
    }
    scene
}

#[test]
fn a_region_that_reports_all_others_as_failing_does_not_make_its_own_failure_a_common_one() {
    for (reporters, is_common) in [(&[][..], false), (&[0], false), (&[1], true), (&[0, 1], true)] {
        let scene = refusing(reporters);
        let peer = scene.vantage.peers().next().unwrap();
        assert_eq!(*peer.rule == Rule::CommonMode, is_common, "{reporters:?}: {:?}", peer.rule);
        assert_eq!(peer.vote == Vote::Down, !is_common, "{reporters:?}");
    }
}

/// After a start, all failures seem to begin at once. The one from before the start was judged when it began.
#[test]
fn a_restored_incident_of_a_dead_service_is_no_common_mode() {
    for restored in [false, true] {
        let mut scene = Scene::new(2, false);
        let mut peers = watched(2);
        peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
        scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
        if restored {
            scene.restore(&Incident { cause: Cause::Service, ..scene.told(Stage::Prepare) });
        } else {
            scene.live(&Part { slots: 12, up: vec![true; 2], says: vec![Says::Up; 2], cannot_send: false });
        }
        scene.refuses = Some(0);
        let onset = scene.now;
        for _ in 0..12 {
            let plain = PeerVote::plain(Vote::Up, Some(scene.now));
            let votes = told_of_own(&scene, PeerVote { unserved_since: Some(onset), ..plain });
            let (from, requested_at) = (scene.regions[1].clone(), scene.now);
            scene.handle(Input::Votes { from: &from, requested_at, votes });
            scene.slot(&Part { slots: 1, up: vec![true; 2], says: vec![Says::Nothing; 2], cannot_send: false });
        }
        let peer = scene.vantage.peers().next().unwrap();
        assert_eq!(*peer.rule == Rule::CommonMode, !restored, "{:?}", peer.rule);
        assert_eq!(peer.incident.is_some(), restored);
    }
}

/// What is seen after the start shows a dead service, and not that several regions share the cause.
#[test]
fn a_restart_in_a_common_mode_orders_nothing_and_goes_on_with_the_incident_until_the_services_succeed() {
    for common_mode in [true, false] {
        let mut scene = Scene::new(4, false);
        let mut peers = watched(4);
        peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
        scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
        scene.restore(&Incident { cause: Cause::Service, common_mode, ..scene.told(Stage::Prepare) });
        scene.refuses = Some(0);
        let failing = |slots| Part { says: vec![Says::Down; 4], ..recovered(slots) };
        scene.live(&failing(4 * 60));
        assert_eq!(*scene.vantage.peers().next().unwrap().rule == Rule::CommonMode, common_mode);
        assert_eq!(scene.execute().is_some(), !common_mode);
        let told = reported(&scene, Stage::Prepare).unwrap();
        assert_eq!((&*told.id, told.common_mode), ("p0-1", common_mode));
        // What begins later is judged by itself.
        scene.refuses = None;
        scene.live(&recovered(4 * 70));
        scene.refuses = Some(0);
        scene.live(&failing(4 * 60));
        assert_eq!(scene.execute(), Some(None));
    }
}

/// The token of this vantage alone has expired. The incident would stay open, and the region would never be released.
#[test]
fn a_common_failure_keeps_an_incident_open_only_while_no_other_vantage_sees_the_services_succeed() {
    for (says, is_open) in [(Says::WasUp, true), (Says::Up, false)] {
        let mut scene = Scene::new(2, false);
        let mut peers = watched(2);
        peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
        scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
        scene.live(&Part { slots: 12, up: vec![true; 2], says: vec![Says::Up; 2], cannot_send: false });
        let onset = scene.now;
        scene.live(&Part { slots: 24, up: vec![false, true], says: vec![Says::Down; 2], cannot_send: false });
        assert!(scene.open[0].is_some());
        scene.refuses = Some(0);
        for _ in 0..4 * 480 {
            let mut votes = scene.views(says);
            let own = PeerVote { unserved_since: Some(onset), ..PeerVote::plain(Vote::Up, Some(scene.now)) };
            votes.peers.insert(scene.vantage.region().clone(), own);
            let (from, requested_at) = (scene.regions[1].clone(), scene.now);
            scene.handle(Input::Votes { from: &from, requested_at, votes });
            scene.slot(&Part { slots: 1, up: vec![true; 2], says: vec![Says::Nothing; 2], cannot_send: false });
        }
        assert_eq!(*scene.vantage.peers().next().unwrap().rule, Rule::CommonMode);
        assert_eq!(scene.open[0].is_some(), is_open, "{says:?}");
    }
}

#[test]
fn a_region_whose_critical_probes_all_fail_is_no_target_although_it_is_only_degraded() {
    let scene = refusing(&[1]);
    let ranked = scene.vantage.ranking().of(&scene.regions[0]).unwrap();
    assert_eq!(scene.state(0), PeerState::Degraded);
    assert!(ranked.reasons.contains(&Ineligible::Critical), "{ranked:?}");
}

/// What a process has left that had failed over the first peer to the second one.
fn left(scene: &Scene) -> Remembered {
    let (id, target, at) = ("p0-1".into(), scene.regions[1].clone(), scene.start - 3600 * SECOND);
    let failover = FailedOver { id, onset: UnixMillis(1), target, at };
    Remembered { failovers: vec![(scene.regions[0].clone(), failover, Orderer::ThisVantage)], ..Remembered::default() }
}

#[test]
fn a_failover_is_not_released_because_its_region_stays_dead_or_without_service_over_a_restart() {
    for refuses in [None, Some(0)] {
        let mut scene = Scene::new(4, false);
        let mut peers = watched(4);
        peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
        scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
        scene.handle(Input::Remembered(&left(&scene)));
        scene.refuses = refuses;
        let up = vec![refuses.is_some(), true, true, true];
        scene.live(&Part { slots: 4 * 60 * 32, up, says: vec![Says::WasUp; 4], cannot_send: false });
        assert_eq!(withheld(&scene), Some(vec!["p0".to_owned()]), "{:?}", scene.state(0));
        scene.refuses = None;
        scene.live(&recovered(4 * 60 * 33));
        assert_eq!(withheld(&scene), Some(Vec::new()));
    }
}

#[test]
fn a_restarted_vantage_takes_the_target_that_it_has_on_disk_and_not_that_of_an_alert() {
    let candidate = |n: usize| Candidate { region: Region::new(&format!("p{n}")).unwrap(), rank: 1, score: None };
    let mut scene = Scene::new(4, false);
    scene.handle(Input::Remembered(&left(&scene)));
    scene.restore(&Incident { candidates: vec![candidate(2)], ..scene.told(Stage::Execute) });
    scene.live(&dead(16));
    assert_eq!(ordered(&scene), [("p0".to_owned(), "p1".to_owned())]);
}

#[test]
fn an_alert_about_a_failover_that_was_released_names_no_later_outage() {
    let mut scene = Scene::new(4, false);
    let released = Released { id: "p0-1".into(), at: scene.start };
    let left = Remembered { released: vec![(scene.regions[0].clone(), released)], ..Remembered::default() };
    scene.handle(Input::Remembered(&left));
    scene.live(&recovered(12));
    scene.restore(&scene.told(Stage::Execute));
    scene.live(&dead(16));
    assert!(scene.id().is_some_and(|(_, id)| id != "p0-1"), "{:?}", scene.id());
    assert_eq!(scene.execute(), None);
}

#[test]
fn a_vantage_that_reaches_others_but_never_their_votes_writes_tokens_after_a_minute() {
    let mut scene = Scene::new(4, false);
    let unheard = |slots| Part { says: vec![Says::Nothing; 4], ..recovered(slots) };
    scene.live(&unheard(4 * 55));
    assert_eq!(withheld(&scene), None);
    scene.live(&unheard(4 * 10));
    assert_eq!(withheld(&scene), Some(Vec::new()));
}

#[test]
fn the_own_region_stays_failed_over_although_the_vantage_that_has_ordered_it_is_silent_until_a_person_releases_it() {
    let mut scene = Scene::new(1, false);
    let mut lone = setup(false, watched(1));
    lone.policy.allow_single_vantage = true;
    scene.vantage.handle(Input::Reconfigured(lone), scene.clock());
    let part = |up: bool, slots| Part { slots, up: vec![up], says: vec![Says::Nothing], cannot_send: false };
    scene.live(&part(true, 12));
    let order =
        FailedOver { id: "here-1".into(), onset: UnixMillis(1), target: scene.regions[0].clone(), at: scene.now };
    let plain = PeerVote::plain(Vote::Up, Some(scene.now));
    let votes = told_of_own(&scene, PeerVote { failed_over: Some(order), ..plain });
    let (from, requested_at) = (scene.regions[0].clone(), scene.now);
    scene.handle(Input::Votes { from: &from, requested_at, votes });
    assert!(scene.vantage.is_failed_over(scene.vantage.region()));
    scene.live(&part(true, 60));
    assert_eq!(withheld(&scene), Some(vec!["here".to_owned()]));
    let own = scene.vantage.region().clone();
    scene.handle(Input::Release(&own));
    assert_eq!(withheld(&scene), Some(Vec::new()));
    assert!(!scene.vantage.is_failed_over(&own));
}

#[test]
fn a_target_that_is_no_region_any_more_is_not_ordered() {
    let mut scene = Scene::new(4, false);
    let mut left = left(&scene);
    left.failovers[0].1.target = Region::new("gone").unwrap();
    scene.handle(Input::Remembered(&left));
    scene.live(&recovered(12));
    scene.live(&dead(4 * 33));
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::TargetDown), Vec::new()));
}

#[test]
fn an_outage_does_not_take_the_name_of_a_failover_that_was_released_from_a_vantage_that_has_not_seen_its_end() {
    let mut scene = Scene::new(4, false);
    let released = Released { id: "p0-1".into(), at: scene.start };
    let left = Remembered { released: vec![(scene.regions[0].clone(), released)], ..Remembered::default() };
    scene.handle(Input::Remembered(&left));
    scene.live(&recovered(12));
    let mut votes = scene.views(Says::Down);
    votes.peers.get_mut(&scene.regions[0]).unwrap().incident = Some((UnixMillis(1), "p0-1".into()));
    let part = Part { says: vec![Says::Down, Says::Nothing, Says::Down, Says::Down], ..dead(1) };
    for _ in 0..4 * 33 {
        let (from, requested_at, votes) = (scene.regions[1].clone(), scene.now, votes.clone());
        scene.handle(Input::Votes { from: &from, requested_at, votes });
        scene.slot(&part);
    }
    assert!(scene.id().is_some_and(|(_, id)| id != "p0-1"), "{:?}", scene.id());
    assert!(scene.vantage.is_failed_over(&scene.regions[0]));
}

/// The token of this vantage has expired, or its path is filtered.
#[test]
fn a_region_whose_services_others_see_succeed_is_released_whatever_the_own_probes_say() {
    let mut scene = Scene::new(4, false);
    let mut peers = watched(4);
    peers.iter_mut().for_each(|peer| peer.paths[TCP as usize].critical = true);
    scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
    scene.handle(Input::Remembered(&left(&scene)));
    scene.refuses = Some(0);
    scene.live(&recovered(4 * 60 * 33));
    assert_eq!(withheld(&scene), Some(Vec::new()), "{:?}", scene.state(0));
}

/// A database with its primary in the first peer, and what failovers to the others would lose, in milliseconds.
fn report(scene: &Scene, replicas: &[(usize, u64, u64)]) -> DatabaseReport {
    let ms = Duration::from_millis;
    let bounds =
        |(n, lower, upper): &(usize, u64, u64)| (scene.regions[*n].clone(), LossBounds::new(ms(*lower), ms(*upper)));
    let loss = DatabaseLoss {
        database: TargetName::new("orders").unwrap(),
        primary: Some(scene.regions[0].clone()),
        replicas: replicas.iter().map(bounds).collect(),
    };
    DatabaseReport { loss, servers: scene.regions.clone(), rpo: 5 * SECOND, promotion: None }
}

/// What is reported of the first peer: the stage `prepare`, or the order.
fn reported(scene: &Scene, stage: Stage) -> Option<Incident> {
    let told = scene.vantage.incidents(scene.clock());
    told.into_iter().find(|told| told.peer == scene.regions[0] && told.stage == stage)
}

#[test]
fn a_region_that_would_lose_more_than_the_rpo_is_no_target_and_the_order_says_what_the_other_one_loses() {
    let mut scene = Scene::well(4, false);
    scene.spared = vec![1, 2, 3];
    let report = report(&scene, &[(1, 6_000, 7_000), (3, 800, 1_900)]);
    scene.handle(Input::Databases(vec![report.clone()]));
    scene.live(&dead(4 * 33));
    assert_eq!(ordered(&scene), [("p0".to_owned(), "p3".to_owned())]);
    let order = reported(&scene, Stage::Execute).unwrap();
    assert_eq!(order.loss.unwrap().to_string(), "0.8s..1.9s");
    assert_eq!(order.candidates.len(), 1, "p1 would lose too much, p2 is unknown, and here is no server");
    // What was ordered stays, whatever is measured afterwards; and then it is known.
    let lost = RealisedLoss { tokens: 2, bounds: LossBounds::new(SECOND, 2 * SECOND) };
    let (from, to, at) = (scene.regions[0].clone(), scene.regions[3].clone(), scene.clock().unix);
    let promotion = Some(Promotion { from, to: to.clone(), at, lost: Some(lost) });
    let loss = DatabaseLoss { primary: Some(to), ..report.loss };
    scene.handle(Input::Databases(vec![DatabaseReport { loss, promotion, ..report }]));
    scene.live(&dead(8));
    let order = reported(&scene, Stage::Execute).unwrap();
    assert_eq!((order.loss.unwrap().to_string(), order.lost), ("0.8s..1.9s".to_owned(), Some(lost)));
    assert_eq!(ordered(&scene), [("p0".to_owned(), "p3".to_owned())]);
}

#[test]
fn a_loss_that_is_unknown_orders_nothing_and_is_the_reason_until_it_is_known() {
    let mut scene = Scene::well(4, false);
    scene.spared = vec![1, 2, 3];
    let unknown = report(&scene, &[]);
    scene.handle(Input::Databases(vec![unknown]));
    scene.live(&dead(4 * 33));
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::RpoUnknown), Vec::new()));
    let above = report(&scene, &[1, 2, 3].map(|n| (n, 6_000, 7_000)));
    scene.handle(Input::Databases(vec![above]));
    scene.live(&dead(8));
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::NoTarget), Vec::new()));
    let known = report(&scene, &[(2, 0, 900)]);
    scene.handle(Input::Databases(vec![known]));
    scene.live(&dead(4 * 5));
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (None, vec![("p0".to_owned(), "p2".to_owned())]));
}

#[test]
fn a_database_elsewhere_keeps_no_region_from_being_failed_over() {
    let mut scene = Scene::well(4, false);
    scene.spared = vec![1, 2, 3];
    let elsewhere = report(&scene, &[]);
    let loss = DatabaseLoss { primary: Some(scene.regions[1].clone()), ..elsewhere.loss };
    scene.handle(Input::Databases(vec![DatabaseReport { loss, ..elsewhere }]));
    scene.live(&dead(4 * 33));
    assert_eq!(ordered(&scene).len(), 1);
    assert_eq!(reported(&scene, Stage::Execute).unwrap().loss, None);
}
