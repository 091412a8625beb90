//! Ping sockets: unprivileged where `net.ipv4.ping_group_range` allows it, raw where capabilities do.
#![allow(unsafe_code)]

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use socket2::{Socket, Type};
use surge_ping::{AsyncSocket, Config, ICMP};

use super::{
    datagram::Datagram,
    options::{SocketOptions, enable_hop_limit, filter_echo_replies},
};

/// Which of the two kinds of ping socket the system gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingSocketKind {
    /// `SOCK_DGRAM`: the kernel sets the identifier and delivers only our replies, without IP headers.
    Datagram,
    /// `SOCK_RAW`: every echo reply from the peer arrives, IPv4 with its header; the identifier is ours to set.
    Raw,
}

/// Opens a ping socket that is connected to `peer`, with its own identifier.
///
/// # Errors
/// `PermissionDenied` where neither kind is allowed, `AddrNotAvailable` where the address is not; what the system says
/// otherwise.
///
/// # Panics
/// Outside a tokio runtime.
pub fn open_ping_socket(peer: IpAddr, options: SocketOptions) -> io::Result<(Datagram, PingSocketKind)> {
    let family = if peer.is_ipv4() { ICMP::V4 } else { ICMP::V6 };
    let config = Config::builder().kind(family).sock_type_hint(Type::DGRAM).build();
    let opened = AsyncSocket::new(&config).map_err(|error| match error.kind() {
        // surge-ping's message has several lines; ours must fit a table of doctor and a log line.
        io::ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied.into(),
        _ => error,
    })?;
    let kind = if opened.get_type() == Type::DGRAM { PingSocketKind::Datagram } else { PingSocketKind::Raw };
    // SAFETY: the descriptor belongs to `opened`, which outlives the borrow.
    let borrowed = unsafe { BorrowedFd::borrow_raw(opened.get_native_sock()) };
    // A descriptor of our own, registered by us with the interest in errors that surge-ping's lacks; theirs is
    // closed when `opened` goes.
    let socket = Socket::from(borrowed.try_clone_to_owned()?);
    enable_hop_limit(socket.as_fd(), peer.is_ipv4())?;
    if kind == PingSocketKind::Raw {
        filter_echo_replies(socket.as_fd(), peer.is_ipv4())?;
    }
    let datagram =
        Datagram::connect(socket, SocketAddr::new(peer, 0), options).map_err(|error| match error.kind() {
            // The socket itself was permitted.
            io::ErrorKind::PermissionDenied => io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "this host sends nothing to this address: it is a broadcast address, or a route prohibits it",
            ),
            _ => error,
        })?;
    Ok((datagram, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broadcast_address_is_not_taken_for_a_missing_permission() {
        let options = SocketOptions::default();
        let kind =
            |address: &str| open_ping_socket(address.parse().unwrap(), options).map_err(|error| error.kind()).err();
        let permitted = kind("127.0.0.1") != Some(io::ErrorKind::PermissionDenied);
        let expected = if permitted { io::ErrorKind::AddrNotAvailable } else { io::ErrorKind::PermissionDenied };
        assert_eq!(kind("127.255.255.255"), Some(expected));
    }
}
