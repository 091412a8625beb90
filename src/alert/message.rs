//! The alerts as Alertmanager receives them: labels are the identity, everything that may change is an annotation.
//!
//! The vantage is no part of the identity. All vantages that see a region down push the same alert, so that the
//! webhook is called once, and the alert lives for as long as one of them pushes it.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    config::UrlTemplate,
    model::{Blocked, Candidate, ConstantLabels, Incident, Region, Stage, StateReason, UnixMillis},
    signing::SignatureList,
};

/// How long Alertmanager keeps an alert that is not pushed again: long enough for a restart of the sidecar.
const ALERT_TTL: Duration = Duration::from_secs(300);

/// How long an order to fail over is valid. It is pushed only while a vantage holds the region down, six times as often.
const ORDER_TTL: Duration = Duration::from_secs(60);

/// The most candidates that an alert lists, best first. A webhook stays small whatever is configured.
pub(super) const MAX_CANDIDATES: usize = 16;

/// The most bytes of the annotation `evidence`.
pub(super) const MAX_EVIDENCE: usize = 1_000;

/// The `source` label of pushed alerts; the Prometheus rules have another.
pub(super) const SOURCE: &str = "push";

/// How long Alertmanager keeps the alert of a stage that is not pushed again.
pub(super) const fn ttl(stage: Stage) -> Duration {
    match stage {
        Stage::Prepare => ALERT_TTL,
        Stage::Execute => ORDER_TTL,
    }
}

/// The name of the alert for a stage.
pub(super) const fn alertname(stage: Stage) -> &'static str {
    match stage {
        Stage::Prepare => "RegionwatchPeerDown",
        Stage::Execute => "RegionwatchPeerFailover",
    }
}

/// Why a region whose services fail from a common cause is not failed over. A vantage that restarts reads the reason again.
const COMMON_MODE: &str =
    "its services seem to fail from a cause that several regions share; repair that, or use regionwatch failover";

/// How far two clocks may differ and still count as one: that of an Alertmanager is known to the second.
const CLOCKS_AGREE: Duration = Duration::from_secs(2);

/// What the clocks say at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// The own one, by which incidents began and ended.
    pub(super) own: UnixMillis,
    /// That of the Alertmanager, by which it judges alerts; `None` before its first answer.
    pub(super) there: Option<UnixMillis>,
}

impl Clocks {
    /// What the clock of the Alertmanager said or will say at a moment of the own one, where it is `there` now.
    fn translate(self, at: UnixMillis, there: UnixMillis) -> UnixMillis {
        if self.own.0.abs_diff(there.0) <= CLOCKS_AGREE.as_millis() as u64 {
            return at;
        }
        let before = self.own.0.saturating_sub(at.0);
        UnixMillis(there.0.saturating_sub(before).saturating_add(at.0.saturating_sub(self.own.0)))
    }
}

/// Whether an alert is pushed only once the clock of the Alertmanager is known: an order, because it expires, and an end.
pub(super) fn needs_clock(incident: &Incident) -> bool {
    incident.stage == Stage::Execute || incident.resolved.is_some()
}

/// The instance that pushes the alerts.
#[derive(Debug, Clone)]
pub(super) struct AlertSource {
    pub(super) vantage: Region,
    /// Labels of all its alerts.
    pub(super) constant: ConstantLabels,
    /// The URL of its status page.
    pub(super) external_url: Option<String>,
    /// The runbooks that its alerts link to.
    pub(super) runbook_url: UrlTemplate,
    /// The dashboard that they link to.
    pub(super) dashboard_url: UrlTemplate,
    /// When it started.
    pub(super) since: UnixMillis,
    /// Its clock.
    pub(super) clock: fn() -> UnixMillis,
}

type Pairs<'a> = BTreeMap<&'a str, Cow<'a, str>>;

/// `postableAlert` of Alertmanager's API, version 2.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert<'a> {
    labels: Pairs<'a>,
    annotations: Pairs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<Cow<'a, str>>,
}

