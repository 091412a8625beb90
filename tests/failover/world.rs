//! Regions around a hub, and a control host that belongs to none of them.

use std::{fs, path::PathBuf, thread, time::Duration};

use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    alerting::{Alertmanager, SINK_PORT},
    process::{Process, get, wait_for},
    report,
    sink::{Call, Sink},
    space::{Host, Ping},
};

/// The address of the control host.
pub(crate) const CONTROL: &str = "10.0.100.2";
const CONTROL_NET: u8 = 100;

/// What a sidecar listens on.
pub(crate) const REGION_PORT: u16 = 9877;
const OWN: &str = "127.0.0.1:9877";

/// How long regions may take to know each other on a busy machine.
const WARM: Duration = Duration::from_secs(40);

/// How long a region may take to see what happens to another.
const SEE: Duration = Duration::from_secs(20);

/// What differs from one world to another.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The regions are called a, b, c and so on.
    pub(crate) regions: u8,
    /// The sidecars push to this many Alertmanagers.
    pub(crate) pushes: bool,
    /// The hold before the second stage.
    pub(crate) execute_after: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        Self { regions: 3, pushes: true, execute_after: "4s" }
    }
}

/// A region: its host, and the sidecar in it.
pub(crate) struct Region {
    pub(crate) name: char,
    net: u8,
    line: String,
    log: PathBuf,
    sidecar: Option<Process>,
    host: Host,
}

/// Everything of one scenario. What was started ends with it.
pub(crate) struct World {
    pub(crate) regions: Vec<Region>,
    pub(crate) alertmanagers: Vec<Alertmanager>,
    pub(crate) sink: Sink,
    pub(crate) control: Host,
    hub: Host,
    folder: TempDir,
}

impl World {
    /// Brings a world up, and waits until every region knows that the others are well.
    pub(crate) fn new(plan: &Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("votes.key"), "0123456789abcdef0123456789abcdef\n").unwrap();
        let (hub, control) = (Host::new(), Host::new());
        hub.set("net/ipv4/ip_forward", "1");
        attach(&hub, &control, CONTROL_NET);
        let sink = Sink::start(&control, SINK_PORT);
        let alertmanagers = vec![Alertmanager::start(&control, folder.path())];
        let region = |n: u8| Region::new(n, &hub, &folder, plan);
        let mut regions: Vec<_> = (1..=plan.regions).map(region).collect();
        regions.iter_mut().for_each(Region::start);
        let world = Self { regions, alertmanagers, sink, control, hub, folder };
        world.is_warm();
        world
    }

    /// Waits until everybody has an opinion of everybody.
    fn is_warm(&self) {
        for region in &self.regions {
            for peer in self.regions.iter().filter(|peer| peer.name != region.name) {
                let (from, to) = (region.name, peer.name);
                wait_for(&format!("{from} to know {to}"), WARM, || {
                    let well = matches!(region.state_of(to)?.as_str(), "healthy" | "degraded");
                    let voters = self.regions.len() as f64 - 1.0;
                    let up = region.value("peer_votes", &[&peer_label(to), "vote=\"up\""])?;
                    let ranked = region.value("candidate_rank", &[&peer_label(to)]).is_some();
                    (well && up == voters && ranked).then_some(())
                });
            }
        }
        for region in &self.regions {
            let heartbeat = |call: &Call| call.label("vantage_region") == region.name.to_string();
            wait_for(&format!("the heartbeat of {}", region.name), WARM, || {
                self.sink.calls("deadmans-switch").iter().any(heartbeat).then_some(())
            });
        }
    }

    pub(crate) fn region(&self, name: char) -> &Region {
        self.regions.iter().find(|region| region.name == name).unwrap()
    }

    pub(crate) fn region_mut(&mut self, name: char) -> &mut Region {
        self.regions.iter_mut().find(|region| region.name == name).unwrap()
    }

    /// Makes the hub treat packets differently from now on: `rule` is what iptables(8) appends to the chain FORWARD.
    pub(crate) fn forward(&self, rule: &str) {
        self.hub.command(&format!("iptables -w -A FORWARD {rule}"), "");
    }

    /// Lets everything pass again.
    pub(crate) fn mend(&self) {
        self.hub.command("iptables -w -F FORWARD", "");
    }

    /// Swallows everything to and from a region. Returns when that began.
    pub(crate) fn blackhole(&self, name: char) -> Instant {
        let link = self.region(name).link();
        let now = Instant::now();
        self.forward(&format!("-i {link} -j DROP"));
        self.forward(&format!("-o {link} -j DROP"));
        now
    }

    /// Swallows what a region sends, not what is sent to it. Returns when that began.
    pub(crate) fn mute(&self, name: char) -> Instant {
        let now = Instant::now();
        self.forward(&format!("-i {} -j DROP", self.region(name).link()));
        now
    }

    /// Swallows what one region sends to another.
    pub(crate) fn cut(&self, from: char, to: char) {
        self.forward(&format!("-i {} -o {} -j DROP", self.region(from).link(), self.region(to).link()));
    }

    /// Parts some regions from others; all of them still reach the control host. Returns when that began.
    pub(crate) fn part(&self, some: &str, others: &str) -> Instant {
        let now = Instant::now();
        for one in some.chars() {
            for other in others.chars() {
                self.cut(one, other);
                self.cut(other, one);
            }
        }
        now
    }

    /// Waits until a region thinks so of another.
    pub(crate) fn comes_to_see(&self, vantage: char, peer: char, state: &str) {
        let region = self.region(vantage);
        wait_for(&format!("{vantage} to call {peer} {state}"), SEE, || region.state_of(peer).filter(|is| is == state));
    }

    /// The calls of the failover webhook: region and kind of each.
    pub(crate) fn story(&self) -> Vec<(String, String)> {
        self.sink.calls("failover").iter().map(|call| (call.peer().to_owned(), call.kind())).collect()
    }

    /// Waits for the first call of this kind about this region, and says how long after `since` it came.
    pub(crate) fn webhook(&self, name: char, kind: &str, since: Instant, limit: Duration) -> Call {
        let is = |call: &Call| call.peer() == name.to_string() && call.kind() == kind;
        let left = limit.saturating_sub(since.elapsed());
        let call = wait_for(&format!("{kind} about {name}"), left, || self.sink.calls("failover").into_iter().find(is));
        report(&format!("{kind} about {name} after {:.2} s", call.at.saturating_duration_since(since).as_secs_f64()));
        call
    }

    /// Lets things go on for so long, in which nothing else may be told than this, neither before nor after.
    pub(crate) fn nothing_but(&self, story: &[(char, &str)], during: Duration) {
        thread::sleep(during);
        let story: Vec<_> = story.iter().map(|(name, kind)| (name.to_string(), (*kind).to_owned())).collect();
        assert_eq!(self.story(), story);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            for region in &self.regions {
                let said = region.sidecar.as_ref().map(Process::said).unwrap_or_default();
                println!("--- sidecar of {}:\n{said}", region.name);
            }
            self.sink.calls("failover").iter().for_each(|call| println!("--- webhook: {}", call.body));
        }
    }
}

