//! What several paths of a peer say together: its gauges, how long its probes are waited for, and how well it answers.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{Engine, KindGroup, PathState};
use crate::{
    decision::{Effects, Input, Now, QualitySample, ranking::preferred},
    model::{Kind, PathId},
    window::{Summary, Window},
};

/// In how many steps all peers' gauges are brought up to date: quantiles over five minutes cost time, and need
/// not be younger than this many [ticks](super::Input::Tick).
pub(super) const STEPS: usize = 5;

/// The same for how well each peer has answered in the last minute.
const QUALITY_STEPS: usize = 10;
const QUALITY_SPAN: Duration = Duration::from_secs(60);

impl Engine {
    /// Brings a share of the gauges up to date.
    pub(super) fn publish_some(&mut self, now: Now) {
        for n in (self.ticks % STEPS..self.peers.len()).step_by(STEPS) {
            self.publish(n, now);
        }
    }

    /// Samples how well a share of the peers answers.
    pub(super) fn sample_quality(&mut self, now: Now) -> Effects {
        let mut effects = Effects::default();
        for n in (self.ticks % QUALITY_STEPS..self.peers.len()).step_by(QUALITY_STEPS) {
            let sample = self.quality(n, now.instant);
            effects.append(self.vantage.handle(Input::Quality { peer: &self.peers[n].region, sample }, now));
        }
        effects
    }

    /// Brings the gauges of a peer up to date, when its probes are overdue, and what it is ranked by.
    pub(super) fn publish(&mut self, n: usize, now: Now) {
        let health = self.vantage.health_score();
        for group in &mut self.peers[n].groups {
            let summary = merged(&mut self.paths, &group.members, None, now.instant);
            if let Some(latency) = summary.and_then(|summary| summary.latency) {
                let usual = overdue_after(latency.p99, health);
                for state in group.members.iter().filter_map(|id| self.paths.get(id)) {
                    state.overdue_after.set(usual);
                }
            }
            group.series.publish(summary);
            group.summary = summary;
        }
        let peer = &self.peers[n];
        let summaries = |votes| {
            let groups = peer.groups.iter().filter(move |group| group.kind.carries_votes() == votes);
            preferred(groups.filter_map(|group| Some((group.kind, group.summary?))))
        };
        // What is lost while a sidecar is away costs its region nothing.
        let summary = summaries(false).or_else(|| summaries(true)).map(|(_, summary)| summary);
        self.vantage.handle(Input::Summary { peer: &peer.region, summary }, now);
    }

    /// Whether any of these paths was ever answered.
    pub(super) fn is_answered(&self, group: &KindGroup) -> bool {
        group.members.iter().filter_map(|id| self.paths.get(id)).any(|state| state.answered)
    }

    /// How well a peer has answered in the last minute: the loss of the worst of the fast kinds, and the latency of TCP
    /// where it is probed, because pings are served last by busy routers. A kind that never is answered is filtered,
    /// and says nothing.
    fn quality(&mut self, n: usize, now: Instant) -> Option<QualitySample> {
        let mut summaries: Vec<(Kind, Summary)> = Vec::new();
        // That a sidecar is away says nothing about its region.
        for group in self.peers[n].groups.iter().filter(|group| !group.kind.carries_votes()) {
            let summary = merged(&mut self.paths, &group.members, Some(QUALITY_SPAN), now);
            summaries.extend(summary.map(|summary| (group.kind, summary)));
        }
        let answered = |(kind, summary): &(Kind, Summary)| {
            let mut groups = self.peers[n].groups.iter();
            summary.latency.is_some() || groups.any(|group| group.kind == *kind && self.is_answered(group))
        };
        summaries.retain(answered);
        if summaries.iter().any(|(kind, _)| kind.is_fast()) {
            summaries.retain(|(kind, _)| kind.is_fast());
        }
        let (kind, worst) = summaries.iter().max_by(|(_, a), (_, b)| a.loss.total_cmp(&b.loss))?;
        let (loss, lost) = (worst.loss, (worst.loss * worst.count as f64).round() as usize);
        let by_preference = summaries.iter().min_by_key(|(kind, _)| kind.preference());
        let p95 = by_preference.and_then(|(_, summary)| summary.latency).map(|latency| latency.p95);
        Some(QualitySample { kind: *kind, loss, lost, p95 })
    }
}

/// What several paths say together, over the whole span of their windows or the last part of it.
fn merged(
    paths: &mut HashMap<PathId, Box<PathState>>,
    members: &[PathId],
    span: Option<Duration>,
    now: Instant,
) -> Option<Summary> {
    // Taken out of the map for the time of the merge, because it borrows them all.
    let mut taken: Vec<_> = members.iter().filter_map(|id| Some((*id, paths.remove(id)?))).collect();
    let windows = taken.iter_mut().map(|(_, state)| &mut state.window);
    let summary = match span {
        None => Window::merged(windows, now),
        Some(span) => Window::merged_over(windows, span, now),
    };
    paths.extend(taken);
    summary
}

/// How long an answer is waited for before the probe counts as silent: twice what almost all take, and 50 ms; at most
/// a second, in which TCP would send a SYN again (RFC 6298 2). Whoever is late itself waits longer.
fn overdue_after(p99: Duration, health: u8) -> Duration {
    let usual = 2 * p99 + Duration::from_millis(50);
    usual.clamp(Duration::from_millis(200), Duration::from_secs(1)) * (1 + u32::from(health))
}
