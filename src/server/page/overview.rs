//! The overview: which regions are down and where to fail over, the peers in a table, the last minutes of every path.

use std::collections::BTreeSet;

use bytes::Bytes;
use maud::{Markup, html};

use super::{
    chart::{ChartData, chart},
    document::{About, page},
    format, headline, parts,
};
use crate::{
    model::Kind,
    status::{Headline, Overview, PeerView, Quorum},
    window::Summary,
};

/// `/`
pub(crate) fn overview(about: About<'_>, overview: &Overview) -> Bytes {
    let main = html! {
        (banner(about, overview))
        (regions(about, overview))
        div.cards {
            div.stack {
                (incidents(overview))
                (vantage(overview))
            }
            div.stack {
                (ranking(about, overview))
                (votes(overview))
            }
        }
        section aria-labelledby="h-paths" {
            h2 #h-paths { "Paths " small { "last 5 minutes; bar = min\u{2013}max, line = mean, bar from top = failed" } }
            div.peers {
                @for peer in overview.by_urgency() {
                    article.card id={ "paths-" (peer.region) } {
                        h3 { (parts::peer_link(&peer.region)) " " (parts::state(peer.state)) }
                        (parts::paths(overview, peer))
                    }
                }
            }
        }
    };
    page(about, overview, "", "/", true, main)
}

fn banner(about: About<'_>, overview: &Overview) -> Markup {
    let headline = Headline::of(overview);
    let severity = headline.severity().as_str();
    let detail = headline::detail(&headline, overview);
    html! {
        section #summary class={ "banner l-" (severity) } data-level=(severity) {
            div {
                h1 { "Regions as seen from " (about.region) }
                p.sentence { (headline::sentence(&headline, overview)) }
                @if !detail.is_empty() { p.detail { (detail) } }
            }
            p.asof { time datetime=(overview.at) { (format::clock(overview.at)) } " UTC" }
        }
    }
}

fn regions(about: About<'_>, overview: &Overview) -> Markup {
    let kinds = overview.kinds();
    let min_rtt = "Round-trip time of light in a straight fiber, and the distance";
    let rank = format!("Among the failover targets if {} goes down", about.region);
    html! {
        div #regions .scroll.card tabindex="0" role="region" aria-label="Regions" {
            table.regions {
                caption {
                    "From " (about.region) " to each peer region "
                    small { "over the last " (format::setting(overview.config.window)) }
                }
                thead {
                    tr {
                        th scope="col" { "Peer" }
                        th scope="col" { "State" }
                        th.n.x scope="col" { "Since" }
                        th.x scope="col" { "Last 5 minutes" }
                        th.n scope="col" { "p50" }
                        th.n.x scope="col" { "p95" }
                        th.n scope="col" { "Loss" }
                        th.n.x scope="col" { "Jitter" }
                        th.n.x scope="col" { abbr title=(min_rtt) { "Min RTT" } }
                        @for kind in &kinds { th.n.k.x scope="col" { (kind.title()) } }
                        th.x scope="col" { "Votes" }
                        th.n.x scope="col" { abbr title=(rank) { "Rank" } }
                    }
                }
                tbody {
                    @for peer in overview.by_urgency() { (region(overview, peer, &kinds)) }
                }
            }
        }
    }
}

fn region(overview: &Overview, peer: &PeerView, kinds: &BTreeSet<Kind>) -> Markup {
    let representative = overview.representative(peer);
    let kind = representative.map(|(kind, _)| kind);
    let traces = peer.paths.iter().filter(|path| kind.is_none_or(|kind| path.path.kind == kind));
    let data = ChartData::of(traces.map(|path| &path.trace), overview.instant);
    let rank = overview.ranked(&peer.region).and_then(|row| row.rank);
    html! {
        tr id={ "region-" (peer.region) } data-peer=(peer.region) data-state=(peer.state) {
            th scope="row" { (parts::peer_link(&peer.region)) }
            td { (parts::state(peer.state)) }
            td.n.x { time datetime=(peer.since) title=(peer.since) { (format::since(peer.since, overview.at)) } }
            td.graph.x { (chart(&data, 24)) }
            (parts::summary_cells(representative.map(|(_, summary)| summary).as_ref(), kind))
            td.n.x { (parts::min_rtt(overview, &peer.region)) }
            @for kind in kinds {
                td.n.k.x {
                    @match peer.kinds.iter().find(|view| view.kind == *kind) {
                        Some(view) => (kind_cell(view.summary.as_ref())),
                        None => span.none title="not probed" { "\u{b7}" span.vh { " not probed" } },
                    }
                }
            }
            td.x {
                (peer.tally.down) "/" (peer.tally.voters) " down"
                @match peer.quorum() {
                    Quorum::Reached => span.sub.bad { "quorum reached" },
                    Quorum::NotReached | Quorum::Impossible => span.sub { (peer.tally.needed) " needed" },
                }
            }
            td.n.x {
                @match rank {
                    Some(rank) => (rank),
                    None => (parts::dash("not eligible")),
                }
            }
        }
    }
}

/// A kind of probe in one cell: its median, and its loss if there is any.
fn kind_cell(summary: Option<&Summary>) -> Markup {
    html! {
        @match summary {
            None => (parts::dash("no data")),
            Some(Summary { latency: None, loss, .. }) => b.bad { (format::percent(*loss)) " lost" },
            Some(Summary { latency: Some(latency), loss, .. }) => {
                (format::latency(latency.p50))
                @if *loss > 0.0 { span.sub.bad { (format::percent(*loss)) " lost" } }
            }
        }
    }
}

