//! `peers` and their `targets`.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::{
    labels, probes, signing,
    types::{Location, Peer, ProbeConfig, Target},
    values::{self, ValueType},
};
use crate::{
    model::{AddressChoice, AddressFamily, Host, Kind, Region, Source, TargetName},
    signing::PublicKey,
    yaml::{Fields, Item, ReadContext, addresses},
};

/// The key in the file's top level.
pub(super) const KEY: &str = "peers";

const TARGETS_HINT: &str = "write at least one, such as {host: edge.example.com, probes: [{kind: icmp}]}";
const PROBES_HINT: &str = "write at least one, such as {kind: icmp}";

const PEER_KEYS: [&str; 10] = [
    "region",
    "zone",
    "failure_domain",
    "location",
    "priority",
    "capacity",
    "maintenance",
    "armed",
    "public_keys",
    "targets",
];

/// Reads the list of peers; this instance's own region may be one of them.
pub(super) fn read(item: &Item<'_>, reading: &ReadContext<'_>) -> Vec<Peer> {
    let mut seen = HashMap::new();
    let mut owners = signing::Owners::new();
    item.each(|item| {
        let fields = item.fields(&PEER_KEYS)?;
        let region = fields
            .required("region", "write the peer's region, such as us-east-1")
            .and_then(|item| region(&item, &mut seen));
        let secrets = reading.secrets;
        let zone = fields.read("zone", |item| values::ZONE.read(item, secrets));
        let failure_domain = fields.read("failure_domain", |item| values::FAILURE_DOMAIN.read(item, secrets));
        let location = fields.read("location", |item| values::Coordinates.read(item, secrets));
        let priority = fields.read("priority", |item| values::PRIORITY.read(item, secrets)).unwrap_or(0);
        let capacity = fields.read("capacity", |item| values::RATIO.read(item, secrets));
        let maintenance =
            fields.read("maintenance", |item| values::MaintenanceType.read(item, secrets)).unwrap_or_default();
        let armed = fields.read("armed", |item| values::FLAG.read(item, secrets)).unwrap_or(true);
        let targets = fields.required("targets", TARGETS_HINT).and_then(|item| targets(&item, reading));
        let (region, targets) = (region?, targets?);
        let public_keys =
            fields.read("public_keys", |item| public_keys(item, &region, &mut owners)).unwrap_or_default();
        let location = location.or_else(|| Location::of_region(region.as_str()));
        Some(Peer {
            region,
            zone,
            failure_domain,
            location,
            priority,
            capacity,
            maintenance,
            armed,
            public_keys,
            targets,
        })
    })
    .unwrap_or_default()
}

fn region(item: &Item<'_>, seen: &mut HashMap<Region, String>) -> Option<Region> {
    let region = item.read(addresses::region)?;
    if let Some(first) = seen.get(&region) {
        item.wrong_value(&format!("is a duplicate of {first}; put the targets of one region under one peer"));
    } else {
        seen.insert(region.clone(), item.key().to_owned());
    }
    Some(region)
}

/// Reads the public keys of a vantage.
pub(super) fn public_keys(item: &Item<'_>, region: &Region, owners: &mut signing::Owners) -> Option<Vec<PublicKey>> {
    let mut keys = Vec::new();
    for item in item.clone().secret().list()? {
        let Some(text) = item.text() else { continue };
        keys.extend(signing::public_key(&item, region, text, keys.len(), owners));
    }
    Some(keys)
}

fn targets(item: &Item<'_>, reading: &ReadContext<'_>) -> Option<Vec<Target>> {
    let list = item.list()?;
    if list.is_empty() {
        item.wrong(format!("has no target; {TARGETS_HINT}"));
    }
    let mut seen: HashMap<TargetName, String> = HashMap::new();
    let mut targets = Vec::new();
    for item in list {
        let Some(read) = target(&item, reading) else { continue };
        for target in read.targets {
            if let Some(first) = seen.get(&target.name) {
                let why = format!(
                    "the target name {:?} is already used by {first}; write another name",
                    target.name.as_str()
                );
                read.named_by.wrong(why);
            } else {
                seen.insert(target.name.clone(), item.key().to_owned());
            }
            targets.push(target);
        }
    }
    Some(targets)
}

