//! What is decided about from now on.

use std::collections::BTreeMap;

use super::{MAX_VOTE_AGE, Owner, Vantage};
use crate::{
    decision::{Evidence, Now, PeerSetup, Setup, StateChange, StatementNews, peer::PeerMonitor},
    model::{FailoverMode, Region},
};

impl Vantage {
    pub(super) fn reconfigure(&mut self, setup: Setup, now: Now) {
        let Setup { policy, targets, own, is_witness, peers, witnesses, anchors, operators, maintained } = setup;
        self.policy = policy;
        self.statements.maintain(maintained, self.times(now));
        let mut before: BTreeMap<Region, PeerMonitor> =
            std::mem::take(&mut self.peers).into_iter().map(|peer| (peer.region.clone(), peer)).collect();
        self.owners.clear();
        let (mut voters, mut vote_paths, mut attributes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for PeerSetup { region, attributes: own, mode, paths } in peers {
            let owner = Owner::Peer(self.peers.len());
            self.owners.extend(paths.iter().map(|info| (info.path, owner)));
            if let Some(sidecar) = paths.iter().find(|info| info.kind.carries_votes()) {
                vote_paths.insert(region.clone(), sidecar.path);
                voters.push((region.clone(), (3 * sidecar.interval).min(MAX_VOTE_AGE)));
            }
            attributes.insert(region.clone(), own);
            let mut peer = match before.remove(&region) {
                Some(mut peer) => {
                    peer.verdict.evidence.reconfigure(paths, policy.confirm_burst);
                    peer
                }
                None => PeerMonitor::new(region, Evidence::new(paths, policy.confirm_burst), now.instant),
            };
            peer.timeless_mode = mode;
            let is_maintained = self.statements.is_maintained(&peer.region);
            peer.mode = if is_maintained { FailoverMode::Maintenance } else { mode };
            self.peers.push(peer);
        }
        for (name, sidecar) in witnesses {
            voters.push((name.clone(), (3 * sidecar.interval).min(MAX_VOTE_AGE)));
            vote_paths.insert(name, sidecar.path);
        }
        self.executions.retain(|region| self.peers.iter().any(|peer| peer.region == *region));
        self.votes.set_voters(voters);
        for n in 0..self.peers.len() {
            let shared = self.shares_failure(n, now.instant);
            self.peers[n].refresh(shared);
        }
        self.extra_probes.reconfigure(vote_paths);
        self.targets.reconfigure(targets, (!is_witness).then_some(own), attributes);
        let forgotten = self.with_statements(|statements, is_region| statements.reconfigure(operators, is_region));
        let change = |command| StateChange::Statement {
            command: Box::new(command),
            news: StatementNews::Forgotten,
            ended: None,
        };
        self.changes.extend(forgotten.into_iter().map(change));
        // It is not reported any more, and expires.
        self.incidents_changed |= before.values().any(|peer| peer.incident.is_some());
        let mut known = std::mem::take(&mut self.anchors);
        for info in anchors {
            let path = info.path;
            self.owners.insert(path, Owner::Anchor(self.anchors.len()));
            let known = known.iter().position(|(other, _)| *other == path).map(|n| known.swap_remove(n).1);
            self.anchors.push((path, known.unwrap_or_else(|| Evidence::new([info], false))));
        }
        self.evaluated = true;
    }
}
