//! What an engineer has to know first, in one sentence.

use std::{cmp::Reverse, fmt::Write as _};

use super::{assets::Asset, words::Count};
use crate::{
    model::{Incident, PeerState, Region, Stage},
    status::{Overview, PeerView},
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// All is well.
    Fine,
    /// Something is to be watched.
    Watch,
    /// A region is down.
    Down,
    /// We cannot tell, because we are cut off.
    Isolated,
}

impl Level {
    /// The word by which style sheet and tests know it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Watch => "watch",
            Self::Down => "down",
            Self::Isolated => "isolated",
        }
    }
}

/// The sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Headline {
    pub(super) level: Level,
    pub(super) sentence: String,
    /// What adds to it, if anything does.
    pub(super) detail: String,
    mark: String,
}

impl Headline {
    /// Where nothing is known.
    pub(super) const fn none() -> Self {
        Self { level: Level::Watch, sentence: String::new(), detail: String::new(), mark: String::new() }
    }

    /// For the title of the page.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// For the tab of the page.
    pub(super) const fn icon(&self) -> Asset {
        match self.level {
            Level::Fine => Asset::IconFine,
            Level::Watch => Asset::IconWatch,
            Level::Down | Level::Isolated => Asset::IconDown,
        }
    }

    pub(super) fn of(overview: &Overview) -> Self {
        let named = |wanted: &[PeerState]| -> Vec<&PeerView> {
            overview.peers.iter().filter(|peer| wanted.contains(&peer.state)).collect()
        };
        let down = named(&[PeerState::Down]);
        if let Some(why) = overview.isolation_reason {
            return Self {
                level: Level::Isolated,
                sentence: format!("This vantage is isolated: {why}."),
                detail:
                    "It reports no peer as down and does not vote. See another vantage for the state of the regions."
                        .to_owned(),
                mark: "isolated".to_owned(),
            };
        }
        if !down.is_empty() {
            return Self {
                level: Level::Down,
                sentence: sentence(&down, overview),
                detail: detail(overview),
                mark: format!("{} down", down.len()),
            };
        }
        let others = named(&[PeerState::Suspect, PeerState::Recovering, PeerState::Degraded, PeerState::Unknown]);
        let all = overview.peers.len();
        let Some(worst) = others.iter().min_by_key(|peer| super::words::urgency(peer.state)) else {
            let sentence = match &overview.peers[..] {
                [] => "No peers are configured.".to_owned(),
                [peer] => format!("The only peer, {}, is healthy.", peer.region),
                _ => format!("All {all} peers are healthy."),
            };
            return Self { level: Level::Fine, sentence, detail: detail(overview), mark: String::new() };
        };
        let of_state: Vec<_> = others.iter().filter(|peer| peer.state == worst.state).copied().collect();
        let (names, verb) = (list(of_state.iter().map(|peer| &peer.region)), are(&of_state));
        let have = if of_state.len() == 1 { "has" } else { "have" };
        let sentence = match worst.state {
            PeerState::Suspect => format!("{names} {} silent: the other vantages are being asked.", verb),
            PeerState::Recovering => format!("{names} {verb} recovering (stability check)."),
            PeerState::Degraded => format!("{names} {verb} degraded."),
            _ if of_state.iter().all(|peer| is_unanswered(peer)) => format!("{names} {have} never answered."),
            _ => format!("The state of {names} is not known yet."),
        };
        let rest = all - others.len();
        let mut rest =
            if rest == all { String::new() } else { format!("{rest} of {} healthy.", Count(all as u64, "peer")) };
        let more = detail(overview);
        if !more.is_empty() {
            let _ = write!(rest, " {more}");
        }
        Self { level: Level::Watch, sentence, detail: rest, mark: worst.state.to_string() }
    }
}

/// Which regions are down, how sure that is of each, and what to do: those to be switched first, and three at the most.
fn sentence(down: &[&PeerView], overview: &Overview) -> String {
    let told = |peer: &PeerView| newest(overview, &peer.region).filter(|incident| incident.resolved.is_none());
    let mut down: Vec<_> = down.iter().map(|peer| (*peer, told(peer))).collect();
    down.sort_by_key(|(_, incident)| Reverse(incident.map(|incident| incident.stage)));
    let is_dead = |region: &Region| down.iter().any(|(peer, _)| peer.region == *region);
    let shown = if down.len() > 3 { 2 } else { down.len() };
    let mut text = String::new();
    for (peer, incident) in &down[..shown] {
        let separator = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{separator}{} is down {}", peer.region, certainty(peer, *incident));
        let Some(incident) = incident else {
            text.push('.');
            continue;
        };
        let target = incident.candidates.iter().find(|candidate| !is_dead(&candidate.region));
        let _ = match (target, incident.stage) {
            (Some(target), Stage::Execute) => write!(text, ", fail over to {}.", target.region),
            (Some(target), Stage::Prepare) => write!(text, ", prepare to fail over to {}.", target.region),
            (None, _) => write!(text, ", and no region can take over."),
        };
    }
    if shown < down.len() {
        let _ = write!(text, " {} more are down.", down.len() - shown);
    }
    text
}

/// How sure it is that a region is down.
fn certainty(peer: &PeerView, incident: Option<&Incident>) -> String {
    let tally = incident.filter(|_| peer.tally.voters == 0).map_or(peer.tally, |incident| incident.tally);
    let sure = peer.tally.reached || incident.is_some_and(|incident| incident.confirmed);
    let word = if sure { "confirmed" } else { "not confirmed" };
    match tally.voters {
        0 | 1 => format!("({word}, no other vantage votes)"),
        voters => format!("({word} {}/{voters})", tally.down),
    }
}

/// The furthest stage of what is told of a region.
fn newest<'a>(overview: &'a Overview, region: &Region) -> Option<&'a Incident> {
    overview.incidents.iter().filter(|incident| incident.peer == *region).max_by_key(|incident| incident.stage)
}

/// What else is worth a sentence.
fn detail(overview: &Overview) -> String {
    let mut text = String::new();
    let silent = overview.anchors.iter().filter(|answers| **answers == Some(false)).count();
    if silent > 0 {
        let _ = write!(text, "{silent} of {} not answering. ", Count(overview.anchors.len() as u64, "anchor"));
    }
    if overview.health_score > 0 {
        text.push_str("This vantage starts its probes late, so it waits longer before it suspects a region. ");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Whether it has been probed, and nothing ever came back.
fn is_unanswered(peer: &PeerView) -> bool {
    let probed = peer.kinds.iter().any(|view| view.summary.is_some_and(|summary| summary.count > 0));
    probed && !peer.kinds.iter().any(|view| view.answered)
}

const fn are(peers: &[&PeerView]) -> &'static str {
    if peers.len() == 1 { "is" } else { "are" }
}

/// Up to three names: `a, b and 4 more`.
fn list<'a>(names: impl ExactSizeIterator<Item = &'a Region>) -> String {
    let count = names.len();
    let shown = if count > 3 { 2 } else { count };
    let mut text = String::new();
    for (n, name) in names.take(shown).enumerate() {
        let separator = match n {
            0 => "",
            n if n + 1 == count => " and ",
            _ => ", ",
        };
        let _ = write!(text, "{separator}{name}");
    }
    if shown < count {
        let _ = write!(text, " and {} more", count - shown);
    }
    text
}
