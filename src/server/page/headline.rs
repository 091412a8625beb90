//! The headline in words: what an engineer needs to know first.

use std::fmt::Write as _;

use crate::{
    decision::votes::VoteProblem,
    model::{PeerState, Region, StateReason},
    signing::Action,
    status::{
        Concern, DownRegion, FailoverOrder, Headline, Overview, PeerView, Pending, PushFailure,
        format::{self, count},
    },
};

/// The most peers with a line for their state. The table has the others.
const MOST_STATES: usize = 5;

/// A word for the title of the page; empty if all is well.
pub(super) fn mark(headline: &Headline<'_>) -> String {
    match headline {
        Headline::Isolated(_) => "isolated".to_owned(),
        Headline::Down(down) => format!("{} down", down.len()),
        Headline::Watch(state, ..) => state.to_string(),
        Headline::Starting(_) => "starting".to_owned(),
        Headline::Concerned(concerns) => match concerns.first() {
            Some(Concern::Ordered(order)) if order.is_ordered() => "failover ordered".to_owned(),
            Some(Concern::Ordered(_)) => "failover commanded".to_owned(),
            Some(Concern::OpenIncident(_)) => "incident open".to_owned(),
            Some(Concern::Blocked(..)) => "failover blocked".to_owned(),
            Some(Concern::AlertmanagerFailing(..)) => "alerts not accepted".to_owned(),
            Some(Concern::Votes(..)) => "votes".to_owned(),
            Some(Concern::NoQuorum(_)) => "no quorum".to_owned(),
            Some(Concern::CommonMode(_)) => "common mode".to_owned(),
            Some(Concern::Disarmed) => "disarmed".to_owned(),
            Some(Concern::Stated(command)) => command.action.to_string(),
            Some(Concern::File(_, mode, _)) => mode.to_string(),
            None => String::new(),
        },
        Headline::Healthy => String::new(),
    }
}

