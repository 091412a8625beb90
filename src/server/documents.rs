//! What the API returns about states and decisions, as JSON. `assets/openapi.json` describes it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::page::{self, About, Line};
use crate::{
    decision::ranking::RankedRegion,
    model::{Incident, LabelValue},
    status::{AlertmanagerView, Explained, FailoverOrder, Headline, Overview, PeerView, Quorum},
    window::Summary,
};

/// The description of the API.
pub(super) const OPENAPI: &str = include_str!("assets/openapi.json");

/// `/api/v1/explain`
pub(super) fn explained_json(explained: &Explained) -> Bytes {
    let Explained { region, state, since, reason, why, sections } = explained;
    let sections: Vec<_> =
        sections.iter().map(|section| json!({"title": section.title, "lines": section.lines})).collect();
    encoded(&json!({
        "region": region.as_str(),
        "state": state.as_str(),
        "since": since.to_string(),
        "reason": reason.as_str(),
        "why": why,
        "sections": sections,
    }))
}

/// `/api/v1/overview`
pub(super) fn overview_json(about: About<'_>, overview: &Overview) -> Bytes {
    let headline = Headline::of(overview);
    let line = |Line { text, link }: &Line| json!({"text": text, "link": link.as_ref().map(|(url, _)| url)});
    let lines = page::lines(&headline, overview);
    encoded(&json!({
        "vantage_region": about.region.as_str(),
        "environment": about.environment.map(LabelValue::as_str),
        "version": about.version,
        "at": overview.at.to_string(),
        "uptime_seconds": overview.uptime.as_secs_f64(),
        "severity": headline.severity().as_str(),
        "sentence": page::sentence(&headline, overview),
        "lines": lines.iter().map(line).collect::<Vec<_>>(),
        "isolated": overview.isolation_reason.map(|reason| reason.to_string()),
        "peers": overview.by_urgency().into_iter().map(|it| peer(it, overview)).collect::<Vec<_>>(),
        "incidents": overview.incidents.iter().map(incident).collect::<Vec<_>>(),
        "ranking": overview.ranking.iter().map(ranked).collect::<Vec<_>>(),
        "alertmanagers": overview.alertmanagers.iter().map(alertmanager).collect::<Vec<_>>(),
    }))
}

fn peer(peer: &PeerView, overview: &Overview) -> Value {
    let tally = &peer.tally;
    let quorum = match peer.quorum() {
        Quorum::Reached => "reached",
        Quorum::NotReached => "not_reached",
        Quorum::Impossible => "impossible",
    };
    let (order, blocked) = match peer.order {
        FailoverOrder::None => ("none", None),
        FailoverOrder::Withdrawn => ("withdrawn", None),
        FailoverOrder::Blocked(reason) => ("blocked", Some(reason.as_str())),
        FailoverOrder::Active => ("active", None),
    };
    let measured = overview.representative(peer);
    let latency = measured.and_then(|(_, Summary { latency, .. })| latency);
    json!({
        "region": peer.region.as_str(),
        "state": peer.state.as_str(),
        "since": peer.since.to_string(),
        "reason": peer.rule.reason().as_str(),
        "why": peer.rule.to_string(),
        "vote": peer.vote.as_str(),
        "votes": {
            "down": tally.down,
            "up": tally.up,
            "abstain": tally.abstain,
            "voting": tally.voters,
            "needed": tally.needed,
            "quorum": quorum,
        },
        "order": order,
        "blocked": blocked,
        "probe": measured.map(|(kind, _)| kind.as_str()),
        "p50_seconds": latency.map(|latency| latency.p50.as_secs_f64()),
        "p95_seconds": latency.map(|latency| latency.p95.as_secs_f64()),
        "failed_ratio": measured.map(|(_, summary)| summary.loss),
    })
}

fn incident(incident: &Incident) -> Value {
    json!({
        "peer_region": incident.peer.as_str(),
        "stage": incident.stage.as_str(),
        "id": &*incident.id,
        "onset": incident.onset.to_string(),
        "cause": incident.cause_label(),
        "confirmed": incident.confirmed,
        "blocked": incident.blocked.map(|reason| reason.as_str()),
        "targets": incident.candidates.iter().map(|candidate| candidate.region.as_str()).collect::<Vec<_>>(),
        "evidence": incident.evidence,
        "resolved_at": incident.resolved.map(|at| at.to_string()),
    })
}

fn ranked(row: &RankedRegion) -> Value {
    json!({
        "region": row.region.as_str(),
        "rank": row.rank,
        "score_seconds": row.score.map(|score| score.as_secs_f64()),
        "eligible": row.eligible(),
        "reasons": row.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(),
    })
}

fn alertmanager(view: &AlertmanagerView) -> Value {
    json!({
        "url": view.url,
        "accepted_at": view.accepted_at.map(|at| at.to_string()),
        "failing_since": view.failing.map(|failing| failing.since.to_string()),
        "result": view.failing.map(|failing| failing.result.as_str()),
    })
}

/// The document on one line.
fn encoded(document: &Value) -> Bytes {
    format!("{document}\n").into()
}
