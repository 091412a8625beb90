//! Connection table, limits and eviction.
//!
//! A connection only notes its progress. The accept loop owns the table and evicts connections that exceed a limit.
//! So every limit on time is checked in one place, by `Progress::is_overdue`, and an idle connection costs no timer.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    task::{AbortHandle, Id, JoinSet},
    time::Instant,
};

use super::{
    client::Client,
    conn_state::{ConnState, Progress, Signals},
    limits::Limits,
    share::{REGULARS, Share},
};

/// Counts of connections.
#[derive(Debug, Default)]
pub struct ServerStats {
    connections: AtomicUsize,
    accept_errors: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
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

    /// Connections that were closed before anything was read of them since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
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
    signals: Arc<Signals>,
    share: Arc<Share>,
}

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// There is room, or has been made.
    Admitted,
    /// It waits until a request in flight is answered.
    Waits,
    /// It is closed: others of its address are being answered, and have all the room that it may have.
    Refused,
}

impl Connections {
    pub(super) fn new(limits: Limits, stats: Arc<ServerStats>, signals: Arc<Signals>, share: Arc<Share>) -> Self {
        Self { tasks: JoinSet::new(), open: HashMap::new(), limits, stats, signals, share }
    }

    /// Whether a new connection is served: strangers have a bounded share of accepts.
    pub(super) fn is_welcome(&self, client: Client, now: Instant) -> bool {
        let welcome = client.trusted || self.share.admits(client.group, now);
        if !welcome {
            self.stats.refused.fetch_add(1, Ordering::Relaxed);
        }
        welcome
    }

