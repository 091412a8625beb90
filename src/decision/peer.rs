//! One peer: the verdict on it, the votes about it, and its incident.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Evidence, Now, Verdict, incidents::OpenIncident, votes::VoteTable};
use crate::model::{PeerState, Region, Tally, UnixMillis, Vote};

#[derive(Debug)]
pub(super) struct PeerMonitor {
    pub(super) region: Region,
    pub(super) verdict: Verdict,
    pub(super) tally: Tally,
    pub(super) incident: Option<OpenIncident>,
    /// Since when it has been failing, and what an incident of it would be called.
    pub(super) incident_id_candidate: Option<(Instant, (UnixMillis, Arc<str>))>,
    /// Probes of the burst that are still to be sent, and when the next one is.
    pub(super) burst: Option<(u32, Instant)>,
    pub(super) was_silent: bool,
}

impl PeerMonitor {
    pub(super) fn new(region: Region, evidence: Evidence, now: Instant) -> Self {
        let verdict = Verdict::new(evidence, now);
        Self {
            region,
            verdict,
            tally: Tally::default(),
            incident: None,
            incident_id_candidate: None,
            burst: None,
            was_silent: false,
        }
    }

    /// Gives what is failing a name, once: the same moment looks a millisecond older or younger each time that it is
    /// converted, and who has heard one name would open the incident under another.
    pub(super) fn name_incident(&mut self, now: Now) {
        let onset = self.verdict.failing().map(|failing| failing.onset);
        if self.incident_id_candidate.as_ref().map(|(since, _)| *since) != onset {
            self.incident_id_candidate = onset.map(|since| (since, name(&self.region, now.unix_at(since))));
        }
    }

    /// Whether votes can change anything.
    pub(super) fn depends_on_votes(&self) -> bool {
        let judged = matches!(self.verdict.state(), PeerState::Suspect | PeerState::Down | PeerState::Recovering);
        judged || self.verdict.failing().is_some() || self.incident.is_some()
    }

    /// Whether time can change anything.
    pub(super) fn is_eventful(&self) -> bool {
        self.verdict.state() != PeerState::Healthy || self.verdict.failing().is_some() || self.incident.is_some()
    }

    pub(super) fn vote(&self, isolated: bool) -> Vote {
        match self.verdict.state() {
            PeerState::Unknown => Vote::Abstain,
            _ if isolated => Vote::Abstain,
            _ if self.verdict.failing().is_some() => Vote::Down,
            _ => Vote::Up,
        }
    }
}

/// A new incident. The vantages that vote down all name_incident a name by what they saw first, and take the oldest one that
/// they know, so that the receiver sees one incident.
pub(super) fn open(peer: &PeerMonitor, votes: &VoteTable, now: Now) -> OpenIncident {
    let own = peer.incident_id_candidate.as_ref().map(|(_, incident_id_candidate)| incident_id_candidate.clone());
    let names = oldest(&peer.region, votes, now).into_iter().chain(own);
    let (onset, id) = names.min().unwrap_or_else(|| name(&peer.region, now.unix));
    OpenIncident::new(id, onset, peer.verdict.cause())
}

fn name(peer: &Region, onset: UnixMillis) -> (UnixMillis, Arc<str>) {
    (onset, format!("{peer}-{}", onset.0).into())
}

/// The oldest name for an incident of a peer that other vantages know.
pub(super) fn oldest(peer: &Region, votes: &VoteTable, now: Now) -> Option<(UnixMillis, Arc<str>)> {
    votes.fresh_votes(peer, now.instant).filter_map(|view| view.incident.clone()).min()
}
