//! Who is connected, how far each one is, and who has to go.
//!
//! A connection only notes what happens to it; the accept loop looks at all of them now and then and cuts the
//! overdue ones. So every limit on time is decided in one place, by `Progress::is_overdue`, and an idle
//! connection costs no timer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Limits,
    progress::{Slot, locked},
};

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
        let slot = Arc::new(Slot::new(Arc::clone(&self.room)));
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
            .map(|(id, slot)| (*id, slot.progress()))
            .filter(|(_, progress)| progress.is_waiting())
            .min_by_key(|(_, progress)| progress.since())
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
        tracing::debug!(connection = id, progress = ?slot.progress(), "connection cut");
        slot.cut();
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
        waiting.slot().is_cut().await;
        drop(waiting);
        let other = all.admit();
        let second = other.slot().request();
        assert!(!all.make_room(), "both are being answered");
        drop(answering);
        assert!(!all.make_room(), "the last bytes are still to be written");
        busy.slot().flushed();
        assert!(all.make_room());
        busy.slot().is_cut().await;
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
