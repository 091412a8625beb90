//! Names, help, buckets and values of everything on `/metrics`; the only module that names `prometheus`.
//!
//! That crate provides the metrics of the process. All others are kept and written here, for two reasons: the crate's
//! vectors tell label sets apart by a hash of their values joined without a separator, so that two paths can share a
//! series; and a page of a hundred thousand series must cost milliseconds, which it does when the labels of a path are
//! rendered once.
//!
//! A metric is one entry in [`FAMILIES`], and a counter or gauge in the series that it is about.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use crate::{
    config::{Config, ProbeConfig},
    model::{ConstantLabels, Kind, Path, Region, Shape, TargetName},
};

mod anchor;
mod database;
mod families;
mod page;
mod path;
mod peer;
mod process;
mod push;
mod region;
mod samples;
mod value;
mod vantage;
mod votes;

pub use self::{
    anchor::AnchorSeries,
    database::DatabaseSeries,
    families::{FAMILIES, Family, families_table},
    page::{Collect, Exposed, Page},
    path::PathSeries,
    peer::PeerSeries,
    push::PushSeries,
    region::{Candidacy, RegionSeries},
    vantage::VantageSeries,
    votes::VoteSeries,
};
use self::{
    samples::{InstanceLabels, Series},
    value::{Bound, bounds},
};

/// How many series a configuration makes on `/metrics`, without those of the process, once everything has a value.
pub fn series_count(config: &Config) -> usize {
    let metrics = Metrics::of(config);
    let paths = config.paths().map(|(path, probe)| metrics.path_of(&path, probe)).collect();
    let (mut peers, mut regions, mut votes) = (Vec::new(), Vec::new(), Vec::new());
    for peer in &config.peers {
        let mut kinds: Vec<_> =
            peer.targets.iter().flat_map(|target| &target.probes).map(|probe| probe.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        votes.extend(kinds.iter().any(|kind| kind.carries_votes()).then(|| metrics.votes(&peer.region)));
        peers.extend(kinds.into_iter().map(|kind| metrics.peer(&peer.region, kind)));
        regions.push(metrics.region(&peer.region));
    }
    votes.extend(config.other_witnesses().map(|witness| metrics.votes(&witness.name)));
    let urls: Vec<_> = config.alertmanagers.iter().map(|to| to.url.to_string()).collect();
    let pushes = metrics.pushes(urls.iter().map(String::as_str)).into();
    let anchors = config.anchors.iter().map(|anchor| metrics.anchor(&anchor.host.to_string())).collect();
    let servers =
        config.databases.iter().flat_map(|database| database.servers.iter().map(move |server| (database, server)));
    let databases =
        servers.map(|(database, server)| metrics.database(&database.name, &server.region, database.rpo)).collect();
    let (peers, regions, votes) = (peers.into(), regions.into(), votes.into());
    let exposed = Exposed { paths, peers, regions, votes, pushes, anchors, databases };
    exposed.count(&metrics.vantage)
}

/// Everything on `/metrics`.
///
/// ```
/// use regionwatch::{
///     metrics::{Collect, Exposed, Metrics},
///     model::Region,
/// };
///
/// let metrics = Metrics::new(&Region::new("eu-west-1")?, &[0.01, 0.1]);
/// let peer = metrics.region(&Region::new("us-east-1")?);
/// peer.set_distance(5_480_000.0, 0.0548);
/// metrics.expose(Exposed { regions: [peer].into(), ..Exposed::default() });
///
/// let (mut page, mut text) = (metrics.page(Collect::All), Vec::new());
/// while page.next(&mut text) {}
/// let line = r#"regionwatch_peer_distance_meters{vantage_region="eu-west-1",peer_region="us-east-1"} 5480000"#;
/// assert!(String::from_utf8(text)?.contains(line));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Metrics {
    constant: ConstantLabels,
    instance: InstanceLabels,
    vantage: Arc<VantageSeries>,
    bounds: Arc<[Bound]>,
    exposed: RwLock<Exposed>,
}

impl Metrics {
    /// The metrics of a vantage region, with the upper bounds of the latency buckets in seconds.
    pub fn new(region: &Region, buckets: &[f64]) -> Self {
        Self::labelled(region, ConstantLabels::default(), buckets)
    }

