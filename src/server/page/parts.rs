//! Fragments that several pages share.

use std::time::Duration;

use maud::{Markup, PreEscaped, html};

use super::chart::{ChartData, chart};
use crate::{
    decision::ranking::RankedRegion,
    model::{Incident, Kind, PeerState, Region, Stage, UnixMillis, Vote},
    status::{FailoverOrder, Overview, PathView, PeerView, format},
    window::Summary,
};

/// A share of failed probes above this stands out.
const NOTABLE_LOSS: f64 = 0.001;

/// A state as a word with its symbol, so that no color is needed to read it.
pub(super) fn state(state: PeerState) -> Markup {
    let symbol = match state {
        PeerState::Healthy => "M2 6.5l3 3 5-7",
        PeerState::Degraded => "M1 8l3-4 3 4 4-5",
        PeerState::Suspect => "M4 4a2 2 0 1 1 3 1.7c-.7.5-1 .8-1 1.6M6 9.6v.4",
        PeerState::Down => "M2.5 2.5l7 7M9.5 2.5l-7 7",
        PeerState::Recovering => "M6 10V2.5M2.5 6L6 2.5 9.5 6",
        PeerState::Unknown => "M2.5 6h7",
    };
    html! {
        span class={ "state s-" (state) } {
            svg viewBox="0 0 12 12" aria-hidden="true" { path d=(symbol) {} }
            (state)
        }
    }
}

/// A dash with a reason for those who hover over it or hear it.
pub(super) fn dash(reason: &str) -> Markup {
    html! { span.none title=(reason) { "\u{2013}" span.vh { " " (reason) } } }
}

/// A value, or a dash if there is no data.
pub(super) fn value(value: Option<impl Into<String>>) -> Markup {
    match value {
        Some(value) => html! { (value.into()) },
        None => dash("no data"),
    }
}

/// A latency, or a dash.
pub(super) fn latency(latency: Option<Duration>) -> Markup {
    value(latency.map(format::latency))
}

/// A time of day, with its date if that is not plain.
pub(super) fn time(at: UnixMillis, now: UnixMillis) -> Markup {
    html! { time datetime=(at) title=(at) { (format::moment(at, now)) } }
}

/// The moment that a page shows. The script adds the local time of its reader.
pub(super) fn as_of(at: UnixMillis) -> Markup {
    html! { p.asof { time datetime=(at) title=(at) { (format::clock(at)) } " UTC" span.local {} } }
}

/// A link to the page of a peer.
pub(super) fn peer_link(region: &Region) -> Markup {
    html! { a href={ "/peer/" (region) } { (region) } }
}

/// What stands out as bad.
pub(super) fn bad(text: &str) -> Markup {
    html! { b.bad { (text) } }
}

/// Fragments, one after the other, separated.
pub(super) fn join(fragments: impl IntoIterator<Item = Markup>, separator: &'static str) -> Markup {
    let fragments: Vec<_> = fragments.into_iter().map(PreEscaped::into_string).collect();
    PreEscaped(fragments.join(separator))
}

/// A section with a title.
pub(super) fn card(id: &str, title: &Markup, content: &Markup) -> Markup {
    html! { section.card aria-labelledby={ "h-" (id) } { h2 id={ "h-" (id) } { (title) } (content) } }
}

/// Names and values, one per line.
pub(super) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, Markup)>) -> Markup {
    html! { dl { @for (name, value) in facts { dt { (name) } dd { (value) } } } }
}

/// A column of a table: class, title, and a tooltip unless it is empty.
pub(super) type Column<'a> = (&'a str, &'a str, &'a str);

