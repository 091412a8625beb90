//! The rule by which a peer is in its state, with what the rule was applied to.

use std::{fmt, time::Duration};

use super::{Failing, QualityFault, QualitySample};
use crate::model::{Cause, Kind, StateReason, Tally, TargetName};

/// The rule by which a peer is in its state.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Too few probes were answered so far.
    NotEnoughData,
    /// It answers.
    Answers,
    /// It has been stable for this long.
    Stable(Duration),
    /// It answers badly.
    Quality(QualityFault),
    /// It is back, and more probes fail than on an ordinary path.
    Unclean(Option<QualitySample>),
    /// One path fails, with so many probes in a row.
    PathFails(TargetName, Kind, u32),
    /// It is silent to this vantage, and others reach it.
    OthersReachIt(Tally),
    /// It seems to be dead.
    Failing(Failing),
    /// Its services fail from what seems to be a common cause of several regions.
    CommonMode,
    /// A quorum of the vantages votes down.
    Quorum(Tally),
    /// The wait for the votes of others is over: how long it was, and what they said.
    NoVotes(Duration, Tally),
    /// It answers again.
    AnswersAgain,
}

impl Rule {
    /// The name of the rule, without what it was applied to.
    pub const fn reason(&self) -> StateReason {
        match self {
            Self::NotEnoughData => StateReason::InsufficientData,
            Self::Answers => StateReason::Answers,
            Self::Stable(_) => StateReason::Stable,
            Self::Quality(QualityFault::Lossy(_)) | Self::Unclean(_) => StateReason::Loss,
            Self::Quality(QualityFault::Slow { .. }) => StateReason::Latency,
            Self::PathFails(..) => StateReason::PathFails,
            Self::OthersReachIt(_) => StateReason::OthersReachIt,
            Self::Failing(Failing { cause: Cause::Silence, .. }) => StateReason::Silence,
            Self::Failing(Failing { cause: Cause::Service, .. }) => StateReason::Service,
            Self::CommonMode => StateReason::CommonMode,
            Self::Quorum(_) => StateReason::Quorum,
            Self::NoVotes(..) => StateReason::NoVotes,
            Self::AnswersAgain => StateReason::AnswersAgain,
        }
    }
}

impl fmt::Display for Rule {
    /// In words, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnoughData => f.write_str("too few probes were answered so far"),
            Self::Answers => f.write_str("it answers"),
            Self::Stable(duration) => write!(f, "it has been stable for {} s", duration.as_secs()),
            Self::Quality(QualityFault::Lossy(sample)) => lossy(f, sample),
            Self::Quality(QualityFault::Slow { p95, usual }) => {
                write!(f, "p95 latency of {} ms over 60 s, usually {} ms", p95.as_millis(), usual.as_millis())
            }
            Self::Unclean(Some(sample)) => {
                lossy(f, sample)?;
                f.write_str(" after the outage")
            }
            Self::Unclean(None) => f.write_str("too few probes were answered after the outage"),
            Self::PathFails(target, kind, failures) => {
                write!(f, "the last {failures} {kind} probes of {target} have failed")
            }
            Self::OthersReachIt(tally) => {
                write!(f, "it is silent to this vantage, and {} of {} vantages reach it", tally.up, tally.voters)
            }
            Self::Failing(Failing { cause: Cause::Silence, .. }) => f.write_str("it does not answer on any layer"),
            Self::Failing(Failing { cause: Cause::Service, .. }) => {
                f.write_str("the network answers, and its critical services fail")
            }
            Self::CommonMode => {
                f.write_str("its critical services fail from what seems to be a common cause of several regions")
            }
            Self::Quorum(Tally { down, voters, needed, .. }) => {
                write!(f, "{down} of {voters} vantages vote down, {needed} needed")
            }
            Self::NoVotes(waited, Tally { down, voters, needed, .. }) => write!(
                f,
                "no quorum after {} s: {down} of {voters} vantages vote down, {needed} needed",
                waited.as_secs()
            ),
            Self::AnswersAgain => f.write_str("it answers again, and is watched for stability"),
        }
    }
}

fn lossy(f: &mut fmt::Formatter<'_>, QualitySample { kind, loss, lost, .. }: &QualitySample) -> fmt::Result {
    // Never rounded to 0: the rule is about more than 2%.
    write!(f, "{:.0}% of {kind} probes failed over 60 s ({lost} probes)", (loss * 100.0).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::TCP;

    #[test]
    fn a_rule_says_what_it_was_applied_to() {
        let sample = QualitySample { kind: TCP, loss: 0.07, lost: 17, p95: None };
        let slow = QualityFault::Slow { p95: Duration::from_millis(151), usual: Duration::from_millis(100) };
        let tally = Tally { down: 1, up: 2, voters: 3, needed: 2, ..Tally::default() };
        for (rule, reason, words) in [
            (Rule::Quality(QualityFault::Lossy(sample)), "loss", "7% of tcp probes failed over 60 s (17 probes)"),
            (Rule::Quality(slow), "latency", "p95 latency of 151 ms over 60 s, usually 100 ms"),
            (Rule::Quorum(tally), "quorum", "1 of 3 vantages vote down, 2 needed"),
            (Rule::OthersReachIt(tally), "others_reach_it", "2 of 3 vantages reach it"),
            (Rule::NoVotes(Duration::from_secs(10), tally), "no_votes", "no quorum after 10 s"),
            (Rule::CommonMode, "common_mode", "a common cause of several regions"),
        ] {
            assert_eq!(rule.reason().as_str(), reason);
            assert!(rule.to_string().contains(words), "{rule}");
        }
    }
}
