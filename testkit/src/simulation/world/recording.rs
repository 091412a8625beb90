//! What the vantages order and say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use regionwatch::{
    decision::{Effects, StateChange, Transition, Vantage},
    model::{Incident, PathId, PeerState, Region, Stage},
    signing::{Action, Command},
};

use super::{
    super::{
        journal::{Commanded, Order, Said},
        timeline::{MILLI, SECOND, Time},
    },
    EPOCH, Event, KINDS, SIDECAR, Told, World,
};

/// The schedule has no more probes of one path beside the slots under way.
const MOST_ASKED: usize = 8;

/// How long an order outlasts what it needs.
const LAPSE: Time = 5 * SECOND;

impl World {
    /// After a vantage was told of something: does what it extra_probes, writes down what it says.
    pub(super) fn after(&mut self, node: usize, effects: Effects) {
        let Effects { extra_probes, changes, incidents, remember, wake_at } = effects;
        if let Some(remembered) = remember.filter(|_| self.setup.state) {
            self.nodes[node].remembered = remembered;
        }
        let wake_at = wake_at.map(|at| (at - self.origin).as_micros() as Time);
        if wake_at.is_some() && wake_at != self.nodes[node].wake_at {
            self.nodes[node].wake_at = wake_at;
            let restless = wake_at <= Some(self.now);
            self.push(wake_at.unwrap_or_default() + if restless { 10 * MILLI } else { 0 }, node, Event::Wake);
        }
        for PathId(path) in extra_probes {
            let (to, kind) = (path as usize / KINDS.len(), path as usize % KINDS.len());
            let asked = self.nodes[node].pending.values().filter(|other| **other == to).count();
            if kind != SIDECAR || (self.setup.ask && asked < MOST_ASKED) {
                self.journal.extra += 1;
                let lost = self.random.chance(self.setup.loss);
                self.probe(node, to, kind, lost);
            }
        }
        if !changes.is_empty() || incidents.is_some() {
            self.last_news = self.now;
            self.record(node, &changes, incidents.is_some());
        }
        self.follow(node, incidents);
    }

    /// Writes down which orders a vantage gives from now on, and checks each of them against what the vantage knows.
    fn follow(&mut self, by: usize, incidents: Option<Vec<Incident>>) {
        let place = |region: &Region| self.regions.iter().position(|other| other == region).expect("one of ours");
        let (now, single) = (self.now, self.setup.policy.allow_single_vantage);
        let node = &mut self.nodes[by];
        let Some(vantage) = &node.vantage else { return };
        let isolated = vantage.is_isolated();
        for standing in vantage.peers().filter(|standing| standing.state == PeerState::Down && !isolated) {
            if standing.tally.up == 0 && (standing.tally.reached || single) {
                node.held_at.insert(place(standing.region), now);
            }
        }
        if let Some(incidents) = incidents {
            let ordered = |incident: &&Incident| incident.stage == Stage::Execute && incident.resolved.is_none();
            let mut before = std::mem::take(&mut node.orders);
            for incident in incidents.iter().filter(ordered) {
                let of = place(&incident.peer);
                let target = incident.candidates.first().map(|candidate| candidate.region.clone());
                self.journal.unlawful += u64::from(target.is_none() || self.setup.disarmed >> of & 1 == 1);
                if let Some(target) = target {
                    let first = self.journal.targets.entry(Arc::clone(&incident.id)).or_insert_with(|| target.clone());
                    self.journal.retargeted += u64::from(*first != target);
                }
                let known = before.remove(&of).unwrap_or_else(|| {
                    self.journal.orders.push(Order { by, of, begin: now, end: None });
                    self.journal.orders.len() - 1
                });
                node.orders.insert(of, known);
            }
            before.into_values().for_each(|ended| self.journal.orders[ended].end = Some(now));
        }
        let unheld = |of: &&usize| node.held_at.get(of).is_none_or(|at| at + LAPSE < now);
        self.journal.unheld += node.orders.keys().filter(unheld).count() as u64;
        let instant = self.origin + Duration::from_micros(now);
        let forbids = |command: &Command| command.action != Action::Arm;
        let is_forbidden = |of: &&usize| vantage.statement(&self.regions[**of], instant).is_some_and(forbids);
        self.journal.unlawful += node.orders.keys().filter(is_forbidden).count() as u64;
        let ordered: BTreeSet<_> = self.nodes.iter().flat_map(|node| node.orders.keys()).collect();
        self.journal.unlimited += u64::from(ordered.len() > self.setup.policy.max_down as usize);
    }

    /// A vantage does not run any more, and gives no orders.
    pub(super) fn withdraw(&mut self, by: usize) {
        let orders = std::mem::take(&mut self.nodes[by].orders);
        orders.into_values().for_each(|order| self.journal.orders[order].end = Some(self.now));
    }

    fn record(&mut self, by: usize, changes: &[StateChange], incidents_changed: bool) {
        let place = |region: &Region| self.regions.iter().position(|other| other == region).expect("one of ours");
        let (at, vantage) = (self.now, self.nodes[by].vantage.as_ref().expect("it runs"));
        for change in changes {
            match change {
                StateChange::Peer { peer, transition: Transition { from, to }, tally, .. } => {
                    *self.journal.moves.entry((*from, *to)).or_default() += 1;
                    let onset = vantage.peers().find(|standing| standing.region == peer).and_then(|s| s.onset);
                    let onset = onset.map_or(at, |onset| (onset - self.origin).as_micros() as Time);
                    let said = Said { at, by, of: place(peer), onset };
                    match to {
                        PeerState::Suspect => self.journal.suspected.push(said),
                        PeerState::Down => self.journal.down.push((said, tally.reached)),
                        _ => {}
                    }
                }
                StateChange::Isolation(why) => self.journal.isolated += u64::from(why.is_some()),
                StateChange::CommonMode { active, .. } => self.journal.common += u64::from(*active),
                StateChange::Order { peer, cause: None, target: Some(target), ordered, .. } => {
                    let (of, target, ordered) = (place(peer), place(target), *ordered);
                    self.journal.commanded.push(Commanded { at, by, of, target, ordered });
                }
                StateChange::Votes { .. }
                | StateChange::Blocked { .. }
                | StateChange::Order { .. }
                | StateChange::Promoted { .. }
                | StateChange::Resolved { .. }
                | StateChange::Sidecar { .. }
                | StateChange::Statement { .. } => {}
            }
        }
        if !incidents_changed {
            return;
        }
        let before = std::mem::take(&mut self.nodes[by].told);
        let mut told = BTreeMap::new();
        for standing in self.nodes[by].vantage.iter().flat_map(Vantage::peers) {
            let Some(incident) = standing.incident else { continue };
            let of = place(standing.region);
            // Its name may be of another vantage, whose clock is another one.
            let onset = incident.onset.0.saturating_add_signed(-self.skew(by)).saturating_sub(EPOCH) * MILLI;
            let said = Said { at, by, of, onset };
            let known = before.get(&of);
            if known.is_none() {
                self.journal.opened.push(said);
            }
            if incident.confirmed && !known.is_some_and(|known| known.confirmed) {
                self.journal.confirmed.push(said);
            }
            if incident.executed && !known.is_some_and(|known| known.executed) {
                self.journal.executed.push(said);
            }
            let now = Told {
                id: Arc::clone(&incident.id),
                onset: incident.onset,
                cause: incident.cause,
                confirmed: incident.confirmed,
                executed: incident.executed,
                common_mode: incident.common_mode,
                target: incident.target.clone(),
            };
            told.insert(of, now);
        }
        self.nodes[by].told = told;
    }
}
