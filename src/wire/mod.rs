//! Sockets whose answers carry the kernel's time stamps.
//!
//! A process learns late that a packet has come: it must be woken, scheduled, and not be throttled by a CPU
//! quota. The kernel knows when the packet passed. So the sockets here ask for `SO_TIMESTAMPING`
//! (Documentation/networking/timestamping.rst): `TX_SCHED` stamps when a packet is handed to the queue of the
//! device, `RX_SOFTWARE` when it comes in. A TCP connection's round trip is read from `TCP_INFO`.
//!
//! # What is used of surge-ping, and what is not
//! surge-ping 0.9.1 is used for what is sound in it: `AsyncSocket` makes and configures ping sockets
//! (unprivileged first, raw as a fallback), and its packet types decode what comes back. Not used are its
//! clock, its receive task and its `Pinger`: it reads the clock after `send_to` has returned and again in a
//! task that has to be scheduled first, it returns an ICMP error as `Ok(rtt)` on raw sockets, it never sees
//! one on datagram sockets, and a burst of 1,000 pings through its one socket loses most replies.
//!
//! # Unsafe
//! The only module with `unsafe`: calls like `recvmsg`, `setsockopt` and `timerfd_settime`, which std does not have. The
//! control messages are parsed by safe code.
#![allow(unsafe_code)]

mod clock;
mod datagram;
mod message;
mod options;
mod ping;
mod stream;
mod timer;

pub use clock::{ClockWatch, Stamp, process_cpu_time};
pub use datagram::{Datagram, Notice, Taken};
pub use message::Message;
pub use options::{SocketOptions, TimestampKeeper, raise_descriptor_limit, tune_allocator};
pub use ping::{PingSocketKind, open_ping_socket};
pub use stream::{Connected, Marks, Span, Stream, connect};
pub use timer::Timer;

use std::io;

use crate::model::Failure;

/// What an error means that a call returned at once, before any packet can have travelled.
///
/// It is then our own routing table's word (`no route`, and routes of the types `unreachable` and `prohibit`) or our
/// own interface's, not a router's.
pub fn local_failure(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::ENETDOWN | libc::EHOSTDOWN) => {
            Failure::Local
        }
        _ => failure(error),
    }
}

/// What an error means that came up after packets were sent.
pub fn failure(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => Failure::Refused,
        Some(
            libc::EHOSTUNREACH
            | libc::ENETUNREACH
            // ICMPv6 "administratively prohibited" (icmpv6_err_convert in net/ipv6/icmp.c).
            | libc::EACCES
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EPROTO
            | libc::EOPNOTSUPP,
        ) => Failure::Unreachable,
        Some(libc::ETIMEDOUT) => Failure::Timeout,
        Some(_) => Failure::Local,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Failure::Refused
            }
            _ => Failure::Protocol,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_from_here_is_our_fault_and_a_routers_word_is_not() {
        for errno in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(local_failure(&error), Failure::Local);
            assert_eq!(failure(&error), Failure::Unreachable);
        }
    }

    #[test]
    fn no_descriptors_and_no_permission_are_our_fault() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::EPERM, libc::ENOBUFS, libc::EADDRNOTAVAIL] {
            assert_eq!(failure(&io::Error::from_raw_os_error(errno)), Failure::Local);
        }
        assert_eq!(local_failure(&io::Error::from_raw_os_error(libc::EACCES)), Failure::Local);
    }
}
