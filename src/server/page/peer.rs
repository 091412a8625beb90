//! One peer region: what is thought of it and why.

use super::{About, Html, headline::Level, overview as parts, put, words};
use crate::model::PeerState;
use crate::status::{KindView, Overview, PeerView};

pub(super) fn write(page: &mut Html, about: About<'_>, overview: &Overview, peer: &PeerView) {
    put!(page; "<nav class=\"crumbs\" aria-label=\"Where this is\"><a href=\"/\">Overview</a> / " (peer.region) "</nav>\n\
        <section class=\"banner l-" (level(peer.state).as_str()) "\" data-peer=\"" (peer.region) "\" data-state=\"" (peer.state) "\"><div><h1>" (peer.region) " <span class=\"dim\">from " (about.region)
        "</span></h1><p class=\"sentence\">");
    words::state(page, peer.state);
    put!(page; " for " (words::since(peer.since, overview.at)) "</p></div><p class=\"asof\">");
    words::time(page, overview.at);
    put!(page; " UTC</p></section>\n<div class=\"cards\">\n");
    facts(page, overview, peer);
    votes(page, about, peer);
    incidents(page, overview, peer);
    put!(page; "</div>\n");
    kinds(page, peer, overview);
    put!(page; "<section class=\"card\" aria-labelledby=\"h-paths\"><h2 id=\"h-paths\">Paths <small>last 5 minutes</small></h2>\n<div class=\"wide\">");
    parts::paths(page, overview, peer);
    put!(page; "</div></section>\n");
}

const fn level(state: PeerState) -> Level {
    match state {
        PeerState::Healthy => Level::Fine,
        PeerState::Down => Level::Down,
        PeerState::Unknown | PeerState::Degraded | PeerState::Suspect | PeerState::Recovering => Level::Watch,
    }
}

fn facts(page: &mut Html, overview: &Overview, peer: &PeerView) {
    put!(page; "<section class=\"card\" aria-labelledby=\"h-facts\"><h2 id=\"h-facts\">Status</h2>\n<dl><dt>State</dt><dd>");
    words::state(page, peer.state);
    put!(page; "</dd><dt>Since</dt><dd>");
    words::time(page, peer.since);
    put!(page; "</dd><dt>Last good answer</dt><dd>");
    match peer.good_at {
        Some(at) => put!(page; (words::since(at, overview.at)) " ago"),
        None => put!(page; "never"),
    }
    put!(page; "</dd>");
    if let Some(row) = overview.ranking.iter().find(|row| row.region == peer.region) {
        put!(page; "<dt>Can take over</dt><dd>");
        parts::eligibility(page, row);
        put!(page; "</dd><dt>Rank, score</dt><dd>");
        match row.rank {
            Some(rank) => put!(page; (rank)),
            None => words::none(page),
        }
        put!(page; ", ");
        words::latency(page, row.score);
        put!(page; "</dd>");
    }
    put!(page; "<dt>Min RTT</dt><dd>");
    parts::light(page, overview, &peer.region);
    put!(page; "</dd>");
    if let Some(known) = overview.config.peers.iter().find(|known| known.region == peer.region) {
        for (name, value) in [("Zone", &known.zone), ("Failure domain", &known.failure_domain)] {
            if let Some(value) = value {
                put!(page; "<dt>" (name) "</dt><dd>" (value) "</dd>");
            }
        }
        if known.maintenance {
            put!(page; "<dt>Maintenance</dt><dd>yes</dd>");
        }
    }
    put!(page; "</dl></section>\n");
}

fn votes(page: &mut Html, about: About<'_>, peer: &PeerView) {
    let tally = &peer.tally;
    put!(page; "<section class=\"card\" aria-labelledby=\"h-votes\"><h2 id=\"h-votes\">Votes</h2>\n<p class=\"note\">" (tally.down)
        " down, " (tally.up) " up, " (tally.abstain) " abstain; " (tally.needed) " needed, " (tally.voters) " voting; quorum ");
    if tally.reached {
        put!(page; "<b class=\"bad\">reached</b>");
    } else {
        put!(page; "not reached");
    }
    put!(page; ".</p><div class=\"scroll\" id=\"votes\" tabindex=\"0\" role=\"region\" aria-label=\"Table of votes\">\
        <table><thead><tr><th scope=\"col\">Vantage</th><th scope=\"col\">Vote</th><th scope=\"col\">Last seen</th></tr></thead><tbody>\n\
        <tr><th scope=\"row\">" (about.region) " (this one)</th><td>");
    parts::vote(page, peer.vote);
    put!(page; "</td><td>now</td></tr>\n");
    for said in &peer.said {
        put!(page; "<tr><th scope=\"row\">" (said.by) "</th><td>");
        match said.vote {
            _ if said.isolated => put!(page; "isolated"),
            Some(vote) => parts::vote(page, vote),
            None => words::none(page),
        }
        put!(page; "</td><td>");
        match said.age {
            Some(_) if said.fresh => put!(page; "just now"),
            Some(age) => put!(page; (words::Span(age)) " ago, expired"),
            None => put!(page; "never"),
        }
        put!(page; "</td></tr>\n");
    }
    put!(page; "</tbody></table></div></section>\n");
}

fn incidents(page: &mut Html, overview: &Overview, peer: &PeerView) {
    put!(page; "<section class=\"card\" aria-labelledby=\"h-incidents\"><h2 id=\"h-incidents\">Incident</h2>\n");
    match overview.incidents.iter().filter(|it| it.peer == peer.region).max_by_key(|it| it.stage) {
        Some(incident) => parts::incident(page, overview, incident),
        None => put!(page; "<p class=\"note\">No active incident.</p>"),
    }
    put!(page; "</section>\n");
}

fn kinds(page: &mut Html, peer: &PeerView, overview: &Overview) {
    put!(page; "<div class=\"scroll card\" id=\"kinds\" tabindex=\"0\" role=\"region\" aria-label=\"Kinds of probes\">\
        <table><caption>By kind of probe <small>over the last " (words::Round(overview.config.window)) ", all targets</small></caption>\
        <thead><tr><th scope=\"col\">Probe</th><th scope=\"col\" class=\"y\">Layer</th><th scope=\"col\" class=\"n\">p50</th>\
        <th scope=\"col\" class=\"n x\">p95</th><th scope=\"col\" class=\"n\">Loss</th><th scope=\"col\" class=\"n x\">Jitter</th>\
        <th scope=\"col\" class=\"n y\">Probes</th></tr></thead><tbody>\n");
    for KindView { kind, summary, .. } in &peer.kinds {
        put!(page; "<tr><th scope=\"row\">" (kind.title()) "</th><td class=\"y\">" (kind.layer().as_str()) "</td>");
        parts::summary(page, summary.as_ref(), None);
        put!(page; "<td class=\"n y\">" (summary.map_or(0, |summary| summary.count)) "</td></tr>\n");
    }
    put!(page; "</tbody></table></div>\n");
}
