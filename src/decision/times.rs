//! What time it is for operators' statements: no clock of one vantage may end early what forbids a failover.

use std::time::Duration;

use tokio::time::Instant;

use super::Now;
use crate::model::UnixMillis;

/// How far clocks may differ and still count as one, as for the alert about them.
const CLOCKS_AGREE: Duration = Duration::from_secs(2);

/// One moment by the monotonic clock, and between which times it is by the wall clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) instant: Instant,
    /// By the clock of this vantage.
    pub(super) own: UnixMillis,
    /// The earlier and the later of the own clock and of the middle one of all clocks.
    pub(super) earliest: UnixMillis,
    pub(super) latest: UnixMillis,
}

impl Times {
    /// The clocks of the other vantages are ahead by these many milliseconds.
    pub(super) fn new(now: Now, offsets: impl Iterator<Item = i64>) -> Self {
        // The middle one, so that one wrong clock, or a lie about one, moves nothing. Of two, it is unknown which is right.
        let mut all: Vec<_> = offsets.chain([0]).collect();
        all.sort_unstable();
        let agrees = CLOCKS_AGREE.as_millis() as u64;
        let is_wrong = |offset: &i64| offset.unsigned_abs() > agrees;
        let by = |offset: i64| UnixMillis(now.unix.0.saturating_add_signed(Some(offset).filter(is_wrong).unwrap_or(0)));
        let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
        Self { instant: now.instant, own: now.unix, earliest: by(low.min(0)), latest: by(high.max(0)) }
    }

    /// Whether the own clock may be ahead.
    pub(super) fn is_ahead(&self) -> bool {
        self.earliest < self.own
    }

    /// Whether the own clock may be behind.
    pub(super) fn is_behind(&self) -> bool {
        self.latest > self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn the_middle_of_all_clocks_counts_and_of_two_each_for_what_it_forbids() {
        let now = Now { instant: Instant::now(), unix: UnixMillis(1_700_000_000_000) };
        for (offsets, earlier, later) in [
            (&[][..], 0, 0),
            (&[-2_000, 1_999], 0, 0),
            (&[-HOUR], HOUR, 0),
            (&[HOUR], 0, HOUR),
            (&[-HOUR, -HOUR, -HOUR], HOUR, 0),
            (&[-HOUR, -HOUR + 5, 900 * HOUR], HOUR - 5, 0),
            (&[-HOUR, -HOUR, -HOUR, 900 * HOUR], HOUR, 0),
            (&[0, 5, -HOUR], 0, 0),
            (&[0, 5, 7, i64::MIN, i64::MAX], 0, 0),
        ] {
            let times = Times::new(now, offsets.iter().copied());
            let found = (now.unix.0 - times.earliest.0, times.latest.0 - now.unix.0);
            assert_eq!(found, (earlier as u64, later as u64), "{offsets:?}");
        }
    }
}
