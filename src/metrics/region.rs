//! The series of one peer region as a whole: its state, and whether it could take over.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::{
    samples::{InstanceLabels, Samples, Series},
    value::{Counter, Gauge},
};
use crate::{
    decision::Transition,
    model::{Blocked, Ineligible, LabelSet, PeerState, Region, Stage, StateReason, Tally, UnixMillis, Vote},
};

/// How a region does as a failover target.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidacy {
    /// Why it is not eligible; empty if it is.
    pub reasons: Vec<Ineligible>,
    /// Its rank, 1 is the best; `None` if it is not eligible.
    pub rank: Option<u32>,
    /// Its score in seconds, lower is better; `None` without data.
    pub score: Option<f64>,
}

/// The series of one peer region.
#[derive(Debug)]
pub struct RegionSeries {
    labels: Box<str>,
    state: AtomicU8,
    state_reason: AtomicU8,
    pub(super) since: Gauge,
    changes: [Counter; Transition::ALL.len()],
    votes: [Gauge; Vote::ALL.len()],
    pub(super) needed: Gauge,
    pub(super) reached: Gauge,
    pub(super) quorum_possible: Gauge,
    pub(super) eligible: Gauge,
    /// A set of [`Ineligible`]; without meaning until `eligible` is known.
    reasons: AtomicU32,
    pub(super) rank: Gauge,
    pub(super) score: Gauge,
    pub(super) distance: Gauge,
    pub(super) light_rtt: Gauge,
    /// A set of [`Stage`].
    incidents: AtomicU32,
    /// A set of [`Blocked`].
    blocked: AtomicU32,
    pub(super) order_signatures: Gauge,
}

impl Series for RegionSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl RegionSeries {
    /// The series of a peer about which nothing is known.
    pub(super) fn new(instance: &InstanceLabels, peer: &Region) -> Self {
        let zero = || Gauge::new(0.0);
        Self {
            labels: format!("{instance},peer_region=\"{peer}\"").into(),
            state: AtomicU8::new(PeerState::Unknown as u8),
            state_reason: AtomicU8::new(StateReason::InsufficientData as u8),
            since: zero(),
            changes: Default::default(),
            votes: [zero(), zero(), zero()],
            needed: zero(),
            reached: zero(),
            quorum_possible: zero(),
            eligible: Gauge::default(),
            reasons: AtomicU32::new(0),
            rank: Gauge::default(),
            score: Gauge::default(),
            distance: Gauge::default(),
            light_rtt: Gauge::default(),
            incidents: AtomicU32::new(0),
            blocked: AtomicU32::new(0),
            order_signatures: Gauge::default(),
        }
    }

    /// Sets the state, its reason, since when the peer is in it, and the votes.
    pub fn set_state(&self, state: PeerState, reason: StateReason, since: UnixMillis, tally: &Tally) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.state_reason.store(reason as u8, Ordering::Relaxed);
        self.since.set(since.0 as f64 / 1e3);
        for (gauge, votes) in self.votes.iter().zip([tally.down, tally.up, tally.abstain]) {
            gauge.set(f64::from(votes));
        }
        self.needed.set(f64::from(tally.needed));
        self.reached.set(f64::from(u8::from(tally.reached)));
    }

    /// Sets whether its outage can ever be confirmed.
    pub fn set_quorum_possible(&self, possible: bool) {
        self.quorum_possible.set(f64::from(u8::from(possible)));
    }

    /// Counts a change of the state.
    pub fn count_change(&self, transition: Transition) {
        let index = Transition::ALL.iter().position(|pair| *pair == (transition.from, transition.to));
        if let Some(index) = index {
            self.changes[index].add(1);
        }
    }

    /// Sets how the region does as a failover target.
    pub fn set_candidacy(&self, candidacy: &Candidacy) {
        let reasons = LabelSet::of(candidacy.reasons.iter().copied());
        self.reasons.store(reasons.bits(), Ordering::Relaxed);
        self.eligible.set(f64::from(u8::from(reasons.is_empty())));
        self.rank.set(candidacy.rank.map(f64::from));
        self.score.set(candidacy.score);
    }

    /// Sets how far away it is, in metres, and the round-trip time of light, in seconds.
    pub fn set_distance(&self, distance: f64, light_rtt: f64) {
        self.distance.set(distance);
        self.light_rtt.set(light_rtt);
    }

    /// Sets the stages of its incident that are active.
    pub fn set_incidents(&self, stages: impl IntoIterator<Item = Stage>) {
        self.incidents.store(LabelSet::of(stages).bits(), Ordering::Relaxed);
    }

    /// Sets what keeps it from being failed over, if it is down.
    pub fn set_blocked(&self, reason: Option<Blocked>) {
        self.blocked.store(LabelSet::of(reason).bits(), Ordering::Relaxed);
    }

    /// Sets how many valid signatures the order to fail it over has; `None` without an order.
    pub fn set_order_signatures(&self, signatures: Option<usize>) {
        self.order_signatures.set(signatures.map(|signatures| signatures as f64));
    }

    pub(super) fn write_state(&self, out: &mut Samples<'_>) {
        let current = self.state.load(Ordering::Relaxed);
        out.each("state", |state: PeerState| state as u8 == current);
    }

    pub(super) fn write_state_reason(&self, out: &mut Samples<'_>) {
        let current = self.state_reason.load(Ordering::Relaxed);
        out.each("reason", |reason: StateReason| reason as u8 == current);
    }

    pub(super) fn write_changes(&self, out: &mut Samples<'_>) {
        for (counter, (from, to)) in self.changes.iter().zip(Transition::ALL) {
            out.put_with(&[("from", from.as_str()), ("to", to.as_str())], counter.get());
        }
    }

    pub(super) fn write_votes(&self, out: &mut Samples<'_>) {
        for (gauge, vote) in self.votes.iter().zip(Vote::ALL) {
            out.gauge_with(&[("vote", vote.as_str())], gauge);
        }
    }

    pub(super) fn write_reasons(&self, out: &mut Samples<'_>) {
        if self.eligible.get().is_some() || out.counts_only() {
            let reasons = LabelSet::<Ineligible>::from_bits(self.reasons.load(Ordering::Relaxed));
            out.each("reason", |reason| reasons.contains(reason));
        }
    }

    pub(super) fn write_blocked(&self, out: &mut Samples<'_>) {
        let reasons = LabelSet::<Blocked>::from_bits(self.blocked.load(Ordering::Relaxed));
        out.each("reason", |reason| reasons.contains(reason));
    }

    pub(super) fn write_incidents(&self, out: &mut Samples<'_>) {
        let stages = LabelSet::<Stage>::from_bits(self.incidents.load(Ordering::Relaxed));
        out.each("stage", |stage| stages.contains(stage));
    }
}
