//! A TCP connection, with TLS or a short dialogue where asked for.

use std::{net::SocketAddr, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Probe, ProbeError};
use crate::{
    config::TcpSpec,
    model::{Failure, Host, Phase, PhaseTimes, Timings},
    net::{self, Attempt, ClockWatch, Connector, ResolvedHost, SocketOptions, TlsContext, TlsError},
};

/// How much of what the peer says is looked at.
const EXPECT_LIMIT: usize = 64 << 10;

/// Connects to one target.
#[derive(Debug)]
pub struct TcpProbe {
    resolved: ResolvedHost,
    spec: TcpSpec,
    options: SocketOptions,
    tls: Option<Connector>,
}

impl TcpProbe {
    /// A probe of the target.
    ///
    /// # Errors
    /// TLS settings that cannot be used.
    pub fn new(
        resolved: ResolvedHost,
        host: &Host,
        spec: TcpSpec,
        tos: Option<u8>,
        tls: &TlsContext,
    ) -> Result<Self, TlsError> {
        let connector = spec.tls.as_ref().map(|spec| tls.connector(spec, host, &[])).transpose()?;
        Ok(Self { resolved, spec, options: SocketOptions { tos, ..SocketOptions::default() }, tls: connector })
    }

    /// A probe that only connects.
    pub fn plain(resolved: ResolvedHost, port: u16) -> Self {
        let spec = TcpSpec { port, tls: None, send: None, expect: None };
        Self { resolved, spec, options: SocketOptions::default(), tls: None }
    }

    /// Says and hears what is configured; the time for it is not measured.
    async fn converse(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        attempt: &Attempt,
    ) -> Result<(), Failure> {
        if self.spec.send.is_some() || self.spec.expect.is_some() {
            attempt.enter(Phase::Processing);
        }
        if let Some(send) = &self.spec.send {
            stream.write_all(send).await.map_err(|error| net::tls_failure(&error))?;
        }
        let Some(expect) = &self.spec.expect else { return Ok(()) };
        let mut heard = Vec::with_capacity(1024);
        while heard.len() < EXPECT_LIMIT {
            let mut part = (&mut stream).take((EXPECT_LIMIT - heard.len()) as u64);
            let count = part.read_buf(&mut heard).await.map_err(|error| net::tls_failure(&error))?;
            if expect.is_match(&String::from_utf8_lossy(&heard)) {
                return Ok(());
            }
            if count == 0 {
                break;
            }
            // It speaks, but has not said the right thing.
            attempt.set_timeout_reason(Failure::Mismatch);
        }
        Err(Failure::Mismatch)
    }
}

impl Probe for TcpProbe {
    const LINGERS: bool = true;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let address = self.resolved.address(attempt).await?;
        let watch = ClockWatch::start();
        attempt.enter(Phase::Connect);
        let (stream, connected) = net::connect(SocketAddr::new(address, self.spec.port), self.options).await?;
        let mut phases = PhaseTimes::default();
        phases.add(Phase::Connect, connected.duration);
        let mut source = connected.source;
        let mut certificate_expiry = None;
        match &self.tls {
            None => self.converse(stream, attempt).await?,
            Some(connector) => {
                let timestamps = stream.enable_timestamps();
                attempt.enter(Phase::Tls);
                let stream = connector.handshake(stream, &timestamps, &mut phases, &mut source).await?;
                certificate_expiry = net::expiry(&stream);
                self.converse(stream, attempt).await?;
            }
        }
        // The round trip of a plain connection is the kernel's and knows no wall clock.
        if phases.total() != connected.duration && watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        let total: Duration = phases.total();
        self.resolved.report(&mut phases);
        Ok(Timings {
            total,
            syn_retransmits: connected.syn_retransmits,
            certificate_expiry,
            ..Timings::new(phases, source)
        })
    }
}