/// Joins a host to the hub, by which it reaches all others.
fn attach(hub: &Host, host: &Host, net: u8) {
    hub.join(host, net);
    host.ip(&format!("route add default via 10.0.{net}.1"));
}

fn peer_label(name: char) -> String {
    format!("peer_region=\"{name}\"")
}

impl Region {
    fn new(n: u8, hub: &Host, folder: &TempDir, plan: &Plan) -> Self {
        let host = Host::new();
        attach(hub, &host, n);
        Ping::Datagram.allow_on(&host);
        let name = char::from(b'a' + n - 1);
        let config = folder.path().join(format!("{name}.yaml"));
        fs::write(&config, configuration(n, plan)).unwrap();
        let line = format!("{} run --config {}", env!("CARGO_BIN_EXE_regionwatch"), config.display());
        Self { name, net: n, line, log: folder.path().join(format!("{name}.log")), sidecar: None, host }
    }

    /// Starts the sidecar, again or for the first time.
    pub(crate) fn start(&mut self) {
        self.sidecar = None;
        self.sidecar = Some(Process::start(&self.host, &self.line, &self.log));
    }

    /// The interface of the hub that leads to it.
    pub(crate) fn link(&self) -> String {
        format!("net{}", self.net)
    }

    /// What its sidecar shows, seen from beside it.
    fn page(&self) -> Option<String> {
        get(&self.host, OWN, "/metrics?collect=state")
    }

    /// The value of the one series of this name that has all these labels.
    pub(crate) fn value(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let page = self.page()?;
        let name = format!("regionwatch_{name}{{");
        let is = |line: &&str| line.starts_with(&name) && labels.iter().all(|label| line.contains(label));
        page.lines().find(is)?.rsplit(' ').next()?.parse().ok()
    }

    /// What it thinks of a peer.
    pub(crate) fn state_of(&self, peer: char) -> Option<String> {
        let page = self.page()?;
        let is = |line: &&str| {
            line.starts_with("regionwatch_peer_state{") && line.contains(&peer_label(peer)) && line.ends_with(" 1")
        };
        Some(page.lines().find(is)?.split("state=\"").nth(1)?.split('"').next()?.to_owned())
    }
}

/// What a sidecar is told.
fn configuration(own: u8, plan: &Plan) -> String {
    let name = |n: u8| char::from(b'a' + n - 1);
    let mut text = format!("region: {}\nlisten: 0.0.0.0:{REGION_PORT}\nvotes: {{key_file: votes.key}}\n", name(own));
    if plan.pushes {
        text.push_str(&format!("alertmanagers: [\"http://{CONTROL}:9093\"]\n"));
    }
    text.push_str(&format!("failover: {{execute_after: {}}}\npeers:\n", plan.execute_after));
    for peer in (1..=plan.regions).filter(|n| *n != own) {
        text.push_str(&format!(
            "  - region: {}\n    targets:\n      - name: edge\n        host: 10.0.{peer}.2\n        probes:\n\
             \x20         - {{kind: icmp}}\n\
             \x20         - {{kind: tcp, port: {REGION_PORT}}}\n\
             \x20         - {{kind: http, url: \"http://10.0.{peer}.2:{REGION_PORT}/api/v1/regions\", sidecar: true, \
             keep_alive: true}}\n",
            name(peer)
        ));
    }
    text
}
