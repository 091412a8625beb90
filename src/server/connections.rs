//! Connection table, limits and eviction.
//!
//! A connection only notes its progress. The accept loop owns the table and evicts connections that exceed a limit.
//! So every limit on time is checked in one place, by `Progress::is_overdue`, and an idle connection costs no timer.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::Notify,
    task::{AbortHandle, Id, JoinSet},
    time::Instant,
};

use super::{conn_state::ConnState, limits::Limits};

/// Counts of connections.
#[derive(Debug, Default)]
pub struct ServerStats {
    connections: AtomicUsize,
    accept_errors: AtomicU64,
    evicted: AtomicU64,
}

impl ServerStats {
    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Failed accepts since the start.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections that the server closed because of a limit since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// The open connections, at most [`Limits::max_connections`].
#[derive(Debug)]
pub(super) struct Connections {
    /// Those that are evicted but have not ended yet, too.
    tasks: JoinSet<()>,
    open: HashMap<Id, (AbortHandle, Arc<ConnState>)>,
    limits: Limits,
    stats: Arc<ServerStats>,
    room: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(limits: Limits, stats: Arc<ServerStats>) -> Self {
        Self { tasks: JoinSet::new(), open: HashMap::new(), limits, stats, room: Arc::default() }
    }

    /// Serves a connection in a task of its own.
    pub(super) fn spawn<F>(&mut self, serve: impl FnOnce(Arc<ConnState>) -> F) -> Id
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let state = Arc::new(ConnState::new(Arc::clone(&self.room)));
        let task = self.tasks.spawn(serve(Arc::clone(&state)));
        let id = task.id();
        self.open.insert(id, (task, state));
        self.count();
        id
    }

    /// Returns when a connection has ended or, if the table is full, has become idle.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            // An ended connection leaves the table before another one is evicted.
            biased;
            Some(ended) = self.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                self.open.remove(&id);
                self.count();
            }
            () = self.room.notified(), if self.is_full() => {}
            else => std::future::pending().await,
        }
    }

    fn count(&self) {
        self.stats.connections.store(self.tasks.len(), Ordering::Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn is_full(&self) -> bool {
        self.open.len() >= self.limits.max_connections
    }

    /// Counts a failed accept.
    pub(super) fn on_accept_error(&self) {
        self.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more connection may be accepted; if the table is full, evicts one that waits for a request.
    pub(super) fn evict_if_full(&mut self) -> bool {
        !self.is_full() || self.evict_oldest_idle()
    }

    /// Closes the connection that has waited longest for a request; `false` if requests are in flight on all of them.
    pub(super) fn evict_oldest_idle(&mut self) -> bool {
        let waiting = self.open.iter().map(|(id, (_, state))| (*id, state.progress()));
        let waiting = waiting.filter(|(_, progress)| progress.is_waiting());
        let oldest = waiting.min_by_key(|(_, progress)| progress.since()).map(|(id, _)| id);
        oldest.is_some_and(|id| self.evict(id))
    }

    /// Closes every connection that exceeds a limit on time.
    pub(super) fn evict_overdue(&mut self, now: Instant) {
        let overdue = self.open.iter().filter(|(_, (_, state))| state.progress().is_overdue(now, &self.limits));
        let overdue: Vec<_> = overdue.map(|(id, _)| *id).collect();
        for id in overdue {
            self.evict(id);
        }
    }

    fn evict(&mut self, id: Id) -> bool {
        let Some((task, state)) = self.open.remove(&id) else { return false };
        tracing::debug!(connection = %id, progress = ?state.progress(), "connection evicted");
        task.abort();
        self.stats.evicted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Closes every connection that waits for a request, at shutdown.
    pub(super) fn close_waiting(&self) {
        for (task, _) in self.open.values().filter(|(_, state)| state.progress().is_waiting()) {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn connections(max_connections: usize) -> Connections {
        Connections::new(Limits { max_connections, ..Limits::default() }, Arc::default())
    }

    fn open(all: &mut Connections) -> (Id, Arc<ConnState>) {
        let id = all.spawn(|_| std::future::pending());
        (id, Arc::clone(&all.open[&id].1))
    }

    #[tokio::test(start_paused = true)]
    async fn when_full_the_oldest_waiting_connection_is_evicted_and_never_one_in_flight() {
        let mut all = connections(2);
        let (_, busy) = open(&mut all);
        let in_flight = busy.on_request();
        pass(1).await;
        let (waiting, _) = open(&mut all);
        assert!(all.evict_if_full());
        assert!(!all.open.contains_key(&waiting));
        all.changed().await;
        assert_eq!((all.tasks.len(), all.stats.connections()), (1, 1), "its task has ended");
        let (_, other) = open(&mut all);
        let second = other.on_request();
        assert!(!all.evict_if_full(), "both are being answered");
        drop(in_flight);
        assert!(!all.evict_if_full(), "the last bytes are still to be written");
        busy.on_flush();
        all.changed().await;
        assert!(all.evict_if_full());
        assert!(all.open.values().all(|(_, state)| Arc::ptr_eq(state, &other)));
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn trickling_bytes_do_not_extend_the_head_timeout() {
        let mut all = connections(2);
        let (_, state) = open(&mut all);
        for _ in 0..10 {
            pass(1).await;
            state.on_read();
            all.evict_overdue(Instant::now());
        }
        assert_eq!(all.open.len(), 1, "10 s are allowed");
        pass(1).await;
        all.evict_overdue(Instant::now());
        assert_eq!(all.open.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_is_evicted_if_it_stalls_or_exceeds_its_timeout() {
        let mut all = connections(2);
        let (_, stalled) = open(&mut all);
        let _stalled_in_flight = stalled.on_request();
        let (_, moving) = open(&mut all);
        let _moving_in_flight = moving.on_request();
        for _ in 0..31 {
            pass(1).await;
            moving.on_write();
            all.evict_overdue(Instant::now());
        }
        assert_eq!(all.open.len(), 1, "only the one that moves is left");
        for _ in 0..90 {
            pass(1).await;
            moving.on_write();
            all.evict_overdue(Instant::now());
        }
        assert_eq!(all.open.len(), 0);
    }
}
