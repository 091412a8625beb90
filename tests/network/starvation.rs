//! A process that is hardly let run measures the network, and not its own hunger.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpStream, UdpSocket},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use testkit::{
    needs::{Need, require},
    space::{Host, Ping, at_once, need_namespaces},
};
use tokio::time::Instant;

use crate::{
    product::{LISTEN, binary, configuration, total},
    servers::{PROGRAMS, Process, Servers, folder, get, wait_for, write},
};

/// A CPU cgroup of version 1 or 2; removed when dropped, by when its processes must be gone.
struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// So many microseconds in every 100 ms.
    fn new(micros: u32) -> io::Result<Self> {
        let name = format!("regionwatch-network-{}-{micros}", std::process::id());
        let (one, two) = (PathBuf::from("/sys/fs/cgroup/cpu"), PathBuf::from("/sys/fs/cgroup"));
        if one.join("cgroup.procs").exists() {
            fs::create_dir(one.join(&name))?;
            let quota = Self { folder: one.join(name) };
            fs::write(quota.folder.join("cpu.cfs_period_us"), "100000")?;
            fs::write(quota.folder.join("cpu.cfs_quota_us"), micros.to_string())?;
            return Ok(quota);
        }
        // Children can be given quotas only where the parent says so.
        fs::write(two.join("cgroup.subtree_control"), "+cpu")?;
        fs::create_dir(two.join(&name))?;
        let quota = Self { folder: two.join(name) };
        fs::write(quota.folder.join("cpu.max"), format!("{micros} 100000"))?;
        Ok(quota)
    }

    /// In how many periods its processes ran, and in how many of these they were held back.
    fn periods(&self) -> (u32, u32) {
        let stat = fs::read_to_string(self.folder.join("cpu.stat")).unwrap();
        let value =
            |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_default();
        (value("nr_periods "), value("nr_throttled "))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        // The kernel takes a moment to forget a process.
        while fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A client of the same servers that is not starved. What makes it slow is the machine.
struct Bystander {
    over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<[Slow; 3]>>,
}

/// Of how many exchanges how many were slow.
#[derive(Clone, Copy, Default)]
struct Slow {
    count: f64,
    slow: f64,
}

impl Slow {
    fn add(&mut self, took: Duration, bound: Duration) {
        self.count += 1.0;
        self.slow += f64::from(u8::from(took > bound));
    }

    fn share(self) -> f64 {
        self.slow / self.count
    }
}

/// How quick the kernel and the servers are.
const OF_KERNEL: Duration = Duration::from_micros(500);
const OF_SERVERS: Duration = Duration::from_millis(10);

impl Bystander {
    fn start(host: &Host) -> Self {
        let over = Arc::<AtomicBool>::default();
        let ended = Arc::clone(&over);
        Self { over, thread: host.run(|| thread::spawn(move || exchange(&ended))) }
    }

    /// The part of its exchanges that was slow: handshakes, requests over HTTP, and questions to DNS.
    fn end(self) -> [f64; 3] {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().unwrap().map(Slow::share)
    }
}

fn exchange(over: &AtomicBool) -> io::Result<[Slow; 3]> {
    const QUERY: &[u8] = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    let [mut connects, mut http, mut dns] = [Slow::default(); 3];
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect("127.0.0.1:53")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let mut stream = TcpStream::connect("127.0.0.1:80")?;
        connects.add(began.elapsed(), OF_KERNEL);
        stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        http.add(began.elapsed(), OF_SERVERS);
        let began = Instant::now();
        socket.send(QUERY)?;
        socket.recv(&mut [0; 512])?;
        dns.add(began.elapsed(), OF_SERVERS);
        thread::sleep(Duration::from_millis(20));
    }
    Ok([connects, http, dns])
}

/// Five targets, four kinds, four a second.
const TARGETS: usize = 5;
const RATE: f64 = (TARGETS * 4 * 4) as f64;

/// How long is measured.
const TIME: Duration = Duration::from_secs(15);

