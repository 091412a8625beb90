//! The peers of one vantage, ranked as failover targets for its own region.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    RankInput, RegionAttributes, TargetPolicy,
    filters::{Filtered, Filters, OwnRegion, with_last_resort},
    hysteresis::{Contender, Hysteresis},
    score::score,
};
use crate::model::{Candidate, Ineligible, PeerState, Region};

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
    /// Their places, by name: each of thousands of peers looks itself up after every probe that changes a state.
    by_name: Vec<usize>,
}

impl Ranking {
    fn new(regions: Vec<RankedRegion>) -> Self {
        let mut by_name: Vec<_> = (0..regions.len()).collect();
        by_name.sort_unstable_by(|a, b| regions[*a].region.cmp(&regions[*b].region));
        Self { regions, by_name }
    }

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
        let place = self.by_name.binary_search_by(|place| self.regions[*place].region.cmp(region)).ok()?;
        self.regions.get(self.by_name[place])
    }
}

/// The ranking of the peers of one vantage.
#[derive(Debug)]
pub struct Ranker {
    policy: TargetPolicy,
    own: Region,
    /// Whether this vantage is a witness, so that its own region is none.
    is_witness: bool,
    own_attributes: RegionAttributes,
    peers: BTreeMap<Region, RegionAttributes>,
    inputs: BTreeMap<Region, RankInput>,
    hysteresis: Hysteresis,
    ranking: Ranking,
    own_region: OwnRegion,
}

impl Ranker {
    /// Ranks no region yet.
    pub fn new(own: Region) -> Self {
        Self {
            policy: TargetPolicy::default(),
            own,
            is_witness: false,
            own_attributes: RegionAttributes::default(),
            peers: BTreeMap::new(),
            inputs: BTreeMap::new(),
            hysteresis: Hysteresis::default(),
            ranking: Ranking::default(),
            own_region: OwnRegion::default(),
        }
    }

    /// Ranks these peers from now on. A leader that stays and is eligible goes on to lead at the next
    /// [`update`](Self::update).
    pub fn reconfigure(
        &mut self,
        policy: TargetPolicy,
        own: RegionAttributes,
        peers: BTreeMap<Region, RegionAttributes>,
    ) {
        self.inputs.retain(|region, _| peers.contains_key(region));
        self.hysteresis.retain(|region| peers.contains_key(region));
        (self.policy, self.own_attributes, self.peers) = (policy, own, peers);
    }

    /// Ranks the peers as candidates to replace this vantage's own region. A peer without an input is
    /// unknown; an input of a region that is no peer does not count.
    pub fn update(&mut self, inputs: &[RankInput], now: Instant) -> &Ranking {
        let known = inputs.iter().filter(|input| self.peers.contains_key(&input.region));
        self.inputs = known.map(|input| (input.region.clone(), input.clone())).collect();

        let mut filtered = self.filtered(&self.own, &self.own_attributes);
        if self.is_witness {
            // It owns no region that another one could take over for, so nothing is too near to it.
            filtered.iter_mut().for_each(|filtered| filtered.reasons.retain(|reason| *reason != Ineligible::Distance));
        }
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
        self.ranking = Ranking::new(regions);
        &self.ranking
    }

    /// Says whether this vantage is a witness.
    pub(crate) const fn set_witness(&mut self, is_witness: bool) {
        self.is_witness = is_witness;
    }

    /// Whether this vantage is a witness.
    pub(crate) const fn is_witness(&self) -> bool {
        self.is_witness
    }

    /// Says what is known of the own region.
    pub(crate) fn set_own(&mut self, own: OwnRegion) {
        self.own_region = own;
    }

    /// The region of this vantage.
    pub const fn own(&self) -> &Region {
        &self.own
    }

    /// The ranking of the last update.
    pub const fn ranking(&self) -> &Ranking {
        &self.ranking
    }

    /// Who can replace the region, and why others cannot, as of the last update. This vantage's own region is
    /// among them unless it is the one, or this is a witness.
    pub(super) fn filtered<'a>(&'a self, replaced: &'a Region, attributes: &'a RegionAttributes) -> Vec<Filtered<'a>> {
        let filters = Filters { policy: &self.policy, region: replaced, replaced: attributes };
        let takes_over = *replaced != self.own && !self.is_witness;
        let own = takes_over.then(|| filters.own(&self.own, &self.own_attributes, &self.own_region));
        let peers = self.peers.iter().filter(|(region, _)| *region != replaced);
        let peers = peers.map(|(region, attributes)| filters.peer(region, attributes, self.inputs.get(region)));
        with_last_resort(own.into_iter().chain(peers).collect())
    }

    /// What keeps each region from taking over for a dead one, as of the last update.
    pub fn reasons(&self, dead: &Region) -> impl Iterator<Item = Vec<Ineligible>> {
        let nothing = RegionAttributes::default();
        let filtered = self.filtered(dead, self.attributes(dead).unwrap_or(&nothing));
        filtered.into_iter().map(|filtered| filtered.reasons).collect::<Vec<_>>().into_iter()
    }

    /// What keeps one region from taking over for another one, as of the last update.
    pub(crate) fn reasons_of(&self, replaced: &Region, target: &Region) -> Vec<Ineligible> {
        let nothing = RegionAttributes::default();
        let filtered = self.filtered(replaced, self.attributes(replaced).unwrap_or(&nothing));
        let found = filtered.into_iter().find(|filtered| filtered.region == target);
        found.map(|filtered| filtered.reasons).unwrap_or_default()
    }

    pub(super) fn score(&self, region: &Region) -> Option<Duration> {
        let input = self.inputs.get(region)?;
        score(input, input.losses.get(&self.own).copied().unwrap_or_default())
    }

    pub(super) fn contender(&self, region: &Region) -> Contender {
        let priority = self.attributes(region).map_or(0, |attributes| attributes.priority);
        Contender { priority, score: self.score(region), region: region.clone() }
    }

    pub(super) fn attributes(&self, region: &Region) -> Option<&RegionAttributes> {
        if *region == self.own { Some(&self.own_attributes) } else { self.peers.get(region) }
    }
}
