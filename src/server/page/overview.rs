//! The overview: who is down and where to go, the peers in a matrix, and the last minutes of every path.

use std::collections::BTreeSet;

use super::{
    About, Headline, Html,
    chart::{self, Minutes},
    put,
    words::{self, Clock, Count, Latency, Percent, since},
};
use crate::{
    decision::ranking::{RankedRegion, preferred},
    geography::light_round_trip,
    model::{Cause, Incident, Ineligible, Kind, Region, Stage, Vote},
    status::{KindView, Overview, PathView, PeerView},
    window::{Summary, Trace},
};

pub(super) fn write(page: &mut Html, about: About<'_>, overview: &Overview, headline: &Headline) {
    banner(page, about, overview, headline);
    regions(page, about, overview);
    put!(page; "<div class=\"cards\">\n");
    put!(page; "<div class=\"stack\">\n");
    incidents(page, overview);
    vantage(page, overview);
    put!(page; "</div>\n<div class=\"stack\">\n");
    ranking(page, about, overview);
    votes(page, overview);
    put!(page; "</div>\n</div>\n<section aria-labelledby=\"h-paths\"><h2 id=\"h-paths\">Paths <small>last 5 minutes; bar = min\u{2013}max, line = mean, bar from top = failed</small></h2>\n\
        <div class=\"peers\">\n");
    for peer in by_urgency(overview) {
        put!(page; "<article class=\"card\" id=\"paths-" (peer.region) "\"><h3><a href=\"/peer/" (peer.region) "\">"
            (peer.region) "</a> ");
        words::state(page, peer.state);
        put!(page; "</h3>\n");
        paths(page, overview, peer);
        put!(page; "</article>\n");
    }
    put!(page; "</div></section>\n");
}

fn banner(page: &mut Html, about: About<'_>, overview: &Overview, headline: &Headline) {
    put!(page; "<section class=\"banner l-" (headline.level.as_str()) "\" id=\"summary\" data-level=\""
        (headline.level.as_str()) "\"><div><h1>Regions as seen from " (about.region) "</h1><p class=\"sentence\">"
        (headline.sentence) "</p>");
    if !headline.detail.is_empty() {
        put!(page; "<p class=\"detail\">" (headline.detail) "</p>");
    }
    put!(page; "</div><p class=\"asof\"><time datetime=\"" (overview.at) "\">" (Clock(overview.at)) "</time> UTC</p></section>\n");
}

/// The worst ones first, else in the order of the configuration.
fn by_urgency(overview: &Overview) -> Vec<&PeerView> {
    let mut peers: Vec<_> = overview.peers.iter().collect();
    peers.sort_by_key(|peer| words::urgency(peer.state));
    peers
}

fn regions(page: &mut Html, about: About<'_>, overview: &Overview) {
    let kinds: BTreeSet<_> = overview.peers.iter().flat_map(|peer| &peer.kinds).map(|view| view.kind).collect();
    put!(page; "<div class=\"scroll card\" id=\"regions\" tabindex=\"0\" role=\"region\" aria-label=\"Regions\">\
        <table class=\"regions\"><caption>From " (about.region) " to each peer region <small>over the last "
        (words::Round(overview.config.window)) "</small></caption>\n<thead><tr><th scope=\"col\">Peer</th><th scope=\"col\">State</th>\
        <th scope=\"col\" class=\"n x\">Since</th><th scope=\"col\" class=\"x\">Last 5 minutes</th>\
        <th scope=\"col\" class=\"n\">p50</th><th scope=\"col\" class=\"n x\">p95</th>\
        <th scope=\"col\" class=\"n\">Loss</th><th scope=\"col\" class=\"n x\">Jitter</th>\
        <th scope=\"col\" class=\"n x\"><abbr title=\"Round-trip time of light in a straight fiber, and the distance\">Min RTT</abbr></th>");
    for kind in &kinds {
        put!(page; "<th scope=\"col\" class=\"n k x\">" (kind.title()) "</th>");
    }
    put!(page; "<th scope=\"col\" class=\"x\">Votes</th><th scope=\"col\" class=\"n x\"><abbr title=\"Among the failover targets should "
        (about.region) " fail\">Rank</abbr></th></tr></thead>\n<tbody>\n");
    for peer in by_urgency(overview) {
        region(page, overview, peer, &kinds);
    }
    put!(page; "</tbody></table></div>\n");
}

