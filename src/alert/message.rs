//! What an incident looks like to Alertmanager: labels are its identity, everything that may change is an
//! annotation.
//!
//! Who tells is no part of the identity: all vantages that see a region down tell one and the same alert, which
//! calls the webhook one time, and lives for as long as one of them goes on telling it.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::{Candidate, Incident, Region, Stage, UnixMillis};

/// How long Alertmanager holds an alert that is not told again: long enough for a restart of the sidecar.
pub(super) const LIFE: Duration = Duration::from_secs(300);

/// The most candidates that an alert names: the best ones. A webhook must stay small whatever is configured.
pub(super) const MAX_CANDIDATES: usize = 16;

/// The most bytes of the sentence on what was seen.
pub(super) const MAX_EVIDENCE: usize = 1_000;

/// The `source` label of what is pushed; the rules of Prometheus have another.
pub(super) const SOURCE: &str = "push";

const RUNBOOKS: &str = "https://github.com/regionwatch/regionwatch/blob/main/docs/runbooks/";

/// The name of the alert that a stage is told by.
pub(super) const fn alertname(stage: Stage) -> &'static str {
    match stage {
        Stage::Prepare => "RegionwatchPeerDown",
        Stage::Execute => "RegionwatchPeerFailover",
    }
}

/// Who speaks, and since when.
#[derive(Debug, Clone)]
pub(super) struct Speaker {
    pub(super) vantage: Region,
    /// Where people find this sidecar.
    pub(super) external_url: Option<String>,
    pub(super) since: UnixMillis,
}

type Pairs<'a> = BTreeMap<&'static str, Cow<'a, str>>;

/// `postableAlert` of Alertmanager's API, version 2.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    labels: Pairs<'a>,
    annotations: Pairs<'a>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<Cow<'a, str>>,
}

/// A candidate as it stands in the annotation `candidates`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ranked<'a> {
    #[serde(borrow)]
    pub(super) region: Cow<'a, str>,
    pub(super) rank: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) score_seconds: Option<f64>,
}

/// The whole body of a push: the incidents and the heartbeat.
pub(super) fn body(speaker: &Speaker, incidents: &[Incident], now: UnixMillis) -> Vec<u8> {
    let mut alerts: Vec<_> = incidents.iter().map(|incident| alert(speaker, incident, now)).collect();
    alerts.push(heartbeat(speaker, now));
    // Strings and numbers only: nothing of it can fail.
    serde_json::to_vec(&alerts).unwrap_or_default()
}

fn later(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_add(LIFE.as_millis() as u64))
}

fn alert<'a>(speaker: &'a Speaker, incident: &'a Incident, now: UnixMillis) -> Alert<'a> {
    let Incident { peer, stage, tally, cause, .. } = incident;
    let name = alertname(*stage);
    let vantage = &speaker.vantage;
    let labels = BTreeMap::from([
        ("alertname", name.into()),
        ("drill", "false".into()),
        ("failover", "true".into()),
        ("peer_region", peer.as_str().into()),
        ("severity", "critical".into()),
        ("source", SOURCE.into()),
        ("stage", stage.as_str().into()),
    ]);
    let (summary, advice) = match stage {
        Stage::Prepare => ("A peer region is down.", "Prepare the failover"),
        Stage::Execute => ("A peer region stays down and is to be failed over.", "Fail over"),
    };
    let target = incident.candidates.first().map(|candidate| candidate.region.as_str());
    let target_text = target.map_or_else(|| "; no region can take over".to_owned(), |target| format!(" to {target}"));
    let (down, voters) = (tally.down, tally.voters);
    let sureness = if incident.confirmed { "confirmed" } else { "not confirmed" };
    let description = format!(
        "{peer} is down as seen from {vantage} since {} ({cause}), {sureness} with {down} of {voters} votes. \
         {advice}{target_text}.",
        incident.onset
    );
    let mut annotations = BTreeMap::from([
        ("candidates", candidates(&incident.candidates).into()),
        ("cause", cause.as_str().into()),
        ("confirmed", if incident.confirmed { "true" } else { "false" }.into()),
        ("description", description.into()),
        ("evidence", truncated(&incident.evidence, MAX_EVIDENCE).into()),
        ("incident_id", (&*incident.id).into()),
        ("onset", incident.onset.to_string().into()),
        ("runbook_url", format!("{RUNBOOKS}{name}.md").into()),
        ("summary", summary.into()),
        ("vantage_region", vantage.as_str().into()),
        ("votes", format!("{down}/{voters}").into()),
    ]);
    if let Some(target) = target {
        annotations.insert("failover_target", target.into());
    }
    // Alertmanager refuses an alert that ends before it starts.
    let end = incident.resolved.map_or_else(|| later(now), |resolved| resolved.max(incident.onset));
    Alert {
        labels,
        annotations,
        // A clock that was set back may make the start lie ahead, which Alertmanager refuses, too.
        starts_at: incident.onset.min(now).to_string(),
        ends_at: end.to_string(),
        generator_url: speaker.external_url.as_deref().map(|url| page_of(url, peer)),
    }
}