/// Which addresses are probed.
#[derive(Clone, Copy)]
enum Families {
    One(AddressFamily),
    Both,
}

/// One entry of `targets`: one target, or one for each address family.
struct Read<'a> {
    targets: Vec<Target>,
    /// The item that the name comes from.
    named_by: Item<'a>,
}

fn target<'a>(item: &Item<'a>, reading: &ReadContext<'_>) -> Option<Read<'a>> {
    let fields = item.fields(&[
        "name",
        "host",
        "labels",
        "name_server",
        "address_family",
        "addresses",
        "source",
        "tos",
        "probes",
    ])?;
    let host = fields.get("host");
    let host = host.as_ref().map(|item| (item, item.read(addresses::scoped_host)));
    let families = [
        ("any", Families::One(AddressFamily::Any)),
        ("v4", Families::One(AddressFamily::V4)),
        ("v6", Families::One(AddressFamily::V6)),
        ("both", Families::Both),
    ];
    let families =
        fields.read("address_family", |item| item.choice(&families)).unwrap_or(Families::One(AddressFamily::Any));
    let source = fields.get("source").and_then(|item| Some((item.read(addresses::source)?, item)));
    let families = match &source {
        Some((Source::Address(address), item)) => family_of_source(item, *address, families),
        _ => families,
    };
    let name_server = fields.read("name_server", |item| item.read(addresses::name_server));
    let choices = AddressChoice::ALL.map(|choice| (choice.as_str(), choice));
    let choice = fields.read("addresses", |item| item.choice(&choices)).unwrap_or_default();
    let labels = fields.read("labels", |item| labels::read_of_target(item, &reading.labels)).unwrap_or_default();
    let labels = Arc::new(labels);
    let tos = fields.read("tos", |item| item.whole::<u8>(0..=255));
    let probes = probe_list(&fields, reading)?;

    let to_host = probes.iter().filter_map(|read| read.entry).find(|entry| !entry.keys.contains(&"url"));
    match (&host, to_host) {
        (None, Some(entry)) => {
            fields.missing("host", &format!("write the name or address that the {} probe goes to", entry.kind));
        }
        (Some((item, Some(host))), Some(_)) => check_reachable(item, host, families, source.as_ref()),
        _ => {}
    }
    for (item, host) in probes.iter().flat_map(probes::Read::connects_to) {
        check_reachable(&item, host, families, source.as_ref());
    }

    let source = source.map(|(source, _)| source);
    let host = host.map(|(item, host)| host.map(|host| (item.clone(), host)));
    let (named_by, name) = match (fields.get("name"), &host) {
        (Some(item), _) => (item.clone(), item.read(addresses::target_name)?),
        (None, Some(host)) => named_after(host.clone()?)?,
        (None, None) => {
            let read = probes.iter().find(|read| read.url_host().is_some())?;
            named_after((read.item.any_fields()?.get("url")?, read.url_host()?.clone()))?
        }
    };
    let host = host.flatten().map(|(_, host)| host);
    let probes: Vec<_> = probes
        .into_iter()
        .filter_map(|read| {
            let (cadence, spec) = read.probe?;
            let host = spec.dialled().cloned().or_else(|| host.clone())?;
            let family = AddressFamily::Any;
            let critical = read.critical;
            let (addresses, labels) = (choice, Arc::clone(&labels));
            Some(ProbeConfig { cadence, host, family, name_server, addresses, tos, source, labels, critical, spec })
        })
        .collect();
    let targets = match families {
        Families::One(family) => vec![Target { name, probes: of_family(probes, family) }],
        Families::Both => [("v4", AddressFamily::V4), ("v6", AddressFamily::V6)]
            .into_iter()
            .map(|(suffix, family)| {
                let name = TargetName::new(&format!("{name}-{suffix}")).map_err(|_| {
                    named_by
                        .wrong_value("is too long for the suffixes -v4 and -v6; write a name of at most 60 characters");
                });
                Some(Target { name: name.ok()?, probes: of_family(probes.clone(), family) })
            })
            .collect::<Option<_>>()?,
    };
    Some(Read { targets, named_by })
}

