//! `witnesses`: vantages that vote and own no region.

use std::{collections::HashMap, sync::Arc};

use super::{
    peers::public_keys,
    probes,
    settings::Config,
    signing::Owners,
    types::{Peer, ProbeConfig, Target, Witness},
    values::{self, ValueType},
};
use crate::{
    model::Region,
    probe::{KIND_ENTRIES, SIDECAR},
    yaml::{Item, ReadContext, addresses},
};

/// The key in the file's top level.
pub(super) const KEY: &str = "witnesses";

/// The keys of a witness besides those of the probe of its sidecar.
const KEYS: [&str; 5] = ["name", "failure_domain", "public_keys", "interval", "timeout"];

const NAME_HINT: &str = "write a name that no region has, such as witness-1";

/// Reads the list of witnesses; this instance may be one of them. `peers` may have this instance's own region.
pub(super) fn read(item: &Item<'_>, peers: &[Peer], config: &Config, reading: &ReadContext<'_>) -> Vec<Witness> {
    let Some(sidecar) = KIND_ENTRIES.iter().find(|entry| entry.kind == SIDECAR) else { return Vec::new() };
    let keys: Vec<_> = KEYS.iter().chain(sidecar.keys).copied().collect();
    let mut seen: HashMap<Region, String> = HashMap::new();
    let mut owners: Owners =
        peers.iter().flat_map(|peer| peer.public_keys.iter().map(|key| (*key, peer.region.clone()))).collect();
    let witnesses = item.each(|item| {
        let fields = item.fields(&keys)?;
        let item = fields.required("name", NAME_HINT);
        let name = item.as_ref().and_then(|item| name(item, peers, &mut seen));
        let is_own = name.is_some() && name == reading.own;
        if let Some(item) = item.filter(|_| is_own && config.anchors.is_empty()) {
            item.wrong_value(
                "is this instance, which has no anchors, so it cannot detect its own isolation; add two outside all \
                 regions, such as anchors: [tcp://192.0.2.1:443, tcp://198.51.100.1:443]",
            );
        }
        let failure_domain = fields.read("failure_domain", |item| {
            let domain = values::FAILURE_DOMAIN.read(item, reading.secrets)?;
            if let Some(region) = shares(&domain, is_own, peers, config) {
                item.wrong_value(&format!("is also the failure domain of {region}; {DOMAIN_HINT}"));
            }
            Some(domain)
        });
        if let Some(domain) = config.failure_domain.as_ref().filter(|_| is_own)
            && let Some(region) = shares(domain, true, peers, config)
        {
            let text = "is this instance, whose failure_domain is also that of";
            fields.get("name").inspect(|item| item.wrong_value(&format!("{text} {region}; {DOMAIN_HINT}")));
        }
        let timing = |key: &str| fields.get(key)?.spanned(probes::timing);
        let cadence = probes::cadence(timing, reading.defaults[SIDECAR.as_str()], reading.diagnostics);
        let spec = (sidecar.read)(&fields, reading);
        let name = name?;
        let public_keys = fields.read("public_keys", |item| public_keys(item, &name, &mut owners)).unwrap_or_default();
        let (cadence, spec) = (cadence?, spec?);
        let host = spec.dialled()?.clone();
        let target = addresses::derived_name(&host)
            .map_err(|reason| fields.get("url").inspect(|item| item.wrong_value(&reason)))
            .ok()?;
        let target = Target { name: target, probes: vec![ProbeConfig::new(cadence, host, spec)] };
        Some(Witness { name, failure_domain, public_keys, target })
    });
    witnesses.unwrap_or_default()
}

const DOMAIN_HINT: &str = "a witness must not share its failures with a region, so write another domain";

fn name(item: &Item<'_>, peers: &[Peer], seen: &mut HashMap<Region, String>) -> Option<Region> {
    let name = item.read(addresses::region)?;
    if peers.iter().any(|peer| peer.region == name) {
        item.wrong_value(&format!("is also a region of peers, but a witness owns no region; {NAME_HINT}"));
    } else if let Some(first) = seen.get(&name) {
        item.wrong_value(&format!("is a duplicate of {first}; delete one of them"));
    } else {
        seen.insert(name.clone(), item.key().to_owned());
    }
    Some(name)
}

/// The region of this failure domain. The own one is none if this instance is the witness.
fn shares<'a>(domain: &Arc<str>, is_own: bool, peers: &'a [Peer], config: &'a Config) -> Option<&'a Region> {
    let own = (config.failure_domain.as_ref() == Some(domain) && !is_own).then_some(&config.region);
    own.or_else(|| peers.iter().find(|peer| peer.failure_domain.as_ref() == Some(domain)).map(|peer| &peer.region))
}
