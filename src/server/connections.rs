//! Who is connected, how far each one is, and who has to go.
//!
//! A connection only notes what happens to it; the accept loop looks at all of them now and then and cuts the
//! overdue ones. So every limit on time is decided in one place, by [`Progress::is_overdue`], and an idle
//! connection costs no timer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::Limits;

/// What the server is bearing now; for tests and for whoever watches the watcher.
#[derive(Debug, Default)]
pub struct Load {
    connections: AtomicUsize,
    accept_errors: AtomicU64,
    cut: AtomicU64,
}

impl Load {
    /// Connections whose task is alive.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Failed accepts since the start.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections that the server closed for a limit since the start.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }
}

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

#[derive(Debug, Clone, Copy)]
struct Progress {
    stage: Stage,
    /// Since when the stage lasts; `Flush` keeps the start of its answer.
    since: Instant,
    /// When the last bytes of an answer were taken by the kernel.
    wrote: Instant,
}

impl Progress {
    fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Idle | Stage::Head)
    }

    fn is_overdue(&self, now: Instant, limits: &Limits) -> bool {
        let lasted = now.saturating_duration_since(self.since);
        match self.stage {
            Stage::Idle => lasted > limits.idle,
            Stage::Head => lasted > limits.head,
            Stage::Answer | Stage::Flush => {
                lasted > limits.answer || now.saturating_duration_since(self.wrote) > limits.stall
            }
        }
    }
}

/// What one connection tells about itself.
#[derive(Debug)]
pub(super) struct Slot {
    progress: Mutex<Progress>,
    cut: Notify,
    /// Rung when room may have come up; shared by all slots.
    room: Arc<Notify>,
}

impl Slot {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        locked(&self.progress)
    }

    /// Bytes arrived.
    pub(super) fn read(&self) {
        let mut progress = self.progress();
        if progress.stage == Stage::Idle {
            (progress.stage, progress.since) = (Stage::Head, Instant::now());
        }
    }

    /// Bytes left.
    pub(super) fn wrote(&self) {
        self.progress().wrote = Instant::now();
    }

    /// A whole request head has arrived; the answer lasts until what is returned is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Answering {
        let now = Instant::now();
        *self.progress() = Progress { stage: Stage::Answer, since: now, wrote: now };
        Answering(Arc::clone(self))
    }

    /// Everything written so far has been taken by the kernel.
    pub(super) fn flushed(&self) {
        let mut progress = self.progress();
        if progress.stage == Stage::Flush {
            (progress.stage, progress.since) = (Stage::Idle, Instant::now());
            self.room.notify_one();
        }
    }

    /// Whether no request is being answered.
    pub(super) fn is_waiting(&self) -> bool {
        self.progress().is_waiting()
    }

    /// Returns when the server has decided to close the connection.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

/// An answer that is not complete yet; lives in its body.
#[derive(Debug)]
pub(super) struct Answering(Arc<Slot>);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut progress = self.0.progress();
        if progress.stage == Stage::Answer {
            progress.stage = Stage::Flush;
        }
    }
}

/// Every open connection, at most [`Limits::connections`] of them.
#[derive(Debug)]
pub(super) struct Connections {
    slots: Mutex<HashMap<u64, Arc<Slot>>>,
    next: AtomicU64,
    limits: Limits,
    load: Arc<Load>,
    room: Arc<Notify>,
    stopping: watch::Sender<bool>,
}

