//! Restores incidents after a restart, from the alerts that Alertmanager still holds from any vantage.

use std::{borrow::Cow, collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use tokio::{sync::mpsc, task::yield_now, time::sleep};
use tracing::warn;

use super::{
    delivery::{backoff, excerpt, is_retryable, refuses_credentials, result_of},
    message::{AlertSource, CandidateEntry, MAX_CANDIDATES, MAX_EVIDENCE, SOURCE, alertname, truncated, ttl},
    transport::Transport,
};
use crate::{
    model::{
        Candidate, Cause, ENVIRONMENT, Failure, Incident, LabelValue, PushResult, Region, Stage, StateReason, Tally,
        UnixMillis,
    },
    signing::{Order, PublicKeys, SignatureList, SignatureResult},
};

/// The delay before the next query after an answer that a retry does not improve.
const RETRY_LATER: Duration = Duration::from_secs(10);

/// The most bytes of an answer that are read.
pub(super) const MAX_BODY: usize = 1 << 20;

/// The most incidents that are restored: two stages of five hundred regions.
pub(super) const MAX_INCIDENTS: usize = 1_000;

/// For how long after its onset an incident is restored: as long as Alertmanager remembers, unless configured otherwise.
const MAX_AGE: Duration = Duration::from_secs(120 * 3_600);

/// How much older a signature may be than an alert becomes that is not pushed again: pushes and signatures are made every
/// few seconds, and clocks differ.
const SIGNED_BEFORE: Duration = Duration::from_secs(120);

/// An incident that an Alertmanager still holds from before a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The URL of the Alertmanager.
    pub alertmanager: Arc<str>,
    /// The incident as it was last pushed. Of the votes, only `down`, `voters` and whether the quorum was reached
    /// are known.
    pub incident: Incident,
}

/// Queries one Alertmanager for firing incidents of the environment of `source` until it has answered once, and sends them to
/// `restored`.
pub(super) async fn query(
    transport: impl Transport,
    url: Arc<str>,
    source: Arc<AlertSource>,
    keys: Arc<PublicKeys>,
    restored: mpsc::Sender<Restored>,
) {
    let environment = source.constant.environment.as_ref().map(LabelValue::as_str);
    let filters =
        [("source", SOURCE), ("failover", "true"), (ENVIRONMENT, environment.unwrap_or_default())].map(filter);
    let path = format!("/api/v2/alerts?active=true{}", filters.concat());
    let mut failures = 0;
    let mut logged = false;
    loop {
        let answer = transport.request(Method::GET, &path, Bytes::new(), MAX_BODY).await;
        let result = result_of(&answer);
        let reason = match answer {
            Ok(answer) if result == PushResult::Ok => match read(&answer.body, environment) {
                Ok(incidents) => {
                    // Vantages write onsets and sign by their own clocks. Who answers could choose any date.
                    let now = (source.clock)();
                    return pass_on(incidents, environment, &keys, now, &url, &restored).await;
                }
                Err(error) => Some(format!("invalid answer {}: {error}", excerpt(&answer.body))),
            },
            // The pusher logs it.
            Ok(answer) if refuses_credentials(answer.status) => {
                sleep(RETRY_LATER).await;
                continue;
            }
            Ok(answer) if !is_retryable(result) => Some(format!("status {}: {}", answer.status, excerpt(&answer.body))),
            Err(Failure::Protocol) => Some("the answer is not HTTP, or larger than 1 MiB".to_owned()),
            // The pusher logs what is wrong.
            Ok(_) | Err(_) => None,
        };
        let Some(reason) = reason else {
            failures += 1;
            sleep(backoff(failures)).await;
            continue;
        };
        if !std::mem::replace(&mut logged, true) {
            warn!("cannot restore incidents from Alertmanager {url}: {reason}");
        }
        sleep(RETRY_LATER).await;
    }
}

/// Passes on what can be trusted.
async fn pass_on(
    incidents: Vec<Incident>,
    environment: Option<&str>,
    keys: &PublicKeys,
    now: UnixMillis,
    url: &Arc<str>,
    restored: &mpsc::Sender<Restored>,
) {
    for incident in incidents {
        // Signatures take time, and all probes share this thread.
        yield_now().await;
        if let Some(doubt) = doubt(&incident, environment, keys, now) {
            let Incident { peer, stage, id, .. } = &incident;
            warn!(%peer, %stage, incident = %id, "Alertmanager {url} holds an alert that {doubt}; it is ignored, and an outage of that region is a new incident");
            continue;
        }
        // The receiver is gone only when the notifier is being dropped.
        let _ = restored.send(Restored { alertmanager: Arc::clone(url), incident }).await;
    }
}

