//! Which region takes over: a score, what keeps a region from it, and a rank that stays calm. No clock, no I/O.
//!
//! ```text
//! RankInputs ─▶ filters ─ eligible, or every reason why not ─┐
//!          └─▶ score ─ lower is better                    ├─▶ order ─▶ Ranking ── published while this region lives
//!                                                         │
//! a region dies: the ranking that it published last ──────┴─▶ succession ─▶ candidates
//! ```

mod failover_target;
mod filters;
mod hysteresis;
mod score;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::{failover_target::PublishedRanking, score::preferred};
use self::{
    filters::{Filtered, Filters},
    hysteresis::{Contender, Hysteresis},
    score::score,
};
use crate::{
    config::{Config, Failover, Peer},
    geography::Location,
    model::{Candidate, Ineligible, PeerState, Region},
    window::Summary,
};

/// What a configuration says of a region that could take over or be replaced.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionAttributes {
    /// Tier of preference; lower is better.
    pub priority: u32,
    /// Residency zone.
    pub zone: Option<Arc<str>>,
    /// What it shares its fate with.
    pub failure_domain: Option<Arc<str>>,
    /// Where it is.
    pub location: Option<Location>,
    /// The share of what a failover would need that is free there, 0 to 1.
    pub capacity: Option<f64>,
    /// Whether somebody works on it.
    pub maintenance: bool,
}

impl From<&Peer> for RegionAttributes {
    fn from(peer: &Peer) -> Self {
        Self {
            priority: peer.priority,
            zone: peer.zone.clone(),
            failure_domain: peer.failure_domain.clone(),
            location: peer.location,
            capacity: peer.capacity,
            maintenance: peer.maintenance,
        }
    }
}

impl RegionAttributes {
    /// Those of this vantage's own region.
    fn own(config: &Config) -> Self {
        Self {
            priority: config.priority,
            zone: config.zone.clone(),
            failure_domain: config.failure_domain.clone(),
            location: config.location,
            capacity: config.capacity,
            maintenance: config.maintenance,
        }
    }
}

/// What is known of a peer region at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct RankInput {
    /// The region.
    pub region: Region,
    /// What this vantage thinks of it.
    pub state: PeerState,
    /// The probes of the trailing window, of the kind that [`preferred`] picks; `None` before the first.
    pub summary: Option<Summary>,
    /// How far its data lag behind; `None` where there are none to lag.
    pub lag: Option<Duration>,
    /// Whether the other vantages hold it down.
    pub held_down: bool,
}

/// A peer region in the ranking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedRegion {
    /// The region.
    pub region: Region,
    /// Everything that keeps it from taking over, in the order of [`Ineligible`]; empty where it can.
    pub reasons: Vec<Ineligible>,
    /// Lower is better; `None` where nothing was measured.
    pub score: Option<Duration>,
    /// 1 is the best; `None` where it cannot take over.
    pub rank: Option<u32>,
}

impl RankedRegion {
    /// Whether it can take over.
    pub fn eligible(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// The ranking of all peer regions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranking {
    regions: Vec<RankedRegion>,
}

impl Ranking {
    /// All of them: by rank, then those that cannot take over by name.
    pub fn regions(&self) -> &[RankedRegion] {
        &self.regions
    }

    /// Those that can take over, the best one first.
    pub fn candidates(&self) -> Vec<Candidate> {
        let ranked = self.regions.iter().filter_map(|row| Some((row, row.rank?)));
        ranked.map(|(row, rank)| Candidate { region: row.region.clone(), rank, score: row.score }).collect()
    }

    /// The row of a region.
    pub fn of(&self, region: &Region) -> Option<&RankedRegion> {
        self.regions.iter().find(|row| row.region == *region)
    }
}

/// The ranking of the peers of one vantage.
#[derive(Debug)]
pub struct Ranker {
    policy: Failover,
    own: Region,
    own_attributes: RegionAttributes,
    peers: BTreeMap<Region, RegionAttributes>,
    inputs: BTreeMap<Region, RankInput>,
    hysteresis: Hysteresis,
    ranking: Ranking,
}

impl Ranker {
    /// The ranking for a configuration, in which nobody can take over yet.
    pub fn new(config: &Config) -> Self {
        let mut ranker = Self {
            policy: Failover::default(),
            own: config.region.clone(),
            own_attributes: RegionAttributes::default(),
            peers: BTreeMap::new(),
            inputs: BTreeMap::new(),
            hysteresis: Hysteresis::default(),
            ranking: Ranking::default(),
        };
        ranker.reload(config);
        ranker
    }

