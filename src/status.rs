//! What the status page tells, as plain data: copied by the thread that probes, formatted by the one that serves.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    config::Config,
    decision::{IsolationReason, ranking::RankedRegion, votes::VoteStatus},
    model::{Failure, Incident, Kind, Path, PeerState, Region, Tally, UnixMillis, Vote},
    window::{Record, Summary, Trace},
};

/// Everything at one moment.
#[derive(Debug, Clone)]
pub struct Overview {
    /// When it was made.
    pub at: UnixMillis,
    /// The same moment, by which the traces are read.
    pub instant: Instant,
    /// The configuration in force, by which everything was measured.
    pub config: Arc<Config>,
    /// Why this vantage is isolated, where it is.
    pub isolation_reason: Option<IsolationReason>,
    /// 0 where this vantage starts its probes in time, up to 7.
    pub health_score: u8,
    /// Whether each anchor answers, in the order of the configuration; `None` where it never did.
    pub anchors: Vec<Option<bool>>,
    /// The peers, in the order of the configuration.
    pub peers: Vec<PeerView>,
    /// The ranking: by rank, then those that cannot take over by name.
    pub ranking: Vec<RankedRegion>,
    /// What Alertmanager is being told, ended ones too as long as their end is told.
    pub incidents: Vec<Incident>,
}

impl Overview {
    /// The peer of this name.
    pub fn peer(&self, region: &str) -> Option<&PeerView> {
        self.peers.iter().find(|peer| peer.region.as_str() == region)
    }

    /// What is known of this path.
    pub fn path(&self, path: &Path) -> Option<&PathView> {
        self.peer(path.peer.as_str())?.paths.iter().find(|view| view.path == *path)
    }
}

/// One peer region.
#[derive(Debug, Clone)]
pub struct PeerView {
    /// Its name.
    pub region: Region,
    /// What this vantage thinks of it.
    pub state: PeerState,
    /// Since when.
    pub since: UnixMillis,
    /// The votes on it.
    pub tally: Tally,
    /// What this vantage votes.
    pub vote: Vote,
    /// What each other vantage has said last.
    pub said: Vec<VoteStatus>,
    /// When the newest probe was sent that shows it to be of use.
    pub good_at: Option<UnixMillis>,
    /// Its kinds of probes.
    pub kinds: Vec<KindView>,
    /// Its paths, by name.
    pub paths: Vec<PathView>,
}

/// All targets of a peer for one kind of probe.
#[derive(Debug, Clone, Copy)]
pub struct KindView {
    /// The kind.
    pub kind: Kind,
    /// What they say over the window; `None` before the first probe.
    pub summary: Option<Summary>,
    /// Whether any of them was ever answered: what never was is filtered, or misconfigured.
    pub answered: bool,
}

/// One path.
#[derive(Debug, Clone)]
pub struct PathView {
    /// What it is.
    pub path: Path,
    /// Its last minutes.
    pub trace: Trace,
    /// Its last probe; with those before it that failed alike.
    pub last: Option<Record>,
    /// Its last probe that failed, with those before it that failed alike.
    pub failed: Option<Record>,
}

impl PathView {
    /// Why its last failed probe failed, and when it was sent.
    pub fn last_failure(&self) -> Option<(Failure, UnixMillis)> {
        let Record { last_sent_at, outcome, .. } = self.failed?;
        Some((outcome.err()?, UnixMillis(last_sent_at / 1_000_000)))
    }
}
