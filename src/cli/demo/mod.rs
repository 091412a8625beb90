//! `demo`: three simulated peer regions on this machine, and an instance that probes them.
//!
//! Every answer is as late as its region is far away: in the network if the kernel permits it, otherwise in the servers.
//! The kernel answers ICMP and TCP of a loopback address at once, so that such a demo leaves these kinds out.
//!
//! With `--kill`, each region has its own instance as well, and they vote. In a network of namespaces, the region falls
//! silent. A loopback address cannot, so the outage is that of a service: the servers and the instance of the region
//! stop, and the kernel refuses connections.

mod args;
mod configuration;
mod instance;
mod network;
mod outage;
mod servers;
mod site;
#[cfg(test)]
mod tests;
mod world;

use std::{fmt::Write as _, fs, future, process::ExitCode, sync::Arc, thread};

pub(super) use self::args::DemoArgs;
use self::{
    configuration::{EXECUTE_AFTER, alertmanagers, configuration},
    instance::{run_sidecar, start_sidecar},
    network::Network,
    outage::{ALIVE, outage},
    site::World,
    world::OWN,
};
use super::report::{finish, log_to_stderr, print, usage};
use crate::{app, config::Config, yaml::units};

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    let prepared = alertmanagers(args).and_then(|urls| {
        let why = || Network::Loopback("--loopback".to_owned());
        let network = if args.loopback { why() } else { Network::new(&urls) };
        let world = World::new(args.listen, network, &urls)?;
        Ok((configuration(&world.sites[0], &world, args)?, world))
    });
    match prepared {
        Ok((config, world)) => start(config, world, args),
        Err(reason) => usage(&reason),
    }
}

fn start(config: Config, mut world: World, args: &DemoArgs) -> ExitCode {
    if let Some(path) = &args.keys {
        let lines = world.sites.iter().map(|site| format!("{} {}\n", site.region(), site.key.public()));
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
    drop(print(&format!("{}\n", welcome(args, &world))));
    let configs: Vec<_> = world.sites.iter().map(|site| configuration(site, &world, args)).collect();
    if args.kill.is_some() {
        for (site, config) in world.sites.iter_mut().zip(&configs).skip(1) {
            if let Err(error) = start_sidecar(site, &world.network, config) {
                return usage(&format!("cannot start the instance of {}: {error}", site.region()));
            }
        }
    }
    let network = Arc::clone(&world.network);
    if let Some(place) = world.sites.iter().position(|site| Some(site.region()) == args.kill.as_deref()) {
        let (victim, config, network) = (world.sites.swap_remove(place), configs[place].clone(), Arc::clone(&network));
        let revive_after = args.revive_after;
        thread::spawn(move || outage(victim, &config, &network, revive_after));
    }
    match network.inside(0, || Ok(run_sidecar(listener, config, future::pending()))) {
        Ok(ended) => finish(ended),
        Err(error) => usage(&format!("cannot enter the network of the demo: {error}")),
    }
}

fn welcome(args: &DemoArgs, World { network, sites }: &World) -> String {
    let DemoArgs { listen, kill, alertmanager, revive_after, .. } = args;
    let sidecars = &sites[..if kill.is_some() { sites.len() } else { 1 }];
    let sidecars: Vec<_> = sidecars.iter().map(|site| format!("'{}'", site.page)).collect();
    let mut text = format!("regionwatch probes three simulated regions from {OWN}:\n");
    for site in &sites[1..] {
        let late = world::round_trip(sites[0].address.into(), site.address.into());
        let _ = writeln!(text, "  {:15} {}  answers after {} ms", site.region(), site.address, late.as_millis());
    }
    match &**network {
        Network::Namespaces(_) => {
            text.push_str("\n(Each region is a network namespace, and its packets are delayed.)\n\n")
        }
        Network::Loopback(why) => {
            let _ = write!(
                text,
                "\n(No network namespaces: {why}. So the regions are loopback addresses, whose servers answer late. Without the\n\
                 kinds icmp and tcp, which the kernel answers at once, faster than light.)\n\n"
            );
        }
    }
    let _ = write!(
        text,
        "page      http://{listen}/\n\
         metrics   curl -s http://{listen}/metrics | grep peer_latency\n\
         probes    curl -s 'http://{listen}/api/v1/probes?peer=us-east-1&probe=http'\n\
         Prometheus: scrape_configs: [{{job_name: regionwatch, static_configs: [{{targets: [{}]}}]}}]\n\n",
        sidecars.join(", ")
    );
    if let Some(victim) = kill {
        let alive = ALIVE.as_secs();
        let _ = match &**network {
            Network::Namespaces(_) => {
                writeln!(text, "{victim} falls silent in {alive} s. The others detect it in about a second, and vote.")
            }
            Network::Loopback(_) => writeln!(
                text,
                "{victim} goes down in {alive} s: its servers and its sidecar stop, and the others detect it and vote. A loopback\n\
                 address cannot fall silent, so this is the outage of a service: five failures, 300 ms apart."
            ),
        };
        let _ = writeln!(
            text,
            "The first stage, \"prepare\", follows at once. The second, \"execute\", follows when it has been down for {EXECUTE_AFTER}."
        );
        if let Some(revive_after) = revive_after {
            let _ = writeln!(text, "It is back after {}.", units::duration_text(*revive_after));
        }
        let _ = writeln!(
            text,
            "votes     curl -s 'http://{listen}/metrics?collect=state' | grep -E 'peer_(state|votes).*{victim}'"
        );
        if alertmanager.is_empty() {
            text.push_str("No alert is sent: name an Alertmanager with --alertmanager URL.\n");
        }
        text.push('\n');
    }
    text.push_str("Press Ctrl-C to stop.");
    text
}