/// A candidate in the annotation `candidates`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CandidateEntry<'a> {
    #[serde(borrow)]
    pub(super) region: Cow<'a, str>,
    pub(super) rank: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) score_seconds: Option<f64>,
}

/// The body of a push: all incidents and the heartbeat. All times are by the clock of the Alertmanager, because an end that
/// is hours ahead there outlives the instance, and one that has passed resolves the alert. As long as that clock is not
/// known, alerts have no times, and last as long as the Alertmanager is configured to keep them; those that
/// [need the clock](needs_clock) are left out.
pub(super) fn body(source: &AlertSource, incidents: &[Incident], clocks: Clocks) -> Vec<u8> {
    let sent = incidents.iter().filter(|incident| clocks.there.is_some() || !needs_clock(incident));
    let mut alerts: Vec<_> = sent.map(|incident| alert(source, incident, clocks)).collect();
    alerts.push(heartbeat(source, clocks));
    // Only strings and numbers: serialization cannot fail.
    serde_json::to_vec(&alerts).unwrap_or_default()
}

fn after(now: UnixMillis, time: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_add(time.as_millis() as u64))
}

/// The labels of an alert, with those that all alerts have.
fn labels<'a, const N: usize>(source: &'a AlertSource, own: [(&'a str, Cow<'a, str>); N]) -> Pairs<'a> {
    let constant = source.constant.iter().map(|(name, value)| (name, value.into()));
    constant.chain(own).collect()
}