    /// Takes another configuration. Who leads goes on to lead at the next [`update`](Self::update), if it can.
    pub fn reload(&mut self, config: &Config) {
        self.policy = config.failover.clone();
        self.own = config.region.clone();
        self.own_attributes = RegionAttributes::own(config);
        self.peers = config.peers.iter().map(|peer| (peer.region.clone(), RegionAttributes::from(peer))).collect();
        self.inputs.retain(|region, _| self.peers.contains_key(region));
        self.hysteresis.retain(|region| self.peers.contains_key(region));
    }

    /// Ranks the peers as candidates to replace this vantage's own region. A peer without a input is
    /// unknown; a input of a region that is no peer does not count.
    pub fn update(&mut self, inputs: &[RankInput], now: Instant) -> &Ranking {
        let known = inputs.iter().filter(|input| self.peers.contains_key(&input.region));
        self.inputs = known.map(|input| (input.region.clone(), input.clone())).collect();

        let filtered = self.filtered(&self.own, &self.own_attributes);
        let eligible = filtered.iter().filter(|filtered| filtered.reasons.is_empty());
        let contenders: Vec<_> = eligible.map(|filtered| self.contender(filtered.region)).collect();
        let frozen = self.inputs.values().any(|input| matches!(input.state, PeerState::Suspect | PeerState::Down));
        let regions: Vec<_> = filtered
            .into_iter()
            .filter(|filtered| *filtered.region != self.own)
            .map(|filtered| (filtered.region.clone(), filtered.reasons, self.score(filtered.region)))
            .collect();
        self.hysteresis.update(contenders, frozen, now);
        let ranks: BTreeMap<_, _> = (1..).zip(self.hysteresis.regions()).map(|(rank, region)| (region, rank)).collect();
        let mut regions: Vec<_> = regions
            .into_iter()
            .map(|(region, reasons, score)| RankedRegion { rank: ranks.get(&region).copied(), region, reasons, score })
            .collect();
        regions.sort_by_key(|row| (row.rank.is_none(), row.rank)); // stable: the others stay sorted by name
        self.ranking = Ranking { regions };
        &self.ranking
    }

    /// The region of this vantage.
    pub const fn own(&self) -> &Region {
        &self.own
    }

    /// The ranking of the last update.
    pub fn ranking(&self) -> &Ranking {
        &self.ranking
    }

    /// Who can replace the region, and why others cannot, as of the last update. This vantage's own region is
    /// among them unless it is the one.
    fn filtered<'a>(&'a self, replaced: &'a Region, attributes: &'a RegionAttributes) -> Vec<Filtered<'a>> {
        let filters = Filters { policy: &self.policy, replaced: attributes };
        let own = (*replaced != self.own).then(|| filters.own(&self.own, &self.own_attributes));
        let peers = self.peers.iter().filter(|(region, _)| *region != replaced);
        let peers = peers.map(|(region, attributes)| filters.peer(region, attributes, self.inputs.get(region)));
        filters::with_last_resort(own.into_iter().chain(peers).collect())
    }

    fn score(&self, region: &Region) -> Option<Duration> {
        score(self.inputs.get(region)?, self.policy.rpo)
    }

    fn contender(&self, region: &Region) -> Contender {
        let priority = self.attributes(region).map_or(0, |attributes| attributes.priority);
        Contender { priority, score: self.score(region), region: region.clone() }
    }

    fn attributes(&self, region: &Region) -> Option<&RegionAttributes> {
        if *region == self.own { Some(&self.own_attributes) } else { self.peers.get(region) }
    }
}

#[cfg(test)]
mod tests;
