//! One container: what it needs, what it can do with less, and how it begins and ends.

use std::{net::SocketAddr, process::Command, thread::sleep, time::Duration};

use testkit::{
    cpu::withheld,
    engine::{Container, Files, HARDENED, Network, PORT, binary, docker, image, need_engine, tried},
    needs::{Need::Tool, require},
    process::{Running, eventually, free, get, request},
    programs::knot,
    stalls::Stalls,
};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Environment of a vantage that measures one peer by all kinds but DNS.
fn vantage(peer: SocketAddr) -> [String; 6] {
    let peers = format!("REGIONWATCH_PEERS=us-east-1=http://{peer}/-/healthy");
    ["--env", "REGIONWATCH_REGION=eu-west-1", "--env", &peers, "--env", "REGIONWATCH_DNS_SERVERS=us-east-1=none"]
        .map(str::to_owned)
}

fn slices<'a>(parts: &[&[&'a str]], more: &'a [String]) -> Vec<&'a str> {
    parts.concat().into_iter().chain(more.iter().map(String::as_str)).collect()
}

/// A hardened container that watches an address where nobody is, and serves.
fn alone(network: &Network, host: u8, options: &[&str]) -> Container {
    let nobody = vantage(SocketAddr::new(network.address(250), 80));
    Container::start(network, host, &slices(&[&HARDENED, options], &nobody), &["run"])
}

fn health(container: &Container) -> String {
    container.inspect("{{.State.Health.Status}}")
}

fn successes(page: &str, kind: &str) -> f64 {
    let counts = page.lines().filter(|line| line.starts_with("regionwatch_probes_total{"));
    let of_kind = counts.filter(|line| line.contains(&format!("probe=\"{kind}\",result=\"ok\"")));
    of_kind.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn all_four_protocols_are_measured_without_privileges_or_writable_files() {
    need_engine();
    require(&[Tool("knotd")]);
    let network = Network::new();
    let peer = alone(&network, 3, &[]);
    let folder = tempfile::tempdir().unwrap();
    // This machine is a part of the network, and plays the peer's name server.
    let dns = SocketAddr::new(network.address(1), 5353);
    let _knot = knot(folder.path(), "@ 1 A 192.0.2.7\n", dns);
    let files = Files::new();
    files.write(
        "regionwatch.yaml",
        &format!(
            "region: eu-west-1\npeers:\n  - region: us-east-1\n    targets:\n      - name: edge\n        host: {}\n\
             \x20       probes: [{{kind: icmp}}, {{kind: tcp, port: {PORT}}}, {{kind: http, url: \"http://{}/-/healthy\"}}]\n\
             \x20     - name: names\n        host: {}\n\
             \x20       probes: [{{kind: dns, port: {}, query: example.com, expect: {{answers: [192.0.2.7]}}}}]\n",
            peer.addr.ip(),
            peer.addr,
            dns.ip(),
            dns.port(),
        ),
    );
    let vantage = Container::configured(&network, 2, files);
    let page = eventually("all four succeed", 20 * SECOND, || {
        sleep(Duration::from_millis(200));
        let page = request(vantage.addr, "GET", "/metrics")?.body;
        ["icmp", "dns", "tcp", "http"].iter().all(|kind| successes(&page, kind) > 3.0).then_some(page)
    });
    let stamps = page.lines().filter(|line| line.starts_with("regionwatch_timestamp_source{"));
    let userland: Vec<_> = stamps.filter(|line| line.contains("userland") && !line.ends_with(" 0")).collect();
    assert!(userland.is_empty(), "not by the kernel's stamps: {userland:?}");
    let process = std::fs::read_to_string(format!("/proc/{}/status", vantage.inspect("{{.State.Pid}}"))).unwrap();
    for line in ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(process.contains(line), "{line}: {process}");
    }
}

