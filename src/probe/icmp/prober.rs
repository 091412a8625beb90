//! ICMP echo, timed from the kernel's departure timestamp to its arrival timestamp.
//!
//! Each path has a ping socket of its own: the kernel then delivers only this path's replies and errors, and a fresh socket
//! means a fresh identifier.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    super::prober::{Probe, ProbeError},
    echo_socket::EchoSocket,
};
use crate::{
    model::{Failure, Phase, Timings},
    net::{Attempt, ClockWatch, Measured, ResolvedHost, SocketOptions},
};

/// After so many losses in a row a new socket is opened: connection tracking on the way may have an entry from
/// the time of the outage that swallows every packet with the old identifier.
const RENEW_AFTER: u32 = 3;

/// The shortest time between two such renewals. The replaced socket is kept until the next one, so that answers
/// that are late by less than this are still seen.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);

/// Pings one target.
#[derive(Debug)]
pub(crate) struct IcmpProbe {
    resolved: ResolvedHost,
    size: u16,
    options: SocketOptions,
    sockets: Mutex<Sockets>,
}

#[derive(Debug, Default)]
struct Sockets {
    current: Option<Arc<EchoSocket>>,
    previous: Option<Arc<EchoSocket>>,
    losses: u32,
    renewed: Option<Instant>,
}

impl IcmpProbe {
    /// A probe with so many bytes of payload. Opens nothing yet.
    pub(super) fn new(resolved: ResolvedHost, size: u16, options: SocketOptions) -> Self {
        Self { resolved, size, options, sockets: Mutex::default() }
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket to use now: the current one, or a new one where the address changed, the last one broke, or
    /// an outage has lasted.
    fn socket(&self, address: IpAddr) -> Result<Arc<EchoSocket>, Failure> {
        let mut sockets = self.sockets();
        let now = Instant::now();
        let usable = sockets.current.as_ref().filter(|socket| socket.peer == address);
        let stale =
            sockets.losses >= RENEW_AFTER && sockets.renewed.is_none_or(|at| now.duration_since(at) >= RENEW_INTERVAL);
        if let (Some(socket), false) = (usable, stale) {
            return Ok(Arc::clone(socket));
        }
        match EchoSocket::open(address, self.options, self.size) {
            Ok(socket) => {
                let socket = Arc::new(socket);
                sockets.previous = sockets.current.replace(Arc::clone(&socket));
                if stale {
                    sockets.renewed = Some(now);
                    sockets.losses = 0;
                }
                Ok(socket)
            }
            Err(error) => {
                sockets.current = None;
                if error.kind() == io::ErrorKind::PermissionDenied {
                    warn_once();
                }
                debug!(%address, "cannot open a ping socket: {error}");
                Err(Failure::Local)
            }
        }
    }
}

/// Says once in the life of the process what to do about missing permission.
fn warn_once() {
    static TOLD: std::sync::Once = std::sync::Once::new();
    TOLD.call_once(|| {
        warn!(
            "ping is not permitted here, so icmp probes report the result \"local\"; permit it with \
             sysctl net.ipv4.ping_group_range=\"0 2147483647\" (in Kubernetes: securityContext.sysctls of the \
             pod); regionwatch doctor shows what else this environment permits"
        );
    });
}

impl Probe for IcmpProbe {
    // Late answers are found by later attempts on the same socket.
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let address = self.resolved.address(attempt).await?;
        attempt.enter(Phase::Rtt);
        let socket = self.socket(address)?;
        let previous = self.sockets().previous.clone();
        if let Some(previous) = previous {
            // Nobody else reads there any more.
            previous.receive_all();
            previous.report(attempt);
        }
        socket.report(attempt);
        let watch = ClockWatch::start();
        let request = match socket.send() {
            Ok(request) => request,
            Err(failure) => {
                // The kernel's count of packets and ours may be out of step now.
                self.sockets().current = None;
                return Err(failure.into());
            }
        };
        let loss = Loss(Some(self));
        let reply = request.answer().await;
        loss.averted();
        let reply = reply?;
        if watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        let mut measured = Measured::default();
        measured.add(Phase::Rtt, reply.rtt);
        Ok(Timings { hop_limit: reply.hop_limit, ..measured.into_timings(&self.resolved) })
    }
}

/// Counts a loss when dropped unanswered, as happens at the deadline.
struct Loss<'a>(Option<&'a IcmpProbe>);

impl Loss<'_> {
    fn averted(mut self) {
        if let Some(probe) = self.0.take() {
            probe.sockets().losses = 0;
        }
    }
}

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        if let Some(probe) = self.0 {
            probe.sockets().losses += 1;
        }
    }
}
