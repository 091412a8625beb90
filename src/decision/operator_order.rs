//! Failovers that operators order, without an outage.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    model::{
        Blocked, Candidate, Cause, Incident, Ineligible, LossBounds, RealisedLoss, Region, Stage, Tally, UnixMillis,
    },
    signing::Command,
};

/// How long the end of an order is reported, for an Alertmanager that is away just then.
const ENDED_RETENTION: Duration = Duration::from_secs(300);

/// Whether an id is that of what an operator has ordered of a region. That of an outage has no word before its time.
pub(super) fn is_by_operator(id: &str, region: &Region) -> bool {
    id.strip_prefix(region.as_str()).is_some_and(|rest| rest.starts_with("-operator-"))
}

/// What an operator has ordered of a peer, and what this vantage makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorOrder {
    /// The command.
    pub command: Command,
    /// The region that is to be failed over.
    pub region: Region,
    /// The region that takes over.
    pub target: Region,
    /// The same on every vantage: the receiver's idempotency key.
    pub id: Arc<str>,
    /// Whether it is ordered now.
    pub status: OrderStatus,
    /// What keeps the target from taking over, as far as the command does not pass it.
    pub reasons: Vec<Ineligible>,
    /// How many vantages know the command, of how many that are neither down nor isolated.
    pub known_to: (u32, u32),
    /// Whether its target was down when it was ordered, which only force passes.
    pub(crate) to_down: bool,
    /// What the failover would lose; it does not change once it was ordered.
    pub(crate) loss: Option<LossBounds>,
    /// What it has lost.
    pub(crate) lost: Option<RealisedLoss>,
    /// Since when nothing prevents it, and enough vantages know it.
    pub(crate) open_since: Option<Instant>,
}

/// Whether a failover is ordered that an operator has commanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    /// It is.
    Ordered,
    /// It is in a moment, so that the others know of it, and it has their signatures.
    Pending,
    /// Too few vantages know the command.
    Unconfirmed,
    /// This vantage is isolated.
    Isolated,
    /// This prevents it.
    Blocked(Blocked),
}

impl OperatorOrder {
    /// What a command orders that nothing was decided about yet; `None` for any other command.
    pub(crate) fn new(command: Command) -> Option<Self> {
        let (region, target) = (command.region.clone()?, command.failover.as_ref()?.target.clone());
        let id = Self::id_of(&region, command.at).into();
        let (status, reasons, known_to) = (OrderStatus::Unconfirmed, Vec::new(), (1, 1));
        let (to_down, loss, lost, open_since) = (false, None, None, None);
        Some(Self { command, region, target, id, status, reasons, known_to, to_down, loss, lost, open_since })
    }

    /// The id of what is ordered of a region at this time.
    pub fn id_of(region: &Region, at: UnixMillis) -> String {
        format!("{region}-operator-{}", at.0)
    }

    /// Whether it is ordered now.
    pub fn is_ordered(&self) -> bool {
        self.status == OrderStatus::Ordered
    }

    /// Whether this vantage signs it: nothing prevents it here, and enough vantages know it. Signatures of fewer would let a
    /// stranger give an order that these vantages do not.
    pub const fn is_signed(&self) -> bool {
        matches!(self.status, OrderStatus::Ordered | OrderStatus::Pending)
    }

    /// Whether it comes before later ones: nothing prevents it here, as far as is known.
    pub(super) const fn is_first(&self) -> bool {
        matches!(self.status, OrderStatus::Ordered | OrderStatus::Pending | OrderStatus::Unconfirmed)
    }

    /// What prevents it.
    pub const fn blocked(&self) -> Option<Blocked> {
        match self.status {
            OrderStatus::Blocked(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether so many vantages know the command that it counts: more than half; of two, one.
    pub(super) const fn is_confirmed(&self) -> bool {
        let (know, of) = self.known_to;
        2 * know > of || of <= 2
    }

    /// As it is reported. The target is the only candidate: a receiver must not choose another one.
    pub(super) fn report(&self, resolved: Option<UnixMillis>) -> Incident {
        let Self { command, region, target, id, known_to: (know, of), loss, lost, .. } = self;
        let reason = command.failover.as_ref().and_then(|terms| terms.force.as_ref());
        let by_force = reason.map(|reason| format!(", by force: {reason}")).unwrap_or_default();
        Incident {
            peer: region.clone(),
            stage: Stage::Execute,
            id: Arc::clone(id),
            onset: command.at,
            cause: Cause::Silence,
            confirmed: true,
            tally: Tally { down: *know, voters: *of, reached: true, ..Tally::default() },
            candidates: vec![Candidate { region: target.clone(), rank: 1, score: None }],
            blocked: None,
            blocked_by: Vec::new(),
            common_mode: false,
            loss: *loss,
            lost: *lost,
            evidence: format!("{} has ordered the failover of {region} to {target}{by_force}.", command.operator),
            ordered_by: Some(command.operator.as_str().into()),
            resolved,
            signatures: Vec::new(),
        }
    }
}

/// An order that has ended.
#[derive(Debug)]
pub(super) struct EndedOrder {
    pub(super) order: OperatorOrder,
    /// When it ended.
    pub(super) at: UnixMillis,
    until: Instant,
    /// Whether that is reported: no other vantage orders it now.
    pub(super) is_reported: bool,
}

impl EndedOrder {
    pub(super) fn new(order: OperatorOrder, at: UnixMillis, now: Instant) -> Self {
        Self { order, at, until: now + ENDED_RETENTION, is_reported: false }
    }

    /// Whether its end has been reported for long enough.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.until <= now
    }
}
