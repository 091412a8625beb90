//! Which headline applies, and how severe it is.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::views::{AlertmanagerView, FailoverOrder, Overview, PathView, PeerView, PushFailure, Quorum};
use crate::{
    decision::{IsolationReason, OperatorOrder, Restriction, votes::VoteProblem},
    model::{Blocked, FailoverMode, Ineligible, PeerState, Region, StateReason, Tally},
    signing::Command,
    window::Record,
};

/// How long after the start nothing is wrong yet with what is not known. Then each part has a headline of its own.
const START: Duration = Duration::from_secs(30);

/// How severe a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing to do.
    Fine,
    /// Something to watch.
    Watch,
    /// A region is down.
    Down,
    /// This vantage is isolated and cannot judge.
    Isolated,
}

impl Severity {
    /// Its name in the style sheet.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Watch => "watch",
            Self::Down => "down",
            Self::Isolated => "isolated",
        }
    }
}

impl From<PeerState> for Severity {
    fn from(state: PeerState) -> Self {
        match state {
            PeerState::Healthy => Self::Fine,
            PeerState::Down => Self::Down,
            PeerState::Unknown | PeerState::Degraded | PeerState::Suspect | PeerState::Recovering => Self::Watch,
        }
    }
}

impl From<&PathView> for Severity {
    /// One lost probe is ordinary; three in a row are an outage.
    fn from(path: &PathView) -> Self {
        match path.last {
            Some(Record { outcome: Ok(_), .. }) => Self::Fine,
            Some(Record { times: 3.., .. }) => Self::Down,
            Some(_) | None => Self::Watch,
        }
    }
}

