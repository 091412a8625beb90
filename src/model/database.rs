//! What is known of a replicated database: who takes writes, and which token of ours is where.

use std::time::Duration;

use tokio::time::Instant;

use super::{Failure, labels};

labels! {
    /// How a server of a database stands to its primary; the `state` label.
    pub enum ReplicaState {
        /// All that was acknowledged a second before the read is there.
        CaughtUp = "caught_up",
        /// It is behind, and goes on.
        Lagging = "lagging",
        /// It believes to replicate, and nothing arrives.
        CutOff = "cut_off",
        /// It does not replicate: its replay is paused, or it has no connection to a primary.
        NotReplicating = "not_replicating",
        /// It takes writes.
        Writable = "writable",
        /// It cannot be read, or has no token of this process yet.
        Unknown = "unknown",
    }
}

/// What one server said of itself, in one read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Before the question was sent.
    pub began: Instant,
    /// After the answer was received.
    pub ended: Instant,
    /// Whether it takes writes.
    pub writable: bool,
    /// The number of the token of this process that is there. A token of another process, of this vantage's past or of a
    /// backup, says nothing, and is none.
    pub token: Option<u64>,
    /// How far it has received what the primary wrote, in bytes of its log.
    pub received: Option<u64>,
    /// Whether it has a connection to a primary, or believes so.
    pub receiver: bool,
    /// Whether its replay is paused.
    pub paused: bool,
    /// The engine's own word about its lag.
    pub engine_lag: Option<Duration>,
}

/// What happens to a database, each in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DatabaseEvent {
    /// The place of the database in the configuration.
    pub database: usize,
    /// What happens.
    pub news: DatabaseNews,
}

/// What happens to a database.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DatabaseNews {
    /// A token is about to be written.
    Sent {
        /// The place of the server in the configuration.
        server: usize,
        /// Its number.
        sequence: u64,
        /// Before anything of it left.
        at: Instant,
    },
    /// The server has acknowledged it.
    Acknowledged {
        /// The place of the server in the configuration.
        server: usize,
        /// Its number.
        sequence: u64,
        /// After the acknowledgement was received.
        at: Instant,
    },
    /// A server was read, or could not be.
    Read {
        /// The place of the server in the configuration.
        server: usize,
        /// What it said.
        reading: Result<Reading, Failure>,
    },
}