fn named_after<'a>((item, host): (Item<'a>, Host)) -> Option<(Item<'a>, TargetName)> {
    let name = addresses::derived_name(&host).map_err(|reason| item.wrong_value(&reason)).ok()?;
    Some((item, name))
}

fn of_family(probes: Vec<ProbeConfig>, family: AddressFamily) -> Vec<ProbeConfig> {
    probes.into_iter().map(|probe| ProbeConfig { family, ..probe }).collect()
}

/// Packets can only go to addresses of the family of their source.
fn family_of_source(item: &Item<'_>, source: IpAddr, families: Families) -> Families {
    let (is, family) = if source.is_ipv4() { ("IPv4", AddressFamily::V4) } else { ("IPv6", AddressFamily::V6) };
    match families {
        Families::One(AddressFamily::Any) => {}
        Families::One(other) if other == family => {}
        Families::One(_) | Families::Both => {
            let hint = "delete address_family, or write an interface such as eth1";
            item.wrong_value(&format!("is {is} only; {hint}"));
        }
    }
    Families::One(family)
}

/// A link-local address needs an interface, and one only.
fn check_zone(item: &Item<'_>, host: &Host, source: Option<&(Source, Item<'_>)>) {
    match (host, source) {
        (Host::Scoped(..), Some((_, source))) => {
            source.wrong("stands beside a host with a zone, which is the interface; delete one of them");
        }
        (Host::Addr(IpAddr::V6(addr)), None | Some((Source::Address(_), _))) if addr.is_unicast_link_local() => {
            item.warn(format!("is on every link, so no probe can be sent; write its interface, such as {addr}%eth0"));
        }
        _ => {}
    }
}

/// A host that is an address must be one that the target's other keys leave possible.
fn check_reachable(item: &Item<'_>, host: &Host, families: Families, source: Option<&(Source, Item<'_>)>) {
    check_zone(item, host, source);
    let Some(addr) = host.address() else { return };
    let admits = matches!(families, Families::One(family) if family.admits(addr));
    if admits {
        return;
    }
    let (is, other) = if addr.is_ipv4() { ("IPv4", "v4") } else { ("IPv6", "v6") };
    let hint = match (families, source) {
        (_, Some((Source::Address(_), _))) => "write a source of that family or another address".to_owned(),
        (Families::One(_), _) => format!("write address_family: {other} or another address"),
        (Families::Both, _) => "write a name that has addresses of both families, or another address_family".to_owned(),
    };
    // A URL is shown as it is written; the address of a proxy or of one of several origins is only a part of its value.
    if item.is_text() {
        item.wrong_value(&format!("is {is} only; {hint}"));
    } else {
        item.wrong(format!("leads to {host}, which is {is} only; {hint}"));
    }
}

fn probe_list<'a>(fields: &Fields<'a>, reading: &ReadContext<'_>) -> Option<Vec<probes::Read<'a>>> {
    let item = fields.required("probes", PROBES_HINT)?;
    let list = item.list()?;
    if list.is_empty() {
        item.wrong(format!("has no probe; {PROBES_HINT}"));
    }
    let mut seen: HashMap<Kind, String> = HashMap::new();
    let mut probes = Vec::new();
    for read in list.iter().filter_map(|item| probes::read(item, reading)) {
        if let Some(kind) = read.entry.map(|entry| entry.kind) {
            if let Some(first) = seen.get(&kind) {
                let why = format!("is a second {kind} probe of this target, after {first}; move it to another target");
                read.item.wrong(why);
            } else {
                seen.insert(kind, read.item.key().to_owned());
            }
        }
        probes.push(read);
    }
    Some(probes)
}
