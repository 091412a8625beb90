//! Who may be failed over, and where to: arming, maintenance, limits, and a target that never changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Orderer, Policy, Released, Remembered,
    operator_order::is_by_operator,
    statements::Statements,
    votes::{FailedOver, VoteTable},
};
use crate::model::{Blocked, Candidate, FailoverMode, PeerState, Region, UnixMillis};

/// How long a region must be healthy until it counts as released.
const RELEASE_AFTER: Duration = Duration::from_secs(30 * 60);

/// How long an order waits, once its hold is over, for vantages that propose another target or another region.
pub(super) const SETTLE: Duration = Duration::from_secs(5);

/// How long a gate must be open, so that the other vantages know of it. Votes are read every second.
pub(super) const SPREAD: Duration = Duration::from_secs(3);

/// How long the mode that a vantage stated last restricts the others.
const MODE_AGE: Duration = Duration::from_secs(600);

/// How many vantages that say *armed* make the restriction of another one its own affair.
const OVERRULE: usize = 3;

/// Whether a region may be failed over now, and where to.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    /// What prevents it.
    pub(super) blocked: Option<Blocked>,
    /// The target on which the vantages agree.
    pub(super) target: Option<Region>,
    /// The first proposal that is known, as it is passed on to vantages that do not hear each other.
    pub(super) proposal: Option<Proposal>,
    /// Whether all vantages propose the same, so that there is nothing to wait for.
    pub(super) settled: bool,
    /// Whether operators have restricted it for a time.
    pub(super) restricted: bool,
}

/// A target, and the vantage that proposes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The target.
    pub(super) target: Region,
    /// The vantage.
    pub(super) by: Region,
}

/// A region with an open incident.
pub(super) struct Contender<'a> {
    pub(super) region: &'a Region,
    pub(super) onset: UnixMillis,
    pub(super) mode: FailoverMode,
    /// Whether it is held down now.
    pub(super) held: bool,
    /// Who passes every gate now, the best one first.
    pub(super) candidates: &'a [Candidate],
    /// What this vantage proposed before, which stays for as long as it passes.
    pub(super) proposed: Option<&'a Region>,
}

/// What all decisions need beside the regions themselves.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) own: &'a Region,
    pub(super) contenders: &'a [Contender<'a>],
    pub(super) votes: &'a VoteTable,
    pub(super) statements: &'a Statements,
    /// Whether it is known what operators have stated of the region.
    pub(super) informed: bool,
    pub(super) policy: Policy,
    pub(super) now: Instant,
}

#[derive(Debug)]
struct Record {
    failover: FailedOver,
    /// Whether this vantage has ordered it itself.
    own: bool,
    /// Whether enough others have reported it at the same time.
    corroborated: bool,
    well_since: Option<Instant>,
}

/// The vantages that must report a failover, if this one has not ordered it, before its target is taken without a look: one alone
/// may lie.
const REPORTS: usize = 2;

/// How a region stands that was failed over.
pub(super) struct Standing<'a> {
    pub(super) region: &'a Region,
    pub(super) state: PeerState,
    /// Whether it is of use: it answers, its critical probes too where it has some, and not only by what they share with others.
    pub(super) well: bool,
    /// Whether its incident is open.
    pub(super) open: bool,
}

/// The failovers that are known, own ones and those of other vantages.
#[derive(Debug, Default)]
pub(super) struct Executions {
    records: BTreeMap<Region, Record>,
    /// The last failover of each region that was released: other vantages may still report it.
    released: BTreeMap<Region, Released>,
    /// The newest failover.
    last: Option<Instant>,
    /// Whether something changed that must be remembered.
    changed: bool,
}

impl Executions {
    /// The regions that were failed over and are not released.
    pub(super) fn regions(&self) -> impl Iterator<Item = &Region> {
        self.records.keys()
    }

