//! From the configuration of a probe to the probe, and what all of them need.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    config::{self, Config, DnsTransport, ProbeConfig, ProbeSpec},
    model::{AddressFamily, Cadence},
    net::{Resolver, TlsContext, TlsError, raise_descriptor_limit},
    probe::{self, DnsProbe, HttpProbe, IcmpProbe, ResponseSender, TcpProbe},
    schedule::{Event, Launcher, launcher},
};

/// Makes room for the probes under way, and says so where there is none.
pub(super) fn check_descriptors(config: &Config) {
    let limit = raise_descriptor_limit().unwrap_or(1024);
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
    let each = |probe: &ProbeConfig| match probe.spec {
        // One socket for all that is under way, and the one before it.
        ProbeSpec::Icmp(_) => 2,
        // Those that linger for late answers are as many again.
        _ => 2 * u64::from(probe.cadence.in_flight()),
    };
    SERVER + config.paths().map(|(_, probe)| each(probe)).sum::<u64>()
}

/// Builds a probe, and what launches it. Nothing is sent yet. What a sidecar answers goes to `responses`.
///
/// # Errors
/// TLS settings that cannot be used.
///
/// # Panics
/// Outside a tokio runtime.
pub fn prober(
    probe: &ProbeConfig,
    resolver: &Resolver,
    tls: &TlsContext,
    events: mpsc::Sender<Event>,
    responses: Option<ResponseSender>,
) -> Result<Launcher, TlsError> {
    let lookup = resolver.lookup(&probe.host, probe.family);
    Ok(match &probe.spec {
        ProbeSpec::Icmp(spec) => launcher(Arc::new(IcmpProbe::new(lookup, spec.clone(), probe.tos)), events),
        ProbeSpec::Dns(spec) => {
            let made = DnsProbe::new(lookup, &probe.host, spec.clone(), probe.tos, tls)?;
            launcher(Arc::new(made), events)
        }
        ProbeSpec::Tcp(spec) => {
            let made = TcpProbe::new(lookup, &probe.host, spec.clone(), probe.tos, tls)?;
            launcher(Arc::new(made), events)
        }
        ProbeSpec::Http(spec) => {
            let made = HttpProbe::new(lookup, (**spec).clone(), probe.tos, tls)?.with_response_sender(responses);
            launcher(Arc::new(made), events)
        }
    })
}

/// An anchor is probed as often as TCP ports of peers are, and waited for as long as distant ones need.
pub(super) fn anchor_prober(
    anchor: &config::Anchor,
    resolver: &Resolver,
    events: mpsc::Sender<Event>,
) -> (Cadence, Launcher) {
    let lookup = resolver.lookup(&anchor.host, AddressFamily::Any);
    (probe::TCP.default_cadence(), launcher(Arc::new(TcpProbe::plain(lookup, anchor.port)), events))
}

/// Whether a probe depends on files that may change while its configuration does not.
pub(super) fn reads_files(probe: &ProbeConfig) -> bool {
    let tls = match &probe.spec {
        ProbeSpec::Icmp(_) => None,
        ProbeSpec::Dns(spec) => match &spec.transport {
            DnsTransport::Tls(tls) | DnsTransport::Https { tls, .. } => Some(tls),
            DnsTransport::Udp | DnsTransport::Tcp => None,
        },
        ProbeSpec::Tcp(spec) => spec.tls.as_ref(),
        ProbeSpec::Http(spec) => spec.url.https.then_some(&spec.tls),
    };
    tls.is_some_and(|tls| tls.ca_file.is_some() || tls.identity.is_some())
}