/// The parameter that selects alerts by a label; those without the label, if the value is empty.
fn filter((label, value): (&str, &str)) -> String {
    let mut filter = format!("&filter={label}%3D%22");
    for byte in value.replace('\\', "\\\\").replace('"', "\\\"").bytes() {
        let _ = match byte {
            b'-' | b'_' | b'.' => write!(filter, "{}", char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => write!(filter, "{}", char::from(byte)),
            _ => write!(filter, "%{byte:02X}"),
        };
    }
    filter + "%22"
}

/// Why an incident is not restored, if it is not; as what the alert does. Anyone who reaches Alertmanager can add an alert
/// again that a vantage made before. With its id, receivers would take the next outage for one that they have acted on.
///
/// Without any key, every alert is trusted that is not too old, and takes effect only while the region is held down.
fn doubt(incident: &Incident, environment: Option<&str>, keys: &PublicKeys, now: UnixMillis) -> Option<&'static str> {
    let Incident { peer, stage, onset, signatures, .. } = incident;
    if now.0.saturating_sub(onset.0) > MAX_AGE.as_millis() as u64 {
        return Some("began too long ago");
    }
    if keys.is_empty() {
        return None;
    }
    let order = Order { environment: environment.unwrap_or_default(), region: peer, stage: *stage, drill: false };
    let mut signed =
        signatures.iter().filter(|signed| keys.verify(&order, signed) == SignatureResult::Valid).peekable();
    if signed.peek().is_none() {
        return Some("no known vantage has signed");
    }
    let longest = (ttl(*stage) + SIGNED_BEFORE).as_millis() as u64;
    let is_late = signed.any(|signed| now.0.abs_diff(signed.at.0) <= longest);
    (!is_late).then_some("was signed too long ago")
}

/// `gettableAlert` of Alertmanager's API, version 2: the fields that are used.
#[derive(Debug, Deserialize)]
struct GettableAlert {
    labels: HashMap<String, String>,
    annotations: HashMap<String, String>,
    #[serde(rename = "startsAt")]
    starts_at: String,
}

/// The incidents in an answer; alerts that are not ours, or of another environment, are skipped.
///
/// # Errors
/// Why the answer as a whole is invalid.
pub(super) fn read(answer: &[u8], environment: Option<&str>) -> Result<Vec<Incident>, String> {
    let alerts: Vec<serde_json::Value> = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let readable = alerts.into_iter().filter_map(|alert| {
        let alert: GettableAlert = serde_json::from_value(alert).ok()?;
        let theirs = alert.labels.get(ENVIRONMENT).map(String::as_str).filter(|theirs| !theirs.is_empty());
        incident(&alert).filter(|_| theirs == environment)
    });
    Ok(readable.take(MAX_INCIDENTS).collect())
}

fn incident(alert: &GettableAlert) -> Option<Incident> {
    let label = |name: &str| alert.labels.get(name).map(String::as_str);
    let annotation = |name: &str| alert.annotations.get(name).map(String::as_str);
    let stage = Stage::parse(label("stage")?)?;
    let expected = [("alertname", alertname(stage)), ("source", SOURCE), ("failover", "true"), ("drill", "false")];
    if expected.iter().any(|(name, value)| label(name) != Some(value)) {
        return None;
    }
    let peer = Region::new(label("peer_region")?).ok()?;
    let onset = annotation("onset").and_then(UnixMillis::parse).or_else(|| UnixMillis::parse(&alert.starts_at))?;
    // As vantages name it. Otherwise, an old id could come with a new onset. What an operator has ordered has another name, and
    // goes on by the command alone.
    let id = annotation("incident_id").filter(|id| **id == format!("{peer}-{}", onset.0))?;
    let confirmed = annotation("confirmed") == Some("true");
    let (down, voters) = annotation("votes").and_then(votes).unwrap_or_default();
    Some(Incident {
        peer,
        stage,
        id: Arc::from(id),
        onset,
        cause: annotation("cause").and_then(Cause::parse).unwrap_or(Cause::Silence),
        confirmed,
        tally: Tally { down, voters, reached: confirmed, ..Tally::default() },
        candidates: annotation("candidates").map(candidates).unwrap_or_default(),
        blocked: None,
        blocked_by: Vec::new(),
        common_mode: annotation("reason") == Some(StateReason::CommonMode.as_str()),
        loss: None,
        lost: None,
        evidence: truncated(annotation("evidence").unwrap_or_default(), MAX_EVIDENCE).to_owned(),
        ordered_by: None,
        resolved: None,
        signatures: annotation("signatures").map(SignatureList::decode).unwrap_or_default(),
    })
}

