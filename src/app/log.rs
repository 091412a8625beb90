//! The log lines of what the engine reports.

use tracing::{info, warn};

use crate::{
    decision::{StateChange, Transition, votes::VoteProblem},
    model::{PeerState, Promotion, Tally},
};

pub(super) fn log(change: &StateChange) {
    match change {
        StateChange::Peer { peer, transition: Transition { from, to }, rule, tally } => {
            let Tally { down, up, voters, needed, .. } = tally;
            let reason = rule.reason();
            match to {
                PeerState::Down => {
                    let confirmed = tally.reached;
                    warn!(%peer, %from, %to, %reason, down, up, voters, needed, confirmed, "{peer} is down: {rule}");
                }
                PeerState::Suspect => {
                    info!(%peer, %from, %to, %reason, "{peer} is suspect: {rule}; asking the other vantages")
                }
                PeerState::Degraded => {
                    warn!(%peer, %from, %to, %reason, down, up, voters, needed, "{peer} is degraded: {rule}")
                }
                _ => info!(%peer, %from, %to, %reason, down, up, voters, needed, "{peer} is {to}: {rule}"),
            }
        }
        StateChange::Blocked { peer, reason: Some(reason) } => {
            warn!(%peer, %reason, "{peer} is not failed over: {}", reason.explanation());
        }
        StateChange::Blocked { peer, reason: None } => info!(%peer, "nothing prevents the failover of {peer} any more"),
        StateChange::Promoted { database, promotion: Promotion { from, to, lost, .. } } => match lost {
            Some(lost) if lost.tokens > 0 => {
                warn!(%database, %from, %to, tokens = lost.tokens, "{database} is written in {to} now, without what {from} had acknowledged last: {lost}");
            }
            Some(_) => {
                info!(%database, %from, %to, tokens = 0, "{database} is written in {to} now, and nothing that {from} had acknowledged is missing")
            }
            None => warn!(%database, %from, %to, "{database} is written in {to} now; it is unknown what was lost"),
        },
        StateChange::Isolation(Some(why)) => {
            warn!(%why, "this vantage appears to be isolated; it reports no peer as down");
        }
        StateChange::Isolation(None) => info!("this vantage is no longer isolated"),
        StateChange::Votes { peer, problem: Some(VoteProblem::Rejected(reason)), has_key } => {
            let (reason, remedy) = (reason.as_str(), reason.remedy(*has_key));
            warn!(%peer, "rejecting the votes of {peer}: {reason}; {remedy}");
        }
        StateChange::Votes { peer, problem: Some(VoteProblem::EnvironmentMissing(missing)), .. } => {
            let remedy = missing.remedy();
            warn!(%peer, "accepting the votes of {peer}, which may be of another environment: {remedy}");
        }
        StateChange::Votes { peer, problem: None, .. } => info!(%peer, "accepting the votes of {peer} again"),
    }
}
