//! Regions around a hub, and a control host that belongs to none of them.

#![allow(clippy::print_stdout, reason = "what was measured is for who reads the log of a test")]

pub mod alerting;
pub mod process;
mod prometheus;
pub mod region;
pub mod service;

use std::{collections::BTreeSet, fs, net::TcpListener, thread, time::Duration};

use tempfile::TempDir;
use tokio::time::Instant;

use self::{
    alerting::{Alertmanager, SINK_PORT},
    process::wait_for,
    prometheus::Prometheus,
    region::{Plan, Region, peer_label},
    service::{SERVICE_PORT, Service},
};
use crate::{
    needs::{Need, require},
    sink::{Call, Sink},
    space::{Host, need_namespaces},
};

/// Says what was measured.
pub fn report(what: &str) {
    println!("{}: {what}", thread::current().name().unwrap_or_default());
}

/// The address of the control host.
pub const CONTROL: &str = "10.0.100.2";
const CONTROL_NET: u8 = 100;

/// The networks of the anchors.
pub const ANCHOR_NETS: [u8; 2] = [101, 102];

/// The network of the first stranger.
const STRANGER_NETS: u8 = 110;

/// The address of the nth stranger, from 0.
pub fn stranger_address(n: u8) -> String {
    format!("10.0.{}.2", STRANGER_NETS + n)
}

/// How long regions may take to know each other. On a busy machine one starts seconds after another one, which has lost its first
/// probes then: it is degraded and no candidate until these are 60 s old.
const WARM: Duration = Duration::from_secs(100);

/// How long a region may take to see what happens to another.
const SEE: Duration = Duration::from_secs(20);

/// Everything of one scenario. What was started ends with it.
pub struct World {
    pub regions: Vec<Region>,
    pub alertmanagers: Vec<Alertmanager>,
    pub sink: Sink,
    pub control: Host,
    hub: Host,
    pub prometheus: Option<Prometheus>,
    pub strangers: Vec<Host>,
    _anchors: Vec<(Service, Host)>,
    _folder: TempDir,
}