/// A table that scrolls sideways if the screen is too narrow. One with a caption is a card of its own.
pub(super) fn table(
    id: &str,
    label: &str,
    caption: Option<&Markup>,
    columns: &[Column<'_>],
    rows: impl IntoIterator<Item = Markup>,
) -> Markup {
    html! {
        div id=(id) class={ "scroll" @if caption.is_some() { " card" } } tabindex="0" role="region" aria-label=(label) {
            table class=(id) {
                @if let Some(caption) = caption { caption { (caption) } }
                thead {
                    tr {
                        @for (class, title, tooltip) in columns {
                            th scope="col" class=(class) {
                                @if tooltip.is_empty() { (title) } @else { abbr title=(tooltip) { (title) } }
                            }
                        }
                    }
                }
                tbody { @for row in rows { (row) } }
            }
        }
    }
}

/// The cells p50, p95, failed and jitter; below the first one the kind of probe that measured them.
pub(super) fn summary_cells(summary: Option<&Summary>, kind: Option<Kind>) -> Markup {
    let measured = summary.and_then(|summary| summary.latency);
    html! {
        td.n {
            (latency(measured.map(|it| it.p50)))
            @if let Some(kind) = kind { span.sub { "by " (kind.title()) } }
        }
        td.n.x { (latency(measured.map(|it| it.p95))) }
        td.n {
            @match summary.map(|summary| (summary.loss, summary.unanswered)) {
                Some((loss, unanswered)) if loss > NOTABLE_LOSS => {
                    (bad(&format::percent(loss)))
                    @if unanswered > 0.0 { span.sub { (format::percent(unanswered)) " lost" } }
                }
                shares => (value(shares.map(|(loss, _)| format::percent(loss)))),
            }
        }
        td.n.x { (latency(measured.and_then(|it| it.jitter))) }
    }
}

/// The least round trip to a region, and its distance.
pub(super) fn min_rtt(overview: &Overview, region: &Region) -> Markup {
    match overview.distance(region) {
        Some(distance) => html! {
            (format::latency(distance.min_rtt))
            span.sub { ((distance.meters / 1e3).round()) " km" }
        },
        None => dash("no data"),
    }
}

/// Whether a region is eligible as a failover target, and every reason against it.
pub(super) fn eligibility(row: &RankedRegion) -> Markup {
    if row.eligible() {
        return html! { "yes" };
    }
    let reasons = row.reasons.iter().map(|reason| html! { span data-reason=(reason) { (format::reason(*reason)) } });
    html! { "no: " (join(reasons, ", ")) }
}

/// A vote, which stands out if it is down.
pub(super) fn vote(vote: Vote) -> Markup {
    match vote {
        Vote::Down => bad(vote.as_str()),
        Vote::Up | Vote::Abstain => html! { (vote) },
    }
}

/// Whether the failover of an outage is ordered, as a word and as text.
fn order_of_outage(order: FailoverOrder) -> (&'static str, String) {
    match order {
        FailoverOrder::None => ("none", "no failover ordered".to_owned()),
        FailoverOrder::Withdrawn => {
            ("withdrawn", "failover was ordered and is withdrawn: the region is not held down now".to_owned())
        }
        FailoverOrder::Blocked(reason) => ("blocked", format!("no failover ordered: {}", format::blocked(reason))),
        FailoverOrder::Active => ("active", "failover ordered: the region is held down now".to_owned()),
    }
}

/// One incident.
pub(super) fn incident(overview: &Overview, incident: &Incident) -> Markup {
    let alert = match incident.stage {
        Stage::Prepare => "RegionwatchPeerDown",
        Stage::Execute => "RegionwatchPeerFailover",
    };
    let tally = &incident.tally;
    let order = match overview.peer(incident.peer.as_str()).map(|peer| peer.order) {
        Some(order @ (FailoverOrder::Active | FailoverOrder::Blocked(_))) if incident.resolved.is_none() => order,
        Some(FailoverOrder::Active | FailoverOrder::Withdrawn) => FailoverOrder::Withdrawn,
        _ if incident.stage == Stage::Execute => FailoverOrder::Withdrawn,
        _ => FailoverOrder::None,
    };
    let (order, order_text) = match (order, &incident.ordered_by) {
        (FailoverOrder::Active, Some(operator)) => ("active", format!("failover ordered by {operator}")),
        (_, Some(operator)) => ("withdrawn", format!("the order of {operator} has ended")),
        (order, None) => order_of_outage(order),
    };
    // Counted when the region was down last; after a restart it is not known how many were needed.
    let needed = if tally.needed > 0 { format!(", {} needed", tally.needed) } else { String::new() };
    let is_down = overview.peer(incident.peer.as_str()).is_some_and(|peer| peer.state == PeerState::Down);
    let when = if is_down { "" } else { " when it was down" };
    let votes = format!("{} of {} down{needed}{when}", tally.down, tally.voters);
    let (votes, cause) = match incident.ordered_by {
        Some(_) => (format!("{} of {} vantages know the command", tally.down, tally.voters), "an operator"),
        None => (votes, format::cause(incident.cause)),
    };
    let lasted = format::since(incident.onset, incident.resolved.unwrap_or(overview.at));
    let targets = match &incident.candidates[..] {
        [] => bad("no region can take over"),
        [first, others @ ..] => html! { b { (first.region) } @for other in others { ", then " (other.region) } },
    };
    let would_lose = incident.loss.map(|loss| ("Would lose", html! { (loss) " of data" }));
    let lost = incident.lost.map(|lost| ("Has lost", html! { (lost) }));
    let loss = would_lose.into_iter().chain(lost);
    html! {
        div.incident data-incident=(incident.peer) data-stage=(incident.stage) {
            h3 {
                (peer_link(&incident.peer)) " " span.tag { (incident.stage) } " "
                @match incident.resolved {
                    Some(at) => span.tag.calm { "resolved at " (format::moment(at, overview.at)) },
                    None if incident.confirmed => span.tag { "confirmed" },
                    None => span.tag.calm { "not confirmed" },
                }
            }
            (facts(([
                ("Since", html! { (time(incident.onset, overview.at)) " (" (lasted) ")" }),
                ("Cause", html! { (cause) }),
                ("Votes", html! { (votes) }),
                ("Fail over to", targets),
                ("Order", html! { span data-order=(order) { (order_text) } }),
                ("Alert", html! { (alert) " " code.id { (incident.id) } }),
            ]).into_iter().chain(loss)))
            p.note { (incident.evidence) }
        }
    }
}

/// The paths of a peer, one per line.
pub(super) fn paths(overview: &Overview, peer: &PeerView) -> Markup {
    html! {
        ul.paths {
            @for view in &peer.paths { (path(overview, view)) }
        }
    }
}

fn path(overview: &Overview, view: &PathView) -> Markup {
    let path = &view.path;
    let data = ChartData::of([&view.trace], overview.instant);
    let totals = data.totals();
    let failure = view.last_failure();
    let failure =
        failure.map(|(failure, at)| format!("last failure: {failure} at {} UTC", format::moment(at, overview.at)));
    html! {
        li id={ "path-" (path) } data-path=(path) {
            a.name href={ "/path/" (path) } { span.kind { (path.kind.title()) } span.to { (path.target) } }
            (chart(&data, 24))
            span.value {
                @match view.last.map(|record| record.outcome) {
                    Some(Ok(timings)) => (format::latency(timings.total)),
                    Some(Err(failure)) => (bad(failure.as_str())),
                    None => (dash("no data")),
                }
            }
            span.value.loss title=[failure] {
                @match totals.loss() {
                    Some(loss) => span class=(if totals.lost > 0 { "bad" } else { "dim" }) {
                        (format::percent(loss)) " failed"
                    },
                    None => (dash("no data")),
                }
            }
        }
    }
}