fn region(page: &mut Html, overview: &Overview, peer: &PeerView, kinds: &BTreeSet<Kind>) {
    put!(page; "<tr id=\"region-" (peer.region) "\" data-peer=\"" (peer.region) "\" data-state=\"" (peer.state)
        "\"><th scope=\"row\"><a href=\"/peer/" (peer.region) "\">" (peer.region) "</a></th><td>");
    words::state(page, peer.state);
    put!(page; "</td><td class=\"n x\"><time datetime=\"" (peer.since) "\" title=\"" (peer.since) "\">"
        (since(peer.since, overview.at)) "</time></td><td class=\"graph x\">");
    let best = best(overview, peer);
    let kind = best.map(|(kind, _)| kind);
    let traces = peer.paths.iter().filter(|path| kind.is_none_or(|kind| path.path.kind == kind));
    chart::draw(page, &Minutes::of(traces.map(|path| &path.trace), overview.instant), 24);
    put!(page; "</td>");
    summary(page, best.map(|(_, summary)| summary).as_ref(), kind);
    put!(page; "<td class=\"n x\">");
    light(page, overview, &peer.region);
    put!(page; "</td>");
    for kind in kinds {
        put!(page; "<td class=\"n k x\">");
        match peer.kinds.iter().find(|view| view.kind == *kind) {
            Some(view) => cell(page, view.summary.as_ref()),
            None => {
                put!(page; "<span class=\"none\" title=\"not probed\">\u{b7}<span class=\"vh\"> not probed</span></span>")
            }
        }
        put!(page; "</td>");
    }
    put!(page; "<td class=\"x\">");
    tally(page, peer);
    put!(page; "</td><td class=\"n x\">");
    match overview.ranking.iter().find(|row| row.region == peer.region).and_then(|row| row.rank) {
        Some(rank) => put!(page; (rank)),
        None => {
            put!(page; "<span class=\"none\" title=\"cannot take over\">\u{2013}<span class=\"vh\"> cannot take over</span></span>")
        }
    }
    put!(page; "</td></tr>\n");
}

/// The kind that speaks for a peer: the one that the ranking goes by, of those that were ever answered. Where a critical
/// service is dead, its own.
fn best(overview: &Overview, peer: &PeerView) -> Option<(Kind, Summary)> {
    let dead_service = overview.incidents.iter().any(|incident| {
        incident.peer == peer.region && incident.cause == Cause::Service && incident.resolved.is_none()
    });
    let is_critical = |kind| {
        let mut paths = overview.config.paths();
        paths.any(|(path, probe)| probe.critical && path.kind == kind && path.peer == peer.region)
    };
    let speaks = |view: &&KindView| view.answered && (!dead_service || is_critical(view.kind));
    let summaries = |views: Vec<&KindView>| preferred(views.into_iter().filter_map(|it| Some((it.kind, it.summary?))));
    summaries(peer.kinds.iter().filter(speaks).collect()).or_else(|| summaries(peer.kinds.iter().collect()))
}

/// The cells p50, p95, loss and jitter, with the kind that they are of where that is not said otherwise.
pub(super) fn summary(page: &mut Html, summary: Option<&Summary>, kind: Option<Kind>) {
    let latency = summary.and_then(|summary| summary.latency);
    put!(page; "<td class=\"n\">");
    words::latency(page, latency.map(|latency| latency.p50));
    if let Some(kind) = kind {
        put!(page; "<span class=\"sub\">by " (kind.title()) "</span>");
    }
    put!(page; "</td><td class=\"n x\">");
    words::latency(page, latency.map(|latency| latency.p95));
    put!(page; "</td><td class=\"n\">");
    words::loss(page, summary);
    put!(page; "</td><td class=\"n x\">");
    words::latency(page, latency.and_then(|latency| latency.jitter));
    put!(page; "</td>");
}

