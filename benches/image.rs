//! Which Dockerfile makes the image that is soonest at work? Builds the shipped one and those of `docker/variants`, and
//! ranks them by the time from an empty node to the first page of metrics: pulling, and then starting.
//!
//! `cargo bench --bench image`, as root, where `docker` reaches an engine on this machine. A variant whose base image cannot be had is left
//! out by name. Pulling is computed: the bytes of the gzipped layers over the line's rate, without unpacking.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread::sleep,
    time::Duration,
};

use clap::Parser;
use regionwatch::net::Timestamp;
use testkit::{
    engine::{Container, HARDENED, Network, engine, layers, read, tried},
    needs::check,
    rig::stats::quantile,
    root,
};
use tokio::time::Instant;

#[derive(Parser)]
struct Options {
    /// How often each image is started.
    #[arg(long, default_value_t = 30)]
    starts: usize,
    /// How long it measures ten peers before its memory is read.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Given by `cargo bench`, but not by `cargo test --all-targets`.
    #[arg(long, hide = true)]
    bench: bool,
}

const SHIPPED: &str = "the shipped Dockerfile";
const MIB: f64 = (1 << 20) as f64;
const MBIT: f64 = 125_000.0;

/// Where every image is started.
const HOST: u8 = 2;
const MAC: &str = "02:42:00:00:00:02";

struct Variant {
    name: String,
    image: String,
    bytes: f64,
    packed: f64,
    files: usize,
    /// Seconds from `docker start`, and from the process's own start, to the first page.
    starts: Vec<(f64, f64)>,
    resident: f64,
    anonymous: f64,
}

impl Variant {
    fn new(name: &str, dockerfile: &str) -> Result<Self, String> {
        let image = format!("regionwatch-variant:{}", dockerfile.rsplit('/').next().unwrap().to_lowercase());
        let text = read(dockerfile);
        let bases = text.lines().filter_map(|line| line.strip_prefix("ARG ")).filter_map(|line| line.split_once('='));
        for (_, base) in bases.filter(|(key, _)| key.ends_with("_IMAGE")) {
            tried(&["inspect", "--type", "image", base])
                .or_else(|_| tried(&["pull", "--quiet", base]))
                .map_err(|_| format!("{name}: its base {base} cannot be had here"))?;
        }
        let file = root().join(dockerfile);
        tried(&[
            "build",
            "--network",
            "host",
            "--tag",
            &image,
            "--file",
            file.to_str().unwrap(),
            root().to_str().unwrap(),
        ])
        .map_err(|said| format!("{name}: it does not build: {}", said.lines().last().unwrap_or_default()))?;
        let folder = tempfile::tempdir().unwrap();
        let (mut bytes, mut packed, mut files) = (0.0, 0.0, BTreeSet::new());
        for layer in layers(&image, folder.path()) {
            bytes += fs::metadata(&layer).unwrap().len() as f64;
            let size = shell("gzip -c \"$1\" | wc -c", &layer);
            packed += size.trim().parse::<f64>().unwrap();
            let listing = shell("tar -tf \"$1\"", &layer);
            files.extend(listing.lines().filter(|name| !name.ends_with('/')).map(str::to_owned));
        }
        let (starts, files) = (Vec::new(), files.len());
        Ok(Self { name: name.to_owned(), image, bytes, packed, files, starts, resident: 0.0, anonymous: 0.0 })
    }

    /// A container that measures so many peers. A twentieth of a core is enough to run; here it is the engine's start and
    /// the program's that are compared, so both get a whole one.
    fn container(&self, network: &Network, host: u8, peers: usize, at: SocketAddr) -> Container {
        let environment = measuring(peers, at);
        let environment: Vec<_> = environment.iter().map(String::as_str).collect();
        let more = ["--cpus", "1", "--mac-address", MAC];
        Container::create(&self.image, network, host, &[&HARDENED[..], &more, &environment].concat(), &[])
    }

    fn start_once(&mut self, network: &Network, at: SocketAddr) {
        let container = self.container(network, HOST, 1, at);
        let began = Instant::now();
        let mut starting =
            Command::new("docker").args(["start", &container.name]).stdout(Stdio::null()).spawn().unwrap();
        while page(container.addr).is_none() {
            assert!(began.elapsed() < Duration::from_secs(30), "{}: it said {}", self.name, container.said());
            sleep(Duration::from_millis(1));
        }
        let (took, at) = (began.elapsed(), Timestamp::now().unix_nanos() as f64 / 1e9);
        assert!(starting.wait().unwrap().success());
        self.starts.push((took.as_secs_f64(), at - seconds(&container.inspect("{{.State.StartedAt}}"))));
    }

    fn measure_memory(&mut self, network: &Network, at: SocketAddr, time: Duration) {
        let container = self.container(network, HOST, 10, at);
        container.does("start");
        let began = Instant::now();
        while began.elapsed() < time {
            sleep(Duration::from_secs(1));
            assert!(page(container.addr).is_some(), "{}", container.said());
        }
        self.resident = container.memory_kib("VmHWM") as f64 / 1024.0;
        self.anonymous = container.memory_kib("RssAnon") as f64 / 1024.0;
    }

    /// Seconds from an empty node to the first page.
    fn ready(&self, rate: f64) -> f64 {
        self.packed / rate + self.start(0.5)
    }

