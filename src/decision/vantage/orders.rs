//! Failovers that operators order: they need no outage, and obey limits and gates as all others, unless they are forced.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Vantage, commands::UNHEARD_FOR};
use crate::{
    decision::{
        Now, OpenIncident, OperatorOrder, OrderStatus, StateChange,
        execution::{SPREAD, files_of},
        operator_order::EndedOrder,
        votes::FailedOver,
    },
    model::{Blocked, Incident, Ineligible, Region},
    signing::{Command, FailoverTerms},
};

impl Vantage {
    /// What an operator has ordered of a peer, and what this vantage makes of it.
    pub fn operator_order(&self, region: &Region) -> Option<&OperatorOrder> {
        self.operator_orders.get(region)
    }

    /// Why a failover cannot be ordered at all.
    pub fn failover_refusal(&self, command: &Command) -> Option<String> {
        let (region, FailoverTerms { target, force, .. }) = command.region.as_ref().zip(command.failover.as_ref())?;
        if !self.is_region(target) {
            return Some(format!("{target} is no region of this instance"));
        }
        let known = self.executions.certain_target(region).filter(|_| force.is_none())?;
        Some(format!("it was failed over to {known}, and is not released; release it first, or use --force REASON"))
    }

    /// Decides on all failovers that operators have ordered.
    pub(super) fn refresh_operator_orders(&mut self, now: Now) {
        let commands = self.statements.failovers(now.instant);
        if commands.is_empty() && self.operator_orders.is_empty() && self.ended_orders.is_empty() {
            return;
        }
        let mut before = std::mem::take(&mut self.operator_orders);
        // The oldest one first: it comes first for a slot, too.
        for (command, text) in commands {
            let Some(new) = OperatorOrder::new(command) else { continue };
            let Some(n) = self.position(&new.region) else { continue };
            // A vantage that was away may learn of the command after the release.
            if self.executions.released(&new.region) == Some(&new.id) {
                continue;
            }
            let (known, replaced) = match before.remove(&new.region) {
                Some(known) if known.command == new.command => (Some(known), None),
                other => (None, other),
            };
            replaced.into_iter().for_each(|order| self.end_order(order, now));
            self.refresh_operator_order(n, known.unwrap_or(new), &text, now);
        }
        before.into_values().for_each(|order| self.end_order(order, now));
        self.report_ended_orders(now.instant);
    }

    fn refresh_operator_order(&mut self, n: usize, mut order: OperatorOrder, text: &str, now: Now) {
        let (was_ordered, was_blocked) = (order.is_ordered(), order.blocked());
        let known_to = self.known_to(text, now.instant);
        order.known_to = if was_ordered { order.known_to.max(known_to) } else { known_to };
        order.reasons = self.unmet_gates(&order);
        let was_executed = self.executions.has_ordered(&order.region, &order.id, &order.target);
        order.status = match self.order_block(n, &order, was_executed, now.instant) {
            Some(reason) => OrderStatus::Blocked(reason),
            None if self.is_isolated() => OrderStatus::Isolated,
            None if was_executed => OrderStatus::Ordered,
            None if !order.is_confirmed() => OrderStatus::Unconfirmed,
            None => OrderStatus::Pending,
        };
        let is_open = matches!(order.status, OrderStatus::Ordered | OrderStatus::Pending);
        order.open_since = is_open.then(|| order.open_since.unwrap_or(now.instant));
        if order.open_since.is_some_and(|since| now.instant.saturating_duration_since(since) >= SPREAD) {
            order.status = OrderStatus::Ordered;
        }
        if !(was_executed && order.loss.is_some()) {
            order.loss = self.databases.expected(&order.region, &order.target, &self.votes, now.instant);
        }
        let lost = self.databases.lost(&order.region, order.command.at);
        self.incidents_changed |= order.is_ordered() && lost != order.lost;
        order.lost = lost;
        if order.is_ordered() && !was_ordered {
            order.to_down |= !was_executed && self.is_down(&order.target);
            self.execute_operator_order(n, &order, now);
        }
        let blocked = order.blocked();
        if blocked != was_blocked {
            self.changes.push(StateChange::Blocked { peer: order.region.clone(), reason: blocked });
        }
        if was_ordered && !order.is_ordered() {
            self.end_order(OperatorOrder { status: OrderStatus::Ordered, ..order.clone() }, now);
        }
        self.operator_orders.insert(order.region.clone(), order);
    }

    /// From now on the region counts as failed over.
    fn execute_operator_order(&mut self, n: usize, order: &OperatorOrder, now: Now) {
        let (id, target, onset) = (Arc::clone(&order.id), order.target.clone(), order.command.at);
        // An outage of it has no other target.
        if let Some(open) = &mut self.peers[n].incident {
            open.follow(&target);
        }
        self.executions.command(&order.region, FailedOver { id, onset, target, at: now.instant });
        self.ended_orders.retain(|ended| ended.order.region != order.region);
        self.changes.push(change(order, true));
        (self.incidents_changed, self.ranking_due) = (true, true);
    }

