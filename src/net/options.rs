//! Socket options that std and socket2 do not offer.
#![allow(unsafe_code)]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::model::Source;

/// `SOF_TIMESTAMPING_*` (linux/net_tstamp.h): timestamp on sending when the packet goes to the device's queue, on
/// receipt in software; number what was sent; return timestamps without the packet.
const TIMESTAMPING: u32 = libc::SOF_TIMESTAMPING_TX_SCHED
    | libc::SOF_TIMESTAMPING_RX_SOFTWARE
    | libc::SOF_TIMESTAMPING_SOFTWARE
    | libc::SOF_TIMESTAMPING_OPT_ID
    | libc::SOF_TIMESTAMPING_OPT_TSONLY;

/// What can be set on a probe's socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// The type-of-service byte (traffic class).
    pub tos: Option<u8>,
    /// The hop limit (TTL).
    pub ttl: Option<u8>,
    /// Whether to forbid fragmentation; `None` leaves the system's choice.
    pub dont_fragment: Option<bool>,
    /// Where packets leave from; `None` leaves it to the routes.
    pub source: Option<Source>,
}

impl SocketOptions {
    /// Sets the options on a socket of the family, which is not bound yet.
    ///
    /// # Errors
    /// What `setsockopt` says.
    pub(super) fn apply(self, socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
        let reference = SockRef::from(&socket);
        match self.source {
            Some(Source::Address(address)) if address.is_ipv4() == ipv4 => {
                // The port is chosen with the peer's address, so that one source can have many connections (ip(7)).
                let _ = set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
                reference.bind(&SocketAddr::new(address, 0).into())?;
            }
            Some(Source::Address(_)) => return Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL)),
            Some(Source::Interface(name)) => bind_device(&reference, name.as_str())?,
            None => {}
        }
        if let Some(tos) = self.tos {
            if ipv4 { reference.set_tos_v4(tos.into())? } else { reference.set_tclass_v6(tos.into())? }
        }
        if let Some(ttl) = self.ttl {
            if ipv4 { reference.set_ttl_v4(ttl.into())? } else { reference.set_unicast_hops_v6(ttl.into())? }
        }
        if let Some(forbid) = self.dont_fragment {
            // PROBE sets DF but ignores the known MTU of the path: so each probe finds it out again, and
            // EMSGSIZE at the call means that our own interface is too small.
            if ipv4 {
                let mode = if forbid { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DONT };
                set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode)?;
            } else {
                let mode = if forbid { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_DONT };
                set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode)?;
            }
        }
        Ok(())
    }
}

/// Lets packets leave by an interface alone, which may also be given by its number (RFC 4007 11.2).
fn bind_device(socket: &SockRef<'_>, name: &str) -> io::Result<()> {
    match (socket.bind_device(Some(name.as_bytes())), name.parse()) {
        (Err(_), Ok(number)) => socket.bind_device(Some(&interface_name(number)?)),
        (bound, _) => bound,
    }
}

/// The name of the interface with this number (if_indextoname(3)), with the NUL at its end.
fn interface_name(number: u32) -> io::Result<[u8; libc::IF_NAMESIZE]> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the length that the function may write.
    let found = unsafe { libc::if_indextoname(number, name.as_mut_ptr().cast()) };
    if found.is_null() { Err(io::Error::last_os_error()) } else { Ok(name) }
}

/// Asks for kernel timestamps on all that the socket sends and receives.
///
/// # Errors
/// What `setsockopt` says, where the kernel or sandbox has no timestamps.
pub(super) fn enable_timestamps(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, TIMESTAMPING)
}

/// Asks for ICMP errors on the error queue.
///
/// # Errors
/// What `setsockopt` says.
pub(super) fn enable_errors(socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
    if ipv4 {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    }
}

/// Asks for the hop limit of what arrives.
///
/// # Errors
/// What `setsockopt` says.
pub(super) fn enable_hop_limit(socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
    if ipv4 {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVTTL, 1)
    } else {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)
    }
}

/// Lets only echo replies through to a raw socket; errors come by the error queue.
///
/// # Errors
/// What `setsockopt` says.
pub(super) fn filter_echo_replies(socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
    if ipv4 {
        // struct icmp_filter (linux/icmp.h): a set bit blocks the type; 0 is echo reply.
        const ICMP_FILTER: libc::c_int = 1;
        set(socket, libc::SOL_RAW, ICMP_FILTER, !1_u32)
    } else {
        // struct icmp6_filter (RFC 3542 3.2; Linux: a set bit blocks the type); 129 is echo reply.
        const ICMPV6_FILTER: libc::c_int = 1;
        let mut blocked = [u32::MAX; 8];
        blocked[129 / 32] &= !(1 << (129 % 32));
        set(socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, blocked)
    }
}

/// `setsockopt` with a plain value.
fn set<T: Copy>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: T) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`, which lives through the call; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<T>() as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The state of a TCP connection (tcp(7), `TCP_INFO`).
///
/// # Errors
/// What `getsockopt` says.
pub(super) fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    // SAFETY: tcp_info is made of integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `info`; an older kernel writes less and leaves the rest zero.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut len)
    };
    if result == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

/// With fewer open descriptors nothing can be measured: a process needs about 20 before its first probe.
const LEAST_DESCRIPTORS: u64 = 48;

/// Raises the limit of open descriptors to what the system allows at the most, and returns it. Each probe under
/// way needs one, and the usual soft limit of 1,024 is an accident of `select(2)`.
///
/// # Errors
/// What `getrlimit` or `setrlimit` says. Or the limit is below 48: the runtime, the server and the
/// first probes would fail one after another, each with a message of its own, or not at all.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local of the right type.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; the call only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_max < LEAST_DESCRIPTORS {
        return Err(io::Error::other(format!(
            "{} open files are allowed, and at least {LEAST_DESCRIPTORS} are needed; raise the limit (ulimit -n, LimitNOFILE=)",
            limit.rlim_max
        )));
    }
    Ok(limit.rlim_max)
}

/// Makes the C library's allocator fit a small process with two threads: one arena instead of one a thread. With
/// two, memory that one scrape needed for a moment stays resident in the server's arena.
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers, and is called before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Keeps the kernel's time stamping switched on for the life of the process.
///
/// The kernel timestamps arriving packets only while some socket wants timestamps, and switches with a delay: without
/// this, the first packet of a fresh socket would have none.
#[derive(Debug)]
pub struct TimestampingGuard {
    _socket: Option<Socket>,
}

impl TimestampingGuard {
    /// Switches stamping on; where the system has none, probes fall back to the userland clock.
    pub fn hold() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
            .and_then(|socket| enable_timestamps(socket.as_fd()).map(|()| socket));
        Self { _socket: socket.ok() }
    }

    /// Whether the kernel offers timestamps.
    pub const fn available(&self) -> bool {
        self._socket.is_some()
    }
}