/// The page of a peer on the status page that is found at this URL.
fn page_of(url: &str, peer: &Region) -> Cow<'static, str> {
    format!("{}/peer/{peer}", url.trim_end_matches('/')).into()
}

fn heartbeat(speaker: &Speaker, now: UnixMillis) -> Alert<'_> {
    const NAME: &str = "RegionwatchHeartbeat";
    let vantage = &speaker.vantage;
    Alert {
        labels: BTreeMap::from([
            ("alertname", NAME.into()),
            ("severity", "none".into()),
            ("source", SOURCE.into()),
            ("vantage_region", vantage.as_str().into()),
        ]),
        annotations: BTreeMap::from([
            (
                "description",
                format!("The regionwatch of {vantage} is alive and can push alerts; page on the absence of this.")
                    .into(),
            ),
            ("runbook_url", format!("{RUNBOOKS}{NAME}.md").into()),
            ("summary", "This vantage is alive.".into()),
        ]),
        starts_at: speaker.since.min(now).to_string(),
        ends_at: later(now).to_string(),
        generator_url: speaker.external_url.as_deref().map(Cow::Borrowed),
    }
}

fn candidates(all: &[Candidate]) -> String {
    let ranked: Vec<_> = all
        .iter()
        .take(MAX_CANDIDATES)
        .map(|candidate| Ranked {
            region: candidate.region.as_str().into(),
            rank: candidate.rank,
            score_seconds: candidate.score.map(|score| score.as_secs_f64()),
        })
        .collect();
    serde_json::to_string(&ranked).unwrap_or_default()
}

