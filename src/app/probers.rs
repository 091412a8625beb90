//! From the configuration of a probe to the probe, and what all of them need.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use super::error::RunError;
use crate::{
    config::{self, Config, Database, DatabaseServer, ProbeConfig},
    model::{AddressFamily, Cadence, DatabaseEvent, Path, Region},
    net::{Resolver, TlsContext},
    probe::{
        Lookup, Probe, ProberContext, ProberVisitor, ResponseSender, SetupError, TCP, TcpProbe, TokenSetup, Writing,
    },
    schedule::{Event, Launcher, launcher},
};

/// Says so where fewer descriptors are allowed than the probes under way may need.
pub(super) fn check_descriptors(config: &Config, limit: u64) {
    let needed: u64 = descriptors(config);
    if needed > limit {
        warn!(
            "this configuration may need {needed} open files, and {limit} are allowed: probes will fail with \
             the result \"local\"; raise the limit (ulimit -n, LimitNOFILE=), or probe less often"
        );
    }
}

/// How many descriptors a configuration may need at the most, with those of the server.
pub fn descriptors(config: &Config) -> u64 {
    const SERVER: u64 = 300;
    // For each server a kept connection, and those of probes that are under way.
    let of_database = |Database { login, servers, .. }: &Database| {
        servers.len() as u64 * (1 + u64::from(login.kind().default_cadence().in_flight()))
    };
    SERVER
        + config.databases.iter().map(of_database).sum::<u64>()
        + config.paths().map(|(_, probe)| probe.descriptors()).sum::<u64>()
}

/// Builds a probe, and what launches it. Nothing is sent yet. What a sidecar answers goes to `responses`.
///
/// # Errors
/// See [`SetupError`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn prober(
    probe: &ProbeConfig,
    resolver: &Resolver,
    tls: &TlsContext,
    events: mpsc::Sender<Event>,
    responses: Option<ResponseSender>,
) -> Result<Launcher, SetupError> {
    let lookup = Lookup { resolver, family: probe.family, name_server: probe.name_server };
    let resolved = lookup.of(&probe.host).using(probe.addresses);
    let context =
        ProberContext { host: &probe.host, resolved, lookup, tos: probe.tos, source: probe.source, tls, responses };
    probe.spec.prober(context, LaunchedBy(events))
}

/// An anchor is probed as often as TCP ports of peers are, and waited for as long as distant ones need.
pub(super) fn anchor_prober(
    anchor: &config::Anchor,
    resolver: &Resolver,
    events: mpsc::Sender<Event>,
) -> (Cadence, Launcher) {
    let resolved = resolver.lookup(&anchor.host, AddressFamily::Any);
    (TCP.default_cadence(), launcher(Arc::new(TcpProbe::connect(resolved, anchor.port)), events))
}

/// What the probers of a database are made of.
pub(super) struct TokenContext<'a> {
    pub(super) database: &'a Database,
    /// Its place in the configuration.
    pub(super) place: usize,
    /// What its probers share.
    pub(super) writing: &'a Arc<Writing>,
    pub(super) vantage: &'a Region,
    pub(super) news: &'a mpsc::Sender<DatabaseEvent>,
    pub(super) resolver: &'a Resolver,
    pub(super) tls: &'a TlsContext,
}

impl TokenContext<'_> {
    /// What reads each server, and writes at the one that takes writes.
    pub(super) fn probers(&self, events: &mpsc::Sender<Event>) -> Result<Vec<(Cadence, Launcher)>, RunError> {
        let Database { name, login, table, servers, .. } = self.database;
        let kind = login.kind();
        let prober = |(place, server): (usize, &DatabaseServer)| {
            let resolved = self.resolver.lookup(&server.host, AddressFamily::Any);
            let lookup = Lookup::by(self.resolver);
            let context = ProberContext {
                host: &server.host,
                resolved,
                lookup,
                tos: None,
                source: None,
                tls: self.tls,
                responses: None,
            };
            let setup = TokenSetup {
                database: name.clone(),
                region: server.region.clone(),
                place: self.place,
                server: place,
                table: Arc::clone(table),
                vantage: self.vantage.clone(),
                writing: Arc::clone(self.writing),
                news: self.news.clone(),
            };
            let path = || Path { peer: server.region.clone(), target: name.clone(), kind };
            let launcher = login
                .token_prober(server.port, context, setup, LaunchedBy(events.clone()))
                .map_err(|source| RunError::Probe { path: path(), source })?;
            Ok((kind.default_cadence(), launcher))
        };
        servers.iter().enumerate().map(prober).collect()
    }
}

/// Makes a launcher of a prober, which reports to the channel.
struct LaunchedBy(mpsc::Sender<Event>);

impl ProberVisitor for LaunchedBy {
    type Output = Launcher;

    fn visit<P: Probe>(self, prober: P) -> Launcher {
        launcher(Arc::new(prober), self.0)
    }
}
