//! How far one connection is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{sync::Notify, time::Instant};

use super::Limits;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of the next request has arrived.
    Idle,
    /// The head of a request is awaited or arriving. A new connection starts here: who connects has to speak.
    Head,
    /// A request is being answered.
    Answer,
    /// The answer is complete, its last bytes are not written yet.
    Flush,
}

/// A stage and its times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    stage: Stage,
    /// Since when the stage lasts; `Flush` keeps the start of its answer.
    since: Instant,
    /// When the last bytes of an answer were taken by the kernel.
    wrote: Instant,
}

impl Progress {
    /// Whether no request is being answered.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Idle | Stage::Head)
    }

    /// Since when its stage lasts.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether one of the limits on time is over.
    pub(super) fn is_overdue(&self, now: Instant, limits: &Limits) -> bool {
        let lasted = now.saturating_duration_since(self.since);
        match self.stage {
            Stage::Idle => lasted > limits.idle_timeout,
            Stage::Head => lasted > limits.head_timeout,
            Stage::Answer | Stage::Flush => {
                lasted > limits.response_timeout || now.saturating_duration_since(self.wrote) > limits.stall_timeout
            }
        }
    }
}

/// What one connection tells about itself.
#[derive(Debug)]
pub(super) struct ConnState {
    progress: Mutex<Progress>,
    cut: Notify,
    /// Rung when room may have come up; shared by all states.
    room: Arc<Notify>,
}

impl ConnState {
    /// A state of a connection that has just been opened; `room` is rung when it becomes idle.
    pub(super) fn new(room: Arc<Notify>) -> Self {
        let now = Instant::now();
        let progress = Progress { stage: Stage::Head, since: now, wrote: now };
        Self { progress: Mutex::new(progress), cut: Notify::new(), room }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        locked(&self.progress)
    }

    /// How far the connection is now.
    pub(super) fn progress(&self) -> Progress {
        *self.lock()
    }

    /// Bytes arrived.
    pub(super) fn read(&self) {
        let mut progress = self.lock();
        if progress.stage == Stage::Idle {
            (progress.stage, progress.since) = (Stage::Head, Instant::now());
        }
    }

    /// Bytes left.
    pub(super) fn wrote(&self) {
        self.lock().wrote = Instant::now();
    }

    /// A whole request head has arrived; the answer lasts until what is returned is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        let now = Instant::now();
        *self.lock() = Progress { stage: Stage::Answer, since: now, wrote: now };
        InFlight(Arc::clone(self))
    }

    /// Everything written so far has been taken by the kernel.
    pub(super) fn flushed(&self) {
        let mut progress = self.lock();
        if progress.stage == Stage::Flush {
            (progress.stage, progress.since) = (Stage::Idle, Instant::now());
            self.room.notify_one();
        }
    }

    /// Closes the connection.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Returns when the server has decided to close the connection.
    pub(super) async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

/// An answer that is not complete yet; lives in its body.
#[derive(Debug)]
pub(super) struct InFlight(Arc<ConnState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        if progress.stage == Stage::Answer {
            progress.stage = Stage::Flush;
        }
    }
}

// A panic ends the process in a release build, so a poisoned lock is seen in tests only, where the panic is told.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
