//! `bench` against regions whose delays are known.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use regionwatch::net::TimestampingGuard;
use serde_json::Value;
use testkit::space::{Host, Ping, at_once, need_namespaces};

use crate::stamps::{arrival, now};

/// The regions with the median delays of their servers, the best one first; the last one never answers.
const REGIONS: [(&str, Option<u64>); 4] =
    [("near", Some(10)), ("middle", Some(100)), ("far", Some(300)), ("dead", None)];

/// A DNS server that answers late by a known delay, until it is dropped. It keeps the delays that it had.
struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

impl Server {
    fn start(host: &Host, median: Option<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = host.run(move || {
            let socket = UdpSocket::bind("0.0.0.0:53").unwrap();
            thread::spawn(move || answer(&socket, median, &stopped))
        });
        Self { stop, thread: Some(thread) }
    }

    /// The delays of all answers.
    fn delays(mut self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What the way to a server and back takes at most, beside the delay that the server knows of.
const PATH: Duration = Duration::from_micros(200);

/// Answers questions after delays of 70% to 130% of the median, in an order that repeats after 20.
fn answer(socket: &UdpSocket, median: Option<u64>, stopped: &AtomicBool) -> Vec<Duration> {
    let _ = arrival(socket);
    let mut due: Vec<(Duration, Duration, Vec<u8>, SocketAddr)> = Vec::new();
    let mut delays = Vec::new();
    let mut buffer = [0; 512];
    let mut count = 0_u32;
    while !stopped.load(Ordering::Relaxed) {
        if let Some(n) = due.iter().position(|(at, ..)| *at <= now()) {
            let (_, came, mut message, asker) = due.swap_remove(n);
            // A response without an answer to a question for the root's name servers is a success by its code.
            message[2..4].copy_from_slice(&[0x80, 0]);
            delays.push(now() - came);
            let _ = socket.send_to(&message, asker);
            continue;
        }
        let next = due.iter().map(|(at, ..)| *at).min();
        let wait = next.map_or(Duration::from_millis(20), |at| at.saturating_sub(now()));
        socket.set_read_timeout(Some(wait.clamp(Duration::from_micros(50), Duration::from_millis(20)))).unwrap();
        match socket.recv_from(&mut buffer) {
            Ok((len, asker)) => {
                let came = arrival(socket).expect("the kernel has stamped the packet");
                count += 1;
                if let Some(median) = median {
                    // 7 and 20 have no common divisor, so every step comes once in 20.
                    let step = f64::from(count * 7 % 20) - 9.5;
                    let delay = Duration::from_millis(median).mul_f64(1.0 + step * 0.03);
                    due.push((came + delay, came, buffer[..len].to_vec(), asker));
                }
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
    }
    delays
}

/// A host with a server for each region.
fn world() -> (Host, Vec<Host>, BTreeMap<&'static str, Server>) {
    let here = Host::new();
    Ping::Raw.allow_on(&here);
    let mut servers = BTreeMap::new();
    let mut hosts = Vec::new();
    for (n, (region, median)) in (1..).zip(REGIONS) {
        let there = Host::new();
        here.join(&there, n);
        servers.insert(region, Server::start(&there, median));
        hosts.push(there);
    }
    (here, hosts, servers)
}

fn targets() -> String {
    let target = |(n, (region, _)): (u8, (&str, _))| format!(" --target {region}=dns://10.0.{n}.2");
    (1..).zip(REGIONS).map(target).collect()
}

fn interval(region: &Value, quantile: &str) -> (f64, f64) {
    let interval = &region[quantile];
    (interval["low"].as_f64().unwrap(), interval["high"].as_f64().unwrap_or(f64::INFINITY))
}

#[test]
fn bench_ranks_regions_by_their_delays_and_its_intervals_hold_the_true_ones_in_ten_runs() {
    need_namespaces();
    // The kernel stamps packets only while some socket asks for it.
    let _keeper = TimestampingGuard::hold();
    at_once(0..10, |run| {
        let (here, _hosts, servers) = world();
        let line = format!("{} bench --format json --duration 12s --rate 10{}", testkit::binary(), targets());
        let document: Value = serde_json::from_str(&here.command(&line, "")).unwrap();
        let regions = document["rankings"][0]["regions"].as_array().unwrap();
        let names: Vec<_> = regions.iter().map(|region| region["region"].as_str().unwrap()).collect();
        assert_eq!(names, REGIONS.map(|(region, _)| region), "run {run}: {document}");
        let ranks: Vec<_> = regions.iter().map(|region| region["rank"].clone()).collect();
        assert_eq!(ranks, [[1, 1].into(), [2, 2].into(), [3, 3].into(), Value::Null], "run {run}: {document}");
        let mut servers = servers;
        for region in &regions[..3] {
            let mut delays = servers.remove(region["region"].as_str().unwrap()).unwrap().delays();
            delays.sort_unstable();
            assert!(delays.len() > 80, "run {run}: {region}");
            for (name, q) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
                let truth = delays[(q * delays.len() as f64).ceil() as usize - 1].as_secs_f64();
                let (low, high) = interval(region, name);
                let most = truth + PATH.as_secs_f64();
                assert!(low <= most && truth <= high, "run {run}: {name} {truth}, not in {low} to {high}: {region}");
            }
        }
        let dead = &regions[3];
        assert_eq!(dead["failed"], dead["samples"], "run {run}: {dead}");
        assert_eq!((&dead["p50"]["censored"], dead["score"].is_null()), (&true.into(), true), "run {run}: {dead}");
    });
}
