//! The list of the kinds of probes, and what the rest of the program may know of each.

use std::time::Duration;

use crate::model::{Facts, Kind, Layer};

/// Often enough to see an outage in a second.
const FAST: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));
/// For kinds that cost the peer more.
const SLOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// ICMP echo (RFC 792, RFC 4443). Much equipment answers it at low priority, so it ranks almost last.
pub const ICMP: Kind = Kind::new(&Facts {
    name: "icmp",
    title: "ICMP",
    layer: Layer::L3,
    fast: true,
    often_filtered: true,
    never_critical: Some("the network answers an echo, no service does"),
    carries_votes: false,
    preference: 3,
    interval: FAST.0,
    timeout: FAST.1,
});

/// One DNS question to one named server, which often stands in another place than the region's services.
pub const DNS: Kind = Kind::new(&Facts {
    name: "dns",
    title: "DNS",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 4,
    interval: SLOW.0,
    timeout: SLOW.1,
});

/// A TCP connection, with TLS or a dialogue if asked for. Its handshake is one round trip, answered by the kernel, so it
/// ranks first.
pub const TCP: Kind = Kind::new(&Facts {
    name: "tcp",
    title: "TCP",
    layer: Layer::L4,
    fast: true,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 0,
    interval: FAST.0,
    timeout: FAST.1,
});

/// One HTTP request on a fresh connection. The server adds its own time.
pub const HTTP: Kind = Kind::new(&Facts {
    name: "http",
    title: "HTTP",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 2,
    interval: SLOW.0,
    timeout: SLOW.1,
});

/// An HTTP probe whose target is the regionwatch of the peer region, which adds next to no time of its own.
pub const SIDECAR: Kind = Kind::new(&Facts {
    name: "sidecar",
    title: "Sidecar",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: Some("a sidecar that is restarted is no region that is down"),
    carries_votes: true,
    preference: 1,
    interval: SLOW.0,
    timeout: SLOW.1,
});

/// Every kind.
pub const KINDS: [Kind; 5] = [ICMP, DNS, TCP, HTTP, SIDECAR];

/// The kind of this name.
pub fn kind_named(name: &str) -> Option<Kind> {
    KINDS.into_iter().find(|kind| kind.as_str() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_a_name_a_preference_and_a_cadence_of_its_own() {
        let names: BTreeSet<_> = KINDS.iter().map(|kind| kind.as_str()).collect();
        let preferences: BTreeSet<_> = KINDS.iter().map(|kind| kind.preference()).collect();
        assert_eq!((names.len(), preferences.len()), (KINDS.len(), KINDS.len()));
        for kind in KINDS {
            assert!(kind.default_cadence().in_flight() > 0);
            assert_eq!(kind_named(kind.as_str()), Some(kind));
        }
    }
}
