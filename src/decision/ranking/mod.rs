//! Which region takes over: a score, what keeps a region from it, and a rank that stays calm. No clock, no I/O.
//!
//! ```text
//! Standings ─▶ gates ─ eligible, or every reason why not ─┐
//!          └─▶ score ─ lower is better                    ├─▶ order ─▶ Table ── published while this region lives
//!                                                         │
//! a region dies: the ranking that it published last ──────┴─▶ succession ─▶ candidates
//! ```

mod failover_target;
mod filters;
mod hysteresis;
mod score;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

pub use self::{failover_target::Published, score::preferred};
use self::{
    filters::{Gates, Judged},
    hysteresis::{Claim, Order},
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
pub struct Traits {
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

impl From<&Peer> for Traits {
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

impl Traits {
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
pub struct Standing {
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
pub struct Row {
    /// The region.
    pub region: Region,
    /// Everything that keeps it from taking over, in the order of [`Ineligible`]; empty where it can.
    pub reasons: Vec<Ineligible>,
    /// Lower is better; `None` where nothing was measured.
    pub score: Option<Duration>,
    /// 1 is the best; `None` where it cannot take over.
    pub rank: Option<u32>,
}

impl Row {
    /// Whether it can take over.
    pub fn eligible(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// The ranking of all peer regions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// All of them: by rank, then those that cannot take over by name.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Those that can take over, the best one first.
    pub fn candidates(&self) -> Vec<Candidate> {
        let ranked = self.rows.iter().filter_map(|row| Some((row, row.rank?)));
        ranked.map(|(row, rank)| Candidate { region: row.region.clone(), rank, score: row.score }).collect()
    }

    /// The row of a region.
    pub fn row(&self, region: &Region) -> Option<&Row> {
        self.rows.iter().find(|row| row.region == *region)
    }
}

/// The ranking of the peers of one vantage.
#[derive(Debug)]
pub struct Ranking {
    policy: Failover,
    own: Region,
    own_traits: Traits,
    peers: BTreeMap<Region, Traits>,
    standings: BTreeMap<Region, Standing>,
    order: Order,
    table: Table,
}

impl Ranking {
    /// The ranking for a configuration, in which nobody can take over yet.
    pub fn new(config: &Config) -> Self {
        let mut ranking = Self {
            policy: Failover::default(),
            own: config.region.clone(),
            own_traits: Traits::default(),
            peers: BTreeMap::new(),
            standings: BTreeMap::new(),
            order: Order::default(),
            table: Table::default(),
        };
        ranking.reload(config);
        ranking
    }

    /// Takes another configuration. Who leads goes on to lead at the next [`update`](Self::update), if it can.
    pub fn reload(&mut self, config: &Config) {
        self.policy = config.failover.clone();
        self.own = config.region.clone();
        self.own_traits = Traits::own(config);
        self.peers = config.peers.iter().map(|peer| (peer.region.clone(), Traits::from(peer))).collect();
        self.standings.retain(|region, _| self.peers.contains_key(region));
        self.order.retain(|region| self.peers.contains_key(region));
    }

    /// Ranks the peers as candidates to replace this vantage's own region. A peer without a standing is
    /// unknown; a standing of a region that is no peer does not count.
    pub fn update(&mut self, standings: &[Standing], now: Instant) -> &Table {
        let known = standings.iter().filter(|standing| self.peers.contains_key(&standing.region));
        self.standings = known.map(|standing| (standing.region.clone(), standing.clone())).collect();

        let judged = self.judged(&self.own, &self.own_traits);
        let eligible = judged.iter().filter(|judged| judged.reasons.is_empty());
        let claims: Vec<_> = eligible.map(|judged| self.claim(judged.region)).collect();
        let frozen =
            self.standings.values().any(|standing| matches!(standing.state, PeerState::Suspect | PeerState::Down));
        let rows: Vec<_> = judged
            .into_iter()
            .filter(|judged| *judged.region != self.own)
            .map(|judged| (judged.region.clone(), judged.reasons, self.score(judged.region)))
            .collect();
        self.order.update(claims, frozen, now);
        let ranks: BTreeMap<_, _> = (1..).zip(self.order.regions()).map(|(rank, region)| (region, rank)).collect();
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|(region, reasons, score)| Row { rank: ranks.get(&region).copied(), region, reasons, score })
            .collect();
        rows.sort_by_key(|row| (row.rank.is_none(), row.rank)); // stable: the others stay sorted by name
        self.table = Table { rows };
        &self.table
    }

    /// The region of this vantage.
    pub const fn own(&self) -> &Region {
        &self.own
    }

    /// The ranking of the last update.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Who can replace the region, and why others cannot, as of the last update. This vantage's own region is
    /// among them unless it is the one.
    fn judged<'a>(&'a self, replaced: &'a Region, traits: &'a Traits) -> Vec<Judged<'a>> {
        let gates = Gates { policy: &self.policy, replaced: traits };
        let own = (*replaced != self.own).then(|| gates.own(&self.own, &self.own_traits));
        let peers = self.peers.iter().filter(|(region, _)| *region != replaced);
        let peers = peers.map(|(region, traits)| gates.peer(region, traits, self.standings.get(region)));
        filters::with_last_resort(own.into_iter().chain(peers).collect())
    }

    fn score(&self, region: &Region) -> Option<Duration> {
        score(self.standings.get(region)?, self.policy.rpo)
    }

    fn claim(&self, region: &Region) -> Claim {
        let priority = self.traits(region).map_or(0, |traits| traits.priority);
        Claim { priority, score: self.score(region), region: region.clone() }
    }

    fn traits(&self, region: &Region) -> Option<&Traits> {
        if *region == self.own { Some(&self.own_traits) } else { self.peers.get(region) }
    }
}

#[cfg(test)]
mod tests;
