//! The bulletins of the peers, and the own one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::{
    config::{Config, Secret},
    decision::ranking::RankedRegion,
    decision::votes::{Keys, PeerVote, PeerVoteEntry, RankEntry, RejectionLog, Sequence, VoteMessage, VoteSet, verify},
    decision::{Now, PeerStatus},
    engine::Engine,
    metrics::{Metrics, VoteSeries},
    model::{Candidate, Region, VoteResponse},
    server::EncodedVotes,
};

/// What is heard from the peers' sidecars, and told to them.
pub(super) struct Votes {
    /// By it peers know one start of this process from another.
    incarnation: u64,
    sequence: u64,
    keys: Option<Keys>,
    metrics: Arc<Metrics>,
    /// The last message could not be made.
    cannot_tell: bool,
    /// The peers with a sidecar.
    voters: HashMap<Region, VoterState>,
}

struct VoterState {
    sequence: Sequence,
    rejections: RejectionLog,
    series: Arc<VoteSeries>,
}

impl Votes {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            incarnation: rand::random(),
            sequence: 0,
            keys: None,
            metrics,
            cannot_tell: false,
            voters: HashMap::new(),
        }
    }

    /// Listens to the sidecars of this configuration from now on, and to no others. Returns their series.
    pub(super) fn listen(&mut self, config: &Config) -> Vec<Arc<VoteSeries>> {
        let secrets = config.votes.iter().flat_map(|votes| &votes.keys).map(Secret::as_bytes).collect::<Vec<_>>();
        // No key at all is not a weak one; the lengths of the others were checked when they were read.
        self.keys = Keys::new(&secrets).ok();
        let mut before = std::mem::take(&mut self.voters);
        let sidecars = config.paths().filter(|(path, _)| path.kind.carries_votes());
        let peers: BTreeSet<Region> = sidecars.map(|(path, _)| path.peer).collect();
        let mut order = Vec::with_capacity(peers.len());
        for peer in peers {
            let voter = before.remove(&peer).unwrap_or_else(|| VoterState {
                sequence: Sequence::default(),
                rejections: RejectionLog::default(),
                series: self.metrics.votes(&peer),
            });
            order.push(Arc::clone(&voter.series));
            self.voters.insert(peer, voter);
        }
        order
    }

    /// Takes a reply; `None` where it does not count, or is that of a peer that is not listened to any more.
    pub(super) fn hear(&mut self, reply: &VoteResponse) -> Option<VoteMessage> {
        let voter = self.voters.get_mut(&reply.peer)?;
        let result = verify(reply, self.keys.as_ref()).and_then(|message| {
            voter.sequence.accept(&message)?;
            Ok(message)
        });
        voter.series.count(&result);
        let peer = &reply.peer;
        match (result.as_ref().err(), voter.rejections.should_log(result.as_ref().err().copied())) {
            (Some(reason), true) => {
                let remedy = reason.remedy(self.keys.is_some());
                warn!(%peer, "rejecting the votes of {peer}: {}; {remedy}", reason.as_str());
            }
            (Some(reason), false) => debug!(%peer, result = reason.as_str(), "vote message rejected"),
            (None, true) => info!(%peer, "accepting the votes of {peer} again"),
            (None, false) => {}
        }
        result.ok()
    }

    /// The next message of this vantage.
    pub(super) fn publish(&mut self, region: &Region, engine: &Engine, now: Now) -> Option<EncodedVotes> {
        self.sequence += 1;
        let vantage = engine.vantage();
        let reports = vantage.peers().map(|standing| report(&standing, now)).collect();
        let placings = engine.ranking().regions().iter().map(placing).collect();
        let message = VoteMessage::new(
            region.clone(),
            (self.incarnation, self.sequence),
            vantage.is_isolated(),
            reports,
            placings,
        );
        match message.and_then(|message| message.encode()) {
            Ok(body) => {
                self.cannot_tell = false;
                Some(EncodedVotes { body, keys: self.keys.clone() })
            }
            // Anybody may ask, and as often as they like.
            Err(invalid) => {
                if !std::mem::replace(&mut self.cannot_tell, true) {
                    error!("this vantage's vote message {invalid}");
                }
                None
            }
        }
    }
}

fn report(standing: &PeerStatus<'_>, now: Now) -> PeerVoteEntry {
    let age = |at: Instant| {
        let millis = now.instant.saturating_duration_since(at).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).min(VoteMessage::MAX_AGE_MS)
    };
    let known = standing.incident.map(|incident| (incident.onset, Arc::clone(incident.id)));
    let (onset, incident) = known.or_else(|| standing.incident_id_candidate.cloned()).unzip();
    PeerVoteEntry {
        region: standing.region.clone(),
        state: standing.state,
        since_ms: age(standing.since),
        vote: standing.vote,
        last_answer_age_ms: standing.good_at.map(age),
        onset: onset.map(|onset| onset.min(VoteMessage::MAX_TIME)),
        incident,
    }
}

fn placing(row: &RankedRegion) -> RankEntry {
    RankEntry {
        region: row.region.clone(),
        rank: row.rank,
        score: row.score.map(|score| score.min(VoteMessage::MAX_SCORE)),
        eligible: row.eligible(),
        reasons: row.reasons.clone(),
    }
}

/// Who could replace the vantage, by its own ranking.
pub(super) fn candidates(message: &VoteMessage) -> Vec<Candidate> {
    let ranked = message.ranking().iter().filter_map(|placing| Some((placing, placing.rank?)));
    ranked.map(|(placing, rank)| Candidate { region: placing.region.clone(), rank, score: placing.score }).collect()
}

