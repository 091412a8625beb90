//! What measures one path again and again, whatever its kind.

use std::net::SocketAddr;

use tokio::sync::mpsc;

use crate::{
    model::{AddressFamily, Failure, Host, Region, Source, Timings, VoteResponse},
    net::{Attempt, ClientError, ResolvedHost, Resolver, SocketOptions, TlsContext, TlsError},
};

/// Something that can be measured again and again.
pub trait Probe: Send + Sync + 'static {
    /// Whether an answer that comes after the deadline is still waited for, so that it can be counted as late.
    const LINGERS: bool;

    /// Measures once. The caller ends it at the deadline by dropping it; it must hold nothing that outlives that.
    fn probe(&self, attempt: &Attempt) -> impl Future<Output = Result<Timings, ProbeError>> + Send;
}

/// Why a probe has no timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeError {
    /// It failed.
    Failed(Failure),
    /// The wall clock was set during the probe, so its timestamps have no meaning.
    ClockStep,
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a prober is made of besides its specification.
#[derive(Debug)]
pub struct ProberContext<'a> {
    /// The peer's name or address, as configured.
    pub host: &'a Host,
    /// Its addresses, kept up to date.
    pub resolved: ResolvedHost,
    /// How those of other hosts are found.
    pub lookup: Lookup<'a>,
    /// The type-of-service byte of what is sent.
    pub tos: Option<u8>,
    /// Where it is sent from.
    pub source: Option<Source>,
    /// What all TLS connections share.
    pub tls: &'a TlsContext,
    /// Where the responses of the peer's sidecar go, if its votes are wanted.
    pub responses: Option<ResponseSender>,
}

/// How the addresses of hosts are found: as those of the target.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// What looks names up.
    pub resolver: &'a Resolver,
    /// Which addresses of a name are used.
    pub family: AddressFamily,
    /// The name server that is asked, where it is not those of the system.
    pub name_server: Option<SocketAddr>,
}

impl<'a> Lookup<'a> {
    /// By the servers of the system, for addresses of any family.
    pub const fn by(resolver: &'a Resolver) -> Self {
        Self { resolver, family: AddressFamily::Any, name_server: None }
    }

    /// The addresses of a host.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn of(&self, host: &Host) -> ResolvedHost {
        self.resolver.lookup_at(host, self.family, self.name_server)
    }
}

impl ProberContext<'_> {
    /// Options for sockets that the kind itself asks nothing of.
    pub(super) fn socket_options(&self) -> SocketOptions {
        // A link-local address is found by the interface that its packets leave from.
        let zone = self.host.zone().map(Source::Interface);
        SocketOptions { tos: self.tos, source: self.source.or(zone), ..SocketOptions::default() }
    }
}

/// Where the responses of a peer's sidecar go.
#[derive(Debug, Clone)]
pub struct ResponseSender {
    /// The region of the sidecar.
    pub peer: Region,
    /// A response that finds the channel full is dropped: the next one is on its way.
    pub response_tx: mpsc::Sender<VoteResponse>,
}

/// Why a prober cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS settings cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// DNS cannot be asked for this name.
    #[error("{0:?} is not a DNS name")]
    Query(String),
}

/// Takes a prober, whatever its type, such as to launch it on schedule.
pub trait ProberVisitor {
    /// What it makes of the prober.
    type Output;

    /// Takes the prober.
    fn visit<P: Probe>(self, prober: P) -> Self::Output;
}