fn alert<'a>(source: &'a AlertSource, incident: &'a Incident, clocks: Clocks) -> PostableAlert<'a> {
    let Incident { peer, stage, tally, ordered_by, .. } = incident;
    let cause = incident.cause_label();
    let name = alertname(*stage);
    let vantage = &source.vantage;
    let labels = labels(
        source,
        [
            ("alertname", name.into()),
            ("drill", "false".into()),
            ("failover", "true".into()),
            ("peer_region", peer.as_str().into()),
            ("severity", "critical".into()),
            ("source", SOURCE.into()),
            ("stage", stage.as_str().into()),
        ],
    );
    let (summary, advice) = match (stage, ordered_by) {
        (Stage::Prepare, _) => ("A peer region is down.", "Prepare the failover"),
        (Stage::Execute, None) => ("A peer region stays down and is to be failed over.", "Fail over"),
        (Stage::Execute, Some(_)) => ("An operator has ordered the failover of a peer region.", "Fail over"),
    };
    let target = incident.candidates.first().map(|candidate| candidate.region.as_str());
    let target_text = target.map_or_else(|| "; no region can take over".to_owned(), |target| format!(" to {target}"));
    let (down, voters) = (tally.down, tally.voters);
    let confirmation = if incident.confirmed { "confirmed" } else { "not confirmed" };
    let blocked = incident.blocked.map(|reason| (reason.as_str(), reason.explanation()));
    let common_mode = incident.common_mode.then_some((StateReason::CommonMode.as_str(), COMMON_MODE));
    let reason = common_mode.or(blocked).filter(|_| *stage == Stage::Prepare);
    let blocked = reason.map(|(_, why)| format!(" No failover is ordered: {why}.{}", files(incident)));
    let blocked = blocked.unwrap_or_default();
    let reason = reason.map(|(reason, _)| reason).or_else(|| ordered_by.as_ref().map(|_| Incident::BY_OPERATOR));
    let reason = reason.map(|reason| ("reason", reason.into()));
    let loss = match (incident.lost, incident.loss) {
        (Some(lost), _) => format!(" The failover has lost {lost}."),
        (None, Some(loss)) => format!(" The failover would lose {loss} of data."),
        (None, None) => String::new(),
    };
    let description = match ordered_by {
        None => format!(
            "{peer} is down as seen from {vantage} since {} ({cause}), {confirmation} with {down} of {voters} votes. \
             {advice}{target_text}.{blocked}{loss}",
            incident.onset
        ),
        Some(_) => format!(
            "{} {down} of {voters} instances know that, as {vantage} reports. It needs no outage. {advice}{target_text}.{loss}",
            truncated(&incident.evidence, MAX_EVIDENCE)
        ),
    };
    let mut annotations = BTreeMap::from([
        ("candidates", candidates(&incident.candidates).into()),
        ("cause", cause.into()),
        ("confirmed", if incident.confirmed { "true" } else { "false" }.into()),
        ("description", description.into()),
        ("evidence", truncated(&incident.evidence, MAX_EVIDENCE).into()),
        ("incident_id", (&*incident.id).into()),
        ("onset", incident.onset.to_string().into()),
        ("summary", summary.into()),
        ("vantage_region", vantage.as_str().into()),
        ("votes", format!("{down}/{voters}").into()),
    ]);
    if let Some(target) = target {
        annotations.insert("failover_target", target.into());
    }
    annotations.extend(reason);
    annotations.extend(incident.loss.map(|loss| ("rpo_estimate", loss.to_string().into())));
    annotations.extend(incident.lost.map(|lost| ("rpo_realised", lost.to_string().into())));
    annotations.extend(runbook(source, name));
    let dashboard = [("peer_region", peer.as_str()), ("vantage_region", vantage.as_str())];
    annotations.extend(source.dashboard_url.link(&dashboard).map(|url| ("dashboard_url", url.into())));
    // Alertmanager rejects an alert that starts in the future, or that ends before it starts.
    let times = clocks.there.map(|now| {
        let past = |at| clocks.translate(at, now).min(now);
        let start = past(incident.onset);
        (start, incident.resolved.map_or_else(|| after(now, ttl(*stage)), |resolved| past(resolved).max(start)))
    });
    let (starts_at, ends_at) = times.map(|(start, end)| (start.to_string(), end.to_string())).unzip();
    if *stage == Stage::Execute && incident.resolved.is_none() {
        annotations.extend(ends_at.clone().map(|end| ("expires_at", end.into())));
    }
    if incident.resolved.is_none() && !incident.signatures.is_empty() {
        annotations.insert("signatures", SignatureList::encode(&incident.signatures).into());
    }
    PostableAlert {
        labels,
        annotations,
        starts_at,
        ends_at,
        generator_url: source.external_url.as_deref().map(|url| peer_page(url, peer)),
    }
}

/// The annotation of an alert's runbook.
fn runbook(source: &AlertSource, name: &str) -> Option<(&'static str, Cow<'static, str>)> {
    source.runbook_url.link(&[("alertname", name)]).map(|url| ("runbook_url", url.into()))
}

/// The page of a peer, below the URL of the status page.
fn peer_page(url: &str, peer: &Region) -> Cow<'static, str> {
    format!("{}/peer/{peer}", url.trim_end_matches('/')).into()
}

fn heartbeat(source: &AlertSource, clocks: Clocks) -> PostableAlert<'_> {
    const NAME: &str = "RegionwatchHeartbeat";
    let vantage = &source.vantage;
    PostableAlert {
        labels: labels(
            source,
            [
                ("alertname", NAME.into()),
                ("severity", "none".into()),
                ("source", SOURCE.into()),
                ("vantage_region", vantage.as_str().into()),
            ],
        ),
        annotations: BTreeMap::from([
            (
                "description",
                format!("The instance of {vantage} runs and can push alerts; page on the absence of this alert.")
                    .into(),
            ),
            ("summary", "This vantage runs.".into()),
        ])
        .into_iter()
        .chain(runbook(source, NAME))
        .collect(),
        starts_at: clocks.there.map(|now| clocks.translate(source.since, now).min(now).to_string()),
        ends_at: clocks.there.map(|now| after(now, ALERT_TTL).to_string()),
        generator_url: source.external_url.as_deref().map(Cow::Borrowed),
    }
}

