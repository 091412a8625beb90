//! Names, help, buckets and values of everything on `/metrics`; the only file that names `prometheus`.
//!
//! The crate's registry holds what there is once in a process. The series of paths and peers are kept and
//! written here, for two reasons: the crate's vectors tell label sets apart by a hash of their values joined
//! without a separator, so that two paths can share a series; and a page of a hundred thousand series must cost
//! milliseconds, which it does when the labels of a path are rendered once.

use std::{
    fmt::Write as _,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, TextEncoder,
    process_collector::ProcessCollector,
};

use crate::{
    config::{Config, DnsTransport, Peer, ProbeConfig, ProbeSpec},
    model::{Failure, Host, Path, Phase, ProbeKind, Region, StampSource, Timings},
    window::Summary,
};

mod page;
mod push;
mod region;
mod votes;

pub use page::{Collect, Page};
pub use push::{PushResult, PushSeries};
pub use region::{AnchorSeries, Candidacy, RegionSeries};
pub use votes::VoteSeries;

/// A metric family, as it is documented and exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name, with its unit.
    pub name: &'static str,
    /// `counter`, `gauge`, `histogram` or `summary`.
    pub kind: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Its labels, besides those that all of its scope share.
    pub labels: &'static str,
    /// Whether it stands on the small page for frequent scrapes, `?collect=state`.
    pub state: bool,
}

