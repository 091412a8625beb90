//! A peer that answers pings as a test wants it to.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::Read,
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use testkit::space::Host;
use tokio::time::Instant;

use crate::stamps::{arrival, now};

/// An echo request that came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) identifier: u16,
    /// The whole ICMP message.
    pub(crate) bytes: &'a [u8],
}

/// What to send back: an ICMP message, or the reply to the request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// The echo reply, this long after the request came in.
    Reply(Duration),
    /// The echo reply at once, with a wrong checksum; of ICMPv4.
    Corrupt,
    /// An ICMPv4 error of this type and code about the request, at once; other words are zero.
    Error(u8, u8),
}

impl Answer {
    /// The reply at once.
    pub(crate) const NOW: Self = Self::Reply(Duration::ZERO);
}

/// How long after their requests answers were sent, in the order in which they were: at least, and at most.
pub(crate) type Replies = Arc<Mutex<Vec<Range<Duration>>>>;

/// Answers pings until it is dropped.
pub(crate) struct Responder {
    replies: Replies,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Answers, in place of a host's kernel, the pings of one client to one address.
    pub(crate) fn start(
        host: &Host,
        address: &'static str,
        client: &'static str,
        answers: impl FnMut(Request<'_>) -> Vec<Answer> + Send + 'static,
    ) -> Self {
        host.set("net/ipv4/icmp_echo_ignore_all", "1");
        host.set("net/ipv6/icmp/echo_ignore_all", "1");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let replies = Replies::default();
        let sent = Arc::clone(&replies);
        let address: IpAddr = address.parse().unwrap();
        let client: IpAddr = client.parse().unwrap();
        // A thread is born into the namespace of the thread that makes it.
        let thread = host.run(move || {
            let (domain, protocol) = match address {
                IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
                IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
            };
            let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
            socket.bind(&SocketAddr::new(address, 0).into()).unwrap();
            let _ = arrival(&socket);
            thread::spawn(move || answer(&socket, address, client, &stopped, &sent, answers))
        });
        Self { replies, stop, thread: Some(thread) }
    }

    pub(crate) fn replies(&self) -> Replies {
        Arc::clone(&self.replies)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(
    mut socket: &Socket,
    address: IpAddr,
    client: IpAddr,
    stopped: &AtomicBool,
    sent: &Mutex<Vec<Range<Duration>>>,
    mut answers: impl FnMut(Request<'_>) -> Vec<Answer>,
) {
    let (request_type, reply_type) = if address.is_ipv4() { (8, 0) } else { (128, 129) };
    let mut due: BinaryHeap<Reverse<(Instant, Vec<u8>, Duration)>> = BinaryHeap::new();
    let mut buffer = [0; 2048];
    while !stopped.load(Ordering::Relaxed) {
        let soon = Instant::now();
        while let Some(Reverse((_, message, arrived))) = due.peek().filter(|Reverse((at, ..))| *at <= soon) {
            let begun = now();
            // A filter of the test may forbid it.
            let _ = socket.send_to(message, &SocketAddr::new(client, 0).into());
            sent.lock().unwrap().push(begun.saturating_sub(*arrived)..now().saturating_sub(*arrived));
            due.pop();
        }
        let next = due.peek().map_or(Duration::from_millis(50), |Reverse((at, ..))| at.duration_since(soon));
        socket.set_read_timeout(Some(next.clamp(Duration::from_millis(1), Duration::from_millis(50)))).unwrap();
        let Ok(len) = socket.read(&mut buffer) else { continue };
        let (came, arrived) = (Instant::now(), arrival(socket).expect("the kernel has stamped the packet"));
        // Only IPv4 hands out the header in front of the message.
        let start = if address.is_ipv4() { usize::from(buffer[0] & 0x0f) * 4 } else { 0 };
        let Some(bytes) = buffer[..len].get(start..).filter(|bytes| bytes.len() >= 8) else { continue };
        if bytes[0] != request_type {
            continue;
        }
        let identifier = u16::from_be_bytes([bytes[4], bytes[5]]);
        for answer in answers(Request { identifier, bytes }) {
            let mut reply = bytes.to_vec();
            reply[0] = reply_type;
            let is_corrupt = matches!(answer, Answer::Corrupt);
            let (delay, message) = match answer {
                Answer::Reply(delay) => (delay, reply),
                Answer::Corrupt => (Duration::ZERO, reply),
                Answer::Error(kind, code) => {
                    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
                    message.extend(&buffer[..start + 8]);
                    (Duration::ZERO, message)
                }
            };
            let mut message = with_checksum(message, address.is_ipv4());
            message[2] ^= u8::from(is_corrupt);
            due.push(Reverse((came + delay, message, arrived)));
        }
    }
}

/// Puts the checksum of RFC 1071 in; for ICMPv6, the kernel does.
fn with_checksum(mut message: Vec<u8>, needed: bool) -> Vec<u8> {
    message[2..4].fill(0);
    if needed {
        let sum: u32 = message
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
    message
}
