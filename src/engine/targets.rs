//! Who is to take over: our own ranking, those that the other vantages publish, and what was told before a restart.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Recorder;
use crate::{
    config::Config,
    decision::{
        IncidentView, Now,
        ranking::{Published, Ranking, Standing, Table},
    },
    model::{Candidate, Cause, Incident, PeerState, Region, Stage},
};

#[derive(Debug)]
pub(super) struct Targets {
    ranking: Ranking,
    /// Who could take over for those that were dead before this process had heard of them, as it was told before.
    adopted: BTreeMap<Region, Vec<Candidate>>,
    /// The ranking that each vantage has published last, and when it was asked for it.
    published: BTreeMap<Region, (Instant, Vec<Candidate>)>,
}

impl Targets {
    pub(super) fn new(config: &Config) -> Self {
        Self { ranking: Ranking::new(config), adopted: BTreeMap::new(), published: BTreeMap::new() }
    }

    /// Ranks by this configuration from now on, and forgets whom it does not name.
    pub(super) fn reload(&mut self, config: &Config) {
        self.ranking.reload(config);
        let is_peer = |region: &Region| config.peers.iter().any(|peer| peer.region == *region);
        self.published.retain(|region, _| is_peer(region));
        self.adopted.retain(|region, _| is_peer(region));
    }

    pub(super) fn hear(&mut self, from: &Region, asked_at: Instant, candidates: Vec<Candidate>) {
        self.published.insert(from.clone(), (asked_at, candidates));
    }

    pub(super) fn rank(&mut self, standings: &[Standing], now: Instant) -> &Table {
        self.ranking.update(standings, now)
    }

    pub(super) fn table(&self) -> &Table {
        self.ranking.table()
    }

    fn published(&self, now: Instant) -> Vec<Published> {
        let heard = self.published.iter().map(|(by, (at, candidates))| Published {
            by: by.clone(),
            age: now.saturating_duration_since(*at),
            candidates: candidates.clone(),
        });
        // What was told before a restart was the dead region's last ranking, if it had one.
        let adopted = self.adopted.iter().filter(|(by, _)| !self.published.contains_key(*by));
        let adopted = adopted.map(|(by, candidates)| Published {
            by: by.clone(),
            age: Duration::ZERO,
            candidates: candidates.clone(),
        });
        heard.chain(adopted).collect()
    }

    /// Who can take over for a dead region. As long as this process knows nobody but itself, what it told before it was
    /// restarted holds, of those who are not down.
    fn of(&self, dead: &Region, published: &[Published], is_down: impl Fn(&Region) -> bool) -> Vec<Candidate> {
        let targets = self.ranking.targets_for(dead, published);
        let knows_others = targets.iter().any(|target| target.region != *self.ranking.own());
        let adopted = self.adopted.get(dead).filter(|_| !knows_others);
        adopted.map_or(targets, |adopted| {
            adopted.iter().filter(|candidate| !is_down(&candidate.region)).cloned().collect()
        })
    }
}

impl Recorder {
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
    pub fn adopt(&mut self, incident: &Incident) {
        if !incident.candidates.is_empty() {
            self.targets.adopted.insert(incident.peer.clone(), incident.candidates.clone());
        }
        self.vantage.restore(incident);
    }
}
