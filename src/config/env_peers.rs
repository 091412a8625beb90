//! Peers without a file: `REGIONWATCH_PEERS=REGION=URL,...`, `REGIONWATCH_DNS_SERVERS=REGION=HOST[:PORT],...`, and
//! `REGIONWATCH_PUBLIC_KEYS=REGION=KEY,...`.
//!
//! A URL becomes one target of its region, named after the URL's host, with an icmp, a tcp (to the URL's port) and an http
//! probe. The first URL of a region also gets a dns probe: it queries the URL's host on port 53 for its own address, or
//! for the root's name servers if the host is an address. `REGIONWATCH_DNS_SERVERS` names other name servers of a region;
//! `REGION=none` there omits dns. If a server is the host of a URL, its dns probe belongs to that target; any other server
//! is another target.

use std::sync::Arc;

use super::{
    signing,
    types::{HttpUrl, Location, Maintenance, Peer, ProbeConfig, Target},
};
use crate::{
    model::{Host, Region},
    probe::{DnsSpec, HttpSpec, IcmpSpec, ProbeSpec, RecordType, TcpSpec},
    yaml::{Item, ReadContext, addresses},
};

/// The variable that lists the peers.
pub(super) const PEERS: &str = "REGIONWATCH_PEERS";
/// The variable that lists the name servers of its regions.
pub(super) const DNS_SERVERS: &str = "REGIONWATCH_DNS_SERVERS";

/// The variable that lists the public keys of its regions.
pub(super) const PUBLIC_KEYS: &str = "REGIONWATCH_PUBLIC_KEYS";

const PEERS_HINT: &str = "write REGION=URL, such as us-east-1=https://us.example.com/healthz";
const SERVERS_HINT: &str = "write REGION=HOST, REGION=HOST:PORT or REGION=none, such as us-east-1=ns.us.example.com";

const KEYS_HINT: &str =
    "write REGION=KEY with the key that regionwatch keygen printed, such as us-east-1=ed25519:AbC...=";

/// The port of DNS (RFC 1035 4.2).
const DNS_PORT: u16 = 53;

/// Reads the peers of the environment.
pub(super) fn read(
    list: &Item<'_>,
    servers: Option<Item<'_>>,
    keys: Option<Item<'_>>,
    context: &ReadContext<'_>,
) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for entry in list.list().unwrap_or_default() {
        let Some((region, text)) = split(&entry, PEERS_HINT) else { continue };
        let target = addresses::url(text).and_then(|url| web_target(url, context));
        let Ok(target) = target.map_err(|reason| entry.wrong_value(&reason)) else { continue };
        let peer = match peers.iter_mut().find(|peer| peer.region == region) {
            Some(peer) => peer,
            None => {
                let location = Location::of_region(region.as_str());
                peers.push(Peer {
                    region,
                    zone: None,
                    failure_domain: None,
                    location,
                    priority: 0,
                    capacity: None,
                    maintenance: Maintenance::No,
                    armed: true,
                    public_keys: Vec::new(),
                    targets: Vec::new(),
                });
                peers.last_mut().expect("it was just pushed")
            }
        };
        if peer.targets.iter().any(|other| other.name == target.name) {
            entry.wrong_value("has the same host as another entry of its region; remove one of them");
        } else {
            peer.targets.push(target);
        }
    }
    let mut told = Vec::new();
    for entry in servers.and_then(|servers| servers.list()).unwrap_or_default() {
        let Some((region, text)) = split(&entry, SERVERS_HINT) else { continue };
        let Some(peer) = peers.iter_mut().find(|peer| peer.region == region) else {
            entry.wrong_value("is for a region that REGIONWATCH_PEERS does not name; name it there or remove this");
            continue;
        };
        told.push(region);
        if text == "none" {
            continue;
        }
        let server = addresses::host_port(text).map_err(|reason| entry.wrong_value(&reason));
        let Ok((host, port)) = server else { continue };
        if let Err(reason) = add_dns(peer, host, port.unwrap_or(DNS_PORT), context) {
            entry.wrong_value(&reason);
        }
    }
    for peer in peers.iter_mut().filter(|peer| !told.contains(&peer.region)) {
        let first = peer.targets.first().and_then(|target| target.probes.first());
        if let Some(host) = first.map(|probe| probe.host.clone()) {
            // The target exists, and has no dns probe yet.
            let _ = add_dns(peer, host, DNS_PORT, context);
        }
    }
    let mut owners = signing::Owners::new();
    for entry in keys.and_then(|keys| keys.secret().list()).unwrap_or_default() {
        let Some((region, text)) = split(&entry, KEYS_HINT) else { continue };
        let Some(peer) = peers.iter_mut().find(|peer| peer.region == region) else {
            entry.wrong_value("is for a region that REGIONWATCH_PEERS does not name; name it there or remove this");
            continue;
        };
        peer.public_keys.extend(signing::public_key(&entry, &region, text, peer.public_keys.len(), &mut owners));
    }
    peers
}

fn split<'a>(entry: &Item<'a>, hint: &str) -> Option<(Region, &'a str)> {
    let Some((region, text)) = entry.text()?.split_once('=') else {
        entry.wrong_value(&format!("has no =; {hint}"));
        return None;
    };
    match addresses::region(region.trim()) {
        Ok(region) => Some((region, text.trim())),
        Err(reason) => {
            entry.wrong_value(&format!("has a bad region, which {reason}"));
            None
        }
    }
}

fn probe(host: &Host, spec: ProbeSpec, context: &ReadContext<'_>) -> ProbeConfig {
    let cadence = context.defaults[spec.kind().as_str()];
    ProbeConfig::new(cadence, host.clone(), spec)
}

fn web_target(url: HttpUrl, context: &ReadContext<'_>) -> Result<Target, String> {
    let host = url.host.clone();
    let specs: [ProbeSpec; 3] =
        [IcmpSpec::default().into(), TcpSpec::connect(url.port).into(), HttpSpec::get(url).into()];
    let probes = specs.into_iter().map(|spec| probe(&host, spec, context)).collect();
    Ok(Target { name: addresses::derived_name(&host)?, probes })
}

fn add_dns(peer: &mut Peer, host: Host, port: u16, context: &ReadContext<'_>) -> Result<(), String> {
    let name = addresses::derived_name(&host)?;
    let first = peer.targets.first().and_then(|target| target.probes.first()).map(|probe| &probe.host);
    let (query, record): (Arc<str>, _) = match first {
        Some(host @ Host::Name(_)) => (Arc::from(format!("{host}.")), RecordType(1)),
        _ => (Arc::from("."), RecordType(2)),
    };
    let spec = DnsSpec::question(port, query, record);
    let probe = probe(&host, spec.into(), context);
    match peer.targets.iter_mut().find(|target| target.name == name) {
        Some(target) if target.probes.iter().any(|other| other.kind() == probe.kind()) => {
            Err("is a duplicate; delete it".to_owned())
        }
        Some(target) => {
            target.probes.push(probe);
            Ok(())
        }
        None => {
            peer.targets.push(Target { name, probes: vec![probe] });
            Ok(())
        }
    }
}
