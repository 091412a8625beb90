//! Who is to take over: our own ranking, those that the other vantages publish, and what was reported before a restart.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    ranking::{OwnRegion, PublishedRanking, RankInput, Ranker, Ranking, RegionAttributes, TargetPolicy},
    votes::VoteTable,
};
use crate::model::{Candidate, Ineligible, Region};

#[derive(Debug)]
pub(super) struct FailoverTargets {
    ranker: Ranker,
    /// The targets of regions that were down before this process started, as reported before.
    restored: BTreeMap<Region, Vec<Candidate>>,
}

impl FailoverTargets {
    pub(super) fn new(own: Region) -> Self {
        Self { ranker: Ranker::new(own), restored: BTreeMap::new() }
    }

    /// Ranks these peers from now on, and forgets all others. A witness has no own region.
    pub(super) fn reconfigure(
        &mut self,
        policy: TargetPolicy,
        own: Option<RegionAttributes>,
        peers: BTreeMap<Region, RegionAttributes>,
    ) {
        self.restored.retain(|region, _| peers.contains_key(region));
        self.ranker.set_witness(own.is_none());
        self.ranker.reconfigure(policy, own.unwrap_or_default(), peers);
    }

    pub(super) fn restore(&mut self, dead: &Region, candidates: &[Candidate]) {
        if !candidates.is_empty() {
            self.restored.insert(dead.clone(), candidates.to_vec());
        }
    }

    pub(super) fn rank(&mut self, inputs: &[RankInput], own: OwnRegion, now: Instant) {
        self.ranker.set_own(own);
        self.ranker.update(inputs, now);
    }

    /// Whether a region could take over for a dead one if it were known what that loses.
    pub(super) fn lacks_only_the_loss(&self, dead: &Region) -> bool {
        self.ranker.reasons(dead).any(|reasons| reasons == [Ineligible::RpoUnknown])
    }

    /// What keeps one region from taking over for another one.
    pub(super) fn reasons_of(&self, replaced: &Region, target: &Region) -> Vec<Ineligible> {
        self.ranker.reasons_of(replaced, target)
    }

    pub(super) const fn ranking(&self) -> &Ranking {
        self.ranker.ranking()
    }

    pub(super) const fn own(&self) -> &Region {
        self.ranker.own()
    }

    /// Whether this vantage owns no region.
    pub(super) const fn is_witness(&self) -> bool {
        self.ranker.is_witness()
    }

    /// The rankings that are known of each vantage.
    pub(super) fn published(&self, votes: &VoteTable, now: Instant) -> Vec<PublishedRanking> {
        let published = |by: &Region, age: Duration, candidates: &[Candidate]| PublishedRanking {
            by: by.clone(),
            age,
            candidates: candidates.to_vec(),
        };
        let read = votes.last_rankings();
        let mut all: Vec<_> =
            read.map(|(by, at, ranking)| published(by, now.saturating_duration_since(at), ranking)).collect();
        // What was reported before a restart was the dead region's last ranking, if it had one.
        for (by, candidates) in &self.restored {
            if !all.iter().any(|ranking| ranking.by == *by) {
                all.push(published(by, Duration::ZERO, candidates));
            }
        }
        all
    }

    /// Who can take over for a dead region. As long as this process knows no region but its own, what was reported before
    /// the restart holds, without those that are down.
    pub(super) fn of(
        &self,
        dead: &Region,
        published: &[PublishedRanking],
        is_down: impl Fn(&Region) -> bool,
    ) -> Vec<Candidate> {
        let targets = self.ranker.failover_targets(dead, published);
        let knows_others = targets.iter().any(|target| target.region != *self.ranker.own());
        let restored = self.restored.get(dead).filter(|_| !knows_others);
        restored.map_or(targets, |restored| {
            restored.iter().filter(|candidate| !is_down(&candidate.region)).cloned().collect()
        })
    }
}
