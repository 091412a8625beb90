//! The overview: which regions are down and where to fail over, the peers in a table, the last minutes of every path.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use maud::{Markup, html};

use super::{
    chart::{ChartData, chart},
    document::{About, page},
    headline, parts,
};
use crate::{
    decision::{ranking::RankedRegion, votes::VoteProblem},
    model::{Incident, Kind, ReplicaState, UnixMillis},
    replication::Lag,
    status::{AlertmanagerView, DatabaseView, Headline, Overview, PeerView, PushFailure, Quorum, WitnessView, format},
    window::Summary,
};

/// `/`
pub(crate) fn overview(about: About<'_>, overview: &Overview) -> Bytes {
    let main = html! {
        (banner(about, overview))
        (regions(about, overview))
        @if !overview.databases.is_empty() { (databases(overview)) }
        div.cards {
            // So divided, both columns of a screen that is 1440 wide are about as high.
            @let is_open = overview.has_open_incident();
            div.stack {
                (incidents(overview))
                (targets(overview))
                @if !is_open { (votes(overview)) }
            }
            div.stack {
                @if is_open { (votes(overview)) }
                (ranking(about, overview))
                (vantage(overview))
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
    let lines = headline::lines(&headline, overview);
    html! {
        section #summary class={ "banner l-" (severity) } data-level=(severity) {
            div {
                h1 { "Regions as seen from " (about.region) }
                p.sentence { (headline::sentence(&headline, overview)) }
                @if !lines.is_empty() {
                    ul.detail {
                        @for line in &lines {
                            li { (line.text) @if let Some((url, name)) = &line.link { " " a href=(url) { (name) } } }
                        }
                    }
                }
            }
            (parts::as_of(overview.at))
        }
    }
}

fn regions(about: About<'_>, overview: &Overview) -> Markup {
    let kinds = overview.kinds();
    let caption = html! {
        "From " (about.region) " to each peer region "
        small { "over the last " (format::setting(overview.config.window)) }
    };
    let rank = match overview.config.is_witness() {
        true => "Among the failover targets, as measured from here".to_owned(),
        false => format!("Among the failover targets if {} goes down", about.region),
    };
    let mut columns = vec![
        ("", "Peer", ""),
        ("", "State", ""),
        ("n x", "Since", ""),
        ("x", "Last 5 minutes", ""),
        ("n", "p50", ""),
        ("n x", "p95", ""),
        ("n", "Failed", "The share of probes that failed, with or without an answer"),
        ("n x", "Jitter", ""),
        ("n x", "Min RTT", "Round-trip time of light in a straight fiber, and the distance"),
    ];
    columns.extend(kinds.iter().map(|kind| ("n k x", kind.title(), "")));
    columns.extend([("x", "Votes", ""), ("n x", "Rank", &*rank)]);
    let rows = overview.by_urgency().into_iter().map(|peer| region(overview, peer, &kinds));
    parts::table("regions", "Regions", Some(&caption), &columns, rows)
}

fn databases(overview: &Overview) -> Markup {
    let caption =
        html! { "Databases " small { "lag by tokens of this vantage, beside the word of the replica itself" } };
    let columns = [
        ("", "Database", ""),
        ("", "Region", ""),
        ("", "State", ""),
        ("n", "Lag", "The age of the oldest change that is missing: at least, and at most"),
        (
            "n",
            "Failover loses",
            "What a failover there would lose, at least and at most, by the bounds of all vantages",
        ),
        ("n x", "It says", "The lag as the replica reports it, which can be 0 while it is cut off"),
    ];
    parts::table("databases", "Databases", Some(&caption), &columns, overview.databases.iter().map(database))
}

fn database(view: &DatabaseView) -> Markup {
    let DatabaseView { database, region, status, loss } = view;
    let state = status.state.as_str().replace('_', " ");
    let is_bad = matches!(status.state, ReplicaState::CutOff | ReplicaState::NotReplicating | ReplicaState::Unknown);
    html! {
        tr data-database=(database) data-state=(status.state) {
            th scope="row" { (database) }
            td { (region) }
            td { @if is_bad { (parts::bad(&state)) } @else { (state) } }
            td.n { (parts::value(lag(&status.lag))) }
            td.n {
                @match loss {
                    Some(Some(loss)) => (loss),
                    Some(None) => (parts::bad("unknown")),
                    None => (parts::dash("it is the primary")),
                }
            }
            td.n.x { (parts::latency(status.engine_lag)) }
        }
    }
}

fn lag(lag: &Lag) -> Option<String> {
    match (lag.lower, lag.upper) {
        (Some(lower), Some(upper)) => Some(format!("{:.1} to {:.1} s", lower.as_secs_f64(), upper.as_secs_f64())),
        (Some(lower), None) => Some(format!("over {:.1} s", lower.as_secs_f64())),
        (None, Some(upper)) => Some(format!("under {:.1} s", upper.as_secs_f64())),
        (None, None) => None,
    }
}

fn region(overview: &Overview, peer: &PeerView, kinds: &BTreeSet<Kind>) -> Markup {
    let representative = overview.representative(peer);
    let kind = representative.map(|(kind, _)| kind);
    let traces = peer.paths.iter().filter(|path| kind.is_none_or(|kind| path.path.kind == kind));
    let data = ChartData::of(traces.map(|path| &path.trace), overview.instant);
    html! {
        tr id={ "region-" (peer.region) } data-peer=(peer.region) data-state=(peer.state) {
            th scope="row" { (parts::peer_link(&peer.region)) }
            td title=(peer.rule) { (parts::state(peer.state)) }
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
                (rank(overview.ranked(&peer.region), "not eligible"))
            }
        }
    }
}

/// A kind of probe in one cell: its median, and how many failed if any did.
fn kind_cell(summary: Option<&Summary>) -> Markup {
    html! {
        @match summary {
            None => (parts::dash("no data")),
            Some(Summary { latency: None, loss, unanswered, .. }) => b.bad { (format::failed(*loss, *unanswered)) },
            Some(Summary { latency: Some(latency), loss, unanswered, .. }) => {
                (format::latency(latency.p50))
                @if *loss > 0.0 { span.sub.bad { (format::failed(*loss, *unanswered)) } }
            }
        }
    }
}

fn ranking(about: About<'_>, overview: &Overview) -> Markup {
    let columns = [
        ("n", "Rank", ""),
        ("", "Region", ""),
        ("n", "Score", "Estimated cost of a failover, in time per request; lower is better"),
        ("", "Eligible", ""),
    ];
    let rows = overview.ranking.iter().map(|row| {
        html! {
            tr id={ "candidate-" (row.region) } data-candidate=(row.region) data-eligible=(row.eligible()) {
                td.n { (rank(Some(row), "no rank")) }
                th scope="row" { (parts::peer_link(&row.region)) }
                td.n { (parts::latency(row.score)) }
                td.why { (parts::eligibility(row)) }
            }
        }
    });
    let content = html! {
        @if overview.ranking.iter().all(|row| !row.eligible()) { p.note.bad { "No region is eligible." } }
        (parts::table("ranking", "Failover targets", None, &columns, rows))
    };
    let title = html! {
        "Failover targets "
        @if overview.config.is_witness() { small { "as measured from here" } }
        @else { small { "should " (about.region) " go down" } }
    };
    parts::card("ranking", &title, &content)
}

/// Where to fail over the regions that have an open incident.
fn targets(overview: &Overview) -> Markup {
    let open = overview.peers.iter().filter_map(|peer| overview.open_incident(&peer.region));
    parts::join(open.map(|incident| targets_of(incident, overview)), "")
}

fn targets_of(incident: &Incident, overview: &Overview) -> Markup {
    let columns = [("n", "Order", ""), ("", "Region", ""), ("", "State", ""), ("n x", "Score", "")];
    let rows = incident.candidates.iter().map(|candidate| {
        let state = overview.peer(candidate.region.as_str()).map(|peer| parts::state(peer.state));
        html! {
            tr data-target=(candidate.region) {
                td.n { (candidate.rank) }
                th scope="row" {
                    @if state.is_some() { (parts::peer_link(&candidate.region)) } @else { (candidate.region) }
                }
                td { @match state { Some(state) => (state), None => "this region" } }
                td.n.x { (parts::latency(candidate.score)) }
            }
        }
    });
    let id = format!("targets-{}", incident.peer);
    let content = html! {
        @if incident.candidates.is_empty() { p.note.bad { "No region can take over." } }
        (parts::table(&format!("{id}-table"), &format!("Failover targets of {}", incident.peer), None, &columns, rows))
    };
    parts::card(&id, &html! { "Fail over " (incident.peer) " to" }, &content)
}

fn rank(row: Option<&RankedRegion>, without: &str) -> Markup {
    row.and_then(|row| row.rank).map_or_else(|| parts::dash(without), |rank| html! { (rank) })
}

fn votes(overview: &Overview) -> Markup {
    let columns = [
        ("", "Peer", ""),
        ("", "Own vote", ""),
        ("n", "Down", ""),
        ("n x", "Up", ""),
        ("n x", "Abstain", ""),
        ("", "Quorum", ""),
    ];
    let rows = overview.by_urgency().into_iter().map(votes_on);
    let table = parts::table("votes", "Table of votes", None, &columns, rows);
    parts::card("votes", &html! { "Votes" }, &html! { (quorum_note(overview)) (table) })
}

fn votes_on(peer: &PeerView) -> Markup {
    let tally = &peer.tally;
    let quorum = match peer.quorum() {
        Quorum::Reached => parts::bad("reached"),
        Quorum::NotReached => html! { "no" },
        Quorum::Impossible => html! { "not possible" },
    };
    html! {
        tr id={ "votes-" (peer.region) } data-votes=(peer.region) {
            th scope="row" { (parts::peer_link(&peer.region)) }
            td { (parts::vote(peer.vote)) }
            td.n { (tally.down) }
            td.n.x { (tally.up) }
            td.n.x { (tally.abstain) }
            td { (quorum) span.sub { (tally.needed) " needed, " (tally.voters) " voting" } }
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
    let content = html! {
        @if overview.incidents.is_empty() { p.note { "No active incidents." } }
        @for incident in overview.furthest_incidents() { (parts::incident(overview, incident)) }
    };
    parts::card("incidents", &html! { "Incidents" }, &content)
}

fn alertmanager(view: &AlertmanagerView, now: UnixMillis) -> Markup {
    html! {
        (view.url) ": "
        @match (view.failing, view.accepted_at) {
            (Some(PushFailure { since, result }), _) => {
                (parts::bad(format::push_result(result))) ", since " (parts::time(since, now))
            },
            (None, Some(at)) => { "last push accepted " (format::since(at, now)) " ago" },
            (None, None) => { "no push yet" },
        }
    }
}

/// How old the votes of a witness may be until it counts as away.
const AWAY: Duration = Duration::from_secs(10);

fn witness(view: &WitnessView) -> Markup {
    let WitnessView { name, age, vote_problem } = view;
    let said = match (vote_problem, age) {
        (Some(VoteProblem::Rejected(reason)), _) => {
            html! { (parts::bad("votes rejected")) " (" (reason.as_str()) ")" }
        }
        (_, Some(age)) if *age > AWAY => parts::bad(&format!("last vote {} ago", format::duration(*age))),
        (_, Some(age)) => html! { "voted " (format::duration(*age)) " ago" },
        (_, None) => parts::bad("has never voted"),
    };
    html! { (name) ": " (said) }
}

fn vantage(overview: &Overview) -> Markup {
    let isolated = match overview.isolation_reason {
        Some(reason) => html! { (parts::bad("yes")) ": " (reason) },
        None => html! { "no" },
    };
    let anchors = overview.config.anchors.iter().zip(&overview.anchors).map(|(anchor, answers)| match answers {
        Some(true) => html! { (anchor) ": answers" },
        Some(false) => html! { (anchor) ": " (parts::bad("does not answer")) },
        None => html! { (anchor) ": has never answered" },
    });
    let anchors = match overview.anchors[..] {
        [] => html! { "none configured" },
        _ => parts::join(anchors, "<br>"),
    };
    let lateness = match overview.health_score {
        0 => html! { "none: probes start on time" },
        score => {
            html! { (parts::bad(&format!("{score} of 7"))) ": probes are late, so it waits " (score + 1) " times as long" }
        }
    };
    let paths = overview.peers.iter().map(|peer| peer.paths.len()).sum();
    let peers = format::count(overview.peers.len(), "peer");
    let alertmanagers = overview.alertmanagers.iter().map(|view| alertmanager(view, overview.at));
    let alertmanagers = match overview.alertmanagers[..] {
        [] => html! { "none" },
        _ => parts::join(alertmanagers, "<br>"),
    };
    let role = overview.config.is_witness().then(|| html! { "witness: it votes, and owns no region" });
    let witnesses =
        (!overview.witnesses.is_empty()).then(|| parts::join(overview.witnesses.iter().map(witness), "<br>"));
    let facts = [
        role.map(|role| ("Role", role)),
        Some(("Isolated", isolated)),
        Some(("Anchors", anchors)),
        Some(("Lateness", lateness)),
        Some(("Measures", html! { (format::count(paths, "path")) " to " (peers) })),
        witnesses.map(|witnesses| ("Witnesses", witnesses)),
        Some(("Alertmanagers", alertmanagers)),
    ];
    let facts = parts::facts(facts.into_iter().flatten());
    let content = html! { div data-isolated=(overview.isolation_reason.is_some()) { (facts) } };
    html! { div #vantage { (parts::card("vantage", &html! { "This vantage" }, &content)) } }
}
