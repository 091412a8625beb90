//! Warnings about a valid configuration that cannot do what it asks for.

use std::collections::BTreeSet;

use super::{
    quorum::{Voters, is_mutual_tls},
    settings::Config,
    types::{Peer, ProbeConfig},
};
use crate::{
    model::{Kind, Path},
    probe::{ProbeSpec, SidecarSpec},
};

/// All warnings, one sentence each.
pub(super) fn of(config: &Config) -> Vec<String> {
    let mut warnings = closed_filters(config);
    warnings.extend(no_votes(config));
    if !config.alertmanagers.is_empty() {
        warnings.extend(no_evidence(config));
        warnings.extend(one_kind(config));
        warnings.extend(unknown_places(config));
        warnings.extend(never_confirmed(config));
        warnings.extend(unsigned(config));
    }
    warnings
}

/// Orders that a receiver which verifies signatures will not carry out.
fn unsigned(config: &Config) -> Vec<String> {
    let peers = || config.peers.iter().map(|peer| (&peer.region, &peer.public_keys));
    let witnesses = || config.other_witnesses().map(|witness| (&witness.name, &witness.public_keys));
    let any = config.signing.is_some() || peers().chain(witnesses()).any(|(_, keys)| !keys.is_empty());
    let mut warnings = Vec::new();
    if !any {
        return warnings;
    }
    let Some(signing) = &config.signing else {
        return vec![
            "signing: is missing, so this vantage's orders to fail over are not signed; run regionwatch keygen FILE, \
             and add signing: {key_file: FILE}"
                .to_owned(),
        ];
    };
    let all = [("peers", "peer", peers().collect::<Vec<_>>()), ("witnesses", "vantage", witnesses().collect())];
    for (key, noun, vantages) in all {
        if let Some((vantage, _)) = vantages.iter().find(|(_, keys)| keys.contains(&signing.key.public())) {
            warnings.push(format!(
                "{key}: {vantage} has the public key of this vantage, so its signatures do not count; write the key that \
                 regionwatch keygen --public FILE prints there"
            ));
        }
        let without = vantages.iter().filter(|(_, keys)| keys.is_empty()).map(|(vantage, _)| vantage);
        if let Some((vantages, them)) = some(without, noun) {
            let have = if them { "have" } else { "has" };
            warnings.push(format!(
                "{key}: {vantages} {have} no public_keys, so orders do not carry their signatures; add public_keys: [KEY], \
                 with what regionwatch keygen --public FILE prints there"
            ));
        }
    }
    warnings
}

/// Filters of failover targets that ask for an attribute which some regions do not have.
fn closed_filters(config: &Config) -> Vec<String> {
    let failover = &config.failover;
    let own = &config.region;
    let is_region = !config.is_witness();
    let warn = |filter: &str, attribute: &str, value: &str, own_lacks: bool, lacks: fn(&Peer) -> bool| {
        let peers = config.peers.iter().filter(|peer| lacks(peer)).map(|peer| &peer.region);
        let own = (own_lacks && is_region).then_some(own);
        let (regions, them) = some(own.into_iter().chain(peers), "region")?;
        let (have, they) = if them { ("have", "they") } else { ("has", "it") };
        Some(format!(
            "failover.{filter}: {regions} {have} no {attribute}, so {they} can never be a failover target; add \
             {attribute}: {value}"
        ))
    };
    let mut warnings = Vec::new();
    if !failover.allowed_zones.is_empty() {
        warnings.extend(warn("allowed_zones", "zone", "NAME", config.zone.is_none(), |peer| peer.zone.is_none()));
    }
    if failover.min_distance_meters > 0.0 {
        let (value, own_lacks) = ("{latitude: DEGREES, longitude: DEGREES}", config.location.is_none());
        warnings.extend(warn("min_distance", "location", value, own_lacks, |peer| peer.location.is_none()));
    }
    if failover.min_capacity > 0.0 {
        let own_lacks = config.capacity.is_none();
        warnings.extend(warn("min_capacity", "capacity", "0.5", own_lacks, |peer| peer.capacity.is_none()));
    }
    warnings
}

/// The first of several names with the number of the others, and whether there are others.
fn some<T: std::fmt::Display>(mut names: impl Iterator<Item = T>, noun: &str) -> Option<(String, bool)> {
    let first = names.next()?;
    Some(match names.count() {
        0 => (first.to_string(), false),
        1 => (format!("{first} and 1 other {noun}"), true),
        more => (format!("{first} and {more} other {noun}s"), true),
    })
}

/// Sidecar probes that do not request votes. The prefix of a reverse proxy may come before the path.
fn no_votes(config: &Config) -> Option<String> {
    let sidecar = |(path, probe): (Path, &ProbeConfig)| match &probe.spec {
        ProbeSpec::Sidecar(spec) => Some((path.peer, spec.request.url.path.clone())),
        _ => None,
    };
    let is_votes = |path: &str| path.split('?').next().is_some_and(|path| path.ends_with(SidecarSpec::PATH));
    let wrong: Vec<_> = config.paths().filter_map(sidecar).filter(|(_, path)| !is_votes(path.as_str())).collect();
    let (peers, _) = some(wrong.iter().map(|(peer, _)| peer), "peer")?;
    Some(format!(
        "peers: the sidecar probe of {peers} requests {}, which has no votes; write url: \"http://HOST:9877{}\"",
        wrong[0].1,
        SidecarSpec::PATH
    ))
}

