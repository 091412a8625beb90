//! `arm`, `disarm` and `maintenance`: whether a region may be failed over, for a time.

use std::{process::ExitCode, time::Duration};

use clap::Args;

use super::{
    operator::{Answer, Operator, OperatorArgs, report},
    report::{failed, print, usage},
};
use crate::{
    model::{PeerState, Region},
    signing::{Action, Command},
    yaml::units::duration_in,
};

#[derive(Debug, Args)]
pub(super) struct ArmingArgs {
    /// The region.
    #[arg(required_unless_present = "all")]
    region: Option<String>,
    /// Every region.
    #[arg(long, conflicts_with = "region")]
    all: bool,
    /// How long it holds, at most 7d. Then the files count again, and a region that is down must be held down again.
    #[arg(long = "for", value_name = "TIME", value_parser = hold, default_value = "1h")]
    hold: Duration,
    /// Take back what was commanded, also by other operators: the files count again. The answer says what that was.
    #[arg(long, conflicts_with = "hold")]
    off: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

pub(super) fn hold(text: &str) -> Result<Duration, String> {
    duration_in(Duration::from_secs(1)..=Command::LONGEST)(text)
}

pub(super) fn run(action: Action, args: &ArmingArgs) -> ExitCode {
    let operator = match Operator::new(&args.operator) {
        Ok(operator) => operator,
        Err(errors) => return usage(&errors),
    };
    let answers = operator.and_then(|operator| {
        let region =
            args.region.as_deref().map(|name| Region::new(name).map_err(|reason| format!("{name:?} {reason}")));
        let hold = if args.off { Duration::ZERO } else { args.hold };
        let command = operator.sign(region.transpose()?, action, None, Some(hold))?;
        operator.send(&command, true)
    });
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => return failed(error),
    };
    if let Err(error) = print(&report(&answers)) {
        return failed(format_args!("stdout: {error}"));
    }
    match shortfall(action, &answers) {
        None => ExitCode::SUCCESS,
        Some(shortfall) => failed(shortfall),
    }
}

/// Why a command has not succeeded. What restricts needs one vantage, which passes it on, and none that will not obey. What
/// permits needs a majority of those that are neither down nor isolated: of two, one is enough.
pub(super) fn shortfall(action: Action, answers: &[Answer]) -> Option<String> {
    let has_taken = |answer: &&Answer| answer.done == Some(true);
    let permits = matches!(action, Action::Arm | Action::Failover);
    if !permits {
        let refused = answers.iter().filter(|answer| answer.done == Some(false));
        let refused: Vec<_> =
            refused.map(|Answer { region, said, .. }| format!("{region} will not obey: {said}")).collect();
        if !refused.is_empty() {
            return Some(refused.join("\n"));
        }
    }
    if !answers.iter().any(|answer| has_taken(&answer)) {
        return Some("no instance has taken it".to_owned());
    }
    if !permits {
        // An isolated vantage cannot pass it on.
        let passes_on = |answer: &Answer| answers.len() == 1 || !answer.is_isolated();
        let is_passed_on = answers.iter().filter(has_taken).any(passes_on);
        return (!is_passed_on).then(|| "only isolated instances have taken it; try again".to_owned());
    }
    let counted: Vec<_> = answers.iter().filter(|answer| !is_excused(answer, answers)).collect();
    let (done, of) = (counted.iter().copied().filter(has_taken).count(), counted.len());
    let enough = 2 * done > of || (of <= 2 && done > 0);
    (!enough).then(|| {
        format!("{done} of the {of} instances that are neither down nor isolated have taken it; try again, until more than half have")
    })
}

/// Whether a vantage is isolated, or down as all say that have answered.
fn is_excused(answer: &Answer, answers: &[Answer]) -> bool {
    if answer.votes.is_some() {
        return answer.is_isolated();
    }
    let others = answers.iter().filter_map(|other| other.votes.as_ref()).filter(|votes| !votes.isolated());
    let mut states =
        others.filter_map(|votes| Some(votes.peers().iter().find(|peer| peer.region == answer.region)?.state));
    let first = states.next();
    answer.done != Some(true) && first == Some(PeerState::Down) && states.all(|state| state == PeerState::Down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decision::votes::{PeerVoteEntry, VoteMessage},
        model::Vote,
    };

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    fn entry(name: &str, state: PeerState) -> PeerVoteEntry {
        PeerVoteEntry {
            region: region(name),
            state,
            since_ms: 0,
            vote: Vote::Up,
            last_answer_age_ms: None,
            alive_age_ms: None,
            unserved_ms: None,
            onset: None,
            incident: None,
            held: None,
            order: None,
            mode: None,
            target: None,
            failed_over: None,
            operator_order: false,
        }
    }

    /// The answer of a vantage, and how it sees the region `d`.
    fn answer(name: &str, done: Option<bool>, sees_d: Option<PeerState>, isolated: bool) -> Answer {
        let votes =
            sees_d.map(|state| VoteMessage::new(region(name), (1, 1), isolated, vec![entry("d", state)], Vec::new()));
        Answer::new(region(name), done, votes.map(Result::unwrap))
    }

    #[test]
    fn to_restrict_needs_one_vantage_and_to_arm_a_majority_of_those_that_can_answer() {
        use PeerState::{Down, Healthy};
        let silent = |name| answer(name, None, None, false);
        let took = |name, sees| answer(name, Some(true), Some(sees), false);
        let isolated = |name, done| answer(name, Some(done), Some(Down), true);
        let refused = |name, sees| answer(name, Some(false), Some(sees), false);
        let cases = [
            (vec![silent("a"), silent("d")], false, false),
            // Of two, one is enough.
            (vec![took("a", Healthy), silent("d")], true, true),
            (vec![took("a", Healthy), refused("b", Healthy), silent("d")], false, false),
            (vec![took("a", Healthy), took("b", Healthy), silent("d")], true, true),
            // One is down, so of four three are left.
            (vec![took("a", Down), took("b", Down), refused("c", Down), silent("d")], false, true),
            (vec![took("a", Down), took("b", Down), silent("c"), silent("d")], true, true),
            (vec![took("a", Down), took("b", Healthy), silent("c"), silent("d")], true, false),
            // What an isolated one has taken does not count, nor what it sees.
            (vec![isolated("a", true), refused("b", Healthy), refused("c", Healthy), silent("d")], false, false),
            (vec![isolated("a", true), silent("b"), silent("d")], false, false),
            (vec![isolated("a", true), took("b", Healthy), silent("d")], true, true),
            (vec![isolated("a", true)], true, false),
        ];
        for (n, (answers, restricts, arms)) in cases.into_iter().enumerate() {
            assert_eq!(shortfall(Action::Disarm, &answers).is_none(), restricts, "{n}");
            assert_eq!(shortfall(Action::Maintenance, &answers).is_none(), restricts, "{n}");
            assert_eq!(shortfall(Action::Arm, &answers).is_none(), arms, "{n}");
            assert_eq!(shortfall(Action::Failover, &answers).is_none(), arms, "{n}");
        }
    }

    #[test]
    fn each_instance_that_will_not_obey_is_named_with_its_reason() {
        let answers = [("a", Some(true)), ("b", Some(false)), ("c", None), ("d", Some(false))];
        let answers = answers.map(|(name, done)| answer(name, done, None, false));
        let said = "b will not obey: refused: why\nd will not obey: refused: why";
        assert_eq!(shortfall(Action::Disarm, &answers).unwrap(), said);
    }
}