macro_rules! families {
    ($($(#[$state:ident])? $id:ident = $name:literal $kind:ident ($labels:literal) $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Family = Family {
                name: concat!("regionwatch_", $name),
                kind: stringify!($kind),
                help: $help,
                labels: $labels,
                state: families!(@state $($state)?),
            };
        )*
        /// Every family of ours, in the order of the page.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
    (@state state) => { true };
    (@state) => { false };
}

families! {
    #[state] BUILD_INFO = "build_info" gauge ("version, revision") "Always 1; which build this is.";
    #[state] CONFIG_RELOAD_SUCCESSFUL = "config_last_reload_successful" gauge ("")
        "Whether the last attempt to load the configuration succeeded (1) or left the previous one in force (0).";
    #[state] CONFIG_RELOAD_TIMESTAMP = "config_last_reload_success_timestamp_seconds" gauge ("")
        "When a configuration was last loaded successfully, in seconds since 1970.";
    CLOCK_STEPS = "clock_steps_total" counter ("")
        "Probes that were dropped because the wall clock was set while they were under way.";
    START_DELAY = "probe_start_delay_seconds" histogram ("")
        "From the time a probe was due to its real start; what this process, not the network, is late by.";
    TIMESTAMP_SOURCE = "timestamp_source" gauge ("source")
        "Which clock the last successful probe was measured by (1): the kernel's stamps, or this process's own clock.";
    #[state] PROBE_SUCCESS = "probe_success" gauge ("layer")
        "Whether the last probe succeeded (1) or failed (0); absent before the first.";
    #[state] PROBE_LAST_SUCCESS = "probe_last_success_timestamp_seconds" gauge ("")
        "When the last successful probe began, in seconds since 1970; absent before the first.";
    PROBES = "probes_total" counter ("result")
        "Probes by what came of them: ok, or the reason of the failure. The result local is this side's own fault.";
    PROBE_DURATION = "probe_duration_seconds" histogram ("")
        "Latency of successful probes on the network, without name resolution; a failure has no latency.";
    PROBE_PHASE_DURATION = "probe_phase_duration_seconds" summary ("phase")
        "Phases of successful probes; resolve counts the lookups of the target's name in the background.";
    PROBE_LATE = "probe_late_total" counter ("")
        "Answers that came after the deadline; their probes count as timeout.";
    PROBE_DUPLICATES = "probe_duplicates_total" counter ("") "Replies that came more than once.";
    TCP_SYN_RETRANSMITS = "tcp_syn_retransmits_total" counter ("")
        "SYNs that the kernel sent again before a connection came about.";
    PROBE_SLOTS_MISSED = "probe_slots_missed_total" counter ("")
        "Slots of the schedule in which no probe could start in time.";
    PROBE_REPLY_HOP_LIMIT = "probe_reply_hop_limit" gauge ("")
        "The hop limit (TTL) that the last echo reply arrived with; absent before the first.";
    TLS_CERTIFICATE_EXPIRY = "tls_certificate_expiry_timestamp_seconds" gauge ("")
        "When the first certificate of the chain that the target last presented expires, in seconds since 1970.";
    #[state] PEER_LATENCY = "peer_latency_seconds" summary ("quantile")
        "Quantiles of the latency to all targets of a peer over the trailing window; absent where nothing succeeded.";
    #[state] PEER_LOSS = "peer_loss_ratio" gauge ("")
        "The share of failed probes to all targets of a peer over the trailing window, 0 to 1, without local failures.";
    #[state] PEER_JITTER = "peer_jitter_seconds" gauge ("")
        "The mean difference between consecutive latencies over the trailing window (RFC 3393).";
    #[state] PEER_STATE = "peer_state" gauge ("state")
        "What this vantage thinks of a peer region: 1 for its state, 0 for the others.";
    #[state] PEER_STATE_SINCE = "peer_state_since_timestamp_seconds" gauge ("")
        "Since when the peer has been in its state, in seconds since 1970.";
    #[state] PEER_STATE_CHANGES = "peer_state_changes_total" counter ("from, to") "Changes of the peer's state.";
    #[state] PEER_VOTES = "peer_votes" gauge ("vote")
        "Fresh votes of the vantages on a peer, this one's included. Who has not looked again yet is not among them.";
    #[state] PEER_QUORUM = "peer_quorum" gauge ("") "How many vantages must say down for a quorum.";
    #[state] PEER_QUORUM_REACHED = "peer_quorum_reached" gauge ("")
        "Whether enough vantages say down, and those heard are more than half of all.";
    #[state] VANTAGE_ISOLATED = "vantage_isolated" gauge ("")
        "Whether this vantage itself seems to be cut off (1), and therefore accuses nobody.";
    #[state] VANTAGE_HEALTH = "vantage_health_score" gauge ("")
        "0 where this vantage starts its probes in time, up to 7; it waits (1 + score) times as long before it accuses.";
    #[state] ANCHOR_SUCCESS = "anchor_success" gauge ("anchor")
        "Whether an endpoint outside all regions answers.";
    #[state] CANDIDATE_ELIGIBLE = "candidate_eligible" gauge ("")
        "Whether the peer could take over from this region.";
    #[state] CANDIDATE_RANK = "candidate_rank" gauge ("")
        "The peer's place among those that could take over from this region, 1 is the best; absent where it cannot.";
    #[state] CANDIDATE_SCORE = "candidate_score_seconds" gauge ("")
        "What taking over would cost, in seconds a request; lower is better; absent without data.";
    #[state] CANDIDATE_INELIGIBLE = "candidate_ineligible" gauge ("reason")
        "Why the peer cannot take over: 1 for each reason that holds.";
    PEER_DISTANCE = "peer_distance_meters" gauge ("")
        "Great-circle distance to the peer; absent where one of both places is not known.";
    PEER_LIGHT_RTT = "peer_light_rtt_seconds" gauge ("")
        "The round trip that light in a straight fibre would need; no path can be faster.";
    #[state] INCIDENTS = "incidents" gauge ("stage")
        "Whether Alertmanager is being told that the peer is down, by stage.";
    VOTES_RECEIVED = "votes_received_total" counter ("result")
        "Bulletins that the peer's sidecar answered with, by what they were worth: accepted, or why they do not count.";
    ALERT_PUSHES = "alert_pushes_total" counter ("alertmanager, result")
        "Pushes of the alerts to an Alertmanager by what came of them, each attempt; counted after the answer.";
    ALERT_PUSH_DURATION = "alert_push_duration_seconds" histogram ("alertmanager")
        "How long pushes took that an Alertmanager accepted; a failure has no duration.";
}

/// Upper bounds of [`START_DELAY`], in seconds: timers have a resolution of 1 ms, a throttle period is 100 ms.
const START_DELAY_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// The results and phases that a path can have: those stand on the page from the start, at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    results: u16,
    phases: u16,
    late: bool,
    duplicates: bool,
    retransmits: bool,
}

