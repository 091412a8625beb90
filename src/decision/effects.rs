//! What goes into a decision, and what follows from it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    IsolationReason, PathInfo, QualitySample, Remembered, Rule, Transition,
    ranking::{RegionAttributes, TargetPolicy},
    votes::{VoteProblem, VoteSet},
};
use crate::{
    model::{
        Blocked, Cause, DatabaseReport, FailoverMode, Incident, PathId, Promotion, Region, Sample, Tally, TargetName,
        UnixMillis,
    },
    signing::{Command, Operators},
    window::Summary,
};

/// What may be decided, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether a peer that falls silent is probed three times more, 50 ms apart.
    pub confirm_burst: bool,
    /// How long a peer must be down, with a quorum, until the second stage of its incident.
    pub execute_after: Duration,
    /// Whether the second stage may be reached without a quorum.
    pub allow_single_vantage: bool,
    /// How many regions may be failed over at a time; a region counts until it is released.
    pub max_down: u32,
    /// The least time from one failover to that of another region.
    pub min_interval: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            confirm_burst: false,
            execute_after: Duration::ZERO,
            allow_single_vantage: false,
            max_down: 1,
            min_interval: Duration::from_secs(600),
        }
    }
}

/// What is decided about.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// What may be decided.
    pub policy: Policy,
    /// What a failover target must fulfil.
    pub targets: TargetPolicy,
    /// The attributes of this vantage's own region.
    pub own: RegionAttributes,
    /// Whether this vantage is a witness: it votes, and owns no region.
    pub is_witness: bool,
    /// The peers.
    pub peers: Vec<PeerSetup>,
    /// The other witnesses, each with the path on which it is asked for its votes.
    pub witnesses: Vec<(Region, PathInfo)>,
    /// The paths to endpoints outside all regions.
    pub anchors: Vec<PathInfo>,
    /// Who may state which regions may be failed over.
    pub operators: Operators,
    /// The regions whose maintenance by the configuration ends by itself, and when; own or peers.
    pub maintained: Vec<(Region, UnixMillis)>,
}

/// A peer region.
#[derive(Debug, Clone)]
pub struct PeerSetup {
    /// Its name.
    pub region: Region,
    /// Its attributes as a failover target.
    pub attributes: RegionAttributes,
    /// Whether this vantage's configuration allows to fail it over.
    pub mode: FailoverMode,
    /// The paths to it.
    pub paths: Vec<PathInfo>,
}