/// Peers that are only asked for their votes: the failure of a sidecar is no evidence about its region.
fn no_evidence(config: &Config) -> Option<String> {
    let only_votes = |peer: &&Peer| {
        let mut probes = peer.targets.iter().flat_map(|target| &target.probes);
        probes.all(|probe| probe.kind().carries_votes())
    };
    let (peers, them) = some(config.peers.iter().filter(only_votes).map(|peer| &peer.region), "peer")?;
    let (have, they) = if them { ("have", "they are") } else { ("has", "it is") };
    Some(format!(
        "peers: {peers} {have} only sidecar probes, whose failures say nothing about the region, so {they} never down; add \
         {{kind: icmp}} and {{kind: tcp, port: 443}} to a target"
    ))
}

/// Peers that one kind of probe watches alone: a silence must last twice as long, and a filter for that kind looks like an outage.
fn one_kind(config: &Config) -> Option<String> {
    let kinds = |peer: &Peer| -> BTreeSet<Kind> {
        let probes = peer.targets.iter().flat_map(|target| &target.probes).map(ProbeConfig::kind);
        probes.filter(|kind| !kind.carries_votes()).collect()
    };
    let single = config.peers.iter().filter_map(|peer| match kinds(peer).len() {
        1 => Some((&peer.region, kinds(peer).into_iter().next()?)),
        _ => None,
    });
    let single: Vec<_> = single.collect();
    let (_, kind) = single.first()?;
    let (peers, them) = some(single.iter().map(|(peer, _)| peer), "peer")?;
    let have = if them { "have" } else { "has" };
    let other = if kind.is_fast() && kind.is_often_filtered() { "{kind: tcp, port: 443}" } else { "{kind: icmp}" };
    Some(format!(
        "peers: {peers} {have} one kind of probe only, so an outage is found later, and a firewall can look like one; add \
         {other} to a target"
    ))
}

/// Regions without coordinates, where others have some.
fn unknown_places(config: &Config) -> Option<String> {
    let own = (config.location.is_none() && !config.is_witness()).then_some(&config.region);
    let without = config.peers.iter().filter(|peer| peer.location.is_none()).map(|peer| &peer.region);
    let without: Vec<_> = own.into_iter().chain(without).collect();
    let regions = config.peers.len() + usize::from(!config.is_witness());
    if without.len() == regions {
        // None is known, so none is expected.
        return None;
    }
    let (regions, them) = some(without.iter(), "region")?;
    let (have, their) = if them { ("have", "their") } else { ("has", "its") };
    Some(format!(
        "location: {regions} {have} none, so {their} distance and least round-trip time are unknown; add location: {{latitude: \
         DEGREES, longitude: DEGREES}}"
    ))
}

/// Why a failover that is to be pushed to an Alertmanager would never be confirmed.
fn never_confirmed(config: &Config) -> Vec<String> {
    let sidecars: Vec<_> = config.paths().filter(|(path, _)| path.kind.carries_votes()).collect();
    let unsigned = sidecars.iter().find(|(_, probe)| !is_mutual_tls(probe));
    let mut warnings = Vec::new();
    match (&config.votes, unsigned) {
        (None, Some((path, _))) => warnings.push(format!(
            "votes: is missing, so votes from {} are rejected; add votes: {{key_file: votes.key}} to every instance, or \
             tls: {{cert_file: ..., key_file: ...}} to the sidecar probes",
            path.peer
        )),
        _ if sidecars.is_empty() && config.peers.len() >= 2 => warnings.push(
            "peers: have no sidecar probe, so no failover is ever confirmed; add {kind: sidecar, \
             url: \"http://HOST:9877\"} to a target of each peer"
                .to_owned(),
        ),
        _ => {}
    }
    let voters = Voters::of(config);
    let hopeless: Vec<_> =
        config.peers.iter().map(|peer| &peer.region).filter(|peer| !voters.can_confirm(peer)).collect();
    match &hopeless[..] {
        [peer] if config.peers.len() == 1 => warnings.push(format!(
            "failover: no quorum can confirm an outage of {peer}, the only peer, so the stage execute is never reached; add a \
             third region or a witness to every instance, or failover: {{allow_single_vantage: true}}"
        )),
        // Said above.
        _ if !warnings.is_empty() => {}
        [peer, ..] => {
            let (regions, _) = some(hopeless.iter(), "peer").unwrap_or_default();
            let (on, vantages) = (voters.on(peer), config.peers.len() + 1 + config.other_witnesses().count());
            warnings.push(format!(
                "failover: no quorum can confirm an outage of {regions}, because {on} of {vantages} vantages can vote on \
                 {peer}; add {{kind: sidecar, url: \"http://HOST:9877\"}} to a target of each peer that has none"
            ));
        }
        [] => {}
    }
    if config.peers.len() == 1 && config.anchors.len() < 2 {
        warnings.push(
            "anchors: has fewer than two, so an outage of the only peer looks like the isolation of this instance; add \
             two outside both regions, such as anchors: [tcp://192.0.2.1:443, tcp://198.51.100.1:443]"
                .to_owned(),
        );
    }
    warnings
}
