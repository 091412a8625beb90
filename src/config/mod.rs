//! YAML file and environment into one valid [`Config`]; every error is reported at once.
//!
//! ```text
//! file, include ──yaml──▶ items with line and column ──▶ settings, peers, witnesses ──┐
//! environment ──env (envy)──▶ settings, env_peers ────────────────────────────────────┴─ environment beats file ─▶ Config
//! ```
//!
//! An error is one line: place, key, value, reason, what to type instead.
//!
//! ```text
//! regionwatch.yaml:12:15: peers[0].targets[1].probes[0].interval: "10" has no unit; write a duration such as 250ms, 1s or 5m
//! ```
//!
//! Paths of files are relative to the configuration file's directory. Header values, passwords and tokens may
//! hold `${NAME}` of a variable; no secret is displayed, debugged or printed.

mod addresses;
mod alertmanagers;
mod databases;
mod defaults;
mod env;
mod env_peers;
mod include;
mod labels;
mod layers;
mod peers;
mod print;
mod probes;
mod quorum;
mod reference;
mod settings;
mod signing;
mod types;
mod url_template;
mod values;
mod votes;
mod warnings;
mod witnesses;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
};

use self::{env::Variables, layers::Layers};
pub use self::{
    quorum::Voters,
    reference::settings_table,
    settings::{Config, DEFAULT_BUCKETS, DEFAULT_LISTEN, Failover, Flag, Log, SETTINGS, Setting},
    signing::SigningKey,
    types::*,
    url_template::UrlTemplate,
    votes::VoteKeys,
};
use crate::model::MAX_VOTE_PEERS;
pub use crate::yaml::{ConfigErrors, Secret};
use crate::yaml::{Diagnostics, Fields, Item, Place, ReadContext, secrets::Secrets, tree};

const PEERS_HINT: &str =
    "write at least one, such as {region: us-east-1, targets: [{host: us.example.com, probes: [{kind: icmp}]}]}";

/// A configuration with its warnings.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One sentence each, for the log.
    pub warnings: Vec<String>,
    /// Where each setting is in the file, as `FILE:LINE:COLUMN`, or `FILE` if it is not there; empty without a file.
    pub locations: BTreeMap<&'static str, String>,
}

impl Config {
    /// Makes a configuration of a file (its path and its text) and of environment variables, which beat it.
    ///
    /// It reads the files that the configuration names for passwords, tokens, certificates and keys, but neither the
    /// process's environment nor the clock nor the network.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn load(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigErrors> {
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        let diagnostics = Diagnostics::default();
        let path = file.map_or_else(|| Path::new(""), |(path, _)| path);
        let secrets = Secrets::new(&environment, path.parent().unwrap_or(path));
        let variables = Variables::pick(&environment, &reference::variables(), &diagnostics);
        let node = file.map(|(path, text)| {
            let root = tree::read(text, &diagnostics)?;
            Some(include::resolve(root, path, text.len(), &diagnostics))
        });
        let more = [databases::KEY, defaults::KEY, include::KEY, peers::KEY, witnesses::KEY];
        let keys: Vec<_> = layers::top_keys().chain(more).collect();
        let root = node.as_ref().and_then(|node| Item::root(node.as_ref()?, &diagnostics).fields(&keys));

        let mut layers = Layers::new(&secrets, &variables);
        if let Some(root) = &root {
            layers.read_file(root);
        }
        layers.read_variables();
        require(&variables, file.is_some(), root.as_ref(), &diagnostics);
        let Layers { mut config, given, places, .. } = layers;
        let defaults = defaults::read(root.as_ref(), &variables, &diagnostics);
        let own = given.contains("region").then(|| config.region.clone());
        let labels = config.labels.clone();
        let context = ReadContext { diagnostics: &diagnostics, secrets: &secrets, defaults, own, labels };
        let in_file = root.as_ref().and_then(|root| root.get(peers::KEY)).map(|item| peers::read(&item, &context));
        let databases = root.as_ref().and_then(|root| root.get(databases::KEY));
        config.databases = databases.map(|item| databases::read(&item, &context)).unwrap_or_default();
        let listed = variables.get(env_peers::PEERS);
        let listed = listed.map(|list| {
            let [servers, keys] = [env_peers::DNS_SERVERS, env_peers::PUBLIC_KEYS].map(|name| variables.get(name));
            env_peers::read(&list, servers, keys, &context)
        });

