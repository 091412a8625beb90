//! One peer region: its state, and the reasons.

use bytes::Bytes;
use maud::{Markup, html};

use super::{
    document::{About, page},
    parts,
};
use crate::{
    config::Maintenance,
    decision::{Restriction, votes::VoteStatus},
    status::{KindView, Overview, PeerView, Quorum, Severity, format},
};

/// `/peer/REGION`; `None` if there is no such peer.
pub(crate) fn peer(about: About<'_>, overview: &Overview, region: &str) -> Option<Bytes> {
    let peer = overview.peer(region)?;
    let severity = Severity::from(peer.state).as_str();
    let incident = match overview.incident(&peer.region) {
        Some(incident) => parts::incident(overview, incident),
        None => html! { p.note { "No active incident." } },
    };
    let paths = html! { div.wide { (parts::paths(overview, peer)) } };
    let main = html! {
        nav.crumbs aria-label="Breadcrumbs" { a href="/" { "Overview" } " / " (peer.region) }
        section class={ "banner l-" (severity) } data-peer=(peer.region) data-state=(peer.state) {
            div {
                h1 { (peer.region) " " span.dim { "from " (about.region) } }
                p.sentence { (parts::state(peer.state)) " for " (format::since(peer.since, overview.at)) ": " (peer.rule) }
            }
            (parts::as_of(overview.at))
        }
        div.cards {
            (facts(overview, peer))
            (votes(about, peer))
            (parts::card("incidents", &html! { "Incident" }, &incident))
        }
        (kinds(overview, peer))
        (parts::card("paths", &html! { "Paths " small { "last 5 minutes" } }, &paths))
    };
    Some(page(about, overview, region, "", true, main))
}

/// A link to the whole decision.
fn why(peer: &PeerView) -> Markup {
    html! { a href={ "/explain?region=" (peer.region) } { "why" } }
}

fn facts(overview: &Overview, peer: &PeerView) -> Markup {
    let good_at = peer.good_at.map(|at| format!("{} ago", format::since(at, overview.at)));
    let mut facts = vec![
        ("State", parts::state(peer.state)),
        ("Since", parts::time(peer.since, overview.at)),
        ("Reason", html! { span data-reason=(peer.rule.reason()) { (peer.rule) } " " (why(peer)) }),
        ("Last good answer", html! { (good_at.as_deref().unwrap_or("never")) }),
    ];
    if let Some(row) = overview.ranked(&peer.region) {
        let rank = parts::value(row.rank.map(|rank| rank.to_string()));
        facts.push(("Can take over", parts::eligibility(row)));
        facts.push(("Rank, score", html! { (rank) ", " (parts::latency(row.score)) }));
    }
    facts.push(("Min RTT", parts::min_rtt(overview, &peer.region)));
    if let Some(configured) = overview.configured(&peer.region) {
        facts.extend(configured.zone.iter().map(|zone| ("Zone", html! { (zone) })));
        facts.extend(configured.failure_domain.iter().map(|domain| ("Failure domain", html! { (domain) })));
        match configured.maintenance {
            Maintenance::No => {}
            Maintenance::Yes => facts.push(("Maintenance", html! { "yes" })),
            Maintenance::Until(at) => facts.push(("Maintenance", html! { "until " (at) })),
        }
    }
    for restriction in &peer.restrictions {
        let said = match restriction {
            Restriction::Command(command) => format::statement(command),
            Restriction::File { vantage, mode } => format::file(vantage, *mode, peer.region.as_str()),
        };
        facts.push(("Not failed over", html! { (said) }));
    }
    facts.extend(peer.operator_order.iter().map(|order| ("Operator", html! { (format::statement(&order.command)) })));
    facts.extend(peer.operator_order.iter().map(|order| ("Failover", html! { (format::order(order)) })));
    parts::card("facts", &html! { "Status" }, &parts::facts(facts))
}

fn votes(about: About<'_>, peer: &PeerView) -> Markup {
    let tally = &peer.tally;
    let quorum = match peer.quorum() {
        Quorum::Reached => parts::bad("reached"),
        Quorum::NotReached | Quorum::Impossible => html! { "not reached" },
    };
    let own = html! {
        tr {
            th scope="row" { (about.region) " (this one)" }
            td { (parts::vote(peer.vote)) }
            td { "now" }
        }
    };
    let rows = std::iter::once(own).chain(peer.said.iter().map(vote_of));
    let columns = [("", "Vantage", ""), ("", "Vote", ""), ("", "Last seen", "")];
    let content = html! {
        p.note {
            (tally.down) " down, " (tally.up) " up, " (tally.abstain) " abstain; "
            (tally.needed) " needed, " (tally.voters) " voting; quorum " (quorum) "."
        }
        (parts::table("votes", "Table of votes", None, &columns, rows))
    };
    parts::card("votes", &html! { "Votes" }, &content)
}

fn vote_of(said: &VoteStatus) -> Markup {
    let vote = match said.vote {
        _ if said.isolated => html! { "isolated" },
        Some(vote) => parts::vote(vote),
        None => parts::dash("no data"),
    };
    let seen = match said.age {
        Some(_) if said.fresh => "just now".to_owned(),
        Some(age) => format!("{} ago, expired", format::duration(age)),
        None => "never".to_owned(),
    };
    html! {
        tr { th scope="row" { (said.by) } td { (vote) } td { (seen) } }
    }
}

fn kinds(overview: &Overview, peer: &PeerView) -> Markup {
    let columns = [
        ("", "Probe", ""),
        ("y", "Layer", ""),
        ("n", "p50", ""),
        ("n x", "p95", ""),
        ("n", "Failed", "The share of probes that failed, with or without an answer"),
        ("n x", "Jitter", ""),
        ("n y", "Probes", ""),
    ];
    let rows = peer.kinds.iter().map(|KindView { kind, summary, .. }| {
        html! {
            tr {
                th scope="row" { (kind.title()) }
                td.y { (kind.layer().as_str()) }
                (parts::summary_cells(summary.as_ref(), None))
                td.n.y { (summary.map_or(0, |summary| summary.count)) }
            }
        }
    });
    let window = format::setting(overview.config.window);
    let caption = html! { "By kind of probe " small { "over the last " (window) ", all targets" } };
    parts::table("kinds", "Kinds of probes", Some(&caption), &columns, rows)
}
