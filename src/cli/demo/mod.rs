//! `demo`: three simulated peer regions on this machine, and an instance that probes them.
//!
//! Each region has its own loopback address, with a DNS and a web server that answer after the region's delay. The
//! kernel answers ICMP and TCP without a delay.
//!
//! With `--kill`, each region has its own instance as well, and they vote. A loopback address cannot fall silent, so the
//! outage is that of a service: the servers and the instance of the region stop, and the kernel refuses connections.

mod servers;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, future, io, iter,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::builder::PossibleValuesParser;
use tokio::sync::oneshot;
use tracing::{
    error,
    subscriber::{NoSubscriber, with_default},
    warn,
};

use self::servers::Servers;
use super::report::{finish, log_to_stderr, print, usage};
use crate::{
    app,
    config::{Config, LogLevel, Secret, SigningKey, VoteKeys},
    signing::PrivateKey,
};

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Address to serve on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9877", value_parser = address)]
    listen: SocketAddr,
    /// Run a voting sidecar in every region, and simulate an outage of this region after 10 s.
    #[arg(long, value_name = "REGION", value_parser = PossibleValuesParser::new(REGIONS.map(|known| known.region)))]
    kill: Option<String>,
    /// URL of an Alertmanager to push to; repeatable.
    #[arg(long, value_name = "URL")]
    alertmanager: Vec<String>,
    /// Sign orders to fail over, and write the regions' public keys to this file, for a webhook receiver.
    #[arg(long, value_name = "FILE", requires = "kill")]
    keys: Option<PathBuf>,
}

/// An address and a port; an error names the port in its example.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port: u16 = text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(9877);
        format!("not an address and a port; write it such as 127.0.0.1:{port}")
    })
}

/// A simulated region: its name, its loopback address, and the delay of its servers.
struct Simulated {
    region: &'static str,
    address: Ipv4Addr,
    delay: Duration,
}

/// The region that is not simulated.
const OWN: &str = "eu-west-1";

/// The delays are the round-trip times between eu-west-1 and these regions.
const REGIONS: [Simulated; 3] = [
    Simulated { region: "eu-central-1", address: Ipv4Addr::new(127, 77, 0, 1), delay: Duration::from_millis(24) },
    Simulated { region: "us-east-1", address: Ipv4Addr::new(127, 77, 0, 2), delay: Duration::from_millis(68) },
    Simulated { region: "ap-southeast-2", address: Ipv4Addr::new(127, 77, 0, 3), delay: Duration::from_millis(255) },
];

/// The order of priority. Handshakes are not delayed, so they do not show which region is near.
const TIERS: [&str; 4] = ["eu-central-1", OWN, "us-east-1", "ap-southeast-2"];

/// How long all regions run before the outage.
const ALIVE: Duration = Duration::from_secs(10);

/// How long it must stay down before the second stage; too short for production.
const EXECUTE_AFTER: &str = "10s";

/// A region of this run.
struct Site {
    region: &'static str,
    /// The address of its instance.
    sidecar: SocketAddr,
    /// The key that it signs orders with.
    key: PrivateKey,
    /// Its servers; our own region has none.
    servers: Option<Servers>,
    /// Its instance runs until this is dropped.
    until: Option<oneshot::Sender<()>>,
}

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    match sites(args) {
        Ok(sites) => match configuration(&sites[0], &sites, args) {
            Ok(config) => start(config, sites, args),
            Err(errors) => usage(&errors),
        },
        Err(reason) => usage(&reason),
    }
}

fn start(config: Config, mut sites: Vec<Site>, args: &DemoArgs) -> ExitCode {
    if let Some(path) = &args.keys {
        let lines = sites.iter().map(|site| format!("{} {}\n", site.region, site.key.public()));
        if let Err(error) = fs::write(path, lines.collect::<String>()) {
            return usage(&format!("--keys {}: {error}", path.display()));
        }
    }
    log_to_stderr(&config.log);
    let listener = match app::bind(config.listen) {
        Ok(listener) => listener,
        Err(error) => return finish(Err(error)),
    };
    // Nothing depends on whether someone reads it.
    drop(print(&format!("{}\n", welcome(args, &sites))));
    if args.kill.is_some()
        && let Err(error) = start_sidecars(&mut sites, args)
    {
        return usage(&format!("cannot start the instances of the simulated regions: {error}"));
    }
    if let Some(victim) = sites.iter().position(|site| Some(site.region) == args.kill.as_deref()) {
        let victim = sites.swap_remove(victim);
        thread::spawn(move || {
            thread::sleep(ALIVE);
            warn!("{} goes down now", victim.region);
            drop(victim);
        });
    }
    let ended = finish(run_sidecar(listener, config, future::pending()));
    drop(sites);
    ended
}

fn run_sidecar(
    listener: TcpListener,
    config: Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), app::RunError> {
    let again = crate::config::Loaded { config: config.clone(), warnings: Vec::new(), locations: BTreeMap::new() };
    app::run(listener, config, app::ConfigSource::Demo, Box::new(move || Ok(again.clone())), stop)
}