/// The beginning of a text, at most so many bytes of it.
pub(super) fn truncated(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Cause, Tally};

    pub(crate) fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    pub(crate) fn speaker() -> Speaker {
        Speaker { vantage: region("eu-west-1"), external_url: None, since: UnixMillis(1_795_230_000_000) }
    }

    pub(crate) fn incident(peer: &str, stage: Stage) -> Incident {
        let candidate = |name: &str, rank, score: Option<u64>| Candidate {
            region: region(name),
            rank,
            score: score.map(Duration::from_millis),
        };
        Incident {
            peer: region(peer),
            stage,
            id: format!("{peer}-1795230245123").into(),
            onset: UnixMillis(1_795_230_245_123),
            cause: Cause::Silence,
            confirmed: true,
            tally: Tally { down: 2, voters: 2, needed: 2, reached: true, ..Tally::default() },
            candidates: vec![candidate("eu-central-1", 1, Some(33)), candidate("ap-south-1", 2, None)],
            evidence: "icmp, tcp and http of 2 targets are silent since 03:04:05".into(),
            resolved: None,
        }
    }

    fn told(incidents: &[Incident], now: u64) -> Vec<Value> {
        serde_json::from_slice(&body(&speaker(), incidents, UnixMillis(now))).unwrap()
    }

    #[test]
    fn labels_are_identity_and_annotations_are_the_rest() {
        let alerts = told(&[incident("us-east-1", Stage::Execute)], 1_795_230_246_000);
        assert_eq!(
            alerts[0],
            json!({
                "labels": {
                    "alertname": "RegionwatchPeerFailover", "peer_region": "us-east-1", "failover": "true", "stage": "execute", "drill": "false", "severity": "critical", "source": "push",
                },
                "annotations": {
                    "summary": "A peer region stays down and is to be failed over.",
                    "description": "us-east-1 is down as seen from eu-west-1 since 2026-11-21T03:04:05.123Z (silence), \
                                    confirmed with 2 of 2 votes. Fail over to eu-central-1.",
                    "runbook_url":
                        "https://github.com/regionwatch/regionwatch/blob/main/docs/runbooks/RegionwatchPeerFailover.md",
                    "failover_target": "eu-central-1",
                    "candidates": "[{\"region\":\"eu-central-1\",\"rank\":1,\"score_seconds\":0.033},\
                                   {\"region\":\"ap-south-1\",\"rank\":2}]",
                    "vantage_region": "eu-west-1", "votes": "2/2", "confirmed": "true", "cause": "silence",
                    "onset": "2026-11-21T03:04:05.123Z",
                    "evidence": "icmp, tcp and http of 2 targets are silent since 03:04:05",
                    "incident_id": "us-east-1-1795230245123",
                },
                "startsAt": "2026-11-21T03:04:05.123Z",
                "endsAt": "2026-11-21T03:09:06.000Z",
            })
        );
    }

    #[test]
    fn the_heartbeat_is_always_there_and_keeps_its_start() {
        let [heartbeat] = told(&[], 1_795_230_246_000).try_into().unwrap();
        assert_eq!(
            heartbeat["labels"],
            json!({"alertname": "RegionwatchHeartbeat", "vantage_region": "eu-west-1", "severity": "none", "source": "push"})
        );
        assert_eq!(heartbeat["startsAt"], "2026-11-21T03:00:00.000Z");
        assert_eq!(told(&[incident("us-east-1", Stage::Prepare)], 0).len(), 2);
    }

    #[test]
    fn the_labels_do_not_change_while_everything_else_does() {
        let first = incident("us-east-1", Stage::Prepare);
        let second = Incident {
            confirmed: false,
            tally: Tally::default(),
            candidates: Vec::new(),
            evidence: "x".repeat(5000),
            onset: UnixMillis(0),
            resolved: Some(UnixMillis(9)),
            ..first.clone()
        };
        let (first, second) = (&told(&[first], 5)[0], &told(&[second], 6)[0]);
        assert_eq!(first["labels"], second["labels"]);
        assert_eq!(second["annotations"].get("failover_target"), None);
        assert_eq!(second["annotations"]["candidates"], "[]");
        assert_eq!(second["annotations"]["evidence"].as_str().unwrap().len(), MAX_EVIDENCE);
        assert!(second["annotations"]["description"].as_str().unwrap().ends_with("; no region can take over."));
    }

    #[test]
    fn what_is_over_ends_when_it_ended_and_never_before_it_began() {
        let over =
            |resolved| Incident { resolved: Some(UnixMillis(resolved)), ..incident("us-east-1", Stage::Prepare) };
        assert_eq!(told(&[over(1_795_230_300_000)], 0)[0]["endsAt"], "2026-11-21T03:05:00.000Z");
        assert_eq!(told(&[over(5)], 0)[0]["endsAt"], "2026-11-21T03:04:05.123Z");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_alert_that_starts_in_the_future() {
        let before_all = 1_795_229_000_000;
        for alert in told(&[incident("us-east-1", Stage::Prepare)], before_all) {
            assert_eq!(alert["startsAt"], UnixMillis(before_all).to_string(), "{alert}");
        }
    }

    #[test]
    fn an_alert_names_a_bounded_number_of_candidates() {
        let mut long = incident("us-east-1", Stage::Prepare);
        long.candidates = vec![long.candidates[0].clone(); 1000];
        let ranked: Vec<Value> =
            serde_json::from_str(told(&[long], 0)[0]["annotations"]["candidates"].as_str().unwrap()).unwrap();
        assert_eq!(ranked.len(), MAX_CANDIDATES);
    }
}
