//! What errors of sockets are counted as.

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
    fn a_missing_local_route_is_local_and_a_router_error_is_unreachable() {
        for errno in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(local_failure(&error), Failure::Local);
            assert_eq!(failure(&error), Failure::Unreachable);
        }
    }

    #[test]
    fn missing_descriptors_and_permissions_are_local_failures() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::EPERM, libc::ENOBUFS, libc::EADDRNOTAVAIL] {
            assert_eq!(failure(&io::Error::from_raw_os_error(errno)), Failure::Local);
        }
        assert_eq!(local_failure(&io::Error::from_raw_os_error(libc::EACCES)), Failure::Local);
    }
}
