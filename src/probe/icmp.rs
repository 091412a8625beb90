//! ICMP echo (RFC 792, RFC 4443), timed from the kernel's departure timestamp to its arrival timestamp.
//!
//! Each path has a ping socket of its own: the kernel then delivers only this path's replies and errors, and a
//! fresh socket means a fresh identifier. Several requests may be under way on it. Whoever of their waiters is
//! awake reads what has come and files it for the others.

mod packet;

use std::{
    io,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use socket2::Type;
use tokio::time::Instant;
use tracing::{debug, warn};

pub use self::packet::fuzz_reply;
use self::packet::{HEADER, TOKEN, decode, encode};
use super::{Probe, ProbeError};
use crate::{
    config::IcmpSpec,
    model::{Failure, Phase, PhaseTimes, StampSource, Timings},
    net::{
        Attempt, ClockWatch, Datagram, ErrorQueueEvent, PingSocketKind, ReadMore, ResolvedHost, SocketOptions,
        Timestamp, open_ping_socket,
    },
};

/// After so many losses in a row a new socket is opened: connection tracking on the way may have an entry from
/// the time of the outage that swallows every packet with the old identifier.
const RENEW_AFTER: u32 = 3;

/// The shortest time between two such renewals. The replaced socket is kept until the next one, so that answers
/// that are late by less than this are still seen.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);

/// How many answered requests are remembered, to tell a duplicate from a late answer.
const REMEMBERED: usize = 64;

/// Pings one target.
#[derive(Debug)]
pub struct IcmpProbe {
    resolved: ResolvedHost,
    spec: IcmpSpec,
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
    /// A probe of the target; opens nothing yet.
    pub fn new(resolved: ResolvedHost, spec: IcmpSpec, tos: Option<u8>) -> Self {
        let options = SocketOptions { tos, ttl: spec.ttl, dont_fragment: Some(spec.dont_fragment) };
        Self { resolved, spec, options, sockets: Mutex::default() }
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
        match EchoSocket::open(address, self.options, self.spec.size) {
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
            previous.take(&mut previous.state(), None);
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
        let mut phases = PhaseTimes::default();
        phases.add(Phase::Rtt, reply.rtt);
        let total = phases.total();
        self.resolved.report(&mut phases);
        Ok(Timings { total, hop_limit: reply.hop_limit, ..Timings::new(phases, reply.source) })
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

#[derive(Debug, Clone, Copy)]
struct Reply {
    rtt: Duration,
    source: StampSource,
    hop_limit: Option<u8>,
}

/// A request that has not been answered yet.
#[derive(Debug)]
struct Pending {
    counter: u64,
    /// The kernel's number of the packet, by which its departure timestamp is known.
    packet: u32,
    before: Timestamp,
    departed: Option<Timestamp>,
    outcome: Option<Result<Arrival, Failure>>,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: Timestamp,
    source: StampSource,
    hop_limit: Option<u8>,
}

/// A ping socket to one peer and what is under way on it.
#[derive(Debug)]
struct EchoSocket {
    io: Datagram,
    kind: PingSocketKind,
    peer: IpAddr,
    identifier: u16,
    secret: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    counter: u64,
    /// How many packets the kernel has numbered.
    packets: u32,
    pending: Vec<Pending>,
    answered: Vec<u64>,
    late: u32,
    duplicates: u32,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl EchoSocket {
    fn open(peer: IpAddr, options: SocketOptions, size: u16) -> io::Result<Self> {
        let (io, kind) = open_ping_socket(peer, options)?;
        let mut request = vec![0; HEADER + usize::from(size).max(TOKEN)];
        // Echo request: type 8 (RFC 792), 128 (RFC 4443).
        request[0] = if peer.is_ipv4() { 8 } else { 128 };
        // An IPv4 header with options may come before the reply.
        let buffer = vec![0; request.len() + 60];
        let state = State {
            counter: 0,
            packets: 0,
            pending: Vec::new(),
            answered: Vec::new(),
            late: 0,
            duplicates: 0,
            request,
            buffer,
        };
        Ok(Self { io, kind, peer, identifier: rand::random(), secret: rand::random(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the next request.
    fn send(&self) -> Result<Request<'_>, Failure> {
        let mut state = self.state();
        let counter = state.counter;
        state.counter += 1;
        let packet = state.packets;
        encode(&mut state.request, self.identifier, counter, self.secret, self.raw_v4());
        let before = Timestamp::now();
        if self.io.send(&state.request).is_err() {
            // An ICMP error to an earlier request is told at the next call, a packet that was too large for a router
            // with the very error of one that is too large for our interface: hear it, then try again.
            self.read_error_queue(&mut state, None);
            self.io.send(&state.request).map_err(|error| crate::net::local_failure(&error))?;
        }
        state.packets = state.packets.wrapping_add(1);
        state.pending.push(Pending { counter, packet, before, departed: None, outcome: None, waker: None });
        self.read_error_queue(&mut state, Some(packet));
        Ok(Request { socket: self, counter })
    }

    fn raw_v4(&self) -> bool {
        self.kind == PingSocketKind::Raw && self.peer.is_ipv4()
    }

    /// Reads what has come and files it: up to the answer to the request `wanted`, or all.
    fn take(&self, state: &mut State, wanted: Option<u64>) {
        let mut buffer = std::mem::take(&mut state.buffer);
        loop {
            match self.io.try_receive(&mut buffer) {
                Ok(message) => {
                    let bytes = &buffer[..message.len.min(buffer.len())];
                    let Some(reply) = decode(bytes, self.socket_type(), self.peer, self.secret) else { continue };
                    if self.kind == PingSocketKind::Raw && reply.identifier != self.identifier {
                        continue;
                    }
                    state.file_reply(reply.counter, message.timestamp, message.hop_limit);
                    if wanted == Some(reply.counter) {
                        break;
                    }
                }
                Err(error) => {
                    // Where the error queue has an ICMP error, it is told here, too; there it says of which request.
                    let empty = error.kind() == io::ErrorKind::WouldBlock;
                    if !self.read_error_queue(state, None) || empty {
                        break;
                    }
                }
            }
        }
        state.buffer = buffer;
    }

    fn socket_type(&self) -> Type {
        match self.kind {
            PingSocketKind::Datagram => Type::DGRAM,
            PingSocketKind::Raw => Type::RAW,
        }
    }

    /// Files what stands in the error queue: up to the departure of the packet `wanted`, or all. Says whether there
    /// was anything.
    fn read_error_queue(&self, state: &mut State, wanted: Option<u32>) -> bool {
        // Room for the header of a request that is quoted, whatever lies on top of it.
        let mut buffer = [0; 128];
        let mut any = false;
        while let Ok(notice) = self.io.try_error_queue(&mut buffer) {
            any = true;
            match notice {
                ErrorQueueEvent::Sent { id, at } => {
                    state.file_departure(id, at);
                    if wanted == Some(id) {
                        break;
                    }
                }
                // How the kernel tells a datagram socket of a redirect or a source quench (ping_err in
                // net/ipv4/ping.c): the request travels on.
                ErrorQueueEvent::Icmp { errno: libc::EREMOTEIO, .. } => {}
                ErrorQueueEvent::Icmp { quoted, .. } => {
                    let quoted = &buffer[..quoted.min(buffer.len())];
                    // A raw socket hears the errors of all that are connected to the peer.
                    let ours = quoted.get(4..6) == Some(self.identifier.to_be_bytes().as_slice());
                    if self.kind == PingSocketKind::Datagram || ours {
                        state.file_error(quoted);
                    }
                }
                ErrorQueueEvent::Local { .. } | ErrorQueueEvent::Other => {}
            }
        }
        any
    }

    /// Tells an attempt what was seen since the last one was told.
    fn report(&self, attempt: &Attempt) {
        let mut state = self.state();
        attempt.note_late(std::mem::take(&mut state.late));
        attempt.note_duplicates(std::mem::take(&mut state.duplicates));
    }
}

impl State {
    fn file_departure(&mut self, packet: u32, at: Timestamp) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.packet == packet) {
            pending.departed.get_or_insert(at);
        }
    }

    fn file_reply(&mut self, counter: u64, timestamp: Option<Timestamp>, hop_limit: Option<u8>) {
        let arrival = match timestamp {
            Some(at) => Arrival { at, source: StampSource::Kernel, hop_limit },
            None => Arrival { at: Timestamp::now(), source: StampSource::Userland, hop_limit },
        };
        match self.pending.iter_mut().find(|pending| pending.counter == counter) {
            Some(pending) if pending.outcome.is_none() => {
                pending.complete(Ok(arrival));
                if self.answered.len() == REMEMBERED {
                    self.answered.remove(0);
                }
                self.answered.push(counter);
            }
            Some(_) => self.duplicates += 1,
            None if self.answered.contains(&counter) => self.duplicates += 1,
            None if counter < self.counter => self.late += 1,
            None => {}
        }
    }

    /// Files an ICMP error by the sequence number in the request that it quotes.
    fn file_error(&mut self, quoted: &[u8]) {
        let Some(sequence) = quoted.get(6..8).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes) else {
            return;
        };
        let hit = |pending: &&mut Pending| pending.counter as u16 == sequence && pending.outcome.is_none();
        if let Some(pending) = self.pending.iter_mut().find(hit) {
            pending.complete(Err(Failure::Unreachable));
        }
    }
}

impl Pending {
    fn complete(&mut self, outcome: Result<Arrival, Failure>) {
        self.outcome = Some(outcome);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A request under way; forgotten when dropped.
struct Request<'a> {
    socket: &'a EchoSocket,
    counter: u64,
}

impl Request<'_> {
    /// Waits for the answer, reading for everybody meanwhile.
    async fn answer(&self) -> Result<Reply, Failure> {
        let mut reading = pin!(self.socket.io.until(|| {
            let mut state = self.socket.state();
            self.socket.take(&mut state, Some(self.counter));
            let answer = self.taken(&mut state).ok_or(io::ErrorKind::WouldBlock)?;
            Ok(if state.pending.len() > 1 { ReadMore::More(answer) } else { ReadMore::Last(answer) })
        }));
        std::future::poll_fn(|cx: &mut Context<'_>| {
            if let Poll::Ready(result) = reading.as_mut().poll(cx) {
                return Poll::Ready(result.unwrap_or(Err(Failure::Local)));
            }
            let mut state = self.socket.state();
            match self.taken(&mut state) {
                Some(answer) => Poll::Ready(answer),
                None => {
                    if let Some(pending) = state.pending.iter_mut().find(|p| p.counter == self.counter) {
                        pending.waker = Some(cx.waker().clone());
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn taken(&self, state: &mut State) -> Option<Result<Reply, Failure>> {
        let place = state.pending.iter().position(|pending| pending.counter == self.counter)?;
        let outcome = state.pending[place].outcome?;
        if state.pending[place].departed.is_none() {
            // A packet that had to wait for its neighbour's address left, and was timestamped, after `send`.
            self.socket.read_error_queue(state, None);
        }
        let pending = &state.pending[place];
        Some(outcome.map(|arrival| {
            let (from, source) = match pending.departed {
                Some(departed) => (departed, arrival.source),
                None => (pending.before, StampSource::Userland),
            };
            Reply { rtt: arrival.at.since(from), source, hop_limit: arrival.hop_limit }
        }))
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.socket.state().pending.retain(|pending| pending.counter != self.counter);
    }
}

#[cfg(test)]
mod tests;
