//! The bulletins of the peers, and the own one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use tracing::{debug, error};

use crate::{
    config::Config,
    metrics::{Metrics, VoteSeries},
    model::{ProbeKind, Region, Reply},
    quorum::{Bulletin, Keys, Sequence, open},
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

    /// Listens to the sidecars of this configuration from now on, and to no others.
    pub(super) fn listen(&mut self, config: &Config) {
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
        self.metrics.expose_votes(order);
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
    pub(super) fn publish(&mut self, vantage: &Region) -> Option<Bytes> {
        self.seq += 1;
        let bulletin = Bulletin::new(vantage.clone(), (self.boot, self.seq), false, Vec::new(), Vec::new());
        match bulletin.and_then(|bulletin| bulletin.encode()) {
            Ok(bytes) => Some(bytes),
            Err(invalid) => {
                error!("this vantage's bulletin {invalid}");
                None
            }
        }
    }
}
