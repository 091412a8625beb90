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

/// The tokens that were written, oldest first. Their numbers grow.
#[derive(Debug, Default)]
pub(super) struct Tokens(VecDeque<Written>);

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

    pub(super) fn acknowledged(&mut self, sequence: u64, at: Instant) {
        if let Ok(place) = self.0.binary_search_by_key(&sequence, |written| written.sequence) {
            self.0[place].acknowledged = Some(at);
        }
    }

    /// When a token was acknowledged last, of those that were sent of late.
    pub(super) fn acknowledged_at(&self) -> Option<Instant> {
        self.0.iter().rev().take(64).filter_map(|written| written.acknowledged).max()
    }

    /// How many are numbered up to this one.
    fn up_to(&self, token: u64) -> usize {
        self.0.partition_point(|written| written.sequence <= token)
    }

    /// The most that a server can be behind at `now`, which has this token: all that was made before it was sent is there.
    pub(super) fn upper(&self, token: Option<u64>, now: Instant) -> Option<Duration> {
        let last = self.up_to(token?).checked_sub(1)?;
        Some(now.saturating_duration_since(self.0[last].sent))
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