/// The headline as a sentence.
pub(crate) fn sentence(headline: &Headline<'_>, overview: &Overview) -> String {
    match headline {
        Headline::Isolated(reason) => format!("This vantage is isolated: {reason}."),
        Headline::Down(down) => all_down(down),
        Headline::Watch(state, peers, _) => watch(*state, peers),
        Headline::Starting(all) => format!("Starting: {}.", all.iter().map(pending).collect::<Vec<_>>().join(", ")),
        Headline::Concerned(concerns) => {
            let concern = match concerns.first() {
                Some(Concern::Ordered(order)) if order.is_ordered() => ", and an operator has ordered a failover",
                Some(Concern::Ordered(_)) => ", and an operator has commanded a failover",
                Some(Concern::OpenIncident(_)) => ", and an incident is still open",
                Some(Concern::Blocked(..)) => ", but a failover is blocked",
                Some(Concern::AlertmanagerFailing(..)) => ", but alerts are not accepted",
                Some(Concern::Votes(_, VoteProblem::Rejected(_))) => ", but votes are rejected",
                Some(Concern::Votes(_, VoteProblem::EnvironmentMissing(_))) => {
                    ", but votes may be of another environment"
                }
                Some(Concern::NoQuorum(_)) => ", but an outage could not be confirmed",
                Some(Concern::CommonMode(_)) => ", but services fail from a common cause",
                Some(Concern::Disarmed) => ", and failover is switched off",
                Some(Concern::Stated(command)) => match command.action {
                    Action::Disarm => ", and an operator has disarmed a region",
                    Action::Maintenance => ", and an operator maintains a region",
                    Action::Arm | Action::Failover | Action::Release => ", and an operator has armed a region",
                },
                Some(Concern::File(..)) => ", and the file of another vantage forbids a failover",
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

/// A line below the sentence, and where to read more.
pub(crate) struct Line {
    pub(crate) text: String,
    /// A URL and its name.
    pub(crate) link: Option<(String, &'static str)>,
}

impl Line {
    const fn plain(text: String) -> Self {
        Self { text, link: None }
    }

    fn runbook(text: String, alert: &str, overview: &Overview) -> Self {
        let link = overview.config.runbook_url.link(&[("alertname", alert)]);
        Self { text, link: link.map(|url| (url, "runbook")) }
    }

    fn peer(text: String, peer: &PeerView) -> Self {
        Self { text, link: Some((format!("/peer/{}", peer.region), "details")) }
    }
}

/// A concern, as a line.
fn concern(concern: &Concern<'_>, overview: &Overview) -> Line {
    match concern {
        Concern::Ordered(order) => {
            Line::plain(format!("{} {}", format::statement(&order.command), format::order(order)))
        }
        Concern::OpenIncident(peer) => {
            let answers = match peer.state {
                PeerState::Healthy => {
                    format!("{} has been healthy since {}", peer.region, format::moment(peer.since, overview.at))
                }
                _ => format!("{} answers again", peer.region),
            };
            let until = peer
                .incident_over_at
                .map(|at| format!(" until {}", format::moment(at, overview.at)))
                .unwrap_or_default();
            Line::peer(format!("{answers}; its incident stays open{until}."), peer)
        }
        Concern::Blocked(peer, reason) => {
            let text = format!("{} is not failed over: {}.", peer.region, reason.explanation());
            Line::runbook(text, "RegionwatchFailoverBlocked", overview)
        }
        Concern::AlertmanagerFailing(view, PushFailure { since, result }) => {
            let (since, why) = (format::moment(*since, overview.at), format::push_result(*result));
            let text = format!("Alertmanager {} has accepted no alerts since {since}: {why}.", view.url);
            Line::runbook(text, "RegionwatchAlertPushFailing", overview)
        }
        Concern::Votes(vantage, VoteProblem::Rejected(reason)) => {
            let remedy = reason.remedy(overview.config.votes.is_some());
            let text = format!("The votes of {vantage} are rejected ({}): {remedy}.", reason.as_str());
            Line::runbook(text, "RegionwatchVotesRejected", overview)
        }
        Concern::Votes(vantage, VoteProblem::EnvironmentMissing(side)) => {
            let text = format!("The votes of {vantage} may be of another environment: {}.", side.remedy());
            Line::runbook(text, "RegionwatchVotesRejected", overview)
        }
        Concern::CommonMode(peers) => {
            let text = format!(
                "The critical services of {} fail from what seems to be a common cause, so no failover is ordered.",
                names(&regions(peers))
            );
            Line::runbook(text, "RegionwatchCommonMode", overview)
        }
        Concern::NoQuorum(peers) => {
            let text = format!("Too few vantages vote on {}.", names(&regions(peers)));
            Line::runbook(text, "RegionwatchQuorumImpossible", overview)
        }
        Concern::Disarmed => {
            let text = "The configuration switches failover off (failover.armed).".to_owned();
            Line { text, link: Some(("/config".to_owned(), "configuration")) }
        }
        Concern::Stated(command) => Line::plain(format::statement(command)),
        Concern::File(vantage, mode, peers) => Line::plain(format::file(vantage, *mode, &names(&regions(peers)))),
    }
}

/// Whether a peer is neither healthy nor new.
const fn is_urgent(peer: &PeerView) -> bool {
    !matches!(peer.state, PeerState::Healthy | PeerState::Unknown)
}

/// Why a peer is in its state, and since when.
fn state(peer: &PeerView, overview: &Overview) -> Line {
    let PeerView { region, state, since, rule, .. } = peer;
    let text = format!("{region} is {state} since {}: {rule}.", format::moment(*since, overview.at));
    Line { text, link: Some((format!("/explain?region={region}"), "why")) }
}

/// What else is worth a line; may be empty.
pub(crate) fn lines(headline: &Headline<'_>, overview: &Overview) -> Vec<Line> {
    let mut lines = Vec::new();
    match headline {
        Headline::Isolated(_) => {
            let text =
                "It reports no peer as down and does not vote. See another vantage for the state of the regions.";
            lines.push(Line::runbook(text.to_owned(), "RegionwatchVantageIsolated", overview));
        }
        Headline::Watch(.., healthy @ 1..) => {
            lines.push(Line::plain(format!("{healthy} of {} healthy.", count(overview.peers.len(), "peer"))));
        }
        _ => {}
    }
    lines.extend(
        overview
            .by_urgency()
            .into_iter()
            .filter(|peer| is_urgent(peer))
            .take(MOST_STATES)
            .map(|peer| state(peer, overview)),
    );
    lines.extend(concerns(headline, overview).iter().map(|it| concern(it, overview)));
    let is_withdrawn = |peer: &&PeerView| peer.order == FailoverOrder::Withdrawn && peer.state != PeerState::Down;
    let withdrawn: Vec<_> = overview.peers.iter().filter(is_withdrawn).collect();
    if !withdrawn.is_empty() {
        let names = names(&regions(&withdrawn));
        lines.push(Line::plain(format!("The failover of {names} was ordered, and is withdrawn.")));
    }
    let silent = overview.anchors.iter().filter(|answers| **answers == Some(false)).count();
    if silent > 0 {
        lines.push(Line::plain(format!("{silent} of {} not answering.", count(overview.anchors.len(), "anchor"))));
    }
    if overview.health_score > 0 {
        let late = "This vantage starts its probes late, so it waits longer before it suspects a region.";
        lines.push(Line::runbook(late.to_owned(), "RegionwatchStartDelayHigh", overview));
    }
    lines
}

/// The concerns that are shown under a headline: while a process starts, the vantages have not voted yet.
fn concerns<'a>(headline: &Headline<'_>, overview: &'a Overview) -> Vec<Concern<'a>> {
    let is_starting = matches!(headline, Headline::Starting(_));
    let all = Concern::all(overview).into_iter();
    all.filter(|concern| !(is_starting && matches!(concern, Concern::NoQuorum(_)))).collect()
}

/// What a process that has just started does not know yet.
fn pending(pending: &Pending<'_>) -> String {
    match pending {
        Pending::States(peers) => format!("the state of {} is not known yet", names(&regions(peers))),
        Pending::Targets => "no failover target is known yet".to_owned(),
        Pending::Votes(vantages) => {
            format!("no votes from {} yet", names(&vantages.iter().copied().collect::<Vec<_>>()))
        }
        Pending::Alertmanagers(waiting) => format!("no answer from {} yet", count(*waiting, "Alertmanager")),
    }
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
    let names = names(&regions(peers));
    let one = peers.len() == 1;
    let (are, have, do_) = if one { ("is", "has", "does") } else { ("are", "have", "do") };
    match state {
        PeerState::Suspect => {
            let is_service = |peer: &&PeerView| peer.rule.reason() == StateReason::Service;
            let services = peers.iter().filter(|peer| is_service(peer)).count();
            match services {
                0 => format!("{names} {do_} not answer: asking the other vantages."),
                all if all == peers.len() => {
                    format!("The critical services of {names} fail: asking the other vantages.")
                }
                _ => format!("{names} {are} suspect: asking the other vantages."),
            }
        }
        PeerState::Recovering => format!("{names} {are} recovering (stability check)."),
        PeerState::Degraded => format!("{names} {are} degraded."),
        _ if peers.iter().all(|peer| peer.is_unanswered()) => format!("{names} {have} never answered."),
        _ => format!("The state of {names} is not known yet."),
    }
}

fn regions<'a>(peers: &[&'a PeerView]) -> Vec<&'a Region> {
    peers.iter().map(|peer| &peer.region).collect()
}

/// At most three names: `a, b and 4 more`.
fn names(regions: &[&Region]) -> String {
    let shown = if regions.len() > 3 { 2 } else { regions.len() };
    let mut text = String::new();
    for (n, region) in regions[..shown].iter().enumerate() {
        let separator = match n {
            0 => "",
            n if n + 1 == regions.len() => " and ",
            _ => ", ",
        };
        let _ = write!(text, "{separator}{region}");
    }
    if shown < regions.len() {
        let _ = write!(text, " and {} more", regions.len() - shown);
    }
    text
}
