//! When the tokens of this process were sent and acknowledged.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How many may be remembered before the older ones are thinned out.
const REMEMBERED: usize = 1024;

/// Of tokens that are so many behind the newest, all are remembered; of those twice as far behind every second one, and so on. So
/// a lag is known to within some percent, however long it lasts.
const ALL: u64 = 128;

#[derive(Debug, Clone, Copy)]
struct Written {
    sequence: u64,
    sent: Instant,
    acknowledged: Option<Instant>,
}

/// How many runs of acknowledged tokens are remembered, of which each write that fails ends one.
const RUNS: usize = 256;

/// The tokens that were written, oldest first. Their numbers grow.
#[derive(Debug, Default)]
pub(super) struct Tokens(VecDeque<Written>, Runs);

/// The numbers of all tokens that were acknowledged, as runs without a gap, first and last, oldest first. So they can be counted
/// exactly, however many there are.
#[derive(Debug, Default)]
struct Runs(VecDeque<(u64, u64)>);

impl Runs {
    fn add(&mut self, sequence: u64) {
        let place = self.0.partition_point(|(first, _)| *first <= sequence);
        let before = place.checked_sub(1).filter(|before| self.0[*before].1.saturating_add(1) >= sequence);
        let after = self.0.get(place).is_some_and(|(first, _)| *first == sequence + 1);
        match (before, after) {
            (Some(before), true) => {
                self.0[before].1 = self.0[place].1;
                self.0.remove(place);
            }
            (Some(before), false) => self.0[before].1 = self.0[before].1.max(sequence),
            (None, true) => self.0[place].0 = sequence,
            (None, false) => self.0.insert(place, (sequence, sequence)),
        }
        if self.0.len() > RUNS {
            self.0.pop_front();
        }
    }

    /// How many are later than this one.
    fn later(&self, token: u64) -> u64 {
        let later = self.0.iter().rev().take_while(|(_, last)| *last > token);
        later.map(|(first, last)| last - (*first).max(token + 1) + 1).sum()
    }

    /// Forgets all that are later than this one.
    fn cut(&mut self, token: u64) {
        self.0.retain(|(first, _)| *first <= token);
        if let Some((_, last)) = self.0.back_mut() {
            *last = (*last).min(token);
        }
    }
}

/// A token that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) sent: Instant,
    pub(super) at: Instant,
}

impl Tokens {
    pub(super) fn sent(&mut self, sequence: u64, at: Instant) {
        if self.0.back().is_some_and(|last| last.sequence >= sequence) {
            return;
        }
        if self.0.len() >= REMEMBERED {
            let first = self.0.front().map(|first| first.sequence);
            self.0.retain(|Written { sequence: old, .. }| {
                let step = ((sequence - old) / ALL).next_power_of_two();
                old % step == 0 || Some(*old) == first
            });
        }
        self.0.push_back(Written { sequence, sent: at, acknowledged: None });
    }

    /// Takes the acknowledgement of a token that was sent.
    pub(super) fn acknowledged(&mut self, sequence: u64, at: Instant) {
        self.1.add(sequence);
        if let Ok(place) = self.0.binary_search_by_key(&sequence, |written| written.sequence) {
            self.0[place].acknowledged = Some(at);
        }
    }

    /// When a token was acknowledged last, of those that were sent of late.
    pub(super) fn acknowledged_at(&self) -> Option<Instant> {
        self.0.iter().rev().take(64).filter_map(|written| written.acknowledged).max()
    }

    /// The newest token that was acknowledged.
    pub(super) fn newest(&self) -> Option<Acknowledged> {
        let mut newest = self.0.iter().rev();
        newest.find_map(|written| Some(Acknowledged { sent: written.sent, at: written.acknowledged? }))
    }

    /// When this token was sent, or the last one before it that is remembered.
    pub(super) fn sent_at(&self, token: u64) -> Option<Instant> {
        Some(self.0[self.up_to(token).checked_sub(1)?].sent)
    }

    /// How many tokens were acknowledged and are later than this one.
    pub(super) fn later(&self, token: u64) -> u64 {
        self.1.later(token)
    }

    /// Forgets the tokens that are later than this one: they are lost. Those from `next` on were sent to the new primary.
    pub(super) fn lose(&mut self, token: u64, next: u64) {
        self.0.retain(|written| written.sequence <= token || written.sequence >= next);
        self.1.cut(token);
    }

    /// How many are numbered up to this one.
    fn up_to(&self, token: u64) -> usize {
        self.0.partition_point(|written| written.sequence <= token)
    }

    /// The most that a server can be behind at `now`, which has this token: all that was made before it was sent is there.
    pub(super) fn upper(&self, token: Option<u64>, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.sent_at(token?)?))
    }

    /// The least that it must be behind at `now`: a later token, or any if it has none, was acknowledged and is missing.
    pub(super) fn lower(&self, token: Option<u64>, now: Instant) -> Option<Duration> {
        if self.0.is_empty() {
            return None;
        }
        let missing = self.0.iter().skip(token.map_or(0, |token| self.up_to(token)));
        // They are acknowledged in about the order in which they were sent.
        let acknowledged = missing.filter_map(|written| written.acknowledged).take(16).min();
        Some(acknowledged.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_tokens_are_counted_exactly_in_whatever_order_they_come() {
        let mut tokens = Tokens::default();
        for sequence in (1..=2_000).filter(|sequence| sequence % 100 != 0) {
            tokens.acknowledged(if sequence % 2 == 0 { sequence - 1 } else { sequence + 1 }, Instant::now());
        }
        let acknowledged: std::collections::BTreeSet<u64> =
            tokens.1.0.iter().flat_map(|(first, last)| *first..=*last).collect();
        assert!(tokens.1.0.len() <= 21, "{:?}", tokens.1.0);
        for token in [0, 1, 99, 100, 101, 1_500, 1_999, 2_000, 9_999] {
            assert_eq!(tokens.later(token), acknowledged.range(token + 1..).count() as u64, "{token}");
        }
        tokens.lose(1_500, 9_999);
        assert_eq!((tokens.later(1_400), tokens.later(1_500)), (acknowledged.range(1_401..=1_500).count() as u64, 0));
    }

    #[test]
    fn hours_are_remembered_in_little_memory() {
        let (mut tokens, start) = (Tokens::default(), Instant::now());
        for second in 0..20_000 {
            let at = start + Duration::from_secs(second);
            tokens.sent(second + 1, at);
            tokens.acknowledged(second + 1, at + Duration::from_millis(5));
        }
        assert!(tokens.0.len() <= REMEMBERED, "{}", tokens.0.len());
        let now = start + Duration::from_secs(20_000);
        // The oldest change that is missing is at most one interval after the token that is there.
        for (token, behind) in [(1, 20_000), (5_000, 15_001), (19_990, 11)] {
            let (lower, upper) = (tokens.lower(Some(token), now).unwrap(), tokens.upper(Some(token), now).unwrap());
            let truth = Duration::from_secs(behind);
            assert!(lower <= truth && truth <= upper, "{token}: {lower:?} {upper:?}");
            assert!(upper - lower < Duration::from_secs(2) + truth / 25, "{token}: {lower:?} {upper:?}");
        }
    }
}
