//! From samples and votes to verdicts, incidents and failover targets: [`Vantage::handle`] takes an [`Input`] and gives
//! [`Effects`]. Pure: no clock, no I/O, no configuration, no metrics.

mod effects;
mod evidence;
mod execution;
mod explanation;
mod extra_probes;
mod failover_targets;
mod incidents;
mod isolation;
mod local_health;
mod losses;
mod now;
mod operator_order;
mod peer;
mod quality;
pub mod ranking;
mod remembered;
mod restored;
mod rule;
mod statements;
mod times;
mod vantage;
mod verdict;
mod vote_message;
pub mod votes;

pub use self::{
    effects::{Effects, Input, PeerSetup, Policy, Setup, StateChange, StatementNews},
    evidence::{Evidence, Failing, PathInfo, ServiceFailure, seen::SeenPath},
    explanation::{Explanation, Gates, NextVote, Restriction, Stated},
    incidents::OpenIncident,
    isolation::{Isolation, IsolationReason},
    now::Now,
    operator_order::{OperatorOrder, OrderStatus},
    peer::PeerStatus,
    quality::{Quality, QualityFault, QualitySample},
    remembered::{Orderer, Released, Remembered},
    rule::Rule,
    vantage::Vantage,
    verdict::{Transition, Verdict},
};
