//! Who is to take over: our own ranking, those that the other vantages publish, and what was told before a restart.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Engine;
use crate::{
    config::Config,
    decision::{
        IncidentView, Now,
        ranking::{PublishedRanking, RankInput, Ranker, Ranking},
    },
    model::{Candidate, Cause, Incident, PeerState, Region, Stage},
};

#[derive(Debug)]
pub(super) struct FailoverTargets {
    ranker: Ranker,
    /// Who could take over for those that were dead before this process had heard of them, as it was told before.
    restored: BTreeMap<Region, Vec<Candidate>>,
    /// The ranking that each vantage has published last, and when it was asked for it.
    published: BTreeMap<Region, (Instant, Vec<Candidate>)>,
}

impl FailoverTargets {
    pub(super) fn new(config: &Config) -> Self {
        Self { ranker: Ranker::new(config), restored: BTreeMap::new(), published: BTreeMap::new() }
    }

    /// Ranks by this configuration from now on, and forgets whom it does not name.
    pub(super) fn reload(&mut self, config: &Config) {
        self.ranker.reload(config);
        let is_peer = |region: &Region| config.peers.iter().any(|peer| peer.region == *region);
        self.published.retain(|region, _| is_peer(region));
        self.restored.retain(|region, _| is_peer(region));
    }

    pub(super) fn hear(&mut self, from: &Region, asked_at: Instant, candidates: Vec<Candidate>) {
        self.published.insert(from.clone(), (asked_at, candidates));
    }

    pub(super) fn rank(&mut self, standings: &[RankInput], now: Instant) -> &Ranking {
        self.ranker.update(standings, now)
    }

    pub(super) fn ranking(&self) -> &Ranking {
        self.ranker.ranking()
    }

    fn published(&self, now: Instant) -> Vec<PublishedRanking> {
        let heard = self.published.iter().map(|(by, (at, candidates))| PublishedRanking {
            by: by.clone(),
            age: now.saturating_duration_since(*at),
            candidates: candidates.clone(),
        });
        // What was told before a restart was the dead region's last ranking, if it had one.
        let restored = self.restored.iter().filter(|(by, _)| !self.published.contains_key(*by));
        let restored = restored.map(|(by, candidates)| PublishedRanking {
            by: by.clone(),
            age: Duration::ZERO,
            candidates: candidates.clone(),
        });
        heard.chain(restored).collect()
    }

    /// Who can take over for a dead region. As long as this process knows nobody but itself, what it told before it was
    /// restarted holds, of those who are not down.
    fn of(&self, dead: &Region, published: &[PublishedRanking], is_down: impl Fn(&Region) -> bool) -> Vec<Candidate> {
        let targets = self.ranker.failover_targets(dead, published);
        let knows_others = targets.iter().any(|target| target.region != *self.ranker.own());
        let restored = self.restored.get(dead).filter(|_| !knows_others);
        restored.map_or(targets, |restored| {
            restored.iter().filter(|candidate| !is_down(&candidate.region)).cloned().collect()
        })
    }
}

impl Engine {
    /// What Alertmanager is to be told.
    pub fn incidents(&self, now: Now) -> Vec<Incident> {
        let published = self.targets.published(now.instant);
        let is_down = |region: &Region| {
            let mut standings = self.vantage.peers();
            standings.any(|standing| standing.region == region && standing.state == PeerState::Down)
        };
        let each = |(peer, view): (&Region, IncidentView<'_>)| {
            let evidence = match view.cause {
                Cause::Silence => format!("Nothing that was sent to {peer} since {} was answered.", view.onset),
                Cause::Service => {
                    format!("{peer} answers on the network, and its critical services fail since {}.", view.onset)
                }
            };
            let incident = Incident {
                peer: peer.clone(),
                stage: Stage::Prepare,
                id: Arc::clone(view.id),
                onset: view.onset,
                cause: view.cause,
                confirmed: view.confirmed,
                tally: view.tally,
                candidates: self.targets.of(peer, &published, is_down),
                evidence,
                resolved: view.resolved,
            };
            view.stages().map(|stage| Incident { stage, ..incident.clone() }).collect::<Vec<_>>()
        };
        self.vantage.incidents().flat_map(each).collect()
    }

    /// An incident goes on that the process before this one had told of.
    pub fn restore(&mut self, incident: &Incident) {
        if !incident.candidates.is_empty() {
            self.targets.restored.insert(incident.peer.clone(), incident.candidates.clone());
        }
        self.vantage.restore(incident);
    }
}
