//! One peer: the verdict on it, the votes about it, and its incident.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Evidence, Now, OpenIncident, OperatorOrder, Policy, Rule, StateChange, Transition, Verdict,
    execution::{Contender, Gate, Standing},
    incidents::{Findings, ResolvedIncident},
    ranking::{Losses, RankInput},
    restored::Restored,
    votes::{FailedOver, VoteTable},
};
use crate::{
    model::{Blocked, Candidate, Cause, FailoverMode, Incident, PeerState, Region, Tally, UnixMillis, Vote},
    window::Summary,
};

/// What a peer looks like now; a copy for metrics, votes and pages.
#[derive(Debug, Clone, Copy)]
pub struct PeerStatus<'a> {
    /// The peer.
    pub region: &'a Region,
    /// Its state.
    pub state: PeerState,
    /// The rule by which it is in this state.
    pub rule: &'a Rule,
    /// Since when.
    pub since: Instant,
    /// The votes on it.
    pub tally: Tally,
    /// Our own vote.
    pub vote: Vote,
    /// When the newest probe was sent that shows the region to be useful.
    pub good_at: Option<Instant>,
    /// When the newest probe was sent that had a sign of life as its answer.
    pub alive_at: Option<Instant>,
    /// Since when all its critical probes have failed, while the network answers.
    pub unserved_since: Option<Instant>,
    /// When the first unanswered probe was sent, if it is failing.
    pub onset: Option<Instant>,
    /// Its open incident.
    pub incident: Option<&'a OpenIncident>,
    /// Onset and id that an incident of it would have now, if it is failing.
    pub incident_id_candidate: Option<&'a (UnixMillis, Arc<str>)>,
    /// What the configuration allows for it.
    pub mode: FailoverMode,
    /// Its failover that is not released.
    pub failed_over: Option<&'a FailedOver>,
    /// What an operator has ordered of it.
    pub operator_order: Option<&'a OperatorOrder>,
}

#[derive(Debug)]
pub(super) struct PeerMonitor {
    pub(super) region: Region,
    pub(super) verdict: Verdict,
    pub(super) incident: Option<OpenIncident>,
    /// What the probes of the preferred kind say over the window.
    pub(super) summary: Option<Summary>,
    /// Probes of the burst that are still to be sent, and when the next one is.
    pub(super) burst: Option<(u32, Instant)>,
    pub(super) was_silent: bool,
    /// What the configuration allows for it now, and once its maintenance has ended by itself.
    pub(super) mode: FailoverMode,
    pub(super) timeless_mode: FailoverMode,
    /// Who passes every gate as its failover target, the best one first, while it has an incident.
    pub(super) candidates: Vec<Candidate>,
    /// What kept it from being failed over, as last reported.
    blocked: Option<Blocked>,
    /// Whether its services fail from a common cause, as last reported.
    common_mode: bool,
    /// Whether operators kept it from being failed over when it was evaluated last.
    restricted: bool,
    /// What Alertmanager held at the start, as long as nothing that was seen decides whether it goes on.
    restored: Option<Restored>,
    /// Whether this process has seen it healthy or degraded.
    was_well: bool,
    tally: Tally,
    /// Since when it has been failing, and the id that an incident would have.
    incident_id_candidate: Option<(Instant, (UnixMillis, Arc<str>))>,
}

/// What a peer is evaluated by.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) votes: &'a VoteTable,
    pub(super) isolated: bool,
    pub(super) policy: Policy,
    /// Whether a vantage that may vote on it is alive and was not heard lately.
    pub(super) unheard: bool,
    /// Whether the services of another region began to fail at about the same time.
    pub(super) shared: bool,
    /// Whether it may be failed over, if it has an incident.
    pub(super) gate: &'a Gate,
    /// Where it was failed over to, if that is known for certain.
    pub(super) failed_over_to: Option<&'a Region>,
    /// The incident of its last failover that was released, which no later outage continues.
    pub(super) released: Option<&'a Arc<str>>,
    pub(super) now: Now,
}