impl Shape {
    fn of(probe: &ProbeConfig) -> Self {
        use Failure::{Auth, Local, Mismatch, Protocol, Refused, Resolve, Status, Timeout, Tls, Unreachable};
        let mut results = vec![Timeout, Unreachable, Local];
        let mut phases = Vec::new();
        match &probe.spec {
            ProbeSpec::Icmp(_) => phases.push(Phase::Rtt),
            ProbeSpec::Dns(spec) => {
                results.extend([Refused, Protocol, Status]);
                phases.push(Phase::Request);
                if !spec.answers.is_empty() {
                    results.push(Mismatch);
                }
                if spec.transport != DnsTransport::Udp || spec.retry_over_tcp {
                    phases.push(Phase::Connect);
                }
                if matches!(spec.transport, DnsTransport::Tls(_) | DnsTransport::Https { .. }) {
                    results.push(Tls);
                    phases.push(Phase::Tls);
                }
            }
            ProbeSpec::Tcp(spec) => {
                results.push(Refused);
                phases.push(Phase::Connect);
                if spec.tls.is_some() {
                    results.push(Tls);
                    phases.push(Phase::Tls);
                }
                if spec.expect.is_some() {
                    results.push(Mismatch);
                }
            }
            ProbeSpec::Http(spec) => {
                results.extend([Refused, Protocol, Status, Auth]);
                phases.extend([Phase::Connect, Phase::Processing, Phase::Transfer]);
                if spec.url.https {
                    results.push(Tls);
                    phases.push(Phase::Tls);
                }
                if spec.expect_body.is_some() || !spec.expect_headers.is_empty() {
                    results.push(Mismatch);
                }
            }
        }
        if matches!(probe.host, Host::Name(_)) {
            results.push(Resolve);
            phases.push(Phase::Resolve);
        }
        let kind = probe.kind();
        Self {
            // Bit 0 is the result ok.
            results: results.iter().fold(1, |set, result| set | 2 << *result as u16),
            phases: phases.iter().fold(0, |set, phase| set | 1 << *phase as u16),
            late: kind != ProbeKind::Http && kind != ProbeKind::Sidecar,
            duplicates: kind == ProbeKind::Icmp,
            retransmits: phases.contains(&Phase::Connect),
        }
    }

    /// How many series a path of this shape makes, once it has succeeded one time.
    fn series(self, buckets: usize) -> usize {
        let histogram = buckets + 3;
        let gauges = 2 + usize::from(self.duplicates) + usize::from(self.phases & 1 << Phase::Tls as u16 != 0);
        let counters = 1 + usize::from(self.late) + usize::from(self.duplicates) + usize::from(self.retransmits);
        let results = self.results.count_ones() as usize;
        let phases = 2 * self.phases.count_ones() as usize;
        histogram + gauges + counters + results + phases
    }
}

/// About how many series a configuration makes on `/metrics`.
pub fn series_count(config: &Config) -> usize {
    let paths: usize = config.paths().map(|(_, probe)| Shape::of(probe).series(config.buckets.len())).sum();
    let kinds = |peer: &Peer| ProbeKind::ALL.iter().filter(|kind| has_kind(peer, **kind)).count();
    let votes = |peer: &Peer| if has_kind(peer, ProbeKind::Sidecar) { VoteSeries::RESULTS.len() } else { 0 };
    let peers: usize = config.peers.iter().map(|peer| 5 * kinds(peer) + votes(peer) + RegionSeries::series()).sum();
    // The process's own.
    let own = START_DELAY_BUCKETS.len() + 3 + 8 + 9 + config.anchors.len();
    paths + peers + config.alertmanagers.len() * PushSeries::COUNT + own
}

fn has_kind(peer: &Peer, kind: ProbeKind) -> bool {
    peer.targets.iter().flat_map(|target| &target.probes).any(|probe| probe.kind() == kind)
}

/// No value yet, in a gauge that is absent until it has one.
const ABSENT: u64 = u64::MAX;

/// The series of one path. Written by the recorder alone, read by scrapes; nothing waits.
#[derive(Debug)]
pub struct PathSeries {
    /// `vantage_region="..",peer_region="..",target="..",probe=".."`, rendered once.
    labels: Box<str>,
    kind: ProbeKind,
    shape: Shape,
    bounds: Arc<[Bound]>,
    /// Not cumulative; the last is +Inf.
    buckets: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
    results: [AtomicU64; Failure::ALL.len() + 1],
    phase_counts: [AtomicU64; Phase::ALL.len()],
    phase_nanos: [AtomicU64; Phase::ALL.len()],
    success: AtomicU64,
    last_success_nanos: AtomicU64,
    late: AtomicU64,
    duplicates: AtomicU64,
    retransmits: AtomicU64,
    slots_missed: AtomicU64,
    hop_limit: AtomicU64,
    certificate_expiry: AtomicI64,
}

/// An upper bound of a bucket, and how it is written.
#[derive(Debug)]
struct Bound {
    nanos: u64,
    text: String,
}