impl Connections {
    pub(super) fn new(limits: Limits, load: Arc<Load>) -> Arc<Self> {
        Arc::new(Self {
            slots: Mutex::default(),
            next: AtomicU64::new(0),
            limits,
            load,
            room: Arc::default(),
            stopping: watch::Sender::new(false),
        })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<u64, Arc<Slot>>> {
        locked(&self.slots)
    }

    /// Takes a connection in; it counts until the ticket is dropped or it is cut.
    pub(super) fn admit(self: &Arc<Self>) -> Ticket {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let slot = Arc::new(Slot {
            progress: Mutex::new(Progress { stage: Stage::Head, since: now, wrote: now }),
            cut: Notify::new(),
            room: Arc::clone(&self.room),
        });
        self.slots().insert(id, Arc::clone(&slot));
        self.load.connections.fetch_add(1, Ordering::Relaxed);
        Ticket { id, slot, connections: Arc::clone(self) }
    }

    /// Counts a failed accept.
    pub(super) fn accept_failed(&self) {
        self.load.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more connection may be taken in; closes the one that waits longest where that is needed.
    pub(super) fn make_room(&self) -> bool {
        self.slots().len() < self.limits.connections || self.cut_longest_waiting()
    }

    /// Returns when [`Self::make_room`] is worth another try.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    /// Closes the connection that has been waiting for a request longest; `false` where all are being answered.
    pub(super) fn cut_longest_waiting(&self) -> bool {
        let mut slots = self.slots();
        let longest = slots
            .iter()
            .map(|(id, slot)| (*id, *slot.progress()))
            .filter(|(_, progress)| progress.is_waiting())
            .min_by_key(|(_, progress)| progress.since)
            .map(|(id, _)| id);
        longest.is_some_and(|id| self.cut(&mut slots, id))
    }

    /// Closes every connection that is over one of its limits.
    pub(super) fn sweep(&self, now: Instant) {
        let mut slots = self.slots();
        let overdue: Vec<u64> =
            slots.iter().filter(|(_, slot)| slot.progress().is_overdue(now, &self.limits)).map(|(id, _)| *id).collect();
        for id in overdue {
            self.cut(&mut slots, id);
        }
    }

    fn cut(&self, slots: &mut HashMap<u64, Arc<Slot>>, id: u64) -> bool {
        let Some(slot) = slots.remove(&id) else { return false };
        tracing::debug!(connection = id, progress = ?*slot.progress(), "connection cut");
        slot.cut.notify_one();
        self.load.cut.fetch_add(1, Ordering::Relaxed);
        self.room.notify_one();
        true
    }

    /// Whether no connection's task is alive.
    pub(super) fn is_empty(&self) -> bool {
        self.load.connections() == 0
    }

    /// Tells every connection to end after the answer it is giving.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// One connection's place among the others.
#[derive(Debug)]
pub(super) struct Ticket {
    id: u64,
    slot: Arc<Slot>,
    connections: Arc<Connections>,
}

impl Ticket {
    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Turns true when the server ends.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.connections.stopping.subscribe()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.connections.slots().remove(&self.id);
        self.connections.load.connections.fetch_sub(1, Ordering::Relaxed);
        self.connections.room.notify_one();
    }
}

// A panic ends the process in a release build, so a poisoned lock is seen in tests only, where the panic is told.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn connections(cap: usize) -> Arc<Connections> {
        Connections::new(Limits { connections: cap, ..Limits::default() }, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_cap_the_longest_waiting_goes_and_never_one_that_is_answered() {
        let all = connections(2);
        let busy = all.admit();
        let answering = busy.slot().request();
        pass(1).await;
        let waiting = all.admit();
        assert!(all.make_room());
        waiting.slot().cut().await;
        drop(waiting);
        let other = all.admit();
        let second = other.slot().request();
        assert!(!all.make_room(), "both are being answered");
        drop(answering);
        assert!(!all.make_room(), "the last bytes are still to be written");
        busy.slot().flushed();
        assert!(all.make_room());
        busy.slot().cut().await;
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_does_not_extend_the_time_for_a_head() {
        let all = connections(2);
        let ticket = all.admit();
        for _ in 0..10 {
            pass(1).await;
            ticket.slot().read();
            all.sweep(Instant::now());
        }
        assert_eq!(all.slots().len(), 1, "10 s are allowed");
        pass(1).await;
        all.sweep(Instant::now());
        assert_eq!(all.slots().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_cut_for_standing_still_and_for_lasting_too_long() {
        let all = connections(2);
        let still = all.admit();
        let _answering = still.slot().request();
        let moving = all.admit();
        let _moving_answering = moving.slot().request();
        for _ in 0..31 {
            pass(1).await;
            moving.slot().wrote();
            all.sweep(Instant::now());
        }
        assert_eq!(all.slots().len(), 1, "only the one that moves is left");
        for _ in 0..90 {
            pass(1).await;
            moving.slot().wrote();
            all.sweep(Instant::now());
        }
        assert_eq!(all.slots().len(), 0);
    }
}
