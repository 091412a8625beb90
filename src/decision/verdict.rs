//! The state machine of one peer as seen from here.
//!
//! ```text
//! unknown ─▶ healthy ◀─▶ degraded        any of both ─silence─▶ suspect ─quorum, or a long wait─▶ down
//!                                        suspect ─an answer─▶ what it was before
//!                                        unknown ─silence that the process before this one had seen begin─▶ suspect
//!                                        suspect, down ─others reach it─▶ degraded
//!            down ─answers again─▶ recovering ─holds─▶ healthy, degraded      recovering ─silence─▶ down
//! ```
//!
//! `evidence` is what was seen, `quality` how well the peer answers, this file what follows from both and from the
//! other vantages' votes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Evidence, Failing, Quality};
use crate::model::{Cause, PeerState, Tally};

/// How long a suspicion waits for other vantages that say nothing. With each confirmation it waits less, in the form
/// of Lifeguard's suspicion timeout (Dadgar et al., arXiv 1707.00788, IV-B) with a minimum of zero.
const SUSPICION: Duration = Duration::from_secs(10);

/// How long a peer that came back must stay well before it is healthy; twice as long for each time that it was down
/// before, which is forgotten at a rate of one an hour.
const RECOVERY: Duration = Duration::from_secs(60);
const LONGEST_RECOVERY: Duration = Duration::from_secs(15 * 60);
const FORGET: Duration = Duration::from_secs(3600);

/// How long others must have reached a peer that is down until that is more than that they were the first to hear of
/// its return.
const PARTIAL: Duration = Duration::from_secs(5);

/// How long a degraded peer must be good before it is healthy.
const GOOD: Duration = Duration::from_secs(120);

/// From one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: PeerState,
    /// The state now.
    pub to: PeerState,
}

impl Transition {
    /// Every transition that [`Verdict::step`] makes.
    pub const ALL: [(PeerState, PeerState); 16] = {
        use PeerState::{Degraded, Down, Healthy, Recovering, Suspect, Unknown};
        [
            (Unknown, Healthy),
            (Unknown, Degraded),
            (Unknown, Suspect),
            (Suspect, Unknown),
            (Healthy, Degraded),
            (Degraded, Healthy),
            (Healthy, Suspect),
            (Degraded, Suspect),
            (Suspect, Healthy),
            (Suspect, Degraded),
            (Suspect, Down),
            (Down, Recovering),
            (Down, Degraded),
            (Recovering, Down),
            (Recovering, Healthy),
            (Recovering, Degraded),
        ]
    };
}

/// What this vantage thinks of one peer.
#[derive(Debug)]
pub struct Verdict {
    /// What was seen of it.
    pub evidence: Evidence,
    /// How well it answers.
    pub quality: Quality,
    state: PeerState,
    since: Instant,
    /// What it was before it was suspected.
    before: PeerState,
    /// Since when it has been good.
    good_since: Option<Instant>,
    /// Since when others have reached it while it is silent to us.
    contradicted_since: Option<Instant>,
    failing: Option<Failing>,
    cause: Cause,
    flaps: u32,
    flapped_at: Instant,
}

impl Verdict {
    /// Knows nothing yet.
    pub fn new(evidence: Evidence, now: Instant) -> Self {
        Self {
            evidence,
            quality: Quality::default(),
            state: PeerState::Unknown,
            since: now,
            before: PeerState::Healthy,
            good_since: None,
            contradicted_since: None,
            failing: None,
            cause: Cause::Silence,
            flaps: 0,
            flapped_at: now,
        }
    }

    /// The state.
    pub const fn state(&self) -> PeerState {
        self.state
    }

    /// Since when it has been in its state.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// That the peer seems to be dead now, whatever the state says of it.
    pub const fn failing(&self) -> Option<Failing> {
        self.failing
    }

    /// What the last failure consisted in.
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Looks at the evidence again; to be called when it has changed, and before votes are counted.
    pub fn refresh(&mut self) -> Option<Failing> {
        // Nothing is concluded from silence before there was an answer.
        let heard = self.state != PeerState::Unknown || self.evidence.is_assumed_up();
        self.failing = self.evidence.failing().filter(|_| heard);
        if let Some(failing) = self.failing {
            self.cause = failing.cause;
        }
        self.failing
    }

