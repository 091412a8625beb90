//! How far replicas are behind, from tokens that one clock has timed: pure, takes `now`.
//!
//! This process writes a numbered token at the primary every second, and reads at each replica which one is there. Both ends
//! are timed by its own monotonic clock, so the lag is an interval that no other clock can spoil. A read from `a` to `b` that
//! finds token `k` shows that the oldest change that is missing was made after `k` was sent and, where `k+1` was
//! acknowledged, before that: the lag lies in `[a - acknowledged(k+1), b - sent(k)]`. It cannot be negative, and grows one
//! second a second while nothing arrives, whatever the engine says.

mod tokens;

use std::time::Duration;

use tokio::time::Instant;

use self::tokens::Tokens;
use crate::model::{DatabaseNews, Failure, Reading, ReplicaState};

/// How long a token that was acknowledged may be missing before a replica counts as one that nothing arrives at, or as
/// lagging. Tokens are written every second.
const PATIENCE: Duration = Duration::from_secs(1);

/// How old a reading may be. Servers are read every second.
const FRESH: Duration = Duration::from_secs(3);

/// How long an instance of the same region counts as there, after it was seen to write the same row.
const CONTESTED: Duration = Duration::from_secs(60);

/// How far a replica is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// At least so far; nothing where it cannot be read.
    pub lower: Option<Duration>,
    /// At most so far; nothing before a token of this process was seen there.
    pub upper: Option<Duration>,
}

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// How it stands to the primary.
    pub state: ReplicaState,
    /// How far it is behind; empty where it takes writes.
    pub lag: Lag,
    /// Whether it takes writes; nothing where it cannot be read.
    pub writable: Option<bool>,
    /// The engine's own word about its lag.
    pub engine_lag: Option<Duration>,
}

/// One server of a database.
#[derive(Debug, Default)]
struct Server {
    reading: Option<Reading>,
    failure: Option<Failure>,
    /// The newest token of this process that was there, and when it was first read.
    token: Option<(u64, Instant)>,
    /// How far it had received, and since when.
    received: Option<(u64, Instant)>,
}

/// A database, as this process has seen it.
#[derive(Debug)]
pub struct Database {
    tokens: Tokens,
    servers: Vec<Server>,
    /// When a server that takes writes last had no token of this process, though one was acknowledged.
    overwritten: Option<Instant>,
}

impl Database {
    /// A database of so many servers about which nothing is known.
    pub fn new(servers: usize) -> Self {
        let servers = std::iter::repeat_with(Server::default).take(servers).collect();
        Self { tokens: Tokens::default(), servers, overwritten: None }
    }

    /// Takes what happened.
    pub fn handle(&mut self, news: &DatabaseNews) {
        match *news {
            DatabaseNews::Sent { sequence, at } => self.tokens.sent(sequence, at),
            DatabaseNews::Acknowledged { sequence, at } => self.tokens.acknowledged(sequence, at),
            DatabaseNews::Read { server, reading } => {
                if let Ok(Reading { writable: true, token: None, ended, .. }) = reading
                    && self.tokens.acknowledged_at().is_some()
                {
                    self.overwritten = Some(ended);
                }
                if let Some(server) = self.servers.get_mut(server) {
                    server.read(reading);
                }
            }
        }
    }

    /// What is known of a server now.
    pub fn status(&self, server: usize, now: Instant) -> Status {
        let unknown = Status { state: ReplicaState::Unknown, lag: Lag::default(), writable: None, engine_lag: None };
        let Some(server) = self.servers.get(server) else { return unknown };
        let Some(reading) = server.reading else { return unknown };
        let readable = server.failure.is_none() && now.saturating_duration_since(reading.ended) <= FRESH;
        let token = server.token.map(|(token, _)| token);
        if !readable {
            // It has at least what it had.
            let upper = if reading.writable { None } else { self.tokens.upper(token, now) };
            return Status { lag: Lag { lower: None, upper }, ..unknown };
        }
        let Reading { writable, engine_lag, .. } = reading;
        let (state, lag) =
            if writable { (ReplicaState::Writable, Lag::default()) } else { self.replica(server, &reading) };
        Status { state, lag, writable: Some(writable), engine_lag }
    }

    /// The state and the lag of a replica, as of its last reading.
    fn replica(&self, server: &Server, reading: &Reading) -> (ReplicaState, Lag) {
        let token = server.token.map(|(token, _)| token);
        let is_old = |at: Instant, age: Duration| reading.ended.saturating_duration_since(at) >= age;
        // Another process of this region writes the same row: that ours is missing says nothing.
        let contested = token.is_none() && self.overwritten.is_some_and(|at| !is_old(at, CONTESTED));
        let lower = self.tokens.lower(token, reading.began).filter(|_| !contested);
        let stands = |since: Instant| is_old(since, PATIENCE);
        let behind = lower.is_some_and(|lower| lower >= PATIENCE);
        // Where no token was acknowledged of late, nothing is known of what is missing.
        let blind = !behind && self.tokens.acknowledged_at().is_none_or(|at| is_old(at, FRESH));
        let lag = Lag { lower: lower.filter(|_| !blind), upper: self.tokens.upper(token, reading.ended) };
        let stuck = behind && server.token.is_none_or(|(_, since)| stands(since));
        let receives = server.received.is_some_and(|(_, since)| !stands(since));
        let state = match (token, stuck) {
            (_, true) if reading.paused || !reading.receiver => ReplicaState::NotReplicating,
            (_, true) if !receives => ReplicaState::CutOff,
            (None, _) => ReplicaState::Unknown,
            _ if blind => ReplicaState::Unknown,
            _ if behind => ReplicaState::Lagging,
            _ => ReplicaState::CaughtUp,
        };
        (state, lag)
    }
}

impl Server {
    fn read(&mut self, reading: Result<Reading, Failure>) {
        let reading = match reading {
            Ok(reading) => reading,
            Err(failure) => {
                self.failure = Some(failure);
                return;
            }
        };
        // Reads may overlap; the one that began last knows best.
        if self.reading.is_some_and(|known| known.began > reading.began) {
            return;
        }
        self.failure = None;
        self.reading = Some(reading);
        let is_new = |known: Option<(u64, Instant)>, value: u64| known.is_none_or(|(known, _)| known != value);
        match reading.token {
            Some(token) if is_new(self.token, token) => self.token = Some((token, reading.ended)),
            Some(_) => {}
            None => self.token = None,
        }
        match reading.received {
            Some(received) if is_new(self.received, received) => self.received = Some((received, reading.ended)),
            Some(_) => {}
            None => self.received = None,
        }
    }
}

#[cfg(test)]
mod tests;
