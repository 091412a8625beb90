//! The decision about one peer, laid open.

use super::{
    super::{Explanation, Now, explanation::next_votes},
    Vantage,
};
use crate::model::Region;

impl Vantage {
    /// The decision about a peer, laid open; `None` if there is no such peer.
    pub fn explain(&self, region: &Region, now: Now) -> Option<Explanation> {
        let n = self.position(region)?;
        let (peer, isolated, at) = (&self.peers[n], self.isolation.is_isolated(), now.instant);
        let status = peer.status(isolated, None);
        let ballots = self.votes.ballots(region, peer.verdict.failing(), at);
        Some(Explanation {
            region: region.clone(),
            state: status.state,
            since: status.since,
            rule: status.rule.clone(),
            isolation: self.isolation.why(),
            failing: peer.verdict.failing(),
            quality: peer.verdict.quality.last(),
            paths: peer.verdict.evidence.seen().collect(),
            own: status.vote,
            ballots: ballots.map(|(voter, ballot)| (voter.clone(), ballot)).collect(),
            tally: status.tally,
            next_votes: next_votes(region, &peer.verdict, &self.votes, (status.vote, isolated), at),
            incident: peer.incident.as_ref().map(|open| (open.clone(), self.gate(n, at).into())),
            stated: self.statement(region, at).cloned(),
            operator_order: self.operator_order(region).cloned(),
            restrictions: self.restrictions(region, at),
            failed_over: self.failed_over(at).into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests;