/// A kind of probe in one cell: its median, and its loss where there is any.
fn cell(page: &mut Html, summary: Option<&Summary>) {
    match summary {
        None => words::none(page),
        Some(Summary { latency: None, loss, .. }) => put!(page; "<b class=\"bad\">" (Percent(*loss)) " lost</b>"),
        Some(Summary { latency: Some(latency), loss, .. }) => {
            put!(page; (Latency(latency.p50)));
            if *loss > 0.0 {
                put!(page; "<span class=\"sub bad\">" (Percent(*loss)) " lost</span>");
            }
        }
    }
}

/// How soon light could be back, and from how far.
pub(super) fn light(page: &mut Html, overview: &Overview, region: &Region) {
    let there = overview.config.peers.iter().find(|peer| peer.region == *region).and_then(|peer| peer.location);
    match (overview.config.location, there) {
        (Some(here), Some(there)) => {
            let meters = here.distance_meters(there);
            let km = (meters / 1e3).round();
            put!(page; (Latency(light_round_trip(meters))) "<span class=\"sub\">" (km) " km</span>");
        }
        _ => words::none(page),
    }
}

fn tally(page: &mut Html, peer: &PeerView) {
    let tally = &peer.tally;
    put!(page; (tally.down) "/" (tally.voters) " down");
    if tally.reached {
        put!(page; "<span class=\"sub bad\">quorum reached</span>");
    } else {
        put!(page; "<span class=\"sub\">" (tally.needed) " needed</span>");
    }
}

/// What the votes on all peers amount to, where that is not what one would expect.
fn quorum_note(page: &mut Html, overview: &Overview) {
    let few: Vec<_> = overview.peers.iter().filter(|peer| peer.tally.voters < peer.tally.needed).collect();
    if !overview.config.paths().any(|(path, _)| path.kind.carries_votes()) {
        put!(page; "<p class=\"note\">No votes are exchanged: no verdict is confirmed by other vantages.</p>\n");
    } else if !few.is_empty() {
        put!(page; "<p class=\"note\">Too few vantages vote to confirm an outage of ");
        for (n, peer) in few.iter().enumerate() {
            put!(page; (if n == 0 { "" } else { ", " }) (peer.region));
        }
        put!(page; ".</p>\n");
    }
}

fn ranking(page: &mut Html, about: About<'_>, overview: &Overview) {
    put!(page; "<section class=\"card\" aria-labelledby=\"h-ranking\"><h2 id=\"h-ranking\">Failover targets <small>should " (about.region) " fail</small></h2>\n");
    if overview.ranking.iter().all(|row| !row.eligible()) {
        put!(page; "<p class=\"note bad\">No region could take over.</p>");
    }
    put!(page; "<div class=\"scroll\" id=\"ranking\" tabindex=\"0\" role=\"region\" aria-label=\"Failover targets\">\
        <table><thead><tr><th scope=\"col\" class=\"n\">Rank</th><th scope=\"col\">Region</th>\
        <th scope=\"col\" class=\"n\"><abbr title=\"Estimated cost of a failover, in time per request; lower is better\">Score</abbr></th>\
        <th scope=\"col\">Eligible</th></tr></thead><tbody>\n");
    for row in &overview.ranking {
        put!(page; "<tr id=\"candidate-" (row.region) "\" data-candidate=\"" (row.region) "\" data-eligible=\"" (row.eligible())
            "\"><td class=\"n\">");
        match row.rank {
            Some(rank) => put!(page; (rank)),
            None => put!(page; "<span class=\"none\">\u{2013}<span class=\"vh\"> no rank</span></span>"),
        }
        put!(page; "</td><th scope=\"row\"><a href=\"/peer/" (row.region) "\">" (row.region) "</a></th><td class=\"n\">");
        words::latency(page, row.score);
        put!(page; "</td><td class=\"why\">");
        eligibility(page, row);
        put!(page; "</td></tr>\n");
    }
    put!(page; "</tbody></table></div></section>\n");
}

/// Whether a region can take over, and everything that keeps it from that.
pub(super) fn eligibility(page: &mut Html, row: &RankedRegion) {
    if row.eligible() {
        put!(page; "yes");
        return;
    }
    put!(page; "no: ");
    for (n, reason) in row.reasons.iter().enumerate() {
        if n > 0 {
            put!(page; ", ");
        }
        let reason: Ineligible = *reason;
        put!(page; "<span data-reason=\"" (reason) "\">" (words::reason(reason)) "</span>");
    }
}

