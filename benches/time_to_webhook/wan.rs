//! A wide area network: a TUN device in each host's namespace, and one thread that carries packets between them with
//! a delay, and with whatever weather there is.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    fs::File,
    io::{Read, Write},
    net::Ipv4Addr,
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError, mpsc::channel},
    thread::JoinHandle,
    time::Duration,
};

use rand::RngExt;

use testkit::rig::{
    Result,
    net::{DEVICE, Namespace},
    sys,
};

/// The last part of a hold is spent spinning.
const SPIN_NS: i64 = 30_000;
const IDLE_NS: i64 = 50_000_000;

/// The n-th address of a host.
pub(crate) const fn address(host: u8, n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, host, n + 1)
}

/// What happens to packets.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// Round trips between hosts, ns; of hosts that are not named, `round_trip`.
    pub(crate) near: HashMap<(u8, u8), i64>,
    pub(crate) round_trip: i64,
    /// How much later than its time a packet may come, ns.
    pub(crate) jitter: i64,
    /// The share of packets that are lost each way.
    pub(crate) loss: f64,
    /// From and to these nothing passes.
    pub(crate) dead: HashSet<Ipv4Addr>,
    /// Between a host and an address nothing passes until then, by [`sys::monotonic_ns`].
    pub(crate) blips: HashMap<(u8, Ipv4Addr), i64>,
    /// The network ends.
    pub(crate) stop: bool,
}

impl Weather {
    /// How long a packet is held; `None` where it is lost.
    fn hold(&self, from: Ipv4Addr, to: Ipv4Addr, now: i64) -> Option<i64> {
        let (a, b) = (from.octets()[2], to.octets()[2]);
        let dark = |host, address| self.blips.get(&(host, address)).is_some_and(|until| now < *until);
        if self.is_dead(from) || self.is_dead(to) || dark(a, to) || dark(b, from) {
            return None;
        }
        let mut random = rand::rng();
        if self.loss > 0.0 && random.random_bool(self.loss) {
            return None;
        }
        let late = if self.jitter > 0 { random.random_range(0..self.jitter) } else { 0 };
        Some(self.near.get(&(a.min(b), a.max(b))).unwrap_or(&self.round_trip) / 2 + late)
    }

    fn is_dead(&self, address: Ipv4Addr) -> bool {
        self.dead.contains(&address)
    }
}

/// The network, and the hosts on it; both end with this.
pub(crate) struct Wan {
    hosts: Vec<Namespace>,
    weather: Arc<Mutex<Weather>>,
    thread: Option<JoinHandle<()>>,
}

impl Wan {
    /// Hosts with so many addresses each.
    pub(crate) fn new(addresses: &[u8], weather: Weather) -> Result<Self> {
        let mut hosts = Vec::new();
        let mut devices = Vec::new();
        for (host, count) in (0..).zip(addresses) {
            let namespace = Namespace::new()?;
            devices.push(namespace.run(|| Ok(sys::open_tun(DEVICE)?))?);
            for n in 0..*count {
                namespace.ip(&["addr", "add", &format!("{}/32", address(host, n)), "dev", DEVICE])?;
            }
            namespace.ip(&["link", "set", DEVICE, "up"])?;
            let source = address(host, 0).to_string();
            namespace.ip(&["route", "add", "10.78.0.0/16", "dev", DEVICE, "src", &source])?;
            hosts.push(namespace);
        }
        let weather = Arc::new(Mutex::new(weather));
        let (started, start) = channel();
        let forwarder = Forwarder { devices, weather: Arc::clone(&weather), queue: BinaryHeap::new() };
        let thread = std::thread::Builder::new().name("wan".to_owned()).spawn(move || {
            drop(started.send(sys::become_real_time()));
            forwarder.run();
        })?;
        start.recv()?.map_err(|e| format!("SCHED_FIFO: {e}"))?;
        Ok(Self { hosts, weather, thread: Some(thread) })
    }

    /// The namespace of a host.
    pub(crate) fn host(&self, host: u8) -> &Namespace {
        &self.hosts[usize::from(host)]
    }

    /// Changes the weather; returns when, by [`sys::monotonic_ns`].
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Weather) -> T) -> i64 {
        let mut weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut weather);
        sys::monotonic_ns()
    }

    /// Nothing passes between a host and an address for so long.
    pub(crate) fn blip(&self, host: u8, to: Ipv4Addr, duration: Duration) {
        let until = sys::monotonic_ns() + duration.as_nanos() as i64;
        self.change(|weather| weather.blips.insert((host, to), until));
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.change(|weather| weather.stop = true);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A packet on its way, ordered by when it is due.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: i64,
    number: u64,
    to: Ipv4Addr,
    bytes: Vec<u8>,
}

struct Forwarder {
    devices: Vec<File>,
    weather: Arc<Mutex<Weather>>,
    queue: BinaryHeap<Reverse<Held>>,
}

impl Forwarder {
    fn run(mut self) {
        let fds: Vec<_> = self.devices.iter().map(AsRawFd::as_raw_fd).collect();
        let mut number = 0;
        loop {
            {
                let weather = Arc::clone(&self.weather);
                let weather = weather.lock().unwrap_or_else(PoisonError::into_inner);
                if weather.stop {
                    return;
                }
                self.give(&weather);
                if self.take(&weather, &mut number) {
                    continue;
                }
            }
            let next = self.queue.peek().map_or(IDLE_NS, |Reverse(held)| held.due - sys::monotonic_ns());
            if next > SPIN_NS {
                sys::wait_readable(&fds, (next - SPIN_NS).min(IDLE_NS));
            }
        }
    }

    fn give(&mut self, weather: &Weather) {
        while self.queue.peek().is_some_and(|Reverse(held)| held.due <= sys::monotonic_ns()) {
            let Some(Reverse(held)) = self.queue.pop() else { return };
            // What a region had sent before it died arrives; what was on its way to it does not.
            if let Some(mut device) = self.devices.get(usize::from(held.to.octets()[2]))
                && !weather.is_dead(held.to)
            {
                // Refused only while the device is down, at the end.
                drop(device.write(&held.bytes));
            }
        }
    }

    /// Takes all that wait; returns whether there were any.
    fn take(&mut self, weather: &Weather, number: &mut u64) -> bool {
        let before = *number;
        let mut buffer = [0; 2048];
        for mut device in &self.devices {
            while let Ok(length) = device.read(&mut buffer) {
                *number += 1;
                let bytes = &buffer[..length];
                // IPv4 (RFC 791 3.1): source at 12, destination at 16.
                let (Some([4, ..]), Some(from), Some(to)) =
                    (bytes.first().map(|b| [b >> 4]), bytes.get(12..16), bytes.get(16..20))
                else {
                    continue;
                };
                let ip = |bytes: &[u8]| Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
                let (from, to, now) = (ip(from), ip(to), sys::monotonic_ns());
                if let Some(hold) = weather.hold(from, to, now) {
                    self.queue.push(Reverse(Held { due: now + hold, number: *number, to, bytes: bytes.to_vec() }));
                }
            }
        }
        *number != before
    }
}