#[test]
fn if_pings_are_denied_the_fix_is_logged_and_the_rest_is_measured() {
    need_engine();
    let network = Network::new();
    let peer = alone(&network, 3, &[]);
    let denied = ["--sysctl", "net.ipv4.ping_group_range=1 0"];
    let vantage = Container::start(&network, 2, &slices(&[&HARDENED, &denied], &vantage(peer.addr)), &["run"]);
    let page = eventually("tcp and http succeed", 20 * SECOND, || {
        sleep(Duration::from_millis(200));
        let page = request(vantage.addr, "GET", "/metrics")?.body;
        ["tcp", "http"].iter().all(|kind| successes(&page, kind) > 3.0).then_some(page)
    });
    let local = page.lines().find(|line| line.contains("probe=\"icmp\",result=\"local\"")).unwrap();
    assert!(successes(&page, "icmp") == 0.0 && !local.ends_with(" 0"), "{local}");
    let said = vantage.said();
    let warnings: Vec<_> = said.lines().filter(|line| line.contains(" WARN ping is not permitted here")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("net.ipv4.ping_group_range=\"0 2147483647\""), "{said}");
    let doctor = tried(&["exec", &vantage.name, "/regionwatch", "doctor"]).expect_err("pings are missing");
    assert!(doctor.contains("permission denied (ping_group_range \"1 0\")"), "{doctor}");
}

#[test]
fn the_container_health_follows_the_server() {
    need_engine();
    let network = Network::new();
    let quick = ["--health-interval=500ms", "--health-timeout=3s", "--health-start-period=0s", "--health-retries=2"];
    let container = alone(&network, 2, &[&quick[..], &["--env", "REGIONWATCH_LISTEN=0.0.0.0:9999"]].concat());
    eventually("healthy", 30 * SECOND, || (health(&container) == "healthy").then_some(()));
    // Stopped, it accepts connections and says nothing.
    container.signal("STOP");
    eventually("unhealthy", 20 * SECOND, || (health(&container) == "unhealthy").then_some(()));
    let told = container.inspect("{{range .State.Health.Log}}{{.Output}}{{end}}");
    assert!(told.contains("unhealthy: 0.0.0.0:9999: "), "{told}");
    container.signal("CONT");
    eventually("healthy again", 30 * SECOND, || (health(&container) == "healthy").then_some(()));
}