fn votes(text: &str) -> Option<(u32, u32)> {
    let (down, voters) = text.split_once('/')?;
    Some((down.parse().ok()?, voters.parse().ok()?))
}

fn candidates(text: &str) -> Vec<Candidate> {
    let ranked: Vec<CandidateEntry<'_>> = serde_json::from_str(text).unwrap_or_default();
    let candidate = |CandidateEntry { region, rank, score_seconds }: CandidateEntry<'_>| {
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
            Clocks, body,
            tests::{incident, source},
        },
        *,
    };
    use crate::signing::PrivateKey;

    fn posted(incidents: &[Incident]) -> Vec<Value> {
        serde_json::from_slice(&body(&source(), incidents, Clocks { own: NOW, there: Some(NOW) })).unwrap()
    }

    fn read_back(alerts: &[Value]) -> Vec<Incident> {
        read(&serde_json::to_vec(alerts).unwrap(), None).unwrap()
    }

    #[test]
    fn an_incident_is_restored_as_it_was_pushed() {
        let prepare = Incident { common_mode: true, ..incident("us-east-1", Stage::Prepare) };
        let before = [prepare, incident("us-east-1", Stage::Execute)];
        let mut known = read_back(&posted(&before));
        for incident in &mut known {
            // The only field that is not pushed.
            incident.tally.needed = 2;
        }
        assert_eq!(known, before);
    }

    #[test]
    fn alerts_of_rules_and_drills_are_not_restored() {
        let alert = posted(&[incident("us-east-1", Stage::Execute)]).remove(0);
        let with = |name: &str, value: &str| {
            let mut alert = alert.clone();
            alert["labels"][name] = json!(value);
            read_back(&[alert]).len()
        };
        assert_eq!(with("severity", "page"), 1);
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

    /// It goes on by the command, which is signed.
    #[test]
    fn what_an_operator_has_ordered_is_not_restored() {
        let id = "us-east-1-operator-1795230245123".into();
        let ordered = Incident { id, ordered_by: Some("alice".into()), ..incident("us-east-1", Stage::Execute) };
        assert_eq!(read_back(&posted(&[ordered])), []);
    }

    #[test]
    fn only_incidents_of_this_environment_are_restored() {
        let with = |theirs: Option<&str>, ours: Option<&str>| {
            let mut alert = posted(&[incident("us-east-1", Stage::Execute)]).remove(0);
            if let Some(theirs) = theirs {
                alert["labels"]["environment"] = json!(theirs);
            }
            read(&serde_json::to_vec(&[alert]).unwrap(), ours).unwrap().len()
        };
        for (theirs, ours) in [(None, None), (Some(""), None), (Some("prod"), Some("prod"))] {
            assert_eq!(with(theirs, ours), 1, "{theirs:?} {ours:?}");
        }
        for (theirs, ours) in [(Some("staging"), Some("prod")), (None, Some("prod")), (Some("staging"), None)] {
            assert_eq!(with(theirs, ours), 0, "{theirs:?} {ours:?}");
        }
    }

    #[test]
    fn the_environment_in_a_query_is_encoded() {
        assert_eq!(filter(("environment", "prod-eu")), "&filter=environment%3D%22prod-eu%22");
        assert_eq!(filter(("environment", "")), "&filter=environment%3D%22%22");
        assert_eq!(filter(("environment", "a \"\\\u{e9}&")), "&filter=environment%3D%22a%20%5C%22%5C%5C%C3%A9%26%22");
    }

    const NOW: UnixMillis = UnixMillis(1_795_230_246_000);
    const UNSIGNED: Option<&str> = Some("no known vantage has signed");
    const LONG_AGO: Option<&str> = Some("was signed too long ago");

    /// A stage of an incident as it is read back, with what the vantage eu-west-1 signed at that time, and its keys.
    fn signed(stage: Stage, at: UnixMillis) -> (Incident, PublicKeys) {
        let (key, _) = PrivateKey::generate().unwrap();
        let here = Region::new("eu-west-1").unwrap();
        let mut keys = PublicKeys::default();
        keys.add(&here, key.public()).unwrap();
        let mut before = incident("us-east-1", stage);
        let order = Order { environment: "", region: &before.peer, stage, drill: false };
        before.signatures = vec![order.sign(&here, &key, at).unwrap()];
        let signed = read_back(&posted(&[before.clone()])).remove(0);
        assert_eq!(signed.signatures, before.signatures);
        (signed, keys)
    }

    #[test]
    fn where_there_are_keys_each_stage_is_restored_only_with_a_known_signature_for_it() {
        for stage in Stage::ALL {
            let (signed, keys) = signed(stage, NOW);
            let planted = Incident { signatures: Vec::new(), ..signed.clone() };
            assert_eq!(doubt(&signed, None, &keys, NOW), None);
            assert_eq!(doubt(&planted, None, &keys, NOW), UNSIGNED);
            assert_eq!(doubt(&signed, Some("prod"), &keys, NOW), UNSIGNED);
            assert_eq!(doubt(&planted, None, &PublicKeys::default(), NOW), None);
            let peer = Region::new("us-west-1").unwrap();
            assert_eq!(doubt(&Incident { peer, ..signed.clone() }, None, &keys, NOW), UNSIGNED);
            let other = Stage::ALL.into_iter().find(|other| *other != stage).unwrap();
            assert_eq!(doubt(&Incident { stage: other, ..signed }, None, &keys, NOW), UNSIGNED);
        }
    }

    /// Anyone who reaches Alertmanager can add an old alert again, whose id receivers know.
    #[test]
    fn an_alert_that_was_signed_longer_ago_than_alertmanager_holds_it_is_not_restored() {
        for (stage, seconds) in [(Stage::Prepare, 420), (Stage::Execute, 180)] {
            let (signed, keys) = signed(stage, NOW);
            let after = |seconds: u64| doubt(&signed, None, &keys, UnixMillis(NOW.0 + seconds * 1_000));
            assert_eq!((after(seconds), after(seconds + 1)), (None, LONG_AGO), "{stage}");
            // The clock of the vantage may be ahead, by as much.
            let ahead = doubt(&signed, None, &keys, UnixMillis(NOW.0 - seconds * 1_000 - 1_000));
            assert_eq!(ahead, LONG_AGO);
        }
        let (signed, _) = signed(Stage::Execute, NOW);
        let days = |days: u64| doubt(&signed, None, &PublicKeys::default(), UnixMillis(NOW.0 + days * 86_400_000));
        assert_eq!((days(4), days(6)), (None, Some("began too long ago")));
    }

    /// All probes share the thread.
    #[tokio::test]
    async fn other_tasks_run_between_the_signatures_of_restored_alerts() {
        const ALERTS: usize = 40;
        let (signed, keys) = signed(Stage::Execute, NOW);
        let (restored, mut received) = mpsc::channel(ALERTS);
        let url: Arc<str> = "http://alertmanager".into();
        let passing = async {
            pass_on(vec![signed; ALERTS], None, &keys, NOW, &url, &restored).await;
            drop(restored);
        };
        let other = async {
            let mut turns = Vec::new();
            while !received.is_closed() || !received.is_empty() {
                let before = turns.len();
                while received.try_recv().is_ok() {
                    turns.push(before);
                }
                yield_now().await;
            }
            turns
        };
        let ((), turns) = tokio::join!(passing, other);
        assert_eq!(turns.len(), ALERTS);
        // Which of both comes first alternates, so there may be two.
        assert!(turns.chunk_by(|a, b| a == b).all(|turn| turn.len() <= 2), "verified in one turn: {turns:?}");
    }

    #[test]
    fn an_invalid_alert_is_skipped_and_an_invalid_annotation_replaced() {
        let alert = posted(&[incident("us-east-1", Stage::Execute)]).remove(0);
        let with = |name: &str, value: &str| {
            let mut alert = alert.clone();
            alert["annotations"][name] = json!(value);
            read_back(&[json!(17), alert, json!({"labels": {}})]).pop()
        };
        for id in ["", "a b", "us-east-1-1795230245122", "us-west-1-1795230245123", &"x".repeat(200)] {
            assert_eq!(with("incident_id", id), None, "{id:?}");
        }
        assert_eq!(with("onset", "2026-11-21T03:04:05.124Z"), None, "the id is of another onset");
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
    fn the_number_of_restored_incidents_is_bounded() {
        let alert = posted(&[incident("us-east-1", Stage::Execute)]).remove(0);
        assert_eq!(read_back(&vec![alert; 2_000]).len(), MAX_INCIDENTS);
    }

    proptest! {
        #[test]
        fn an_arbitrary_response_never_panics(answer: Vec<u8>, name in "[a-z_]{1,12}", value in "\\PC{0,40}") {
            let _ = read(&answer, None);
            let mut alert = posted(&[incident("us-east-1", Stage::Execute)]).remove(0);
            alert["annotations"][&*name] = json!(value);
            alert["startsAt"] = json!(value);
            let mut text = serde_json::to_vec(&[alert]).unwrap();
            let _ = read(&text, None);
            let at = answer.len() % text.len();
            text[at] ^= 1;
            let _ = read(&text, None);
        }
    }
}
