//! Limits of the server, and why they have these values.

use std::time::Duration;

/// Limits of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections. At the limit a new connection replaces the one that has waited longest for a request; it waits
    /// while requests are in flight on all of them.
    pub max_connections: usize,
    /// Connections that only this host and known vantages may use.
    pub reserved: usize,
    /// Responses to strangers that are in flight; beyond that those are closed whose client has stopped reading.
    pub max_unread: usize,
    /// CPU time for strangers, in seconds per second; see [`Self::within`].
    pub strangers_cpu: f64,
    /// New connections of one address of strangers: how many per second, and how many at once.
    pub connects_of_address: (f64, f64),
    /// The same of all strangers, apart from a few that have read what they asked for before.
    pub connects: (f64, f64),
    /// How long new connections wait once one of them was refused: refusing many at once is cheap.
    pub refusal_pause: Duration,
    /// Bytes of long responses that are held for all clients; a further one waits, and stalled ones are closed.
    pub held_bytes: usize,
    /// The same of probe histories, which one copy may exceed.
    pub history_bytes: usize,
    /// How long a client may read nothing of a response while others wait for its memory.
    pub pressure_stall: Duration,
    /// Connections that the kernel queues before they are accepted, if its own limit allows as many. If the queue is full,
    /// a client retries a second later, and a crowd would delay a scrape.
    pub backlog: i32,
    /// From connecting, or from the first byte of a later request, to the end of the request's head.
    pub head_timeout: Duration,
    /// Bytes of a request's head.
    pub max_head_bytes: usize,
    /// Header fields of a request.
    pub max_headers: usize,
    /// Between two requests on a connection. Longer than scrape intervals, so that Prometheus keeps its connection.
    pub idle_timeout: Duration,
    /// For a whole response; longer than any sensible scrape timeout.
    pub response_timeout: Duration,
    /// For some progress of a response.
    pub stall_timeout: Duration,
    /// For the engine to answer a [`Query`](super::Query).
    pub query_timeout: Duration,
    /// Until a reload has succeeded or failed: longer than its files may take, and one that was requested a moment ago.
    pub reload_timeout: Duration,
    /// Responses compressed at the same time; further ones are sent plain.
    pub encoders: usize,
    /// Responses with probe histories at the same time; further requests get status 503.
    pub histories: usize,
    /// How long a vote message is served again, so that many clients cost the engine little.
    pub votes_max_age: Duration,
    /// The same for the overview: the engine copies at most two per second.
    pub overview_max_age: Duration,
    /// From one command of an operator to the next one: all connections of strangers together get their turn in the query timeout.
    pub command_spacing: Duration,
    /// Bytes that the kernel may buffer for a client that does not read (Linux doubles it for its bookkeeping). With
    /// `max_unread` at most 8 MiB; enough for 1.6 MB/s over 80 ms.
    pub send_buffer: usize,
    /// Pause after a failed accept, for example if file descriptors are exhausted.
    pub accept_pause: Duration,
    /// For responses in flight at shutdown.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            reserved: 64,
            max_unread: 64,
            strangers_cpu: SHARE,
            connects_of_address: (16.0, 64.0),
            connects: (64.0, 128.0),
            refusal_pause: Duration::from_millis(5),
            held_bytes: 8 << 20,
            history_bytes: 16 << 20,
            pressure_stall: Duration::from_secs(1),
            backlog: 4096,
            head_timeout: Duration::from_secs(10),
            max_head_bytes: 16 << 10,
            max_headers: 64,
            idle_timeout: Duration::from_secs(300),
            response_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(30),
            query_timeout: Duration::from_secs(2),
            reload_timeout: Duration::from_secs(7),
            encoders: 8,
            histories: 4,
            votes_max_age: Duration::from_millis(10),
            overview_max_age: Duration::from_millis(500),
            command_spacing: Duration::from_millis(5),
            send_buffer: 64 << 10,
            accept_pause: Duration::from_millis(100),
            shutdown_grace: Duration::from_secs(1),
        }
    }
}

/// The part of the CPU quota that is for strangers: a large scrape per second needs 2% of a CPU.
const SHARE: f64 = 0.25;

impl Limits {
    /// These limits for a process that has so many CPUs, or no quota. A quota of more than one CPU gives strangers no more
    /// than one does, because the server has one thread.
    #[must_use]
    pub fn within(self, quota: Option<f64>) -> Self {
        Self { strangers_cpu: SHARE * quota.unwrap_or(1.0).clamp(0.01, 1.0), ..self }
    }

    /// How often connections are checked against the timeouts: one is exceeded by at most a quarter.
    pub(super) fn sweep_interval(&self) -> Duration {
        let shortest = self.head_timeout.min(self.idle_timeout).min(self.response_timeout).min(self.stall_timeout);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}
