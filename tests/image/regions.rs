//! Three regions as containers: what the death of one means to the others, and to the webhook.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;
use testkit::{
    engine::{Container, Files, Network, PORT, need_engine},
    needs::{Need::Tool, require},
    process::{Running, eventually, free, request},
    sink::{Sink, alertmanager_configuration},
};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// Between two looks: a page costs more than all the probes of such a region, which has a twentieth of a core for both.
const PAUSE: Duration = Duration::from_millis(200);
const NAMES: [&str; 3] = ["eu-west-1", "us-east-1", "ap-south-1"];

/// Three regions in a network; this machine is a part of it, and runs Alertmanager and what it calls.
struct World {
    regions: Vec<Container>,
    network: Network,
    sink: Sink,
    _alertmanager: Running,
    _folder: TempDir,
}

const fn host(region: usize) -> u8 {
    11 + region as u8
}

fn configuration(network: &Network, own: usize, alertmanager: SocketAddr) -> String {
    let mut text = format!(
        "region: {}\nvotes: {{key_file: /etc/regionwatch/votes.key}}\nalertmanagers: [\"http://{alertmanager}\"]\n\
         failover: {{execute_after: 5s}}\ndefaults: {{http: {{interval: 500ms, timeout: 500ms}}}}\npeers:\n",
        NAMES[own]
    );
    for (n, name) in NAMES.iter().enumerate().filter(|(n, _)| *n != own) {
        let address = network.address(host(n));
        text.push_str(&format!(
            "  - region: {name}\n    targets:\n      - name: edge\n        host: {address}\n        probes:\n\
             \x20         - {{kind: icmp}}\n\
             \x20         - {{kind: tcp, port: {PORT}}}\n\
             \x20         - {{kind: http, url: \"http://{address}:{PORT}/-/healthy\", critical: true}}\n\
             \x20     - name: sidecar\n        host: {address}\n        probes:\n\
             \x20         - {{kind: http, url: \"http://{address}:{PORT}/api/v1/regions\", sidecar: true}}\n"
        ));
    }
    text
}

impl World {
    fn new() -> Self {
        let network = Network::new();
        let folder = tempfile::tempdir().unwrap();
        let here = |ip: IpAddr| SocketAddr::new(ip, free().port());
        let (alertmanager, sink) = (here(network.address(1)), here(network.address(1)));
        let sink_listener = TcpListener::bind(sink).unwrap();
        let config = alertmanager_configuration(folder.path(), sink);
        let running = Running::start(
            "prometheus-alertmanager",
            &[
                &format!("--config.file={}", config.display()),
                &format!("--storage.path={}", folder.path().join("data").display()),
                &format!("--web.listen-address={alertmanager}"),
                "--cluster.listen-address=",
            ],
            &[],
        );
        eventually("Alertmanager is ready", 30 * SECOND, || request(alertmanager, "GET", "/-/ready"));
        let regions = (0..NAMES.len()).map(|n| {
            let files = Files::new();
            files.write("regionwatch.yaml", &configuration(&network, n, alertmanager));
            files.write("votes.key", "0123456789abcdef0123456789abcdef\n");
            Container::configured(&network, host(n), files)
        });
        let world = Self {
            regions: regions.collect(),
            sink: Sink::start(sink_listener),
            network,
            _alertmanager: running,
            _folder: folder,
        };
        // What was never heard is never accused, so everything is heard first.
        for region in &world.regions {
            eventually("every path has succeeded", 30 * SECOND, || {
                sleep(PAUSE);
                let page = request(region.addr, "GET", "/metrics")?.body;
                let counts = page.lines().filter(|line| line.starts_with("regionwatch_probes_total{"));
                let successes: Vec<u32> = counts
                    .filter_map(|line| line.split_once("result=\"ok\"} "))
                    .map(|(_, count)| count.parse().unwrap())
                    .collect();
                (successes.len() == 8 && successes.iter().all(|count| *count >= 3)).then_some(())
            });
        }
        world
    }

    /// Waits until a region sees another one in one of these states.
    fn sees(&self, own: usize, peer: usize, states: &[&str], limit: Duration) {
        let what = format!("{} sees {} {}", NAMES[own], NAMES[peer], states.join(" or "));
        let series = format!(
            "regionwatch_peer_state{{vantage_region=\"{}\",peer_region=\"{}\",state=\"",
            NAMES[own], NAMES[peer]
        );
        eventually(&what, limit, || {
            sleep(PAUSE);
            let page = request(self.regions[own].addr, "GET", "/metrics?collect=state")?.body;
            let is = page.lines().any(|line| {
                let state = line.strip_prefix(&*series).and_then(|rest| rest.strip_suffix("\"} 1"));
                state.is_some_and(|state| states.contains(&state))
            });
            is.then_some(())
        });
    }

    /// Waits until the webhook was called about the third region at this stage, and says how long that took.
    fn called(&self, stage: &str, cause: &str, since: Instant, limit: Duration) {
        let call = eventually(&format!("the webhook to {stage}"), limit, || {
            let calls = self.sink.calls("failover");
            calls.into_iter().find(|call| call.peer() == NAMES[2] && call.kind() == format!("{stage} firing"))
        });
        assert_eq!((call.annotation("votes"), call.annotation("cause")), ("2/2", cause), "{call:?}");
        eprintln!("webhook to {stage} after {:.2} s ({cause})", (call.at - since).as_secs_f64());
    }

    /// The death of the third region, as the first two and the webhook have it.
    fn is_dead(&self, cause: &str, since: Instant) {
        for own in [0, 1] {
            self.sees(own, 2, &["down"], 20 * SECOND);
        }
        self.called("prepare", cause, since, 20 * SECOND);
        self.called("execute", cause, since, 30 * SECOND);
        assert!(self.sink.calls("failover").iter().all(|call| call.peer() == NAMES[2]), "another one was accused");
    }
}

#[test]
fn a_paused_region_is_down_for_the_others_and_the_webhook_is_called() {
    need_engine();
    require(&[Tool("prometheus-alertmanager")]);
    let world = World::new();
    let died = Instant::now();
    world.regions[2].does("pause");
    // Its kernel still answers pings and accepts connections.
    world.is_dead("service", died);
    world.regions[2].does("unpause");
    for own in [0, 1] {
        world.sees(own, 2, &["recovering"], 20 * SECOND);
    }
}

#[test]
fn an_isolated_region_is_down_for_the_others_and_suspects_no_peer() {
    need_engine();
    require(&[Tool("prometheus-alertmanager")]);
    let world = World::new();
    let died = Instant::now();
    world.network.disconnect(&world.regions[2]);
    world.is_dead("silence", died);
    let said = world.regions[2].said();
    assert!(said.contains("this vantage appears to be isolated") && !said.contains(" is down: "), "{said}");
    world.network.connect(&world.regions[2], host(2));
    for own in [0, 1] {
        world.sees(own, 2, &["recovering"], 30 * SECOND);
    }
    world.sees(2, 0, &["healthy", "degraded"], 30 * SECOND);
}
