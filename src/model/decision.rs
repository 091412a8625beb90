//! The nouns of decisions: states, votes, reasons, candidates, incidents.

use std::{sync::Arc, time::Duration};

use super::{LossBounds, OrderSignature, RealisedLoss, Region, UnixMillis, labels};

labels! {
    /// The state of a peer region as seen by one vantage.
    pub enum PeerState {
        /// Nothing is known yet: there is no verdict right after a start.
        Unknown = "unknown",
        /// Answers fast and completely.
        Healthy = "healthy",
        /// Answers with loss or slowly, in part, or only other vantages.
        Degraded = "degraded",
        /// Silent to this vantage, which asks the others for their votes.
        Suspect = "suspect",
        /// Down: confirmed by a quorum, or by this vantage alone after a long wait.
        Down = "down",
        /// Answers again after it was down, and must stay stable for a while.
        Recovering = "recovering",
    }
}

labels! {
    /// The rule by which a peer is in its state.
    pub enum StateReason {
        /// Too few probes were answered so far.
        InsufficientData = "insufficient_data",
        /// It answers.
        Answers = "answers",
        /// It has been stable for long enough.
        Stable = "stable",
        /// Too many probes fail.
        Loss = "loss",
        /// It is slower than usual.
        Latency = "latency",
        /// One path fails.
        PathFails = "path_fails",
        /// It is silent to this vantage, and others reach it.
        OthersReachIt = "others_reach_it",
        /// It does not answer on any layer.
        Silence = "silence",
        /// The network answers, and the critical services fail.
        Service = "service",
        /// The critical services fail, and so do those of other regions, or they fail in ways that often have one cause for
        /// all regions: to fail it over would not help.
        CommonMode = "common_mode",
        /// A quorum of the vantages votes down.
        Quorum = "quorum",
        /// The wait for the votes of other vantages is over.
        NoVotes = "no_votes",
        /// It answers again.
        AnswersAgain = "answers_again",
    }
}

labels! {
    /// The vote of a vantage on a peer.
    pub enum Vote {
        /// It is silent to the vantage.
        Down = "down",
        /// It has answered the vantage since.
        Up = "up",
        /// The vantage is isolated, or does not know yet.
        Abstain = "abstain",
    }
}

labels! {
    /// The cause of an incident.
    pub enum Cause {
        /// The region does not answer on any layer.
        Silence = "silence",
        /// The network answers, but the critical services do not.
        Service = "service",
    }
}

labels! {
    /// The stage of an incident.
    pub enum Stage {
        /// At once: page on-call, warm up the target.
        Prepare = "prepare",
        /// After the region has been down for a while: switch.
        Execute = "execute",
    }
}

labels! {
    /// Why a region is not eligible as a failover target.
    pub enum Ineligible {
        /// It is not healthy as seen by this vantage.
        State = "state",
        /// Its zone is not allowed.
        Residency = "residency",
        /// It is closer than the minimum distance.
        Distance = "distance",
        /// It shares a failure domain with the region that it would replace.
        FailureDomain = "failure_domain",
        /// It has too little spare capacity.
        Capacity = "capacity",
        /// It is under maintenance.
        Maintenance = "maintenance",
        /// A failover to it would lose more than the RPO of a database.
        Rpo = "rpo",
        /// It is unknown what a failover to it would lose of a database.
        RpoUnknown = "rpo_unknown",
        /// There are too few samples.
        InsufficientData = "insufficient_data",
        /// A quorum of vantages reports it down.
        Quorum = "quorum",
        /// One of its critical probes has never succeeded, or all fail now.
        Critical = "critical",
        /// It was failed over, and is not released yet.
        FailedOver = "failed_over",
    }
}

labels! {
    /// What a vantage's configuration allows for a region. A later value restricts more.
    pub enum FailoverMode {
        /// It may be failed over.
        Armed = "armed",
        /// It is reported, and never failed over.
        Disarmed = "disarmed",
        /// It is under maintenance: never failed over, and no target.
        Maintenance = "maintenance",
    }
}

labels! {
    /// Why a region that is down is not failed over.
    pub enum Blocked {
        /// It is not armed.
        Disarmed = "disarmed",
        /// It is under maintenance.
        Maintenance = "maintenance",
        /// Other regions are failed over, or are to be failed over first.
        Limit = "limit",
        /// No region can take over.
        NoTarget = "no_target",
        /// A region could take over, but it is unknown what that would lose of a database.
        RpoUnknown = "rpo_unknown",
        /// The region that took over is down itself.
        TargetDown = "target_down",
        /// This vantage has started, and has learnt from no other one what operators have commanded.
        ArmingUnknown = "arming_unknown",
    }
}