/// What happens to a vantage.
#[derive(Debug)]
pub enum Input<'a> {
    /// A probe ended.
    Result {
        /// What was measured.
        sample: &'a Sample,
        /// How much later it started than it was due.
        start_delay: Duration,
        /// Answers to earlier probes that came after their deadlines.
        late: u32,
    },
    /// A probe has waited for longer than usual.
    Overdue {
        /// Its path.
        path: PathId,
        /// When it was sent.
        sent_at: Instant,
    },
    /// An answer came after its deadline.
    LateReply(PathId),
    /// Scheduled runs passed without a probe.
    MissedSlots,
    /// How well a peer has answered in the last minute; due every 10 s.
    Quality {
        /// The peer.
        peer: &'a Region,
        /// `None` without a probe that says anything.
        sample: Option<QualitySample>,
    },
    /// What the probes of a peer's preferred kind say over the window.
    Summary {
        /// The peer.
        peer: &'a Region,
        /// `None` before the first probe.
        summary: Option<Summary>,
    },
    /// What this vantage knows of all databases, in the order of the configuration; due every second.
    Databases(Vec<DatabaseReport>),
    /// The verified votes of another vantage.
    Votes {
        /// The vantage.
        from: &'a Region,
        /// When they were requested.
        requested_at: Instant,
        /// Its votes, and its ranking.
        votes: VoteSet,
    },
    /// An incident that Alertmanager holds since before this process started. It goes on once the peer is suspect, down or
    /// recovering, and is forgotten if the peer is healthy or degraded before.
    Restored(&'a Incident),
    /// What the process before this one has left: see [`Effects::remember`].
    Remembered(&'a Remembered),
    /// An operator releases a region that was failed over, which [is not refused](super::Vantage::release_refusal).
    Release(&'a Region),
    /// The signed statement of an operator, which [is not refused](super::Vantage::statement_refusal).
    Stated(&'a str),
    /// The moment that [`Effects::wake_at`] asked for.
    Timer,
    /// Due every second.
    Tick,
    /// What is decided about from now on. A peer that stays keeps its state; an incident of one that goes is forgotten.
    Reconfigured(Setup),
}

/// What follows from an [`Input`]. Allocates nothing if that is nothing.
#[derive(Debug, Default)]
pub struct Effects {
    /// The paths to probe now, beside their scheduled runs.
    pub extra_probes: Vec<PathId>,
    /// What changed, for logs and counters.
    pub changes: Vec<StateChange>,
    /// What Alertmanager must know from now on, if that changed.
    pub incidents: Option<Vec<Incident>>,
    /// What must outlive a restart of all vantages, if it has changed.
    pub remember: Option<Remembered>,
    /// When [`Input::Timer`] is due, if ever.
    pub wake_at: Option<Instant>,
}

impl Effects {
    /// Adds what follows from the next input.
    pub fn append(&mut self, next: Self) {
        self.extra_probes.extend(next.extra_probes);
        self.changes.extend(next.changes);
        self.incidents = next.incidents.or_else(|| self.incidents.take());
        self.remember = next.remember.or_else(|| self.remember.take());
        self.wake_at = next.wake_at;
    }
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq)]
pub enum StateChange {
    /// The state of a peer.
    Peer {
        /// The peer.
        peer: Region,
        /// From what to what.
        transition: Transition,
        /// The rule that led there.
        rule: Rule,
        /// The votes that were counted.
        tally: Tally,
        /// What its last failure consisted in, if it is suspect or down.
        cause: Option<Cause>,
        /// The id of its open incident.
        incident: Option<Arc<str>>,
    },
    /// A peer is to be failed over from now on, or is not any more.
    Order {
        /// The peer.
        peer: Region,
        /// The id of its incident.
        incident: Arc<str>,
        /// The cause of its incident; `None`: an operator has ordered it.
        cause: Option<Cause>,
        /// The region that takes over.
        target: Option<Region>,
        /// Whether it is ordered now; if not, the order is withdrawn.
        ordered: bool,
    },
    /// The incident of a peer is over.
    Resolved {
        /// The peer.
        peer: Region,
        /// The id of its incident.
        incident: Arc<str>,
    },
    /// The sidecar of a peer that is not down has not answered for this long; `None`: it answers again.
    Sidecar {
        /// The peer.
        peer: Region,
        /// For how long.
        away: Option<Duration>,
    },
    /// What an operator has stated.
    Statement {
        /// The statement.
        command: Box<Command>,
        /// What became of it.
        news: StatementNews,
        /// What it has taken back, which may be of another operator and for longer.
        ended: Option<Box<Command>>,
    },
    /// What keeps a peer with an open incident from being failed over; `None`: nothing, from now on.
    Blocked {
        /// The peer.
        peer: Region,
        /// The reason.
        reason: Option<Blocked>,
    },
    /// Another server of a database has become the primary.
    Promoted {
        /// The database.
        database: TargetName,
        /// From where to where, and what was lost.
        promotion: Promotion,
    },
    /// The services of a peer fail from what seems to be a common cause of several regions, or do so no longer.
    CommonMode {
        /// The peer.
        peer: Region,
        /// Whether they do from now on.
        active: bool,
    },
    /// This vantage is isolated now, and why; `None`: it is not any more.
    Isolation(Option<IsolationReason>),
    /// What is wrong with the votes of a peer from now on; `None`: they are accepted, and nothing is missing.
    Votes {
        /// The peer.
        peer: Region,
        /// What is wrong.
        problem: Option<VoteProblem>,
        /// Whether there is a key here to verify them.
        has_key: bool,
    },
}

/// What became of the statement of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementNews {
    /// It was commanded here.
    Commanded,
    /// This vantage has relayed it.
    Relayed(Region),
    /// It has ended.
    Ended,
    /// It had ended by the clock of this vantage, which is ahead of the others. It goes on.
    Resumed,
    /// The configuration has no longer its operator, the key or the region.
    Forgotten,
}