    /// Serves a connection in a task of its own, a stranger's with what strangers have of the CPU.
    pub(super) fn spawn<F>(&mut self, client: Client, serve: impl FnOnce(Arc<ConnState>) -> F) -> Id
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (signals, share) = (Arc::clone(&self.signals), Arc::clone(&self.share));
        let state = Arc::new(ConnState::new(client, signals, share, self.limits.max_unread));
        let served = serve(Arc::clone(&state));
        let task = match client.trusted {
            true => self.tasks.spawn(served),
            false => self.tasks.spawn(Arc::clone(&self.share).metered(client.group, served)),
        };
        let id = task.id();
        self.open.insert(id, (task, state));
        self.count();
        id
    }

    /// Returns when a connection has ended or, if the table is full, has become idle. Relieves the pressure of responses
    /// that are not read.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            // An ended connection leaves the table before another one is evicted.
            biased;
            Some(ended) = self.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                self.open.remove(&id);
                self.count();
            }
            () = self.signals.room.notified(), if self.is_full() => {}
            () = self.signals.pressure.notified() => {
                self.evict_most_stalled();
            }
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

    fn is_full_for_strangers(&self) -> bool {
        let strangers = self.strangers().count();
        strangers + self.limits.reserved >= self.limits.max_connections
    }

    fn strangers(&self) -> impl Iterator<Item = (Id, Client, Progress)> {
        let all = self.open.iter().map(|(id, (_, state))| (*id, state.client(), state.progress()));
        all.filter(|(_, client, _)| !client.trusted)
    }

    /// Counts a failed accept.
    pub(super) fn on_accept_error(&self) {
        self.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes room for a connection of this client, if there is none.
    ///
    /// Strangers share what is not reserved for this host and known vantages: the address with the most connections gives
    /// one up, first one that waits for a request, then the one whose client has read nothing for longest. So many
    /// connections from one place cost only that place.
    pub(super) fn admit(&mut self, client: Client) -> Admission {
        let full = self.is_full() || (!client.trusted && self.is_full_for_strangers());
        if !full {
            return Admission::Admitted;
        }
        let victim = if client.trusted { self.victim_for_trusted() } else { self.victim_for_stranger(client) };
        match victim {
            Some(id) => {
                self.evict(id);
                Admission::Admitted
            }
            None if client.trusted => Admission::Waits,
            None => Admission::Refused,
        }
    }

    fn victim_for_trusted(&self) -> Option<Id> {
        let strangers = self.largest_groups().and_then(|(groups, _)| self.least_useful(&groups));
        strangers.or_else(|| {
            let all = self.open.iter().map(|(id, (_, state))| (*id, state.progress()));
            oldest_waiting(all)
        })
    }

    fn victim_for_stranger(&self, client: Client) -> Option<Id> {
        let (largest, most) = self.largest_groups()?;
        let of_client = || self.strangers().filter(|(_, other, _)| other.group == client.group);
        if of_client().count() < most {
            return self.least_useful(&largest);
        }
        oldest_waiting(of_client().map(|(id, _, progress)| (id, progress)))
    }

    /// The addresses of strangers with the most connections, and how many each has. A regular reader counts with more than its
    /// part of one half of the places, and else only where there is no other address.
    fn largest_groups(&self) -> Option<(Vec<IpAddr>, usize)> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        self.strangers().for_each(|(_, client, _)| *counts.entry(client.group).or_default() += 1);
        let part = self.limits.max_connections.saturating_sub(self.limits.reserved) / 2 / REGULARS;
        let size = |group: IpAddr, count| (count > part.max(1) || !self.share.is_regular(group), count);
        let largest = counts.iter().map(|(group, count)| size(*group, *count)).max()?;
        let groups = counts.into_iter().filter(|(group, count)| size(*group, *count) == largest);
        Some((groups.map(|(group, _)| group).collect(), largest.1))
    }

    /// The connection of these addresses that waits for a request longest, or else whose client has read nothing for longest.
    fn least_useful(&self, groups: &[IpAddr]) -> Option<Id> {
        let of_groups = || self.strangers().filter(|(_, client, _)| groups.contains(&client.group));
        oldest_waiting(of_groups().map(|(id, _, progress)| (id, progress)))
            .or_else(|| of_groups().min_by_key(|(.., progress)| progress.wrote()).map(|(id, ..)| id))
    }

    /// Closes the stranger's connection whose client has read nothing of a response for longest, unless all of them move.
    fn evict_most_stalled(&mut self) -> bool {
        let now = Instant::now();
        let stalled = self.strangers().filter(|(.., progress)| {
            let stalled = now.saturating_duration_since(progress.wrote());
            !progress.is_waiting() && stalled >= self.limits.pressure_stall
        });
        let victim = stalled.min_by_key(|(.., progress)| progress.wrote()).map(|(id, ..)| id);
        victim.is_some_and(|id| self.evict(id))
    }

    /// Closes the connection that has waited longest for a request, a stranger's if there is one; `false` if requests are
    /// in flight on all of them.
    pub(super) fn evict_oldest_idle(&mut self) -> bool {
        let strangers = oldest_waiting(self.strangers().map(|(id, _, progress)| (id, progress)));
        let all = || oldest_waiting(self.open.iter().map(|(id, (_, state))| (*id, state.progress())));
        strangers.or_else(all).is_some_and(|id| self.evict(id))
    }

    /// Closes every connection that exceeds a limit on time.
    pub(super) fn evict_overdue(&mut self, now: Instant) {
        let overdue = self.open.iter().filter(|(_, (_, state))| state.progress().is_overdue(now, &self.limits));
        let overdue: Vec<_> = overdue.map(|(id, _)| *id).collect();
        for id in overdue {
            self.evict(id);
        }
        let surplus = self.signals.unread().saturating_sub(self.limits.max_unread);
        for _ in 0..surplus {
            if !self.evict_most_stalled() {
                break;
            }
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

fn oldest_waiting(connections: impl Iterator<Item = (Id, Progress)>) -> Option<Id> {
    let waiting = connections.filter(|(_, progress)| progress.is_waiting());
    waiting.min_by_key(|(_, progress)| progress.since()).map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HERE: Client = Client { group: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), trusted: true };

    fn stranger(n: u8) -> Client {
        Client { group: [192, 0, 2, n].into(), trusted: false }
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn connections(max_connections: usize) -> Connections {
        let limits = Limits { max_connections, reserved: 1, max_unread: 2, ..Limits::default() };
        Connections::new(limits, Arc::default(), Arc::default(), Arc::new(Share::new(limits)))
    }

    fn open(all: &mut Connections) -> (Id, Arc<ConnState>) {
        open_by(all, HERE)
    }

    fn open_by(all: &mut Connections, client: Client) -> (Id, Arc<ConnState>) {
        // As a task does, which ends with its connection.
        let id = all.spawn(client, |state| async move {
            let _state = state;
            std::future::pending().await
        });
        (id, Arc::clone(&all.open[&id].1))
    }

    #[tokio::test(start_paused = true)]
    async fn connections_without_end_from_one_address_cost_only_that_address() {
        let mut all = connections(5);
        let (other, _) = open_by(&mut all, stranger(2));
        let mut flood = Vec::new();
        for _ in 0..20 {
            pass(1).await;
            assert_eq!(all.admit(stranger(1)), Admission::Admitted);
            flood.push(open_by(&mut all, stranger(1)));
        }
        assert!(all.open.contains_key(&other), "the older connection of another address stays");
        assert_eq!(all.open.len(), 4, "a place is reserved");
        // All of them get a response, and read nothing.
        let _unread: Vec<_> =
            all.open.iter().filter(|(id, _)| **id != other).map(|(_, (_, state))| state.on_request()).collect();
        assert_eq!(all.admit(stranger(1)), Admission::Refused);
        assert_eq!(all.admit(stranger(3)), Admission::Admitted);
        open_by(&mut all, stranger(3));
        assert!(all.open.contains_key(&other));
        assert_eq!(all.strangers().filter(|(_, client, _)| *client == stranger(1)).count(), 2);
    }

    /// As after a restart, when others have become regular readers first.
    #[tokio::test(start_paused = true)]
    async fn regular_readers_that_hold_every_place_give_way_to_a_scrape_of_another_address() {
        let mut all = connections(193);
        let mut held = Vec::new();
        for n in 1..=8 {
            all.share.has_read(stranger(n).group, Instant::now());
            for _ in 0..24 {
                held.push(open_by(&mut all, stranger(n)));
            }
        }
        let _unread: Vec<_> = held.iter().map(|(_, state)| state.on_request()).collect();
        assert!(all.is_full_for_strangers());
        assert_eq!(all.admit(stranger(100)), Admission::Admitted);
        let (scrape, state) = open_by(&mut all, stranger(100));
        let _in_flight = state.on_request();
        for n in 101..=110 {
            pass(1).await;
            assert_eq!(all.admit(stranger(n)), Admission::Admitted);
            open_by(&mut all, stranger(n));
            assert!(all.open.contains_key(&scrape), "{n}");
        }
        let of = |n| all.strangers().filter(|(_, client, _)| *client == stranger(n)).count();
        assert!((1..=8).all(|n| of(n) >= 12), "and they keep their part");
    }

    #[tokio::test(start_paused = true)]
    async fn of_addresses_with_equally_many_connections_one_that_waits_for_a_request_gives_way_first() {
        let mut all = connections(9);
        let mut in_flight = Vec::new();
        let mut waiting = Vec::new();
        for n in 1..=8 {
            let (id, state) = open_by(&mut all, stranger(n));
            if n == 5 { waiting.push((id, state)) } else { in_flight.push(state.on_request()) }
        }
        assert_eq!(all.admit(stranger(9)), Admission::Admitted);
        assert!(!all.open.contains_key(&waiting[0].0));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_give_way_to_known_vantages_and_to_this_host() {
        let mut all = connections(3);
        let mut unread = Vec::new();
        for n in 1..=2 {
            let (_, state) = open_by(&mut all, stranger(n));
            unread.push(state.on_request());
        }
        for _ in 0..3 {
            assert_eq!(all.admit(HERE), Admission::Admitted);
            let (_, state) = open(&mut all);
            unread.push(state.on_request());
        }
        assert_eq!(all.strangers().count(), 0);
        assert_eq!(all.admit(stranger(1)), Admission::Refused);
        assert_eq!(all.admit(HERE), Admission::Waits);
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_responses_that_are_not_read_the_most_stalled_is_closed() {
        let mut all = connections(10);
        let (here, state) = open(&mut all);
        let _in_flight = state.on_request();
        let mut held = Vec::new();
        for n in 1..=3 {
            pass(1).await;
            let (id, state) = open_by(&mut all, stranger(n));
            let in_flight = state.on_request();
            held.push((id, state, in_flight));
        }
        held[0].1.on_write();
        assert_eq!(all.signals.unread(), 3);
        all.changed().await;
        assert!(
            !all.open.contains_key(&held[1].0) && all.open.contains_key(&held[0].0) && all.open.contains_key(&here)
        );
        let (_, state, in_flight) = held.remove(1);
        drop((state, in_flight));
        all.changed().await;
        assert_eq!(all.signals.unread(), 2, "a connection that ended is not counted");
    }

    #[tokio::test(start_paused = true)]
    async fn when_full_the_oldest_waiting_connection_is_evicted_and_never_one_in_flight() {
        let mut all = connections(2);
        let (_, busy) = open(&mut all);
        let in_flight = busy.on_request();
        pass(1).await;
        let (waiting, _) = open(&mut all);
        assert_eq!(all.admit(HERE), Admission::Admitted);
        assert!(!all.open.contains_key(&waiting));
        all.changed().await;
        assert_eq!((all.tasks.len(), all.stats.connections()), (1, 1), "its task has ended");
        let (_, other) = open(&mut all);
        let second = other.on_request();
        assert_eq!(all.admit(HERE), Admission::Waits, "both are being answered");
        drop(in_flight);
        assert_eq!(all.admit(HERE), Admission::Waits, "the last bytes are still to be written");
        busy.on_flush();
        all.changed().await;
        assert_eq!(all.admit(HERE), Admission::Admitted);
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
