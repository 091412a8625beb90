//! The log lines of what the engine reports.

use tracing::{info, warn};

use crate::{
    decision::{StateChange, Transition},
    model::{PeerState, Tally},
};

pub(super) fn log(change: &StateChange) {
    match change {
        StateChange::Peer { peer, transition: Transition { from, to }, tally } => {
            let Tally { down, up, voters, needed, .. } = tally;
            match to {
                PeerState::Down => {
                    warn!(%peer, %from, %to, down, up, voters, needed, confirmed = tally.reached, "the peer is down");
                }
                PeerState::Suspect => info!(%peer, %from, %to, "the peer does not answer; asking the other vantages"),
                _ => info!(%peer, %from, %to, down, up, voters, needed, "the peer's state has changed"),
            }
        }
        StateChange::Isolation(Some(why)) => {
            warn!(%why, "this vantage appears to be isolated; it reports no peer as down");
        }
        StateChange::Isolation(None) => info!("this vantage is no longer isolated"),
        StateChange::Votes { peer, rejected: Some(reason), has_key } => {
            let (reason, remedy) = (reason.as_str(), reason.remedy(*has_key));
            warn!(%peer, "rejecting the votes of {peer}: {reason}; {remedy}");
        }
        StateChange::Votes { peer, rejected: None, .. } => info!(%peer, "accepting the votes of {peer} again"),
    }
}
