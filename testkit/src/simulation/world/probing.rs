//! Probes and votes on their way.

use regionwatch::{decision::votes::VoteSet, model::Failure};

use super::{
    super::timeline::{MILLI, SECOND, Span, Time, Trouble},
    DEADLINE, Event, FAST_SLOT, KINDS, SERVICE, SIDECAR, World,
};

/// Jitter of a round trip, as a part of it.
const JITTER: f64 = 0.05;

/// The round trip to an anchor, and how long one is waited for.
const ANCHOR_RTT: Time = 20 * MILLI;
const ANCHOR_OVERDUE: Time = 300 * MILLI;

impl World {
    pub(super) fn slot(&mut self, from: usize, to: usize, n: u32) {
        self.push(self.now + FAST_SLOT, from, Event::Slot { from, to, n: (n + 1) % 4 });
        let loss = self.setup.loss;
        let mut lost = [self.random.chance(loss), self.random.chance(loss)];
        let node = &mut self.nodes[from];
        if let Some(left) = node.forced.get_mut(&to) {
            // A run is over when one is answered.
            lost = [*left > 0; 2];
            *left = left.saturating_sub(1);
            if lost == [false; 2] {
                node.forced.remove(&to);
            }
        } else if self.now < self.calm_until && node.lost[to] {
            lost[0] = false;
        }
        node.lost[to] = lost == [true; 2];
        self.journal.probes += if n == 0 { 3 } else { 2 };
        for (kind, lost) in lost.into_iter().enumerate() {
            self.probe(from, to, kind, lost);
        }
        if self.setup.witness && to == usize::from(from == 0) {
            self.probe_anchor(from);
        }
        if n == 0 {
            let lost = self.random.chance(loss);
            self.probe(from, to, SIDECAR, lost);
            if self.setup.critical {
                let lost = self.random.chance(loss);
                self.probe(from, to, SERVICE, lost);
            }
        }
    }

    pub(super) fn probe(&mut self, from: usize, to: usize, kind: usize, lost: bool) {
        let sent = self.now;
        let usual = self.setup.rtt[from][to];
        let rtt = (usual * (1.0 + JITTER * self.random.unit()) * SECOND as f64) as Time;
        let vantage = self.nodes[from].vantage.as_ref().expect("it runs");
        let patience = (2.0 * usual * (1.0 + JITTER) + 0.05).clamp(0.2, 1.0) * f64::from(1 + vantage.health_score());
        let patience = (patience * SECOND as f64) as Time;
        let blind = self.near.iter().any(|span| span.covers(sent) && span.trouble == Trouble::Blind(from));
        let arrives = !lost && !blind && self.passes(from, to, sent + rtt / 4) && self.lives(to, sent + rtt / 2);
        let returns = arrives && self.passes(to, from, sent + rtt * 3 / 4);
        let path = to * KINDS.len() + kind;
        if kind == SIDECAR {
            self.order += 1;
            let id = self.order;
            self.nodes[from].pending.insert(id, to);
            if arrives {
                self.push(sent + rtt / 2, from, Event::Serve { from, to, sent, id });
            }
            if patience < DEADLINE {
                self.push(sent + patience, from, Event::Impatient { to, sent, id });
            }
            self.push(sent + DEADLINE, from, Event::Deadline { to, sent, id });
        } else if returns {
            if patience < rtt {
                self.push(sent + patience, from, Event::Overdue { path, sent });
            }
            let failure = if kind == SERVICE { self.refusal(to, sent + rtt / 2) } else { None };
            self.push(sent + rtt, from, Event::Ended { path, sent, failure });
        } else {
            if patience < DEADLINE {
                self.push(sent + patience, from, Event::Overdue { path, sent });
            }
            self.push(sent + DEADLINE, from, Event::Ended { path, sent, failure: Some(Failure::Timeout) });
        }
    }

    /// An endpoint outside of all regions is probed, which never fails.
    fn probe_anchor(&mut self, from: usize) {
        let (sent, path) = (self.now, self.nodes.len() * KINDS.len() + 1);
        let is_cut =
            |span: &Span| matches!(span.trouble, Trouble::Blind(region) | Trouble::Cut(region) if region == from);
        let (event, at) = if self.near.iter().any(|span| span.covers(sent) && is_cut(span)) {
            self.push(sent + ANCHOR_OVERDUE, from, Event::Overdue { path, sent });
            (Event::Ended { path, sent, failure: Some(Failure::Timeout) }, sent + DEADLINE)
        } else {
            (Event::Ended { path, sent, failure: None }, sent + ANCHOR_RTT)
        };
        self.push(at, from, event);
    }

    /// A sidecar is asked. What it says is what it knew when it ran last.
    pub(super) fn serve(&mut self, from: usize, to: usize, sent: Time, id: u64, boot: u32) {
        if self.nodes[from].boot != boot || !self.lives(to, self.now) {
            return;
        }
        let thaw = self.nodes[to].frozen_until;
        if thaw > self.now {
            return self.push(thaw, from, Event::Serve { from, to, sent, id });
        }
        let half = (self.setup.rtt[from][to] * SECOND as f64) as Time / 2;
        if !self.passes(to, from, self.now + half / 2) {
            return;
        }
        let offset = self.skew(to) - self.skew(from);
        let views = self.views(to, sent).map(|views| Box::new(VoteSet { clock_offset_ms: Some(offset), ..views }));
        self.push(self.now + half, from, Event::Answer { to, sent, id, views });
    }

    fn views(&self, of: usize, asked: Time) -> Option<VoteSet> {
        let vantage = self.nodes[of].vantage.as_ref()?;
        let id = (self.nodes[of].boot.into(), 0);
        let message = vantage.vote_message(id, self.clock(of)).expect("a few peers");
        Some(message.votes(self.instant(asked)))
    }

    fn passes(&self, from: usize, to: usize, at: Time) -> bool {
        let dead = |span: &Span| matches!(span.trouble, Trouble::Dead(_));
        self.near.iter().all(|span| dead(span) || !(span.covers(at) && span.stops(from, to)))
    }

    /// What the services of a region answer with, if not well.
    fn refusal(&self, region: usize, at: Time) -> Option<Failure> {
        let now_on = |trouble| self.near.iter().any(|span| span.covers(at) && span.trouble == trouble);
        if now_on(Trouble::Service(region)) {
            Some(Failure::Status)
        } else {
            now_on(Trouble::Token).then_some(Failure::Auth)
        }
    }

    pub(super) fn lives(&self, region: usize, at: Time) -> bool {
        !self.near.iter().any(|span| span.covers(at) && span.trouble == Trouble::Dead(region))
    }
}
