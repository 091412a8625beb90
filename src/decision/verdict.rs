//! The state machine of one peer as seen from here.
//!
//! ```text
//! unknown ─▶ healthy ◀─▶ degraded        any of both ─silence─▶ suspect ─quorum, or a long wait─▶ down
//!                                        suspect ─an answer─▶ what it was before
//!                                        unknown ─silence that the process before this one had seen begin─▶ suspect
//!                                        suspect, down ─others reach it─▶ degraded
//!                                        down ─only services fail, as in other regions─▶ degraded
//!            down ─answers again─▶ recovering ─holds─▶ healthy, degraded      recovering ─silence─▶ down
//! ```
//!
//! `evidence` is what was seen, `quality` how well the peer answers, this file what follows from both and from the
//! other vantages' votes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Evidence, Failing, PathInfo, Quality, Rule};
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
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What was seen of it.
    pub evidence: Evidence,
    /// How well it answers.
    pub quality: Quality,
    state: PeerState,
    /// The rule that led to this state.
    rule: Rule,
    since: Instant,
    /// What it was before it was suspected, and why.
    before: (PeerState, Rule),
    /// Since when it has been good.
    good_since: Option<Instant>,
    /// Since when others have reached it while it is silent to us.
    contradicted_since: Option<Instant>,
    failing: Option<Failing>,
    /// Whether its critical probes fail from what seems to be one cause for several regions.
    common_mode: bool,
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
            rule: Rule::NotEnoughData,
            since: now,
            before: (PeerState::Healthy, Rule::Answers),
            good_since: None,
            contradicted_since: None,
            failing: None,
            common_mode: false,
            cause: Cause::Silence,
            flaps: 0,
            flapped_at: now,
        }
    }

    /// The state.
    pub const fn state(&self) -> PeerState {
        self.state
    }

    /// The rule by which it is in its state. A common mode begins and ends within a state, and says more than what led there.
    pub const fn rule(&self) -> &Rule {
        if self.common_mode { &Rule::CommonMode } else { &self.rule }
    }

    /// Since when it has been in its state.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// That the peer seems to be dead now, whatever the state says of it.
    pub const fn failing(&self) -> Option<Failing> {
        self.failing
    }

    /// Whether its critical probes fail from what seems to be one cause for several regions, so that it is degraded and not
    /// dead. Lasts until one of them succeeds, or the network is silent too.
    pub const fn is_common_mode(&self) -> bool {
        self.common_mode
    }

    /// What the last failure consisted in.
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Looks at the evidence again; to be called when it has changed, and before votes are counted. `shared` says whether
    /// the services of another region began to fail at about the same time.
    pub fn refresh(&mut self, shared: bool) -> Option<Failing> {
        // Nothing is concluded from silence before there was an answer.
        let heard = self.state != PeerState::Unknown || self.evidence.is_assumed_up();
        let service = self.evidence.service_failure().filter(|_| heard);
        // If the other region recovers first, this one is still not to be failed over for what they shared.
        self.common_mode = service.is_some_and(|service| {
            service.failing.cause == Cause::Service && (self.common_mode || shared || service.is_common)
        });
        let alone = service.filter(|_| !self.common_mode).map(|service| service.failing);
        self.failing = self.evidence.silence().filter(|_| heard).or(alone);
        if let Some(failing) = self.failing {
            self.cause = failing.cause;
        }
        self.failing
    }

    /// Goes from one state to the next where that is due; to be called again until it says `None`.
    ///
    /// An isolated vantage suspects no peer, and drops its suspicions: they were about itself.
    pub fn step(&mut self, tally: &Tally, isolated: bool, now: Instant) -> Option<Transition> {
        let (to, rule) = self.next(tally, isolated, now)?;
        let from = std::mem::replace(&mut self.state, to);
        let before = std::mem::replace(&mut self.rule, rule);
        self.since = now;
        self.good_since = None;
        match (from, to) {
            (_, PeerState::Suspect) => self.before = (from, before),
            (PeerState::Suspect | PeerState::Recovering, PeerState::Down) => {
                self.flaps = self.flaps(now).saturating_add(1);
                self.flapped_at = now;
            }
            _ => {}
        }
        Some(Transition { from, to })
    }

    /// The next state, and the rule that leads to it.
    fn next(&mut self, tally: &Tally, isolated: bool, now: Instant) -> Option<(PeerState, Rule)> {
        use PeerState::{Degraded, Down, Healthy, Recovering, Suspect, Unknown};
        let partial = self.failing.is_some() && tally.contradicted;
        let silence = self.failing.filter(|_| !tally.contradicted && !isolated).map(Rule::Failing);
        if !partial {
            self.contradicted_since = None;
        }
        match self.state {
            Unknown if self.evidence.is_enough() && !isolated => Some(match self.fault() {
                Some(fault) => (Degraded, fault),
                None => (Healthy, Rule::Answers),
            }),
            Unknown => Some((Suspect, silence?)),
            Healthy | Degraded if silence.is_some() => Some((Suspect, silence?)),
            Healthy if isolated => None,
            Healthy if partial => Some((Degraded, Rule::OthersReachIt(*tally))),
            Healthy => Some((Degraded, self.fault()?)),
            Degraded if !partial && !self.is_bad() && self.quality.is_good() => {
                let since = *self.good_since.get_or_insert(now);
                (now.saturating_duration_since(since) >= GOOD).then_some((Healthy, Rule::Stable(GOOD)))
            }
            Degraded => {
                self.good_since = None;
                None
            }
            Suspect if isolated || self.failing.is_none() => Some(self.before.clone()),
            Suspect if partial => Some((Degraded, Rule::OthersReachIt(*tally))),
            Suspect if tally.reached => Some((Down, Rule::Quorum(*tally))),
            Suspect => {
                let waited = now.saturating_duration_since(self.since);
                (waited >= suspicion(tally)).then_some((Down, Rule::NoVotes(waited, *tally)))
            }
            Down if isolated => None,
            Down if partial => {
                let since = *self.contradicted_since.get_or_insert(now);
                let lasts = now.saturating_duration_since(since) >= PARTIAL;
                lasts.then_some((Degraded, Rule::OthersReachIt(*tally)))
            }
            Down if self.failing.is_none() && self.common_mode => {
                Some((Degraded, self.fault().unwrap_or(Rule::CommonMode)))
            }
            Down if self.failing.is_none() && self.evidence.has_recovered() => Some((Recovering, Rule::AnswersAgain)),
            Down => None,
            Recovering if silence.is_some() => Some((Down, silence?)),
            Recovering if partial => Some((Degraded, Rule::OthersReachIt(*tally))),
            Recovering if isolated => None,
            Recovering => {
                // An older reading covers a part of the outage, and would call every return a lossy one.
                let recovery = self.recovery(now);
                let held = self.quality.sampled_at() >= Some(self.since + recovery);
                held.then(|| match self.fault() {
                    Some(fault) => (Degraded, fault),
                    None if !self.quality.is_clean() => {
                        (Degraded, Rule::Unclean(self.quality.last().map(|(sample, _)| sample)))
                    }
                    None => (Healthy, Rule::Stable(recovery)),
                })
            }
        }
    }

    fn is_bad(&self) -> bool {
        self.fault().is_some()
    }

    /// What is bad about a peer that answers.
    fn fault(&self) -> Option<Rule> {
        let fails = |(path, failures): (&PathInfo, u32)| Rule::PathFails(path.target.clone(), path.kind, failures);
        self.quality.fault().map(Rule::Quality).or_else(|| self.evidence.dead_path().map(fails))
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
