//! The incidents of a peer, from the first page to the day it is well again.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::model::{Candidate, Cause, Incident, PeerState, Region, Stage, Tally, UnixMillis};

/// How long a peer must be healthy or degraded until its incident is over. Alerts of the rules are kept for 5 minutes
/// and end first: as long as this one fires, they are inhibited.
const RESOLVE_AFTER: Duration = Duration::from_secs(360);

/// How long the end of an incident is told, for an Alertmanager that is away just then.
const RESOLVED_RETENTION: Duration = Duration::from_secs(300);

/// How long the quorum may be away during the hold: a vote or two may be lost. After that it begins anew.
const QUORUM_GRACE: Duration = Duration::from_secs(5);

/// The most time that counts towards the hold between two looks, of which there is one a second: nobody knows what was
/// while this process did not run.
const MAX_TICK: Duration = Duration::from_secs(2);

/// An incident that is open.
#[derive(Debug, Clone)]
pub(super) struct OpenIncident {
    pub(super) id: Arc<str>,
    pub(super) onset: UnixMillis,
    pub(super) cause: Cause,
    /// It was confirmed at some time.
    pub(super) confirmed: bool,
    /// The second stage was reached, which is never taken back.
    pub(super) executed: bool,
    /// The votes, when they were counted last while the peer was down.
    pub(super) tally: Tally,
    /// For how long the peer has been down with a quorum, or without one where that will do, and nobody has reached it,
    /// while we were not isolated.
    held: Duration,
    /// For how long it has not been since.
    away: Duration,
    /// When it was looked at, and whether it held then.
    looked: Option<(Instant, bool)>,
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

    /// Whether its end has been told for long enough.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.until <= now
    }
}

/// An incident, as far as this vantage knows of it.
#[derive(Debug, Clone, Copy)]
pub struct IncidentView<'a> {
    /// The same on every vantage that votes on it.
    pub id: &'a Arc<str>,
    /// When the first unanswered probe was sent.
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
    pub(super) const fn of(open: &'a OpenIncident, resolved: Option<UnixMillis>) -> Self {
        let OpenIncident { id, onset, cause, confirmed, executed, tally, .. } = open;
        Self { id, onset: *onset, cause: *cause, confirmed: *confirmed, executed: *executed, tally: *tally, resolved }
    }

    /// The stages that it has reached.
    pub fn stages(self) -> impl Iterator<Item = Stage> {
        [Some(Stage::Prepare), self.executed.then_some(Stage::Execute)].into_iter().flatten()
    }

    /// One of its stages, as it is reported.
    pub(super) fn incident(self, peer: &Region, stage: Stage, candidates: Vec<Candidate>) -> Incident {
        let Self { id, onset, cause, confirmed, tally, resolved, .. } = self;
        let evidence = match cause {
            Cause::Silence => format!("No probe sent to {peer} since {onset} was answered."),
            Cause::Service => {
                format!("{peer} answers on the network, but its critical services have failed since {onset}.")
            }
        };
        let (peer, id) = (peer.clone(), Arc::clone(id));
        Incident { peer, stage, id, onset, cause, confirmed, tally, candidates, evidence, resolved }
    }
}

/// When the second stage may be reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    pub(super) execute_after: Duration,
    pub(super) allow_single_vantage: bool,
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
            looked: None,
            well_since: None,
        }
    }

    /// Looks at the peer again; says whether anything that is told has changed.
    pub(super) fn update(&mut self, state: PeerState, tally: &Tally, isolated: bool, hold: Hold, now: Instant) -> bool {
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
        // Isolated, we do not know whether the others still agree with us. And where two thirds see a region dead that
        // somebody reaches, it is the network between them that is: nobody is to be switched for that.
        let agreed = tally.up == 0 && (tally.reached || hold.allow_single_vantage);
        self.hold(state == PeerState::Down && !isolated && agreed, now);
        self.executed |= self.held >= hold.execute_after && self.looked.is_some_and(|(_, holds)| holds);
        before != (self.confirmed, self.executed)
    }

    /// Takes over a name that is older, until the second stage was told of: whoever went down before it heard of the
    /// oldest name would tell of a second incident else. Says whether it has.
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
        let (at, held) = self.looked.replace((now, holds)).unwrap_or((now, false));
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
    pub(super) fn due(&self, hold: Hold) -> Option<Instant> {
        let (at, _) = self.looked.filter(|(_, holds)| *holds && !self.executed)?;
        Some(at + hold.execute_after.saturating_sub(self.held))
    }

    /// Whether the second stage is being waited for.
    pub(super) fn is_held(&self) -> bool {
        !self.executed && self.looked.is_some_and(|(_, holds)| holds)
    }

    /// Whether it is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.well_since.is_some_and(|since| now.saturating_duration_since(since) >= RESOLVE_AFTER)
    }
}
