//! What the schedule reports.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::{FailureContext, PathId, PeerFacts, Sample};

/// What the schedule and its probes report to the engine.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every event is a sample, and a box would be an allocation for each"
)]
pub enum Event {
    /// A probe has ended.
    Sampled {
        /// What was measured.
        sample: Sample,
        /// From the scheduled to the actual start.
        start_delay: Duration,
        /// Answers to earlier probes that arrived after their deadlines.
        late: u32,
        /// Duplicate answers.
        duplicates: u32,
        /// Of what it failed; of a success, what is odd about it.
        failed: FailureContext,
        /// What the peer has shown, also if the probe failed.
        facts: PeerFacts,
    },
    /// A probe has waited longer than its path's [`OverdueAfter`](super::OverdueAfter), and continues until its deadline.
    Overdue {
        /// Its path.
        path: PathId,
        /// When it began.
        sent_at: Instant,
    },
    /// An answer has arrived for a probe that was reported as failed.
    Late {
        /// Its path.
        path: PathId,
    },
    /// The wall clock was set during a probe, so its result was discarded.
    ClockStepped {
        /// Its path.
        path: PathId,
    },
    /// No probe could start in time at some slots.
    SlotsMissed {
        /// Their path.
        path: PathId,
        /// How many.
        count: u64,
    },
}
