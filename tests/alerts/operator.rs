//! What is shipped for the Prometheus operator and for kube-prometheus-stack, against `alerts/alertmanager.yml`.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::{Map, Value, json};
use testkit::{
    kubernetes::{mistakes, need_tools, resources},
    needs::{Need::Tool, require},
    process::write,
};

use crate::{
    path,
    programs::{OURS, receivers},
    read,
};

const TWIN: &str = "alerts/alertmanagerconfig.yaml";
const VALUES: &str = "alerts/kube-prometheus-stack.values.yaml";

/// A YAML file of one document.
fn parsed(file: &str) -> Value {
    resources(&read(file)).remove(0)
}

/// `name=~"value"` as the operator has it.
fn matcher(text: &Value) -> Value {
    let text = text.as_str().unwrap();
    let at = text.find(['=', '!']).unwrap();
    let value = text.find('"').unwrap();
    json!({"name": &text[..at], "matchType": &text[at..value], "value": text[value..].trim_matches('"')})
}

fn matchers(list: &Value) -> Value {
    list.as_array().unwrap().iter().map(matcher).collect()
}

fn camel(key: &str) -> String {
    let mut parts = key.split('_');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + &part[..1].to_uppercase() + &part[1..])
}

fn route(of: &Value) -> Value {
    let entries = of.as_object().unwrap().iter().map(|(key, value)| {
        let value = match key.as_str() {
            "matchers" => matchers(value),
            "routes" => value.as_array().unwrap().iter().map(route).collect(),
            _ => value.clone(),
        };
        (camel(key), value)
    });
    Value::Object(entries.collect())
}

fn receiver(of: &Value) -> Value {
    let webhooks = of["webhook_configs"].as_array().unwrap().iter().map(|webhook| {
        let http = &webhook["http_config"];
        let file = http["authorization"]["credentials_file"].as_str().unwrap();
        let key = file.strip_prefix("/etc/alertmanager/secrets/regionwatch/").unwrap();
        json!({
            "url": webhook["url"],
            "sendResolved": webhook["send_resolved"],
            "httpConfig": {
                "authorization": {"type": http["authorization"]["type"], "credentials": {"name": "regionwatch", "key": key}},
                "followRedirects": http["follow_redirects"],
            },
        })
    });
    json!({"name": of["name"], "webhookConfigs": webhooks.collect::<Vec<_>>()})
}

fn is_ours(receiver: &Value) -> bool {
    receiver["name"].as_str().unwrap().starts_with("regionwatch-")
}

/// The specification of an `AlertmanagerConfig` that does what the blocks of `alerts/alertmanager.yml` do.
fn expected() -> Value {
    let shipped = parsed("alerts/alertmanager.yml");
    let inhibit = shipped["inhibit_rules"].as_array().unwrap().iter().map(|rule| {
        json!({"sourceMatch": matchers(&rule["source_matchers"]), "targetMatch": matchers(&rule["target_matchers"]),
               "equal": rule["equal"]})
    });
    let receivers = shipped["receivers"].as_array().unwrap().iter().filter(|one| is_ours(one)).map(receiver);
    json!({"route": route(&shipped["route"]["routes"][0]), "receivers": receivers.collect::<Vec<_>>(),
           "inhibitRules": inhibit.collect::<Vec<_>>()})
}

/// Block YAML, with what is short on one line.
fn emit(text: &mut String, value: &Value, indent: usize) {
    let short = |value: &Value| match value {
        Value::Object(map) => map.contains_key("matchType") || map.contains_key("key"),
        Value::Array(list) => list.iter().all(Value::is_string),
        _ => true,
    };
    let flow = |value: &Value| match value {
        Value::String(text)
            if text.chars().all(|c| c.is_ascii_alphanumeric() || "-_/".contains(c)) && text != "true" =>
        {
            text.clone()
        }
        other => other.to_string().replace("\":\"", "\": \"").replace("\",\"", "\", \""),
    };
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if short(value) {
                    writeln!(text, "{pad}{key}: {}", flow(value)).unwrap();
                } else {
                    writeln!(text, "{pad}{key}:").unwrap();
                    emit(text, value, indent + 2);
                }
            }
        }
        Value::Array(list) => {
            for item in list {
                if short(item) {
                    writeln!(text, "{pad}- {}", flow(item)).unwrap();
                } else {
                    let mut inner = String::new();
                    emit(&mut inner, item, indent + 2);
                    writeln!(text, "{pad}- {}", inner.trim()).unwrap();
                }
            }
        }
        _ => unreachable!("{value}"),
    }
}