fn ranking(about: About<'_>, overview: &Overview) -> Markup {
    let score = "Estimated cost of a failover, in time per request; lower is better";
    html! {
        section.card aria-labelledby="h-ranking" {
            h2 #h-ranking { "Failover targets " small { "if " (about.region) " goes down" } }
            @if overview.ranking.iter().all(|row| !row.eligible()) {
                p.note.bad { "No region is eligible." }
            }
            div #ranking .scroll tabindex="0" role="region" aria-label="Failover targets" {
                table {
                    thead {
                        tr {
                            th.n scope="col" { "Rank" }
                            th scope="col" { "Region" }
                            th.n scope="col" { abbr title=(score) { "Score" } }
                            th scope="col" { "Eligible" }
                        }
                    }
                    tbody {
                        @for row in &overview.ranking {
                            tr id={ "candidate-" (row.region) } data-candidate=(row.region) data-eligible=(row.eligible()) {
                                td.n {
                                    @match row.rank {
                                        Some(rank) => (rank),
                                        None => span.none { "\u{2013}" span.vh { " no rank" } },
                                    }
                                }
                                th scope="row" { (parts::peer_link(&row.region)) }
                                td.n { (parts::latency(row.score)) }
                                td.why { (parts::eligibility(row)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn votes(overview: &Overview) -> Markup {
    html! {
        section.card aria-labelledby="h-votes" {
            h2 #h-votes { "Votes" }
            (quorum_note(overview))
            div #votes .scroll tabindex="0" role="region" aria-label="Table of votes" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Peer" }
                            th scope="col" { "Own vote" }
                            th.n scope="col" { "Down" }
                            th.n.x scope="col" { "Up" }
                            th.n.x scope="col" { "Abstain" }
                            th scope="col" { "Quorum" }
                        }
                    }
                    tbody {
                        @for peer in overview.by_urgency() { (votes_on(peer)) }
                    }
                }
            }
        }
    }
}

fn votes_on(peer: &PeerView) -> Markup {
    let tally = &peer.tally;
    html! {
        tr id={ "votes-" (peer.region) } data-votes=(peer.region) {
            th scope="row" { (parts::peer_link(&peer.region)) }
            td { (parts::vote(peer.vote)) }
            td.n { (tally.down) }
            td.n.x { (tally.up) }
            td.n.x { (tally.abstain) }
            td {
                @match peer.quorum() {
                    Quorum::Reached => (parts::bad("reached")),
                    Quorum::NotReached => "no",
                    Quorum::Impossible => "not possible",
                }
                span.sub { (tally.needed) " needed, " (tally.voters) " voting" }
            }
        }
    }
}

/// Why verdicts cannot be confirmed, if they cannot.
fn quorum_note(overview: &Overview) -> Markup {
    let without = overview.peers.iter().filter(|peer| peer.quorum() == Quorum::Impossible);
    let without: Vec<_> = without.map(|peer| peer.region.as_str()).collect();
    html! {
        @if !overview.exchanges_votes() {
            p.note { "No votes are exchanged, so other vantages confirm no verdict." }
        } @else if !without.is_empty() {
            p.note { "Too few vantages vote to confirm an outage of " (without.join(", ")) "." }
        }
    }
}

fn incidents(overview: &Overview) -> Markup {
    html! {
        section #incidents .card aria-labelledby="h-incidents" {
            h2 #h-incidents { "Incidents" }
            @if overview.incidents.is_empty() { p.note { "No active incidents." } }
            @for incident in overview.furthest_incidents() { (parts::incident(overview, incident)) }
        }
    }
}

fn vantage(overview: &Overview) -> Markup {
    let paths: usize = overview.peers.iter().map(|peer| peer.paths.len()).sum();
    let anchors = overview.config.anchors.iter().zip(&overview.anchors).map(|(anchor, answers)| {
        html! {
            (anchor) ": "
            @match answers {
                Some(true) => "answers",
                Some(false) => (parts::bad("does not answer")),
                None => "has never answered",
            }
        }
    });
    html! {
        section #vantage .card data-isolated=(overview.isolation_reason.is_some()) aria-labelledby="h-vantage" {
            h2 #h-vantage { "This vantage" }
            dl {
                dt { "Isolated" }
                dd {
                    @match overview.isolation_reason {
                        Some(reason) => { (parts::bad("yes")) ": " (reason) },
                        None => "no",
                    }
                }
                dt { "Anchors" }
                dd {
                    @if overview.anchors.is_empty() { "none configured" }
                    (parts::join(anchors, "<br>"))
                }
                dt { "Scheduling" }
                dd {
                    @match overview.health_score {
                        0 => "on time",
                        score => { (parts::bad("late")) ": score " (score) " of 7, waits " (score + 1) " times as long" },
                    }
                }
                dt { "Measures" }
                dd { (format::count(paths, "path")) " to " (format::count(overview.peers.len(), "peer")) }
                dt { "Alertmanagers" }
                dd {
                    @match overview.config.alertmanagers.len() {
                        0 => "none",
                        count => (count),
                    }
                }
            }
        }
    }
}
