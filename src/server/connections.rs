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
    progress::{ConnState, locked},
};

/// What the server is bearing now; for tests and for whoever watches the watcher.
#[derive(Debug, Default)]
pub struct ServerStats {
    connections: AtomicUsize,
    accept_errors: AtomicU64,
    evicted: AtomicU64,
}

impl ServerStats {
    /// Connections whose task is alive.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Failed accepts since the start.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections that the server closed for a limit since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// Every open connection, at most [`Limits::connections`] of them.
#[derive(Debug)]
pub(super) struct Connections {
    states: Mutex<HashMap<u64, Arc<ConnState>>>,
    next: AtomicU64,
    limits: Limits,
    stats: Arc<ServerStats>,
    room: Arc<Notify>,
    stopping: watch::Sender<bool>,
}

impl Connections {
    pub(super) fn new(limits: Limits, stats: Arc<ServerStats>) -> Arc<Self> {
        Arc::new(Self {
            states: Mutex::default(),
            next: AtomicU64::new(0),
            limits,
            stats,
            room: Arc::default(),
            stopping: watch::Sender::new(false),
        })
    }

    fn states(&self) -> MutexGuard<'_, HashMap<u64, Arc<ConnState>>> {
        locked(&self.states)
    }

    /// Takes a connection in; it counts until the guard is dropped or it is cut.
    pub(super) fn admit(self: &Arc<Self>) -> ConnGuard {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(ConnState::new(Arc::clone(&self.room)));
        self.states().insert(id, Arc::clone(&state));
        self.stats.connections.fetch_add(1, Ordering::Relaxed);
        ConnGuard { id, state, connections: Arc::clone(self) }
    }

    /// Counts a failed accept.
    pub(super) fn accept_failed(&self) {
        self.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more connection may be taken in; closes the one that waits longest where that is needed.
    pub(super) fn evict_if_full(&self) -> bool {
        self.states().len() < self.limits.max_connections || self.evict_oldest_idle()
    }

    /// Returns when [`Self::evict_if_full`] is worth another try.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    /// Closes the connection that has been waiting for a request longest; `false` where all are being answered.
    pub(super) fn evict_oldest_idle(&self) -> bool {
        let mut states = self.states();
        let longest = states
            .iter()
            .map(|(id, state)| (*id, state.progress()))
            .filter(|(_, progress)| progress.is_waiting())
            .min_by_key(|(_, progress)| progress.since())
            .map(|(id, _)| id);
        longest.is_some_and(|id| self.cut(&mut states, id))
    }

    /// Closes every connection that is over one of its limits.
    pub(super) fn sweep(&self, now: Instant) {
        let mut states = self.states();
        let overdue: Vec<u64> = states
            .iter()
            .filter(|(_, state)| state.progress().is_overdue(now, &self.limits))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            self.cut(&mut states, id);
        }
    }

    fn cut(&self, states: &mut HashMap<u64, Arc<ConnState>>, id: u64) -> bool {
        let Some(state) = states.remove(&id) else { return false };
        tracing::debug!(connection = id, progress = ?state.progress(), "connection cut");
        state.cut();
        self.stats.evicted.fetch_add(1, Ordering::Relaxed);
        self.room.notify_one();
        true
    }

    /// Whether no connection's task is alive.
    pub(super) fn is_empty(&self) -> bool {
        self.stats.connections() == 0
    }

    /// Tells every connection to end after the answer it is giving.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// One connection's place among the others.
#[derive(Debug)]
pub(super) struct ConnGuard {
    id: u64,
    state: Arc<ConnState>,
    connections: Arc<Connections>,
}

impl ConnGuard {
    pub(super) fn state(&self) -> &Arc<ConnState> {
        &self.state
    }

    /// Turns true when the server ends.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.connections.stopping.subscribe()
    }
}

impl Drop for ConnGuard {
    fn drop(&mut self) {
        self.connections.states().remove(&self.id);
        self.connections.stats.connections.fetch_sub(1, Ordering::Relaxed);
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
        Connections::new(Limits { max_connections: cap, ..Limits::default() }, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_cap_the_longest_waiting_goes_and_never_one_that_is_answered() {
        let all = connections(2);
        let busy = all.admit();
        let in_flight = busy.state().request();
        pass(1).await;
        let waiting = all.admit();
        assert!(all.evict_if_full());
        waiting.state().is_cut().await;
        drop(waiting);
        let other = all.admit();
        let second = other.state().request();
        assert!(!all.evict_if_full(), "both are being answered");
        drop(in_flight);
        assert!(!all.evict_if_full(), "the last bytes are still to be written");
        busy.state().flushed();
        assert!(all.evict_if_full());
        busy.state().is_cut().await;
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_does_not_extend_the_time_for_a_head() {
        let all = connections(2);
        let guard = all.admit();
        for _ in 0..10 {
            pass(1).await;
            guard.state().read();
            all.sweep(Instant::now());
        }
        assert_eq!(all.states().len(), 1, "10 s are allowed");
        pass(1).await;
        all.sweep(Instant::now());
        assert_eq!(all.states().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_cut_for_standing_still_and_for_lasting_too_long() {
        let all = connections(2);
        let still = all.admit();
        let _answering = still.state().request();
        let moving = all.admit();
        let _moving_answering = moving.state().request();
        for _ in 0..31 {
            pass(1).await;
            moving.state().wrote();
            all.sweep(Instant::now());
        }
        assert_eq!(all.states().len(), 1, "only the one that moves is left");
        for _ in 0..90 {
            pass(1).await;
            moving.state().wrote();
            all.sweep(Instant::now());
        }
        assert_eq!(all.states().len(), 0);
    }
}
