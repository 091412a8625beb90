//! From a configuration to what is decided about: the decision itself knows no configuration.

use super::{PathSetup, Topology};
use crate::{
    config::{Config, Failover, Maintenance, Peer},
    decision::{
        PathInfo, PeerSetup, Policy, Setup,
        ranking::{RegionAttributes, TargetPolicy},
    },
    model::{FailoverMode, PathId, Region, TargetName, UnixMillis},
    probe,
};

/// The setup of the decision for a topology.
pub(super) fn decision(topology: &Topology) -> Setup {
    let config = &topology.config;
    let Failover { confirm_burst, execute_after, allow_single_vantage, max_down, min_interval, .. } = config.failover;
    let mut paths = topology.paths().peekable();
    let peers = config.peers.iter().map(|peer| {
        let mut own = Vec::new();
        while let Some(setup) = paths.next_if(|setup| setup.path.peer == peer.region) {
            own.push(info(&setup));
        }
        let mode = match (peer.maintenance == Maintenance::Yes, config.failover.armed && peer.armed) {
            (true, _) => FailoverMode::Maintenance,
            (false, false) => FailoverMode::Disarmed,
            (false, true) => FailoverMode::Armed,
        };
        PeerSetup { region: peer.region.clone(), attributes: attributes(peer), mode, paths: own }
    });
    let peers = peers.collect();
    Setup {
        policy: Policy { confirm_burst, execute_after, allow_single_vantage, max_down, min_interval },
        targets: target_policy(&config.failover),
        own: own_attributes(config),
        is_witness: config.is_witness(),
        peers,
        // Their paths come after those of the peers.
        witnesses: paths.map(|setup| (setup.path.peer.clone(), info(&setup))).collect(),
        anchors: topology.anchors.iter().map(|(_, slot)| anchor(slot.id)).collect(),
        operators: config.operator_keys(),
        maintained: maintained(config),
    }
}

/// A path, as far as the decision is concerned.
fn info(setup: &PathSetup<'_>) -> PathInfo {
    PathInfo {
        path: setup.slot.id,
        target: setup.path.target.clone(),
        kind: setup.path.kind,
        interval: setup.probe.cadence.interval(),
        critical: setup.probe.critical,
        question: setup.slot.question,
    }
}

/// The regions whose maintenance ends by itself, and when.
fn maintained(config: &Config) -> Vec<(Region, UnixMillis)> {
    let peers = config.peers.iter().map(|peer| (&peer.region, peer.maintenance));
    let all = peers.chain([(&config.region, config.maintenance)]);
    all.filter_map(|(region, maintenance)| Some((region.clone(), maintenance.until()?))).collect()
}

/// An anchor is probed like a TCP port of a peer.
fn anchor(path: PathId) -> PathInfo {
    let target = TargetName::new("anchor").expect("the name is valid");
    let interval = probe::TCP.default_cadence().interval();
    PathInfo { path, target, kind: probe::TCP, interval, critical: false, question: 0 }
}

pub(crate) fn target_policy(failover: &Failover) -> TargetPolicy {
    TargetPolicy {
        allowed_zones: failover.allowed_zones.clone(),
        min_distance_meters: failover.min_distance_meters,
        min_capacity: failover.min_capacity,
    }
}

pub(crate) fn own_attributes(config: &Config) -> RegionAttributes {
    RegionAttributes {
        priority: config.priority,
        zone: config.zone.clone(),
        failure_domain: config.failure_domain.clone(),
        location: config.location,
        capacity: config.capacity,
        maintenance: config.maintenance == Maintenance::Yes,
    }
}

pub(crate) fn attributes(peer: &Peer) -> RegionAttributes {
    RegionAttributes {
        priority: peer.priority,
        zone: peer.zone.clone(),
        failure_domain: peer.failure_domain.clone(),
        location: peer.location,
        capacity: peer.capacity,
        maintenance: peer.maintenance == Maintenance::Yes,
    }
}
