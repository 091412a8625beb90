//! How the simulated regions reach each other.
//!
//! If the kernel permits it, each region has a network namespace. A process reads what leaves it, and delivers it after half
//! of the round trip: all kinds of probes are late, and a region can fall silent. Otherwise the regions have
//! addresses of the loopback device, whose kernel answers at once.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep},
};

use super::world::{self, REGIONS};
use crate::{
    model::{Host, HttpUrl},
    net::Namespace,
};

/// The most bytes of a packet; the devices have the usual MTU of 1,500.
const PACKET: usize = 2048;

/// The most bytes that a relay takes at once; an answer of an instance is smaller.
const CHUNK: usize = 64 << 10;

/// The regions' network.
pub(super) enum Network {
    /// A namespace for each region.
    Namespaces(Vec<Namespace>),
    /// Loopback addresses, and why.
    Loopback(String),
}

impl Network {
    /// Creates the namespaces, from which these Alertmanagers can be reached.
    pub(super) fn new(alertmanagers: &[HttpUrl]) -> Self {
        let mut local = Vec::new();
        for url in alertmanagers {
            match &url.host {
                Host::Addr(IpAddr::V4(address)) if !address.is_loopback() => local.push(*address),
                Host::Addr(IpAddr::V4(_) | IpAddr::V6(Ipv6Addr::LOCALHOST)) => {}
                Host::Name(name) if &**name == "localhost" => {}
                host => return Self::Loopback(format!("{host} is neither localhost nor an IPv4 address")),
            }
        }
        local.sort_unstable();
        local.dedup();
        let create = || -> io::Result<_> {
            Namespace::permit()?;
            (0..REGIONS.len()).map(|place| Namespace::new(world::address(place), &local)).collect()
        };
        create().map_or_else(|error| Self::Loopback(error.to_string()), Self::Namespaces)
    }

    /// The namespace of a region.
    pub(super) fn namespace(&self, place: usize) -> Option<&Namespace> {
        match self {
            Self::Namespaces(namespaces) => namespaces.get(place),
            Self::Loopback(_) => None,
        }
    }

    /// Does something in a region's namespace, on a thread of its own. Threads that it starts stay there.
    pub(super) fn inside<T: Send>(&self, place: usize, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let Some(namespace) = self.namespace(place) else { return act() };
        let act = || namespace.enter().and_then(|()| act());
        thread::scope(|scope| scope.spawn(act).join())
            .unwrap_or_else(|_| Err(io::Error::other("a thread in a namespace has panicked")))
    }

    /// Carries packets between the namespaces, until the process ends. A region that is cut off neither sends nor receives.
    pub(super) fn carry(&self, cut: Vec<watch::Receiver<bool>>) -> io::Result<()> {
        let Self::Namespaces(namespaces) = self else { return Ok(()) };
        let (send, packets) = channel();
        let mut devices = Vec::new();
        for (from, namespace) in namespaces.iter().enumerate() {
            let (device, send) = (namespace.device()?, send.clone());
            thread::Builder::new()
                .name(format!("from-{}", REGIONS[from]))
                .spawn(move || collect(device, from, &send))?;
            devices.push(namespace.device()?);
        }
        thread::Builder::new().name("network".to_owned()).spawn(move || deliver(&packets, &devices, &cut))?;
        Ok(())
    }
}

/// A packet between two regions. Ordered by when it is due, then as it came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due: Instant,
    number: u64,
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

/// Takes the packets that leave a region.
fn collect(mut device: File, from: usize, send: &Sender<Packet>) {
    let mut buffer = [0; PACKET];
    for number in 0.. {
        let Ok(length) = device.read(&mut buffer) else { return };
        let bytes = &buffer[..length];
        let Some(to) = destination(bytes) else { continue };
        let due = Instant::now() + world::round_trip(world::address(from).into(), world::address(to).into()) / 2;
        if send.send(Packet { due, number, from, to, bytes: bytes.to_vec() }).is_err() {
            return;
        }
    }
}

/// The region to which a packet of IPv4 goes (RFC 791 3.1).
fn destination(packet: &[u8]) -> Option<usize> {
    let version = packet.first()? >> 4;
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    if version == 4 { world::place(Ipv4Addr::from(address)) } else { None }
}

fn deliver(packets: &Receiver<Packet>, devices: &[File], cut: &[watch::Receiver<bool>]) {
    let mut waiting = BinaryHeap::new();
    loop {
        let next = match waiting.peek() {
            Some(Reverse(Packet { due, .. })) => packets.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => packets.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(packet) => waiting.push(Reverse(packet)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|Reverse(packet)| packet.due <= Instant::now()) {
            let Some(Reverse(packet)) = waiting.pop() else { break };
            if ![packet.from, packet.to].iter().any(|region| *cut[*region].borrow()) {
                // What a device does not take is lost, as on any network.
                let _ = (&devices[packet.to]).write(&packet.bytes);
            }
        }
    }
}

/// Passes connections on to an address of this machine, unless the region is cut off.
pub(super) struct Relay {
    pub(super) listener: TcpListener,
    pub(super) to: SocketAddr,
    /// Whether it answers as late as the region of the caller is far away.
    pub(super) late: bool,
    pub(super) cut: watch::Receiver<bool>,
}

/// Starts relays that run until the process ends. They connect from outside of the namespaces.
pub(super) fn relay(relays: Vec<Relay>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for relay in &relays {
        relay.listener.set_nonblocking(true)?;
    }
    thread::Builder::new().name("relays".to_owned()).spawn(move || {
        runtime.block_on(async {
            let running: Vec<_> = relays.into_iter().map(|relay| tokio::spawn(relay.run())).collect();
            for relay in running {
                let _ = relay.await;
            }
        });
    })?;
    Ok(())
}

impl Relay {
    async fn run(self) -> io::Result<()> {
        let Self { listener, to, late, cut } = self;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let own = listener.local_addr()?.ip();
        loop {
            let Ok((client, from)) = listener.accept().await else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut cut = cut.clone();
            let delay = if late { world::round_trip(from.ip(), own) } else { Duration::ZERO };
            tokio::spawn(async move {
                tokio::select! {
                    _ = cut.wait_for(|cut| *cut) => {}
                    _ = pass(client, to, delay) => {}
                }
            });
        }
    }
}

/// Passes one connection on. What comes back is late.
async fn pass(client: TcpStream, to: SocketAddr, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let back = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = from_server.read(&mut buffer).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            sleep(delay).await;
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    tokio::try_join!(there, back).map(drop)
}
