//! How far the clock of a peer is from the own one, by the time in its vote messages. It is shown, so that people correct the
//! clock. Only the ends of operators' statements depend on it.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{decision::Now, model::UnixMillis};

/// Measurements that are compared. That with the shortest round trip is the most exact one, as in NTP.
const COMPARED: usize = 8;

/// How long a measurement is of use.
const MAX_AGE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Measured {
    at: Instant,
    round_trip: Duration,
    /// In seconds.
    offset: f64,
}

/// The offset of one clock.
#[derive(Debug, Clone, Default)]
pub struct ClockOffset {
    measured: VecDeque<Measured>,
}

impl ClockOffset {
    /// Takes the time that a message has, which was written between its request and its receipt.
    pub fn on_message(&mut self, time: UnixMillis, requested_at: Instant, received_at: Instant, now: Now) {
        let round_trip = received_at.saturating_duration_since(requested_at);
        let middle = now.unix_at(requested_at + round_trip / 2);
        let offset = (time.0 as f64 - middle.0 as f64) / 1e3;
        if self.measured.len() == COMPARED {
            self.measured.pop_front();
        }
        self.measured.push_back(Measured { at: received_at, round_trip, offset });
    }

    /// How many seconds the clock is ahead, to half of the round trip; negative if it is behind. `None` if no message came
    /// of late.
    pub fn seconds(&self, now: Instant) -> Option<f64> {
        let fresh = self.measured.iter().filter(|measured| now.saturating_duration_since(measured.at) <= MAX_AGE);
        fresh.min_by_key(|measured| measured.round_trip).map(|best| best.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_offset_is_that_of_the_shortest_round_trip_of_late() {
        let now = Now { instant: Instant::now() + Duration::from_secs(100), unix: UnixMillis(1_700_000_000_000) };
        let mut offset = ClockOffset::default();
        assert_eq!(offset.seconds(now.instant), None);
        let mut answers = |ahead: i64, there: u32, back: u32, at: Instant| {
            let time = now.unix_at(at).0.saturating_add_signed(ahead);
            offset.on_message(UnixMillis(time), at - MS * there, at + MS * back, now);
            offset.seconds(now.instant)
        };
        let at = now.instant - MS * 5_000;
        assert_eq!(answers(-10_800_000, 50, 50, at), Some(-10_800.0));
        // A slow answer is less exact, and changes nothing.
        assert_eq!(answers(-10_800_000, 50, 1_950, at), Some(-10_800.0));
        assert_eq!(answers(3_000, 10, 10, at), Some(3.0), "the clock was set");
        for _ in 0..COMPARED {
            answers(0, 100, 100, at);
        }
        assert_eq!(offset.seconds(now.instant), Some(0.0));
        assert_eq!(offset.seconds(now.instant + MAX_AGE), None, "unknown, and not the last one");
    }
}