    /// What must outlive a restart, if it has changed, or something `else_changed`.
    pub(super) fn changed(&mut self, else_changed: bool) -> Option<Remembered> {
        self.changed |= else_changed;
        let is_sure = |(_, record): &(&Region, &Record)| record.own || record.corroborated;
        let failovers = self.records.iter().filter(is_sure);
        std::mem::take(&mut self.changed).then(|| Remembered {
            failovers: failovers
                .map(|(region, record)| (region.clone(), record.failover.clone(), Orderer::of(record.own)))
                .collect(),
            released: self.released.iter().map(|(region, released)| (region.clone(), released.clone())).collect(),
            statements: Vec::new(),
            informed: false,
        })
    }

    /// Goes on with what the process before this one has left.
    pub(super) fn remember(&mut self, before: &Remembered) {
        // What the file lists is not released, whatever times a clock that was set back makes of both.
        for (region, failover, by) in &before.failovers {
            self.take(region, failover, *by == Orderer::ThisVantage);
            if let Some(record) = self.records.get_mut(region) {
                record.corroborated |= record.failover.target == failover.target;
            }
        }
        self.released.extend(before.released.iter().cloned());
        self.changed = false;
    }

    /// The failover of a region that is not released.
    pub(super) fn of(&self, region: &Region) -> Option<&FailedOver> {
        self.records.get(region).map(|record| &record.failover)
    }

    /// The failover of a region that this vantage reports to others: one that it has ordered, or that enough of them report.
    /// What only one has said is not repeated, because it would look like a second report; nor is what others have ordered,
    /// if this vantage has never reached the region and leaves its health to those that do.
    pub(super) fn reported(&self, region: &Region, reached: bool) -> Option<&FailedOver> {
        let record = self.records.get(region).filter(|record| record.own || (record.corroborated && reached))?;
        Some(&record.failover)
    }

    /// The target of the failover of a region, if that is more than the word of one other vantage.
    pub(super) fn certain_target(&self, region: &Region) -> Option<&Region> {
        let record = self.records.get(region).filter(|record| record.own || record.corroborated)?;
        Some(&record.failover.target)
    }

    /// The incident of the last failover of a region that was released.
    pub(super) fn released(&self, region: &Region) -> Option<&Arc<str>> {
        self.released.get(region).map(|released| &released.id)
    }

    /// Takes a failover that another vantage reports. The first one that is known of a region decides. Says whether it is new.
    pub(super) fn adopt(&mut self, region: &Region, failover: &FailedOver) -> bool {
        self.take(region, failover, false)
    }

    /// Takes a failover that this vantage has ordered. Says whether it is new.
    pub(super) fn record(&mut self, region: &Region, failover: &FailedOver) -> bool {
        if let Some(record) = self.records.get_mut(region) {
            // What it has ordered itself stands.
            if !record.own {
                *record = Record {
                    failover: failover.clone(),
                    own: true,
                    corroborated: false,
                    well_since: record.well_since,
                };
                self.changed = true;
            }
            return false;
        }
        self.take(region, failover, true)
    }

    /// Records a failover that an operator has ordered, in place of any other one of the region.
    pub(super) fn command(&mut self, region: &Region, failover: FailedOver) {
        let known = self.records.get(region).filter(|record| record.failover.id == failover.id);
        let at = known.map_or(failover.at, |record| record.failover.at);
        self.last = self.last.max(Some(at));
        let failover = FailedOver { at, ..failover };
        self.records.insert(region.clone(), Record { failover, own: true, corroborated: false, well_since: None });
        self.changed = true;
    }

    /// Whether this vantage has ordered this failover of a region.
    pub(super) fn has_ordered(&self, region: &Region, id: &str, target: &Region) -> bool {
        let record = self.records.get(region).filter(|record| record.own);
        record.is_some_and(|record| *record.failover.id == *id && record.failover.target == *target)
    }

    /// Whether a region is failed over to another target, as far as that is more than the word of one other vantage.
    pub(super) fn is_failed_over_elsewhere(&self, region: &Region, target: &Region) -> bool {
        let record = self.records.get(region).filter(|record| record.own || record.corroborated);
        record.is_some_and(|record| record.failover.target != *target)
    }