/// What an evaluation found.
#[derive(Default)]
pub(super) struct Evaluation {
    pub(super) suspected: bool,
    pub(super) opened: bool,
    pub(super) incident_changed: bool,
    pub(super) resolved: Option<ResolvedIncident>,
    /// The targets of an incident that goes on from before the start.
    pub(super) restored: Option<Vec<Candidate>>,
}

impl PeerMonitor {
    pub(super) fn new(region: Region, evidence: Evidence, now: Instant) -> Self {
        Self {
            region,
            verdict: Verdict::new(evidence, now),
            incident: None,
            summary: None,
            burst: None,
            was_silent: false,
            mode: FailoverMode::Armed,
            timeless_mode: FailoverMode::Armed,
            candidates: Vec::new(),
            blocked: None,
            common_mode: false,
            restricted: false,
            restored: None,
            was_well: false,
            tally: Tally::default(),
            incident_id_candidate: None,
        }
    }

    /// What follows from what is known now.
    pub(super) fn evaluate(&mut self, context: Context<'_>, changes: &mut Vec<StateChange>) -> Evaluation {
        let Context { votes, isolated, policy, unheard, shared, gate, released, now, .. } = context;
        let mut found = Evaluation::default();
        self.refresh(shared);
        self.fix_incident_id(now);
        loop {
            let failing = self.verdict.failing();
            self.tally = votes.count(&self.region, self.vote(isolated), failing, now.instant);
            let Some(transition) = self.verdict.step(&self.tally, isolated, now.instant) else { break };
            found.suspected |= transition.to == PeerState::Suspect;
            self.was_well |= matches!(transition.to, PeerState::Healthy | PeerState::Degraded);
            if transition.to == PeerState::Down {
                self.resume(context, &mut found);
            }
            if transition.to == PeerState::Down && self.incident.is_none() {
                self.incident = Some(self.open_incident(context));
                (found.opened, found.incident_changed) = (true, true);
            }
            changes.push(self.changed(transition));
        }
        let common_mode = self.verdict.is_common_mode();
        if std::mem::replace(&mut self.common_mode, common_mode) != common_mode {
            changes.push(StateChange::CommonMode { peer: self.region.clone(), active: common_mode });
        }
        self.forget_if_refuted();
        // While its services fail from a common cause, an incident does not end.
        if common_mode || matches!(self.verdict.state(), PeerState::Suspect | PeerState::Down | PeerState::Recovering) {
            self.resume(context, &mut found);
        }
        let failing = self.verdict.failing().is_some();
        let was_restricted = std::mem::replace(&mut self.restricted, gate.restricted);
        let Some(incident) = &mut self.incident else { return found };
        if was_restricted && !gate.restricted {
            incident.restart_hold();
        }
        let was_ordered = incident.is_ordered();
        let held_elsewhere =
            unheard || votes.fresh_votes(&self.region, now.instant).any(|vote| vote.held || vote.operator_order);
        let state = self.verdict.state();
        let is_served = common_mode && votes.report_served(&self.region, now.instant);
        let tally = &self.tally;
        let findings = Findings { state, failing, tally, isolated, common_mode, is_served, held_elsewhere, gate };
        found.incident_changed |= incident.update(findings, policy, now);
        let reason = incident.blocked_now();
        if reason != self.blocked && !found.opened {
            self.blocked = reason;
            changes.push(StateChange::Blocked { peer: self.region.clone(), reason });
        }
        if self.verdict.state() == PeerState::Down && !isolated {
            found.incident_changed |= incident.rename(oldest(&self.region, votes, released, now));
        }
        if incident.is_ordered() != was_ordered {
            changes.push(order(&self.region, incident));
        }
        if incident.is_over(now.instant) {
            found.incident_changed = true;
            changes.push(StateChange::Resolved { peer: self.region.clone(), incident: Arc::clone(&incident.id) });
            let held_by_others = votes.fresh_votes(&self.region, now.instant).any(|vote| vote.incident.is_some());
            // The last vantage reports the end. If two end at once neither does, and the alert expires.
            self.blocked = None;
            let open = self.incident.take().filter(|_| !held_by_others);
            found.resolved = open.map(|open| ResolvedIncident::new(open, now.unix, now.instant));
        }
        found
    }

