//! The regions of the demo: where they are, and how far apart.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// The region of the page.
pub(super) const OWN: &str = "eu-west-1";

/// Ours is the first.
pub(super) const REGIONS: [&str; 4] = [OWN, "eu-central-1", "us-east-1", "ap-southeast-2"];

/// Round-trip times between them in ms, as usual on the internet.
const ROUND_TRIPS: [[u64; 4]; 4] = [[0, 24, 68, 255], [24, 0, 91, 248], [68, 91, 0, 198], [255, 248, 198, 0]];

/// The address of a region in a network of namespaces.
pub(super) const fn address(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, place as u8 + 1)
}

/// The address of a region on the loopback device.
pub(super) const fn loopback(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, 0, place as u8 + 1)
}

/// The region that has one of these addresses.
pub(super) fn place(address: Ipv4Addr) -> Option<usize> {
    (0..REGIONS.len()).find(|place| [loopback(*place), self::address(*place)].contains(&address))
}

/// How far two regions are apart; zero for an address of neither.
pub(super) fn round_trip(one: IpAddr, other: IpAddr) -> Duration {
    let place = |address| match address {
        IpAddr::V4(address) => place(address),
        IpAddr::V6(_) => None,
    };
    let (Some(one), Some(other)) = (place(one), place(other)) else { return Duration::ZERO };
    Duration::from_millis(ROUND_TRIPS[one][other])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_takes_the_same_time_in_both_directions_and_between_both_kinds_of_addresses() {
        for (one, other) in (0..4).flat_map(|one| (0..4).map(move |other| (one, other))) {
            let there = round_trip(address(one).into(), address(other).into());
            assert_eq!(there, round_trip(loopback(other).into(), loopback(one).into()));
            assert_eq!(there.is_zero(), one == other);
        }
        assert_eq!(round_trip(Ipv4Addr::LOCALHOST.into(), loopback(1).into()), Duration::ZERO);
    }
}
