//! Who a connection comes from, and whose connections come first.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, PoisonError, RwLock},
};

/// The addresses of the vantages that this one votes with. Their connections, and those of this host, are never closed for
/// a stranger's.
#[derive(Debug, Clone, Default)]
pub struct KnownVantages(Arc<RwLock<Vec<IpAddr>>>);

impl KnownVantages {
    /// Replaces the addresses.
    pub fn set(&self, mut addresses: Vec<IpAddr>) {
        addresses.iter_mut().for_each(|address| *address = address.to_canonical());
        addresses.sort_unstable();
        addresses.dedup();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// The client behind this address.
    pub(super) fn client(&self, address: IpAddr) -> Client {
        let address = address.to_canonical();
        let known = || self.0.read().unwrap_or_else(PoisonError::into_inner).binary_search(&address).is_ok();
        let trusted = address == IpAddr::from([127, 0, 0, 1]) || address == Ipv6Addr::LOCALHOST || known();
        Client { group: group(address), trusted }
    }
}

/// One host has one IPv4 address, and as many IPv6 addresses of a network as it likes.
fn group(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Who a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// The address, or the network of 64 bits that it is in.
    pub(super) group: IpAddr,
    /// Whether it is this host or a known vantage.
    pub(super) trusted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_and_known_vantages_are_trusted_and_one_network_is_one_client() {
        let known = KnownVantages::default();
        known.set(vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]);
        let client = |address: &str| known.client(address.parse().unwrap());
        for trusted in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"] {
            assert!(client(trusted).trusted, "{trusted}");
        }
        for stranger in ["127.0.0.2", "192.0.2.8", "2001:db8::8"] {
            assert!(!client(stranger).trusted, "{stranger}");
        }
        assert_eq!(client("2001:db8::8"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8:0:1::8"), client("2001:db8::8"));
        assert_ne!(client("192.0.2.8"), client("192.0.2.9"));
    }
}