fn votes(page: &mut Html, overview: &Overview) {
    put!(page; "<section class=\"card\" aria-labelledby=\"h-votes\"><h2 id=\"h-votes\">Votes</h2>\n");
    quorum_note(page, overview);
    put!(page; "<div class=\"scroll\" id=\"votes\" tabindex=\"0\" role=\"region\" aria-label=\"Table of votes\">\
        <table><thead><tr><th scope=\"col\">On</th><th scope=\"col\">Ours</th><th scope=\"col\" class=\"n\">Down</th>\
        <th scope=\"col\" class=\"n x\">Up</th><th scope=\"col\" class=\"n x\">Abstain</th>\
        <th scope=\"col\">Quorum</th></tr></thead><tbody>\n");
    for peer in by_urgency(overview) {
        let tally = &peer.tally;
        put!(page; "<tr id=\"votes-" (peer.region) "\" data-votes=\"" (peer.region) "\"><th scope=\"row\"><a href=\"/peer/" (peer.region)
            "\">" (peer.region) "</a></th><td>");
        vote(page, peer.vote);
        put!(page; "</td><td class=\"n\">" (tally.down) "</td><td class=\"n x\">" (tally.up) "</td><td class=\"n x\">"
            (tally.abstain) "</td><td>");
        if tally.reached {
            put!(page; "<b class=\"bad\">reached</b>");
        } else if tally.voters < tally.needed {
            put!(page; "not possible");
        } else {
            put!(page; "no");
        }
        put!(page; "<span class=\"sub\">" (tally.needed) " needed, " (tally.voters) " voting</span></td></tr>\n");
    }
    put!(page; "</tbody></table></div></section>\n");
}

/// A vote, which stands out where it is down.
pub(super) fn vote(page: &mut Html, vote: Vote) {
    match vote {
        Vote::Down => put!(page; "<b class=\"bad\">down</b>"),
        Vote::Up | Vote::Abstain => put!(page; (vote)),
    }
}

fn incidents(page: &mut Html, overview: &Overview) {
    put!(page; "<section class=\"card\" id=\"incidents\" aria-labelledby=\"h-incidents\"><h2 id=\"h-incidents\">Incidents</h2>\n");
    if overview.incidents.is_empty() {
        put!(page; "<p class=\"note\">No active incidents.</p>");
    }
    for incident in &overview.incidents {
        // Whoever has come to the second stage has come through the first.
        let further = |other: &&Incident| other.peer == incident.peer && other.stage > incident.stage;
        if !overview.incidents.iter().any(|other| further(&other)) {
            self::incident(page, overview, incident);
        }
    }
    put!(page; "</section>\n");
}

/// One incident with all that is told of it.
pub(super) fn incident(page: &mut Html, overview: &Overview, incident: &Incident) {
    put!(page; "<div class=\"incident\" data-incident=\"" (incident.peer) "\" data-stage=\"" (incident.stage) "\"><h3><a href=\"/peer/"
        (incident.peer) "\">" (incident.peer) "</a> <span class=\"tag\">" (words::stage(incident.stage)) "</span> ");
    match incident.resolved {
        Some(at) => put!(page; "<span class=\"tag calm\">resolved at " (Clock(at)) "</span>"),
        None if incident.confirmed => put!(page; "<span class=\"tag\">confirmed</span>"),
        None => put!(page; "<span class=\"tag calm\">not confirmed</span>"),
    }
    put!(page; "</h3><dl><dt>Since</dt><dd>");
    words::time(page, incident.onset);
    put!(page; " (" (since(incident.onset, incident.resolved.unwrap_or(overview.at))) ")</dd><dt>Cause</dt><dd>" (words::cause(incident.cause))
        "</dd><dt>Votes</dt><dd>" (incident.tally.down) " of " (incident.tally.voters) " down, " (incident.tally.needed)
        " needed</dd><dt>Fail over to</dt><dd>");
    if incident.candidates.is_empty() {
        put!(page; "<b class=\"bad\">no region can take over</b>");
    }
    for (n, candidate) in incident.candidates.iter().enumerate() {
        match n {
            0 => put!(page; "<b>" (candidate.region) "</b>"),
            _ => put!(page; ", then " (candidate.region)),
        }
    }
    let alert = match incident.stage {
        Stage::Prepare => "RegionwatchPeerDown",
        Stage::Execute => "RegionwatchPeerFailover",
    };
    put!(page; "</dd><dt>Alert</dt><dd>" (alert) " <code class=\"id\">" (incident.id) "</code></dd></dl><p class=\"note\">"
        (incident.evidence) "</p></div>\n");
}

