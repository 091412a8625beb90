//! Who takes over from a region that is dead.

use std::{collections::BTreeMap, time::Duration};

use super::{Ranker, RegionAttributes, hysteresis::Contender};
use crate::model::{Candidate, Region};

/// How old a published ranking may be: a day, in which distances stay what they are.
pub(super) const MAX_AGE: Duration = Duration::from_secs(86_400);

/// The ranking that a vantage published.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedRanking {
    /// Whose it is.
    pub by: Region,
    /// How long ago this vantage read it.
    pub age: Duration,
    /// Who could have taken over from that vantage's region, with how far they were from it.
    pub candidates: Vec<Candidate>,
}

impl Ranker {
    /// Who can take over from a region that is dead, the best one first, as of the last
    /// [`update`](Ranker::update). The dead region is never among them; this vantage's own may be.
    ///
    /// `published` is what was read of other vantages, in any order; what is older than a day does not
    /// count. The dead region's own last ranking decides, as it says who was near to its users and its data:
    /// of it remain those that this vantage finds able to take over now. Where none of them remains, the
    /// candidates are ordered by tier, by their mean score as the survivors and this vantage measured it (a sum,
    /// made fair to those whom not everybody measures), and by name. How far they are from a witness matters only where
    /// no survivor has measured them.
    pub fn failover_targets(&self, dead: &Region, published: &[PublishedRanking]) -> Vec<Candidate> {
        let nothing = RegionAttributes::default();
        let filtered = self.filtered(dead, self.attributes(dead).unwrap_or(&nothing));
        let able: Vec<_> =
            filtered.iter().filter(|filtered| filtered.reasons.is_empty()).map(|filtered| filtered.region).collect();
        let fresh = latest(published);
        let named = fresh.get(dead).map(|last| from_last_ranking(last, &able)).unwrap_or_default();
        let chosen = if named.is_empty() { self.by_survivors(dead, &able, &fresh) } else { named };
        (1..).zip(chosen).map(|(rank, (region, score))| Candidate { region, rank, score }).collect()
    }

    fn by_survivors(
        &self,
        dead: &Region,
        able: &[&Region],
        fresh: &BTreeMap<&Region, &PublishedRanking>,
    ) -> Vec<(Region, Option<Duration>)> {
        let survivors = fresh.values().filter(|published| published.by != *dead && published.by != *self.own());
        let measured = survivors.flat_map(|published| &published.candidates);
        let mut scores: BTreeMap<&Region, Vec<Duration>> = BTreeMap::new();
        for (region, score) in measured.filter_map(|candidate| Some((&candidate.region, candidate.score?))) {
            scores.entry(region).or_default().push(score);
        }
        let mut contenders: Vec<_> = able
            .iter()
            .map(|region| {
                let theirs = scores.get(region).into_iter().flatten().copied();
                let own = self.score(region);
                let score = if self.is_witness() { mean(theirs).or(own) } else { mean(theirs.chain(own)) };
                Contender { score, ..self.contender(region) }
            })
            .collect();
        contenders.sort_by(|a, b| a.key().cmp(&b.key()));
        contenders.into_iter().map(|contender| (contender.region, contender.score)).collect()
    }
}

/// The youngest ranking of each vantage, of those that are young enough.
fn latest(published: &[PublishedRanking]) -> BTreeMap<&Region, &PublishedRanking> {
    let mut latest: BTreeMap<_, &PublishedRanking> = BTreeMap::new();
    for ranking in published.iter().filter(|ranking| ranking.age <= MAX_AGE) {
        let known = latest.entry(&ranking.by).or_insert(ranking);
        if ranking.age < known.age {
            *known = ranking;
        }
    }
    latest
}

/// Those of the dead region's last ranking that are able to take over, each once.
fn from_last_ranking(last: &PublishedRanking, able: &[&Region]) -> Vec<(Region, Option<Duration>)> {
    let mut candidates: Vec<_> = last.candidates.iter().collect();
    candidates.sort_by_key(|candidate| (candidate.rank, &candidate.region));
    let mut named: Vec<(Region, Option<Duration>)> = Vec::new();
    for candidate in candidates {
        if able.contains(&&candidate.region) && !named.iter().any(|(region, _)| *region == candidate.region) {
            named.push((candidate.region.clone(), candidate.score));
        }
    }
    named
}

fn mean(scores: impl Iterator<Item = Duration>) -> Option<Duration> {
    let (sum, count) = scores.fold((Duration::ZERO, 0), |(sum, count): (Duration, u32), score| {
        (sum.saturating_add(score), count.saturating_add(1))
    });
    sum.checked_div(count)
}
