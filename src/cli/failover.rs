//! `failover`: an operator orders a failover, which needs no outage.

use std::{fmt::Write as _, process::ExitCode, thread, time::Duration};

use clap::Args;
use tokio::time::Instant;

use super::{
    arming::{hold, shortfall},
    operator::{Operator, OperatorArgs, report},
    report::{failed, print, usage},
};
use crate::{
    decision::{
        OperatorOrder,
        votes::{PeerVoteEntry, VoteMessage},
    },
    model::{Region, UnixMillis},
    signing::{Action, Command, FailoverTerms},
};

/// How long an order may take: the instances learn from each other's votes who knows the command.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct FailoverArgs {
    /// The region that is to be failed over.
    region: String,
    /// The region that takes over; by default the best one in the ranking of the instance there.
    #[arg(long, value_name = "REGION")]
    to: Option<String>,
    /// How long the order stands, at most 168h. The region counts as failed over until it is released.
    #[arg(long = "for", value_name = "TIME", value_parser = hold, default_value = "10m")]
    hold: Duration,
    /// Fail over whatever is lost of databases (rpo, rpo_unknown).
    #[arg(long)]
    accept_loss: bool,
    /// Pass the limits, and every gate of the target but its zone. The reason is in the audit log of each instance.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    force: Option<String>,
    /// End the order. The region counts as failed over until it is released.
    #[arg(long, conflicts_with_all = ["to", "hold", "accept_loss", "force"])]
    off: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_reason = (1..=FailoverTerms::MAX_REASON).contains(&text.len()) && !text.contains(char::is_control);
    let most = FailoverTerms::MAX_REASON;
    is_reason.then(|| text.to_owned()).ok_or_else(|| format!("is no reason; write one line of 1 to {most} bytes"))
}

pub(super) fn run(args: &FailoverArgs) -> ExitCode {
    let operator = match Operator::new(&args.operator) {
        Ok(operator) => operator,
        Err(errors) => return usage(&errors),
    };
    match operator.and_then(|operator| order(&operator, args)) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(shortfall)) => failed(shortfall),
        Err(error) => failed(error),
    }
}