/// The most important fact about the regions.
#[derive(Debug)]
pub enum Headline<'a> {
    /// This vantage is isolated, so it cannot judge.
    Isolated(IsolationReason),
    /// These regions are down, those that should be failed over first.
    Down(Vec<DownRegion<'a>>),
    /// These peers share the most urgent state; none is down, and so many others are healthy.
    Watch(PeerState, Vec<&'a PeerView>, usize),
    /// This process has just begun to measure, and does not know all of this yet.
    Starting(Vec<Pending<'a>>),
    /// Every peer is healthy, and there is something to know all the same.
    Concerned(Vec<Concern<'a>>),
    /// Every peer is healthy.
    Healthy,
}

/// What an operator must know while no region is down.
#[derive(Debug)]
pub enum Concern<'a> {
    /// An operator has commanded the failover of a peer.
    Ordered(&'a OperatorOrder),
    /// This peer answers again, and its incident is still open.
    OpenIncident(&'a PeerView),
    /// This peer is down, and its failover is not ordered although it is confirmed.
    Blocked(&'a PeerView, Blocked),
    /// This Alertmanager accepts nothing.
    AlertmanagerFailing(&'a AlertmanagerView, PushFailure),
    /// The services of these peers fail from what seems to be a common cause, so they are not failed over.
    CommonMode(Vec<&'a PeerView>),
    /// Something is wrong with the votes of this peer or witness.
    Votes(&'a Region, VoteProblem),
    /// Too few vantages vote on these peers: no outage could be confirmed.
    NoQuorum(Vec<&'a PeerView>),
    /// Failovers are switched off by the configuration.
    Disarmed,
    /// Operators have stated this of peers.
    Stated(&'a Command),
    /// The file of another vantage keeps these peers from being failed over here.
    File(&'a Region, FailoverMode, Vec<&'a PeerView>),
}

/// What a process that has just started does not know yet.
#[derive(Debug)]
pub enum Pending<'a> {
    /// The state of these peers.
    States(Vec<&'a PeerView>),
    /// Which region can take over.
    Targets,
    /// The votes of these vantages.
    Votes(BTreeSet<&'a Region>),
    /// Whether so many Alertmanagers accept alerts.
    Alertmanagers(usize),
}

/// A region that is down.
#[derive(Debug)]
pub struct DownRegion<'a> {
    /// Its name.
    pub region: &'a Region,
    /// Whether a quorum has confirmed it.
    pub confirmed: bool,
    /// The votes; those of its incident if no votes are fresh.
    pub tally: Tally,
    /// Whether to fail it over, and the best failover target that is not down; `None` without an open incident.
    pub incident: Option<(FailoverOrder, Option<&'a Region>)>,
}

impl<'a> Headline<'a> {
    /// The headline that applies.
    pub fn of(overview: &'a Overview) -> Self {
        if let Some(reason) = overview.isolation_reason {
            return Self::Isolated(reason);
        }
        let peers = overview.by_urgency();
        let is_calm = |peer: &&PeerView| matches!(peer.state, PeerState::Healthy | PeerState::Unknown);
        if overview.uptime < START && peers.iter().all(is_calm) {
            let pending = Pending::all(overview);
            if !pending.is_empty() {
                return Self::Starting(pending);
            }
        }
        let Some(first) = peers.first().filter(|peer| peer.state != PeerState::Healthy) else {
            let concerns = Concern::all(overview);
            return if concerns.is_empty() { Self::Healthy } else { Self::Concerned(concerns) };
        };
        let state = first.state;
        let healthy = peers.iter().filter(|peer| peer.state == PeerState::Healthy).count();
        let same: Vec<_> = peers.into_iter().filter(|peer| peer.state == state).collect();
        if state != PeerState::Down {
            return Self::Watch(state, same, healthy);
        }
        let mut down: Vec<_> = same.iter().map(|peer| DownRegion::of(peer, &same, overview)).collect();
        down.sort_by_key(|region| Reverse(region.incident.map(|(order, _)| order)));
        Self::Down(down)
    }

    /// How severe it is.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Isolated(_) => Severity::Isolated,
            Self::Down(_) => Severity::Down,
            Self::Watch(..) | Self::Starting(_) | Self::Concerned(_) => Severity::Watch,
            Self::Healthy => Severity::Fine,
        }
    }
}

impl<'a> Concern<'a> {
    /// All of them.
    pub fn all(overview: &'a Overview) -> Vec<Self> {
        let is_common = |peer: &&PeerView| peer.rule.reason() == StateReason::CommonMode;
        let common: Vec<_> = overview.peers.iter().filter(is_common).collect();
        let open = |peer: &&PeerView| {
            let is_open = overview.open_incident(&peer.region).is_some_and(|open| open.ordered_by.is_none());
            peer.state != PeerState::Down && !is_common(peer) && is_open
        };
        let mut concerns: Vec<_> =
            overview.peers.iter().filter_map(|peer| peer.operator_order.as_ref()).map(Self::Ordered).collect();
        concerns.extend(overview.peers.iter().filter(open).map(Self::OpenIncident));
        if !common.is_empty() {
            concerns.push(Self::CommonMode(common));
        }
        concerns.extend(overview.peers.iter().filter_map(|peer| match peer.order {
            FailoverOrder::Blocked(reason) => Some(Self::Blocked(peer, reason)),
            _ => None,
        }));
        let failing = |view: &'a AlertmanagerView| Some(Self::AlertmanagerFailing(view, view.failing?));
        concerns.extend(overview.alertmanagers.iter().filter_map(failing));
        let peers = overview.peers.iter().map(|peer| (&peer.region, peer.vote_problem));
        let witnesses = overview.witnesses.iter().map(|witness| (&witness.name, witness.vote_problem));
        let problems = peers.chain(witnesses).filter_map(|(vantage, problem)| Some(Self::Votes(vantage, problem?)));
        concerns.extend(problems);
        let needs_quorum = overview.exchanges_votes() && !overview.config.failover.allow_single_vantage;
        let without: Vec<_> = overview.peers.iter().filter(|peer| peer.quorum() == Quorum::Impossible).collect();
        if needs_quorum && !without.is_empty() {
            concerns.push(Self::NoQuorum(without));
        }
        if !overview.config.failover.armed {
            concerns.push(Self::Disarmed);
        }
        let mut stated: Vec<&Command> = Vec::new();
        for command in overview.peers.iter().filter_map(|peer| peer.stated.as_ref()) {
            // Of all regions it is said once.
            if !stated.contains(&command) {
                stated.push(command);
            }
        }
        concerns.extend(stated.into_iter().map(Self::Stated));
        let mut files: BTreeMap<(&Region, FailoverMode), Vec<&PeerView>> = BTreeMap::new();
        for peer in &overview.peers {
            for restriction in &peer.restrictions {
                // The own file is on the page of the configuration.
                if let Restriction::File { vantage, mode } = restriction
                    && *vantage != overview.config.region
                {
                    files.entry((vantage, *mode)).or_default().push(peer);
                }
            }
        }
        concerns.extend(files.into_iter().map(|((vantage, mode), peers)| Self::File(vantage, mode, peers)));
        concerns
    }
}

impl<'a> Pending<'a> {
    /// All of it.
    fn all(overview: &'a Overview) -> Vec<Self> {
        let mut pending = Vec::new();
        let unknown: Vec<_> = overview.peers.iter().filter(|peer| peer.state == PeerState::Unknown).collect();
        if !unknown.is_empty() {
            pending.push(Self::States(unknown));
        }
        let too_early = |reasons: &[Ineligible]| reasons.contains(&Ineligible::InsufficientData);
        if !overview.ranking.iter().any(|row| row.eligible())
            && overview.ranking.iter().any(|row| too_early(&row.reasons))
        {
            pending.push(Self::Targets);
        }
        let statuses = overview.peers.iter().flat_map(|peer| &peer.said);
        let without: BTreeSet<_> = statuses.filter(|status| status.age.is_none()).map(|status| &status.by).collect();
        let is_rejected = |region: &Region| overview.vote_problem(region).is_some();
        let without: BTreeSet<_> = without.into_iter().filter(|region| !is_rejected(region)).collect();
        if !without.is_empty() {
            pending.push(Self::Votes(without));
        }
        let is_pending = |view: &&AlertmanagerView| view.accepted_at.is_none() && view.failing.is_none();
        match overview.alertmanagers.iter().filter(is_pending).count() {
            0 => {}
            count => pending.push(Self::Alertmanagers(count)),
        }
        pending
    }
}

impl<'a> DownRegion<'a> {
    fn of(peer: &'a PeerView, down: &[&PeerView], overview: &'a Overview) -> Self {
        let incident = overview.open_incident(&peer.region);
        let is_down = |region: &Region| down.iter().any(|peer| peer.region == *region);
        let target = incident.and_then(|incident| {
            incident.candidates.iter().map(|candidate| &candidate.region).find(|region| !is_down(region))
        });
        Self {
            region: &peer.region,
            confirmed: peer.tally.reached || incident.is_some_and(|incident| incident.confirmed),
            tally: incident.filter(|_| peer.tally.voters == 0).map_or(peer.tally, |incident| incident.tally),
            incident: incident.map(|_| (peer.order, target)),
        }
    }
}
