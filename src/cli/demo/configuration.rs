//! The configuration of the instances.

use std::{fmt::Write as _, iter, path::Path};

use super::{
    args::DemoArgs,
    servers::Servers,
    site::{Site, World},
};
use crate::{
    config::{Config, LogLevel, Secret, SigningKey, VoteKeys},
    model::HttpUrl,
};

/// How long it must stay down before the second stage; too short for production.
pub(super) const EXECUTE_AFTER: &str = "10s";

/// Reads the URLs, as the configuration will.
pub(super) fn alertmanagers(args: &DemoArgs) -> Result<Vec<HttpUrl>, String> {
    let text = format!(
        "region: a\nalertmanagers: {:?}\npeers: [{{region: b, targets: [{{host: b, probes: [{{kind: icmp}}]}}]}}]\n",
        args.alertmanager
    );
    match Config::load(Some((Path::new("demo"), &text)), iter::empty()) {
        Ok(loaded) => Ok(loaded.config.alertmanagers.into_iter().map(|to| to.url).collect()),
        // Everything else in it is our own.
        Err(errors) => {
            let errors = errors.to_string();
            let (_, reason) = errors.split_once("]: ").unwrap_or(("", &errors));
            Err(format!("--alertmanager: {reason}"))
        }
    }
}

/// The configuration of a region's instance.
pub(super) fn configuration(own: &Site, World { network, sites }: &World, args: &DemoArgs) -> Result<Config, String> {
    let votes = args.kill.is_some();
    let is_late = network.namespace(own.place).is_none();
    let listen = if own.place == 0 { args.listen } else { own.page };
    let mut text = format!("region: {}\nlisten: \"{listen}\"\nalertmanagers: {:?}\n", own.region(), args.alertmanager);
    let _ = writeln!(text, "failover: {{execute_after: {EXECUTE_AFTER}}}\npeers:");
    for site in sites.iter().filter(|site| site.place != own.place) {
        let Site { address, sidecar, servers, .. } = site;
        let Some(Servers { web, dns, .. }) = servers else { continue };
        let _ =
            write!(text, "  - region: {}\n    targets:\n      - name: edge\n        host: {address}\n", site.region());
        if is_late {
            // By this address the servers know how far away we are.
            let _ = writeln!(text, "        source: {}", own.address);
        }
        text.push_str("        probes:\n");
        if !is_late {
            let _ = writeln!(text, "          - {{kind: icmp}}\n          - {{kind: tcp, port: {web}}}");
        }
        // Without kinds that are fast, these are.
        let interval = if is_late { ", interval: 300ms" } else { "" };
        let service = if votes { ", critical: true" } else { "" };
        let _ = write!(
            text,
            "          - {{kind: dns, port: {dns}, query: app.example.com, record: A, expect: {{answers: [192.0.2.1]}}{interval}}}\n\
             \x20         - {{kind: http, url: \"http://{address}:{web}/healthz\"{interval}{service}}}\n"
        );
        if votes {
            let _ = writeln!(text, "          - {{kind: sidecar, url: \"http://{sidecar}\"}}");
        }
    }
    let loaded = Config::load(Some((Path::new("the demo's configuration"), &text)), iter::empty());
    let mut config = loaded.map_err(|errors| errors.to_string())?.config;
    config.log.level = if votes { LogLevel::Info } else { LogLevel::Warn };
    // Only a process on this machine could forge a vote.
    let key = Secret::new(b"the regions of the demo trust all that this machine says".to_vec());
    config.votes = votes.then(|| VoteKeys { file: "demo".into(), keys: vec![key] });
    if args.keys.is_some() {
        config.signing = Some(SigningKey { file: "demo".into(), key: own.key.clone() });
        for peer in &mut config.peers {
            let site = sites.iter().find(|site| site.region() == peer.region.as_str());
            peer.public_keys = site.map(|site| site.key.public()).into_iter().collect();
        }
    }
    Ok(config)
}