    fn start(&self, q: f64) -> f64 {
        quantile(&mut self.starts.iter().map(|(all, _)| *all).collect::<Vec<_>>(), q)
    }

    fn process(&self, q: f64) -> f64 {
        quantile(&mut self.starts.iter().map(|(_, process)| *process).collect::<Vec<_>>(), q)
    }
}

fn shell(script: &str, argument: &Path) -> String {
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(argument).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A moment as the engine writes it, in seconds since 1970.
fn seconds(moment: &str) -> f64 {
    shell("date --utc --date \"$1\" +%s.%N", Path::new(moment)).trim().parse().unwrap()
}

/// Environment of a sidecar that measures so many peers, all of them at one address.
fn measuring(peers: usize, at: SocketAddr) -> [String; 6] {
    let list = |value: &dyn Fn(usize) -> String| (0..peers).map(value).collect::<Vec<_>>().join(",");
    [
        "--env".to_owned(),
        "REGIONWATCH_REGION=here".to_owned(),
        "--env".to_owned(),
        format!("REGIONWATCH_PEERS={}", list(&|n| format!("region-{n}=http://{at}/-/healthy?{n}"))),
        "--env".to_owned(),
        format!("REGIONWATCH_DNS_SERVERS={}", list(&|n| format!("region-{n}=none"))),
    ]
}

/// The first answer to a scrape, if there is one.
fn page(addr: SocketAddr) -> Option<String> {
    // A SYN that comes too early is lost, and would be sent again after a second.
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_millis(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {addr}\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    (text.starts_with("HTTP/1.0 200") || text.starts_with("HTTP/1.1 200")).then_some(text)
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("image: runs by `cargo bench --bench image` (or with --bench) only");
        return ExitCode::SUCCESS;
    }
    if let Err(missing) = check(&[engine()]) {
        eprintln!("the benchmark {missing}");
        return ExitCode::FAILURE;
    }
    let mut dockerfiles = vec![(SHIPPED.to_owned(), "Dockerfile".to_owned())];
    let folder = root().join("docker/variants");
    let mut others: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    others.sort();
    for file in others.iter().filter(|file| file.ends_with(".Dockerfile")) {
        dockerfiles.push((file.trim_end_matches(".Dockerfile").to_owned(), format!("docker/variants/{file}")));
    }
    let (mut variants, mut missing) = (Vec::new(), Vec::new());
    for (name, dockerfile) in dockerfiles {
        eprintln!("building {name}");
        match Variant::new(&name, &dockerfile) {
            Ok(variant) => variants.push(variant),
            Err(reason) => missing.push(reason),
        }
    }
    let network = Network::new();
    let nobody = measuring(1, SocketAddr::new(network.address(1), 9));
    let options_of_peer: Vec<_> = HARDENED.into_iter().chain(nobody.iter().map(String::as_str)).collect();
    let peer = Container::start(&network, 3, &options_of_peer, &["run"]);
    // Neither does one wait for a second question of ARP.
    let (bridge, address) = (network.bridge(), network.address(HOST).to_string());
    let neighbour = Command::new("ip")
        .args(["neigh", "replace", &address, "lladdr", MAC, "nud", "permanent", "dev", &bridge])
        .status();
    if !neighbour.is_ok_and(|status| status.success()) {
        eprintln!("image: cannot name a neighbour of {bridge}; run it as root, where ip is installed");
        return ExitCode::FAILURE;
    }
    // In turn, so that what the machine does meanwhile is nobody's advantage; and once more than counts.
    for round in 0..=options.starts {
        for variant in &mut variants {
            variant.start_once(&network, peer.addr);
            if round == 0 {
                variant.starts.clear();
            }
        }
    }
    for variant in &mut variants {
        variant.measure_memory(&network, peer.addr, Duration::from_secs(options.seconds));
    }
    variants.sort_by(|a, b| a.ready(100.0 * MBIT).total_cmp(&b.ready(100.0 * MBIT)));
    println!(
        "| rank | Dockerfile | first page on an empty node at 100 Mbit/s, s | at 1 Gbit/s, s | image, MiB | gzipped, MiB | pull at 100 Mbit/s, s | at 1 Gbit/s, s | start to first page p50, ms | p99, ms | of it the process p50, ms | memory, MiB | of it anonymous, MiB | files |"
    );
    println!("|{}", " --- |".repeat(14));
    for (rank, variant) in (1..).zip(&variants) {
        let pull = |rate: f64| variant.packed / (rate * MBIT);
        println!(
            "| {rank} | {} | {:.2} | {:.2} | {:.1} | {:.1} | {:.2} | {:.3} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {} |",
            variant.name,
            variant.ready(100.0 * MBIT),
            variant.ready(1000.0 * MBIT),
            variant.bytes / MIB,
            variant.packed / MIB,
            pull(100.0),
            pull(1000.0),
            variant.start(0.5) * 1e3,
            variant.start(0.99) * 1e3,
            variant.process(0.5) * 1e3,
            variant.resident,
            variant.anonymous,
            variant.files,
        );
    }
    println!("\n{} starts of each, in turn; memory at its highest with 10 peers.", options.starts);
    for reason in missing {
        println!("Left out: {reason}.");
    }
    let best = &variants[0];
    if best.name == SHIPPED { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
