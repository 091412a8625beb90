//! Whether a peer may be failed over, where to, and what that would lose.

use tokio::time::Instant;

use super::Vantage;
use crate::{
    decision::{
        Now,
        execution::{Contender, Gate, Situation},
        peer::PeerMonitor,
        ranking::OwnRegion,
    },
    model::{Blocked, Candidate, DatabaseReport, Incident, LossBounds, PeerState, Region},
};

impl Vantage {
    /// Ranks the failover targets again, if something has changed since. An incident or a tick does so by itself; after a
    /// change of state the caller does, because of many inputs at once only the last one needs a ranking.
    pub fn refresh_ranking(&mut self, now: Now) {
        if std::mem::take(&mut self.ranking_due) {
            let failed_over = self.failed_over(now.instant);
            let losses = |to: &Region| self.databases.losses(to, &self.votes, now.instant);
            let maintenance = |region: &Region| self.statements.maintains(region, now.instant);
            let input = |peer: &PeerMonitor| {
                let region = &peer.region;
                peer.rank_input(failed_over.contains(region), maintenance(region), losses(region))
            };
            let inputs: Vec<_> = self.peers.iter().map(input).collect();
            let own = self.targets.own();
            let own = OwnRegion {
                failed_over: failed_over.contains(own),
                unserved: self.is_unserved(now.instant),
                maintenance: maintenance(own),
                losses: losses(own),
            };
            self.targets.rank(&inputs, own, now.instant);
        }
    }

    /// Keeps with the incident of a peer what its failover would lose, until that is ordered; and then what it has lost.
    pub(super) fn estimate_loss(&mut self, n: usize, now: Instant) {
        let PeerMonitor { region, incident, candidates, .. } = &mut self.peers[n];
        let Some(open) = incident else { return };
        if !(open.executed && open.loss.is_some()) {
            let target = open.target.as_ref().or_else(|| candidates.first().map(|best| &best.region));
            open.loss = target.and_then(|target| self.databases.expected(region, target, &self.votes, now));
        }
        if let Some(lost) = self.databases.lost(region, open.onset)
            && open.lost.replace(lost) != Some(lost)
        {
            self.incidents_changed = true;
        }
    }

    /// The candidates of an incident that Alertmanager held, as far as they are configured here. They are not signed. If the best
    /// one is none, the others do not take its place: it was the target.
    pub(super) fn known_candidates(&self, told: &Incident) -> Vec<Candidate> {
        let is_known = |candidate: &&Candidate| candidate.region != told.peer && self.is_region(&candidate.region);
        let is_first_known = told.candidates.first().is_some_and(|first| is_known(&first));
        told.candidates.iter().filter(|_| is_first_known).filter(is_known).cloned().collect()
    }

    /// Whether this is the own region or that of a peer. A witness has none.
    pub(super) fn is_region(&self, region: &Region) -> bool {
        (region == self.targets.own() && !self.is_witness()) || self.position(region).is_some()
    }

    pub(super) fn gate(&self, n: usize, now: Instant) -> Gate {
        let Some(contender) = self.peers[n].contender() else { return Gate::default() };
        let contenders: Vec<Contender<'_>> = self.peers.iter().filter_map(PeerMonitor::contender).collect();
        let situation = Situation {
            own: self.targets.own(),
            contenders: &contenders,
            votes: &self.votes,
            statements: &self.statements,
            informed: self.knows_statements(n, now),
            policy: self.policy,
            now,
        };
        // A target that was removed from the file cannot take over either.
        let cannot = |region: &Region| self.is_down(region) || !self.is_region(region);
        let mut gate = self.executions.gate(&contender, situation, cannot);
        if gate.blocked == Some(Blocked::NoTarget) && self.targets.lacks_only_the_loss(&self.peers[n].region) {
            gate.blocked = Some(Blocked::RpoUnknown);
        }
        gate
    }

    /// What a failover of a database to a server would lose, by the bounds of all vantages: `None` of the primary itself, and
    /// `Some(None)` where that is unknown.
    pub fn loss(&self, database: usize, to: &Region, now: Instant) -> Option<Option<LossBounds>> {
        self.databases.of(database, to, &self.votes, now)
    }

    /// What this vantage itself knows of the databases.
    pub fn databases(&self) -> &[DatabaseReport] {
        self.databases.reports()
    }

    /// Finds who can take over for a peer with an incident.
    pub(super) fn refresh_candidates(&mut self, n: usize, now: Now) {
        self.peers[n].candidates = match &self.peers[n].incident {
            Some(_) => {
                let published = self.targets.published(&self.votes, now.instant);
                self.targets.of(&self.peers[n].region, &published, |region| self.is_down(region))
            }
            None => Vec::new(),
        };
        let PeerMonitor { incident, candidates, .. } = &mut self.peers[n];
        if let Some(open) = incident {
            open.propose(candidates);
        }
    }

    pub(super) fn is_down(&self, region: &Region) -> bool {
        self.position(region).is_some_and(|n| self.peers[n].verdict.state() == PeerState::Down)
    }
}
