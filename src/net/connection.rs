//! A connection to a peer, with TLS or without, whose phases are measured.

use std::{net::SocketAddr, path::Path, sync::Arc};

use tokio_util::either::Either;

use super::{
    attempt::Attempt,
    clock::Elapsed,
    options::SocketOptions,
    resolver::ResolvedHost,
    stream::{Stream, StreamTimestamps, connect},
    tls::{Connector, TlsStream},
    unix::connect_unix,
};
use crate::model::{Failure, Phase, PhaseTimes, StampSource, Timings};

/// What an attempt has measured so far.
#[derive(Debug)]
pub(crate) struct Measured {
    phases: PhaseTimes,
    source: StampSource,
    syn_retransmits: u32,
}

impl Default for Measured {
    /// Nothing yet.
    fn default() -> Self {
        let phases = PhaseTimes::default();
        Self { phases, source: StampSource::Kernel, syn_retransmits: 0 }
    }
}

impl Measured {
    /// Adds to a phase, which may come up more than once.
    pub(crate) fn add(&mut self, phase: Phase, Elapsed { duration, source }: Elapsed) {
        self.phases.add(phase, duration);
        self.source = self.source.and(source);
    }

    /// Gives phases other names; those that get the same one are added up.
    pub(crate) fn rename_phases(&mut self, name: impl Fn(Phase) -> Phase) {
        let mut phases = PhaseTimes::default();
        self.phases.iter().for_each(|(phase, duration)| phases.add(name(phase), duration));
        self.phases = phases;
    }

    /// Timings whose total is the sum of the phases, with the phase `resolve` beside it if the host's name was looked up
    /// since the last time.
    pub(crate) fn into_timings(mut self, host: &ResolvedHost) -> Timings {
        let total = self.phases.total();
        host.report(&mut self.phases);
        Timings { total, syn_retransmits: self.syn_retransmits, ..Timings::new(self.phases, self.source) }
    }
}

/// A connection, with TLS or without.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) io: Either<Stream, TlsStream>,
}

impl Connection {
    /// Connects from a fresh port, and shakes hands if there is a connector. Adds the phases `connect` and `tls`.
    ///
    /// # Errors
    /// The failure as it is counted.
    pub(crate) async fn open(
        server: SocketAddr,
        options: SocketOptions,
        connector: Option<&Connector>,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Self, Failure> {
        attempt.enter(Phase::Connect);
        let (stream, connected) = connect(server, options).await?;
        measured.add(Phase::Connect, connected.elapsed);
        measured.syn_retransmits += connected.syn_retransmits;
        let connection = Self { io: Either::Left(stream) };
        match connector {
            Some(connector) => connection.secure(connector, measured, attempt).await,
            None => Ok(connection),
        }
    }

    /// Connects to a Unix socket. Adds the phase `connect`.
    ///
    /// # Errors
    /// The failure as it is counted.
    pub(super) async fn open_unix(
        path: &Arc<Path>,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Self, Failure> {
        attempt.enter(Phase::Connect);
        let (stream, connected) = connect_unix(path, attempt).await?;
        measured.add(Phase::Connect, connected.elapsed);
        Ok(Self { io: Either::Left(stream) })
    }

    /// Shakes hands on a connection without TLS. Adds the phase `tls`.
    ///
    /// # Errors
    /// The failure as it is counted.
    pub(crate) async fn secure(
        self,
        connector: &Connector,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Self, Failure> {
        let stream = match self.io {
            Either::Left(stream) => stream,
            Either::Right(_) => return Ok(self),
        };
        attempt.enter(Phase::Tls);
        let timestamps = stream.enable_timestamps();
        timestamps.begin();
        let stream = connector.handshake(stream, attempt).await?;
        // From the departure of our first byte to the arrival of the peer's last. What we compute between them is in it;
        // what we compute after, such as verifying the certificate in TLS 1.3, is not.
        let readings = timestamps.read();
        if let Some(elapsed) = Elapsed::between(readings.first_sent, readings.last_received) {
            measured.add(Phase::Tls, elapsed);
        }
        Ok(Self { io: Either::Right(stream) })
    }

    /// Asks the kernel for timestamps from here on, which stay readable when the connection is given away.
    pub(crate) fn enable_timestamps(&self) -> Arc<StreamTimestamps> {
        match &self.io {
            Either::Left(stream) => stream.enable_timestamps(),
            Either::Right(stream) => stream.get_ref().0.timestamps(),
        }
    }

    /// The protocol that TLS negotiated.
    pub(crate) fn alpn_protocol(&self) -> Option<&[u8]> {
        match &self.io {
            Either::Left(_) => None,
            Either::Right(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}
