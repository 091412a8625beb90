//! A region, and what its sidecar is told and shows.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{
    ANCHOR_NETS,
    alerting::alertmanager_address,
    attach,
    process::{Process, get},
    service::{SERVICE_PORT, Service},
};
use crate::{
    binary,
    space::{Host, Ping},
};

/// What a sidecar listens on.
pub const REGION_PORT: u16 = 9877;
const OWN: &str = "127.0.0.1:9877";

/// What a region serves, beside its sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    Nothing,
    /// A page that is probed.
    Something,
    /// A page that is probed and is what the region is for.
    Everything,
}

/// What differs from one world to another.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The regions are called a, b, c and so on.
    pub regions: u8,
    pub serves: Serves,
    /// The last one is none, but the place of a witness.
    pub witness: bool,
    /// There are two anchors.
    pub anchors: bool,
    pub allow_single_vantage: bool,
    /// The hold before the second stage, for sidecars and rules.
    pub execute_after: &'static str,
    /// How many Alertmanagers there are; they form a cluster if more than one.
    pub alertmanagers: u16,
    /// The sidecars push to them.
    pub pushes: bool,
    /// And to these.
    pub pushes_to: Vec<String>,
    /// Prometheus evaluates the rules.
    pub rules: bool,
    /// Each has all the regions, by the same names.
    pub environments: &'static [&'static str],
    /// Where the name of the environment comes from.
    pub named_by: NamedBy,
    /// The program of the sidecars.
    pub program: String,
    /// What a shell does before it becomes a sidecar, such as limiting itself. Its variable `REGION` names the region.
    pub shell: String,
    /// Hosts that are no regions: the nth has the address of [`stranger_address`](super::stranger_address).
    pub strangers: u8,
    /// More keys of `failover`, each with its value and a comma.
    pub failover: &'static str,
    /// More keys of every peer, as lines with four spaces before them.
    pub of_peers: &'static str,
    /// The private and the public key by which the sidecar of each region signs orders, if there are any.
    pub keys: Vec<(String, String)>,
    /// Each sidecar has a folder for its state.
    pub state: bool,
    /// More settings, as lines.
    pub settings: String,
    /// More peers, as YAML that continues the list.
    pub peers: String,
}

/// Where the name of an environment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The sidecars do not know it.
    Scrape,
    Setting,
}

impl Plan {
    /// How many regions there are in all environments.
    pub fn everywhere(&self) -> u8 {
        self.regions * self.environments.len() as u8
    }

    /// Whether the nth region, counted from 1 over all environments, is the place of a witness.
    pub fn is_witness(&self, n: u8) -> bool {
        self.witness && n.is_multiple_of(self.regions)
    }

    /// The environment of the nth region, counted from 1.
    pub fn environment(&self, n: u8) -> &'static str {
        self.environments[usize::from((n - 1) / self.regions)]
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            regions: 3,
            serves: Serves::Nothing,
            witness: false,
            anchors: false,
            allow_single_vantage: false,
            execute_after: "4s",
            alertmanagers: 1,
            pushes: true,
            pushes_to: Vec::new(),
            rules: false,
            environments: &[""],
            named_by: NamedBy::Setting,
            program: binary().to_owned(),
            shell: String::new(),
            strangers: 0,
            failover: "",
            of_peers: "",
            keys: Vec::new(),
            state: false,
            settings: String::new(),
            peers: String::new(),
        }
    }
}

/// A region: its host, and the sidecar in it.
pub struct Region {
    pub name: char,
    pub environment: &'static str,
    /// Whether it is none, but the place of a witness.
    pub is_witness: bool,
    net: u8,
    line: String,
    /// The file that its sidecar is told by.
    pub config: PathBuf,
    log: PathBuf,
    sidecar: Option<Process>,
    /// What it serves; `None` kills it.
    pub service: Option<Service>,
    pub host: Host,
}

impl Region {
    pub fn new(n: u8, hub: &Host, folder: &TempDir, plan: &Plan) -> Self {
        let host = Host::new();
        attach(hub, &host, n);
        Ping::Datagram.allow_on(&host);
        let (name, environment) = (letter(n, plan), plan.environment(n));
        let config = folder.path().join(format!("{name}{n}.yaml"));
        fs::write(&config, configuration(n, plan)).unwrap();
        if let Some((private, _)) = plan.keys.get(usize::from(n - 1)) {
            fs::write(folder.path().join(format!("sign{n}.key")), private).unwrap();
        }
        let script = folder.path().join(format!("{name}{n}.sh"));
        let program = format!("exec {} run --config {}", plan.program, config.display());
        fs::write(&script, format!("REGION={name}\n{}\n{program}\n", plan.shell)).unwrap();
        let line = format!("sh {}", script.display());
        let log = folder.path().join(format!("{name}{n}.log"));
        let service = (plan.serves != Serves::Nothing).then(|| Service::start(&host, SERVICE_PORT));
        let is_witness = plan.is_witness(n);
        Self { name, environment, is_witness, net: n, line, config, log, sidecar: None, service, host }
    }

    /// Starts the sidecar, again or for the first time.
    pub fn start(&mut self) {
        self.sidecar = None;
        self.sidecar = Some(Process::start(&self.host, &self.line, &self.log));
    }

    /// Its sidecar.
    pub fn sidecar(&self) -> &Process {
        self.sidecar.as_ref().unwrap()
    }

    /// Ends the sidecar politely.
    pub fn end(&mut self) {
        self.sidecar.take().unwrap().end();
    }