    /// Looks at the evidence again. `shared` says whether the services of another region began to fail at about the same time.
    pub(super) fn refresh(&mut self, shared: bool) {
        // An order that was given stands: to take it back would not move the traffic back. And an incident from before the start
        // was judged when it began, while after a start all failures seem to begin at once. So what was a common cause then is
        // one until the services succeed.
        let still_fails = self.verdict.evidence.service_failure().is_some();
        if let Some(open) = &mut self.incident {
            open.from_before &= still_fails;
        }
        let open = self.incident.as_ref().or_else(|| self.restored.as_ref().map(|restored| &restored.open));
        let stands = open.is_some_and(|open| open.executed || open.from_before);
        let was_common = open.is_some_and(|open| open.from_before && open.was_common && !open.executed);
        self.verdict.refresh(was_common || (shared && !stands));
    }

    /// What there is to report of a transition.
    fn changed(&self, transition: Transition) -> StateChange {
        let is_failing = matches!(transition.to, PeerState::Suspect | PeerState::Down);
        StateChange::Peer {
            peer: self.region.clone(),
            transition,
            rule: self.verdict.rule().clone(),
            tally: self.tally,
            cause: is_failing.then(|| self.verdict.cause()),
            incident: self.incident.as_ref().map(|open| Arc::clone(&open.id)),
        }
    }

    /// Remembers an incident that Alertmanager held at the start, unless what was seen since refutes it. Says whether one
    /// that is open has changed.
    pub(super) fn restore(&mut self, told: &Incident) -> bool {
        if let Some(open) = &mut self.incident {
            let is_same = open.id == told.id;
            if is_same {
                open.confirm(told);
            }
            return is_same;
        }
        if !(self.was_well && is_refuted(told.cause, &self.verdict.evidence)) {
            self.restored = Some(Restored::merge(self.restored.take(), told));
            self.verdict.evidence.assume_was_up(told.cause);
        }
        false
    }

    fn forget_if_refuted(&mut self) {
        self.restored.take_if(|restored| self.was_well && is_refuted(restored.open.cause, &self.verdict.evidence));
    }

    /// Goes on with the incident that is remembered. Its target is not signed, so what is known of it for certain counts.
    fn resume(&mut self, context: Context<'_>, found: &mut Evaluation) {
        let Context { failed_over_to, released, .. } = context;
        self.forget_if_refuted();
        let restored = self.restored.take().filter(|restored| released != Some(&restored.open.id));
        if let Some(Restored { mut open, candidates }) = restored {
            if open.executed {
                open.target = failed_over_to.cloned().or(open.target);
            }
            self.incident = Some(open);
            (found.opened, found.incident_changed, found.restored) = (true, true, Some(candidates));
        }
    }

    /// Fixes the id of an incident at the first failure. Computed again, its timestamp could shift by 1 ms, and vantages
    /// would disagree on the id.
    fn fix_incident_id(&mut self, now: Now) {
        let onset = self.verdict.failing().map(|failing| failing.onset);
        if self.incident_id_candidate.as_ref().map(|(since, _)| *since) != onset {
            self.incident_id_candidate = onset.map(|since| (since, incident_id(&self.region, now.unix_at(since))));
        }
    }

    /// A new incident. Each vantage that votes down has an id by its own onset, and takes the oldest one that it knows, so
    /// that the receiver sees one incident.
    fn open_incident(&self, Context { votes, released, now, .. }: Context<'_>) -> OpenIncident {
        let own = self.incident_id_candidate.as_ref().map(|(_, candidate)| candidate.clone());
        let ids = oldest(&self.region, votes, released, now).into_iter().chain(own);
        let (onset, id) = ids.min().unwrap_or_else(|| incident_id(&self.region, now.unix));
        OpenIncident::new(id, onset, self.verdict.cause())
    }

    /// Whether votes can change anything.
    pub(super) fn depends_on_votes(&self) -> bool {
        let voted_on = matches!(self.verdict.state(), PeerState::Suspect | PeerState::Down | PeerState::Recovering);
        voted_on || self.verdict.failing().is_some() || self.incident.is_some()
    }

    /// Whether time can change anything.
    pub(super) fn is_eventful(&self) -> bool {
        self.verdict.state() != PeerState::Healthy || self.verdict.failing().is_some() || self.incident.is_some()
    }

