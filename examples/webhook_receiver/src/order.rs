//! What a webhook orders.

use std::collections::HashMap;

use regionwatch::model::{Stage, UnixMillis};
use serde::{Deserialize, Serialize};

/// The webhook, as far as it matters; newer Alertmanagers send more.
#[derive(Debug, Deserialize)]
pub(crate) struct Webhook {
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    status: String,
    labels: HashMap<String, String>,
    #[serde(default)]
    annotations: HashMap<String, String>,
    #[serde(default, rename = "startsAt")]
    starts_at: String,
}

/// One alert of a failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Empty where the vantages name none; `None` in a record of an earlier version, which is that of every environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,
    pub(crate) peer_region: String,
    /// `prepare` or `execute`.
    pub(crate) stage: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) incident_id: Option<String>,
    /// Where to, the best region first.
    #[serde(default)]
    pub(crate) candidates: Vec<String>,
    #[serde(default)]
    pub(crate) onset: String,
    pub(crate) dry_run: bool,
}

/// What an order says for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    /// `push` or `rules`.
    pub(crate) source: String,
    pub(crate) expires_at: Option<UnixMillis>,
    /// The annotation, as it came.
    pub(crate) signatures: String,
}

impl Proof {
    fn of(alert: &Alert) -> Self {
        let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
        Self {
            source: label("source"),
            expires_at: alert
                .annotations
                .get("expires_at")
                .map(|text| UnixMillis::parse(text).unwrap_or(UnixMillis(0))),
            signatures: alert.annotations.get("signatures").cloned().unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
struct Ranked {
    region: String,
}

/// Longer values are no names.
const LONGEST: usize = 200;

impl Order {
    /// What the order is called for people.
    pub(crate) fn key(&self) -> String {
        let drill = if self.dry_run { " (dry run)" } else { "" };
        let separator = if self.environment().is_empty() { "" } else { " " };
        format!("{}{separator}{} {}{drill}", self.environment(), self.name(), self.stage)
    }

    fn name(&self) -> &str {
        self.incident_id.as_deref().unwrap_or(&self.peer_region)
    }

    /// The environment, empty without one.
    pub(crate) fn environment(&self) -> &str {
        self.environment.as_deref().unwrap_or_default()
    }

    /// Whether it is the same order, whichever vantage and Alertmanager it comes from.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.is_in(other) && self.name() == other.name() && self.is_alike(other)
    }

    /// Whether it may be of the same environment.
    pub(crate) fn is_in(&self, other: &Self) -> bool {
        self.environment.is_none() || other.environment.is_none() || self.environment == other.environment
    }

    /// Whether it has the same stage, and is a dry run or none as the other one.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        (&self.stage, self.dry_run) == (&other.stage, other.dry_run)
    }

    pub(crate) fn executes(&self) -> bool {
        self.stage == Stage::Execute.as_str()
    }

    fn from(alert: &Alert) -> Option<Self> {
        let text = |map: &HashMap<String, String>, name: &str| {
            map.get(name).filter(|value| !value.is_empty() && value.len() <= LONGEST).cloned()
        };
        if text(&alert.labels, "failover")? != "true" {
            return None;
        }
        let environment = alert.labels.get("environment").map_or("", String::as_str);
        if environment.len() > LONGEST {
            return None;
        }
        // Alerts of the rules have neither. Planted ones with many incident ids must not count as many orders.
        let by_rules = alert.labels.get("source").is_some_and(|source| source == "rules");
        let of_push = |name: &str| text(&alert.annotations, name).filter(|_| !by_rules);
        let stage = text(&alert.labels, "stage").filter(|stage| Stage::parse(stage).is_some())?;
        let ranked: Vec<Ranked> =
            alert.annotations.get("candidates").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let mut candidates: Vec<_> = text(&alert.annotations, "failover_target").into_iter().collect();
        for Ranked { region } in ranked.into_iter().take(16) {
            if region.len() <= LONGEST && !candidates.contains(&region) {
                candidates.push(region);
            }
        }
        Some(Self {
            environment: Some(environment.to_owned()),
            peer_region: text(&alert.labels, "peer_region")?,
            stage,
            incident_id: of_push("incident_id"),
            candidates,
            onset: of_push("onset")
                .or_else(|| Some(alert.starts_at.clone()).filter(|at| at.len() <= LONGEST))
                .unwrap_or_default(),
            // Whatever is not clearly real is not carried out.
            dry_run: text(&alert.labels, "drill").as_deref() != Some("false"),
        })
    }
}

impl Webhook {
    /// The orders that are in force, with what each says for itself, and those that are over.
    pub(crate) fn orders(&self) -> (Vec<(Order, Proof)>, Vec<Order>) {
        let with_status = |status: &'static str| self.alerts.iter().filter(move |alert| alert.status == status);
        let firing = with_status("firing").filter_map(|alert| Some((Order::from(alert)?, Proof::of(alert))));
        let mut over: Vec<Order> = Vec::new();
        for order in with_status("resolved").filter_map(Order::from) {
            if !over.iter().any(|known| known.is(&order)) {
                over.push(order);
            }
        }
        (firing.collect(), over)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn alert(peer: &str, stage: &str, id: &str) -> Value {
        json!({
            "status": "firing",
            "labels": {"failover": "true", "drill": "false", "peer_region": peer, "stage": stage, "source": "push"},
            "annotations": {
                "incident_id": id, "failover_target": "b", "onset": "2026-11-21T03:04:05.123Z",
                "candidates": "[{\"region\":\"b\",\"rank\":1,\"score_seconds\":0.03},{\"region\":\"c\",\"rank\":2}]",
            },
        })
    }

    pub(crate) fn webhook(alerts: &[Value]) -> Webhook {
        let text = json!({"version": "4", "status": "firing", "alerts": alerts, "of_the_future": [1]}).to_string();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn order(peer: &str, stage: &str, id: &str) -> Order {
        webhook(&[alert(peer, stage, id)]).orders().0.remove(0).0
    }

    #[test]
    fn the_alerts_of_many_vantages_are_one_order() {
        let mut second = alert("a", "execute", "1");
        second["labels"]["vantage_region"] = json!("elsewhere");
        let (orders, _) = webhook(&[alert("a", "execute", "1"), second]).orders();
        assert_eq!(orders[0], orders[1]);
        let (order, _) = &orders[0];
        assert_eq!((order.key().as_str(), &*order.candidates), ("1 execute", &["b".to_owned(), "c".into()][..]));
    }

    #[test]
    fn only_an_alert_with_drill_false_is_no_dry_run() {
        for drill in [json!("true"), json!("False"), json!(""), json!("no")] {
            let mut alert = alert("a", "execute", "1");
            alert["labels"]["drill"] = drill;
            assert!(webhook(&[alert]).orders().0[0].0.dry_run);
        }
        let mut unsaid = alert("a", "execute", "1");
        unsaid["labels"].as_object_mut().unwrap().remove("drill");
        assert!(webhook(&[unsaid]).orders().0[0].0.dry_run);
        assert!(!order("a", "execute", "1").dry_run);
    }

    #[test]
    fn without_an_incident_id_the_key_is_region_and_stage() {
        let mut alert = alert("a", "prepare", "1");
        alert["annotations"].as_object_mut().unwrap().remove("incident_id");
        assert_eq!(webhook(&[alert]).orders().0[0].0.key(), "a prepare");
    }

    #[test]
    fn an_order_of_another_environment_is_another_order() {
        let of = |environment: &str| {
            let mut alert = alert("a", "execute", "1");
            alert["labels"]["environment"] = json!(environment);
            webhook(&[alert]).orders().0.remove(0).0
        };
        let (prod, staging, none) = (of("prod"), of("staging"), of(""));
        assert!(prod.is(&prod) && !prod.is(&staging) && !prod.is(&none));
        assert_eq!((prod.key().as_str(), none.key().as_str()), ("prod 1 execute", "1 execute"));
        // A record of an earlier version does not say of which it is.
        assert!(Order { environment: None, ..none }.is(&prod));
    }

    #[test]
    fn an_alert_of_the_rules_has_no_name_and_no_onset_of_its_own() {
        let mut rules = alert("a", "execute", "planted");
        rules["labels"]["source"] = json!("rules");
        rules["startsAt"] = json!("2026-11-21T03:05:00.000Z");
        let of = |rules: &Value| webhook(std::slice::from_ref(rules)).orders().0.remove(0).0;
        assert_eq!((of(&rules).incident_id, of(&rules).onset.as_str()), (None, "2026-11-21T03:05:00.000Z"));
        rules["startsAt"] = json!("x".repeat(100_000));
        assert_eq!(of(&rules).onset, "");
        rules["labels"]["environment"] = json!("x".repeat(LONGEST + 1));
        assert_eq!(webhook(&[rules]).orders().0, []);
    }

    #[test]
    fn other_alerts_are_ignored() {
        for (name, value) in [("failover", "false"), ("stage", "later"), ("peer_region", "")] {
            let mut alert = alert("a", "execute", "1");
            alert["labels"][name] = json!(value);
            assert_eq!(webhook(&[alert]).orders().0, []);
        }
    }
}
