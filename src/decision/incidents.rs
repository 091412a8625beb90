//! The incidents of a peer, from the first page until it has recovered.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Now, Policy};
use crate::model::{Candidate, Cause, Incident, PeerState, Region, Stage, Tally, UnixMillis};

/// How long a peer must be healthy or degraded until its incident is over. Alerts of the rules are kept for 5 minutes
/// and end first: as long as this one fires, they are inhibited.
const RESOLVE_AFTER: Duration = Duration::from_secs(360);

/// How long the end of an incident is reported, for an Alertmanager that is away just then.
const RESOLVED_RETENTION: Duration = Duration::from_secs(300);

/// How long a region may not be held down, as where a vote or two are lost. After that the hold starts again, and the order
/// to fail over is withdrawn.
const LAPSE: Duration = Duration::from_secs(5);

/// The most time that counts towards the hold between two updates, of which there is one per second: what happened while
/// this process did not run is unknown.
const MAX_TICK: Duration = Duration::from_secs(2);

/// An incident that is open.
#[derive(Debug, Clone)]
pub struct OpenIncident {
    /// The same on every vantage that votes on it.
    pub id: Arc<str>,
    /// When the first unanswered probe was sent.
    pub onset: UnixMillis,
    /// What it consists in.
    pub cause: Cause,
    /// Whether a quorum has confirmed it.
    pub confirmed: bool,
    /// Whether the second stage was reached, which is never taken back. It is reported only [while the peer is held
    /// down](Self::is_ordered).
    pub executed: bool,
    /// The votes, as counted last while the peer was down.
    pub tally: Tally,
    /// Whether the peer is held down now: down with a quorum (or without one if that is enough), reached by no vantage,
    /// while this one is not isolated; but for lapses of up to 5 s.
    pub held: bool,
    /// For how long it has been, which the second stage waits for.
    hold: Duration,
    /// For how long it has not been since.
    away: Duration,
    /// When it was updated last, and whether it was held down then.
    updated: Option<(Instant, bool)>,
    /// When it was held down last.
    held_at: Option<Instant>,
    /// Until when nothing is believed, because this process did not run.
    unsure_until: Option<Instant>,
    /// Since when this vantage has known that no vantage holds it down.
    released: Option<(UnixMillis, Instant)>,
    /// When its second stage ended, while that is reported.
    end: Option<UnixMillis>,
    well_since: Option<Instant>,
}

/// What is known of a peer when its incident is updated.
#[derive(Clone, Copy)]
pub(super) struct Findings<'a> {
    pub(super) state: PeerState,
    pub(super) tally: &'a Tally,
    pub(super) isolated: bool,
    /// Whether another vantage holds the peer down, or may do so unheard.
    pub(super) held_elsewhere: bool,
}

/// An incident that is over.
#[derive(Debug, Clone)]
pub(super) struct ResolvedIncident {
    pub(super) open: OpenIncident,
    /// When it ended.
    pub(super) at: UnixMillis,
    until: Instant,
}

impl ResolvedIncident {
    pub(super) fn new(open: OpenIncident, at: UnixMillis, now: Instant) -> Self {
        Self { open, at, until: now + RESOLVED_RETENTION }
    }

    /// Whether its end has been reported for long enough.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.until <= now
    }
}

impl OpenIncident {
    pub(super) const fn new(id: Arc<str>, onset: UnixMillis, cause: Cause) -> Self {
        Self {
            id,
            onset,
            cause,
            confirmed: false,
            executed: false,
            tally: Tally { down: 0, up: 0, abstain: 0, voters: 0, needed: 0, reached: false, contradicted: false },
            held: false,
            hold: Duration::ZERO,
            away: Duration::ZERO,
            updated: None,
            held_at: None,
            unsure_until: None,
            released: None,
            end: None,
            well_since: None,
        }
    }

    /// Whether the peer is to be failed over now: the second stage was reached, and the peer is held down.
    pub const fn is_ordered(&self) -> bool {
        self.executed && self.held
    }

    /// Whether the peer is held down now, and has been for that long or was ordered before.
    pub fn is_held_for(&self, hold: Duration) -> bool {
        self.held && (self.executed || self.hold >= hold)
    }

    /// The stages that are active.
    pub fn stages(&self) -> impl Iterator<Item = Stage> + use<> {
        self.reports(None).filter(|(_, end)| end.is_none()).map(|(stage, _)| stage)
    }

    /// The stages that are reported, and when each ended, if it has; `resolved` is when the incident did.
    pub(super) fn reports(
        &self,
        resolved: Option<UnixMillis>,
    ) -> impl Iterator<Item = (Stage, Option<UnixMillis>)> + use<> {
        let ordered = self.is_ordered() && resolved.is_none();
        let execute = if ordered { Some(None) } else { self.end.map(Some) };
        [Some((Stage::Prepare, resolved)), execute.map(|end| (Stage::Execute, end))].into_iter().flatten()
    }

