//! What a vantage publishes: its votes, and its ranking.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Now, OpenIncident, OperatorOrder, PeerStatus, Vantage,
    ranking::RankedRegion,
    votes::{FailedOverEntry, InvalidMessage, PeerVoteEntry, RankEntry, VoteMessage},
};

impl Vantage {
    /// The message with this incarnation and sequence number.
    ///
    /// # Errors
    /// More peers or databases than a message may have.
    pub fn vote_message(&self, id: (u64, u64), now: Now) -> Result<VoteMessage, InvalidMessage> {
        let peers = self.peers().map(|peer| vote_entry(&peer, now)).collect();
        // Of a witness, it would not be about a region that can go down.
        let ranking = self.ranking().regions().iter().filter(|_| !self.is_witness());
        let ranking = ranking.map(rank_entry).collect();
        let databases = self.databases().iter().map(|report| report.loss.clone()).collect();
        let message = VoteMessage::new(self.region().clone(), id, self.is_isolated(), peers, ranking)?;
        Ok(message.with_databases(databases)?.with_time(Some(now.unix)).with_statements(self.statements()))
    }
}

fn vote_entry(peer: &PeerStatus<'_>, now: Now) -> PeerVoteEntry {
    let age = |at: Instant| {
        let millis = now.instant.saturating_duration_since(at).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).min(VoteMessage::MAX_AGE_MS)
    };
    let open = peer.incident.map(|incident| (incident.onset, Arc::clone(&incident.id)));
    let (onset, incident) = open.or_else(|| peer.incident_id_candidate.cloned()).unzip();
    let held = incident.is_some().then(|| peer.incident.is_some_and(|incident| incident.held));
    let failed_over = peer.failed_over.map(|failover| FailedOverEntry {
        incident: Arc::clone(&failover.id),
        onset: failover.onset.min(VoteMessage::MAX_TIME),
        target: failover.target.clone(),
        age_ms: age(failover.at),
    });
    PeerVoteEntry {
        region: peer.region.clone(),
        state: peer.state,
        since_ms: age(peer.since),
        vote: peer.vote,
        last_answer_age_ms: peer.good_at.map(age),
        alive_age_ms: peer.alive_at.map(age),
        unserved_ms: peer.unserved_since.map(age),
        onset: onset.map(|onset| onset.min(VoteMessage::MAX_TIME)),
        incident,
        held,
        order: None,
        mode: Some(peer.mode),
        target: peer.incident.and_then(OpenIncident::proposal),
        failed_over,
        operator_order: peer.operator_order.is_some_and(OperatorOrder::is_ordered),
    }
}

fn rank_entry(ranked: &RankedRegion) -> RankEntry {
    RankEntry {
        region: ranked.region.clone(),
        rank: ranked.rank,
        score: ranked.score.map(|score| score.min(VoteMessage::MAX_SCORE)),
        eligible: ranked.eligible(),
        reasons: ranked.reasons.clone(),
    }
}
