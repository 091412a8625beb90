//! From samples and votes to verdicts, incidents and failover targets. Pure: no clock, no I/O, no configuration, no metrics.

mod evidence;
mod extra_probes;
mod incidents;
mod isolation;
mod local_health;
mod peer;
mod quality;
pub mod ranking;
mod vantage;
mod verdict;
pub mod votes;

pub use self::{
    evidence::{Evidence, Failing, PathInfo},
    isolation::{Isolation, IsolationReason},
    quality::{Quality, QualitySample},
    vantage::{IncidentView, Now, PeerSetup, PeerStatus, Policy, StateChange, Vantage},
    verdict::{Transition, Verdict},
};