        let mut warnings = diagnostics.warnings(&path.display().to_string());
        warnings.extend(env::unknown(&environment, &reference::variables(), &secrets));
        if let (Some(_), Some(in_file)) = (&listed, &in_file) {
            warnings.push(format!("REGIONWATCH_PEERS: replaces the {} peers of {}", in_file.len(), path.display()));
        }
        let location = |setting: &Setting| match places.get(setting.key) {
            Some(place @ (Place::File { .. } | Place::Included { .. })) => place.shown(&path.display().to_string()),
            _ => path.display().to_string(),
        };
        let settings = SETTINGS.iter().filter(|_| file.is_some());
        let locations = settings.map(|setting| (setting.key, location(setting))).collect();
        config.location = config.location.or_else(|| Location::of_region(config.region.as_str()));
        let peers = variables.get(env_peers::PEERS).or_else(|| root.as_ref()?.get(peers::KEY));
        let is_own = |peer: &Peer| context.own.as_ref() == Some(&peer.region);
        let all = listed.or(in_file).unwrap_or_default();
        let in_file = root.as_ref().and_then(|root| root.get(witnesses::KEY));
        config.witnesses = in_file.map(|item| witnesses::read(&item, &all, &config, &context)).unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_own);
        config.peers = others;
        for own in own {
            if let Some(peers) = peers.as_ref().filter(|_| config.peers.is_empty()) {
                peers.wrong(format!("has no region but this instance's own, {}; add the other regions", own.region));
            }
            warnings.extend(config.take_own(own, &given));
        }
        if let Some(peers) = peers.filter(|_| config.votes() && config.peers.len() > MAX_VOTE_PEERS) {
            peers.wrong(format!(
                "has {} peers, but a vantage that votes can have {MAX_VOTE_PEERS}; split them over several instances, or \
                 remove votes and the sidecar probes",
                config.peers.len()
            ));
        }
        match diagnostics.into_errors(&path.display().to_string()) {
            Some(errors) => Err(errors),
            None => {
                warnings.extend(warnings::of(&config));
                Ok(Loaded { config, warnings, locations })
            }
        }
    }
}

impl Config {
    /// Takes what the list of peers says about this instance's own region, unless a setting says it too: one file can serve
    /// every region. Returns what is wrong with it although it works.
    fn take_own(&mut self, own: Peer, given: &BTreeSet<&'static str>) -> Option<String> {
        let Peer { region, zone, failure_domain, location, priority, capacity, maintenance, public_keys, .. } = own;
        let is_open = |key| !given.contains(key);
        fill(&mut self.zone, zone.filter(|_| is_open("zone")));
        fill(&mut self.failure_domain, failure_domain.filter(|_| is_open("failure_domain")));
        fill(&mut self.location, location.filter(|_| is_open("location")));
        fill(&mut self.capacity, capacity.filter(|_| is_open("capacity")));
        if is_open("priority") {
            self.priority = priority;
        }
        if is_open("maintenance") {
            self.maintenance = maintenance;
        }
        let key = self.signing.as_ref().map(|signing| signing.key.public());
        key.filter(|key| !public_keys.is_empty() && !public_keys.contains(key)).map(|key| {
            format!(
                "signing.key_file: its public key is not among the public_keys of {region}, so the other vantages do not \
                 know it; add {key}"
            )
        })
    }
}

/// Puts a value in the place of the other one, if there is one.
fn fill<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

/// Reports peers that are missing, and a region that is missing where there is no file. Nothing is known of a file that
/// is no YAML, so nothing is reported.
fn require(variables: &Variables<'_>, has_file: bool, root: Option<&Fields<'_>>, diagnostics: &Diagnostics) {
    let lists_peers = variables.get(env_peers::PEERS).is_some();
    if let Some(root) = root {
        match root.get(peers::KEY) {
            None if !lists_peers => root.missing(peers::KEY, PEERS_HINT),
            Some(item) if item.list_is_empty() => item.wrong(format!("has no peer; {PEERS_HINT}")),
            _ => {}
        }
    } else if !has_file && !lists_peers {
        let text = "has no peers; either pass a file with --config regionwatch.yaml, or set \
                    REGIONWATCH_REGION=eu-west-1 and REGIONWATCH_PEERS=us-east-1=https://us.example.com/healthz";
        diagnostics.add(Place::Whole, "", text);
    } else if !has_file {
        for setting in SETTINGS {
            if let (Some(hint), ("", _)) = (setting.more.required, setting.section_and_name())
                && variables.get(setting.variable).is_none()
            {
                let place = Place::Variable(setting.variable.to_owned());
                diagnostics.add(place, "", format!("is not set; {hint}"));
            }
        }
    }
    for (name, instead) in [(env_peers::DNS_SERVERS, "dns probes"), (env_peers::PUBLIC_KEYS, "public_keys")] {
        if let (false, Some(variable)) = (lists_peers, variables.get(name)) {
            variable
                .wrong(format!("has no effect without REGIONWATCH_PEERS; set it too, or write {instead} in the file"));
        }
    }
}
