//! The series of one peer region: what is thought of it, and whether it could take over.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::page::Line;
use crate::{
    decision::Transition,
    model::{Ineligible, PeerState, Region, Stage, Tally, UnixMillis, Vote},
};

/// How a region stands as a failover target.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidacy {
    /// Why it cannot take over; empty where it can.
    pub reasons: Vec<Ineligible>,
    /// Its place, 1 is the best; `None` where it has none.
    pub rank: Option<u32>,
    /// Its score in seconds, lower is better; `None` without data.
    pub score: Option<f64>,
}

/// The series of one peer region.
#[derive(Debug)]
pub struct RegionSeries {
    /// `vantage_region="..",peer_region=".."`, rendered once.
    labels: Box<str>,
    state: AtomicU8,
    since: AtomicU64,
    changes: [AtomicU64; Transition::ALL.len()],
    votes: [AtomicU32; Vote::ALL.len()],
    needed: AtomicU32,
    reached: AtomicU8,
    /// A bit for each reason; [`UNJUDGED`] until the first ranking.
    reasons: AtomicU32,
    /// 0 for none.
    rank: AtomicU32,
    score: AtomicU64,
    distance: AtomicU64,
    light_rtt: AtomicU64,
    /// A bit for each stage.
    incidents: AtomicU8,
}

const UNJUDGED: u32 = u32::MAX;

impl RegionSeries {
    /// The series of a peer about which nothing is known.
    pub(super) fn new(vantage: &Region, peer: &Region) -> Self {
        let absent = || AtomicU64::new(f64::NAN.to_bits());
        Self {
            labels: format!("vantage_region=\"{vantage}\",peer_region=\"{peer}\"").into(),
            state: AtomicU8::new(PeerState::Unknown as u8),
            since: AtomicU64::new(0),
            changes: super::zeros(),
            votes: [const { AtomicU32::new(0) }; Vote::ALL.len()],
            needed: AtomicU32::new(0),
            reached: AtomicU8::new(0),
            reasons: AtomicU32::new(UNJUDGED),
            rank: AtomicU32::new(0),
            score: absent(),
            distance: absent(),
            light_rtt: absent(),
            incidents: AtomicU8::new(0),
        }
    }

    /// How many series a peer makes.
    pub(super) const fn series() -> usize {
        let candidate = 3 + Ineligible::ALL.len();
        PeerState::ALL.len() + 1 + Transition::ALL.len() + Vote::ALL.len() + 2 + candidate + 2 + Stage::ALL.len()
    }

