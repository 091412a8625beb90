//! What a valid configuration asks for and cannot get.

use std::sync::Arc;

use super::{
    settings::Config,
    types::{Peer, ProbeConfig, ProbeSpec},
};
use crate::model::Path;

/// Where a sidecar tells its votes.
const BULLETIN_PATH: &str = "/api/v1/regions";

/// A sentence for each thing that is asked for and cannot come about.
pub(super) fn of(config: &Config) -> Vec<String> {
    let mut warnings = closed_gates(config);
    warnings.extend(no_bulletin(config));
    if !config.alertmanagers.is_empty() {
        warnings.extend(never_confirmed(config));
    }
    warnings
}

/// Why regions can never take over: what is asked of them is not known.
fn closed_gates(config: &Config) -> Vec<String> {
    let failover = &config.failover;
    let told = |gate: &str, line: &str, own_lacks: bool, lacks: fn(&Peer) -> bool| {
        let own = own_lacks.then_some(&config.region);
        let peers = config.peers.iter().filter(|peer| lacks(peer)).map(|peer| &peer.region);
        let mut regions = own.into_iter().chain(peers);
        let first = regions.next()?;
        let more = and_more(regions.count());
        Some(format!("failover.{gate}: cannot be told of {first}{more}, so that nobody fails over there; write {line}"))
    };
    let mut warnings = Vec::new();
    if !failover.allowed_zones.is_empty() {
        warnings.extend(told("allowed_zones", "zone: NAME", config.zone.is_none(), |peer| peer.zone.is_none()));
    }
    if failover.min_distance_meters > 0.0 {
        let line = "location: {latitude: DEGREES, longitude: DEGREES}";
        warnings.extend(told("min_distance", line, config.location.is_none(), |peer| peer.location.is_none()));
    }
    if failover.min_capacity > 0.0 {
        warnings
            .extend(told("min_capacity", "capacity: 0.5", config.capacity.is_none(), |peer| peer.capacity.is_none()));
    }
    warnings
}

/// The first of several, and how many more there are.
fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" and {more} more") }
}

/// Which sidecar probes do not ask for votes. Before the path may be a reverse proxy's prefix.
fn no_bulletin(config: &Config) -> Option<String> {
    let sidecar = |(path, probe): (Path, &ProbeConfig)| match &probe.spec {
        ProbeSpec::Http(spec) if path.kind.carries_votes() => Some((path.peer, Arc::clone(&spec.url.path))),
        _ => None,
    };
    let is_votes = |path: &str| path.split('?').next().is_some_and(|path| path.ends_with(BULLETIN_PATH));
    let mut wrong = config.paths().filter_map(sidecar).filter(|(_, path)| !is_votes(path));
    let (peer, path) = wrong.next()?;
    let more = and_more(wrong.count());
    Some(format!(
        "peers: the sidecar probe of {peer}{more} asks for {path}, where no votes are; write url: \
         \"http://HOST:9877{BULLETIN_PATH}\""
    ))
}

/// Why a failover that is to be told to Alertmanager would never be confirmed.
fn never_confirmed(config: &Config) -> Vec<String> {
    let sidecars: Vec<_> = config.paths().filter(|(path, _)| path.kind.carries_votes()).collect();
    let unsigned = sidecars.iter().find(|(_, probe)| !has_identity(probe));
    let mut warnings = Vec::new();
    match (&config.votes, unsigned) {
        (None, Some((path, _))) => warnings.push(format!(
            "votes: is missing, so that votes of {} are ignored; write votes: {{key_file: votes.key}} on every \
             vantage, or tls: {{cert_file: ..., key_file: ...}} at the sidecar probes",
            path.peer
        )),
        _ if sidecars.is_empty() && config.peers.len() >= 2 => warnings.push(
            "peers: have no sidecar probe, so that no failover is ever confirmed; write {kind: http, url: \
             \"http://HOST:9877/api/v1/regions\", sidecar: true} at a target of each peer"
                .to_owned(),
        ),
        _ => {}
    }
    if config.peers.len() == 1 && config.anchors.len() < 2 {
        warnings.push(
            "anchors: are fewer than two, so that the death of the only peer cannot be told from this region's \
             own isolation; write two outside both regions, such as anchors: [tcp://192.0.2.1:443, \
             tcp://198.51.100.1:443]"
                .to_owned(),
        );
    }
    warnings
}

fn has_identity(probe: &ProbeConfig) -> bool {
    matches!(&probe.spec, ProbeSpec::Http(spec) if spec.url.https && spec.tls.identity.is_some())
}