    fn take(&mut self, region: &Region, failover: &FailedOver, own: bool) -> bool {
        // Vantages release one after the other, and may have known one failover by two names.
        let is_released = |released: &Released| released.id == failover.id || failover.at <= released.at;
        if self.records.contains_key(region) || self.released.get(region).is_some_and(is_released) {
            return false;
        }
        self.last = self.last.max(Some(failover.at));
        self.changed |= own;
        self.records
            .insert(region.clone(), Record { failover: failover.clone(), own, corroborated: false, well_since: None });
        true
    }

    /// Notes what enough other vantages report now.
    pub(super) fn count_reports(&mut self, votes: &VoteTable, now: Instant) {
        for (region, record) in &mut self.records {
            let is_new = !record.corroborated && reports(region, &record.failover.target, votes, now) >= REPORTS;
            record.corroborated |= is_new;
            self.changed |= is_new;
        }
    }

    /// Releases what has been well for long enough, and counts on for the others. A region that this vantage has never reached,
    /// and has not failed over itself, is released with the last vote that reports its failover. Says whether a region was
    /// released.
    pub(super) fn release<'a>(
        &mut self,
        standings: impl Iterator<Item = Standing<'a>>,
        votes: &VoteTable,
        now: Instant,
    ) -> bool {
        let mut any = false;
        for Standing { region, state, well, open } in standings {
            let Some(record) = self.records.get_mut(region) else { continue };
            let is_left =
                state == PeerState::Unknown && !record.own && votes.failovers_of(region, now).next().is_none();
            // What an operator has failed over was well before, too; unless that is the word of one other vantage.
            let is_commanded = is_by_operator(&record.failover.id, region) && (record.own || record.corroborated);
            let well = well && !is_commanded;
            if !(is_left || well) {
                record.well_since = None;
                continue;
            }
            let since = *record.well_since.get_or_insert(now);
            // A relapse in the same incident must find its failover.
            if !open && now.saturating_duration_since(since) >= RELEASE_AFTER {
                self.release_now(region, now);
                any = true;
            }
        }
        any
    }

    /// Releases a region, if it is failed over.
    pub(super) fn release_now(&mut self, region: &Region, now: Instant) {
        if let Some(record) = self.records.remove(region) {
            self.released.insert(region.clone(), Released { id: record.failover.id, at: now });
            self.changed = true;
        }
    }

    /// Forgets regions that are no peers any more.
    pub(super) fn retain(&mut self, is_peer: impl Fn(&Region) -> bool) {
        let before = self.records.len() + self.released.len();
        self.records.retain(|region, _| is_peer(region));
        self.released.retain(|region, _| is_peer(region));
        self.changed |= self.records.len() + self.released.len() != before;
    }

    /// Whether a region may be failed over now. Arming comes first, then the target, then the limits: only regions for which
    /// all else holds compete for a slot.
    pub(super) fn gate(
        &self,
        region: &Contender<'_>,
        situation: Situation<'_>,
        is_down: impl Fn(&Region) -> bool,
    ) -> Gate {
        let stated = situation.statements.mode(region.region, FailoverMode::Armed, situation.now);
        Gate { restricted: stated != FailoverMode::Armed, ..self.gate_for(region, situation, is_down) }
    }

    fn gate_for(&self, region: &Contender<'_>, situation: Situation<'_>, is_down: impl Fn(&Region) -> bool) -> Gate {
        let unknown = (!situation.informed).then_some(Blocked::ArmingUnknown);
        if let Some(blocked) = self.mode(region, situation).or(unknown) {
            return Gate { blocked: Some(blocked), target: self.frozen(region, situation).cloned(), ..Gate::default() };
        }
        if let Some(target) = self.frozen(region, situation) {
            let blocked = if is_down(target) {
                Some(Blocked::TargetDown)
            } else if self.is_certain(region.region, target, situation) {
                None
            } else if !region.candidates.iter().any(|candidate| candidate.region == *target) {
                // One vantage says so, and it does not pass the gates here: neither it nor another one is ordered.
                return Gate { blocked: Some(Blocked::NoTarget), ..Gate::default() };
            } else {
                (!self.has_room_beside(region.region, situation)).then_some(Blocked::Limit)
            };
            return Gate { blocked, target: Some(target.clone()), settled: true, ..Gate::default() };
        }
        let Some((target, first)) = agreed_target(region, situation) else {
            return Gate { blocked: Some(Blocked::NoTarget), ..Gate::default() };
        };
        let (free, undisputed) = self.has_slot(region, situation);
        let blocked = (!free).then_some(Blocked::Limit);
        let settled = undisputed && *target == first.target;
        Gate { blocked, target: Some(target.clone()), proposal: Some(first), settled, ..Gate::default() }
    }

    /// The target of the failover of a region that is not released, here or elsewhere: each vantage counts the health of a
    /// region for itself.
    fn frozen<'a>(&'a self, region: &Contender<'_>, situation: Situation<'a>) -> Option<&'a Region> {
        let told = situation.votes.failovers_of(region.region, situation.now).map(|failover| &failover.target);
        let told: Vec<_> = told.filter(|target| **target != *region.region).collect();
        let known = self.records.get(region.region);
        let own = known.filter(|record| record.own).map(|record| &record.failover.target);
        let certain = || told.iter().copied().find(|target| self.is_certain(region.region, target, situation));
        let first = || known.map(|record| &record.failover.target).or_else(|| told.first().copied());
        own.or_else(certain).or_else(first)
    }

    /// Whether the failover of a region to this target is more than the word of one other vantage.
    fn is_certain(&self, region: &Region, target: &Region, Situation { votes, now, .. }: Situation<'_>) -> bool {
        let is_known = |record: &Record| (record.own || record.corroborated) && record.failover.target == *target;
        self.records.get(region).is_some_and(is_known) || reports(region, target, votes, now) >= REPORTS
    }

    /// Whether the limits allow this failover beside those of other regions.
    fn has_room_beside(&self, region: &Region, situation: Situation<'_>) -> bool {
        let Situation { policy, now, .. } = situation;
        let taken = self.taken(situation).into_iter().filter(|other| *other != region).collect::<Vec<_>>();
        let rests = |record: &Record| now.saturating_duration_since(record.failover.at) < policy.min_interval;
        let is_resting = self.records.iter().any(|(other, record)| other != region && rests(record));
        taken.len() < policy.max_down as usize && !is_resting
    }

    /// Whether the limits allow the failover of a region that an operator has ordered, beside those that come `first`.
    pub(super) fn has_room_for<'a>(
        &'a self,
        region: &Region,
        first: impl Iterator<Item = &'a Region>,
        (own, votes): (&'a Region, &'a VoteTable),
        policy: Policy,
        now: Instant,
    ) -> bool {
        let own = votes.was_failed_over(own, Some(now)).then_some(own);
        let taken = self.records.keys().chain(votes.failed_over(now)).chain(own).chain(first);
        let taken: BTreeSet<_> = taken.filter(|other| *other != region).collect();
        // Others may have ordered this one already.
        let at = self.records.get(region).map(|record| record.failover.at);
        let rests = |last: Instant| at != Some(last) && now.saturating_duration_since(last) < policy.min_interval;
        taken.len() < policy.max_down as usize && !self.last.is_some_and(rests)
    }

    /// The regions that hold a slot. A failover that was released here counts for as long as another vantage knows of it.
    fn taken<'a>(&'a self, Situation { own, votes, now, .. }: Situation<'a>) -> BTreeSet<&'a Region> {
        let own = votes.was_failed_over(own, Some(now)).then_some(own);
        self.records.keys().chain(votes.failed_over(now)).chain(own).collect()
    }

    fn mode(&self, region: &Contender<'_>, Situation { votes, statements, now, .. }: Situation<'_>) -> Option<Blocked> {
        let files = files_of(region.region, Some(region.mode), votes, now).0;
        match statements.mode(region.region, files, now) {
            FailoverMode::Armed => None,
            FailoverMode::Disarmed => Some(Blocked::Disarmed),
            FailoverMode::Maintenance => Some(Blocked::Maintenance),
        }
    }

    /// Whether a slot is free for a region, and whether no other vantage prefers another region for it.
    fn has_slot(&self, region: &Contender<'_>, situation: Situation<'_>) -> (bool, bool) {
        let Situation { own, contenders, votes, policy, now, .. } = situation;
        let taken = self.taken(situation);
        let is_taken = |other: &Region| taken.contains(other);
        let taken = taken.iter().filter(|other| ***other != *region.region).count();
        let rests = |at: Instant| now.saturating_duration_since(at) < policy.min_interval;
        if taken >= policy.max_down as usize || self.last.is_some_and(rests) {
            return (false, true);
        }
        let first = |onset: UnixMillis, other: &Region| (onset, other) < (region.onset, region.region);
        let rivals = contenders.iter().filter(|other| {
            other.held
                && other.region != region.region
                && first(other.onset, other.region)
                && !is_taken(other.region)
                && self.mode(other, situation).is_none()
                && agreed_target(other, situation).is_some()
        });
        let rivals: BTreeSet<_> = rivals.map(|other| other.region).collect();
        let heard: BTreeSet<_> = votes
            .claims(now)
            .filter(|(other, onset)| *other != region.region && *other != own && first(*onset, other))
            .map(|(other, _)| other)
            .filter(|other| !is_taken(other))
            .collect();
        let fits =
            |before: usize| taken + before < policy.max_down as usize && (before == 0 || policy.min_interval.is_zero());
        (fits(rivals.len()), fits(rivals.union(&heard).count()))
    }
}