/// Starts the instances of the simulated regions.
fn start_sidecars(sites: &mut [Site], args: &DemoArgs) -> Result<(), String> {
    let configs: Vec<_> = sites.iter().map(|site| configuration(site, sites, args)).collect();
    for (site, config) in sites.iter_mut().zip(configs).filter(|(site, _)| site.servers.is_some()) {
        let (region, config) = (site.region, config?);
        let listener = app::bind(config.listen).map_err(|error| error.to_string())?;
        let (until, ended) = oneshot::channel::<()>();
        let run = move || {
            let ended = async { drop(ended.await) };
            // The log is that of one vantage.
            if let Err(error) = with_default(NoSubscriber::default(), || run_sidecar(listener, config, ended)) {
                error!("the sidecar of {region} stopped: {error}");
            }
        };
        thread::Builder::new().name(format!("sidecar-{region}")).spawn(run).map_err(|error| error.to_string())?;
        site.until = Some(until);
    }
    Ok(())
}

fn welcome(args: &DemoArgs, sites: &[Site]) -> String {
    let DemoArgs { listen, kill, alertmanager, .. } = args;
    let sidecars = sites.iter().filter(|site| kill.is_some() || site.servers.is_none());
    let sidecars: Vec<_> = sidecars.map(|site| format!("'{}'", site.sidecar)).collect();
    let mut text = format!("regionwatch probes three simulated regions from {OWN}:\n");
    for Simulated { region, address, delay } in &REGIONS {
        let _ = writeln!(text, "  {region:15} {address}  answers after {} ms", delay.as_millis());
    }
    let _ = write!(
        text,
        "\n(DNS and HTTP are delayed. This machine answers pings and TCP handshakes at once, faster than light. The ranking\n\
         uses handshakes, so the demo gives near regions a better priority.)\n\n\
         page      http://{listen}/\n\
         metrics   curl -s http://{listen}/metrics | grep peer_latency\n\
         probes    curl -s 'http://{listen}/api/v1/probes?peer=us-east-1&probe=http'\n\
         Prometheus: scrape_configs: [{{job_name: regionwatch, static_configs: [{{targets: [{}]}}]}}]\n\n",
        sidecars.join(", ")
    );
    if let Some(victim) = kill {
        let _ = write!(
            text,
            "{victim} goes down in {} s: its servers and its sidecar stop, and the others detect it and vote. A loopback\n\
             address cannot fall silent, so this is the outage of a service: five failures, 300 ms apart. The first stage,\n\
             \"prepare\", follows at once. The second, \"execute\", follows when it has been down for {EXECUTE_AFTER}.\n\
             votes     curl -s 'http://{listen}/metrics?collect=state' | grep -E 'peer_(state|votes).*{victim}'\n",
            ALIVE.as_secs()
        );
        if alertmanager.is_empty() {
            text.push_str("No alert is sent: name an Alertmanager with --alertmanager URL.\n");
        }
        text.push('\n');
    }
    text.push_str("Press Ctrl-C to stop.");
    text
}

