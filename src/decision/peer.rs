//! One peer: the verdict on it, the votes about it, and its incident.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Evidence, Now, OpenIncident, Policy, StateChange, Verdict,
    incidents::{Findings, ResolvedIncident},
    ranking::RankInput,
    votes::VoteTable,
};
use crate::{
    model::{PeerState, Region, Tally, UnixMillis, Vote},
    window::Summary,
};

/// What a peer looks like now; a copy for metrics, votes and pages.
#[derive(Debug, Clone, Copy)]
pub struct PeerStatus<'a> {
    /// The peer.
    pub region: &'a Region,
    /// Its state.
    pub state: PeerState,
    /// Since when.
    pub since: Instant,
    /// The votes on it.
    pub tally: Tally,
    /// Our own vote.
    pub vote: Vote,
    /// When the newest probe was sent that shows the region to be useful.
    pub good_at: Option<Instant>,
    /// When the first unanswered probe was sent, if it is failing.
    pub onset: Option<Instant>,
    /// Its open incident.
    pub incident: Option<&'a OpenIncident>,
    /// Onset and id that an incident of it would have now, if it is failing.
    pub incident_id_candidate: Option<&'a (UnixMillis, Arc<str>)>,
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
    pub(super) now: Now,
}

/// What an evaluation found.
#[derive(Default)]
pub(super) struct Evaluation {
    pub(super) suspected: bool,
    pub(super) opened: bool,
    pub(super) incident_changed: bool,
    pub(super) resolved: Option<ResolvedIncident>,
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
            tally: Tally::default(),
            incident_id_candidate: None,
        }
    }

    /// What follows from what is known now.
    pub(super) fn evaluate(&mut self, context: Context<'_>, changes: &mut Vec<StateChange>) -> Evaluation {
        let Context { votes, isolated, policy, unheard, now } = context;
        let mut found = Evaluation::default();
        self.verdict.refresh();
        self.fix_incident_id(now);
        loop {
            let silence = self.verdict.failing().map(|failing| (failing.onset, failing.decisive));
            self.tally = votes.count(&self.region, self.vote(isolated), silence, now.instant);
            let Some(transition) = self.verdict.step(&self.tally, isolated, now.instant) else { break };
            changes.push(StateChange::Peer { peer: self.region.clone(), transition, tally: self.tally });
            found.suspected |= transition.to == PeerState::Suspect;
            if transition.to == PeerState::Down && self.incident.is_none() {
                self.incident = Some(self.open_incident(votes, now));
                (found.opened, found.incident_changed) = (true, true);
            }
        }
        let Some(incident) = &mut self.incident else { return found };
        let held_elsewhere = unheard || votes.fresh_votes(&self.region, now.instant).any(|vote| vote.held);
        let findings = Findings { state: self.verdict.state(), tally: &self.tally, isolated, held_elsewhere };
        found.incident_changed |= incident.update(findings, policy, now);
        if self.verdict.state() == PeerState::Down && !isolated {
            found.incident_changed |= incident.rename(oldest(&self.region, votes, now));
        }
        if incident.is_over(now.instant) {
            found.incident_changed = true;
            let held_by_others = votes.fresh_votes(&self.region, now.instant).any(|vote| vote.incident.is_some());
            // The last vantage reports the end. If two end at once neither does, and the alert expires.
            let open = self.incident.take().filter(|_| !held_by_others);
            found.resolved = open.map(|open| ResolvedIncident::new(open, now.unix, now.instant));
        }
        found
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
    fn open_incident(&self, votes: &VoteTable, now: Now) -> OpenIncident {
        let own = self.incident_id_candidate.as_ref().map(|(_, candidate)| candidate.clone());
        let ids = oldest(&self.region, votes, now).into_iter().chain(own);
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
            _ => Vote::Up,
        }
    }

    pub(super) fn status(&self, isolated: bool) -> PeerStatus<'_> {
        PeerStatus {
            region: &self.region,
            state: self.verdict.state(),
            since: self.verdict.since(),
            tally: self.tally,
            vote: self.vote(isolated),
            good_at: self.verdict.evidence.good_at(),
            onset: self.verdict.failing().map(|failing| failing.onset),
            incident: self.incident.as_ref(),
            incident_id_candidate: self.incident_id_candidate.as_ref().map(|(_, candidate)| candidate),
        }
    }

    pub(super) fn rank_input(&self) -> RankInput {
        RankInput {
            region: self.region.clone(),
            state: self.verdict.state(),
            summary: self.summary,
            lag: None,
            held_down: self.tally.reached,
        }
    }
}

fn incident_id(peer: &Region, onset: UnixMillis) -> (UnixMillis, Arc<str>) {
    (onset, format!("{peer}-{}", onset.0).into())
}

/// The oldest incident of a peer that other vantages know.
fn oldest(peer: &Region, votes: &VoteTable, now: Now) -> Option<(UnixMillis, Arc<str>)> {
    votes.fresh_votes(peer, now.instant).filter_map(|vote| vote.incident.clone()).min()
}
