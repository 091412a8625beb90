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
use crate::model::{DatabaseNews, Failure, LossBounds, Reading, RealisedLoss, ReplicaState};

/// How long a token that was acknowledged may be missing before a replica counts as lagging. Tokens are written every second.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it may be missing, and nothing else may arrive, before a replica counts as one that nothing arrives at. A replica
/// that is cut off must be known within 3 s. The next token is written at most 1 s after the cut, and the read that finds it
/// missing for so long begins at most 1 s after it may. So half a second is left for what all of them take over the network.
const SILENCE: Duration = Duration::from_millis(500);

/// How old a reading may be. Servers are read every second.
const FRESH: Duration = Duration::from_secs(3);

/// How old may be what the loss of a failover is judged by, at the onset of the outage.
const KNOWN: Duration = Duration::from_secs(30);

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

/// Another server has taken the place of the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    /// The old primary.
    pub from: usize,
    /// The new one.
    pub to: usize,
    /// What was lost; `None` where the new one had no token of this process.
    pub lost: Option<RealisedLoss>,
}

/// A server that is not the primary was sent a token.
#[derive(Debug)]
struct Candidate {
    server: usize,
    /// The first token that it was sent.
    first: u64,
    /// The token that it had before.
    had: Option<u64>,
}

/// A database, as this process has seen it.
#[derive(Debug)]
pub struct Database {
    tokens: Tokens,
    /// The server that has acknowledged a token last.
    primary: Option<usize>,
    candidate: Option<Candidate>,
    servers: Vec<Server>,
    /// When a server that takes writes last had no token of this process, though one was acknowledged; or when a server had
    /// lost its own.
    overwritten: Option<Instant>,
}

impl Database {
    /// A database of so many servers about which nothing is known.
    pub fn new(servers: usize) -> Self {
        let servers = std::iter::repeat_with(Server::default).take(servers).collect();
        Self { tokens: Tokens::default(), primary: None, candidate: None, servers, overwritten: None }
    }

    /// Takes what happened. Says which server has become the primary, if one has.
    pub fn handle(&mut self, news: &DatabaseNews) -> Option<Promoted> {
        match *news {
            DatabaseNews::Sent { server, sequence, at } => {
                self.tokens.sent(sequence, at);
                let is_known = self.candidate.as_ref().is_some_and(|candidate| candidate.server == server);
                if self.primary == Some(server) {
                    self.candidate = None;
                } else if !is_known {
                    let had = self.servers.get(server).and_then(|server| server.token).map(|(token, _)| token);
                    self.candidate = Some(Candidate { server, first: sequence, had });
                }
            }
            DatabaseNews::Acknowledged { server, sequence, at } => {
                let promoted = self.promote(server);
                self.tokens.acknowledged(sequence, at);
                return promoted;
            }
            DatabaseNews::Read { server, reading } => {
                if let Ok(Reading { writable: true, token: None, ended, .. }) = reading
                    && self.tokens.acknowledged_at().is_some()
                {
                    self.overwritten = Some(ended);
                }
                if let Some(server) = self.servers.get_mut(server) {
                    // Such as by FLUSHALL or TRUNCATE, which a replica may show before its primary is read.
                    if let Ok(Reading { token: None, ended, .. }) = reading
                        && server.token.is_some()
                    {
                        self.overwritten = Some(ended);
                    }
                    server.read(reading);
                }
            }
        }
        None
    }

    /// Takes the server as the primary, and counts what the old one had acknowledged and it does not have.
    fn promote(&mut self, server: usize) -> Option<Promoted> {
        let before = self.primary.replace(server).filter(|before| *before != server)?;
        let candidate = self.candidate.take().filter(|candidate| candidate.server == server);
        let lost = candidate.and_then(|Candidate { first, had, .. }| {
            let had = had?;
            let tokens = self.tokens.later(had);
            let newest = self.tokens.newest()?;
            let lower = self.tokens.lower(Some(had), newest.sent)?;
            let bounds = LossBounds::new(lower, self.tokens.upper(Some(had), newest.at)?);
            self.tokens.lose(had, first);
            Some(RealisedLoss { tokens, bounds })
        });
        Some(Promoted { from: before, to: server, lost })
    }

    /// The server that has acknowledged a token last, however long ago.
    pub const fn last_primary(&self) -> Option<usize> {
        self.primary
    }

    /// The primary: what has acknowledged a token of late, or as of the onset, if that is failing; or else the only server that takes
    /// writes.
    pub fn primary(&self, onset: Option<Instant>, now: Instant) -> Option<usize> {
        let until = onset.unwrap_or(now);
        let is_late = |at: Instant| until.saturating_duration_since(at) <= KNOWN;
        let acknowledged = self.primary.filter(|_| self.tokens.newest().is_some_and(|newest| is_late(newest.at)));
        let takes_writes = |server: &Server| server.reading.is_some_and(|read| read.writable && is_late(read.ended));
        let mut writable = (0..self.servers.len()).filter(|place| takes_writes(&self.servers[*place]));
        let only = writable.next().filter(|_| writable.next().is_none());
        acknowledged.or(only)
    }

    /// What a failover from the primary to this server would lose; `None` where that is unknown. Once the primary is failing, it is as
    /// of the onset, and grows no more: `onset` is when the first probe was sent that had no answer.
    ///
    /// The primary may have taken writes for as long as that probe was on its way, which a write and its acknowledgement show at the
    /// most.
    pub fn loss(&self, server: usize, onset: Option<Instant>, now: Instant) -> Option<LossBounds> {
        let known = self.servers.get(server).filter(|_| self.primary.is_some_and(|primary| primary != server))?;
        let (reading, (token, _)) = (known.reading?, known.token?);
        let newest = self.tokens.newest()?;
        let sent = self.tokens.sent_at(token)?;
        let way = newest.at.saturating_duration_since(newest.sent);
        let until = onset.map_or(now, |onset| (onset.max(sent) + way).max(newest.at)).min(now);
        let is_known = |at: Instant| until.saturating_duration_since(at) <= KNOWN;
        if !is_known(reading.ended) || !is_known(newest.at) {
            return None;
        }
        let lower = self.tokens.lower(Some(token), newest.sent)?;
        Some(LossBounds::new(lower, until.saturating_duration_since(sent)))
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
        let stands = |since: Instant| is_old(since, SILENCE);
        let is_behind = |by: Duration| lower.is_some_and(|lower| lower >= by);
        let behind = is_behind(PATIENCE);
        // Where no token was acknowledged of late, nothing is known of what is missing.
        let blind = !behind && self.tokens.acknowledged_at().is_none_or(|at| is_old(at, FRESH));
        let lag = Lag { lower: lower.filter(|_| !blind), upper: self.tokens.upper(token, reading.ended) };
        let stuck = is_behind(SILENCE) && server.token.is_none_or(|(_, since)| stands(since));
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
