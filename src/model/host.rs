//! Hosts, and which of their addresses are used.

use std::{fmt, net::IpAddr, sync::Arc};

use super::labels;

/// Where a target is: an address, or a name that is resolved in the background.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address; never resolved.
    Addr(IpAddr),
    /// A DNS name, lower case. With a final dot no search list completes it; only `{:#}` displays the dot.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Name(name) if f.alternate() => f.write_str(name),
            Self::Name(name) => f.write_str(name.strip_suffix('.').unwrap_or(name)),
        }
    }
}

impl Host {
    /// The host as it is written before a port: an IPv6 address in brackets (RFC 3986 3.2.2).
    pub fn bracketed(&self) -> impl fmt::Display + '_ {
        Bracketed(self)
    }
}

struct Bracketed<'a>(&'a Host);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Addr(IpAddr::V6(addr)) => write!(f, "[{addr}]"),
            host => host.fmt(f),
        }
    }
}

labels! {
    /// Which addresses of a name are used.
    #[derive(Default)]
    pub enum AddressFamily {
        /// The first address of either family, IPv4 before IPv6.
        #[default]
        Any = "any",
        /// IPv4 only.
        V4 = "v4",
        /// IPv6 only.
        V6 = "v6",
    }
}

impl AddressFamily {
    /// Whether the address may be used.
    pub const fn admits(self, addr: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => addr.is_ipv4(),
            Self::V6 => addr.is_ipv6(),
        }
    }
}

labels! {
    /// Which of several addresses of a name is probed.
    #[derive(Default)]
    pub enum AddressChoice {
        /// The lowest, and the next one once it is silent or refuses.
        #[default]
        One = "one",
        /// Each in turn.
        All = "all",
    }
}
