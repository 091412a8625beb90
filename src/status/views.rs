//! The state of everything at one moment.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    config::{Config, Peer},
    decision::{
        IsolationReason, OperatorOrder, Restriction, Rule,
        ranking::{RankedRegion, preferred},
        votes::{VoteProblem, VoteStatus},
    },
    geography::light_round_trip,
    model::{
        Blocked, Cause, Failure, Incident, Kind, LossBounds, Path, PeerState, PushResult, Region, Tally, TargetName,
        UnixMillis, Vote,
    },
    replication::Status,
    signing::Command,
    window::{Record, Summary, Trace},
};

/// Everything at one moment.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The moment.
    pub at: UnixMillis,
    /// The same moment, on the clock of the traces.
    pub instant: Instant,
    /// How long this process has measured.
    pub uptime: Duration,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Why this vantage is isolated, if it is.
    pub isolation_reason: Option<IsolationReason>,
    /// 0 if this vantage starts its probes on time, 7 at worst.
    pub health_score: u8,
    /// Whether each anchor answers, in the order of the configuration; `None` if it never has.
    pub anchors: Vec<Option<bool>>,
    /// The peers, in the order of the configuration.
    pub peers: Vec<PeerView>,
    /// The other witnesses, in the order of the configuration.
    pub witnesses: Vec<WitnessView>,
    /// The ranking: eligible regions by rank, then the others by name.
    pub ranking: Vec<RankedRegion>,
    /// The servers of databases, in the order of the configuration.
    pub databases: Vec<DatabaseView>,
    /// The incidents that are reported to Alertmanager, resolved ones too while they still are.
    pub incidents: Vec<Incident>,
    /// The Alertmanagers, in the order of the configuration.
    pub alertmanagers: Vec<AlertmanagerView>,
}

/// An Alertmanager that incidents are pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertmanagerView {
    /// Its URL, without secrets.
    pub url: String,
    /// When it accepted a push last.
    pub accepted_at: Option<UnixMillis>,
    /// Why it accepts none, if that is so for longer than a moment.
    pub failing: Option<PushFailure>,
}

/// That an Alertmanager accepts no pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushFailure {
    /// Since when.
    pub since: UnixMillis,
    /// The result of the last push.
    pub result: PushResult,
}

impl AlertmanagerView {
    /// One to which nothing was pushed yet.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), accepted_at: None, failing: None }
    }
}

/// A server of a database.
#[derive(Debug, Clone)]
pub struct DatabaseView {
    /// The database.
    pub database: TargetName,
    /// The region of the server.
    pub region: Region,
    /// What is known of it.
    pub status: Status,
    /// What a failover to it would lose: `None` of the primary itself, and `Some(None)` where that is unknown.
    pub loss: Option<Option<LossBounds>>,
}

/// How far a peer is away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// Along the surface of the earth.
    pub meters: f64,
    /// The round trip of light in a straight fiber: no answer can be faster.
    pub min_rtt: Duration,
}

impl Overview {
    /// The peer of this name.
    pub fn peer(&self, region: &str) -> Option<&PeerView> {
        self.peers.iter().find(|peer| peer.region.as_str() == region)
    }

    /// What is wrong with the votes of another vantage, if that lasts.
    pub fn vote_problem(&self, vantage: &Region) -> Option<VoteProblem> {
        match self.witnesses.iter().find(|witness| witness.name == *vantage) {
            Some(witness) => witness.vote_problem,
            None => self.peer(vantage.as_str())?.vote_problem,
        }
    }

    /// Whether another vantage is a witness.
    pub fn is_witness(&self, vantage: &Region) -> bool {
        self.witnesses.iter().any(|witness| witness.name == *vantage)
    }

    /// The state of this path.
    pub fn path(&self, path: &Path) -> Option<&PathView> {
        self.peer(path.peer.as_str())?.paths.iter().find(|view| view.path == *path)
    }

    /// The peers, the most urgent first, otherwise in the order of the configuration.
    pub fn by_urgency(&self) -> Vec<&PeerView> {
        let mut peers: Vec<_> = self.peers.iter().collect();
        peers.sort_by_key(|peer| Reverse(peer.urgency()));
        peers
    }

    /// The kinds of probes that any peer has.
    pub fn kinds(&self) -> BTreeSet<Kind> {
        self.peers.iter().flat_map(|peer| &peer.kinds).map(|view| view.kind).collect()
    }

    /// The kind of probe that represents a peer: the one by which it is ranked, among those that were ever answered. If a
    /// critical service has failed, the kind that found it.
    pub fn representative(&self, peer: &PeerView) -> Option<(Kind, Summary)> {
        let is_open = |incident: &&Incident| incident.peer == peer.region && incident.resolved.is_none();
        let service_failed = self.incidents.iter().filter(is_open).any(|incident| incident.cause == Cause::Service);
        let is_critical = |kind| {
            let mut paths = self.config.paths();
            paths.any(|(path, probe)| probe.critical && path.kind == kind && path.peer == peer.region)
        };
        let represents = |view: &KindView| view.answered && (!service_failed || is_critical(view.kind));
        let best = |filter: &dyn Fn(&KindView) -> bool| {
            let views = peer.kinds.iter().filter(|view| filter(view));
            preferred(views.filter_map(|view| Some((view.kind, view.summary?))))
        };
        best(&represents).or_else(|| best(&|_| true))
    }

    /// The incident of a peer that has come furthest.
    pub fn incident(&self, peer: &Region) -> Option<&Incident> {
        self.incidents.iter().filter(|incident| incident.peer == *peer).max_by_key(|incident| incident.stage)
    }