/// 5 ms in every 100 ms are enough for this load even in a debug build; with 1 ms, the least that the kernel grants,
/// the process is held back in every period.
#[test]
fn a_cpu_starved_process_loses_no_probe_and_measures_the_network() {
    need_namespaces();
    require(&PROGRAMS);
    let works = Quota::new(10_000).is_ok();
    require(&[Need::Other("a CPU cgroup, of version 1 or 2, that can be written", works)]);
    at_once([5_000, 1_000], |micros| {
        let host = Host::new();
        Ping::Datagram.allow_on(&host);
        let _servers = Servers::start(&host);
        let folder = folder();
        let binary = binary(&folder).display().to_string();
        let config = write(&folder, "regionwatch.yaml", &configuration(TARGETS, "250ms"));
        let quota = Quota::new(micros).unwrap();
        let procs = quota.folder.join("cgroup.procs").display().to_string();
        let log = folder.path().join("log");
        let run = Process::start(&host, &format!("echo $$ > {procs} && exec {binary} run --config {config}"), &log);
        // With when it was asked for, and when it was there: a starved process makes it at some moment in between.
        let page = || {
            wait_for("a page", || {
                let asked = Instant::now();
                get(&host, LISTEN, "/metrics").map(|page| (page, asked, Instant::now()))
            })
        };
        let ((first, first_asked, first_there), before) = (page(), quota.periods());
        let bystander = Bystander::start(&host);
        thread::sleep(TIME);
        let [connects, http, dns] = bystander.end();
        let ((last, last_asked, last_there), after) = (page(), quota.periods());
        drop(run);

        let (ran, held_back) = (after.0 - before.0, after.1 - before.1);
        let context = format!("{micros} us: held back in {held_back} of {ran} periods");
        eprintln!("{context}");
        if micros == 1_000 {
            assert!(held_back * 4 >= ran, "{context}: it was not starved");
        }
        let probes = |page: &str, labels: &[&str]| total(page, "regionwatch_probes_total", labels);
        for result in last.lines().filter(|line| line.starts_with("regionwatch_probes_total{")) {
            assert!(result.contains("result=\"ok\"") || result.ends_with(" 0"), "{context}: {result}");
        }
        // Every slot has become a probe or is counted as missed; those under way are neither yet.
        let missed = |page: &str| total(page, "regionwatch_probe_slots_missed_total", &[]);
        let (made, missed) = (probes(&last, &[]) - probes(&first, &[]), missed(&last) - missed(&first));
        let slots = RATE * (last_asked - first_there).as_secs_f64();
        let most = RATE * (last_there - first_asked).as_secs_f64();
        let all = made + missed;
        assert!(
            all > slots - 3.0 * RATE && all < most + 3.0 * RATE,
            "{context}: {made} + {missed} of {slots} to {most}"
        );
        // How much a process gets done that is held back is the machine's affair; that none of it is lost is ours.
        let least = if held_back * 4 >= ran { 0.1 } else { 0.9 };
        assert!(made > least * slots, "{context}: {made} of {slots}");

        // The peers' kernel answers pings and SYNs, so nobody's hunger is in these. nginx and knotd must be woken,
        // which on a busy machine takes longer; a clock of the process would be off by tens of milliseconds nearly always.
        // A starved process makes some 30 probes of a kind: two that the machine's own network delayed are no hunger.
        for (kind, bound, usual) in
            [("icmp", "0.0005", connects), ("tcp", "0.0005", connects), ("dns", "0.01", dns), ("http", "0.01", http)]
        {
            let kind = format!("probe=\"{kind}\"");
            let count = total(&last, "regionwatch_probe_duration_seconds_count", &[&kind]);
            let bucket = format!("le=\"{bound}\"");
            let quick = total(&last, "regionwatch_probe_duration_seconds_bucket", &[&kind, &bucket]);
            let slow = count - quick;
            assert!(
                slow <= (0.01 + 2.0 * usual) * count + 2.0,
                "{context}: {kind}: {slow} of {count} not within {bound} s, and {usual:.3} of those that are not starved"
            );
        }
    });
}
