//! What begins and ends, and the calm time that is skipped.

use regionwatch::{decision::Vantage, model::PeerState};

use super::{
    super::timeline::{SECOND, Time, Trouble},
    Event, World,
};

/// Probe by probe from so long before something happens, until so long after.
const BEFORE: Time = 4 * SECOND;
const AFTER: Time = 3 * SECOND;
/// Where something goes on for long: until nothing has changed for so long.
const UNCHANGED: Time = 70 * SECOND;

impl World {
    /// Something begins or ends.
    pub(super) fn scene(&mut self) {
        while let Some(span) = self.spans.get(self.upcoming).filter(|span| span.begin <= self.now + SECOND).copied() {
            self.upcoming += 1;
            // Within time that is simulated probe by probe, runs come by chance.
            if matches!(span.trouble, Trouble::Run { .. }) && span.begin != self.calm_until {
                continue;
            }
            self.near.push(span);
            for at in [span.begin, span.end, span.end + SECOND] {
                self.push(at, 0, Event::Scene);
            }
        }
        if let Some(span) = self.spans.get(self.upcoming)
            && self.announced.replace(self.upcoming) != Some(self.upcoming)
        {
            self.push(span.begin.saturating_sub(SECOND), 0, Event::Scene);
        }
        let now = self.now;
        self.near.retain(|span| span.end + SECOND > now);
        for span in self.near.clone() {
            if span.begin == now || span.end == now {
                self.last_scene = now;
            }
            if let Trouble::Run { from, to, slots } = span.trouble
                && span.begin == now
            {
                self.nodes[from].forced.insert(to, slots);
            }
        }
        for node in 0..self.nodes.len() {
            let now_on = |trouble| self.near.iter().filter(move |span| span.covers(now) && span.trouble == trouble);
            let dead = now_on(Trouble::Dead(node)).next().is_some();
            let runs = !dead && now_on(Trouble::Restart(node)).next().is_none();
            let thaw = now_on(Trouble::Frozen(node)).map(|span| span.end).max().unwrap_or_default();
            self.nodes[node].frozen_until = thaw;
            if dead {
                self.nodes[node].told.clear();
            }
            match (self.nodes[node].vantage.is_some(), runs) {
                (true, false) => {
                    self.withdraw(node);
                    self.nodes[node].vantage = None;
                    self.nodes[node].pending.clear();
                }
                (false, true) => {
                    let effects = self.boot(node);
                    self.schedule(node);
                    self.after(node, effects);
                }
                _ => {}
            }
        }
    }

    /// Skips what is calm, or has been the same for long.
    pub(super) fn look(&mut self, end: Time) {
        let near = self.near.iter().flat_map(|span| [span.begin, span.end]);
        let edges = near.chain(self.spans.get(self.upcoming).map(|span| span.begin));
        let next = edges.filter(|at| *at > self.now).min().unwrap_or(end).min(end);
        if self.setup.skip && next > self.now + BEFORE + SECOND && self.is_settled() {
            self.now = next - BEFORE;
            // What is next of all is kept if it is a run of losses; those that come after it are by chance.
            self.calm_until = next;
            self.queue.clear();
            self.announced = None;
            for node in &mut self.nodes {
                node.pending.clear();
                node.forced.clear();
                node.lost.fill(false);
            }
            for span in self.near.clone() {
                for at in [span.end, span.end + SECOND] {
                    self.push(at, 0, Event::Scene);
                }
            }
            self.begin();
            return;
        }
        self.push(self.now + SECOND, 0, Event::Look);
    }

    fn is_settled(&self) -> bool {
        let awake = |vantage: &Vantage| vantage.wake_at().is_none();
        if self.last_scene + AFTER > self.now || !self.nodes.iter().filter_map(|n| n.vantage.as_ref()).all(awake) {
            return false;
        }
        let standings = || self.nodes.iter().filter_map(|node| node.vantage.as_ref()).flat_map(Vantage::peers);
        let well = |state| matches!(state, PeerState::Healthy | PeerState::Degraded);
        let calm = || standings().all(|s| well(s.state) && s.incident.is_none() && s.onset.is_none());
        let same = || standings().all(|s| !matches!(s.state, PeerState::Suspect | PeerState::Recovering));
        let lasting = self.near.iter().all(|span| {
            matches!(
                span.trouble,
                Trouble::Path { .. }
                    | Trouble::Cut(_)
                    | Trouble::Dead(_)
                    | Trouble::Partition(_)
                    | Trouble::Blind(_)
                    | Trouble::Service(_)
                    | Trouble::Token
            )
        });
        (self.near.is_empty() && calm())
            || (lasting && same() && self.last_news.max(self.last_scene) + UNCHANGED < self.now)
    }
}
