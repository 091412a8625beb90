//! The nouns of all other modules: regions, paths, samples, outcomes.
//!
//! Nothing here does I/O, and a value that exists is valid: names are checked when they are made,
//! closed sets are enums, a cadence cannot have a zero interval.

mod cadence;
mod constant_labels;
mod database;
mod decision;
mod detail;
mod host;
mod kind;
mod labels;
mod loss;
mod name;
mod order;
mod peer_facts;
mod push;
mod sample;
mod shape;
mod time;
pub(crate) mod url;
mod vote_response;

pub(crate) use self::labels::labels;
pub use self::{
    cadence::Cadence,
    constant_labels::{ConstantLabels, ENVIRONMENT, LabelError, LabelName, LabelValue, MAX_LABEL},
    database::{DatabaseEvent, DatabaseNews, Reading, ReplicaState},
    decision::{
        Blocked, Candidate, Cause, FailoverMode, Incident, Ineligible, PeerState, Stage, StateReason, Tally, Vote,
    },
    detail::{CertificateDates, CertificateFault, EmptyAnswer, FailureContext, FailureDetail, HttpFault, RedisFault},
    host::{AddressChoice, AddressFamily, Host, InterfaceName, Source},
    kind::{Facts, Kind, Layer},
    labels::{Label, LabelSet},
    loss::{DatabaseLoss, DatabaseReport, LossBounds, Promotion, RealisedLoss},
    name::{MAX_NAME, NameError, Region, TargetName},
    order::{OrderSignature, Signature},
    peer_facts::{HttpAnswer, HttpProtocol, PeerFacts, TlsFacts},
    push::PushResult,
    sample::{Failure, Outcome, Path, PathId, Phase, PhaseTimes, Sample, StampSource, Timings},
    shape::Shape,
    time::{UnixMillis, Utc},
    url::{HttpUrl, MASK, UrlPath},
    vote_response::{MAX_VOTE_PEERS, NONCE_HEADER, Nonce, SIGNATURE_HEADER, VoteResponse},
};

#[cfg(test)]
mod tests;
