//! The nouns of deciding: states, votes, reasons, candidates, incidents.

use std::{sync::Arc, time::Duration};

use super::{Region, UnixMillis, labels};

labels! {
    /// What one vantage thinks of a peer region.
    pub enum PeerState {
        /// Nothing is known yet: no verdict on boot.
        Unknown = "unknown",
        /// Answers well.
        Healthy = "healthy",
        /// Answers, but lossy, slow, in part, or not to us alone.
        Degraded = "degraded",
        /// Silent to us; the other vantages are being asked.
        Suspect = "suspect",
        /// Dead, as a quorum of vantages says, or as we say alone after a long wait.
        Down = "down",
        /// Answers again after it was down, and has to prove itself.
        Recovering = "recovering",
    }
}

labels! {
    /// What a vantage says about a peer when asked.
    pub enum Vote {
        /// It is silent to that vantage.
        Down = "down",
        /// It has answered that vantage since.
        Up = "up",
        /// The vantage is isolated, or does not know yet.
        Abstain = "abstain",
    }
}

labels! {
    /// What a region's failure consists in.
    pub enum Cause {
        /// Nothing in it answers on any layer.
        Silence = "silence",
        /// The network answers, the services that were called critical do not.
        Service = "service",
    }
}

labels! {
    /// How far an incident has come.
    pub enum Stage {
        /// At once: page somebody, warm the target up.
        Prepare = "prepare",
        /// After the region has stayed down for a while: switch.
        Execute = "execute",
    }
}

labels! {
    /// Why a region cannot take over.
    pub enum Ineligible {
        /// It is not healthy as seen from here.
        State = "state",
        /// Its zone is not among those that are allowed.
        Residency = "residency",
        /// It is closer than the least distance.
        Distance = "distance",
        /// It shares a failure domain with the region that it would replace.
        FailureDomain = "failure_domain",
        /// It has too little room.
        Capacity = "capacity",
        /// Somebody works on it.
        Maintenance = "maintenance",
        /// Its data lag behind by more than is tolerated.
        Rpo = "rpo",
        /// Too few samples to say anything.
        InsufficientData = "insufficient_data",
        /// The other vantages hold it down.
        Quorum = "quorum",
    }
}

/// A region that can take over, as the ranking that is used says.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The region.
    pub region: Region,
    /// Its place, 1 is the best.
    pub rank: u32,
    /// Its score, lower is better; `None` where only static preference speaks for it.
    pub score: Option<Duration>,
}

/// How a vote came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Vantages that say down, this one included.
    pub down: u32,
    /// Vantages that have reached the region since.
    pub up: u32,
    /// Vantages that know nothing or are isolated.
    pub abstain: u32,
    /// Vantages whose votes count: fresh, not isolated, with an opinion or about to have one.
    pub voters: u32,
    /// How many of them must say down.
    pub needed: u32,
    /// Whether enough voters say down, and the voters are more than half of all configured vantages.
    pub reached: bool,
    /// Whether so many have reached the region since that enough cannot say down any more.
    pub contradicted: bool,
}

/// One stage of one incident, as it is told to Alertmanager by this vantage.
///
/// Peer and stage are its identity. Everything else may change while it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// The region that is down.
    pub peer: Region,
    /// How far it has come.
    pub stage: Stage,
    /// The same on every vantage that votes on it: the receiver's idempotency key.
    pub id: Arc<str>,
    /// When the first probe that was lost was sent.
    pub onset: UnixMillis,
    /// What it consists in.
    pub cause: Cause,
    /// Whether a quorum confirmed it.
    pub confirmed: bool,
    /// The votes.
    pub tally: Tally,
    /// Who can take over, the best one first; empty where nobody can.
    pub candidates: Vec<Candidate>,
    /// One sentence for people: what was seen.
    pub evidence: String,
    /// When it was over, if it is.
    pub resolved: Option<UnixMillis>,
}