impl Blocked {
    /// What it says, and what a person can do.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Disarmed => {
                "it is not armed (armed: false, or regionwatch disarm); arm it, or use regionwatch failover"
            }
            Self::Maintenance => {
                "it is under maintenance (maintenance: true, or regionwatch maintenance); end that, or use regionwatch failover"
            }
            Self::Limit => {
                "other regions are failed over or come first (failover.max_down, failover.min_interval); raise the limit, or \
                 use regionwatch failover --force"
            }
            Self::NoTarget => "no region can take over; the reasons are on the status page",
            Self::RpoUnknown => {
                "no region can take over, because it is unknown what of a database would be lost; \
                 regionwatch failover --accept-loss passes that"
            }
            Self::TargetDown => {
                "the region that took over is down itself; regionwatch failover --force names another one"
            }
            Self::ArmingUnknown => {
                "this instance has just started, and no other one has said whether operators have disarmed it; arm it, or \
                 wait for its votes"
            }
        }
    }
}

/// A region that can take over, from the ranking that is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The region.
    pub region: Region,
    /// Its rank, 1 is the best.
    pub rank: u32,
    /// Its score, lower is better; `None` if only its configured priority ranks it.
    pub score: Option<Duration>,
}

/// The count of the votes on a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Vantages that vote down, including this one.
    pub down: u32,
    /// Vantages that have reached the region since.
    pub up: u32,
    /// Vantages that know nothing, or are isolated.
    pub abstain: u32,
    /// Vantages whose votes count: fresh, not isolated, with an opinion or about to have one.
    pub voters: u32,
    /// How many of them must vote down.
    pub needed: u32,
    /// Whether enough voters vote down, and the voters are more than half of all configured vantages.
    pub reached: bool,
    /// Whether so many have reached the region since that a quorum is not possible any more.
    pub contradicted: bool,
}

/// One stage of one incident, as this vantage sends it to Alertmanager.
///
/// Peer and stage are its identity. Everything else may change while it is active.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// The region that is down.
    pub peer: Region,
    /// Its stage.
    pub stage: Stage,
    /// The same on every vantage that votes on it: the receiver's idempotency key.
    pub id: Arc<str>,
    /// When the first lost probe was sent.
    pub onset: UnixMillis,
    /// Its cause; what an operator has ordered has none.
    pub cause: Cause,
    /// Whether a quorum confirmed it; or most vantages know the command of an operator.
    pub confirmed: bool,
    /// The votes. For what an operator has ordered: how many of how many vantages know the command.
    pub tally: Tally,
    /// The regions that can take over, best first.
    pub candidates: Vec<Candidate>,
    /// Why the region is not failed over, if something prevents it.
    pub blocked: Option<Blocked>,
    /// The vantages whose files prevent it.
    pub blocked_by: Vec<Region>,
    /// Whether its services seem to fail from a cause that several regions share, so that it is not failed over either.
    pub common_mode: bool,
    /// What a failover to the first candidate would lose of the databases, as of the onset; `None` if nothing or unknown.
    pub loss: Option<LossBounds>,
    /// What the failover has lost, once another region takes writes.
    pub lost: Option<RealisedLoss>,
    /// The evidence in one sentence, for people.
    pub evidence: String,
    /// The operator who has ordered it, without an outage; `None`: the vantages did, because of one.
    pub ordered_by: Option<Arc<str>>,
    /// When it was resolved, if it is.
    pub resolved: Option<UnixMillis>,
    /// Of an order to fail over: the vantages that sign it, because they hold the region down now.
    pub signatures: Vec<OrderSignature>,
}

impl Incident {
    /// What stands for the cause of what an operator has ordered.
    pub const BY_OPERATOR: &'static str = "operator";

    /// Its cause in one word.
    pub const fn cause_label(&self) -> &'static str {
        match self.ordered_by {
            Some(_) => Self::BY_OPERATOR,
            None => self.cause.as_str(),
        }
    }

    /// Whether the other one reports the same: signatures are renewed every second, and only their vantages count.
    pub fn reports_same(&self, other: &Self) -> bool {
        let signers =
            |incident: &Self| incident.signatures.iter().map(|signed| signed.vantage.clone()).collect::<Vec<_>>();
        let bare = |incident: &Self| Self { signatures: Vec::new(), ..incident.clone() };
        signers(self) == signers(other) && bare(self) == bare(other)
    }
}