/// The target that the first vantage by name proposes, of those that pass every gate here; and the first of all.
fn agreed_target<'a>(region: &Contender<'a>, situation: Situation<'a>) -> Option<(&'a Region, Proposal)> {
    let Situation { own, votes, now, .. } = situation;
    let passes = |target: &&Region| region.candidates.iter().any(|candidate| candidate.region == **target);
    let best = region.proposed.filter(passes).or_else(|| Some(&region.candidates.first()?.region))?;
    // Who is known to have proposed two targets proposes none: it may tell each vantage another one.
    let mut told: BTreeMap<&Region, Option<&Region>> = BTreeMap::new();
    for (by, target) in votes.proposals(region.region, now).filter(|(by, _)| votes.knows(by)) {
        told.entry(by).and_modify(|known| *known = known.filter(|known| *known == target)).or_insert(Some(target));
    }
    told.insert(own, Some(best));
    let proposals: BTreeMap<&Region, &Region> =
        told.into_iter().filter_map(|(by, target)| Some((by, target?))).collect();
    let (by, first) = proposals.first_key_value()?;
    let first = Proposal { target: (*first).clone(), by: (*by).clone() };
    Some((proposals.into_values().find(passes)?, first))
}

/// How many other vantages report a failover of this region to this target.
fn reports(region: &Region, target: &Region, votes: &VoteTable, now: Instant) -> usize {
    votes.failovers_of(region, now).filter(|failover| failover.target == *target).count()
}

/// The mode that the files demand here for a region, and the other vantages whose files restrict it. The own mode counts where it
/// restricts; else the most restricting one of the others, unless so many say that the region is armed. A vantage says nothing
/// of its own region.
pub(super) fn files_of<'a>(
    region: &'a Region,
    own: Option<FailoverMode>,
    votes: &'a VoteTable,
    now: Instant,
) -> (FailoverMode, Vec<(&'a Region, FailoverMode)>) {
    let (armed, restricting): (Vec<_>, Vec<_>) =
        votes.modes(region, now, MODE_AGE).partition(|(_, mode)| *mode == FailoverMode::Armed);
    let is_armed = own == Some(FailoverMode::Armed);
    let are_overruled = armed.len() + usize::from(is_armed) >= OVERRULE;
    let restricting = if are_overruled { Vec::new() } else { restricting };
    let most = restricting.iter().map(|(_, mode)| *mode).max().unwrap_or(FailoverMode::Armed);
    (own.filter(|own| *own != FailoverMode::Armed).unwrap_or(most), restricting)
}

#[cfg(test)]
mod tests;
