//! One probe of each path, for people who try a configuration.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};

use super::{error::RunError, probers::check_descriptors};
use crate::{
    config::{Config, ProbeConfig},
    model::{Failure, FailureContext, Host, Outcome, Path, PeerFacts},
    net::{Attempt, Resolver, TimestampingGuard, TlsContext, raise_descriptor_limit},
    probe::{Lookup, Probe, ProbeError, ProberContext, ProberVisitor},
};

/// How long the names are waited for at the most, before the first probe.
const RESOLVING: Duration = Duration::from_secs(5);

/// How many probes run at once: more would measure each other.
const AT_ONCE: usize = 16;

/// What one probe of a path found.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The path.
    pub path: Path,
    /// The result.
    pub outcome: Outcome,
    /// Of what it failed; of a success, what is odd about it.
    pub failed: FailureContext,
    /// What the peer has shown, also if the probe failed.
    pub facts: PeerFacts,
}

/// Probes each path of the configuration and each server of a database once, and returns what came back, in the order of the
/// configuration.
///
/// # Errors
/// Whatever keeps a probe from being made.
pub fn probe_once(config: &Config) -> Result<Vec<Tried>, RunError> {
    check_descriptors(config, raise_descriptor_limit()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let _keeper = TimestampingGuard::hold();
        let (resolver, tls) = (Resolver::from_system(), TlsContext::default());
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let databases: Vec<_> = config.databases.iter().flat_map(|database| database.probes(&config.region)).collect();
        let databases = databases.iter().map(|(path, probe)| (path.clone(), probe));
        let all: Vec<_> = config.paths().chain(databases).collect();
        let mut running = Vec::new();
        for (path, probe) in all.iter().cloned() {
            let trying =
                prepare(probe, &resolver, &tls).map_err(|source| RunError::Probe { path: path.clone(), source })?;
            running.push((path, trying));
        }
        resolver.used_by(all.iter().map(|(path, probe)| (&probe.host, path.peer.clone())));
        resolved(all.iter().map(|(_, probe)| &probe.host), &resolver).await;
        let tasks: Vec<_> = running
            .into_iter()
            .map(|(path, trying)| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    let _turn = turns.acquire_owned().await;
                    let (outcome, failed, facts) = trying().await;
                    Tried { path, outcome, failed, facts }
                })
            })
            .collect();
        let mut tried = Vec::with_capacity(tasks.len());
        for task in tasks {
            tried.push(task.await.map_err(|_| RunError::Ended("probe"))?);
        }
        Ok(tried)
    });
    runtime.shutdown_background();
    result
}

type Found = (Outcome, FailureContext, PeerFacts);

/// Makes one attempt, from the moment in which it is called.
type Trying = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Found> + Send>> + Send>;

fn prepare(probe: &ProbeConfig, resolver: &Resolver, tls: &TlsContext) -> Result<Trying, crate::probe::SetupError> {
    let lookup = Lookup { resolver, family: probe.family, name_server: probe.name_server };
    let resolved = lookup.of(&probe.host).using(probe.addresses);
    let context = ProberContext {
        host: &probe.host,
        resolved,
        lookup,
        tos: probe.tos,
        source: probe.source,
        tls,
        responses: None,
    };
    probe.spec.prober(context, Once(probe.cadence.timeout()))
}

/// Makes one attempt of a prober, within this time.
struct Once(Duration);

impl ProberVisitor for Once {
    type Output = Trying;

    fn visit<P: Probe>(self, prober: P) -> Trying {
        let Self(timeout) = self;
        Box::new(move || {
            Box::pin(async move {
                let attempt = Attempt::new(Instant::now() + timeout);
                let outcome = match timeout_at(attempt.deadline(), pin!(prober.probe(&attempt))).await {
                    Ok(Ok(timings)) => Ok(timings),
                    Ok(Err(ProbeError::Failed(failure))) => Err(failure),
                    // The clock was set in this very moment: there is nothing to show but that.
                    Ok(Err(ProbeError::ClockStep)) => Err(Failure::Local),
                    Err(_) => Err(attempt.timeout_reason()),
                };
                (outcome, attempt.context(&outcome), attempt.facts())
            })
        })
    }
}

/// Waits for the addresses of all names, so that no probe waits for them.
async fn resolved(hosts: impl Iterator<Item = &Host>, resolver: &Resolver) {
    let until = Instant::now() + RESOLVING;
    for host in hosts.filter(|host| matches!(host, Host::Name(_))) {
        while resolver.known(host).is_empty() && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
    }
}