/// `BLESS=1 cargo test --test alerts` rewrites `alerts/alertmanagerconfig.yaml`.
#[test]
fn the_alertmanagerconfig_does_what_the_alertmanager_file_does() {
    need_tools();
    let (head, _) = read(TWIN).split_once("\nspec:\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let expected = expected();
    if std::env::var_os("BLESS").is_some() {
        let mut text = format!("{head}\nspec:\n");
        emit(&mut text, &expected, 2);
        fs::write(path(TWIN), text).unwrap();
    }
    assert_eq!(parsed(TWIN)["spec"], expected, "rewrite {TWIN} with BLESS=1");
}

/// Nested routes are not in the schema of the operator: each of them is held against that of the first.
#[test]
fn the_alertmanagerconfig_and_the_values_are_valid_in_the_operators_schemas() {
    need_tools();
    let mut config = parsed(TWIN);
    let nested = config["spec"]["route"].as_object_mut().unwrap().remove("routes").unwrap();
    let mut all = vec![config.clone()];
    for route in nested.as_array().unwrap() {
        config["spec"]["route"] = route.clone();
        // A first route has none that it could continue to.
        config["spec"]["route"].as_object_mut().unwrap().remove("continue");
        all.push(config.clone());
    }
    let values = parsed(VALUES);
    let object = |kind: &str, spec: Value| json!({"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    all.push(object("Alertmanager", values["alertmanager"]["alertmanagerSpec"].clone()));
    let mut prometheus = values["prometheus"]["prometheusSpec"].clone();
    // Of the chart alone.
    prometheus.as_object_mut().unwrap().retain(|key, _| !key.ends_with("NilUsesHelmValues"));
    all.push(object("Prometheus", prometheus));
    mistakes(&all, "1.37").unwrap();
    all[0]["spec"]["route"]["group_wait"] = json!("0s");
    assert!(mistakes(&all, "1.37").unwrap_err().contains("group_wait"));
}

/// What the operator (0.93) makes of it, before the routes of the chart. Every first route gets `continue: true`.
fn by_the_operator(strategy: &str) -> Value {
    let config = parsed(TWIN);
    let prefix = |name: &Value| json!(format!("monitoring/regionwatch/{}", name.as_str().unwrap()));
    fn snake(value: &Value, prefix: &dyn Fn(&Value) -> Value) -> Value {
        let Value::Object(map) = value else { return value.clone() };
        let entries = map.iter().map(|(key, value)| match key.as_str() {
            "receiver" => (key.clone(), prefix(value)),
            "matchers" => {
                let text = |m: &Value| {
                    let part = |name: &str| m[name].as_str().unwrap();
                    json!(format!("{}{}\"{}\"", part("name"), part("matchType"), part("value")))
                };
                (key.clone(), value.as_array().unwrap().iter().map(text).collect())
            }
            "routes" => (key.clone(), value.as_array().unwrap().iter().map(|route| snake(route, prefix)).collect()),
            _ => {
                let snake = key
                    .chars()
                    .map(|c| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.to_string() });
                (snake.collect(), value.clone())
            }
        });
        Value::Object(entries.collect::<Map<_, _>>())
    }
    let mut first = snake(&config["spec"]["route"], &prefix);
    first["continue"] = json!(true);
    if strategy == "OnNamespace" {
        first["matchers"].as_array_mut().unwrap().push(json!("namespace=\"monitoring\""));
    }
    let receivers =
        config["spec"]["receivers"].as_array().unwrap().iter().map(|one| json!({"name": prefix(&one["name"])}));
    let receivers: Vec<_> = receivers.chain([json!({"name": "null"}), json!({"name": "pager"})]).collect();
    json!({
        "route": {"receiver": "null", "group_by": ["namespace"], "routes": [
            first,
            {"receiver": "null", "matchers": ["alertname=\"Watchdog\""]},
            {"receiver": "pager", "matchers": ["severity=\"critical\"", "alertname!~\"Regionwatch.*\""]},
        ]},
        "receivers": receivers,
    })
}

#[test]
fn with_the_operator_alerts_are_routed_as_without_it_and_only_with_the_strategy_none() {
    need_tools();
    require(&[Tool("amtool")]);
    let folder = tempfile::tempdir().unwrap();
    let strategy = parsed(VALUES)["alertmanager"]["alertmanagerSpec"]["alertmanagerConfigMatcherStrategy"].clone();
    assert_eq!(strategy, json!({"type": "None"}));
    let none = write(folder.path(), "none.yml", &by_the_operator("None").to_string());
    let default = write(folder.path(), "default.yml", &by_the_operator("OnNamespace").to_string());
    for (expected, labels) in OURS {
        let prefixed: Vec<_> = expected.split(',').map(|name| format!("monitoring/regionwatch/{name}")).collect();
        assert_eq!(receivers(Path::new(&none), labels), prefixed.join(","), "{labels:?}");
        assert_eq!(receivers(Path::new(&default), labels), "null", "a pushed alert has no namespace: {labels:?}");
    }
    let foreign = ["alertname=KubeNodeNotReady", "severity=critical"];
    assert_eq!(receivers(Path::new(&none), &foreign), "pager");
}