    /// Kills the sidecar.
    pub fn kill(&mut self) {
        self.sidecar = None;
    }

    /// Sends a signal to its sidecar, such as `STOP`.
    pub fn signal(&self, name: &str) {
        self.sidecar.as_ref().unwrap().signal(name);
    }

    /// What its sidecar said last.
    pub fn said(&self) -> String {
        self.sidecar.as_ref().map(Process::said).unwrap_or_default()
    }

    /// The interface of the hub that leads to it.
    pub fn link(&self) -> String {
        format!("net{}", self.net)
    }

    /// The address that its sidecar serves on.
    pub fn address(&self) -> String {
        format!("10.0.{}.2:{REGION_PORT}", self.net)
    }

    /// What its sidecar shows, seen from beside it.
    fn page(&self) -> Option<String> {
        get(&self.host, OWN, "/metrics")
    }

    /// The value of the one series of this name that has all these labels.
    pub fn value(&self, name: &str, labels: &[&str]) -> Option<f64> {
        value_on(&self.page()?, name, labels)
    }

    /// All that its sidecar shows, seen from beside it.
    pub fn whole_page(&self) -> Option<String> {
        get(&self.host, OWN, "/metrics")
    }

    /// The same, on the whole page.
    pub fn any_value(&self, name: &str, labels: &[&str]) -> Option<f64> {
        value_on(&self.whole_page()?, name, labels)
    }

    /// What it thinks of a peer.
    pub fn state_of(&self, peer: char) -> Option<String> {
        let page = self.page()?;
        let is = |line: &&str| {
            line.starts_with("regionwatch_peer_state{") && line.contains(&peer_label(peer)) && line.ends_with(" 1")
        };
        Some(page.lines().find(is)?.split("state=\"").nth(1)?.split('"').next()?.to_owned())
    }
}

fn value_on(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let name = format!("regionwatch_{name}{{");
    let is = |line: &&str| line.starts_with(&name) && labels.iter().all(|label| line.contains(label));
    page.lines().find(is)?.rsplit(' ').next()?.parse().ok()
}

/// The name of the nth region, counted from 1 over all environments.
fn letter(n: u8, plan: &Plan) -> char {
    char::from(b'a' + (n - 1) % plan.regions)
}

/// What a sidecar is told.
fn configuration(own: u8, plan: &Plan) -> String {
    let name = |n: u8| letter(n, plan);
    let mut text = format!(
        "region: {}\nlisten: 0.0.0.0:{REGION_PORT}\nvotes: {{key_file: votes.key}}\n\
         external_url: http://10.0.{own}.2:{REGION_PORT}\n",
        name(own)
    );
    if plan.state {
        text.push_str(&format!("state_dir: state{own}\n"));
    }
    if !plan.keys.is_empty() {
        text.push_str(&format!("signing: {{key_file: sign{own}.key}}\n"));
    }
    text.push_str(&plan.settings);
    let environment = plan.environment(own);
    if plan.named_by == NamedBy::Setting && !environment.is_empty() {
        text.push_str(&format!("environment: {environment}\n"));
    }
    if plan.pushes {
        let own = (0..plan.alertmanagers).map(|n| format!("http://{}", alertmanager_address(n)));
        let urls: Vec<_> = own.chain(plan.pushes_to.clone()).map(|url| format!("\"{url}\"")).collect();
        text.push_str(&format!("alertmanagers: [{}]\n", urls.join(", ")));
    }
    if plan.anchors {
        let urls = ANCHOR_NETS.map(|net| format!("tcp://10.0.{net}.2:{SERVICE_PORT}"));
        text.push_str(&format!("anchors: [{}]\n", urls.join(", ")));
    }
    let all = || (1..=plan.everywhere()).filter(|n| plan.environment(*n) == environment);
    if let Some(witness) = all().find(|n| plan.is_witness(*n)) {
        // Also where the witness itself is told.
        let url = format!("http://10.0.{witness}.2:{REGION_PORT}");
        text.push_str(&format!("witnesses: [{{name: {}, url: \"{url}\"}}]\n", name(witness)));
    }
    text.push_str(&format!(
        "failover: {{{} execute_after: {}, allow_single_vantage: {}}}\npeers:\n",
        plan.failover, plan.execute_after, plan.allow_single_vantage
    ));
    for peer in all().filter(|n| *n != own && !plan.is_witness(*n)) {
        let address = format!("10.0.{peer}.2");
        let key = plan.keys.get(usize::from(peer - 1));
        let key = key.map(|(_, public)| format!("    public_keys: ['{public}']\n")).unwrap_or_default();
        text.push_str(&format!(
            "  - region: {}\n{}{key}    targets:\n      - name: edge\n        host: {address}\n        probes:\n\
             \x20         - {{kind: icmp}}\n\
             \x20         - {{kind: tcp, port: {REGION_PORT}}}\n\
             \x20         - {{kind: http, url: \"http://{address}:{REGION_PORT}/api/v1/regions\", sidecar: true, \
             keep_alive: true}}\n",
            name(peer),
            plan.of_peers
        ));
        if plan.serves != Serves::Nothing {
            let critical = plan.serves == Serves::Everything;
            text.push_str(&format!(
                "      - name: shop\n        host: {address}\n        probes:\n\
                 \x20         - {{kind: http, url: \"http://{address}:{SERVICE_PORT}/\", critical: {critical}}}\n"
            ));
        }
    }
    text + &plan.peers
}

/// The label that names a peer.
pub fn peer_label(name: char) -> String {
    format!("peer_region=\"{name}\"")
}
