//! The incidents of a peer, from the first page until it has recovered.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Now, Policy,
    execution::{Gate, Proposal, SETTLE, SPREAD},
};
use crate::model::{
    Blocked, Candidate, Cause, Incident, LossBounds, PeerState, RealisedLoss, Region, Stage, Tally, UnixMillis,
};

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
    /// The target; it does not change once the second stage was reached.
    pub target: Option<Region>,
    /// Whether it is from before the start of this process, and the services have failed since.
    pub(super) from_before: bool,
    /// Whether it was reported then that they fail from a common cause. What is seen after the start does not show it.
    pub(super) was_common: bool,
    /// What would keep the peer from being failed over.
    pub(super) blocked: Option<Blocked>,
    /// What a failover to the target would lose; it does not change once the second stage was reached.
    pub(super) loss: Option<LossBounds>,
    /// What the failover has lost.
    pub(super) lost: Option<RealisedLoss>,
    /// Whether its services fail from a cause that several regions seem to share, which prevents the second stage.
    pub common_mode: bool,
    /// The votes, as counted last while the peer was down.
    pub tally: Tally,
    /// Whether the peer is held down now: down with a quorum (or without one if that is enough), reached by no vantage,
    /// while this one is not isolated; but for lapses of up to 5 s.
    pub held: bool,
    /// For how long it has been, which the second stage waits for.
    hold: Duration,
    /// For how long it has not been since.
    away: Duration,
    /// Whether the hold must pass once more, because operators kept the peer from being failed over for a time.
    pub held_anew: bool,
    /// When it was updated last, and whether it was held down then.
    updated: Option<(Instant, bool)>,
    /// Whether all vantages propose the same target, and no region for which this one must wait.
    settled: bool,
    /// Since when the hold is over.
    ready_since: Option<Instant>,
    /// Since when nothing has blocked it, with the same target.
    open_since: Option<Instant>,
    /// The first proposal of a target that is known.
    proposal: Option<Proposal>,
    /// What this vantage itself has proposed.
    pub(super) proposed: Option<Region>,
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
    /// Whether it seems to be dead to this vantage now.
    pub(super) failing: bool,
    pub(super) tally: &'a Tally,
    pub(super) isolated: bool,
    /// Whether its services fail from a cause that several regions seem to share.
    pub(super) common_mode: bool,
    /// Whether others see them succeed: then it is the probes of this vantage that fail.
    pub(super) is_served: bool,
    /// Whether another vantage holds the peer down, or may do so unheard.
    pub(super) held_elsewhere: bool,
    pub(super) gate: &'a Gate,
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

/// How long a gate must be open before an order: a shorter one could break the limits. A vantage that decides alone need not
/// wait.
fn spread(policy: Policy) -> Duration {
    if policy.allow_single_vantage { SPREAD.min(policy.execute_after) } else { SPREAD }
}

impl OpenIncident {
    pub(super) const fn new(id: Arc<str>, onset: UnixMillis, cause: Cause) -> Self {
        Self {
            id,
            onset,
            cause,
            confirmed: false,
            executed: false,
            from_before: false,
            was_common: false,
            common_mode: false,
            target: None,
            blocked: None,
            loss: None,
            lost: None,
            tally: Tally { down: 0, up: 0, abstain: 0, voters: 0, needed: 0, reached: false, contradicted: false },
            held: false,
            hold: Duration::ZERO,
            away: Duration::ZERO,
            held_anew: false,
            updated: None,
            settled: false,
            ready_since: None,
            open_since: None,
            proposal: None,
            proposed: None,
            held_at: None,
            unsure_until: None,
            released: None,
            end: None,
            well_since: None,
        }
    }

    /// Whether the peer is to be failed over now: the second stage was reached, the peer is held down, and nothing prevents
    /// it.
    pub const fn is_ordered(&self) -> bool {
        self.executed && !self.held_anew && self.held && self.blocked.is_none() && self.target.is_some()
    }

    /// Whether the peer is held down now, has been for that long or was ordered before, and may be failed over.
    pub fn is_held_for(&self, hold: Duration) -> bool {
        self.held && self.blocked.is_none() && ((self.executed && !self.held_anew) || self.hold >= hold)
    }

    /// For how long the peer has been down without a longer lapse, which the second stage waits for.
    pub const fn held_for(&self) -> Duration {
        self.hold
    }

    /// Restarts the hold: the time in which an operator forbade the failover does not count.
    pub(super) fn restart_hold(&mut self) {
        (self.hold, self.held_anew, self.updated) = (Duration::ZERO, true, None);
    }

    /// Proposes the best of these targets, unless what was proposed before is among them.
    pub(super) fn propose(&mut self, candidates: &[Candidate]) {
        let passes = |target: &Region| candidates.iter().any(|candidate| candidate.region == *target);
        if !self.proposed.as_ref().is_some_and(passes) {
            self.proposed = candidates.first().map(|best| best.region.clone());
        }
    }

    /// Takes the target to which an operator has failed the peer over.
    pub(super) fn follow(&mut self, target: &Region) {
        self.target = Some(target.clone());
    }

