//! From the configuration of a probe to the probe, and what all of them need.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    config::{self, Config, ProbeConfig},
    model::{AddressFamily, Cadence},
    net::{Resolver, TlsContext},
    probe::{Probe, ProberContext, ProberVisitor, ResponseSender, SetupError, TCP, TcpProbe},
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
    SERVER + config.paths().map(|(_, probe)| probe.descriptors()).sum::<u64>()
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
    let resolved = resolver.lookup(&probe.host, probe.family);
    let context = ProberContext { host: &probe.host, resolved, tos: probe.tos, tls, responses };
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

/// Makes a launcher of a prober, which reports to the channel.
struct LaunchedBy(mpsc::Sender<Event>);

impl ProberVisitor for LaunchedBy {
    type Output = Launcher;

    fn visit<P: Probe>(self, prober: P) -> Launcher {
        launcher(Arc::new(prober), self.0)
    }
}