/// What a message says, by our own clock. What it calls so long ago was so long before it was written, which was after
/// it was asked for.
pub(super) fn views(message: &VoteMessage, asked_at: Instant) -> VoteSet {
    let view = |report: &PeerVoteEntry| PeerVote {
        vote: report.vote,
        good_at: report.last_answer_age_ms.and_then(|age| asked_at.checked_sub(Duration::from_millis(age))),
        incident: report.onset.zip(report.incident.clone()),
    };
    VoteSet {
        isolated: message.isolated(),
        peers: message.peers().iter().map(|report| (report.region.clone(), view(report))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{
        metrics::{Collect, Exposed},
        model::{Nonce, UnixMillis},
    };

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    const SECRET: &str = "a secret of all regions";

    fn votes() -> Votes {
        Votes::new(Arc::new(Metrics::new(&region("here"), &[0.1])))
    }

    /// Peers of these names, each with a sidecar, and one without.
    fn config(peers: &[&str]) -> Config {
        let peer = |name: &str, sidecar: bool| {
            format!(
                "- region: {name}\n  targets: [{{probes: [{{kind: http, url: 'http://127.0.0.1/', sidecar: {sidecar}}}]}}]\n"
            )
        };
        let peers: String = peers.iter().map(|name| peer(name, true)).collect();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("votes.key"), SECRET).unwrap();
        let text = format!("region: here\nvotes: {{key_file: votes.key}}\npeers:\n{peers}{}", peer("mute", false));
        let file = folder.path().join("c.yaml");
        Config::load(Some((&file, &text)), []).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
    }

    fn reply(peer: &str, keys: &Keys, sequence: u64) -> VoteResponse {
        let body =
            VoteMessage::new(region(peer), (1, sequence), false, Vec::new(), Vec::new()).unwrap().encode().unwrap();
        let nonce = Nonce(7);
        VoteResponse {
            peer: region(peer),
            nonce,
            signature: Some(keys.sign(nonce, &body).into()),
            body: Some(body),
            trusted_transport: false,
            requested_at: Instant::now(),
        }
    }

    fn listen(votes: &mut Votes, peers: &[&str]) {
        let series = votes.listen(&config(peers)).into();
        votes.metrics.expose(Exposed { votes: series, ..Exposed::default() });
    }

    fn count(votes: &Votes, peer: &str, result: &str) -> Option<u64> {
        let (mut page, mut text) = (votes.metrics.page(Collect::All), Vec::new());
        while page.next(&mut text) {}
        let name = "regionwatch_votes_received_total";
        let series = format!("{name}{{vantage_region=\"here\",peer_region=\"{peer}\",result=\"{result}\"}} ");
        String::from_utf8(text).unwrap().lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    #[test]
    fn what_counts_is_told_apart_from_what_does_not() {
        let keys = Keys::new(&[SECRET]).unwrap();
        let mut votes = votes();
        listen(&mut votes, &["a", "b"]);
        assert_eq!(count(&votes, "a", "accepted"), Some(0));
        assert_eq!(count(&votes, "mute", "accepted"), None, "it has no sidecar");
        assert!(votes.hear(&reply("a", &keys, 5)).is_some());
        assert!(votes.hear(&reply("a", &keys, 4)).is_none());
        assert!(votes.hear(&reply("b", &keys, 4)).is_some(), "each peer counts for itself");
        assert!(votes.hear(&reply("b", &Keys::new(&["another secret, of others"]).unwrap(), 5)).is_none());
        for (peer, result) in [("a", "accepted"), ("a", "replayed"), ("b", "accepted"), ("b", "forged")] {
            assert_eq!(count(&votes, peer, result), Some(1), "{peer} {result}");
        }
        assert!(votes.hear(&reply("stranger", &keys, 1)).is_none());
    }

    #[test]
    fn a_reload_forgets_those_who_left_and_nobody_else() {
        let keys = Keys::new(&[SECRET]).unwrap();
        let mut votes = votes();
        listen(&mut votes, &["a", "b"]);
        for peer in ["a", "b"] {
            votes.hear(&reply(peer, &keys, 5));
        }
        listen(&mut votes, &["a", "c"]);
        assert_eq!(count(&votes, "a", "accepted"), Some(1));
        assert_eq!((count(&votes, "b", "accepted"), count(&votes, "c", "accepted")), (None, Some(0)));
        assert!(votes.hear(&reply("b", &keys, 6)).is_none());
        assert!(votes.hear(&reply("a", &keys, 4)).is_none(), "its sequence went on");
    }

    #[test]
    fn each_bulletin_follows_the_one_before_and_each_start_is_another() {
        let now = Now { instant: Instant::now(), unix: UnixMillis(0) };
        let engine = Engine::new(Arc::clone(&votes().metrics), &config(&["a"]), now.instant);
        let message = |votes: &mut Votes| {
            VoteMessage::decode(&votes.publish(&region("here"), &engine, now).unwrap().body).unwrap()
        };
        let (mut one, mut other) = (votes(), votes());
        let (first, second) = (message(&mut one), message(&mut one));
        assert_eq!((first.incarnation(), first.sequence() + 1), (second.incarnation(), second.sequence()));
        assert_ne!(message(&mut other).incarnation(), first.incarnation());
    }
}