    fn vote(&self, isolated: bool) -> Vote {
        match self.verdict.state() {
            PeerState::Unknown => Vote::Abstain,
            _ if isolated => Vote::Abstain,
            _ if self.verdict.failing().is_some() => Vote::Down,
            // That nothing is known of it is no sign of life.
            _ if self.verdict.evidence.is_forgotten() => Vote::Abstain,
            _ => Vote::Up,
        }
    }

    /// How it stands, if it was failed over. If other vantages see its services succeed, those probes of this one say nothing
    /// that fail.
    pub(super) fn standing(&self, votes: &VoteTable, now: Instant) -> Standing<'_> {
        let (state, evidence) = (self.verdict.state(), &self.verdict.evidence);
        let answers = matches!(state, PeerState::Healthy | PeerState::Degraded);
        let is_served = answers && evidence.good_at().is_some() && evidence.service_failure().is_none();
        let may_be = answers || state == PeerState::Unknown;
        let well = is_served || (may_be && votes.report_served(&self.region, now));
        Standing { region: &self.region, state, well, open: self.incident.is_some() }
    }

    /// The peer as one of those that compete to be failed over; `None` without an incident.
    pub(super) fn contender(&self) -> Option<Contender<'_>> {
        let open = self.incident.as_ref()?;
        let (onset, held, proposed) = (open.onset, open.held, open.proposed.as_ref());
        Some(Contender { region: &self.region, onset, mode: self.mode, held, candidates: &self.candidates, proposed })
    }

    pub(super) fn status<'a>(&'a self, isolated: bool, failed_over: Option<&'a FailedOver>) -> PeerStatus<'a> {
        PeerStatus {
            region: &self.region,
            state: self.verdict.state(),
            rule: self.verdict.rule(),
            since: self.verdict.since(),
            tally: self.tally,
            vote: self.vote(isolated),
            good_at: self.verdict.evidence.good_at(),
            alive_at: self.verdict.evidence.alive_at(),
            unserved_since: self.verdict.evidence.unserved_since(),
            onset: self.verdict.failing().map(|failing| failing.onset),
            incident: self.incident.as_ref(),
            incident_id_candidate: self.incident_id_candidate.as_ref().map(|(_, candidate)| candidate),
            mode: self.mode,
            failed_over,
            operator_order: None,
        }
    }

    pub(super) fn rank_input(&self, failed_over: bool, maintenance: bool, losses: Losses) -> RankInput {
        RankInput {
            region: self.region.clone(),
            state: self.verdict.state(),
            summary: self.summary,
            losses,
            held_down: self.tally.reached,
            unserved: self.verdict.evidence.is_unproven() || self.verdict.evidence.has_dead_service(),
            failed_over,
            maintenance,
        }
    }
}

/// What there is to report of an order that has begun or ended.
fn order(peer: &Region, open: &OpenIncident) -> StateChange {
    StateChange::Order {
        peer: peer.clone(),
        incident: Arc::clone(&open.id),
        cause: Some(open.cause),
        target: open.target.clone(),
        ordered: open.is_ordered(),
    }
}

/// Whether what was seen of a peer that was well refutes an incident from before. A peer whose service is dead may look
/// well at first, by its pings: only an answer of the service counts.
fn is_refuted(cause: Cause, evidence: &Evidence) -> bool {
    match cause {
        Cause::Silence => true,
        Cause::Service => evidence.good_at().is_some(),
    }
}

fn incident_id(peer: &Region, onset: UnixMillis) -> (UnixMillis, Arc<str>) {
    (onset, format!("{peer}-{}", onset.0).into())
}

/// The oldest incident of a peer that other vantages know, but for that of a failover that was released: a vantage may not have
/// seen its end yet.
fn oldest(peer: &Region, votes: &VoteTable, released: Option<&Arc<str>>, now: Now) -> Option<(UnixMillis, Arc<str>)> {
    let known = votes.fresh_votes(peer, now.instant).filter_map(|vote| vote.incident.as_ref());
    known.filter(|(_, id)| released != Some(id)).min().cloned()
}