/// Starts the simulated regions; ours is the first.
fn sites(args: &DemoArgs) -> Result<Vec<Site>, String> {
    let mut own = args.listen;
    if own.ip().is_unspecified() {
        own.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let mut sites = vec![Site { region: OWN, sidecar: own, key: key()?, servers: None, until: None }];
    for Simulated { region, address, delay } in &REGIONS {
        let key = key()?;
        let site = || {
            let servers = servers::start(region, *address, *delay)?;
            let sidecar = TcpListener::bind((IpAddr::V4(*address), 0))?.local_addr()?;
            Ok(Site { region, sidecar, key, servers: Some(servers), until: None })
        };
        sites.push(site().map_err(|error: io::Error| format!("cannot simulate {region} on {address}: {error}"))?);
    }
    Ok(sites)
}

/// A key for a region of this run alone.
fn key() -> Result<PrivateKey, String> {
    PrivateKey::generate().map(|(key, _)| key).map_err(|_| "the system provides no random numbers".to_owned())
}

/// The configuration of a region's instance.
fn configuration(own: &Site, sites: &[Site], args: &DemoArgs) -> Result<Config, String> {
    let votes = args.kill.is_some();
    let listen = if own.servers.is_some() { own.sidecar } else { args.listen };
    let tier = |region: &str| TIERS.iter().position(|known| *known == region).unwrap_or(TIERS.len());
    let mut text = format!("region: {}\nlisten: \"{listen}\"\npriority: {}\n", own.region, tier(own.region));
    let _ = writeln!(text, "alertmanagers: {:?}", args.alertmanager);
    let _ = writeln!(text, "failover: {{execute_after: {EXECUTE_AFTER}}}\npeers:");
    for site in sites.iter().filter(|site| site.region != own.region && (votes || site.servers.is_some())) {
        let address = site.sidecar.ip();
        let port = site.servers.as_ref().map_or_else(|| site.sidecar.port(), |servers| servers.web);
        let _ = write!(
            text,
            "  - region: {}\n    priority: {}\n    targets:\n      - name: edge\n        host: \"{address}\"\n        probes:\n\
             \x20         - {{kind: icmp}}\n\
             \x20         - {{kind: tcp, port: {port}}}\n",
            site.region,
            tier(site.region)
        );
        if let Some(Servers { web, dns, .. }) = &site.servers {
            let service = if votes { ", interval: 300ms, critical: true" } else { "" };
            let _ = write!(
                text,
                "          - {{kind: dns, port: {dns}, query: app.example.com, record: A, expect: {{answers: [192.0.2.1]}}}}\n\
                 \x20         - {{kind: http, url: \"http://{address}:{web}/healthz\"{service}}}\n"
            );
        }
        if votes {
            let _ = writeln!(
                text,
                "          - {{kind: http, sidecar: true, url: \"http://{}/api/v1/regions\"}}",
                site.sidecar
            );
        }
    }
    let mut config = Config::load(Some((Path::new("the demo's configuration"), &text)), iter::empty())
        // Everything else in it is our own.
        .map_err(|errors| {
            let errors = errors.to_string();
            let (_, reason) = errors.split_once("]: ").unwrap_or(("", &errors));
            format!("--alertmanager: {reason}")
        })?
        .config;
    config.log.level = if votes { LogLevel::Info } else { LogLevel::Warn };
    // Only a process on this machine could forge a vote.
    let key = Secret::new(b"the regions of the demo trust all that this machine says".to_vec());
    config.votes = votes.then(|| VoteKeys { file: "demo".into(), keys: vec![key] });
    if args.keys.is_some() {
        config.signing = Some(SigningKey { file: "demo".into(), key: own.key.clone() });
        for peer in &mut config.peers {
            let site = sites.iter().find(|site| site.region == peer.region.as_str());
            peer.public_keys = site.map(|site| site.key.public()).into_iter().collect();
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(kill: Option<&str>) -> DemoArgs {
        DemoArgs {
            listen: "127.0.0.1:9877".parse().unwrap(),
            kill: kill.map(str::to_owned),
            alertmanager: vec!["http://127.0.0.1:9093".into()],
            keys: None,
        }
    }

    #[test]
    fn the_demo_measures_four_kinds_in_every_region() {
        let args = args(None);
        let sites = sites(&args).unwrap();
        let config = configuration(&sites[0], &sites, &args).unwrap();
        assert_eq!((config.paths().count(), config.alertmanagers.len()), (4 * REGIONS.len(), 1));
    }

    #[test]
    fn the_nearest_region_has_the_first_priority() {
        let args = args(None);
        let sites = sites(&args).unwrap();
        let config = configuration(&sites[0], &sites, &args).unwrap();
        let mut known: Vec<_> = config.peers.iter().map(|peer| (peer.priority, peer.region.to_string())).collect();
        known.sort();
        let mut near = REGIONS.map(|region| (region.delay, region.region));
        near.sort();
        assert_eq!(known.iter().map(|(_, region)| &**region).collect::<Vec<_>>(), near.map(|(_, region)| region));
    }

    #[test]
    fn an_invalid_alertmanager_is_reported_with_its_flag() {
        let args = DemoArgs { alertmanager: vec!["alertmanager:9093".into()], ..args(None) };
        let sites = sites(&args).unwrap();
        let told = configuration(&sites[0], &sites, &args).unwrap_err();
        assert!(told.starts_with("--alertmanager: \"alertmanager:9093\" "), "{told}");
    }

    #[test]
    fn the_prometheus_targets_list_every_sidecar() {
        for (kill, sidecars) in [(None, 1), (Some("us-east-1"), REGIONS.len() + 1)] {
            let args = args(kill);
            let sites = sites(&args).unwrap();
            let text = welcome(&args, &sites);
            let targets = text.split("targets: [").nth(1).unwrap().split(']').next().unwrap();
            let told: Vec<SocketAddr> =
                targets.split(", ").map(|target| target.trim_matches('\'').parse().unwrap()).collect();
            assert_eq!(told, sites[..sidecars].iter().map(|site| site.sidecar).collect::<Vec<_>>());
        }
    }

    #[test]
    fn with_a_kill_every_region_measures_every_other_one_and_its_sidecar() {
        let args = args(Some("us-east-1"));
        let sites = sites(&args).unwrap();
        for site in &sites {
            let config = configuration(site, &sites, &args).unwrap();
            assert_eq!((config.peers.len(), config.votes.is_some()), (REGIONS.len(), true));
        }
        let config = configuration(&sites[0], &sites, &args).unwrap();
        assert_eq!(config.paths().filter(|(_, probe)| probe.critical).count(), REGIONS.len());
    }
}
