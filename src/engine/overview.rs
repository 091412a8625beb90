//! What the engine knows, copied for the status page.

use std::sync::Arc;

use super::{Engine, KindGroup, Peer};
use crate::{
    decision::{Now, OpenIncident, OperatorOrder},
    status::{AlertmanagerView, FailoverOrder, KindView, Overview, PathView, PeerView, WitnessView},
};

impl Engine {
    /// A copy of everything that is known, for the status page, with what is known of the Alertmanagers.
    pub fn overview(&self, alertmanagers: Vec<AlertmanagerView>, now: Now) -> Overview {
        let peers = self.peers.iter().zip(self.vantage.peers()).map(|(peer, status)| PeerView {
            region: peer.region.clone(),
            state: status.state,
            rule: status.rule.clone(),
            since: now.unix_at(status.since),
            tally: status.tally,
            vote: status.vote,
            order: match (status.incident, status.incident.and_then(OpenIncident::blocked_now)) {
                _ if status.operator_order.is_some_and(OperatorOrder::is_ordered) => FailoverOrder::Active,
                (Some(open), _) if open.is_ordered() => FailoverOrder::Active,
                (_, Some(reason)) => FailoverOrder::Blocked(reason),
                (Some(OpenIncident { executed: true, .. }), _) => FailoverOrder::Withdrawn,
                _ => FailoverOrder::None,
            },
            incident_over_at: status.incident.and_then(OpenIncident::over_at).map(|at| now.unix_at(at)),
            stated: self.vantage.statement(&peer.region, now.instant).cloned(),
            operator_order: status.operator_order.cloned(),
            restrictions: self.vantage.restrictions(&peer.region, now.instant),
            said: self.vantage.last_votes(&peer.region, now.instant).collect(),
            vote_problem: self.votes.problem(&peer.region),
            good_at: status.good_at.map(|at| now.unix_at(at)),
            kinds: peer.groups.iter().map(|group| self.kind(group)).collect(),
            paths: self.views(peer),
        });
        let witnesses = self.config.other_witnesses().map(|witness| WitnessView {
            name: witness.name.clone(),
            age: self.vantage.vote_age(&witness.name, now.instant),
            vote_problem: self.votes.problem(&witness.name),
        });
        Overview {
            at: now.unix,
            instant: now.instant,
            uptime: now.instant.saturating_duration_since(self.started),
            config: Arc::clone(&self.config),
            isolation_reason: self.vantage.isolation_reason(),
            health_score: self.vantage.health_score(),
            anchors: self.vantage.anchors().map(|(_, answers)| answers).collect(),
            peers: peers.collect(),
            witnesses: witnesses.collect(),
            databases: self.databases.views(&self.vantage, now, &self.config.databases),
            ranking: self.vantage.ranking().regions().to_vec(),
            incidents: self.vantage.incidents(now),
            alertmanagers,
        }
    }

    fn kind(&self, group: &KindGroup) -> KindView {
        KindView { kind: group.kind, summary: group.summary, answered: self.is_answered(group) }
    }

    fn views(&self, peer: &Peer) -> Vec<PathView> {
        let members = peer.groups.iter().flat_map(|group| &group.members);
        let state = members.filter_map(|id| self.paths.get(id));
        let mut views: Vec<_> = state
            .map(|state| {
                let (last, failed) = state.history.last();
                PathView { path: state.path.clone(), trace: state.trace.clone(), last, failed }
            })
            .collect();
        views.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        views
    }
}
