//! What runs on the hosts: sidecars, servers to be probed, Alertmanager, Prometheus and blackbox_exporter.

use std::{fmt::Write, fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use testkit::rig::{
    Result, blackbox,
    client::Client,
    net::Namespace,
    pause,
    process::{Place, Process, Workspace},
    regionwatch,
    servers::{HTTP_PORT, Servers, TCP_PORT},
};

use crate::wan::{Wan, address};

/// Prometheus, both Alertmanagers, blackbox_exporter, and the receiver of webhooks.
pub(crate) const CONTROL: u8 = 0;
/// The two vantages with a sidecar.
pub(crate) const VANTAGES: [u8; 2] = [1, 2];
/// All regions that die, an address each.
pub(crate) const REGIONS: u8 = 3;

const SIDECAR_PORT: u16 = 9877;
const PUSH_PORT: u16 = 9093;
const RULES_PORT: u16 = 9094;
const PROMETHEUS_PORT: u16 = 9090;
const BLACKBOX_PORT: u16 = 9115;
const SINK_PORT: u16 = 9099;

/// Where webhooks go.
pub(crate) fn sink_address() -> SocketAddr {
    SocketAddr::from((address(CONTROL, 0), SINK_PORT))
}

/// The name of the n-th region that dies.
pub(crate) fn region(n: u8) -> String {
    format!("r{n}")
}

/// Everything that runs; ends when dropped.
pub(crate) struct Stack {
    processes: Vec<Process>,
    servers: Servers,
}

impl Stack {
    /// Starts everything.
    pub(crate) fn start(wan: &Wan, regions: u8, workspace: &Workspace) -> Result<Self> {
        workspace.write("votes.key", "0123456789abcdef0123456789abcdef\n")?;
        let control = wan.host(CONTROL);
        let servers = Servers::start(wan.host(REGIONS), workspace)?;
        let mut processes = Vec::new();
        for (name, port) in [("push", PUSH_PORT), ("rules", RULES_PORT)] {
            let mut command = Command::new("prometheus-alertmanager");
            let config = workspace.write(&format!("{name}.yml"), &alertmanager(name, workspace)?)?;
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.path={}", workspace.file(&format!("{name}.data")).display()))
                .arg(format!("--web.listen-address=:{port}"))
                .args(["--cluster.listen-address=", "--log.level=error"]);
            let place = Place { net: control, cgroup: None };
            let mut process = Process::spawn(command, name, place, workspace)?;
            ready(&mut process, control, port, "/-/ready")?;
            processes.push(process);
        }
        for vantage in VANTAGES {
            let place = Place { net: wan.host(vantage), cgroup: None };
            let config = workspace.write(&format!("sidecar{vantage}.yml"), &sidecar(vantage, regions))?;
            let command = regionwatch::command(&regionwatch::program(), &config);
            processes.push(Process::spawn(command, &format!("sidecar{vantage}"), place, workspace)?);
        }
        let place = Place { net: control, cgroup: None };
        let config = workspace.write("blackbox.yml", BLACKBOX_CONFIG)?;
        let command = blackbox::command(&config, &format!(":{BLACKBOX_PORT}"));
        let mut process = Process::spawn(command, "blackbox", place, workspace)?;
        ready(&mut process, control, BLACKBOX_PORT, "/metrics")?;
        processes.push(process);

        let config = workspace.write("prometheus.yml", &prometheus(regions, workspace)?)?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", workspace.file("prometheus.data").display()))
            .arg(format!("--web.listen-address=:{PROMETHEUS_PORT}"))
            .arg("--log.level=error");
        let mut process = Process::spawn(command, "prometheus", place, workspace)?;
        ready(&mut process, control, PROMETHEUS_PORT, "/-/ready")?;
        processes.push(process);
        Ok(Self { processes, servers })
    }

    /// # Errors
    /// Where a part of it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.servers.check()?;
        self.processes.iter_mut().try_for_each(Process::check)
    }
}

/// How many regions a vantage holds for well.
pub(crate) fn well(wan: &Wan, vantage: u8) -> usize {
    let at = SocketAddr::from((address(vantage, 0), SIDECAR_PORT));
    let page = Client::new(wan.host(vantage), at).text("/metrics?collect=state").unwrap_or_default();
    let well = |line: &&str| {
        line.starts_with("regionwatch_peer_state{") && line.contains("state=\"healthy\"") && line.ends_with(" 1")
    };
    page.lines().filter(well).count()
}

fn ready(process: &mut Process, net: &Namespace, port: u16, path: &str) -> Result<()> {
    for _ in 0..2000 {
        process.check()?;
        if Client::new(net, SocketAddr::from(([127, 0, 0, 1], port))).text(path).is_ok() {
            return Ok(());
        }
        pause(Duration::from_millis(10))?;
    }
    Err(format!("nothing serves on port {port}\n{}", process.log_tail()).into())
}