    /// The state, since when, and the votes that were counted.
    pub fn stands(&self, state: PeerState, since: UnixMillis, tally: &Tally) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.since.store(since.0, Ordering::Relaxed);
        for (gauge, votes) in self.votes.iter().zip([tally.down, tally.up, tally.abstain]) {
            gauge.store(votes, Ordering::Relaxed);
        }
        self.needed.store(tally.needed, Ordering::Relaxed);
        self.reached.store(tally.reached.into(), Ordering::Relaxed);
    }

    /// The state has changed.
    pub fn changed(&self, transition: Transition) {
        let place = Transition::ALL.iter().position(|pair| *pair == (transition.from, transition.to));
        if let Some(place) = place {
            self.changes[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How the region stands as a failover target.
    pub fn ranked(&self, candidacy: &Candidacy) {
        let reasons = candidacy.reasons.iter().fold(0, |set, reason| set | 1 << *reason as u32);
        self.reasons.store(reasons, Ordering::Relaxed);
        self.rank.store(candidacy.rank.unwrap_or(0), Ordering::Relaxed);
        self.score.store(candidacy.score.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
    }

    /// How far away it is, in metres, and what light would need, in seconds.
    pub fn located(&self, distance: f64, light_rtt: f64) {
        self.distance.store(distance.to_bits(), Ordering::Relaxed);
        self.light_rtt.store(light_rtt.to_bits(), Ordering::Relaxed);
    }

    /// The stages of its incident that Alertmanager is being told of.
    pub fn told(&self, stages: impl IntoIterator<Item = Stage>) {
        let set = stages.into_iter().fold(0, |set, stage| set | 1 << stage as u8);
        self.incidents.store(set, Ordering::Relaxed);
    }

    pub(super) fn write_state(&self, line: &mut Line<'_>) {
        let current = self.state.load(Ordering::Relaxed);
        for state in PeerState::ALL {
            line.integer("", &self.labels, ("state", state.as_str()), u64::from(state as u8 == current));
        }
    }

    pub(super) fn write_since(&self, line: &mut Line<'_>) {
        line.float("", &self.labels, super::page::NONE, self.since.load(Ordering::Relaxed) as f64 / 1e3);
    }

    pub(super) fn write_changes(&self, line: &mut Line<'_>) {
        for (counter, (from, to)) in self.changes.iter().zip(Transition::ALL) {
            let labels = format!("{},from=\"{from}\"", self.labels);
            line.integer("", &labels, ("to", to.as_str()), counter.load(Ordering::Relaxed));
        }
    }

    pub(super) fn write_votes(&self, line: &mut Line<'_>) {
        for (gauge, vote) in self.votes.iter().zip(Vote::ALL) {
            line.integer("", &self.labels, ("vote", vote.as_str()), gauge.load(Ordering::Relaxed).into());
        }
    }

    pub(super) fn write_quorum(&self, line: &mut Line<'_>) {
        self.write_integer(line, self.needed.load(Ordering::Relaxed).into());
    }

    pub(super) fn write_reached(&self, line: &mut Line<'_>) {
        self.write_integer(line, self.reached.load(Ordering::Relaxed).into());
    }

    pub(super) fn write_eligible(&self, line: &mut Line<'_>) {
        let reasons = self.reasons.load(Ordering::Relaxed);
        if reasons != UNJUDGED {
            self.write_integer(line, u64::from(reasons == 0));
        }
    }

    pub(super) fn write_reasons(&self, line: &mut Line<'_>) {
        let reasons = self.reasons.load(Ordering::Relaxed);
        if reasons != UNJUDGED {
            for reason in Ineligible::ALL {
                let holds = reasons & 1 << reason as u32 != 0;
                line.integer("", &self.labels, ("reason", reason.as_str()), holds.into());
            }
        }
    }

    pub(super) fn write_rank(&self, line: &mut Line<'_>) {
        let rank = self.rank.load(Ordering::Relaxed);
        if rank != 0 {
            self.write_integer(line, rank.into());
        }
    }

    pub(super) fn write_score(&self, line: &mut Line<'_>) {
        self.write_float(line, &self.score);
    }

    pub(super) fn write_distance(&self, line: &mut Line<'_>) {
        self.write_float(line, &self.distance);
    }

    pub(super) fn write_light_rtt(&self, line: &mut Line<'_>) {
        self.write_float(line, &self.light_rtt);
    }

    pub(super) fn write_incidents(&self, line: &mut Line<'_>) {
        let set = self.incidents.load(Ordering::Relaxed);
        for stage in Stage::ALL {
            line.integer("", &self.labels, ("stage", stage.as_str()), u64::from(set >> stage as u8 & 1));
        }
    }

    fn write_integer(&self, line: &mut Line<'_>, value: u64) {
        line.integer("", &self.labels, super::page::NONE, value);
    }

    fn write_float(&self, line: &mut Line<'_>, gauge: &AtomicU64) {
        let value = f64::from_bits(gauge.load(Ordering::Relaxed));
        if !value.is_nan() {
            line.float("", &self.labels, super::page::NONE, value);
        }
    }
}

/// Whether one anchor answers.
#[derive(Debug)]
pub struct AnchorSeries {
    labels: Box<str>,
    success: AtomicU8,
}

const NEVER: u8 = u8::MAX;

impl AnchorSeries {
    /// The series of an anchor that has not answered yet; `name` is as configured, a URL without secrets.
    pub(super) fn new(vantage: &Region, name: &str) -> Self {
        let labels = format!("vantage_region=\"{vantage}\",anchor=\"{name}\"").into();
        Self { labels, success: AtomicU8::new(NEVER) }
    }

    /// Whether it answers; `None` where it never did.
    pub fn answers(&self, answers: Option<bool>) {
        self.success.store(answers.map_or(0, u8::from), Ordering::Relaxed);
    }

    pub(super) fn write(&self, line: &mut Line<'_>) {
        let success = self.success.load(Ordering::Relaxed);
        if success != NEVER {
            line.integer("", &self.labels, super::page::NONE, success.into());
        }
    }
}
