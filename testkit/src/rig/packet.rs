//! What the rig reads from the first bytes of an IPv4 packet.

use std::net::Ipv4Addr;

/// A packet as it passed the prober's device.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    /// The server's address.
    pub server: Ipv4Addr,
    /// Whether the prober sent it.
    pub outgoing: bool,
    /// What it carries.
    pub content: Content,
    /// Tells this packet from others: the tap and the line see the same bytes.
    pub digest: u64,
}

/// What a packet carries, as far as the truth needs it.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// An echo request or reply.
    Echo { id: u16, sequence: u16 },
    /// A datagram to or from the DNS server: the prober's port and the message's id.
    Dns { port: u16, id: u16 },
    /// A TCP segment.
    Tcp(Segment),
    /// Anything else.
    Other,
}

/// A TCP segment; ports are seen from the prober.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// The prober's port.
    pub local_port: u16,
    /// The server's port.
    pub server_port: u16,
    /// The sequence number of the first byte.
    pub sequence: u32,
    /// Bytes of payload.
    pub length: u32,
    /// SYN was set.
    pub syn: bool,
}

/// How many bytes of a packet are read: the headers of TCP with all options, and a DNS id.
pub const PREFIX: usize = 64;

/// Reads a packet from its first bytes; `None` for what is not IPv4.
pub fn parse(bytes: &[u8], outgoing: bool) -> Option<Packet> {
    let at16 = |offset: usize| Some(u16::from_be_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?));
    let address = |offset: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(offset..offset + 4)?).ok()?));
    if bytes.first()? >> 4 != 4 {
        return None;
    }
    let header = usize::from(bytes[0] & 15) * 4;
    let server = address(if outgoing { 16 } else { 12 })?;
    // Source and destination port, seen from the prober.
    let ports = |transport: usize| {
        let (source, destination) = (at16(transport)?, at16(transport + 2)?);
        Some(if outgoing { (source, destination) } else { (destination, source) })
    };
    let content = match bytes.get(9)? {
        1 if matches!((bytes.get(header)?, outgoing), (8, true) | (0, false)) => {
            Content::Echo { id: at16(header + 4)?, sequence: at16(header + 6)? }
        }
        6 => {
            let (local_port, server_port) = ports(header)?;
            let offset = usize::from(bytes.get(header + 12)? >> 4) * 4;
            Content::Tcp(Segment {
                local_port,
                server_port,
                sequence: u32::from(at16(header + 4)?) << 16 | u32::from(at16(header + 6)?),
                length: u32::from(at16(2)?).saturating_sub((header + offset) as u32),
                syn: bytes.get(header + 13)? & 2 != 0,
            })
        }
        17 => match ports(header)? {
            (port, 53) => Content::Dns { port, id: at16(header + 8)? },
            _ => Content::Other,
        },
        _ => Content::Other,
    };
    Some(Packet { server, outgoing, content, digest: digest(bytes) })
}

/// FNV-1a of the first bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(PREFIX)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