#[test]
fn sigterm_stops_the_container_with_success_within_a_second() {
    need_engine();
    let network = Network::new();
    let container = alone(&network, 2, &[]);
    eventually("it serves", 10 * SECOND, || request(container.addr, "GET", "/-/ready"));
    let stalls = Stalls::watch();
    container.signal("TERM");
    docker(&["wait", &container.name]);
    let stalled = stalls.sum().as_nanos() as u64;
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "0", "{}", container.said());
    // By the clock of process and engine: how long the commands here take is not the container's doing.
    let nanos = |moment: &str| -> u64 {
        let output = Command::new("date").args(["--utc", "--date", moment, "+%s%N"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let said = container.said();
    let stopping = said.lines().find(|line| line.contains("stopping why=\"SIGTERM\"")).expect(&said);
    let began = nanos(stopping.split(' ').next().unwrap());
    let took = nanos(&container.inspect("{{.State.FinishedAt}}")).saturating_sub(began);
    assert!(took < 1_000_000_000 + stalled, "{took} ns, in which the machine stood still for {stalled} ns");
}

/// Our share of the 300 ms from `docker start` to the first page; the rest is the engine's (docs/image.md).
#[test]
fn the_first_page_is_served_within_100_ms_of_the_start() {
    need_engine();
    let folder = tempfile::tempdir().unwrap();
    let program = binary(folder.path());
    let start = || {
        let at = free();
        let environment = [
            ("REGIONWATCH_REGION", "here"),
            ("REGIONWATCH_PEERS", "there=http://127.0.0.1:9/"),
            ("REGIONWATCH_DNS_SERVERS", "there=none"),
            ("REGIONWATCH_LISTEN", &at.to_string()),
        ];
        let (began, busy) = (Instant::now(), withheld(std::process::id()));
        let running = Running::start(program.to_str().unwrap(), &["run"], &environment);
        eventually("the first page", 10 * SECOND, || {
            sleep(Duration::from_millis(1));
            request(at, "GET", "/metrics").filter(|answer| answer.status == 200)
        });
        let took = began.elapsed();
        // What the machine gave to others meanwhile, of the program and of this test.
        let others = withheld(running.child.id()) + withheld(std::process::id()).saturating_sub(busy);
        drop(running);
        took.saturating_sub(others)
    };
    // The quickest of some: what else the machine does is nobody's doing here.
    let quickest = (0..10).map(|_| start()).min().unwrap();
    eprintln!("first page {quickest:?} after the process has begun");
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[test]
fn a_configuration_error_exits_with_64() {
    need_engine();
    let network = Network::new();
    let container = Container::start(&network, 2, &HARDENED, &["run"]);
    docker(&["wait", &container.name]);
    assert_eq!(container.inspect("{{.State.ExitCode}}"), "64");
    assert!(container.said().contains("REGIONWATCH_REGION"), "{}", container.said());
    let version = docker(&["run", "--rm", "--init", "--pull", "never", "--network", "none", image(), "--version"]);
    assert_eq!(version, format!("regionwatch {}", env!("CARGO_PKG_VERSION")));
}

/// Peers that are all one container, each by four kinds of probe; no name server answers.
fn many(network: &Network, peer: SocketAddr, count: u8) -> [String; 6] {
    let peers: Vec<_> = (0..count).map(|n| format!("region-{n}=http://{peer}/-/healthy?{n}")).collect();
    let servers: Vec<_> = (0..count).map(|n| format!("region-{n}={}", network.address(1))).collect();
    [
        "--env".to_owned(),
        "REGIONWATCH_REGION=eu-west-1".to_owned(),
        "--env".to_owned(),
        format!("REGIONWATCH_PEERS={}", peers.join(",")),
        "--env".to_owned(),
        format!("REGIONWATCH_DNS_SERVERS={}", servers.join(",")),
    ]
}

#[test]
fn ten_peers_fit_in_eight_mebibytes_and_a_hundred_paths_run_for_a_minute_below_the_limit() {
    need_engine();
    let network = Network::new();
    let peer = alone(&network, 3, &[]);
    let start = |host, count| {
        // 400 probes per second need more than a twentieth of a core on a slow machine.
        let cpus = ["--cpus", "0.25"];
        Container::start(&network, host, &slices(&[&HARDENED, &cpus], &many(&network, peer.addr, count)), &["run"])
    };
    let (ten, hundred) = (start(4, 10), start(5, 25));
    for container in [&ten, &hundred] {
        // The engine calls a container started before its program listens.
        eventually("it is ready", 10 * SECOND, || request(container.addr, "GET", "/-/ready"));
    }
    let began = Instant::now();
    while began.elapsed() < 60 * SECOND {
        // As Prometheus would.
        for container in [&ten, &hundred] {
            assert!(get(container.addr, "/metrics").contains("regionwatch_probes_total"), "{}", container.said());
        }
        sleep(5 * SECOND);
    }
    let page = get(hundred.addr, "/metrics");
    let paths = page.lines().filter(|line| line.starts_with("regionwatch_probe_success{")).count();
    let (small, large) = (ten.memory_kib("VmHWM"), hundred.memory_kib("VmHWM"));
    eprintln!("resident at its highest after a minute: {small} KiB with 10 peers, {large} KiB with 100 paths");
    assert_eq!(paths, 100);
    assert!(small <= 8 << 10, "10 peers: {small} KiB");
    for container in [&ten, &hundred] {
        assert_eq!(container.inspect("{{.State.Status}} {{.State.OOMKilled}} {{.RestartCount}}"), "running false 0");
    }
}
