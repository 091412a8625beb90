//! Which headline applies, and how severe it is.

use std::cmp::Reverse;

use super::views::{FailoverOrder, Overview, PathView, PeerView, Quorum};
use crate::{
    decision::IsolationReason,
    model::{PeerState, Region, Tally},
    window::Record,
};

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
    /// Every peer is healthy, and there is something to know all the same.
    Concerned(Vec<Concern<'a>>),
    /// Every peer is healthy.
    Healthy,
}

/// What an operator must know while no region is down.
#[derive(Debug)]
pub enum Concern<'a> {
    /// This peer answers again, and its incident is still open.
    OpenIncident(&'a PeerView),
    /// Too few vantages vote on these peers: no outage could be confirmed.
    NoQuorum(Vec<&'a PeerView>),
    /// Failovers are switched off by the configuration.
    Disarmed,
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
            Self::Watch(..) | Self::Concerned(_) => Severity::Watch,
            Self::Healthy => Severity::Fine,
        }
    }
}

impl<'a> Concern<'a> {
    /// All of them.
    pub fn all(overview: &'a Overview) -> Vec<Self> {
        let open = |peer: &&PeerView| peer.state != PeerState::Down && overview.open_incident(&peer.region).is_some();
        let mut concerns: Vec<_> = overview.peers.iter().filter(open).map(Self::OpenIncident).collect();
        let needs_quorum = overview.exchanges_votes() && !overview.config.failover.allow_single_vantage;
        let without: Vec<_> = overview.peers.iter().filter(|peer| peer.quorum() == Quorum::Impossible).collect();
        if needs_quorum && !without.is_empty() {
            concerns.push(Self::NoQuorum(without));
        }
        if !overview.config.failover.armed {
            concerns.push(Self::Disarmed);
        }
        concerns
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
