//! The order of those that can take over, which does not flap.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::Region;

/// How long a challenger must be better before it leads.
pub(super) const HOLD: Duration = Duration::from_secs(60);
/// By how much at least it must be better.
pub(super) const MARGIN: Duration = Duration::from_millis(5);
/// By which share of the leader's score at least it must be better: the inverse, so 10 for a tenth.
pub(super) const MARGIN_SHARE: u32 = 10;

/// A region that can take over, and what it is ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) priority: u32,
    pub(super) score: Option<Duration>,
    pub(super) region: Region,
}

impl Contender {
    /// By tier, then score, then name; without a score behind all with one.
    pub(super) fn key(&self) -> (u32, bool, Option<Duration>, &Region) {
        (self.priority, self.score.is_none(), self.score, &self.region)
    }

    /// Whether it is better by enough to be worth a change.
    fn beats(&self, leader: &Self) -> bool {
        match (self.score, leader.score) {
            _ if self.priority != leader.priority => self.priority < leader.priority,
            (Some(score), Some(leaders)) => score.saturating_add(MARGIN.max(leaders / MARGIN_SHARE)) <= leaders,
            (score, None) => score.is_some(),
            (None, Some(_)) => false,
        }
    }
}

/// The regions that can take over, the leader first.
#[derive(Debug, Default)]
pub(super) struct Hysteresis {
    regions: Vec<Region>,
    /// Since when a challenger has been beating the leader without a pause.
    beating: BTreeMap<Region, Instant>,
    /// Who has been sorted before. Who is new takes its place at once: the first region to have samples enough leads by
    /// chance, and a minute of that after each start would name the wrong target.
    sorted: BTreeSet<Region>,
}

impl Hysteresis {
    pub(super) fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Takes the regions that can take over now. Who is not among them leaves at once. Where the order is frozen
    /// the others stay as they are, and who is new comes last; else they are sorted, and the leader goes on to
    /// lead until another one has been better by the margin for [`HOLD`], or is so when it is sorted for the first time.
    pub(super) fn update(&mut self, mut contenders: Vec<Contender>, frozen: bool, now: Instant) {
        contenders.sort_by(|a, b| a.key().cmp(&b.key()));
        let places: BTreeMap<_, _> = self.regions.iter().zip(0..).collect();
        let place = |contender: &Contender| places.get(&contender.region).copied().unwrap_or(usize::MAX);
        if frozen {
            contenders.sort_by_key(place);
            self.beating.clear();
        } else if let Some(at) = contenders.iter().position(|contender| place(contender) == 0) {
            let at = self.leader(&contenders, at, now);
            contenders[..=at].rotate_right(1);
        } else {
            self.beating.clear();
        }
        if !frozen {
            let new = contenders.iter().filter(|contender| !self.sorted.contains(&contender.region));
            let new: Vec<_> = new.map(|contender| contender.region.clone()).collect();
            self.sorted.extend(new);
        }
        self.regions = contenders.into_iter().map(|contender| contender.region).collect();
    }

    /// Forgets regions that are not known any more.
    pub(super) fn retain(&mut self, is_known: impl Fn(&Region) -> bool) {
        self.sorted.retain(is_known);
    }

