//! What the demo says and configures.

use std::net::SocketAddr;

use super::{world::REGIONS, *};

fn args(kill: Option<&str>) -> DemoArgs {
    DemoArgs {
        listen: "127.0.0.1:9877".parse().unwrap(),
        kill: kill.map(str::to_owned),
        revive_after: None,
        alertmanager: vec!["http://127.0.0.1:9093".into()],
        keys: None,
        loopback: true,
    }
}

fn world(args: &DemoArgs) -> World {
    World::new(args.listen, Network::Loopback("a test".to_owned()), &[]).unwrap()
}

#[test]
fn a_demo_on_loopback_measures_only_the_kinds_that_are_late_there() {
    let args = args(None);
    let world = world(&args);
    let config = configuration(&world.sites[0], &world, &args).unwrap();
    let kinds: Vec<_> = config.paths().map(|(path, _)| path.kind.as_str()).collect();
    assert_eq!(kinds, ["dns", "http"].repeat(3));
    assert_eq!(config.alertmanagers.len(), 1);
}

#[test]
fn an_invalid_alertmanager_is_reported_with_its_flag() {
    let args = DemoArgs { alertmanager: vec!["alertmanager:9093".into()], ..args(None) };
    let told = alertmanagers(&args).unwrap_err();
    assert!(told.starts_with("--alertmanager: \"alertmanager:9093\" "), "{told}");
}

#[test]
fn an_alertmanager_by_name_keeps_the_demo_on_loopback_and_the_text_says_so() {
    let args = DemoArgs { alertmanager: vec!["http://alertmanager:9093".into()], ..args(None) };
    let network = Network::new(&alertmanagers(&args).unwrap());
    let world = World::new(args.listen, network, &[]).unwrap();
    let text = welcome(&args, &world);
    assert!(text.contains("(No network namespaces: alertmanager is neither localhost nor an IPv4 address."), "{text}");
}

#[test]
fn the_prometheus_targets_list_every_sidecar() {
    for (kill, sidecars) in [(None, 1), (Some("us-east-1"), REGIONS.len())] {
        let args = args(kill);
        let world = world(&args);
        let text = welcome(&args, &world);
        let targets = text.split("targets: [").nth(1).unwrap().split(']').next().unwrap();
        let told: Vec<SocketAddr> =
            targets.split(", ").map(|target| target.trim_matches('\'').parse().unwrap()).collect();
        assert_eq!(told, world.sites[..sidecars].iter().map(|site| site.page).collect::<Vec<_>>());
    }
}

#[test]
fn with_a_kill_every_region_measures_every_other_one_and_its_sidecar() {
    let args = args(Some("us-east-1"));
    let world = world(&args);
    for site in &world.sites {
        let config = configuration(site, &world, &args).unwrap();
        assert_eq!((config.peers.len(), config.votes.is_some()), (REGIONS.len() - 1, true));
        assert_eq!(config.paths().filter(|(path, _)| path.kind.carries_votes()).count(), REGIONS.len() - 1);
    }
    let config = configuration(&world.sites[0], &world, &args).unwrap();
    assert_eq!(config.paths().filter(|(_, probe)| probe.critical).count(), REGIONS.len() - 1);
}