    /// The metrics of the vantage region of a configuration.
    pub fn of(config: &Config) -> Self {
        Self::labelled(&config.region, config.constant_labels(), &config.buckets)
    }

    /// The metrics of a vantage region, each with these labels.
    fn labelled(region: &Region, constant: ConstantLabels, buckets: &[f64]) -> Self {
        let instance = InstanceLabels::new(region, &constant);
        Self {
            vantage: Arc::new(VantageSeries::new(&instance)),
            constant,
            instance,
            bounds: bounds(buckets),
            exposed: RwLock::default(),
        }
    }

    /// The series of this instance.
    pub fn vantage(&self) -> &VantageSeries {
        &self.vantage
    }

    /// New series for a path that is probed so; on the page once they are [exposed](Self::expose).
    pub fn path_of(&self, path: &Path, probe: &ProbeConfig) -> Arc<PathSeries> {
        let series = PathSeries::new(&self.instance, path, probe.shape(), Arc::clone(&self.bounds));
        Arc::new(series.describing(probe))
    }

    /// New series for a path; on the page once they are [exposed](Self::expose).
    pub fn path(&self, path: &Path, shape: Shape) -> Arc<PathSeries> {
        Arc::new(PathSeries::new(&self.instance, path, shape, Arc::clone(&self.bounds)))
    }

    /// New series for a peer and a kind of probe; on the page once they are [exposed](Self::expose).
    pub fn peer(&self, peer: &Region, kind: Kind) -> Arc<PeerSeries> {
        Arc::new(PeerSeries::new(&self.instance, peer, kind))
    }

    /// New series for a peer as a whole; on the page once they are [exposed](Self::expose).
    pub fn region(&self, peer: &Region) -> Arc<RegionSeries> {
        Arc::new(RegionSeries::new(&self.instance, peer))
    }

    /// New series for the vote messages from a peer; on the page once they are [exposed](Self::expose).
    pub fn votes(&self, peer: &Region) -> Arc<VoteSeries> {
        Arc::new(VoteSeries::new(&self.instance, peer))
    }

    /// New series for a server of a database; on the page once they are [exposed](Self::expose).
    pub fn database(&self, database: &TargetName, region: &Region, rpo: Duration) -> Arc<DatabaseSeries> {
        Arc::new(DatabaseSeries::new(&self.instance, database, region, rpo, &self.bounds))
    }

    /// New series for an anchor; on the page once they are [exposed](Self::expose).
    pub fn anchor(&self, name: &str) -> Arc<AnchorSeries> {
        Arc::new(AnchorSeries::new(&self.instance, name))
    }

    /// Exposes these series from now on, and no others.
    pub fn expose(&self, series: Exposed) {
        let mut exposed = self.exposed.write().unwrap_or_else(PoisonError::into_inner);
        *exposed = Exposed { pushes: Arc::clone(&exposed.pushes), ..series };
    }

    /// Exposes the series of the pushes to these Alertmanagers, by their URLs, and no others. Those that were exposed
    /// before keep their counters.
    pub fn pushes<'a>(&self, alertmanagers: impl IntoIterator<Item = &'a str>) -> Vec<Arc<PushSeries>> {
        let mut exposed = self.exposed.write().unwrap_or_else(PoisonError::into_inner);
        let series = |url| {
            let labels = PushSeries::labels_of(&self.instance, url);
            let known = exposed.pushes.iter().find(|series| series.labels() == &*labels).cloned();
            known.unwrap_or_else(|| Arc::new(PushSeries::new(labels)))
        };
        let all: Vec<_> = alertmanagers.into_iter().map(series).collect();
        exposed.pushes = all.clone().into();
        all
    }

    /// A page to be written piece by piece.
    pub fn page(&self, collect: Collect) -> Page {
        let exposed = self.exposed.read().unwrap_or_else(PoisonError::into_inner).clone();
        let head = if collect == Collect::State { Vec::new() } else { process::text(&self.constant) };
        Page::new(head, Arc::clone(&self.vantage), exposed, collect)
    }
}
