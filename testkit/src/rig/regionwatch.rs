//! The program under test: its configuration, its start, and the samples that it tells at `/api/v1/probes`.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::Deserialize;

use super::{
    Result,
    client::Client,
    compare::Reported,
    net::Namespace,
    pause,
    process::{Place, Process, Workspace},
    servers::{DNS_NAME, HTTP_PORT, HTTPS_PORT, TCP_PORT},
    truth::{Flow, Service},
};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9877);

/// Writes a configuration with a peer for each server.
pub fn configure(
    servers: &[Ipv4Addr],
    services: &[Service],
    interval: Duration,
    timeout: Duration,
    workspace: &Workspace,
) -> Result<PathBuf> {
    let cadence = format!("{{interval: {}ms, timeout: {}ms}}", interval.as_millis(), timeout.as_millis());
    let mut text = format!("region: vantage\nlisten: {LISTEN}\ndefaults:\n");
    for kind in ["icmp", "dns", "tcp", "http"] {
        writeln!(text, "  {kind}: {cadence}")?;
    }
    text.push_str("peers:\n");
    for server in servers {
        writeln!(text, "  - region: {}\n    targets:", peer(*server))?;
        // A kind comes up once in a target, so https is a target of its own.
        for tls in [false, true] {
            let mine: Vec<_> = services.iter().filter(|service| (**service == Service::Https) == tls).collect();
            if mine.is_empty() {
                continue;
            }
            writeln!(text, "      - name: {}\n        host: {server}\n        probes:", target(tls))?;
            for service in mine {
                let probe = match service {
                    Service::Icmp => "kind: icmp".to_owned(),
                    Service::Dns => format!("kind: dns, port: 53, query: {DNS_NAME}, record: A"),
                    Service::Tcp => format!("kind: tcp, port: {TCP_PORT}"),
                    Service::Http => format!("kind: http, url: \"http://{server}:{HTTP_PORT}/\""),
                    Service::Https => format!(
                        "kind: http, url: \"https://{server}:{HTTPS_PORT}/\", tls: {{insecure_skip_verify: true}}"
                    ),
                };
                writeln!(text, "          - {{{probe}}}")?;
            }
        }
    }
    workspace.write("regionwatch.yml", &text)
}

/// The name of the region that a server stands for.
pub(super) fn peer(server: Ipv4Addr) -> String {
    server.to_string().replace('.', "-")
}

/// The name of a region's target.
pub(super) const fn target(tls: bool) -> &'static str {
    if tls { "tls" } else { "plain" }
}

/// The program under test: this build of it, or another one (`REGIONWATCH_BINARY`), such as that of an image.
pub fn program() -> PathBuf {
    std::env::var_os("REGIONWATCH_BINARY").map_or_else(|| crate::binary().into(), PathBuf::from)
}

/// The command that runs a build of it.
pub fn command(program: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(config);
    command
}

/// Starts a build of it and waits until it is ready.
pub fn start(program: &Path, config: &Path, place: Place<'_>, workspace: &Workspace) -> Result<Process> {
    let mut process = Process::spawn(command(program, config), "regionwatch", place, workspace)?;
    for _ in 0..2000 {
        process.check()?;
        if client(place.net).text("/-/ready").is_ok() {
            return Ok(process);
        }
        pause(Duration::from_millis(10))?;
    }
    Err(format!("regionwatch does not become ready\n{}", process.log_tail()).into())
}

/// A client of its HTTP server.
pub fn client(net: &Namespace) -> Client<'_> {
    Client::new(net, LISTEN)
}

/// The answer of `/api/v1/probes`.
#[derive(Deserialize)]
struct Page {
    probes: Vec<ProbeSamples>,
}

#[derive(Deserialize)]
struct ProbeSamples {
    samples: Vec<OneSample>,
}

#[derive(Deserialize)]
struct OneSample {
    sent_at: String,
    result: String,
    #[serde(default)]
    phases: BTreeMap<String, f64>,
    #[serde(default)]
    clock: String,
}

/// Collects samples; a sample that is read twice is kept once.
pub struct Collector {
    flows: Vec<Flow>,
    samples: BTreeMap<(Flow, i64), Reported>,
    /// How often the samples of a path did not overlap with those of the read before: some may be missing.
    pub gaps: usize,
}

impl Collector {
    /// A collector of the samples of these flows.
    pub fn new(flows: &[Flow]) -> Self {
        Self { flows: flows.to_vec(), samples: BTreeMap::new(), gaps: 0 }
    }

    /// Reads the newest samples of every flow. `slack` is how long after its `sent_at` a probe's first packet may
    /// have left.
    pub fn poll(&mut self, client: &mut Client<'_>, slack: Duration) -> Result<()> {
        for flow in self.flows.clone() {
            let (server, service) = flow;
            let kind = match service {
                Service::Icmp => "icmp",
                Service::Dns => "dns",
                Service::Tcp => "tcp",
                Service::Http | Service::Https => "http",
            };
            let target = target(service == Service::Https);
            let text = client.text(&format!("/api/v1/probes?path={}/{target}/{kind}", peer(server)))?;
            let page: Page = serde_json::from_str(&text).map_err(|e| format!("/api/v1/probes: {e}: {text}"))?;
            let known = self.samples.range((flow, 0)..=(flow, i64::MAX)).next_back().map(|((_, at), _)| *at);
            let mut overlaps = known.is_none();
            for sample in page.probes.iter().flat_map(|probe| &probe.samples) {
                let at = parse_time(&sample.sent_at).ok_or_else(|| format!("sent_at {:?}", sample.sent_at))?;
                overlaps |= Some(at) == known;
                self.samples.entry((flow, at)).or_insert_with(|| reported(flow, at, slack, sample));
            }
            self.gaps += usize::from(!overlaps);
        }
        Ok(())
    }

    /// All that was collected from `from` on.
    pub fn finish(self, from: i64) -> Vec<Reported> {
        self.samples.into_values().filter(|sample| sample.from >= from).collect()
    }
}

fn reported(flow: Flow, at: i64, slack: Duration, sample: &OneSample) -> Reported {
    let ns = |phase: &str| sample.phases.get(phase).map(|seconds| seconds * 1e9);
    let exchange = exchange_phase(flow.1).and_then(ns);
    Reported {
        flow,
        // `sent_at` is printed in µs and read from another clock than the packets' stamps.
        from: at - 2_000_000,
        until: at + slack.as_nanos() as i64,
        ok: sample.result == "ok",
        connect: ns("connect"),
        exchange,
        kernel: sample.clock == "kernel",
    }
}

/// The phase between a question and its answer.
pub(super) const fn exchange_phase(service: Service) -> Option<&'static str> {
    match service {
        Service::Icmp => Some("rtt"),
        Service::Dns => Some("request"),
        Service::Tcp => None,
        Service::Http | Service::Https => Some("processing"),
    }
}

/// Reads `2026-11-21T03:04:05.123456Z` as ns since 1970.
fn parse_time(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
    let seconds = time.next()?;
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let second = second.parse::<i64>().ok()?;
    let fraction = format!("{fraction:0<9}").get(..9)?.parse::<i64>().ok()?;
    // Days since 1970 with years that begin in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + fraction)
}
