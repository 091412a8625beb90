//! Names, help, buckets and values of everything on `/metrics`; the only module that names `prometheus`.
//!
//! The crate's registry holds what there is once in a process. The series of paths and peers are kept and
//! written here, for two reasons: the crate's vectors tell label sets apart by a hash of their values joined
//! without a separator, so that two paths can share a series; and a page of a hundred thousand series must cost
//! milliseconds, which it does when the labels of a path are rendered once.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::{Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, TextEncoder};

use crate::{
    config::{Config, Peer},
    model::{Kind, Path, Region, Shape, StampSource},
    probe,
    window::Summary,
};

mod families;
mod page;
mod path;
mod process;
mod push;
mod region;
mod votes;

pub use families::*;
pub use page::{Collect, Page};
pub use path::PathSeries;
use path::{ABSENT, Bound, add, bounds, zeros};
use process::Process;
pub use push::{PushResult, PushSeries};
pub use region::{AnchorSeries, Candidacy, RegionSeries};
pub use votes::VoteSeries;

/// Upper bounds of [`START_DELAY`], in seconds: timers have a resolution of 1 ms, a throttle period is 100 ms.
const START_DELAY_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// About how many series a configuration makes on `/metrics`.
pub fn series_count(config: &Config) -> usize {
    let paths: usize = config.paths().map(|(_, probe)| path::series(probe.shape(), config.buckets.len())).sum();
    let kinds = |peer: &Peer| probe::KINDS.iter().filter(|kind| has_kind(peer, **kind)).count();
    let votes = |peer: &Peer| if has_kind(peer, probe::SIDECAR) { VoteSeries::RESULTS.len() } else { 0 };
    let peers: usize = config.peers.iter().map(|peer| 5 * kinds(peer) + votes(peer) + RegionSeries::series()).sum();
    // The process's own.
    let own = START_DELAY_BUCKETS.len() + 3 + 8 + 9 + config.anchors.len();
    paths + peers + config.alertmanagers.len() * PushSeries::COUNT + own
}

fn has_kind(peer: &Peer, kind: Kind) -> bool {
    peer.targets.iter().flat_map(|target| &target.probes).any(|probe| probe.kind() == kind)
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
    fn new(vantage: &Region, peer: &Region, kind: Kind) -> Self {
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
        metrics.registry.register(Box::new(Process::new()))?;
        Ok(metrics)
    }

    /// New series for a path; shown once they are [exposed](Self::expose).
    pub fn path(&self, path: &Path, shape: Shape) -> Arc<PathSeries> {
        Arc::new(PathSeries::new(&self.vantage, path, shape, Arc::clone(&self.bounds)))
    }

    /// New series for a peer and a kind of probe; shown once they are [exposed](Self::expose).
    pub fn peer(&self, peer: &Region, kind: Kind) -> Arc<PeerSeries> {
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