/// Commands the failover, and says what the instances make of it. Returns what is missing.
fn order(operator: &Operator, args: &FailoverArgs) -> Result<Option<String>, String> {
    let named = |name: &str| Region::new(name).map_err(|reason| format!("{name:?} {reason}"));
    let region = named(&args.region)?;
    let terms = if args.off {
        None
    } else {
        let target = match &args.to {
            Some(name) => named(name)?,
            None => best_target(&region, &operator.votes()?)?,
        };
        if target == region {
            return Err(format!("--to {target}: is the region itself; name another one"));
        }
        Some(FailoverTerms { target, accept_loss: args.accept_loss, force: args.force.clone() })
    };
    let hold = if args.off { Duration::ZERO } else { args.hold };
    let command = operator.sign(Some(region.clone()), Action::Failover, terms, Some(hold))?;
    let at = Command::unverified(command.as_bytes())?.0.at;
    let answers = operator.send(&command, true)?;
    print(&report(&answers)).map_err(|error| format!("stdout: {error}"))?;
    let missing = shortfall(Action::Failover, &answers);
    // One that has taken it passes it on, so that the others may follow.
    if args.off || answers.iter().all(|answer| answer.done != Some(true)) {
        return Ok(missing);
    }
    let begin = Instant::now();
    loop {
        let ordering = ordering(&region, at, &operator.votes()?);
        if !ordering.is_empty() {
            let names: Vec<_> = ordering.iter().map(Region::as_str).collect();
            let mut said = String::new();
            let _ = writeln!(said, "the failover of {region} is ordered by {}", names.join(", "));
            return print(&said).map(|()| None).map_err(|error| format!("stdout: {error}"));
        }
        if begin.elapsed() >= PATIENCE {
            let yet = format!(
                "no instance orders the failover of {region} yet: regionwatch explain {region} says why; take the command back \
                 with --off"
            );
            return Ok(Some(missing.map_or_else(|| yet.clone(), |missing| format!("{missing}\n{yet}"))));
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// The best failover target of a region, as its own instance ranks them.
fn best_target(region: &Region, votes: &[(Region, Option<VoteMessage>)]) -> Result<Region, String> {
    let own = votes.iter().find(|(of, _)| of == region).and_then(|(_, votes)| votes.as_ref());
    let own = own.ok_or_else(|| {
        format!("the instance of {region} does not answer with its ranking; name the target with --to REGION")
    })?;
    let ranked = own.ranking().iter().filter(|entry| entry.eligible && entry.rank.is_some());
    let best = ranked.min_by_key(|entry| entry.rank).map(|entry| entry.region.clone());
    best.ok_or_else(|| {
        format!(
            "no region can take over from {region}, as its instance says; name one with --to REGION, and --force REASON"
        )
    })
}

/// The vantages that order the failover of a region now, as an operator has commanded at this time.
fn ordering(region: &Region, at: UnixMillis, votes: &[(Region, Option<VoteMessage>)]) -> Vec<Region> {
    let id = OperatorOrder::id_of(region, at);
    let is_it = |peer: &PeerVoteEntry| {
        let is_named = peer.failed_over.as_ref().is_some_and(|failover| *failover.incident == *id);
        peer.region == *region && peer.operator_order && is_named
    };
    let orders = |votes: &VoteMessage| !votes.isolated() && votes.peers().iter().any(is_it);
    let ordering = votes.iter().filter(|(_, votes)| votes.as_ref().is_some_and(orders));
    ordering.map(|(of, _)| of.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decision::votes::{FailedOverEntry, RankEntry},
        model::{PeerState, Vote},
    };

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    fn rank(name: &str, rank: Option<u32>) -> RankEntry {
        RankEntry { region: region(name), rank, score: None, eligible: rank.is_some(), reasons: Vec::new() }
    }

    const AT: UnixMillis = UnixMillis(5);

    fn votes(of: &str, isolated: bool, orders: bool, ranking: Vec<RankEntry>) -> (Region, Option<VoteMessage>) {
        let entry = PeerVoteEntry {
            region: region("x"),
            state: PeerState::Healthy,
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
            failed_over: orders.then(|| FailedOverEntry {
                incident: OperatorOrder::id_of(&region("x"), AT).into(),
                onset: AT,
                target: region("a"),
                age_ms: 0,
            }),
            operator_order: orders,
        };
        let peers = if of == "x" { Vec::new() } else { vec![entry] };
        (region(of), Some(VoteMessage::new(region(of), (1, 1), isolated, peers, ranking).unwrap()))
    }

    #[test]
    fn the_target_is_the_best_one_that_the_region_itself_ranks() {
        let best = |votes: &[(Region, Option<VoteMessage>)]| best_target(&region("x"), votes);
        let others = votes("a", false, false, vec![rank("c", Some(1))]);
        let own = votes("x", false, false, vec![rank("a", None), rank("b", Some(2)), rank("c", Some(1))]);
        assert_eq!(best(&[others.clone(), own]), Ok(region("c")));
        let none = best(&[others.clone(), votes("x", false, false, vec![rank("a", None)])]).unwrap_err();
        assert!(none.contains("no region can take over from x"), "{none}");
        let away = best(&[others, (region("x"), None)]).unwrap_err();
        assert!(away.contains("does not answer with its ranking; name the target"), "{away}");
    }

    #[test]
    fn an_order_is_seen_in_the_votes_of_each_vantage_that_gives_it() {
        let all = [
            votes("a", false, true, Vec::new()),
            votes("b", false, false, Vec::new()),
            votes("c", true, true, Vec::new()),
            (region("d"), None),
            votes("x", false, false, Vec::new()),
        ];
        assert_eq!(ordering(&region("x"), AT, &all), [region("a")]);
        assert_eq!(ordering(&region("x"), UnixMillis(6), &all), [], "an order of before");
    }

    #[test]
    fn a_reason_is_one_line_that_is_not_empty() {
        assert_eq!(reason(" the hall floods "), Ok("the hall floods".to_owned()));
        for bad in ["", "  ", "two\nlines", &"x".repeat(FailoverTerms::MAX_REASON + 1)] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }
}