    /// Goes from one state to the next where that is due; to be called again until it says `None`.
    ///
    /// An isolated vantage suspects no peer, and drops its suspicions: they were about itself.
    pub fn step(&mut self, tally: &Tally, isolated: bool, now: Instant) -> Option<Transition> {
        let to = self.next(tally, isolated, now)?;
        let from = std::mem::replace(&mut self.state, to);
        self.since = now;
        self.good_since = None;
        match (from, to) {
            (_, PeerState::Suspect) => self.before = from,
            (PeerState::Suspect | PeerState::Recovering, PeerState::Down) => {
                self.flaps = self.flaps(now).saturating_add(1);
                self.flapped_at = now;
            }
            _ => {}
        }
        Some(Transition { from, to })
    }

    fn next(&mut self, tally: &Tally, isolated: bool, now: Instant) -> Option<PeerState> {
        use PeerState::{Degraded, Down, Healthy, Recovering, Suspect, Unknown};
        let partial = self.failing.is_some() && tally.contradicted;
        let silent = self.failing.is_some() && !tally.contradicted && !isolated;
        if !partial {
            self.contradicted_since = None;
        }
        match self.state {
            Unknown if self.evidence.is_enough() && !isolated => Some(if self.is_bad() { Degraded } else { Healthy }),
            Unknown if silent => Some(Suspect),
            Unknown => None,
            Healthy | Degraded if silent => Some(Suspect),
            Healthy if partial || self.is_bad() => (!isolated).then_some(Degraded),
            Degraded if !partial && !self.is_bad() && self.quality.is_good() => {
                let since = *self.good_since.get_or_insert(now);
                (now.saturating_duration_since(since) >= GOOD).then_some(Healthy)
            }
            Healthy => None,
            Degraded => {
                self.good_since = None;
                None
            }
            Suspect if isolated || self.failing.is_none() => Some(self.before),
            Suspect if partial => Some(Degraded),
            Suspect => {
                let waited = now.saturating_duration_since(self.since);
                (tally.reached || waited >= suspicion(tally)).then_some(Down)
            }
            Down if isolated => None,
            Down if partial => {
                let since = *self.contradicted_since.get_or_insert(now);
                (now.saturating_duration_since(since) >= PARTIAL).then_some(Degraded)
            }
            Down if self.failing.is_none() && self.evidence.has_recovered() => Some(Recovering),
            Down => None,
            Recovering if silent => Some(Down),
            Recovering if partial => Some(Degraded),
            Recovering if isolated => None,
            Recovering => {
                // An older reading covers a part of the outage, and would call every return a lossy one.
                let held = self.quality.sampled_at() >= Some(self.since + self.recovery(now));
                held.then(|| if self.is_bad() || !self.quality.is_clean() { Degraded } else { Healthy })
            }
        }
    }

    fn is_bad(&self) -> bool {
        self.quality.is_bad() || self.evidence.is_partly_dead()
    }

    /// How often it was down, as far as that is not forgotten yet.
    fn flaps(&self, now: Instant) -> u32 {
        let forgotten = now.saturating_duration_since(self.flapped_at).as_secs() / FORGET.as_secs();
        self.flaps.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    /// How long it has to be well after this outage.
    fn recovery(&self, now: Instant) -> Duration {
        let before = self.flaps(now).saturating_sub(1);
        RECOVERY.saturating_mul(1 << before.min(10)).min(LONGEST_RECOVERY)
    }
}

/// How long a suspicion waits, by how many others confirm it.
fn suspicion(tally: &Tally) -> Duration {
    let confirmations = f64::from(tally.down.saturating_sub(1));
    let wanted = f64::from(tally.needed.saturating_sub(1).max(1));
    let waited = 1.0 - (confirmations + 1.0).ln() / (wanted + 1.0).ln();
    // Confirmed by enough, but of too few vantages: the votes that are missing are waited for.
    if waited <= 0.0 { SUSPICION } else { SUSPICION.mul_f64(waited) }
}