    /// The place of the leader from now on.
    fn leader(&mut self, contenders: &[Contender], leader: usize, now: Instant) -> usize {
        let challengers = contenders[..leader].iter().filter(|contender| contender.beats(&contenders[leader]));
        let challengers: BTreeSet<_> = challengers.map(|contender| &contender.region).collect();
        self.beating.retain(|region, _| challengers.contains(region));
        for region in challengers {
            self.beating.entry(region.clone()).or_insert(now);
        }
        let held = |contender: &Contender| {
            let is_new = !self.sorted.contains(&contender.region);
            let since = self.beating.get(&contender.region);
            since.is_some_and(|since| is_new || now.saturating_duration_since(*since) >= HOLD)
        };
        match contenders[..leader].iter().position(held) {
            Some(winner) => {
                self.beating.clear();
                winner
            }
            None => leader,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(name: &str, ms: u64) -> Contender {
        Contender { priority: 0, score: Some(Duration::from_millis(ms)), region: Region::new(name).unwrap() }
    }

    struct Clock(Hysteresis, Instant);

    impl Clock {
        fn new() -> Self {
            Self(Hysteresis::default(), Instant::now())
        }

        /// The order after so many seconds.
        fn after(&mut self, seconds: u64, contenders: &[Contender], frozen: bool) -> String {
            self.1 += Duration::from_secs(seconds);
            self.0.update(contenders.to_vec(), frozen, self.1);
            self.0.regions().iter().map(Region::as_str).collect::<Vec<_>>().join(" ")
        }
    }

    #[test]
    fn a_challenger_leads_after_a_minute_of_being_better_by_the_margin() {
        let mut clock = Clock::new();
        assert_eq!(clock.after(0, &[contender("a", 50), contender("b", 60)], false), "a b");
        let better = [contender("a", 50), contender("b", 45)];
        assert_eq!(clock.after(1, &better, false), "a b");
        assert_eq!(clock.after(59, &better, false), "a b");
        assert_eq!(clock.after(1, &better, false), "b a");
        assert_eq!(clock.after(1, &[contender("a", 44), contender("b", 45)], false), "b a");
    }

    #[test]
    fn a_small_or_brief_improvement_does_not_change_the_leader() {
        let mut clock = Clock::new();
        clock.after(0, &[contender("a", 100), contender("b", 101)], false);
        for _ in 0..100 {
            assert_eq!(clock.after(10, &[contender("a", 100), contender("b", 91)], false), "a b");
        }
        let better = [contender("a", 100), contender("b", 50)];
        for _ in 0..100 {
            assert_eq!(clock.after(59, &better, false), "a b");
            assert_eq!(clock.after(1, &[contender("a", 100), contender("b", 99)], false), "a b");
        }
    }

    #[test]
    fn an_ineligible_leader_is_replaced_at_once() {
        let mut clock = Clock::new();
        clock.after(0, &[contender("a", 10), contender("b", 20), contender("c", 30)], false);
        assert_eq!(clock.after(1, &[contender("b", 20), contender("c", 15)], false), "c b");
    }

    #[test]
    fn a_frozen_ranking_only_loses_members() {
        let mut clock = Clock::new();
        clock.after(0, &[contender("a", 10), contender("b", 20), contender("c", 30)], false);
        let turned = [contender("a", 300), contender("b", 200), contender("c", 10)];
        assert_eq!(clock.after(1, &turned, false), "a c b");
        for _ in 0..10 {
            assert_eq!(clock.after(60, &turned, true), "a c b");
        }
        // What happened while it was frozen does not count as time of being better.
        assert_eq!(clock.after(60, &turned, false), "a c b");
        assert_eq!(clock.after(1, &[contender("b", 200), contender("c", 210)], true), "c b");
        assert_eq!(
            clock.after(1, &[contender("d", 1), contender("a", 5), contender("b", 1), contender("c", 10)], true),
            "c b d a"
        );
    }

    #[test]
    fn a_better_tier_outranks_any_score() {
        let mut clock = Clock::new();
        let tier = |name, priority, score| Contender { priority, score, ..contender(name, 0) };
        let second = tier("a", 1, Some(Duration::ZERO));
        let first = tier("b", 0, None);
        assert_eq!(clock.after(0, &[tier("a", 0, None), tier("b", 0, None)], false), "a b");
        assert_eq!(clock.after(1, &[second.clone(), first.clone()], false), "a b");
        assert_eq!(clock.after(60, &[second, first], false), "b a");
    }

    #[test]
    fn the_first_known_region_leads_until_a_better_one_is_known_and_a_returning_one_has_to_wait() {
        let mut clock = Clock::new();
        assert_eq!(clock.after(0, &[contender("far", 250)], false), "far");
        assert_eq!(clock.after(1, &[contender("far", 250), contender("mid", 70)], false), "mid far");
        // Not by the margin.
        let all = [contender("far", 250), contender("mid", 70), contender("near", 66)];
        assert_eq!(clock.after(1, &all, false), "mid near far");
        let nearer = [contender("far", 250), contender("mid", 70), contender("near", 24)];
        assert_eq!(clock.after(1, &nearer, false), "mid near far");
        assert_eq!(clock.after(60, &nearer, false), "near mid far");
        assert_eq!(clock.after(1, &nearer[..2], false), "mid far");
        assert_eq!(clock.after(1, &nearer, false), "mid near far");
        // While it is frozen, who is new waits, and is still new afterwards.
        let newest = [contender("far", 250), contender("mid", 70), contender("newest", 1)];
        assert_eq!(clock.after(1, &newest, true), "mid far newest");
        assert_eq!(clock.after(1, &newest, false), "newest mid far");
    }

    #[test]
    fn equal_regions_are_ordered_by_name() {
        assert_eq!(Clock::new().after(0, &[contender("c", 1), contender("a", 1), contender("b", 1)], false), "a b c");
    }
}