/// Where it is written that a region is not failed over, and whether a command lifts that.
fn files(Incident { blocked, blocked_by, common_mode, .. }: &Incident) -> String {
    if blocked_by.is_empty() || *common_mode {
        return String::new();
    }
    let vantages: Vec<_> = blocked_by.iter().map(Region::as_str).collect();
    let remedy = match blocked {
        Some(Blocked::Maintenance) => "no command lifts that, so change it there and reload",
        _ => "regionwatch arm outweighs that for a time",
    };
    format!(" It is in the file of {}; {remedy}.", vantages.join(", "))
}

fn candidates(all: &[Candidate]) -> String {
    let ranked: Vec<_> = all
        .iter()
        .take(MAX_CANDIDATES)
        .map(|candidate| CandidateEntry {
            region: candidate.region.as_str().into(),
            rank: candidate.rank,
            score_seconds: candidate.score.map(|score| score.as_secs_f64()),
        })
        .collect();
    serde_json::to_string(&ranked).unwrap_or_default()
}

/// The text cut to at most `max` bytes.
pub(super) fn truncated(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        config::Config,
        model::{Cause, LabelName, LabelValue, LossBounds, RealisedLoss, Tally},
        signing::{Order, PrivateKey},
    };

    pub(crate) fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    pub(crate) fn source() -> AlertSource {
        AlertSource {
            vantage: region("eu-west-1"),
            constant: ConstantLabels::default(),
            external_url: None,
            runbook_url: UrlTemplate::runbooks(),
            dashboard_url: UrlTemplate::default(),
            since: UnixMillis(1_795_230_000_000),
            clock: || UnixMillis(1_795_230_245_123),
        }
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
            blocked: None,
            blocked_by: Vec::new(),
            common_mode: false,
            loss: None,
            lost: None,
            evidence: "icmp, tcp and http of 2 targets are silent since 03:04:05".into(),
            ordered_by: None,
            resolved: None,
            signatures: Vec::new(),
        }
    }

    fn clocks(now: u64) -> Clocks {
        Clocks { own: UnixMillis(now), there: Some(UnixMillis(now)) }
    }

    fn posted(incidents: &[Incident], now: u64) -> Vec<Value> {
        posted_by(incidents, clocks(now))
    }

    fn posted_by(incidents: &[Incident], clocks: Clocks) -> Vec<Value> {
        serde_json::from_slice(&body(&source(), incidents, clocks)).unwrap()
    }

    #[test]
    fn times_are_by_the_clock_of_the_alertmanager() {
        const HOUR: u64 = 3_600_000;
        let (own, onset) = (1_795_230_400_000_u64, 1_795_230_245_123);
        let down = incident("us-east-1", Stage::Execute);
        let over = Incident { resolved: Some(UnixMillis(own - 9_000)), ..down.clone() };
        for there in [own - 3 * HOUR, own - 3_000, own + 1_000, own + 3 * HOUR] {
            let clocks = Clocks { own: UnixMillis(own), there: Some(UnixMillis(there)) };
            let moved = |at: u64| if there.abs_diff(own) < 2_000 { at } else { at + there - own };
            let alerts = posted_by(&[down.clone(), over.clone()], clocks);
            let times = |n: usize| [alerts[n]["startsAt"].clone(), alerts[n]["endsAt"].clone()];
            let expected = |times: [u64; 2]| times.map(|time| json!(UnixMillis(time).to_string()));
            assert_eq!(times(0), expected([moved(onset), there + 60_000]), "{there}");
            assert_eq!(times(1), expected([moved(onset), moved(own - 9_000)]), "{there}");
            assert_eq!(times(2), expected([moved(1_795_230_000_000), there + 300_000]), "{there}");
            assert_eq!(alerts[0]["annotations"]["expires_at"], alerts[0]["endsAt"], "{there}");
        }
    }

    #[test]
    fn before_the_clock_of_the_alertmanager_is_known_nothing_has_times_and_no_order_is_pushed() {
        let prepare = incident("us-east-1", Stage::Prepare);
        let over = Incident { resolved: Some(UnixMillis(9)), ..prepare.clone() };
        let alerts =
            posted_by(&[prepare, incident("us-east-1", Stage::Execute), over], Clocks { there: None, ..clocks(5) });
        let names: Vec<_> = alerts.iter().map(|alert| alert["labels"]["alertname"].clone()).collect();
        assert_eq!(names, ["RegionwatchPeerDown", "RegionwatchHeartbeat"]);
        assert!(
            alerts.iter().all(|alert| alert.get("startsAt").is_none() && alert.get("endsAt").is_none()),
            "{alerts:?}"
        );
    }

    #[test]
    fn labels_are_identity_and_annotations_are_the_rest() {
        let alerts = posted(&[incident("us-east-1", Stage::Execute)], 1_795_230_246_000);
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
                    "expires_at": "2026-11-21T03:05:06.000Z",
                },
                "startsAt": "2026-11-21T03:04:05.123Z",
                "endsAt": "2026-11-21T03:05:06.000Z",
            })
        );
    }

    #[test]
    fn links_are_those_of_the_configuration() {
        let template = |key: &str, url: &str| {
            let text = format!(
                "region: a\n{key}: '{url}'\npeers: [{{region: b, targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}]"
            );
            Config::load(Some(("c.yaml".as_ref(), &text)), []).unwrap().config
        };
        let links = |source: &AlertSource| {
            let alerts = body(source, &[incident("us-east-1", Stage::Execute)], clocks(0));
            let alerts: Vec<Value> = serde_json::from_slice(&alerts).unwrap();
            let link = |n: usize, name: &str| alerts[n]["annotations"][name].as_str().map(str::to_owned);
            [link(0, "runbook_url"), link(1, "runbook_url"), link(0, "dashboard_url"), link(1, "dashboard_url")]
        };
        let linked = AlertSource {
            runbook_url: template("runbook_url", "https://wiki.example/{alertname}").runbook_url,
            dashboard_url: template("dashboard_url", "https://g.example/?p={peer_region}&v={vantage_region}")
                .dashboard_url,
            ..source()
        };
        let expected = [
            "https://wiki.example/RegionwatchPeerFailover",
            "https://wiki.example/RegionwatchHeartbeat",
            "https://g.example/?p=us-east-1&v=eu-west-1",
        ];
        assert_eq!(links(&linked)[..3], expected.map(|url| Some(url.to_owned())));
        assert_eq!(links(&linked)[3], None);
        let unlinked = AlertSource { runbook_url: template("runbook_url", "").runbook_url, ..source() };
        assert_eq!(links(&unlinked), [None, None, None, None]);
    }

    #[test]
    fn every_push_has_a_heartbeat_with_the_same_start() {
        let [heartbeat] = posted(&[], 1_795_230_246_000).try_into().unwrap();
        assert_eq!(
            heartbeat["labels"],
            json!({"alertname": "RegionwatchHeartbeat", "vantage_region": "eu-west-1", "severity": "none", "source": "push"})
        );
        assert_eq!(heartbeat["startsAt"], "2026-11-21T03:00:00.000Z");
        assert_eq!(posted(&[incident("us-east-1", Stage::Prepare)], 0).len(), 2);
    }

    #[test]
    fn every_alert_has_the_environment_and_the_constant_labels() {
        let value = |text| LabelValue::new(text).unwrap();
        let mut source = source();
        source.constant.environment = Some(value("prod"));
        source.constant.others.insert(LabelName::new("team").unwrap(), value("a \"b\""));
        let incidents = [incident("us-east-1", Stage::Prepare), incident("us-east-1", Stage::Execute)];
        let alerts: Vec<Value> = serde_json::from_slice(&body(&source, &incidents, clocks(5))).unwrap();
        assert_eq!(alerts.len(), 3);
        for alert in alerts {
            assert_eq!(
                (&alert["labels"]["environment"], &alert["labels"]["team"]),
                (&json!("prod"), &json!("a \"b\""))
            );
        }
    }

    #[test]
    fn labels_stay_the_same_when_everything_else_changes() {
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
        let (first, second) = (&posted(&[first], 5)[0], &posted(&[second], 6)[0]);
        assert_eq!(first["labels"], second["labels"]);
        assert_eq!(second["annotations"].get("failover_target"), None);
        assert_eq!(second["annotations"]["candidates"], "[]");
        assert_eq!(second["annotations"]["evidence"].as_str().unwrap().len(), MAX_EVIDENCE);
        assert!(second["annotations"]["description"].as_str().unwrap().ends_with("; no region can take over."));
    }

    #[test]
    fn a_resolved_alert_ends_when_resolved_and_never_before_its_start() {
        let over =
            |resolved| Incident { resolved: Some(UnixMillis(resolved)), ..incident("us-east-1", Stage::Prepare) };
        assert_eq!(posted(&[over(1_795_230_300_000)], 1_795_230_400_000)[0]["endsAt"], "2026-11-21T03:05:00.000Z");
        assert_eq!(posted(&[over(5)], 1_795_230_400_000)[0]["endsAt"], "2026-11-21T03:04:05.123Z");
    }

    #[test]
    fn an_order_carries_its_signatures_and_expires_after_a_minute() {
        let (key, _) = PrivateKey::generate().unwrap();
        let mut incident = incident("us-east-1", Stage::Execute);
        let order = Order { environment: "", region: &incident.peer, stage: Stage::Execute, drill: false };
        let signed = order.sign(&region("eu-west-1"), &key, UnixMillis(1_795_230_245_500)).unwrap();
        incident.signatures = vec![signed.clone()];
        let alert = posted(&[incident.clone()], 1_795_230_246_000).remove(0);
        assert_eq!(SignatureList::decode(alert["annotations"]["signatures"].as_str().unwrap()), [signed]);
        assert_eq!(alert["annotations"]["expires_at"], alert["endsAt"]);
        // An end orders nothing. The first stage does not either; by its signature, the next start knows whose it is.
        incident.resolved = Some(UnixMillis(1_795_230_245_600));
        let over = posted(&[incident.clone()], 1_795_230_246_000).remove(0);
        let prepare =
            posted(&[Incident { stage: Stage::Prepare, resolved: None, ..incident }], 1_795_230_246_000).remove(0);
        for (without, name) in [(&over, "signatures"), (&over, "expires_at"), (&prepare, "expires_at")] {
            assert_eq!(without["annotations"].get(name), None, "{name}");
        }
        assert_eq!(prepare["annotations"]["signatures"], alert["annotations"]["signatures"]);
        assert_eq!(prepare["endsAt"], "2026-11-21T03:09:06.000Z");
    }

    #[test]
    fn no_alert_starts_in_the_future_after_a_clock_was_set_back() {
        let before_all = 1_795_229_000_000;
        for alert in posted(&[incident("us-east-1", Stage::Prepare)], before_all) {
            assert_eq!(alert["startsAt"], UnixMillis(before_all).to_string(), "{alert}");
        }
    }

    #[test]
    fn an_alert_says_what_the_failover_would_lose_and_then_what_it_has_lost() {
        let bounds = LossBounds::new(Duration::from_millis(800), Duration::from_millis(1_900));
        let mut incident = Incident { loss: Some(bounds), ..incident("us-east-1", Stage::Execute) };
        let of = |incident: &Incident| {
            let annotations =
                posted(std::slice::from_ref(incident), 1_795_230_246_000).remove(0)["annotations"].clone();
            ["rpo_estimate", "rpo_realised", "description"]
                .map(|name| annotations[name].as_str().unwrap_or_default().to_owned())
        };
        let [estimate, realised, description] = of(&incident);
        assert_eq!((&*estimate, &*realised), ("0.8s..1.9s", ""));
        assert!(description.ends_with("to eu-central-1. The failover would lose 0.8s..1.9s of data."), "{description}");
        incident.lost = Some(RealisedLoss { tokens: 1, bounds });
        let [estimate, realised, description] = of(&incident);
        assert_eq!((&*estimate, &*realised), ("0.8s..1.9s", "1 token, 0.8s..1.9s"));
        assert!(description.ends_with(" The failover has lost 1 token, 0.8s..1.9s."), "{description}");
    }

    /// A vantage that restarts must know it.
    #[test]
    fn the_first_stage_of_an_incident_says_that_its_cause_is_common() {
        let of = |incident: Incident| posted(&[incident], 1_795_230_246_000).remove(0)["annotations"].take();
        let common = Incident { common_mode: true, blocked: Some(Blocked::Limit), ..incident("a", Stage::Prepare) };
        let prepare = of(common.clone());
        assert_eq!(prepare["reason"], "common_mode");
        let description = prepare["description"].as_str().unwrap();
        assert!(
            description.contains(" No failover is ordered: its services seem to fail from a cause"),
            "{description}"
        );
        assert_eq!(of(Incident { stage: Stage::Execute, ..common }).get("reason"), None);
        assert_eq!(of(incident("a", Stage::Prepare)).get("reason"), None);
    }

    #[test]
    fn an_alert_says_whose_file_keeps_the_region_from_being_failed_over() {
        let blocked_by = vec![region("eu-west-1"), region("ap-south-1")];
        let of = |reason| {
            let blocked =
                Incident { blocked: Some(reason), blocked_by: blocked_by.clone(), ..incident("a", Stage::Prepare) };
            posted(&[blocked], 1_795_230_246_000).remove(0)["annotations"]["description"].as_str().unwrap().to_owned()
        };
        let said = of(Blocked::Maintenance);
        assert!(
            said.ends_with(
                " It is in the file of eu-west-1, ap-south-1; no command lifts that, so change it there and reload."
            ),
            "{said}"
        );
        let said = of(Blocked::Disarmed);
        assert!(
            said.ends_with(" It is in the file of eu-west-1, ap-south-1; regionwatch arm outweighs that for a time."),
            "{said}"
        );
    }

    #[test]
    fn what_an_operator_has_ordered_says_so_and_claims_no_outage() {
        let ordered = Incident {
            ordered_by: Some("alice".into()),
            evidence: "alice has ordered the failover of us-east-1 to eu-central-1.".to_owned(),
            ..incident("us-east-1", Stage::Execute)
        };
        let alert = posted(std::slice::from_ref(&ordered), 1_795_230_246_000).remove(0);
        assert_eq!(alert["labels"], posted(&[incident("us-east-1", Stage::Execute)], 5)[0]["labels"]);
        let annotations = &alert["annotations"];
        let expected = [
            ("reason", "operator"),
            ("cause", "operator"),
            ("failover_target", "eu-central-1"),
            ("summary", "An operator has ordered the failover of a peer region."),
            (
                "description",
                "alice has ordered the failover of us-east-1 to eu-central-1. 2 of 2 instances know that, as eu-west-1 \
                 reports. It needs no outage. Fail over to eu-central-1.",
            ),
        ];
        for (name, value) in expected {
            assert_eq!(annotations[name], value, "{name}");
        }
        assert_eq!(annotations["expires_at"], alert["endsAt"]);
    }

    #[test]
    fn an_alert_lists_a_bounded_number_of_candidates() {
        let mut long = incident("us-east-1", Stage::Prepare);
        long.candidates = vec![long.candidates[0].clone(); 1000];
        let ranked: Vec<Value> =
            serde_json::from_str(posted(&[long], 0)[0]["annotations"]["candidates"].as_str().unwrap()).unwrap();
        assert_eq!(ranked.len(), MAX_CANDIDATES);
    }
}