    /// What keeps the target of an order from taking over, but for what the command passes.
    fn unmet_gates(&self, OperatorOrder { command, region, target, .. }: &OperatorOrder) -> Vec<Ineligible> {
        let Some(FailoverTerms { accept_loss, force, .. }) = &command.failover else { return Vec::new() };
        let passes = |reason: &Ineligible| match reason {
            // No reason lets data into a zone that is not allowed.
            Ineligible::Residency => false,
            Ineligible::Rpo | Ineligible::RpoUnknown => *accept_loss || force.is_some(),
            _ => force.is_some(),
        };
        let mut reasons = self.targets.reasons_of(region, target);
        reasons.retain(|reason| !passes(reason));
        reasons
    }

    /// What prevents an order. Once this vantage has given it, its target is settled, and its slot is taken.
    fn order_block(&self, n: usize, order: &OperatorOrder, was_executed: bool, now: Instant) -> Option<Blocked> {
        let OperatorOrder { command, region, target, reasons, .. } = order;
        let is_forced = command.failover.as_ref().is_some_and(|terms| terms.force.is_some());
        let files = files_of(region, Some(self.peers[n].mode), &self.votes, now).0;
        if let Some(forbidden) = self.statements.forbids(command, region, files, now) {
            return Some(forbidden);
        }
        // What was commanded since may have ended it.
        let has_waited = now.saturating_duration_since(self.started) >= UNHEARD_FOR;
        if !(has_waited || self.votes.is_empty() || self.votes.any_heard_since(self.started)) {
            return Some(Blocked::ArmingUnknown);
        }
        if !self.is_region(target) {
            return Some(Blocked::NoTarget);
        }
        // Force passes what was known when it was ordered, and not that its target has died since.
        let is_passed = is_forced && (!was_executed || order.to_down);
        let is_dead = self.is_down(target) || (target == self.targets.own() && self.is_unserved(now));
        if is_dead && !is_passed {
            return Some(Blocked::TargetDown);
        }
        if was_executed {
            return None;
        }
        if !reasons.is_empty() {
            let is_only_unknown = reasons[..] == [Ineligible::RpoUnknown];
            return Some(if is_only_unknown { Blocked::RpoUnknown } else { Blocked::NoTarget });
        }
        let is_limited = self.executions.is_failed_over_elsewhere(region, target) || !self.has_room_for(region, now);
        (is_limited && !is_forced).then_some(Blocked::Limit)
    }

    /// Whether the limits allow the failover of a region beside those that come first: outages that are about to be failed over,
    /// here or elsewhere, and what operators have ordered before.
    fn has_room_for(&self, region: &Region, now: Instant) -> bool {
        let is_next = |open: &OpenIncident| !open.executed && open.proposal().is_some();
        let next =
            self.peers.iter().filter(|peer| peer.incident.as_ref().is_some_and(is_next)).map(|peer| &peer.region);
        let claimed = self.votes.claims(now).map(|(region, _)| region);
        let ordered = self.operator_orders.values().filter(|order| order.is_first()).map(|order| &order.region);
        let first = next.chain(claimed).chain(ordered);
        self.executions.has_room_for(region, first, (self.targets.own(), &self.votes), self.policy, now)
    }

    /// How many vantages know a command, of how many that are neither down nor isolated; this one among them.
    fn known_to(&self, text: &str, now: Instant) -> (u32, u32) {
        let counted = self.votes.know_statement(text, now).filter(|(region, _)| !self.is_down(region));
        let counted = counted.filter_map(|(_, knows)| knows);
        counted.fold((1, 1), |(know, of), knows| (know + u32::from(knows), of + 1))
    }

    /// Ends an order, if it was given. An isolated vantage is quiet: others may still give it.
    fn end_order(&mut self, order: OperatorOrder, now: Now) {
        if !order.is_ordered() {
            return;
        }
        self.changes.push(change(&order, false));
        self.incidents_changed = true;
        if !self.is_isolated() {
            self.ended_orders.push(EndedOrder::new(order, now.unix, now.instant));
        }
    }

    /// Reports the end of orders, as long as no vantage orders the failover of the region now. Otherwise the end would take the
    /// order of the other one back.
    fn report_ended_orders(&mut self, now: Instant) {
        let mut ended = std::mem::take(&mut self.ended_orders);
        let before = ended.len();
        ended.retain(|ended| !ended.is_expired(now));
        self.incidents_changed |= ended.len() != before;
        for EndedOrder { order, is_reported, .. } in &mut ended {
            let region = &order.region;
            let by_others = self.votes.fresh_votes(region, now).any(|vote| vote.operator_order || vote.held);
            let is_outage = |n: usize| self.peers[n].incident.as_ref().is_some_and(OpenIncident::is_ordered);
            let is_alone = self.position(region).is_some_and(|n| !is_outage(n)) && !by_others && !self.is_isolated();
            self.incidents_changed |= std::mem::replace(is_reported, is_alone) != is_alone;
        }
        self.ended_orders = ended;
    }

    /// What Alertmanager must know of what operators have ordered.
    pub(super) fn operator_incidents(&self) -> Vec<Incident> {
        let ordered = self.operator_orders.values().filter(|order| order.is_ordered()).map(|order| order.report(None));
        let ended = self.ended_orders.iter().filter(|ended| ended.is_reported);
        ordered.chain(ended.map(|ended| ended.order.report(Some(ended.at)))).collect()
    }
}

/// What there is to report of an order that has begun or ended.
fn change(order: &OperatorOrder, ordered: bool) -> StateChange {
    StateChange::Order {
        peer: order.region.clone(),
        incident: Arc::clone(&order.id),
        cause: None,
        target: Some(order.target.clone()),
        ordered,
    }
}