    /// The open incident of a peer, by the furthest of its stages that is active.
    pub fn open_incident(&self, peer: &Region) -> Option<&Incident> {
        let open = self.incidents.iter().filter(|incident| incident.peer == *peer && incident.resolved.is_none());
        open.max_by_key(|incident| incident.stage)
    }

    /// Whether a peer has an open incident.
    pub fn has_open_incident(&self) -> bool {
        self.incidents.iter().any(|incident| incident.resolved.is_none())
    }

    /// The incidents, of each peer the one that has come furthest.
    pub fn furthest_incidents(&self) -> impl Iterator<Item = &Incident> {
        let furthest = |incident: &&Incident| {
            self.incident(&incident.peer).is_some_and(|furthest| furthest.stage == incident.stage)
        };
        self.incidents.iter().filter(furthest)
    }

    /// The row of a peer in the ranking.
    pub fn ranked(&self, peer: &Region) -> Option<&RankedRegion> {
        self.ranking.iter().find(|row| row.region == *peer)
    }

    /// What the configuration says about a peer.
    pub fn configured(&self, peer: &Region) -> Option<&Peer> {
        self.config.peers.iter().find(|configured| configured.region == *peer)
    }

    /// How far a peer is away; `None` if one of both places is not known.
    pub fn distance(&self, peer: &Region) -> Option<Distance> {
        let meters = self.config.location?.distance_meters(self.configured(peer)?.location?);
        Some(Distance { meters, min_rtt: light_round_trip(meters) })
    }

    /// Whether any probe asks a peer for votes.
    pub fn exchanges_votes(&self) -> bool {
        self.config.paths().any(|(path, _)| path.kind.carries_votes())
    }
}

/// One peer region.
#[derive(Debug, Clone)]
pub struct PeerView {
    /// Its name.
    pub region: Region,
    /// Its state as seen from this vantage.
    pub state: PeerState,
    /// The rule by which it is in this state.
    pub rule: Rule,
    /// When it entered this state.
    pub since: UnixMillis,
    /// The votes on it.
    pub tally: Tally,
    /// The vote of this vantage.
    pub vote: Vote,
    /// Whether this vantage orders to fail it over.
    pub order: FailoverOrder,
    /// When its open incident will be over, if it goes on to answer.
    pub incident_over_at: Option<UnixMillis>,
    /// What an operator has stated of it.
    pub stated: Option<Command>,
    /// What an operator has ordered of it, and what this vantage makes of that.
    pub operator_order: Option<OperatorOrder>,
    /// Where it comes from that it may not be failed over.
    pub restrictions: Vec<Restriction>,
    /// The last vote of each other vantage.
    pub said: Vec<VoteStatus>,
    /// What is wrong with the votes that it sends itself, if that lasts.
    pub vote_problem: Option<VoteProblem>,
    /// When the newest probe was sent whose answer was good.
    pub good_at: Option<UnixMillis>,
    /// Its kinds of probes.
    pub kinds: Vec<KindView>,
    /// Its paths, by name.
    pub paths: Vec<PathView>,
}

/// A vantage that votes and owns no region.
#[derive(Debug, Clone)]
pub struct WitnessView {
    /// Its name.
    pub name: Region,
    /// How long ago its last votes were requested; `None` if none were ever received.
    pub age: Option<Duration>,
    /// What is wrong with its votes, if that lasts.
    pub vote_problem: Option<VoteProblem>,
}

/// Whether a vantage orders to fail a peer over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailoverOrder {
    /// It has not, in this incident.
    None,
    /// It has, and does not now: it does not hold the peer down any more.
    Withdrawn,
    /// The peer is held down, and something prevents the order.
    Blocked(Blocked),
    /// It does now.
    Active,
}

/// Whether the vantages agree that a peer is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// Enough vantages vote down.
    Reached,
    /// Enough vantages vote, but not enough vote down.
    NotReached,
    /// Too few vantages vote.
    Impossible,
}

impl PeerView {
    /// Whether the vantages agree that it is down.
    pub const fn quorum(&self) -> Quorum {
        match self.tally {
            Tally { reached: true, .. } => Quorum::Reached,
            Tally { voters, needed, .. } if voters < needed => Quorum::Impossible,
            _ => Quorum::NotReached,
        }
    }

    /// Whether it is probed and has never answered.
    pub fn is_unanswered(&self) -> bool {
        let probed = self.kinds.iter().any(|view| view.summary.is_some_and(|summary| summary.count > 0));
        probed && !self.kinds.iter().any(|view| view.answered)
    }

    /// How urgent its state is: higher is more urgent.
    pub(super) const fn urgency(&self) -> u8 {
        match self.state {
            PeerState::Healthy => 0,
            PeerState::Unknown => 1,
            PeerState::Degraded => 2,
            PeerState::Recovering => 3,
            PeerState::Suspect => 4,
            PeerState::Down => 5,
        }
    }
}

/// All targets of a peer for one kind of probe.
#[derive(Debug, Clone, Copy)]
pub struct KindView {
    /// The kind.
    pub kind: Kind,
    /// The results over the window; `None` before the first probe.
    pub summary: Option<Summary>,
    /// Whether any target has ever answered. One that never has is filtered or misconfigured.
    pub answered: bool,
}

/// One path.
#[derive(Debug, Clone)]
pub struct PathView {
    /// Its name.
    pub path: Path,
    /// Its last minutes.
    pub trace: Trace,
    /// Its last probe, with those before it that had the same failure.
    pub last: Option<Record>,
    /// Its last failed probe, with those before it that had the same failure.
    pub failed: Option<Record>,
}

impl PathView {
    /// The last failure, and when that probe was sent.
    pub fn last_failure(&self) -> Option<(Failure, UnixMillis)> {
        let Record { last_sent_at, outcome, .. } = self.failed?;
        Some((outcome.err()?, UnixMillis(last_sent_at / 1_000_000)))
    }
}
