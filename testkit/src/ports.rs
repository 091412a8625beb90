//! Ports for servers that are started later.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    ops::Range,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddress, UnixDatagram},
    },
    process,
    sync::{Mutex, PoisonError},
};

/// What this process has reserved, by sockets with the name of the port. They are gone when it ends, however it ends.
static RESERVED: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());

/// A port of loopback that nothing listens on. No other test gets it while this process lives, and no connection that goes
/// out: it lies below the ports that the kernel gives to those.
pub fn free() -> SocketAddr {
    let range = range();
    let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes begin at different places, and each goes on where it was.
    let start = process::id().wrapping_mul(97).wrapping_add(reserved.len() as u32);
    let ports = (0..range.len() as u32).map(|n| range.start + (start.wrapping_add(n) % range.len() as u32) as u16);
    for port in ports {
        let name = UnixAddress::from_abstract_name(format!("regionwatch-test-port-{port}")).unwrap();
        let Ok(held) = UnixDatagram::bind_addr(&name) else { continue };
        // A server that a process left behind, or one of the machine's own.
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            reserved.push(held);
            return ([127, 0, 0, 1], port).into();
        }
    }
    panic!("no port of {range:?} is free");
}

/// The ports below those of outgoing connections (Documentation/networking/ip-sysctl.rst, `ip_local_port_range`).
fn range() -> Range<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32768);
    if first > 12_000 { 10_000..first } else { 61_000..65_500 }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::TcpStream};

    use super::*;

    #[test]
    fn no_two_calls_give_the_same_port_and_nothing_listens_there() {
        let ports: Vec<_> = (0..100).map(|_| free()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 100);
        for addr in ports {
            assert!(range().contains(&addr.port()));
            assert!(TcpStream::connect(addr).is_err());
            TcpListener::bind(addr).unwrap();
        }
    }
}
