//! What the schedule reports.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::{CertificateDates, FailureContext, PathId, Sample};

/// What the schedule and its probes report to the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
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
        /// When the certificates are valid that the peer has shown, also if it failed.
        certificate: Option<CertificateDates>,
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