fn bounds(seconds: &[f64]) -> Arc<[Bound]> {
    let bound = |seconds: &f64| Bound {
        nanos: Duration::from_secs_f64(*seconds).as_nanos() as u64,
        text: format!("{seconds}"),
    };
    seconds.iter().map(bound).collect()
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    [const { AtomicU64::new(0) }; N]
}

impl PathSeries {
    fn new(vantage: &Region, path: &Path, shape: Shape, bounds: Arc<[Bound]>) -> Self {
        let labels = format!(
            "vantage_region=\"{vantage}\",peer_region=\"{}\",target=\"{}\",probe=\"{}\"",
            path.peer, path.target, path.kind
        );
        Self {
            labels: labels.into(),
            kind: path.kind,
            shape,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            bounds,
            sum_nanos: AtomicU64::new(0),
            results: zeros(),
            phase_counts: zeros(),
            phase_nanos: zeros(),
            success: AtomicU64::new(ABSENT),
            last_success_nanos: AtomicU64::new(ABSENT),
            late: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            retransmits: AtomicU64::new(0),
            slots_missed: AtomicU64::new(0),
            hop_limit: AtomicU64::new(ABSENT),
            certificate_expiry: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether a probe that is configured so has exactly these series.
    pub fn fits(&self, probe: &ProbeConfig) -> bool {
        self.shape == Shape::of(probe)
    }

    /// A probe that began at `sent_at` (nanoseconds since 1970) succeeded.
    pub fn succeeded(&self, timings: &Timings, sent_at: u64) {
        let nanos = u64::try_from(timings.total.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| bound.nanos < nanos);
        add(&self.buckets[bucket], 1);
        add(&self.sum_nanos, nanos);
        add(&self.results[0], 1);
        for (phase, duration) in timings.phases.iter() {
            add(&self.phase_counts[phase as usize], 1);
            add(&self.phase_nanos[phase as usize], duration.as_nanos() as u64);
        }
        add(&self.retransmits, timings.syn_retransmits.into());
        if let Some(hops) = timings.hop_limit {
            self.hop_limit.store(hops.into(), Ordering::Relaxed);
        }
        if let Some(expiry) = timings.certificate_expiry {
            self.certificate_expiry.store(expiry, Ordering::Relaxed);
        }
        self.success.store(1, Ordering::Relaxed);
        self.last_success_nanos.store(sent_at, Ordering::Relaxed);
    }

    /// A probe failed. It has no latency.
    pub fn failed(&self, failure: Failure) {
        add(&self.results[1 + failure as usize], 1);
        self.success.store(0, Ordering::Relaxed);
    }

    /// Answers came after their deadlines.
    pub fn came_late(&self, count: u32) {
        add(&self.late, count.into());
    }

    /// Replies came more than once.
    pub fn came_twice(&self, count: u32) {
        add(&self.duplicates, count.into());
    }

    /// Slots passed without a probe.
    pub fn missed_slots(&self, count: u64) {
        add(&self.slots_missed, count);
    }
}

/// The gauges of one peer and one kind of probe, over all targets; bits of an f64, NaN where absent.
#[derive(Debug)]
pub struct PeerSeries {
    labels: Box<str>,
    quantiles: [AtomicU64; 3],
    loss: AtomicU64,
    jitter: AtomicU64,
}

/// The quantiles of [`PEER_LATENCY`], as labels.
const QUANTILES: [&str; 3] = ["0.5", "0.95", "0.99"];

impl PeerSeries {
    fn new(vantage: &Region, peer: &Region, kind: ProbeKind) -> Self {
        let labels = format!("vantage_region=\"{vantage}\",peer_region=\"{peer}\",probe=\"{kind}\"");
        let absent = || AtomicU64::new(f64::NAN.to_bits());
        Self { labels: labels.into(), quantiles: [absent(), absent(), absent()], loss: absent(), jitter: absent() }
    }

    /// Shows a summary, or that there is none.
    pub fn publish(&self, summary: Option<Summary>) {
        let set = |gauge: &AtomicU64, value: Option<f64>| {
            gauge.store(value.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
        };
        let latency = summary.and_then(|summary| summary.latency);
        let values = latency.map(|latency| [latency.p50, latency.p95, latency.p99]);
        for (n, gauge) in self.quantiles.iter().enumerate() {
            set(gauge, values.map(|values| values[n].as_secs_f64()));
        }
        set(&self.loss, summary.map(|summary| summary.loss));
        set(&self.jitter, latency.and_then(|latency| latency.jitter).map(|jitter| jitter.as_secs_f64()));
    }
}

/// Everything on `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    state_registry: Registry,
    start_delay: Histogram,
    clock_steps: IntCounter,
    reload_successful: IntGauge,
    reload_timestamp: Gauge,
    sources: [IntGauge; StampSource::ALL.len()],
    isolated: IntGauge,
    health: IntGauge,
    vantage: Region,
    bounds: Arc<[Bound]>,
    exposed: RwLock<Exposed>,
}

/// The series that a configuration makes; replaced as a whole when it changes.
#[derive(Debug, Clone, Default)]
pub struct Exposed {
    /// Of paths.
    pub paths: Arc<[Arc<PathSeries>]>,
    /// Of peers, by kind of probe.
    pub peers: Arc<[Arc<PeerSeries>]>,
    /// Of peers as a whole.
    pub regions: Arc<[Arc<RegionSeries>]>,
    /// Of bulletins.
    pub votes: Arc<[Arc<VoteSeries>]>,
    /// Of pushes to Alertmanagers: those of [`Metrics::pushes`] stay, whatever is given here.
    pub pushes: Arc<[Arc<PushSeries>]>,
    /// Of anchors.
    pub anchors: Arc<[Arc<AnchorSeries>]>,
}

#[cfg(test)]
impl Exposed {
    fn of_paths(paths: impl IntoIterator<Item = Arc<PathSeries>>) -> Self {
        Self { paths: paths.into_iter().collect(), ..Self::default() }
    }
}

impl Metrics {
    /// The metrics of a vantage region, with the latency buckets of its configuration.
    ///
    /// # Errors
    /// None in practice: the names are constants, each registered once.
    pub fn new(vantage: &Region, buckets: &[f64]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let state_registry = Registry::new();
        let opts = |family: Family| Opts::new(family.name, family.help).const_label("vantage_region", vantage.as_str());
        let delay = HistogramOpts::new(START_DELAY.name, START_DELAY.help)
            .const_label("vantage_region", vantage.as_str())
            .buckets(START_DELAY_BUCKETS.to_vec());
        let build = opts(BUILD_INFO)
            .const_label("version", env!("CARGO_PKG_VERSION"))
            .const_label("revision", option_env!("REGIONWATCH_REVISION").unwrap_or("unknown"));
        let build = IntGauge::with_opts(build)?;
        build.set(1);
        let source =
            |source: StampSource| IntGauge::with_opts(opts(TIMESTAMP_SOURCE).const_label("source", source.as_str()));
        let [kernel, userland] = StampSource::ALL;
        let metrics = Self {
            start_delay: Histogram::with_opts(delay)?,
            clock_steps: IntCounter::with_opts(opts(CLOCK_STEPS))?,
            reload_successful: IntGauge::with_opts(opts(CONFIG_RELOAD_SUCCESSFUL))?,
            reload_timestamp: Gauge::with_opts(opts(CONFIG_RELOAD_TIMESTAMP))?,
            sources: [source(kernel)?, source(userland)?],
            vantage: vantage.clone(),
            bounds: bounds(buckets),
            isolated: IntGauge::with_opts(opts(VANTAGE_ISOLATED))?,
            health: IntGauge::with_opts(opts(VANTAGE_HEALTH))?,
            exposed: RwLock::default(),
            registry,
            state_registry,
        };
        for registry in [&metrics.registry, &metrics.state_registry] {
            registry.register(Box::new(build.clone()))?;
            registry.register(Box::new(metrics.reload_successful.clone()))?;
            registry.register(Box::new(metrics.reload_timestamp.clone()))?;
            registry.register(Box::new(metrics.isolated.clone()))?;
            registry.register(Box::new(metrics.health.clone()))?;
        }
        metrics.registry.register(Box::new(metrics.clock_steps.clone()))?;
        metrics.registry.register(Box::new(metrics.start_delay.clone()))?;
        for source in &metrics.sources {
            metrics.registry.register(Box::new(source.clone()))?;
        }
        metrics.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// New series for a path; shown once they are [exposed](Self::expose).
    pub fn path(&self, path: &Path, probe: &ProbeConfig) -> Arc<PathSeries> {
        Arc::new(PathSeries::new(&self.vantage, path, Shape::of(probe), Arc::clone(&self.bounds)))
    }

    /// New series for a peer and a kind of probe; shown once they are [exposed](Self::expose).
    pub fn peer(&self, peer: &Region, kind: ProbeKind) -> Arc<PeerSeries> {
        Arc::new(PeerSeries::new(&self.vantage, peer, kind))
    }

    /// New series for a peer as a whole; shown once they are [exposed](Self::expose).
    pub fn region(&self, peer: &Region) -> Arc<RegionSeries> {
        Arc::new(RegionSeries::new(&self.vantage, peer))
    }

    /// New series for what the sidecar of a peer answers; shown once they are [exposed](Self::expose).
    pub fn votes(&self, peer: &Region) -> Arc<VoteSeries> {
        Arc::new(VoteSeries::new(&self.vantage, peer))
    }

    /// New series for an anchor; shown once they are [exposed](Self::expose).
    pub fn anchor(&self, name: &str) -> Arc<AnchorSeries> {
        Arc::new(AnchorSeries::new(&self.vantage, name))
    }

    /// Shows these series from now on, and no others.
    pub fn expose(&self, exposed: Exposed) {
        let mut shown = self.exposed.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Exposed { pushes: Arc::clone(&shown.pushes), ..exposed };
    }

    /// Shows the series of the pushes to these Alertmanagers, by their URLs, and no others. One that was shown
    /// before keeps its counters.
    pub fn pushes<'a>(&self, alertmanagers: impl IntoIterator<Item = &'a str>) -> Vec<Arc<PushSeries>> {
        let mut exposed = self.exposed.write().unwrap_or_else(PoisonError::into_inner);
        let series = |url| {
            let labels = PushSeries::labels(&self.vantage, url);
            let known = exposed.pushes.iter().find(|series| series.is(&labels)).cloned();
            known.unwrap_or_else(|| Arc::new(PushSeries::new(labels)))
        };
        let all: Vec<_> = alertmanagers.into_iter().map(series).collect();
        exposed.pushes = all.clone().into();
        all
    }

    /// How fit this vantage is to judge.
    pub fn vantage_is(&self, isolated: bool, health_score: u8) {
        self.isolated.set(isolated.into());
        self.health.set(health_score.into());
    }

    /// A probe started so much later than it was due.
    pub fn started_late_by(&self, delay: Duration) {
        self.start_delay.observe(delay.as_secs_f64());
    }

    /// A probe was dropped because the clock was set.
    pub fn clock_stepped(&self) {
        self.clock_steps.inc();
    }

    /// A probe was measured by this clock.
    pub fn measured_by(&self, source: StampSource) {
        for (gauge, each) in self.sources.iter().zip(StampSource::ALL) {
            gauge.set((each == source).into());
        }
    }

    /// A configuration was loaded, at this time since 1970.
    pub fn config_loaded(&self, at: Duration) {
        self.reload_successful.set(1);
        self.reload_timestamp.set(at.as_secs_f64());
    }

    /// A configuration was refused.
    pub fn config_refused(&self) {
        self.reload_successful.set(0);
    }

    /// A page to be written piece by piece.
    pub fn page(self: &Arc<Self>, collect: Collect) -> Page {
        let exposed = self.exposed.read().unwrap_or_else(PoisonError::into_inner).clone();
        Page::new(self.head(collect), exposed, collect)
    }

    /// The registry's part of the page.
    fn head(&self, collect: Collect) -> Vec<u8> {
        let registry = match collect {
            Collect::All => &self.registry,
            Collect::State => &self.state_registry,
        };
        let mut head = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut head) {
            tracing::error!("cannot write the process's own metrics: {error}");
        }
        head
    }
}

/// The families as a Markdown table, as it stands in the README.
pub fn families_table() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for family in FAMILIES {
        let scope = scope(family);
        let labels = [scope, family.labels].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let _ = writeln!(table, "| `{}` | {} | {} | {} |", family.name, family.kind, labels.join(", "), family.help);
    }
    table
}

fn scope(family: &Family) -> &'static str {
    match family.name {
        _ if [&PEER_LATENCY, &PEER_LOSS, &PEER_JITTER].contains(&family) => "peer_region, probe",
        "regionwatch_incidents" => "peer_region",
        name if name.starts_with("regionwatch_peer_") || name.starts_with("regionwatch_candidate_") => "peer_region",
        "regionwatch_probe_start_delay_seconds" => "",
        "regionwatch_votes_received_total" => "peer_region",
        name if name.starts_with("regionwatch_probe")
            || name.starts_with("regionwatch_tcp_")
            || name.starts_with("regionwatch_tls_") =>
        {
            "peer_region, target, probe"
        }
        _ => "",
    }
}
