//! One moment on both clocks.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::UnixMillis;

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The monotonic clock, by which everything is decided.
    pub instant: Instant,
    /// The wall clock, for people.
    pub unix: UnixMillis,
}

impl Now {
    /// An earlier or later moment on the wall clock.
    pub fn unix_at(self, instant: Instant) -> UnixMillis {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let before = millis(self.instant.saturating_duration_since(instant));
        let after = millis(instant.saturating_duration_since(self.instant));
        UnixMillis(self.unix.0.saturating_sub(before).saturating_add(after))
    }
}
