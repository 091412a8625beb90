//! The bulletins of the peers, and the own one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, error};

use crate::{
    config::Config,
    metrics::{Metrics, VoteSeries},
    model::{ProbeKind, Region, Reply},
    quorum::{Bulletin, Keys, PeerReport, Sequence, View, Views, open},
    vantage::{Now, Standing, Vantage, proposed_id},
};

/// What is heard from the peers' sidecars, and told to them.
pub(super) struct Votes {
    /// By it peers know one start of this process from another.
    boot: u64,
    seq: u64,
    keys: Option<Keys>,
    metrics: Arc<Metrics>,
    /// The peers with a sidecar.
    voices: HashMap<Region, Voice>,
}

struct Voice {
    sequence: Sequence,
    series: Arc<VoteSeries>,
}

impl Votes {
    pub(super) fn new(keys: Option<Keys>, metrics: Arc<Metrics>) -> Self {
        Self { boot: rand::random(), seq: 0, keys, metrics, voices: HashMap::new() }
    }

    /// Listens to the sidecars of this configuration from now on, and to no others. Returns their series.
    pub(super) fn listen(&mut self, config: &Config) -> Vec<Arc<VoteSeries>> {
        let mut before = std::mem::take(&mut self.voices);
        let sidecars = config.paths().filter(|(path, _)| path.kind == ProbeKind::Sidecar);
        let peers: BTreeSet<Region> = sidecars.map(|(path, _)| path.peer).collect();
        let mut order = Vec::with_capacity(peers.len());
        for peer in peers {
            let voice = before
                .remove(&peer)
                .unwrap_or_else(|| Voice { sequence: Sequence::default(), series: self.metrics.votes(&peer) });
            order.push(Arc::clone(&voice.series));
            self.voices.insert(peer, voice);
        }
        order
    }

    /// Takes a reply; `None` where it does not count, or is that of a peer that is not listened to any more.
    pub(super) fn hear(&mut self, reply: &Reply) -> Option<Bulletin> {
        let voice = self.voices.get_mut(&reply.peer)?;
        let result = open(reply, self.keys.as_ref()).and_then(|bulletin| {
            voice.sequence.admit(&bulletin)?;
            Ok(bulletin)
        });
        voice.series.received(&result);
        if let Err(refusal) = &result {
            debug!(peer = %reply.peer, result = refusal.as_str(), "a bulletin does not count");
        }
        result.ok()
    }

    /// The next bulletin of this vantage.
    pub(super) fn publish(&mut self, region: &Region, vantage: &Vantage, now: Now) -> Option<Bytes> {
        self.seq += 1;
        let reports = vantage.standings().map(|standing| report(&standing, now)).collect();
        let bulletin = Bulletin::new(region.clone(), (self.boot, self.seq), vantage.is_isolated(), reports, Vec::new());
        match bulletin.and_then(|bulletin| bulletin.encode()) {
            Ok(bytes) => Some(bytes),
            Err(invalid) => {
                error!("this vantage's bulletin {invalid}");
                None
            }
        }
    }
}

fn report(standing: &Standing<'_>, now: Now) -> PeerReport {
    let age = |at: Instant| {
        let millis = now.instant.saturating_duration_since(at).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).min(Bulletin::MAX_AGE_MS)
    };
    let onset = standing.onset.map(|onset| now.unix_at(onset).min(Bulletin::MAX_TIME));
    let (onset, incident) = match (standing.incident, onset) {
        (Some(episode), _) => (Some(episode.onset), Some(Arc::clone(episode.id))),
        (None, Some(onset)) => (Some(onset), Some(proposed_id(standing.region, onset))),
        (None, None) => (None, None),
    };
    PeerReport {
        region: standing.region.clone(),
        state: standing.state,
        since_ms: age(standing.since),
        vote: standing.vote,
        last_answer_age_ms: standing.good_at.map(age),
        onset,
        incident,
    }
}

/// What a bulletin says, by our own clock. What it calls so long ago was so long before it was written, which was after
/// it was asked for.
pub(super) fn views(bulletin: &Bulletin, asked_at: Instant) -> Views {
    let view = |report: &PeerReport| View {
        vote: report.vote,
        good_at: report.last_answer_age_ms.and_then(|age| asked_at.checked_sub(Duration::from_millis(age))),
        incident: report.onset.zip(report.incident.clone()),
    };
    Views {
        isolated: bulletin.isolated(),
        peers: bulletin.peers().iter().map(|report| (report.region.clone(), view(report))).collect(),
    }
}
