//! One peer region: its state, and the reasons.

use bytes::Bytes;
use maud::{Markup, html};

use super::{
    document::{About, page},
    format, parts,
};
use crate::status::{KindView, Overview, PeerView, Quorum, Severity};

/// `/peer/REGION`; `None` if there is no such peer.
pub(crate) fn peer(about: About<'_>, overview: &Overview, region: &str) -> Option<Bytes> {
    let peer = overview.peer(region)?;
    let severity = Severity::from(peer.state).as_str();
    let main = html! {
        nav.crumbs aria-label="Breadcrumbs" { a href="/" { "Overview" } " / " (peer.region) }
        section class={ "banner l-" (severity) } data-peer=(peer.region) data-state=(peer.state) {
            div {
                h1 { (peer.region) " " span.dim { "from " (about.region) } }
                p.sentence { (parts::state(peer.state)) " for " (format::since(peer.since, overview.at)) }
            }
            p.asof { (parts::time(overview.at)) " UTC" }
        }
        div.cards {
            (facts(overview, peer))
            (votes(about, peer))
            section.card aria-labelledby="h-incidents" {
                h2 #h-incidents { "Incident" }
                @match overview.incident(&peer.region) {
                    Some(incident) => (parts::incident(overview, incident)),
                    None => p.note { "No active incident." },
                }
            }
        }
        (kinds(overview, peer))
        section.card aria-labelledby="h-paths" {
            h2 #h-paths { "Paths " small { "last 5 minutes" } }
            div.wide { (parts::paths(overview, peer)) }
        }
    };
    Some(page(about, overview, region, "", true, main))
}

fn facts(overview: &Overview, peer: &PeerView) -> Markup {
    let configured = overview.configured(&peer.region);
    let zone = configured.and_then(|peer| peer.zone.as_ref());
    let failure_domain = configured.and_then(|peer| peer.failure_domain.as_ref());
    html! {
        section.card aria-labelledby="h-facts" {
            h2 #h-facts { "Status" }
            dl {
                dt { "State" }
                dd { (parts::state(peer.state)) }
                dt { "Since" }
                dd { (parts::time(peer.since)) }
                dt { "Last good answer" }
                dd {
                    @match peer.good_at {
                        Some(at) => { (format::since(at, overview.at)) " ago" },
                        None => "never",
                    }
                }
                @if let Some(row) = overview.ranked(&peer.region) {
                    dt { "Eligible" }
                    dd { (parts::eligibility(row)) }
                    dt { "Rank, score" }
                    dd { (parts::value(row.rank.map(|rank| rank.to_string()))) ", " (parts::latency(row.score)) }
                }
                dt { "Min RTT" }
                dd { (parts::min_rtt(overview, &peer.region)) }
                @if let Some(zone) = zone {
                    dt { "Zone" }
                    dd { (zone) }
                }
                @if let Some(domain) = failure_domain {
                    dt { "Failure domain" }
                    dd { (domain) }
                }
                @if configured.is_some_and(|peer| peer.maintenance) {
                    dt { "Maintenance" }
                    dd { "yes" }
                }
            }
        }
    }
}

fn votes(about: About<'_>, peer: &PeerView) -> Markup {
    let tally = &peer.tally;
    html! {
        section.card aria-labelledby="h-votes" {
            h2 #h-votes { "Votes" }
            p.note {
                (tally.down) " down, " (tally.up) " up, " (tally.abstain) " abstain; "
                (tally.needed) " needed, " (tally.voters) " voting; quorum "
                @match peer.quorum() {
                    Quorum::Reached => (parts::bad("reached")),
                    Quorum::NotReached | Quorum::Impossible => "not reached",
                }
                "."
            }
            div #votes .scroll tabindex="0" role="region" aria-label="Table of votes" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Vantage" }
                            th scope="col" { "Vote" }
                            th scope="col" { "Last seen" }
                        }
                    }
                    tbody {
                        tr {
                            th scope="row" { (about.region) " (this one)" }
                            td { (parts::vote(peer.vote)) }
                            td { "now" }
                        }
                        @for said in &peer.said {
                            tr {
                                th scope="row" { (said.by) }
                                td {
                                    @match said.vote {
                                        _ if said.isolated => "isolated",
                                        Some(vote) => (parts::vote(vote)),
                                        None => (parts::dash("no data")),
                                    }
                                }
                                td {
                                    @match said.age {
                                        Some(_) if said.fresh => "just now",
                                        Some(age) => { (format::duration(age)) " ago, expired" },
                                        None => "never",
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn kinds(overview: &Overview, peer: &PeerView) -> Markup {
    html! {
        div #kinds .scroll.card tabindex="0" role="region" aria-label="Kinds of probes" {
            table {
                caption {
                    "By kind of probe "
                    small { "over the last " (format::setting(overview.config.window)) ", all targets" }
                }
                thead {
                    tr {
                        th scope="col" { "Probe" }
                        th.y scope="col" { "Layer" }
                        th.n scope="col" { "p50" }
                        th.n.x scope="col" { "p95" }
                        th.n scope="col" { "Loss" }
                        th.n.x scope="col" { "Jitter" }
                        th.n.y scope="col" { "Probes" }
                    }
                }
                tbody {
                    @for KindView { kind, summary, .. } in &peer.kinds {
                        tr {
                            th scope="row" { (kind.title()) }
                            td.y { (kind.layer().as_str()) }
                            (parts::summary_cells(summary.as_ref(), None))
                            td.n.y { (summary.map_or(0, |summary| summary.count)) }
                        }
                    }
                }
            }
        }
    }
}
