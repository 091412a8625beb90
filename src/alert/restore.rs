//! What Alertmanager still knows of incidents from before a restart, whoever told it.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use serde::Deserialize;

use super::message::{MAX_CANDIDATES, MAX_EVIDENCE, Ranked, SOURCE, alertname, truncated};
use crate::model::{Candidate, Cause, Incident, Region, Stage, Tally, UnixMillis};

/// The most bytes of an answer that are read.
pub(super) const MAX_BODY: usize = 1 << 20;

/// The most incidents that are taken over: two stages of five hundred regions.
const MAX_INCIDENTS: usize = 1_000;

/// The longest incident's name that is believed.
const MAX_ID: usize = 128;

/// The firing alerts.
pub(super) fn path() -> String {
    format!("/api/v2/alerts?active=true&filter=source%3D%22{SOURCE}%22&filter=failover%3D%22true%22")
}

/// `gettableAlert` of Alertmanager's API, version 2, as far as it matters.
#[derive(Debug, Deserialize)]
struct Alert {
    labels: HashMap<String, String>,
    annotations: HashMap<String, String>,
    #[serde(rename = "startsAt")]
    starts_at: String,
}

/// The incidents that were told; what is not such an alert is passed over.
///
/// # Errors
/// What is wrong with the answer as a whole.
pub(super) fn read(answer: &[u8]) -> Result<Vec<Incident>, String> {
    let alerts: Vec<serde_json::Value> = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let readable = alerts.into_iter().filter_map(|alert| incident(&serde_json::from_value(alert).ok()?));
    Ok(readable.take(MAX_INCIDENTS).collect())
}

fn incident(alert: &Alert) -> Option<Incident> {
    let label = |name: &str| alert.labels.get(name).map(String::as_str);
    let annotation = |name: &str| alert.annotations.get(name).map(String::as_str);
    let stage = Stage::parse(label("stage")?)?;
    let expected = [("alertname", alertname(stage)), ("source", SOURCE), ("failover", "true"), ("drill", "false")];
    if expected.iter().any(|(name, value)| label(name) != Some(value)) {
        return None;
    }
    let id = annotation("incident_id")?;
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let confirmed = annotation("confirmed") == Some("true");
    let (down, voters) = annotation("votes").and_then(votes).unwrap_or_default();
    Some(Incident {
        peer: Region::new(label("peer_region")?).ok()?,
        stage,
        id: Arc::from(id),
        onset: annotation("onset").and_then(UnixMillis::parse).or_else(|| UnixMillis::parse(&alert.starts_at))?,
        cause: annotation("cause").and_then(Cause::parse).unwrap_or(Cause::Silence),
        confirmed,
        tally: Tally { down, voters, reached: confirmed, ..Tally::default() },
        candidates: annotation("candidates").map(candidates).unwrap_or_default(),
        evidence: truncated(annotation("evidence").unwrap_or_default(), MAX_EVIDENCE).to_owned(),
        resolved: None,
    })
}

fn votes(text: &str) -> Option<(u32, u32)> {
    let (down, voters) = text.split_once('/')?;
    Some((down.parse().ok()?, voters.parse().ok()?))
}

fn candidates(text: &str) -> Vec<Candidate> {
    let ranked: Vec<Ranked<'_>> = serde_json::from_str(text).unwrap_or_default();
    let candidate = |Ranked { region, rank, score_seconds }: Ranked<'_>| {
        let score = score_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Some(Candidate { region: Region::new(&Cow::into_owned(region)).ok()?, rank, score })
    };
    ranked.into_iter().filter_map(candidate).take(MAX_CANDIDATES).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{
        super::message::{
            body,
            tests::{incident, speaker},
        },
        *,
    };

    fn told(incidents: &[Incident]) -> Vec<Value> {
        serde_json::from_slice(&body(&speaker(), incidents, UnixMillis(1_795_230_246_000))).unwrap()
    }

    fn read_back(alerts: &[Value]) -> Vec<Incident> {
        read(&serde_json::to_vec(alerts).unwrap()).unwrap()
    }

    #[test]
    fn an_incident_is_taken_over_as_it_was_told() {
        let told_before = [incident("us-east-1", Stage::Prepare), incident("us-east-1", Stage::Execute)];
        let mut known = read_back(&told(&told_before));
        for incident in &mut known {
            // The one thing that is not told.
            incident.tally.needed = 2;
        }
        assert_eq!(known, told_before);
    }

    #[test]
    fn what_the_rules_or_a_drill_told_is_not_taken_over() {
        let alert = told(&[incident("us-east-1", Stage::Execute)]).remove(0);
        let with = |name: &str, value: &str| {
            let mut alert = alert.clone();
            alert["labels"][name] = json!(value);
            read_back(&[alert]).len()
        };
        assert_eq!(with("peer_region", "us-west-1"), 1);
        for (name, value) in [
            ("source", "rules"),
            ("drill", "true"),
            ("stage", "prepare"),
            ("stage", "x"),
            ("failover", "false"),
            ("peer_region", "a b"),
        ] {
            assert_eq!(with(name, value), 0, "{name}={value}");
        }
    }

    #[test]
    fn what_is_missing_or_absurd_is_passed_over_or_replaced() {
        let alert = told(&[incident("us-east-1", Stage::Execute)]).remove(0);
        let with = |name: &str, value: &str| {
            let mut alert = alert.clone();
            alert["annotations"][name] = json!(value);
            read_back(&[json!(17), alert, json!({"labels": {}})]).pop()
        };
        for id in ["", "a b", "\u{1b}[2J", &"x".repeat(200)] {
            assert_eq!(with("incident_id", id), None, "{id:?}");
        }
        assert_eq!(with("onset", "yesterday").unwrap().onset, UnixMillis(1_795_230_245_123));
        assert_eq!(with("votes", "-1/999999999999").unwrap().tally.voters, 0);
        assert_eq!(
            with("candidates", "[{\"region\":\"a\",\"rank\":1,\"score_seconds\":-1}]").unwrap().candidates[0].score,
            None
        );
        assert_eq!(with("candidates", "[[[").unwrap().candidates, []);
        assert_eq!(with("evidence", &"\u{fc}".repeat(5000)).unwrap().evidence.len(), MAX_EVIDENCE);
    }

    #[test]
    fn no_more_is_taken_over_than_there_can_be() {
        let alert = told(&[incident("us-east-1", Stage::Execute)]).remove(0);
        assert_eq!(read_back(&vec![alert; 2_000]).len(), MAX_INCIDENTS);
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer: Vec<u8>, name in "[a-z_]{1,12}", value in "\\PC{0,40}") {
            let _ = read(&answer);
            let mut alert = told(&[incident("us-east-1", Stage::Execute)]).remove(0);
            alert["annotations"][&*name] = json!(value);
            alert["startsAt"] = json!(value);
            let mut text = serde_json::to_vec(&[alert]).unwrap();
            let _ = read(&text);
            let at = answer.len() % text.len();
            text[at] ^= 1;
            let _ = read(&text);
        }
    }
}
