//! Hosts, and which of their addresses are used.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::labels;

/// Where a target is: an address, or a name that is resolved in the background.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address; never resolved.
    Addr(IpAddr),
    /// A link-local address on the network of this interface (RFC 4007 11).
    Scoped(Ipv6Addr, InterfaceName),
    /// A DNS name, lower case. With a final dot no search list completes it; only `{:#}` displays the dot.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Scoped(addr, zone) => write!(f, "{addr}%{}", zone.as_str()),
            Self::Name(name) if f.alternate() => f.write_str(name),
            Self::Name(name) => f.write_str(name.strip_suffix('.').unwrap_or(name)),
        }
    }
}

impl Host {
    /// The address, unless it is a name.
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Addr(addr) => Some(*addr),
            Self::Scoped(addr, _) => Some(IpAddr::V6(*addr)),
            Self::Name(_) => None,
        }
    }

    /// The interface that its address is on.
    pub const fn zone(&self) -> Option<InterfaceName> {
        match self {
            Self::Scoped(_, zone) => Some(*zone),
            Self::Addr(_) | Self::Name(_) => None,
        }
    }

    /// The host as others know it: a zone has a meaning on this host alone.
    #[must_use]
    pub fn without_zone(&self) -> Self {
        match self {
            Self::Scoped(addr, _) => Self::Addr(IpAddr::V6(*addr)),
            host => host.clone(),
        }
    }

    /// The host as it is written before a port: an IPv6 address in brackets (RFC 3986 3.2.2), a zone as in RFC 6874.
    pub fn bracketed(&self) -> impl fmt::Display + '_ {
        Bracketed(self)
    }
}

struct Bracketed<'a>(&'a Host);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Addr(IpAddr::V6(addr)) => write!(f, "[{addr}]"),
            Host::Scoped(addr, zone) => write!(f, "[{addr}%25{}]", zone.as_str()),
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

/// Where the packets of a probe leave from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An address of this host.
    Address(IpAddr),
    /// An interface, with any of its addresses.
    Interface(InterfaceName),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Interface(name) => f.write_str(name.as_str()),
        }
    }
}

/// The name of a network interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceName {
    bytes: [u8; Self::MAX],
    length: usize,
}

impl InterfaceName {
    /// `IFNAMSIZ` of Linux, without the NUL.
    const MAX: usize = 15;

    /// The name, if Linux accepts it (dev_valid_name in net/core/dev.c) and it is ASCII.
    pub fn new(name: &str) -> Option<Self> {
        let is_valid = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
        if matches!(name, "" | "." | "..") || name.len() > Self::MAX || !name.bytes().all(is_valid) {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(Self { bytes, length: name.len() })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_an_interface_is_one_that_linux_accepts() {
        for name in ["lo", "eth0.100", "br-1a2b3c4d5e6f", "wg_0"] {
            assert_eq!(InterfaceName::new(name).unwrap().as_str(), name);
        }
        for name in ["", ".", "..", "sixteen-letters!", "a/b", "a b", "eth0:1", "\u{e9}"] {
            assert_eq!(InterfaceName::new(name), None, "{name}");
        }
    }
}
