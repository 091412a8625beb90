//! The effective configuration as YAML, which loads again to the same [`Config`] but for its secrets.

use super::{
    databases, peers,
    settings::Config,
    types::{Peer, ProbeConfig, Target, Witness},
    values::{Coordinates, MaintenanceType, ValueType},
    witnesses,
};
use crate::{
    signing::PublicKey,
    yaml::{
        units::duration_text,
        writer::{Writer, quote},
    },
};

impl Config {
    /// The effective whole as YAML: every default written out, secrets as `<secret>`, never what a file holds.
    pub fn to_yaml(&self) -> String {
        let mut page = Writer::default();
        self.print_settings(&mut page);
        if !self.databases.is_empty() {
            page.items(databases::KEY, &self.databases, databases::write);
        }
        page.items(peers::KEY, &self.peers, peer);
        if !self.witnesses.is_empty() {
            page.items(witnesses::KEY, &self.witnesses, witness);
        }
        page.finish()
    }
}

fn peer(page: &mut Writer, peer: &Peer) {
    page.text("region", &peer.region);
    page.option("zone", peer.zone.as_ref());
    page.option("failure_domain", peer.failure_domain.as_ref());
    if let Some(location) = &peer.location {
        page.raw("location", Coordinates.print(location));
    }
    page.raw("priority", peer.priority);
    if let Some(capacity) = peer.capacity {
        page.raw("capacity", capacity);
    }
    page.raw("maintenance", MaintenanceType.print(&peer.maintenance));
    page.raw("armed", peer.armed);
    public_keys(page, &peer.public_keys);
    page.items("targets", &peer.targets, target);
}

fn public_keys(page: &mut Writer, keys: &[PublicKey]) {
    if !keys.is_empty() {
        let keys: Vec<_> = keys.iter().map(|key| quote(&key.to_string())).collect();
        page.raw("public_keys", format!("[{}]", keys.join(", ")));
    }
}

fn witness(page: &mut Writer, witness: &Witness) {
    page.text("name", &witness.name);
    page.option("failure_domain", witness.failure_domain.as_ref());
    public_keys(page, &witness.public_keys);
    for probe in &witness.target.probes {
        timing(page, probe);
        probe.spec.write(page);
    }
}

fn target(page: &mut Writer, target: &Target) {
    page.text("name", &target.name);
    let host = target.probes.iter().find(|probe| probe.spec.url_host().is_none()).map(|probe| &probe.host);
    page.option("host", host.map(|host| format!("{host:#}")));
    if let Some(probe) = target.probes.first() {
        page.raw("address_family", probe.family);
        if !probe.labels.is_empty() {
            page.mapping("labels", |page| {
                for (name, value) in &*probe.labels {
                    page.text(&quote(name.as_str()), value);
                }
            });
        }
        page.option("name_server", probe.name_server);
        page.raw("addresses", probe.addresses);
        if let Some(tos) = probe.tos {
            page.raw("tos", tos);
        }
        page.option("source", probe.source);
    }
    page.items("probes", &target.probes, probe);
}

fn probe(page: &mut Writer, probe: &ProbeConfig) {
    page.raw("kind", probe.kind());
    timing(page, probe);
    page.raw("critical", probe.critical);
    probe.spec.write(page);
}

fn timing(page: &mut Writer, probe: &ProbeConfig) {
    page.raw("interval", duration_text(probe.cadence.interval()));
    page.raw("timeout", duration_text(probe.cadence.timeout()));
}
