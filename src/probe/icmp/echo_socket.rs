//! A ping socket to one peer, and the requests that are under way on it.
//!
//! Whichever waiting request is polled reads everything that has arrived, and files it for the others.

use std::{
    io,
    net::IpAddr,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use socket2::Type;

use super::packet::{HEADER, TOKEN, decode, encode};
use crate::{
    model::Failure,
    net::{
        Attempt, ClockReading, DATAGRAM_BUDGET, Datagram, Elapsed, ErrorQueueEvent, PingSocketKind, ReadMore,
        SocketOptions, Timestamp, local_failure, open_ping_socket,
    },
};

/// How many answered requests are remembered, to tell a duplicate from a late answer.
const REMEMBERED: usize = 64;

#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) rtt: Elapsed,
    pub(super) hop_limit: Option<u8>,
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
    received: ClockReading,
    hop_limit: Option<u8>,
}

/// A ping socket to one peer and what is under way on it.
#[derive(Debug)]
pub(super) struct EchoSocket {
    io: Datagram,
    kind: PingSocketKind,
    pub(super) peer: IpAddr,
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
    pub(super) fn open(peer: IpAddr, options: SocketOptions, size: u16) -> io::Result<Self> {
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
    pub(super) fn send(&self) -> Result<Request<'_>, Failure> {
        let mut state = self.state();
        let counter = state.counter;
        state.counter += 1;
        let packet = state.packets;
        encode(&mut state.request, self.identifier, counter, self.secret, self.raw_v4());
        let before = Timestamp::now();
        if self.io.send(&state.request).is_err() {
            // The next call returns an ICMP error to an earlier request. A packet that was too large for a router has the
            // same error as one that is too large for our interface: so read the error queue, then try again.
            self.read_error_queue(&mut state, None);
            self.io.send(&state.request).map_err(|error| local_failure(&error))?;
        }
        state.packets = state.packets.wrapping_add(1);
        state.pending.push(Pending { counter, packet, before, departed: None, outcome: None, waker: None });
        self.read_error_queue(&mut state, Some(packet));
        Ok(Request { socket: self, counter })
    }

    fn raw_v4(&self) -> bool {
        self.kind == PingSocketKind::Raw && self.peer.is_ipv4()
    }

    /// Reads and files what has arrived, within the budget; for a socket that no request waits on any more.
    pub(super) fn receive_all(&self) {
        self.take(&mut self.state(), None);
    }

    /// Reads what has come and files it: up to the answer to the request `wanted`, or all. Returns whether there may be
    /// more, because the budget was used up.
    fn take(&self, state: &mut State, wanted: Option<u64>) -> bool {
        let mut buffer = std::mem::take(&mut state.buffer);
        let mut more = true;
        for _ in 0..DATAGRAM_BUDGET {
            match self.io.try_receive(&mut buffer) {
                Ok(message) => {
                    let bytes = &buffer[..message.len.min(buffer.len())];
                    let Some(reply) = decode(bytes, self.socket_type(), self.peer, self.secret) else { continue };
                    if self.kind == PingSocketKind::Raw && reply.identifier != self.identifier {
                        continue;
                    }
                    state.file_reply(reply.counter, message.timestamp, message.hop_limit);
                    if wanted == Some(reply.counter) {
                        more = false;
                        break;
                    }
                }
                Err(error) => {
                    // An ICMP error is returned here too; only the error queue has the request that it belongs to.
                    let empty = error.kind() == io::ErrorKind::WouldBlock;
                    let entries = self.read_error_queue(state, None);
                    if entries == 0 || empty {
                        more = entries == DATAGRAM_BUDGET;
                        break;
                    }
                }
            }
        }
        state.buffer = buffer;
        more
    }

    fn socket_type(&self) -> Type {
        match self.kind {
            PingSocketKind::Datagram => Type::DGRAM,
            PingSocketKind::Raw => Type::RAW,
        }
    }

    /// Files the entries of the error queue, within the budget: up to the departure of the packet `wanted`, or all.
    /// Returns how many there were.
    fn read_error_queue(&self, state: &mut State, wanted: Option<u32>) -> usize {
        // Room for the header of a request that is quoted, whatever lies on top of it.
        let mut buffer = [0; 128];
        for entries in 0..DATAGRAM_BUDGET {
            let Ok(notice) = self.io.try_error_queue(&mut buffer) else { return entries };
            match notice {
                ErrorQueueEvent::Sent { id, at } => {
                    state.file_departure(id, at);
                    if wanted == Some(id) {
                        return entries + 1;
                    }
                }
                // How the kernel reports a redirect or a source quench to a datagram socket (ping_err in
                // net/ipv4/ping.c): the request travels on.
                ErrorQueueEvent::Icmp { errno: libc::EREMOTEIO, .. } => {}
                ErrorQueueEvent::Icmp { quoted, .. } => {
                    let quoted = &buffer[..quoted.min(buffer.len())];
                    // A raw socket receives the errors of all sockets that are connected to the peer.
                    let ours = quoted.get(4..6) == Some(self.identifier.to_be_bytes().as_slice());
                    if self.kind == PingSocketKind::Datagram || ours {
                        state.file_error(quoted);
                    }
                }
                ErrorQueueEvent::Local { .. } | ErrorQueueEvent::Other => {}
            }
        }
        DATAGRAM_BUDGET
    }

    /// Reports to an attempt what was received since the last report.
    pub(super) fn report(&self, attempt: &Attempt) {
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
        let arrival = Arrival { received: ClockReading::received(timestamp), hop_limit };
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
pub(super) struct Request<'a> {
    socket: &'a EchoSocket,
    counter: u64,
}

impl Request<'_> {
    /// Waits for the answer, and reads for all requests meanwhile.
    pub(super) async fn answer(&self) -> Result<Reply, Failure> {
        let mut reading = pin!(self.socket.io.until(|| {
            let mut state = self.socket.state();
            let more = self.socket.take(&mut state, Some(self.counter));
            let wait = if more { io::ErrorKind::Interrupted } else { io::ErrorKind::WouldBlock };
            let answer = self.taken(&mut state).ok_or(wait)?;
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
            let sent = ClockReading::sent(pending.departed, pending.before);
            Reply { rtt: arrival.received.since(sent), hop_limit: arrival.hop_limit }
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