    /// What keeps the peer from being failed over, while it is held down.
    pub fn blocked_now(&self) -> Option<Blocked> {
        self.blocked.filter(|_| self.held)
    }

    /// The target that is proposed to the others, while this vantage holds the peer down and may fail it over; and the
    /// vantage that has proposed it first.
    pub fn proposal(&self) -> Option<(Region, Region)> {
        let Proposal { target, by } = self.proposal.as_ref().filter(|_| self.held && self.blocked.is_none())?;
        Some((target.clone(), by.clone()))
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
            candidates: self.with_target_first(candidates, stage),
            blocked: self.blocked_now(),
            blocked_by: Vec::new(),
            common_mode: self.common_mode,
            loss: self.loss,
            lost: self.lost,
            evidence,
            ordered_by: None,
            resolved,
            signatures: Vec::new(),
        }
    }

    /// The candidates with the agreed target as the best one. That of an order stands there even if it is no candidate any
    /// more.
    fn with_target_first(&self, mut candidates: Vec<Candidate>, stage: Stage) -> Vec<Candidate> {
        let Some(target) = &self.target else { return candidates };
        let place = candidates.iter().position(|candidate| candidate.region == *target);
        let first = match place {
            Some(place) => candidates.remove(place),
            None if stage == Stage::Execute => Candidate { region: target.clone(), rank: 1, score: None },
            None => return candidates,
        };
        candidates.insert(0, first);
        (1..).zip(&mut candidates).for_each(|(rank, candidate)| candidate.rank = rank);
        candidates
    }

    /// Takes what is known of the peer. Says whether anything that is reported has changed.
    pub(super) fn update(&mut self, findings: Findings<'_>, policy: Policy, now: Now) -> bool {
        let before = self.reported();
        let Findings { state, tally, isolated, gate, .. } = findings;
        match state {
            // A failure of this vantage alone would keep the incident open.
            PeerState::Healthy | PeerState::Degraded if !findings.common_mode || findings.is_served => {
                self.well_since.get_or_insert(now.instant);
            }
            _ => self.well_since = None,
        }
        self.common_mode = findings.common_mode;
        if state == PeerState::Down && !isolated {
            self.tally = *tally;
            self.confirmed |= tally.reached;
        }
        // An isolated vantage does not know whether the others still agree. And if two thirds report a region as down that
        // one vantage reaches, the network between them is broken: no reason to fail over. A vantage that decides alone must
        // see it itself: a new configuration may have dropped what it saw.
        let single = policy.allow_single_vantage && findings.failing;
        let agreed = tally.up == 0 && (tally.reached || single);
        self.hold(state == PeerState::Down && !isolated && agreed, now.instant);
        self.pass(gate, policy, now.instant);
        self.release(findings, now);
        before != self.reported()
    }

    /// Reaches the second stage where the hold is over and the gate is open. A vantage whose proposal differs from that of
    /// another one waits for a moment: else each could order another target, or another region.
    fn pass(&mut self, gate: &Gate, policy: Policy, now: Instant) {
        let is_open = gate.blocked.is_none() && gate.target.is_some();
        if !(is_open && self.blocked.is_none() && self.target == gate.target) {
            self.open_since = is_open.then_some(now);
        }
        self.blocked = gate.blocked;
        self.settled = gate.settled;
        self.proposal.clone_from(&gate.proposal);
        if !(self.executed && self.target.is_some()) {
            self.target.clone_from(&gate.target);
        }
        let ready = self.hold >= policy.execute_after && self.updated.is_some_and(|(_, holds)| holds);
        self.ready_since = ready.then(|| self.ready_since.unwrap_or(now));
        let Some((ready, open)) = self.ready_since.zip(self.open_since) else { return };
        let settled = self.settled || now.saturating_duration_since(ready.max(open)) >= SETTLE;
        let is_known = now.saturating_duration_since(open) >= spread(policy);
        if settled && is_known {
            (self.executed, self.held_anew) = (true, false);
        }
    }

    fn reported(&self) -> impl PartialEq + use<> {
        let stages = (self.confirmed, self.executed, self.is_ordered(), self.end);
        (stages, self.blocked_now(), self.common_mode, self.target.clone())
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
            (_, true) if (self.executed && !self.held_anew) || !self.settled => None,
            (at, true) => {
                let known = self.open_since? + spread(policy);
                Some(known.max(at + policy.execute_after.saturating_sub(self.hold)))
            }
            (_, false) => self.lapses_at().filter(|_| self.held),
        }
    }

    /// Whether votes on it must be fresh: it would be held down by them for longer.
    pub(super) fn needs_votes(&self) -> bool {
        self.updated.is_some_and(|(_, holds)| holds)
    }

    /// When it will be over, if the peer goes on to answer.
    pub fn over_at(&self) -> Option<Instant> {
        self.well_since.map(|since| since + RESOLVE_AFTER)
    }

    /// Whether it is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.over_at().is_some_and(|at| now >= at)
    }
}
