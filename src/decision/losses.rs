//! What a failover would lose, by the bounds of all vantages, so that one of them cannot lie.
//!
//! Bounds of honest vantages overlap, because all contain the truth. So the largest group whose bounds overlap counts, and
//! within it the second lowest upper bound: the lowest may be that of a liar. What this vantage has not measured itself needs two
//! others.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    ranking::{Loss, Losses},
    votes::VoteTable,
};
use crate::model::{DatabaseReport, LossBounds, RealisedLoss, Region, UnixMillis};

/// How many vantages make what they say of a database more than the word of one.
const CONFIRMED: usize = 2;

/// What this vantage knows of all databases.
#[derive(Debug, Default)]
pub(super) struct Databases {
    reports: Vec<DatabaseReport>,
}

impl Databases {
    /// Takes what is known now.
    pub(super) fn update(&mut self, reports: Vec<DatabaseReport>) {
        self.reports = reports;
    }

    /// What was reported last.
    pub(super) fn reports(&self) -> &[DatabaseReport] {
        &self.reports
    }

    /// What a failover to a region would lose, by the region that is replaced.
    pub(super) fn losses(&self, to: &Region, votes: &VoteTable, now: Instant) -> Losses {
        let mut losses = Losses::new();
        for report in &self.reports {
            let primary = primary(report, votes, now);
            // Where the primary is unknown, each of its servers may be it.
            let replaced = report.servers.iter().filter(|from| primary.as_ref().is_none_or(|primary| primary == *from));
            for from in replaced.filter(|from| *from != to) {
                let upper = match &primary {
                    // Without a server there, all is lost.
                    Some(_) if !report.servers.contains(to) => Some(Duration::MAX),
                    Some(primary) => bounds(report, primary, to, votes, now).map(|bounds| bounds.upper),
                    None => None,
                };
                losses.entry(from.clone()).or_default().add(Loss::of(upper, report.rpo));
            }
        }
        losses
    }

    /// What a failover from one region to another one would lose, over all databases; `None` if there is none that could lose
    /// anything, or if that is unknown of one.
    pub(super) fn expected(&self, from: &Region, to: &Region, votes: &VoteTable, now: Instant) -> Option<LossBounds> {
        let mut worst: Option<LossBounds> = None;
        for report in &self.reports {
            match primary(report, votes, now) {
                Some(primary) if primary == *from => {
                    let found = bounds(report, &primary, to, votes, now)?;
                    worst = Some(worst.map_or(found, |worst| worst.max(found)));
                }
                None if report.servers.contains(from) => return None,
                _ => {}
            }
        }
        worst
    }

    /// What the failover of a region has lost since then, over all databases; `None` where nothing took over, or that is unknown.
    pub(super) fn lost(&self, from: &Region, since: UnixMillis) -> Option<RealisedLoss> {
        let promotions = self.reports.iter().filter_map(|report| report.promotion.as_ref());
        let here = promotions.filter(|promotion| promotion.from == *from && promotion.at >= since);
        here.filter_map(|promotion| promotion.lost).reduce(RealisedLoss::max)
    }

    /// What a failover of one database to a server would lose; `None` of the primary itself, and `Some(None)` where that is unknown.
    pub(super) fn of(
        &self,
        database: usize,
        to: &Region,
        votes: &VoteTable,
        now: Instant,
    ) -> Option<Option<LossBounds>> {
        let report = self.reports.get(database)?;
        let Some(primary) = primary(report, votes, now) else { return Some(None) };
        (primary != *to).then(|| bounds(report, &primary, to, votes, now))
    }
}

/// Where the primary of a database is: as this vantage knows, or else as two others say.
fn primary(report: &DatabaseReport, votes: &VoteTable, now: Instant) -> Option<Region> {
    report.loss.primary.clone().or_else(|| {
        let told: Vec<_> = votes.losses(&report.loss.database, now).filter_map(|loss| loss.primary.as_ref()).collect();
        let told_by = |region: &&Region| told.iter().filter(|told| *told == region).count();
        let most = told.iter().copied().max_by_key(told_by)?;
        (told_by(&most) >= CONFIRMED && report.servers.contains(most)).then(|| most.clone())
    })
}

/// What a failover of a database would lose, by what all vantages say that know the same primary.
fn bounds(
    report: &DatabaseReport,
    primary: &Region,
    to: &Region,
    votes: &VoteTable,
    now: Instant,
) -> Option<LossBounds> {
    let own = report.loss.replicas.get(to).copied();
    let told = votes.losses(&report.loss.database, now).filter(|loss| loss.primary.as_ref() == Some(primary));
    confirmed(own, told.filter_map(|loss| loss.replicas.get(to).copied()).collect())
}

/// The bounds that hold although one of the other vantages may lie. `None` if too little is known for that.
fn confirmed(own: Option<LossBounds>, others: Vec<LossBounds>) -> Option<LossBounds> {
    let all: Vec<_> = own.into_iter().chain(others).collect();
    // The largest group that overlaps has a point in common, and such a point is the lower bound of one of them.
    let at = |point: &LossBounds| {
        let holds = |bounds: &&LossBounds| (bounds.lower..=bounds.upper).contains(&point.lower);
        all.iter().filter(holds).copied().collect::<Vec<_>>()
    };
    let contains_own = |group: &[LossBounds]| own.is_some_and(|own| group.contains(&own));
    // Of two that are as large, what was measured here counts, and then the greater loss.
    let group = all.iter().map(at).max_by_key(|group| {
        let lower = group.iter().map(|bounds| bounds.lower).max();
        (group.len(), contains_own(group), lower)
    })?;
    if group.len() < CONFIRMED && !contains_own(&group) {
        return None;
    }
    let (mut uppers, mut lowers): (Vec<_>, Vec<_>) = group.iter().map(|bounds| (bounds.upper, bounds.lower)).unzip();
    uppers.sort_unstable();
    lowers.sort_unstable_by(|a, b| b.cmp(a));
    let second = (group.len() - 1).min(CONFIRMED - 1);
    Some(LossBounds::new(lowers[second], uppers[second]))
}

#[cfg(test)]
mod tests;
