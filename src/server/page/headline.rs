//! The headline in words: what an engineer needs to know first.

use std::fmt::Write as _;

use super::format::{self, count};
use crate::{
    model::PeerState,
    status::{Concern, DownRegion, FailoverOrder, Headline, Overview, PeerView},
};

/// A word for the title of the page; empty if all is well.
pub(super) fn mark(headline: &Headline<'_>) -> String {
    match headline {
        Headline::Isolated(_) => "isolated".to_owned(),
        Headline::Down(down) => format!("{} down", down.len()),
        Headline::Watch(state, ..) => state.to_string(),
        Headline::Concerned(concerns) => match concerns.first() {
            Some(Concern::OpenIncident(_)) => "incident open".to_owned(),
            Some(Concern::NoQuorum(_)) => "no quorum".to_owned(),
            Some(Concern::Disarmed) => "disarmed".to_owned(),
            None => String::new(),
        },
        Headline::Healthy => String::new(),
    }
}

/// The headline as a sentence.
pub(super) fn sentence(headline: &Headline<'_>, overview: &Overview) -> String {
    match headline {
        Headline::Isolated(reason) => format!("This vantage is isolated: {reason}."),
        Headline::Down(down) => all_down(down),
        Headline::Watch(state, peers, _) => watch(*state, peers),
        Headline::Concerned(concerns) => {
            let concern = match concerns.first() {
                Some(Concern::OpenIncident(_)) => ", and an incident is still open",
                Some(Concern::NoQuorum(_)) => ", but an outage could not be confirmed",
                Some(Concern::Disarmed) => ", and failover is switched off",
                None => "",
            };
            format!("{}{concern}.", healthy(overview))
        }
        Headline::Healthy => format!("{}.", healthy(overview)),
    }
}

fn healthy(overview: &Overview) -> String {
    match &overview.peers[..] {
        [] => "No peers are configured".to_owned(),
        [peer] => format!("The only peer, {}, is healthy", peer.region),
        peers => format!("All {} peers are healthy", peers.len()),
    }
}

/// A concern, as a sentence.
fn concern(concern: &Concern<'_>) -> String {
    match concern {
        Concern::OpenIncident(peer) => {
            let answers = match peer.state {
                PeerState::Healthy => format!("{} has been healthy since {}", peer.region, format::clock(peer.since)),
                _ => format!("{} answers again", peer.region),
            };
            let until = peer.incident_over_at.map(|at| format!(" until {}", format::clock(at))).unwrap_or_default();
            format!("{answers}; its incident stays open{until}.")
        }
        Concern::NoQuorum(peers) => format!("Too few vantages vote on {}.", names(peers)),
        Concern::Disarmed => "The configuration switches failover off (failover.armed).".to_owned(),
    }
}

/// What else is worth a sentence; may be empty.
pub(super) fn detail(headline: &Headline<'_>, overview: &Overview) -> String {
    let mut details = Vec::new();
    match headline {
        Headline::Isolated(_) => {
            return "It reports no peer as down and does not vote. See another vantage for the state of the regions."
                .to_owned();
        }
        Headline::Watch(.., healthy @ 1..) => {
            details.push(format!("{healthy} of {} healthy.", count(overview.peers.len(), "peer")));
        }
        _ => {}
    }
    details.extend(Concern::all(overview).iter().map(concern));
    let withdrawn =
        overview.peers.iter().filter(|peer| peer.order == FailoverOrder::Withdrawn && peer.state != PeerState::Down);
    let withdrawn: Vec<_> = withdrawn.collect();
    if !withdrawn.is_empty() {
        details.push(format!("The failover of {} was ordered, and is withdrawn.", names(&withdrawn)));
    }
    let silent = overview.anchors.iter().filter(|answers| **answers == Some(false)).count();
    if silent > 0 {
        details.push(format!("{silent} of {} not answering.", count(overview.anchors.len(), "anchor")));
    }
    if overview.health_score > 0 {
        let late = "This vantage starts its probes late, so it waits longer before it suspects a region.";
        details.push(late.to_owned());
    }
    details.join(" ")
}

/// Which regions are down, how certain that is, and where to fail over: at most three.
fn all_down(down: &[DownRegion<'_>]) -> String {
    let shown = if down.len() > 3 { 2 } else { down.len() };
    let mut sentences: Vec<_> = down[..shown].iter().map(one_down).collect();
    if shown < down.len() {
        sentences.push(format!("{} more are down.", down.len() - shown));
    }
    sentences.join(" ")
}

fn one_down(DownRegion { region, confirmed, tally, incident }: &DownRegion<'_>) -> String {
    let confirmed = if *confirmed { "confirmed" } else { "not confirmed" };
    let votes = match tally.voters {
        0 | 1 => ", no other vantage votes".to_owned(),
        voters => format!(" {}/{voters}", tally.down),
    };
    let action = match incident {
        None => String::new(),
        Some((FailoverOrder::Withdrawn, _)) => {
            ", but not held down now: its failover was ordered and is withdrawn".to_owned()
        }
        Some((FailoverOrder::Blocked(reason), _)) => format!(", and not failed over: {}", format::blocked(*reason)),
        Some((_, None)) => ", and no region can take over".to_owned(),
        Some((FailoverOrder::Active, Some(target))) => format!(", fail over to {target}"),
        Some((FailoverOrder::None, Some(target))) => format!(", prepare to fail over to {target}"),
    };
    format!("{region} is down ({confirmed}{votes}){action}.")
}

fn watch(state: PeerState, peers: &[&PeerView]) -> String {
    let names = names(peers);
    let one = peers.len() == 1;
    let (are, have, do_) = if one { ("is", "has", "does") } else { ("are", "have", "do") };
    match state {
        PeerState::Suspect => format!("{names} {do_} not answer: asking the other vantages."),
        PeerState::Recovering => format!("{names} {are} recovering (stability check)."),
        PeerState::Degraded => format!("{names} {are} degraded."),
        _ if peers.iter().all(|peer| peer.is_unanswered()) => format!("{names} {have} never answered."),
        _ => format!("The state of {names} is not known yet."),
    }
}

/// At most three names: `a, b and 4 more`.
fn names(peers: &[&PeerView]) -> String {
    let shown = if peers.len() > 3 { 2 } else { peers.len() };
    let mut text = String::new();
    for (n, peer) in peers[..shown].iter().enumerate() {
        let separator = match n {
            0 => "",
            n if n + 1 == peers.len() => " and ",
            _ => ", ",
        };
        let _ = write!(text, "{separator}{}", peer.region);
    }
    if shown < peers.len() {
        let _ = write!(text, " and {} more", peers.len() - shown);
    }
    text
}
