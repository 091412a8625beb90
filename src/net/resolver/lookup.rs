//! One lookup of a name, as glibc makes it.

use std::{net::IpAddr, time::Duration};

use hickory_resolver::{
    net::{DnsError, NetError},
    proto::{op::ResponseCode, rr::Name},
};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::system::{NameServer, System};
use crate::model::AddressFamily;

/// The shortest time between two lookups of a name, whatever its TTL says: a TTL of 0 must not make us a flood.
pub(super) const FLOOR: Duration = Duration::from_secs(5);

/// The longest time between two lookups: a failover of the peer's own DNS should be seen within minutes.
const CEILING: Duration = Duration::from_secs(300);

/// How long all servers and attempts may take for one name of the search list.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The most addresses of a name of one family: finding a way to each takes time.
const MAX_ADDRESSES: usize = 64;

/// What a lookup said of one family: its addresses, of which there may be none; or `None`, where nothing answered.
pub(super) type Part = Option<Vec<IpAddr>>;

/// What a lookup found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Of IPv4 and of IPv6. A family that was not asked for has no addresses.
    pub(super) parts: [Part; 2],
    /// Which name has the addresses, if one has: 0 is the name in the hosts file, 1 the first one of the search list.
    pub(super) place: Option<usize>,
}

/// Looks a name up as glibc does: in the hosts file, then each name of the search list until one has an address. Both
/// families are one question, so an address of either ends the search, and all addresses are of one name. A name about which
/// the servers are silent ends it too, because a later one would be another host.
pub(super) async fn resolve(name: &str, family: AddressFamily, system: &System) -> (Found, Duration, Instant) {
    let started = Instant::now();
    // Names as the hosts of containers have them may have an underscore in a label, which is no letter of a host name
    // (RFC 1123) but one of a DNS name (RFC 2181 11).
    let Ok(query) = Name::from_ascii(name) else { return (Found::default(), Duration::ZERO, started + CEILING) };
    let asked = [family != AddressFamily::V6, family != AddressFamily::V4];
    let mut in_file = system.in_hosts_file(name);
    for addresses in &mut in_file {
        addresses.retain(|address| family.admits(*address));
    }
    if in_file.iter().any(|addresses| !addresses.is_empty()) {
        let found = Found { parts: in_file.map(Some), place: Some(0) };
        return (found, started.elapsed(), started + CEILING);
    }
    let mut found = Found { parts: [Some(Vec::new()), Some(Vec::new())], place: None };
    // A name that has no address is looked for again soon: its target fails meanwhile.
    let mut valid = FLOOR;
    for (place, candidate) in system.candidates(&query).into_iter().enumerate() {
        let replies = ask_servers(&candidate, &system.servers, asked).await;
        if replies.iter().any(Reply::has_address) {
            valid = replies.iter().map(Reply::valid_for).min().unwrap_or(FLOOR);
            found = Found { parts: replies.map(Reply::into_part), place: Some(place + 1) };
            break;
        }
        let is_silence = !replies.iter().any(|reply| matches!(reply, Reply::Addresses(..) | Reply::Failed));
        for (part, reply) in found.parts.iter_mut().zip(replies) {
            *part = part.take().and_then(|_| reply.into_part());
        }
        if is_silence {
            break;
        }
    }
    let again = Instant::now() + valid.clamp(FLOOR, CEILING);
    (found, started.elapsed(), again)
}

/// What name servers said of one family of a name.
enum Reply {
    /// Its addresses, of which there may be none, and how long that is valid.
    Addresses(Vec<IpAddr>, Duration),
    /// That their own servers cannot say.
    Failed,
    /// Another error.
    Refused,
    /// Nothing.
    Silent,
    /// They were not asked.
    NotAsked,
}

impl Reply {
    fn has_address(&self) -> bool {
        matches!(self, Self::Addresses(addresses, _) if !addresses.is_empty())
    }

    const fn valid_for(&self) -> Duration {
        match self {
            Self::Addresses(_, valid_for) => *valid_for,
            Self::Failed | Self::Refused | Self::Silent => FLOOR,
            Self::NotAsked => CEILING,
        }
    }

    fn into_part(self) -> Part {
        match self {
            Self::Addresses(addresses, _) => Some(addresses),
            Self::Failed | Self::Refused | Self::Silent => None,
            Self::NotAsked => Some(Vec::new()),
        }
    }
}

/// Asks the name servers in their order until one answers: that there is no address is an answer, and an error is none. What
/// one says of either family stands for both, and no later one is asked about the other. But one that is silent about IPv4
/// has said nothing, as for glibc, which asks for IPv4 alone before it asks for IPv6 again.
async fn ask_servers(name: &Name, servers: &[NameServer], asked: [bool; 2]) -> [Reply; 2] {
    let deadline = Instant::now() + LOOKUP_TIMEOUT;
    let mut replies = [Reply::Silent, Reply::Silent];
    for server in servers {
        let now = match tokio::join!(ask(name, server, 0, asked, deadline), ask(name, server, 1, asked, deadline)) {
            (Reply::Silent, Reply::Addresses(..)) => [Reply::Silent, Reply::Silent],
            (v4, v6) => [v4, v6],
        };
        if now.iter().any(|reply| matches!(reply, Reply::Addresses(..))) {
            return now;
        }
        for (reply, now) in replies.iter_mut().zip(now) {
            // The silence of a later server takes nothing back.
            if !matches!((&*reply, &now), (Reply::Failed, Reply::Silent)) {
                *reply = now;
            }
        }
    }
    replies
}

async fn ask(name: &Name, server: &NameServer, family: usize, asked: [bool; 2], deadline: Instant) -> Reply {
    if !asked[family] {
        return Reply::NotAsked;
    }
    match timeout_at(deadline, server[family].lookup_ip(name.clone())).await {
        Ok(Ok(lookup)) => {
            let valid_for = lookup.valid_until().saturating_duration_since(Instant::now().into_std());
            // Of the family that was asked for: what else an answer has is not believed.
            let is_asked = |address: &IpAddr| address.is_ipv6() == (family == 1);
            Reply::Addresses(lookup.iter().filter(is_asked).take(MAX_ADDRESSES).collect(), valid_for)
        }
        Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
            Reply::Addresses(Vec::new(), none.negative_ttl.map_or(FLOOR, |ttl| Duration::from_secs(ttl.into())))
        }
        Ok(Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)))) => Reply::Failed,
        Ok(Err(error)) => {
            debug!(%name, "lookup failed: {error}");
            if matches!(error, NetError::Dns(DnsError::ResponseCode(_))) { Reply::Refused } else { Reply::Silent }
        }
        Err(_) => Reply::Silent,
    }
}