fn vantage(page: &mut Html, overview: &Overview) {
    put!(page; "<section class=\"card\" id=\"vantage\" data-isolated=\"" (overview.isolation_reason.is_some())
        "\" aria-labelledby=\"h-vantage\"><h2 id=\"h-vantage\">This vantage</h2>\n<dl><dt>Isolated</dt><dd>");
    match overview.isolation_reason {
        Some(why) => put!(page; "<b class=\"bad\">yes</b>: " (why)),
        None => put!(page; "no"),
    }
    put!(page; "</dd><dt>Anchors</dt><dd>");
    if overview.anchors.is_empty() {
        put!(page; "none configured");
    }
    for (n, (anchor, answers)) in overview.config.anchors.iter().zip(&overview.anchors).enumerate() {
        if n > 0 {
            put!(page; "<br>");
        }
        put!(page; (anchor) ": ");
        match answers {
            Some(true) => put!(page; "answers"),
            Some(false) => put!(page; "<b class=\"bad\">does not answer</b>"),
            None => put!(page; "never answered yet"),
        }
    }
    put!(page; "</dd><dt>Scheduling</dt><dd>");
    match overview.health_score {
        0 => put!(page; "on time"),
        score => put!(page; "<b class=\"bad\">late</b>: score " (score) " of 7, waits " (score + 1) " times as long"),
    }
    let paths: usize = overview.peers.iter().map(|peer| peer.paths.len()).sum();
    put!(page; "</dd><dt>Measures</dt><dd>" (Count(paths as u64, "path")) " to " (Count(overview.peers.len() as u64, "peer"))
        "</dd><dt>Alertmanagers</dt><dd>");
    match overview.config.alertmanagers.len() as u64 {
        0 => put!(page; "none"),
        count => put!(page; (count)),
    }
    put!(page; "</dd></dl></section>\n");
}

/// The paths of a peer, a line each.
pub(super) fn paths(page: &mut Html, overview: &Overview, peer: &PeerView) {
    put!(page; "<ul class=\"paths\">\n");
    for view in &peer.paths {
        path(page, overview, view);
    }
    put!(page; "</ul>\n");
}

fn path(page: &mut Html, overview: &Overview, view: &PathView) {
    let minutes = Minutes::of([&view.trace] as [&Trace; 1], overview.instant);
    let whole = minutes.whole();
    put!(page; "<li id=\"path-" (view.path) "\" data-path=\"" (view.path) "\"><a class=\"name\" href=\"/path/" (view.path) "\"><span class=\"kind\">"
        (view.path.kind.title()) "</span><span class=\"to\">" (view.path.target) "</span></a>");
    chart::draw(page, &minutes, 24);
    put!(page; "<span class=\"value\">");
    match view.last.map(|record| record.outcome) {
        Some(Ok(timings)) => put!(page; (Latency(timings.total))),
        Some(Err(failure)) => put!(page; "<b class=\"bad\">" (failure) "</b>"),
        None => words::none(page),
    }
    put!(page; "</span><span class=\"value loss\"");
    if let Some((failure, at)) = view.last_failure() {
        put!(page; " title=\"last failure: " (failure) " at " (Clock(at)) " UTC\"");
    }
    put!(page; ">");
    match whole.loss() {
        Some(loss) if whole.lost > 0 => put!(page; "<span class=\"bad\">" (Percent(loss)) " lost</span>"),
        Some(_) => put!(page; "<span class=\"dim\">0% lost</span>"),
        None => words::none(page),
    }
    put!(page; "</span></li>\n");
}
