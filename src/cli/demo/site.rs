//! The regions of a run: their servers, and where they and their instances are reached.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use tokio::sync::{oneshot, watch};

use super::{
    network::{self, Network, Relay},
    servers::{self, Servers},
    world::{self, REGIONS},
};
use crate::{model::HttpUrl, signing::PrivateKey};

/// The port of the instances in namespaces.
const SIDECAR: u16 = 9877;

/// A region of this run.
pub(super) struct Site {
    pub(super) place: usize,
    /// The address of its servers.
    pub(super) address: Ipv4Addr,
    /// Where this machine reaches its instance.
    pub(super) page: SocketAddr,
    /// Where the other regions reach it.
    pub(super) sidecar: SocketAddr,
    /// The key that it signs orders with.
    pub(super) key: PrivateKey,
    pub(super) servers: Option<Servers>,
    /// Its instance runs until this is dropped; ours has none.
    pub(super) until: Option<oneshot::Sender<()>>,
    /// Whether it is cut off.
    pub(super) cut: watch::Sender<bool>,
}

impl Site {
    pub(super) const fn region(&self) -> &'static str {
        REGIONS[self.place]
    }
}

/// The regions, and how they reach each other.
pub(super) struct World {
    pub(super) network: Arc<Network>,
    pub(super) sites: Vec<Site>,
}

impl World {
    /// Starts the simulated regions; ours is the first.
    pub(super) fn new(listen: SocketAddr, network: Network, alertmanagers: &[HttpUrl]) -> Result<Self, String> {
        let network = Arc::new(network);
        let (mut sites, mut relays) = (Vec::new(), Vec::new());
        for (place, region) in REGIONS.into_iter().enumerate() {
            let key = key()?;
            let page = page(place, listen);
            let site = page.and_then(|page| network.inside(place, || site(place, page, key, &network, alertmanagers)));
            let (site, relayed) = site.map_err(|error| format!("cannot simulate {region}: {error}"))?;
            sites.push(site);
            relays.extend(relayed);
        }
        network.carry(sites.iter().map(|site| site.cut.subscribe()).collect()).map_err(|error| error.to_string())?;
        network::relay(relays).map_err(|error| error.to_string())?;
        Ok(Self { network, sites })
    }
}

/// Starts a region, on a thread in its namespace. Its instance is started later.
fn site(
    place: usize,
    page: SocketAddr,
    key: PrivateKey,
    network: &Network,
    alertmanagers: &[HttpUrl],
) -> io::Result<(Site, Vec<Relay>)> {
    let silent = network.namespace(place).is_some();
    let (address, ports) = if silent { (world::address(place), (80, 53)) } else { (world::loopback(place), (0, 0)) };
    let servers = servers::start(REGIONS[place], address, ports, !silent)?;
    let (cut, _) = watch::channel(false);
    let relay = |listener, to, late| Relay { listener, to, late, cut: cut.subscribe() };
    let listener = TcpListener::bind((address, if silent { SIDECAR } else { 0 }))?;
    let sidecar = listener.local_addr()?;
    let mut relays = vec![relay(listener, page, !silent)];
    for url in alertmanagers.iter().filter(|_| silent) {
        let both = || vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let to: Vec<IpAddr> = url.host.address().map_or_else(both, |address| vec![address]);
        for to in to.into_iter().map(|to| SocketAddr::new(to, url.port)) {
            // Not every machine has IPv6.
            relays.extend(TcpListener::bind(to).map(|listener| relay(listener, to, false)));
        }
    }
    Ok((Site { place, address, page, sidecar, key, servers: Some(servers), until: None, cut }, relays))
}

/// Where this machine reaches the instance of a region; ours listens on this address.
fn page(place: usize, listen: SocketAddr) -> io::Result<SocketAddr> {
    match listen {
        _ if place > 0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr(),
        listen if listen.ip().is_unspecified() => Ok((Ipv4Addr::LOCALHOST, listen.port()).into()),
        listen => Ok(listen),
    }
}

/// A key for a region of this run alone.
fn key() -> Result<PrivateKey, String> {
    PrivateKey::generate().map(|(key, _)| key).map_err(|_| "the system provides no random numbers".to_owned())
}
