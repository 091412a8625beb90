//! What the server is given: shared state, and the queries that only the engine can answer.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::{api::PathFilter, client::KnownVantages};
use crate::{
    decision::{Explanation, votes::Keys},
    metrics::Metrics,
    model::{HttpUrl, LabelValue, Region},
    status::Overview,
    window::PathHistory,
};

/// What is served.
pub struct ServerState {
    /// The metrics behind `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Where queries for the engine go.
    pub queries: mpsc::Sender<Query>,
    /// Whether `POST /-/reload` is served.
    pub lifecycle: bool,
    /// Where users reach this server, besides its addresses.
    pub external_url: watch::Receiver<Option<HttpUrl>>,
    /// What `/-/ready` reports.
    pub ready: Arc<AtomicBool>,
    /// Whose connections come first.
    pub vantages: KnownVantages,
    /// The vantage region, for the status page.
    pub region: Region,
    /// The environment, for the status page and `/api/v1/probes`.
    pub environment: Option<LabelValue>,
    /// The version of this program, for the status page.
    pub version: &'static str,
}

/// A question that only the engine can answer. Its receiver is dropped when the server does not wait any longer.
#[derive(Debug)]
pub enum Query {
    /// Reload the configuration; the error has one mistake per line.
    Reload(oneshot::Sender<Result<(), String>>),
    /// The vote message of this vantage; the sender is dropped if there is none.
    Votes(oneshot::Sender<EncodedVotes>),
    /// Everything that the status page shows.
    Overview(oneshot::Sender<Overview>),
    /// The decision about a peer.
    Explain {
        /// The peer.
        region: Region,
        /// Takes the decision; `None` if there is no such peer.
        reply: oneshot::Sender<Option<Explanation>>,
    },
    /// A command of an operator: what was done, or why it is refused.
    Command {
        /// The value of the header field that carries it.
        value: Bytes,
        /// Takes the answer.
        reply: oneshot::Sender<Result<String, String>>,
    },
    /// The recent probes of some paths.
    Probes {
        /// Which paths, and how many at most.
        filter: PathFilter,
        /// Takes the paths, in the same order for every request.
        reply: oneshot::Sender<Histories>,
    },
}

/// Probe histories, copied for the server.
#[derive(Debug, Default)]
pub struct Histories {
    /// The histories.
    pub paths: Vec<PathHistory>,
    /// CPU time of the copy.
    pub cost: Duration,
}

/// The vote message of this vantage as it is served.
#[derive(Debug, Clone)]
pub struct EncodedVotes {
    /// The encoded message.
    pub body: Bytes,
    /// Signs it for a client that sends a nonce.
    pub keys: Option<Keys>,
}
