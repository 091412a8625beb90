//! The incidents of a peer, from the first page until it has recovered.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Policy;
use crate::model::{Candidate, Cause, Incident, PeerState, Region, Stage, Tally, UnixMillis};

/// How long a peer must be healthy or degraded until its incident is over. Alerts of the rules are kept for 5 minutes
/// and end first: as long as this one fires, they are inhibited.
const RESOLVE_AFTER: Duration = Duration::from_secs(360);

/// How long the end of an incident is reported, for an Alertmanager that is away just then.
const RESOLVED_RETENTION: Duration = Duration::from_secs(300);

/// How long the quorum may be lost during the hold, as a vote or two may be. After that the hold starts again.
const QUORUM_GRACE: Duration = Duration::from_secs(5);

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
    /// Whether the second stage was reached, which is never taken back.
    pub executed: bool,
    /// The votes, as counted last while the peer was down.
    pub tally: Tally,
    /// For how long the peer has been down with a quorum (or without one if that is enough), reached by no vantage, while
    /// this one was not isolated.
    held: Duration,
    /// For how long it has not been since.
    away: Duration,
    /// When it was updated last, and whether it held then.
    updated: Option<(Instant, bool)>,
    well_since: Option<Instant>,
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
            held: Duration::ZERO,
            away: Duration::ZERO,
            updated: None,
            well_since: None,
        }
    }

    /// The stages that it has reached.
    pub fn stages(&self) -> impl Iterator<Item = Stage> + use<> {
        [Some(Stage::Prepare), self.executed.then_some(Stage::Execute)].into_iter().flatten()
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
        Incident { peer, stage, id, onset, cause, confirmed, tally, candidates, evidence, resolved }
    }

    /// Takes the state of the peer and the votes on it. Says whether anything that is reported has changed.
    pub(super) fn update(
        &mut self,
        state: PeerState,
        tally: &Tally,
        isolated: bool,
        policy: Policy,
        now: Instant,
    ) -> bool {
        let before = (self.confirmed, self.executed);
        match state {
            PeerState::Healthy | PeerState::Degraded => {
                self.well_since.get_or_insert(now);
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
        self.hold(state == PeerState::Down && !isolated && agreed, now);
        self.executed |= self.held >= policy.execute_after && self.updated.is_some_and(|(_, holds)| holds);
        before != (self.confirmed, self.executed)
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
            self.held += passed.min(MAX_TICK);
            self.away = Duration::ZERO;
        } else {
            self.away += passed;
        }
        if self.away > QUORUM_GRACE {
            self.held = Duration::ZERO;
        }
    }

    /// When the second stage will be reached, if nothing changes.
    pub(super) fn due(&self, policy: Policy) -> Option<Instant> {
        let (at, _) = self.updated.filter(|(_, holds)| *holds && !self.executed)?;
        Some(at + policy.execute_after.saturating_sub(self.held))
    }

    /// Whether the second stage is being waited for.
    pub(super) fn is_held(&self) -> bool {
        !self.executed && self.updated.is_some_and(|(_, holds)| holds)
    }

    /// Whether it is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.well_since.is_some_and(|since| now.saturating_duration_since(since) >= RESOLVE_AFTER)
    }
}
