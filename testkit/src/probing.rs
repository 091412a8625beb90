//! Runs one configured probe by the real schedule and returns what came of it.

use std::{path::Path, sync::Arc, time::Duration};

use regionwatch::{
    app::prober,
    config::Config,
    model::{
        CertificateDates, Failure, FailureContext, Outcome, PathId, PeerFacts, Phase, Region, Timings, VoteResponse,
    },
    net::{Resolver, TimestampingGuard, TlsContext},
    probe::ResponseSender,
    schedule::{Command, Event, OverdueAfter, Schedule, SlotPhase, SlotTimer},
};
use tokio::{sync::mpsc, time::Instant};

use crate::stalls::Stalls;

/// The timeout of probes that are meant to fail by it.
pub const TIMEOUT: Duration = Duration::from_millis(600);

/// The timeout of all others: on a machine that is busy for a second they end before it all the same.
const LONG: Duration = Duration::from_secs(6);

/// What one probe measured, and how long it was under way by the clock of the test.
#[derive(Debug)]
pub struct Seen {
    pub outcome: Outcome,
    /// Read where a test asks how far a failed probe came, and why it failed.
    pub failed: FailureContext,
    pub certificate: Option<CertificateDates>,
    pub facts: PeerFacts,
    pub took: Duration,
    /// How many answers had come after their deadlines until then.
    pub late: u32,
    /// How late another thread woke up meanwhile, in all: what a busy machine adds.
    pub stall: Duration,
}

/// What a test does in between, once so many probes have ended.
type Then = (usize, Box<dyn FnOnce() + Send>);

/// A probe in the notation of the file, without its cadence: `kind: tcp, port: 80`.
pub struct Probing {
    host: String,
    probe: String,
    target: String,
    timeout: Option<Duration>,
    resolver: Option<Resolver>,
    responses: Option<ResponseSender>,
    then: Option<Then>,
}

pub fn probing(host: &str, probe: impl Into<String>) -> Probing {
    Probing {
        host: host.to_owned(),
        probe: probe.into(),
        target: String::new(),
        timeout: None,
        resolver: None,
        responses: None,
        then: None,
    }
}

impl Probing {
    pub fn resolver(self, resolver: Resolver) -> Self {
        Self { resolver: Some(resolver), ..self }
    }

    /// Takes what is answered to this sender.
    pub fn with_response_sender(self, response_tx: mpsc::Sender<VoteResponse>) -> Self {
        Self { responses: Some(ResponseSender { peer: Region::new("there").unwrap(), response_tx }), ..self }
    }

    /// Adds keys of the target: `addresses: all`.
    pub fn with_target(self, keys: &str) -> Self {
        Self { target: format!("{keys}, "), ..self }
    }

    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Does this once so many probes have ended, and not after a time in which a busy machine makes none.
    pub fn after(self, probes: usize, then: impl FnOnce() + Send + 'static) -> Self {
        Self { then: Some((probes, Box::new(then))), ..self }
    }

    /// Probes until `wanted` probes have ended.
    pub async fn run(mut self, wanted: usize) -> Vec<Seen> {
        let _keeper = TimestampingGuard::hold();
        let timeout = self.timeout.unwrap_or(LONG);
        let text = format!(
            "region: here\npeers: [{{region: there, targets: [{{name: t, host: \"{}\", {}probes: [{{{}, interval: 100ms, timeout: {}ms}}]}}]}}]",
            self.host,
            self.target,
            self.probe,
            timeout.as_millis()
        );
        let config = Config::load(Some((Path::new("test.yaml"), &text)), [("PROBE_TOKEN".into(), "hunter2".into())])
            .unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
            .config;
        let (_, probe) = config.paths().next().unwrap();
        let (events, mut happened) = mpsc::channel(100);
        let resolver = self.resolver.unwrap_or_else(Resolver::from_system);
        let launcher = prober(probe, &resolver, &TlsContext::default(), events.clone(), self.responses).unwrap();
        let (changes, changed) = mpsc::unbounded_channel();
        let schedule = tokio::spawn(Schedule::default().run(SlotTimer::new(), changed, events));
        let cadence = probe.cadence;
        let _ = changes.send(Command::Start {
            path: PathId(1),
            cadence,
            phase: SlotPhase::random(),
            overdue_after: OverdueAfter::default(),
            launcher,
        });
        let mut seen = Vec::new();
        let mut late = 0;
        let stalls = Stalls::watch();
        let until = Instant::now() + Duration::from_secs(20);
        while seen.len() < wanted {
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, happened.recv()).await {
                Ok(Some(Event::Sampled { sample, failed, facts, late: noticed, .. })) => {
                    late += noticed;
                    let took = sample.sent_at.elapsed();
                    let stall = stalls.sum();
                    let (outcome, certificate) = (sample.outcome, facts.certificate);
                    seen.push(Seen { outcome, failed, certificate, facts, took, late, stall });
                    if let Some((_, then)) = self.then.take_if(|(probes, _)| seen.len() >= *probes) {
                        then();
                    }
                }
                Ok(Some(Event::Late { .. })) => late += 1,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => panic!("only {} of {wanted} probes ended: {seen:?}", seen.len()),
            }
        }
        schedule.abort();
        seen
    }

    /// One probe that must succeed.
    pub async fn succeeds(self) -> Timings {
        let seen = self.run(1).await.remove(0);
        seen.outcome.unwrap_or_else(|failure| panic!("failed of {failure}"))
    }

    /// One probe that must fail.
    pub async fn fails(self) -> Failure {
        let seen = self.run(1).await.remove(0);
        match seen.outcome {
            Err(failure) => failure,
            Ok(timings) => panic!("succeeded: {timings:?}"),
        }
    }

    /// One probe that must fail before its deadline.
    pub async fn fails_early(self) -> Failure {
        let limit = self.timeout.unwrap_or(LONG);
        let seen = self.run(1).await.remove(0);
        assert!(seen.took < limit, "ended only after {:?}", seen.took);
        seen.outcome.unwrap_err()
    }

    /// One probe that must fail because its deadline came. The product moves a deadline by the time in which it was not
    /// scheduled, and never by more than the timeout.
    pub async fn fails_at_the_deadline(mut self) -> Failure {
        let timeout = *self.timeout.get_or_insert(TIMEOUT);
        let seen = self.run(1).await.remove(0);
        let limit = 2 * timeout + Duration::from_millis(400) + seen.stall;
        assert!(seen.took >= timeout && seen.took < limit, "{seen:?}");
        seen.outcome.unwrap_err()
    }
}

/// The names of the phases that were measured.
pub fn phases(timings: &Timings) -> Vec<&'static str> {
    timings.phases.iter().map(|(phase, _)| phase.as_str()).collect()
}

pub fn phase(timings: &Timings, wanted: Phase) -> Duration {
    timings.phases.iter().find(|(phase, _)| *phase == wanted).unwrap().1
}

/// A certificate for the names, and the files to use it by.
pub struct Certificate {
    pub folder: Arc<tempfile::TempDir>,
    pub dates: CertificateDates,
}

impl Certificate {
    pub fn new(names: &[&str]) -> Self {
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 2, 3);
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        // 2026-02-03T00:00:00Z and 2031-02-03T00:00:00Z
        let dates = CertificateDates { not_before: 1_770_076_800, not_after: 1_927_843_200, issuers_not_after: None };
        Self { folder: Arc::new(folder), dates }
    }

    pub fn cert(&self) -> String {
        self.folder.path().join("cert.pem").display().to_string()
    }

    pub fn key(&self) -> String {
        self.folder.path().join("key.pem").display().to_string()
    }
}
