//! Pushes all incidents to every configured Alertmanager, with a pusher and a kept connection for each, so that none
//! waits for another.
//!
//! A push carries the current set of incidents, not a stream of changes, and a pusher always takes the newest set.
//! So memory is bounded, nothing is lost while an Alertmanager is away, and there is no order to keep. Alertmanager
//! expects of its clients what Prometheus does: send every alert again every 10 s, and let it expire after 5 minutes.

mod delivery;
#[doc(hidden)]
pub mod hostile;
mod message;
mod pusher;
mod restore;
mod transport;

use std::sync::Arc;

use http::HeaderMap;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

pub use self::restore::Restored;
use self::{message::AlertSource, pusher::Pusher};
use crate::{
    config::{Alertmanager, HttpUrl, UrlTemplate},
    metrics::Metrics,
    model::{ConstantLabels, Incident, Region, UnixMillis},
    net::{ApiClient, ClientError, Resolver, TlsContext},
    signing::PublicKeys,
    status::AlertmanagerView,
};

/// Restored incidents that may wait to be received; the queries wait meanwhile.
const RESTORED: usize = 64;

/// The vantage and its Alertmanagers.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// This vantage.
    pub vantage: &'a Region,
    /// Labels of all its alerts.
    pub labels: &'a ConstantLabels,
    /// The keys that an order must be signed with to be restored.
    pub public_keys: &'a PublicKeys,
    /// The Alertmanagers; their URLs differ.
    pub alertmanagers: &'a [Alertmanager],
    /// The runbooks that alerts link to.
    pub runbook_url: &'a UrlTemplate,
    /// The dashboard that alerts link to.
    pub dashboard_url: &'a UrlTemplate,
    /// The URL of this sidecar's status page; the alerts' `generatorURL`.
    pub external_url: Option<&'a HttpUrl>,
    /// The wall clock, by which incidents have their times; it may be wrong.
    pub clock: fn() -> UnixMillis,
    /// When all peers were evaluated last; set after what follows was published. Nothing is pushed if it is older than 5 s.
    pub evaluated: &'a watch::Receiver<Instant>,
}

/// Pushes to the Alertmanagers until dropped. Its alerts then expire.
#[derive(Debug)]
pub struct Notifier {
    incidents: watch::Sender<Arc<[Incident]>>,
    restored: mpsc::Receiver<Restored>,
    /// What is known of each Alertmanager, in the order of the configuration.
    views: Vec<watch::Receiver<AlertmanagerView>>,
    /// Aborted when dropped.
    _tasks: JoinSet<()>,
}

impl Notifier {
    /// Starts a pusher for each Alertmanager, which sends the heartbeat at once, and a query for the incidents that
    /// it holds from before a restart.
    ///
    /// # Errors
    /// A URL whose host TLS cannot verify, or a file of TLS that cannot be read.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(
        setup: Setup<'_>,
        resolver: &Resolver,
        tls: &TlsContext,
        metrics: &Metrics,
    ) -> Result<Self, ClientError> {
        let urls: Vec<Arc<str>> = setup.alertmanagers.iter().map(|to| to.url.to_string().into()).collect();
        let source = Arc::new(AlertSource {
            vantage: setup.vantage.clone(),
            constant: setup.labels.clone(),
            external_url: setup.external_url.map(ToString::to_string),
            runbook_url: setup.runbook_url.clone(),
            dashboard_url: setup.dashboard_url.clone(),
            since: (setup.clock)(),
            clock: setup.clock,
        });
        let clients = setup.alertmanagers.iter().map(|Alertmanager { url, access }| {
            let headers: HeaderMap = access.headers.iter().cloned().collect();
            let client = || ApiClient::new(resolver, url, headers.clone(), &access.tls, tls);
            // Two, so that a query under way delays no alert.
            Ok((client()?, client()?))
        });
        let clients = clients.collect::<Result<Vec<_>, ClientError>>()?;
        let all_series = metrics.pushes(urls.iter().map(|url| &**url));
        let (incidents, _) = watch::channel(Arc::from([]));
        let (restored_tx, restored) = mpsc::channel(RESTORED);
        let keys = Arc::new(setup.public_keys.clone());
        let (mut tasks, mut views) = (JoinSet::new(), Vec::new());
        for ((url, series), (transport, queries)) in urls.into_iter().zip(all_series).zip(clients) {
            let (from, keys) = (Arc::clone(&source), Arc::clone(&keys));
            tasks.spawn(restore::query(queries, Arc::clone(&url), from, keys, restored_tx.clone()));
            let evaluated = setup.evaluated.clone();
            let view = watch::Sender::new(AlertmanagerView::new(&url));
            views.push(view.subscribe());
            let pusher = Pusher { transport, url, series, source: Arc::clone(&source), evaluated, view };
            tasks.spawn(pusher.run(incidents.subscribe()));
        }
        Ok(Self { incidents, restored, views, _tasks: tasks })
    }

    /// What is known of each Alertmanager now.
    pub fn views(&self) -> Vec<AlertmanagerView> {
        self.views.iter().map(|view| view.borrow().clone()).collect()
    }

    /// Replaces the set of incidents and pushes it at once where it differs. An incident that is missing is not sent
    /// again and expires after 5 minutes: one that is over must stay in the set with its time of
    /// [`resolved`](Incident::resolved) for that long. Signatures that were only renewed are sent with the next push.
    /// Never waits.
    pub fn publish(&self, incidents: Vec<Incident>) {
        self.incidents.send_if_modified(|current| {
            let same = |(before, after): (&Incident, &Incident)| before.reports_same(after);
            let changed = current.len() != incidents.len() || !current.iter().zip(&incidents).all(same);
            *current = incidents.into();
            changed
        });
    }

    /// The incidents from before a restart, once for each Alertmanager that holds them. Ends when every Alertmanager
    /// has answered once. One that was away may answer late, after the same incident was published again: what is
    /// published counts.
    pub const fn restored(&mut self) -> &mut mpsc::Receiver<Restored> {
        &mut self.restored
    }
}
