//! What a webhook orders.

use std::collections::HashMap;

use regionwatch::model::Stage;
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

#[derive(Deserialize)]
struct Ranked {
    region: String,
}

/// Longer values are no names.
const LONGEST: usize = 200;

impl Order {
    /// What the same order is known by, whichever vantage and Alertmanager it comes from.
    pub(crate) fn key(&self) -> String {
        let drill = if self.dry_run { " (dry run)" } else { "" };
        let name = self.incident_id.as_deref().unwrap_or(&self.peer_region);
        format!("{name} {}{drill}", self.stage)
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
            peer_region: text(&alert.labels, "peer_region")?,
            stage,
            incident_id: text(&alert.annotations, "incident_id"),
            candidates,
            // Alerts of the rules have no onset.
            onset: text(&alert.annotations, "onset").unwrap_or_else(|| alert.starts_at.clone()),
            // Whatever is not clearly real is not carried out.
            dry_run: text(&alert.labels, "drill").as_deref() != Some("false"),
        })
    }
}

impl Webhook {
    /// The orders that are in force, and those that are over.
    pub(crate) fn orders(&self) -> (Vec<Order>, Vec<Order>) {
        let with_status = |status: &str| {
            let mut orders: Vec<Order> = Vec::new();
            for order in self.alerts.iter().filter(|alert| alert.status == status).filter_map(Order::from) {
                if !orders.iter().any(|known| known.key() == order.key()) {
                    orders.push(order);
                }
            }
            orders
        };
        (with_status("firing"), with_status("resolved"))
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
        webhook(&[alert(peer, stage, id)]).orders().0.remove(0)
    }

    #[test]
    fn the_alerts_of_many_vantages_are_one_order() {
        let mut second = alert("a", "execute", "1");
        second["labels"]["vantage_region"] = json!("elsewhere");
        let (orders, _) = webhook(&[alert("a", "execute", "1"), second]).orders();
        assert_eq!(orders.len(), 1);
        assert_eq!(
            (orders[0].key().as_str(), &*orders[0].candidates),
            ("1 execute", &["b".to_owned(), "c".into()][..])
        );
    }

    #[test]
    fn only_an_alert_with_drill_false_is_no_dry_run() {
        for drill in [json!("true"), json!("False"), json!(""), json!("no")] {
            let mut alert = alert("a", "execute", "1");
            alert["labels"]["drill"] = drill;
            assert!(webhook(&[alert]).orders().0[0].dry_run);
        }
        let mut unsaid = alert("a", "execute", "1");
        unsaid["labels"].as_object_mut().unwrap().remove("drill");
        assert!(webhook(&[unsaid]).orders().0[0].dry_run);
        assert!(!order("a", "execute", "1").dry_run);
    }

    #[test]
    fn without_an_incident_id_the_key_is_region_and_stage() {
        let mut alert = alert("a", "prepare", "1");
        alert["annotations"].as_object_mut().unwrap().remove("incident_id");
        assert_eq!(webhook(&[alert]).orders().0[0].key(), "a prepare");
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
