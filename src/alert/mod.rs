//! Tells every configured Alertmanager, at once and again and again, what is the case: one worker and one kept
//! connection each, so that none waits for another.
//!
//! What is told is a state and not a stream: the whole set of incidents, of which a worker always takes the newest.
//! So memory is bounded, nothing is lost while an Alertmanager is away, and there is no order to keep. These are
//! the duties of Prometheus towards Alertmanager: tell again every 10 s, let an alert live for 5 minutes.

mod delivery;
mod message;
mod pusher;
mod restore;

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    config::HttpUrl,
    metrics::Metrics,
    model::{Incident, Region, UnixMillis},
    probe::{HttpClient, Names, TlsContext, TlsError},
    wire::Stamp,
};
use message::Speaker;
use pusher::Worker;

/// Incidents that may wait to be adopted; the workers that found them wait meanwhile.
const ADOPTED: usize = 64;

/// Who tells, and whom.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// This vantage.
    pub vantage: &'a Region,
    /// The base URLs of the Alertmanagers.
    pub alertmanagers: &'a [HttpUrl],
    /// Where people find this sidecar; the alerts' `generatorURL`.
    pub external_url: Option<&'a HttpUrl>,
}

/// An incident that an Alertmanager still holds from before a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopted {
    /// The Alertmanager that told.
    pub alertmanager: Arc<str>,
    /// The incident as it was last told. Of the votes, only `down`, `voters` and whether the quorum was reached
    /// are known.
    pub incident: Incident,
}

/// Tells the Alertmanagers; ends its work when dropped, and leaves what it told to expire.
#[derive(Debug)]
pub struct Notifier {
    incidents: watch::Sender<Arc<[Incident]>>,
    adopted: mpsc::Receiver<Adopted>,
    /// Ends with the notifier.
    _tasks: JoinSet<()>,
}

impl Notifier {
    /// Starts a worker for each Alertmanager, which tells it at once that this vantage is alive, and asks it what
    /// was told before a restart.
    ///
    /// # Errors
    /// A URL whose host TLS cannot verify.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(setup: Setup<'_>, names: &Names, tls: &TlsContext, metrics: &Metrics) -> Result<Self, TlsError> {
        let urls: Vec<Arc<str>> = setup.alertmanagers.iter().map(|url| url.to_string().into()).collect();
        let speaker = Arc::new(Speaker {
            vantage: setup.vantage.clone(),
            external_url: setup.external_url.map(ToString::to_string),
            since: UnixMillis(Stamp::now().unix_nanos() / 1_000_000),
        });
        let clients = setup.alertmanagers.iter().map(|url| {
            // Two, so that a question under way delays no alert.
            Ok((HttpClient::new(names, url, tls)?, HttpClient::new(names, url, tls)?))
        });
        let clients = clients.collect::<Result<Vec<_>, TlsError>>()?;
        let all_series = metrics.pushes(urls.iter().map(|url| &**url));
        let (incidents, _) = watch::channel(Arc::from([]));
        let (adopts, adopted) = mpsc::channel(ADOPTED);
        let mut tasks = JoinSet::new();
        for ((url, series), (pushes, asks)) in urls.into_iter().zip(all_series).zip(clients) {
            tasks.spawn(pusher::ask(asks, Arc::clone(&url), adopts.clone()));
            let worker = Worker { transport: pushes, url, series, speaker: Arc::clone(&speaker) };
            tasks.spawn(worker.run(incidents.subscribe()));
        }
        Ok(Self { incidents, adopted, _tasks: tasks })
    }

    /// Replaces the set of incidents that is told. What differs from before is told at once; what is missing is
    /// not told again and expires after 5 minutes: an incident that is over must stay in the set with its time of
    /// [`resolved`](Incident::resolved) for that long. Never waits.
    pub fn publish(&self, incidents: Vec<Incident>) {
        self.incidents.send_if_modified(|current| {
            let changed = **current != *incidents;
            if changed {
                *current = incidents.into();
            }
            changed
        });
    }

    /// The incidents from before a restart, each as often as there are Alertmanagers that hold it. Ends when every
    /// Alertmanager has answered once; one that was away may answer late, when the same incident has been
    /// published anew: what is published counts.
    pub const fn adopted(&mut self) -> &mut mpsc::Receiver<Adopted> {
        &mut self.adopted
    }
}
