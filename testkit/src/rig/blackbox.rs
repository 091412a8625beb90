//! blackbox_exporter: one request to `/probe` is one probe, and its answer holds what was measured.

use std::{
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    BLACKBOX, Result,
    client::Client,
    compare::Reported,
    net::Namespace,
    page::series,
    pause,
    process::{Place, Process, Workspace},
    servers::{DNS_NAME, HTTP_PORT, HTTPS_PORT, TCP_PORT},
    sys,
    truth::{Flow, Service},
};
use crate::versions::{newest_of, version};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9115);

const fn module(service: Service) -> &'static str {
    match service {
        Service::Icmp => "icmp",
        Service::Dns => "dns",
        Service::Tcp => "tcp",
        Service::Http => "http",
        Service::Https => "https",
    }
}

/// The newest blackbox_exporter that is here. `tests/run` unpacks a newer one than the system has.
pub fn command(config: &Path, listen: &str) -> Command {
    let mut command = Command::new(newest_of(BLACKBOX));
    command.arg(format!("--config.file={}", config.display())).arg(format!("--web.listen-address={listen}"));
    command.arg("--log.level=error");
    command
}

/// What stands beside regionwatch in the figures: another build of it, or blackbox_exporter with its version.
pub fn rival(before: Option<&Path>) -> String {
    before.map_or_else(
        || format!("blackbox_exporter {}", version(&newest_of(BLACKBOX))),
        |build| format!("regionwatch, {}", build.display()),
    )
}

/// Starts it and waits until it serves.
pub fn start(place: Place<'_>, timeout: Duration, workspace: &Workspace) -> Result<Process> {
    let mut config = "modules:\n".to_owned();
    for (name, body) in [
        ("icmp", "prober: icmp, icmp: {preferred_ip_protocol: ip4}".to_owned()),
        ("dns", format!("prober: dns, dns: {{preferred_ip_protocol: ip4, query_name: {DNS_NAME}, query_type: A}}")),
        ("tcp", "prober: tcp, tcp: {preferred_ip_protocol: ip4}".to_owned()),
        ("http", "prober: http, http: {preferred_ip_protocol: ip4}".to_owned()),
        (
            "https",
            "prober: http, http: {preferred_ip_protocol: ip4, tls_config: {insecure_skip_verify: true}}".to_owned(),
        ),
    ] {
        writeln!(config, "  {name}: {{timeout: {}ms, {body}}}", timeout.as_millis())?;
    }
    let config = workspace.write("blackbox.yml", &config)?;
    let mut process = Process::spawn(command(&config, &LISTEN.to_string()), "blackbox", place, workspace)?;
    wait_until_ready(&mut process, place.net)?;
    Ok(process)
}

/// Waits until `/metrics` answers.
pub fn wait_until_ready(process: &mut Process, net: &Namespace) -> Result<()> {
    for _ in 0..2000 {
        process.check()?;
        if Client::new(net, LISTEN).text("/metrics").is_ok() {
            return Ok(());
        }
        pause(Duration::from_millis(10))?;
    }
    Err(format!("blackbox serves nothing\n{}", process.log_tail()).into())
}

/// A client of its HTTP server.
pub fn client(net: &Namespace) -> Client<'_> {
    Client::new(net, LISTEN)
}

fn request((address, service): Flow) -> String {
    let target = match service {
        Service::Icmp => address.to_string(),
        Service::Dns => format!("{address}:53"),
        Service::Tcp => format!("{address}:{TCP_PORT}"),
        Service::Http => format!("http://{address}:{HTTP_PORT}/"),
        Service::Https => format!("https://{address}:{HTTPS_PORT}/"),
    };
    format!("/probe?module={}&target={target}", module(service))
}

/// Asks for `rounds` probes of each flow, one every interval, the flows spread over the interval.
pub fn drive(net: &Namespace, flows: &[Flow], interval: Duration, rounds: u32) -> Result<Vec<Reported>> {
    let begin = sys::monotonic_ns() + 100_000_000;
    std::thread::scope(|scope| {
        let threads: Vec<_> = flows
            .iter()
            .zip(0_u32..)
            .map(|(flow, n)| {
                let phase = interval * n / flows.len() as u32;
                scope.spawn(move || drive_flow(net, *flow, begin + phase.as_nanos() as i64, interval, rounds))
            })
            .collect();
        let mut reported = Vec::new();
        for thread in threads {
            reported.extend(thread.join().map_err(|_| "a client panicked")??);
        }
        Ok(reported)
    })
}

fn drive_flow(net: &Namespace, flow: Flow, begin: i64, interval: Duration, rounds: u32) -> Result<Vec<Reported>> {
    let mut client = client(net);
    let path = request(flow);
    let mut reported = Vec::new();
    for round in 0..rounds {
        let due = begin + (interval * round).as_nanos() as i64;
        pause(Duration::from_nanos((due - sys::monotonic_ns()).max(0) as u64))?;
        let from = sys::realtime_ns();
        let page = client.text(&path).unwrap_or_default();
        let until = sys::realtime_ns();
        reported.push(read(flow, &page, from, until));
    }
    Ok(reported)
}

/// Reads what one answer says. For tcp there is only the duration of the whole probe.
fn read(flow: Flow, page: &str, from: i64, until: i64) -> Reported {
    let ns = |name: &str| series(page, name).map(|seconds| seconds * 1e9);
    let (connect, exchange) = match flow.1 {
        Service::Icmp => (None, ns(r#"probe_icmp_duration_seconds{phase="rtt"}"#)),
        Service::Dns => (None, ns(r#"probe_dns_duration_seconds{phase="request"}"#)),
        Service::Tcp => (ns("probe_duration_seconds"), None),
        Service::Http | Service::Https => (
            ns(r#"probe_http_duration_seconds{phase="connect"}"#),
            ns(r#"probe_http_duration_seconds{phase="processing"}"#),
        ),
    };
    let ok = series(page, "probe_success") == Some(1.0);
    Reported { flow, from, until, ok, connect, exchange, kernel: false }
}

/// What a load did.
#[derive(Debug, Default)]
pub struct Load {
    /// Probes that succeeded.
    pub succeeded: AtomicU64,
    /// Probes that failed.
    pub failed: AtomicU64,
    /// Bytes of the answers.
    pub bytes: AtomicU64,
}

/// Asks for one probe of each flow every second until the end, with a bounded number of connections.
/// A worker that falls behind asks as fast as it is answered.
pub fn load(net: &Namespace, flows: &[Flow], workers: usize, end: i64, load: &Load) {
    let begin = sys::monotonic_ns();
    let second = 1_000_000_000;
    std::thread::scope(|scope| {
        for worker in 0..workers.min(flows.len()) {
            scope.spawn(move || {
                let mine: Vec<_> = flows.iter().skip(worker).step_by(workers).map(|flow| request(*flow)).collect();
                let step = second / mine.len() as i64;
                let offset = step * worker as i64 / workers as i64;
                let mut client = client(net);
                for (n, path) in (0_i64..).zip(mine.iter().cycle()) {
                    let due = begin + offset + n * step;
                    if due.max(sys::monotonic_ns()) >= end || sys::interrupted() {
                        return;
                    }
                    std::thread::sleep(Duration::from_nanos((due - sys::monotonic_ns()).max(0) as u64));
                    let page = client.text(path).unwrap_or_default();
                    let counter =
                        if series(&page, "probe_success") == Some(1.0) { &load.succeeded } else { &load.failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                    load.bytes.fetch_add(page.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
}