    /// One of its stages, as it is reported.
    pub(super) fn report(
        &self,
        peer: &Region,
        stage: Stage,
        candidates: Vec<Candidate>,
        resolved: Option<UnixMillis>,
    ) -> Incident {
        let &Self { ref id, onset, cause, confirmed, tally, .. } = self;
        let evidence = match cause {
            Cause::Silence => format!("No probe sent to {peer} since {onset} was answered."),
            Cause::Service => {
                format!("{peer} answers on the network, but its critical services have failed since {onset}.")
            }
        };
        let (peer, id) = (peer.clone(), Arc::clone(id));
        Incident {
            peer,
            stage,
            id,
            onset,
            cause,
            confirmed,
            tally,
            candidates,
            evidence,
            resolved,
            signatures: Vec::new(),
        }
    }

    /// Takes what is known of the peer. Says whether anything that is reported has changed.
    pub(super) fn update(&mut self, findings: Findings<'_>, policy: Policy, now: Now) -> bool {
        let before = self.reported();
        let Findings { state, tally, isolated, .. } = findings;
        match state {
            PeerState::Healthy | PeerState::Degraded => {
                self.well_since.get_or_insert(now.instant);
            }
            _ => self.well_since = None,
        }
        if state == PeerState::Down && !isolated {
            self.tally = *tally;
            self.confirmed |= tally.reached;
        }
        // An isolated vantage does not know whether the others still agree. And if two thirds report a region as down that
        // one vantage reaches, the network between them is broken: no reason to fail over.
        let agreed = tally.up == 0 && (tally.reached || policy.allow_single_vantage);
        self.hold(state == PeerState::Down && !isolated && agreed, now.instant);
        self.executed |= self.hold >= policy.execute_after && self.updated.is_some_and(|(_, holds)| holds);
        self.release(findings, now);
        before != self.reported()
    }

    fn reported(&self) -> (bool, bool, bool, Option<UnixMillis>) {
        (self.confirmed, self.executed, self.is_ordered(), self.end)
    }

    /// Ends the second stage where this vantage reaches the peer and no other one holds it down. A vantage that only lost
    /// the quorum reports nothing: others may have one, and if none has, the alert expires.
    fn release(&mut self, findings: Findings<'_>, now: Now) {
        let Findings { state, isolated, held_elsewhere, .. } = findings;
        let reaches = matches!(state, PeerState::Recovering | PeerState::Healthy | PeerState::Degraded);
        if self.held || !reaches || isolated || held_elsewhere {
            self.released = None;
        } else {
            self.released.get_or_insert((now.unix, now.instant));
        }
        let is_reported = |since: Instant| now.instant.saturating_duration_since(since) < RESOLVED_RETENTION;
        self.end = self.released.filter(|(_, since)| self.executed && is_reported(*since)).map(|(at, _)| at);
    }

    /// Takes an older id until the second stage is reported: else a vantage that opened the incident before it knew of the
    /// oldest id would report a second one. Says whether it has.
    pub(super) fn rename(&mut self, other: Option<(UnixMillis, Arc<str>)>) -> bool {
        let Some((onset, id)) =
            other.filter(|(onset, id)| !self.executed && *id != self.id && (*onset, id) < (self.onset, &self.id))
        else {
            return false;
        };
        (self.onset, self.id) = (onset, id);
        true
    }

    fn hold(&mut self, holds: bool, now: Instant) {
        let (at, held) = self.updated.replace((now, holds)).unwrap_or((now, false));
        let passed = now.saturating_duration_since(at);
        if held {
            self.hold += passed.min(MAX_TICK);
            self.away = Duration::ZERO;
        } else {
            self.away += passed;
        }
        if self.away > LAPSE {
            self.hold = Duration::ZERO;
        }
        // What was known before this process stopped for so long says nothing about now; fresh evidence comes in a moment.
        if passed > LAPSE {
            self.unsure_until = Some(now + MAX_TICK);
        }
        if holds && self.unsure_until.is_none_or(|until| now >= until) {
            self.held_at = Some(now);
        }
        self.held = self.lapses_at().is_some_and(|at| now < at);
    }

    /// When the peer will not be held down any more, if nothing changes and it does not hold now.
    fn lapses_at(&self) -> Option<Instant> {
        self.held_at.map(|at| at + LAPSE)
    }

    /// When something will change, if nothing else does: the second stage is reached, or a lapse was too long.
    pub(super) fn due(&self, policy: Policy) -> Option<Instant> {
        match self.updated? {
            (_, true) if self.executed => None,
            (at, true) => Some(at + policy.execute_after.saturating_sub(self.hold)),
            (_, false) => self.lapses_at().filter(|_| self.held),
        }
    }

    /// Whether votes on it must be fresh: it would be held down by them for longer.
    pub(super) fn needs_votes(&self) -> bool {
        self.updated.is_some_and(|(_, holds)| holds)
    }

    /// Whether it is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.well_since.is_some_and(|since| now.saturating_duration_since(since) >= RESOLVE_AFTER)
    }
}