impl World {
    /// Brings a world up, and waits until every region knows that the others are well.
    pub fn new(plan: &Plan) -> Self {
        need_namespaces();
        require(&[Need::Tool("setpriv"), Need::Tool("prometheus"), Need::Tool("prometheus-alertmanager")]);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("votes.key"), "0123456789abcdef0123456789abcdef\n").unwrap();
        let (hub, control) = (Host::new(), Host::new());
        hub.set("net/ipv4/ip_forward", "1");
        attach(&hub, &control, CONTROL_NET);
        let sink = sink(&control);
        let alertmanagers = Alertmanager::start(plan.alertmanagers, &control, folder.path());
        let anchor = |net: &u8| {
            let host = Host::new();
            attach(&hub, &host, *net);
            (Service::start(&host, SERVICE_PORT), host)
        };
        let anchors = ANCHOR_NETS.iter().filter(|_| plan.anchors).map(anchor).collect();
        let strangers = (0..plan.strangers).map(|n| {
            let host = Host::new();
            attach(&hub, &host, STRANGER_NETS + n);
            host
        });
        let strangers = strangers.collect();
        let region = |n: u8| Region::new(n, &hub, &folder, plan);
        let mut regions: Vec<_> = (1..=plan.everywhere()).map(region).collect();
        regions.iter_mut().for_each(Region::start);
        let prometheus = plan.rules.then(|| Prometheus::start(&control, folder.path(), plan));
        let world = Self {
            regions,
            alertmanagers,
            sink,
            control,
            hub,
            prometheus,
            strangers,
            _anchors: anchors,
            _folder: folder,
        };
        world.is_warm(plan.pushes);
        world
    }

    /// Waits until everybody has an opinion of everybody.
    fn is_warm(&self, pushes: bool) {
        for region in &self.regions {
            let is_peer =
                |peer: &&Region| peer.name != region.name && peer.environment == region.environment && !peer.is_witness;
            for peer in self.regions.iter().filter(is_peer) {
                let (from, to) = (region.name, peer.name);
                wait_for(&format!("{from} to know {to}"), WARM, || {
                    let well = matches!(region.state_of(to)?.as_str(), "healthy" | "degraded");
                    let peers = |one: &&Region| one.environment == region.environment;
                    let voters = self.regions.iter().filter(peers).count() as f64 - 1.0;
                    let up = region.value("peer_votes", &[&peer_label(to), "vote=\"up\""])?;
                    let ranked = region.value("candidate_rank", &[&peer_label(to)]).is_some();
                    (well && up == voters && ranked).then_some(())
                });
            }
        }
        if let Some(prometheus) = &self.prometheus {
            let others = |one: &Region| {
                let peer =
                    |peer: &&Region| peer.name != one.name && peer.environment == one.environment && !peer.is_witness;
                self.regions.iter().filter(peer).count()
            };
            prometheus.knows(&self.control, self.regions.iter().map(others).sum());
        }
        for region in self.regions.iter().filter(|_| pushes) {
            let heartbeat = |call: &Call| {
                call.label("vantage_region") == region.name.to_string()
                    && call.label("environment") == region.environment
            };
            wait_for(&format!("the heartbeat of {}", region.name), WARM, || {
                self.sink.calls("deadmans-switch").iter().any(heartbeat).then_some(())
            });
        }
    }

    pub fn region(&self, name: char) -> &Region {
        self.regions.iter().find(|region| region.name == name).unwrap()
    }

    /// The region of this name in an environment.
    pub fn region_of(&self, environment: &str, name: char) -> &Region {
        self.regions.iter().find(|region| region.environment == environment && region.name == name).unwrap()
    }

    pub fn region_mut(&mut self, name: char) -> &mut Region {
        self.regions.iter_mut().find(|region| region.name == name).unwrap()
    }

    /// Makes the hub treat packets differently from now on: `rule` is what iptables(8) appends to the chain FORWARD.
    pub fn forward(&self, rule: &str) {
        self.forward_all(&[rule.to_owned()]);
    }

    /// The same with several rules at one instant: links that are cut one after the other are no partition in between, and
    /// vantages rightly confirm what they see then.
    pub fn forward_all(&self, rules: &[String]) {
        let rules: String = rules.iter().map(|rule| format!("-A FORWARD {rule}\n")).collect();
        self.hub.command("iptables-restore -w --noflush", &format!("*filter\n{rules}COMMIT\n"));
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.hub.command("iptables -w -F FORWARD", "");
    }

    /// Swallows everything to and from a region. Returns when that began.
    pub fn blackhole(&self, name: char) -> Instant {
        self.swallow(self.region(name))
    }

    /// Swallows everything to and from this region. Returns when that began.
    pub fn swallow(&self, region: &Region) -> Instant {
        let link = region.link();
        let now = Instant::now();
        self.forward_all(&["-i", "-o"].map(|direction| format!("{direction} {link} -j DROP")));
        now
    }

    /// Lets everything to and from a region pass again that [`blackhole`](Self::blackhole) swallows.
    pub fn heal(&self, name: char) {
        let link = self.region(name).link();
        for direction in ["-i", "-o"] {
            self.hub.command(&format!("iptables -w -D FORWARD {direction} {link} -j DROP"), "");
        }
    }

    /// Starts the receiver of webhooks again, which knows no calls.
    pub fn restart_sink(&mut self) {
        self.sink = sink(&self.control);
    }

    /// Parts one region from the others of its environment; it still reaches the control host.
    pub fn seclude(&self, region: &Region) {
        let others = |one: &&Region| one.environment == region.environment && one.name != region.name;
        let both_ways = |other: &Region| {
            [(region, other), (other, region)].map(|(from, to)| format!("-i {} -o {} -j DROP", from.link(), to.link()))
        };
        self.forward_all(&self.regions.iter().filter(others).flat_map(both_ways).collect::<Vec<_>>());
    }

    /// Sends what one region sends to the sidecar of another to the sidecar of a third one.
    pub fn redirect(&self, from: &Region, to: &Region, instead: &Region) {
        let (link, to, instead) = (from.link(), to.address(), instead.address());
        let (host, port) = to.split_once(':').unwrap();
        let rule = format!("-i {link} -d {host} -p tcp --dport {port} -j DNAT --to-destination {instead}");
        self.hub.command(&format!("iptables -w -t nat -A PREROUTING {rule}"), "");
    }

    /// Refuses everything that is sent to a region, as its own kernel would where nothing listens. Returns when that began.
    pub fn refuse(&self, name: char) -> Instant {
        let link = self.region(name).link();
        let now = Instant::now();
        self.forward(&format!("-o {link} -p tcp -j REJECT --reject-with tcp-reset"));
        self.forward(&format!("-o {link} -j REJECT --reject-with icmp-port-unreachable"));
        now
    }

    /// Ends Prometheus and starts it again.
    pub fn restart_prometheus(&mut self) {
        let prometheus = self.prometheus.as_mut().unwrap();
        prometheus.end();
        prometheus.go(&self.control);
    }

    /// Swallows what a region sends, not what is sent to it. Returns when that began.
    pub fn mute(&self, name: char) -> Instant {
        let now = Instant::now();
        self.forward(&format!("-i {} -j DROP", self.region(name).link()));
        now
    }

    /// Swallows what one region sends to another.
    pub fn cut(&self, from: char, to: char) {
        self.forward(&self.link_rule(from, to));
    }

    fn link_rule(&self, from: char, to: char) -> String {
        format!("-i {} -o {} -j DROP", self.region(from).link(), self.region(to).link())
    }

    /// Parts some regions from others; all of them still reach the control host. Returns when that began.
    pub fn part(&self, some: &str, others: &str) -> Instant {
        let now = Instant::now();
        let both_ways = |one, other| [self.link_rule(one, other), self.link_rule(other, one)];
        let pairs = some.chars().flat_map(|one| others.chars().map(move |other| (one, other)));
        self.forward_all(&pairs.flat_map(|(one, other)| both_ways(one, other)).collect::<Vec<_>>());
        now
    }

    /// Parts the anchors from everybody.
    pub fn lose_anchors(&self) {
        self.forward_all(&ANCHOR_NETS.map(|net| format!("-i net{net} -j DROP")));
    }

    /// Waits until a region thinks so of another.
    pub fn comes_to_see(&self, vantage: char, peer: char, state: &str) {
        let region = self.region(vantage);
        wait_for(&format!("{vantage} to call {peer} {state}"), SEE, || region.state_of(peer).filter(|is| is == state));
    }

    /// The calls of the failover webhook: region and kind of each.
    pub fn story(&self) -> Vec<(String, String)> {
        self.sink.calls("failover").iter().map(|call| (call.peer().to_owned(), call.kind())).collect()
    }

    /// Waits for the first call of this kind about this region, and says how long after `since` it came.
    pub fn webhook(&self, name: char, kind: &str, since: Instant, limit: Duration) -> Call {
        let is = |call: &Call| call.peer() == name.to_string() && call.kind() == kind;
        let left = limit.saturating_sub(since.elapsed());
        let call = wait_for(&format!("{kind} about {name}"), left, || self.sink.calls("failover").into_iter().find(is));
        report(&format!("{kind} about {name} after {:.2} s", call.at.saturating_duration_since(since).as_secs_f64()));
        call
    }

    /// Every alert about a region is about one incident, whoever told it last, and so are these calls. Vantages that open
    /// it at the same moment may name it after onsets that differ by little, until they hear of each other's.
    pub fn is_one_incident(&self, name: char, calls: &[&Call]) {
        let alerts = self.alertmanagers[0].alerts(&self.control, name);
        let ids = alerts.iter().map(|alert| alert["annotations"]["incident_id"].as_str().unwrap());
        let ids: BTreeSet<_> = ids.collect();
        assert_eq!(ids.len(), 1, "{alerts:?}");
        let onset = |id: &str| id.strip_prefix(&format!("{name}-")).unwrap().parse::<u64>().unwrap();
        for id in calls.iter().map(|call| call.annotation("incident_id")) {
            assert!(onset(id).abs_diff(onset(ids.first().unwrap())) < 1000, "{id} and {ids:?}");
        }
    }

    /// Lets things go on for so long, in which nothing else may be told than this, neither before nor after. The order
    /// counts within a region.
    pub fn nothing_but(&self, story: &[(char, &str)], during: Duration) {
        thread::sleep(during);
        let mut story: Vec<_> = story.iter().map(|(name, kind)| (name.to_string(), (*kind).to_owned())).collect();
        let mut told = self.story();
        for story in [&mut story, &mut told] {
            story.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        assert_eq!(told, story);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            for region in &self.regions {
                println!("--- sidecar of {}:\n{}", region.name, region.said());
            }
            if let Some(prometheus) = &self.prometheus {
                println!("--- Prometheus:\n{}", prometheus.said(&self.control));
            }
            self.sink.calls("failover").iter().for_each(|call| println!("--- webhook: {}", call.body));
        }
    }
}

fn sink(control: &Host) -> Sink {
    Sink::start(control.run(|| TcpListener::bind(("0.0.0.0", SINK_PORT)).unwrap()))
}

/// Joins a host to the hub, by which it reaches all others.
pub fn attach(hub: &Host, host: &Host, net: u8) {
    hub.join(host, net);
    host.ip(&format!("route add default via 10.0.{net}.1"));
}
