//! How much the server bears, and why that much.

use std::time::Duration;

/// How much the server bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections. At the cap the one that has waited for a request longest makes room; a new one waits
    /// while all are being answered.
    pub max_connections: usize,
    /// Connections that the kernel queues before they are accepted, where its own limit allows as many. When
    /// the queue is full a client's next try is a second later, and a scrape would wait with the crowd.
    pub backlog: i32,
    /// Time from connecting, or from the first byte of a later request, to the end of the request's head.
    pub head_timeout: Duration,
    /// Bytes of a request's head.
    pub max_head_bytes: usize,
    /// Header fields of a request.
    pub max_headers: usize,
    /// Time between two requests on a connection. Longer than scrape intervals are, so that Prometheus keeps
    /// its connection.
    pub idle_timeout: Duration,
    /// Time for a whole answer; above every sane scrape timeout.
    pub response_timeout: Duration,
    /// Time in which an answer must make some progress.
    pub stall_timeout: Duration,
    /// Time for the probing thread to answer an [`Query`](super::Query).
    pub query_timeout: Duration,
    /// Answers compressed at the same time; further ones are sent plain.
    pub encoders: usize,
    /// Answers with probe histories at the same time; further ones are refused with 503.
    pub histories: usize,
    /// How long a bulletin is answered with again, so that a crowd of readers costs the probing thread little.
    pub votes_max_age: Duration,
    /// The same for what the status page shows: people who look at it cost the probing thread two copies a second,
    /// however many they are.
    pub overview_max_age: Duration,
    /// Bytes that the kernel may hold for a client that does not read (Linux doubles it for its bookkeeping).
    /// With 256 connections at most 64 MiB; enough for 3 MB/s over 80 ms.
    pub send_buffer: usize,
    /// Pause after a failed accept, such as one for want of descriptors.
    pub accept_pause: Duration,
    /// Time for answers in flight when the server ends.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            backlog: 4096,
            head_timeout: Duration::from_secs(10),
            max_head_bytes: 16 << 10,
            max_headers: 64,
            idle_timeout: Duration::from_secs(300),
            response_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(30),
            query_timeout: Duration::from_secs(2),
            encoders: 8,
            histories: 4,
            votes_max_age: Duration::from_millis(10),
            overview_max_age: Duration::from_millis(500),
            send_buffer: 128 << 10,
            accept_pause: Duration::from_millis(100),
            shutdown_grace: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// How often overdue connections are looked for: a limit is overrun by a quarter at the most.
    pub(super) fn sweep_interval(&self) -> Duration {
        let shortest = self.head_timeout.min(self.idle_timeout).min(self.response_timeout).min(self.stall_timeout);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}
