//! YAML file and environment into one valid [`Config`]; every error is reported at once.
//!
//! ```text
//! file ──yaml──▶ items with line and column ──▶ settings, peers ────┐
//! environment ──env (envy)──▶ settings, env_peers ──────────────────┴─ environment beats file ─▶ Config
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
mod dns;
mod env;
mod env_peers;
mod failover;
mod http;
mod pattern;
mod peers;
mod print;
mod probes;
mod settings;
mod tls;
mod types;
mod votes;
mod warnings;

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use self::env::Variables;
pub use self::{failover::Failover, types::*, votes::VoteKeys};
pub use crate::yaml::{ConfigErrors, Secret};
use crate::yaml::{Diagnostics, Fields, Item, Place, ReadContext, secrets::Secrets, tree};

const REGION_HINT: &str = "write the region that this sidecar runs in, such as eu-west-1";
const PEERS_HINT: &str =
    "write at least one, such as {region: us-east-1, targets: [{host: us.example.com, probes: [{kind: icmp}]}]}";

/// A configuration, and what is worth a warning about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One sentence each, for the log.
    pub warnings: Vec<String>,
    /// Where each key of the file's first level stands, as `FILE:LINE:COLUMN`, or `FILE` for one that is not there; nothing
    /// without a file.
    pub places: BTreeMap<&'static str, String>,
}

impl Config {
    /// Makes a configuration of a file (its path and its text) and of environment variables, which beat it.
    ///
    /// The process's environment, the clock and the network are not looked at. Files that the configuration
    /// names for passwords, tokens, certificates and keys are.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigErrors> {
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        let diagnostics = Diagnostics::default();
        let path = file.map_or_else(|| Path::new(""), |(path, _)| path);
        let secrets = Secrets::new(&environment, path.parent().unwrap_or(path));
        let variables = Variables::pick(&environment, &diagnostics);
        let node = file.map(|(_, text)| tree::read(text, &diagnostics));
        let root = node.as_ref().and_then(|node| Item::root(node.as_ref()?, &diagnostics).fields(&settings::KEYS));
        require(&variables, file.is_some(), root.as_ref(), &diagnostics);

        let below = root.as_ref().map(|root| settings::read(root, &secrets)).unwrap_or_default();
        let settings = variables.settings(&diagnostics, &secrets).or(below);
        let defaults = settings.cadences(&diagnostics);
        let reading =
            ReadContext { diagnostics: &diagnostics, secrets: &secrets, defaults, own: settings.region.clone() };
        let in_file = root.as_ref().and_then(|root| root.get("peers")).map(|item| peers::read(&item, &reading));
        let listed = variables
            .peer_list(&diagnostics)
            .map(|list| env_peers::read(list, variables.dns_server_list(&diagnostics), &reading));

        let mut warnings = env::warnings(&environment, &secrets);
        if let (Some(_), Some(in_file)) = (&listed, &in_file) {
            warnings.push(format!("REGIONWATCH_PEERS: replaces the {} peers of {}", in_file.len(), path.display()));
        }
        let places = root.as_ref().map(|root| places(root, path)).unwrap_or_default();
        let config = settings.into_config(listed.or(in_file).unwrap_or_default());
        match (diagnostics.into_errors(&path.display().to_string()), config) {
            (Some(mistakes), _) => Err(mistakes),
            (None, Some(config)) => {
                warnings.extend(warnings::of(&config));
                Ok(Loaded { config, warnings, places })
            }
            (None, None) => unreachable!("a region that is missing was noted"),
        }
    }
}

fn places(root: &Fields<'_>, path: &Path) -> BTreeMap<&'static str, String> {
    let place = |key| match root.get(key).map(|item| item.place()) {
        Some(Place::File { line, column }) => format!("{}:{line}:{column}", path.display()),
        _ => path.display().to_string(),
    };
    settings::KEYS.into_iter().map(|key| (key, place(key))).collect()
}

/// Diagnostics a region or peers that nobody gave. Of a file that is no YAML nothing is known, so nothing is said.
fn require(variables: &Variables, has_file: bool, root: Option<&Fields<'_>>, diagnostics: &Diagnostics) {
    let lists_peers = variables.peer_list(diagnostics).is_some();
    if let Some(root) = root {
        if !variables.names_region() && root.get("region").is_none() {
            root.missing("region", REGION_HINT);
        }
        match root.get("peers") {
            None if !lists_peers => root.missing("peers", PEERS_HINT),
            Some(item) if item.list_is_empty() => item.wrong(format!("has no peer; {PEERS_HINT}")),
            _ => {}
        }
    } else if !has_file && !lists_peers {
        let text = "names no peers; either write a file and give it with --config regionwatch.yaml, or set \
                    REGIONWATCH_REGION=eu-west-1 and REGIONWATCH_PEERS=us-east-1=https://us.example.com/healthz";
        diagnostics.add(Place::Whole, "", text);
    } else if !has_file && !variables.names_region() {
        diagnostics.add(Place::Variable("REGIONWATCH_REGION"), "", format!("is not set; {REGION_HINT}"));
    }
    if !lists_peers && variables.dns_server_list(diagnostics).is_some() {
        let text = "has no effect without REGIONWATCH_PEERS; set that too, or write dns probes into the file";
        diagnostics.add(Place::Variable("REGIONWATCH_DNS_SERVERS"), "", text);
    }
}