/// A sidecar with the defaults, that probes the other vantage and all regions by ICMP and TCP.
fn sidecar(own: u8, regions: u8) -> String {
    let mut text = format!(
        "region: v{own}\nlisten: 0.0.0.0:{SIDECAR_PORT}\nvotes: {{key_file: votes.key}}\n\
         alertmanagers: [\"http://{}:{PUSH_PORT}\"]\npeers:\n",
        address(CONTROL, 0)
    );
    let mut peer = |name: String, host: std::net::Ipv4Addr, port: u16, more: &str| {
        let _ = write!(
            text,
            "  - region: {name}\n    targets:\n      - name: edge\n        host: {host}\n        probes:\n\
             \x20         - {{kind: icmp}}\n\
             \x20         - {{kind: tcp, port: {port}}}\n{more}"
        );
    };
    for vantage in VANTAGES.into_iter().filter(|vantage| *vantage != own) {
        let host = address(vantage, 0);
        let votes = format!(
            "          - {{kind: http, sidecar: true, url: \"http://{host}:{SIDECAR_PORT}/api/v1/regions\"}}\n"
        );
        peer(format!("v{vantage}"), host, SIDECAR_PORT, &votes);
    }
    (0..regions).for_each(|n| peer(region(n), address(REGIONS, n), TCP_PORT, ""));
    text
}

/// The shipped file, with URLs and credentials of this place, and routes for the alerts of blackbox_exporter.
fn alertmanager(name: &str, workspace: &Workspace) -> Result<String> {
    let mut text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts/alertmanager.yml"))?;
    for receiver in ["failover", "deadmans-switch", "oncall", "tickets"] {
        let to = format!("http://{}/{name}/{receiver}/", sink_address());
        text = text.replace(&format!("https://{receiver}.example.com/"), &to);
    }
    let secrets = workspace.file("secrets");
    fs::create_dir_all(&secrets)?;
    for receiver in ["failover", "failover-drill", "deadmans-switch", "oncall", "tickets"] {
        fs::write(secrets.join(format!("{receiver}-token")), "token")?;
    }
    text = text.replace("/etc/alertmanager/secrets/regionwatch", &secrets.display().to_string());
    // Alertmanager's own defaults for the stock one, and no waiting for the tuned ones.
    let routes = "  routes:\n\
                  \x20   - {receiver: blackbox, matchers: ['alertname=\"BlackboxStock\"'], group_by: [peer_region], \
                  group_wait: 30s, group_interval: 5m}\n\
                  \x20   - {receiver: blackbox, matchers: ['alertname=~\"Blackbox.*\"'], group_by: [alertname, peer_region], \
                  group_wait: 0s, group_interval: 5s}\n";
    text = text.replacen("  routes:\n", routes, 1);
    write!(
        text,
        "\n  - name: blackbox\n    webhook_configs: [{{url: 'http://{}/{name}/blackbox/'}}]\n",
        sink_address()
    )?;
    Ok(text)
}

const BLACKBOX_CONFIG: &str = "modules:
  icmp: {prober: icmp, timeout: 500ms, icmp: {preferred_ip_protocol: ip4}}
  tcp: {prober: tcp, timeout: 500ms, tcp: {preferred_ip_protocol: ip4}}
  http: {prober: http, timeout: 500ms, http: {preferred_ip_protocol: ip4}}
  http_stock: {prober: http, http: {preferred_ip_protocol: ip4}}
";

/// The rules for blackbox_exporter: as they are commonly written, tuned to the second, and to the edge, where every
/// protocol has to fail and nothing is waited for.
const BLACKBOX_RULES: &str = "groups:
  - name: stock
    interval: 15s
    rules:
      - {alert: BlackboxStock, expr: 'probe_success{job=\"stock\"} == 0', for: 30s}
  - name: tuned
    interval: 1s
    rules:
      - {alert: BlackboxTuned, expr: 'probe_success{job=\"http\"} == 0', for: 2s}
      - {alert: BlackboxEdge, expr: 'max by (peer_region) (probe_success{job=~\"icmp|tcp|http\"}) == 0'}
";

fn prometheus(regions: u8, workspace: &Workspace) -> Result<String> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts/regionwatch.rules.yml");
    let blackbox = workspace.write("blackbox.rules.yml", BLACKBOX_RULES)?;
    let control = address(CONTROL, 0);
    let sidecars = VANTAGES.map(|vantage| format!("'{}:{SIDECAR_PORT}'", address(vantage, 0))).join(", ");
    let mut text = format!(
        "global: {{scrape_interval: 15s, evaluation_interval: 15s}}\n\
         rule_files: ['{}', '{}']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{control}:{RULES_PORT}']}}]}}]}}\n\
         scrape_configs:\n\
         - {{job_name: regionwatch-state, scrape_interval: 1s, scrape_timeout: 1s, params: {{collect: [state]}}, \
         static_configs: [{{targets: [{sidecars}]}}]}}\n",
        rules.display(),
        blackbox.display()
    );
    let jobs = [
        ("stock", "http_stock", "15s", "10s"),
        ("http", "http", "1s", "1s"),
        ("icmp", "icmp", "1s", "1s"),
        ("tcp", "tcp", "1s", "1s"),
    ];
    for (job, module, interval, timeout) in jobs {
        writeln!(
            text,
            "- job_name: {job}\n  scrape_interval: {interval}\n  scrape_timeout: {timeout}\n  metrics_path: /probe\n\
             \x20 params: {{module: [{module}]}}\n  relabel_configs:\n\
             \x20 - {{source_labels: [__address__], target_label: __param_target}}\n\
             \x20 - {{target_label: __address__, replacement: '{control}:{BLACKBOX_PORT}'}}\n  static_configs:"
        )?;
        for n in 0..regions {
            let host = address(REGIONS, n);
            let target = match module {
                "icmp" => host.to_string(),
                "tcp" => format!("{host}:{TCP_PORT}"),
                _ => format!("http://{host}:{HTTP_PORT}/"),
            };
            writeln!(text, "  - {{targets: ['{target}'], labels: {{peer_region: {}}}}}", region(n))?;
        }
    }
    Ok(text)
}
