//! Echo requests and replies as bytes; surge-ping's packet types read what comes back.

use std::net::{IpAddr, Ipv4Addr};

use socket2::Type;
use surge_ping::{Icmpv4Packet, Icmpv6Packet};

/// ICMP header, and our token: 8 bytes that no stranger knows, 8 bytes that count.
pub(super) const HEADER: usize = 8;
pub(super) const TOKEN: usize = 16;

/// Writes identifier, sequence, token and checksum into an echo request. On datagram sockets the kernel puts its
/// own identifier and the checksum in; on raw IPv6 ones the checksum.
pub(super) fn encode(request: &mut [u8], identifier: u16, counter: u64, secret: u64, checksum: bool) {
    request[2..4].fill(0);
    request[4..6].copy_from_slice(&identifier.to_be_bytes());
    request[6..8].copy_from_slice(&(counter as u16).to_be_bytes());
    request[8..16].copy_from_slice(&secret.to_be_bytes());
    request[16..24].copy_from_slice(&counter.to_be_bytes());
    if checksum {
        let sum = internet_checksum(request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .fold(0, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Which request a reply answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) identifier: u16,
    pub(super) counter: u64,
}

/// The request that an echo reply answers; `None` for everything that is not an echo reply to one of ours.
pub(super) fn decode(bytes: &[u8], kind: Type, peer: IpAddr, secret: u64) -> Option<Decoded> {
    let (identifier, sequence, start) = match peer {
        IpAddr::V4(peer) => {
            let raw = kind == Type::RAW;
            let start = if raw { usize::from(bytes.first()? & 0x0f) * 4 } else { 0 };
            if *bytes.get(start)? != 0 || bytes.len() < start + HEADER + TOKEN {
                return None;
            }
            // A raw socket of IPv4 gets what the kernel has not verified yet (raw_local_deliver in net/ipv4/raw.c).
            if raw && internet_checksum(&bytes[start..]) != 0 {
                return None;
            }
            let packet = Icmpv4Packet::decode(bytes, kind, peer, Ipv4Addr::UNSPECIFIED).ok()?;
            (packet.get_identifier(), packet.get_sequence(), start)
        }
        IpAddr::V6(peer) => {
            if *bytes.first()? != 129 || bytes.len() < HEADER + TOKEN {
                return None;
            }
            let packet = Icmpv6Packet::decode(bytes, peer).ok()?;
            (packet.get_identifier(), packet.get_sequence(), 0)
        }
    };
    let token = bytes.get(start + HEADER..start + HEADER + TOKEN)?;
    let counter = u64::from_be_bytes(token[8..].try_into().ok()?);
    let ours = token[..8] == secret.to_be_bytes() && counter as u16 == sequence.into_u16();
    ours.then_some(Decoded { identifier: identifier.into_u16(), counter })
}

/// What the fuzz target calls: any bytes, either family, either kind of socket.
pub fn fuzz_reply(bytes: &[u8]) {
    for kind in [Type::DGRAM, Type::RAW] {
        decode(bytes, kind, IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        decode(bytes, kind, IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn reply(counter: u64, secret: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        encode(&mut bytes, 7, counter, secret, true);
        bytes[0] = 0;
        bytes
    }

    #[test]
    fn the_sequence_wraps_and_requests_stay_apart() {
        for counter in [0, 65_535, 65_536, 65_537, u64::from(u32::MAX) + 3] {
            let decoded = decode(&reply(counter, 9), Type::DGRAM, PEER, 9);
            assert_eq!(decoded, Some(Decoded { identifier: 7, counter }));
        }
    }

    #[test]
    fn an_icmp_error_is_not_an_echo_reply() {
        for kind in 1..=255 {
            let mut bytes = reply(1, 9);
            bytes[0] = kind;
            assert_eq!(decode(&bytes, Type::DGRAM, PEER, 9), None, "type {kind}");
        }
    }

    #[test]
    fn a_reply_without_our_token_is_ignored() {
        assert_eq!(decode(&reply(1, 8), Type::DGRAM, PEER, 9), None);
        let mut other_sequence = reply(1, 9);
        other_sequence[7] = 2;
        assert_eq!(decode(&other_sequence, Type::DGRAM, PEER, 9), None);
        let whole = reply(1, 9);
        for cut in 0..HEADER + TOKEN {
            assert_eq!(decode(&whole[..cut], Type::DGRAM, PEER, 9), None);
        }
    }

    #[test]
    fn a_raw_reply_is_read_behind_its_ip_header() {
        let mut bytes = vec![0; 20];
        bytes[0] = 0x45;
        let icmp = reply(5, 9);
        bytes[2..4].copy_from_slice(&(20 + icmp.len() as u16).to_be_bytes());
        bytes.extend(icmp);
        assert_eq!(decode(&bytes, Type::RAW, PEER, 9), Some(Decoded { identifier: 7, counter: 5 }));
    }

    #[test]
    fn a_raw_reply_with_a_wrong_checksum_is_ignored() {
        let mut header = vec![0; 20];
        header[0] = 0x45;
        header[3] = 84;
        let whole = [header, reply(5, 9)].concat();
        assert!(decode(&whole, Type::RAW, PEER, 9).is_some());
        for place in [22, 23, 24, 60, whole.len() - 1] {
            let mut wrong = whole.clone();
            wrong[place] ^= 0x10;
            assert_eq!(decode(&wrong, Type::RAW, PEER, 9), None, "byte {place}");
        }
        // The kernel has verified what a datagram socket gets.
        let mut altered = reply(5, 9);
        altered[60] ^= 0x10;
        assert!(decode(&altered, Type::DGRAM, PEER, 9).is_some());
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(internet_checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        let mut bytes = reply(77, 3);
        bytes[0] = 8;
        encode(&mut bytes, 1, 77, 3, true);
        assert_eq!(internet_checksum(&bytes), 0);
    }
}
