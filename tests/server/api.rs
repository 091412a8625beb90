//! The JSON documents, against their description.

use std::collections::BTreeSet;

use regionwatch::model::{PeerState, StateReason, Vote};
use serde_json::Value;

use crate::support::{Running, Setup};

fn json(server: &Running, path: &str) -> Value {
    let answer = server.get(path);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{path}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// What of a value does not fit a schema, with its place.
fn misfits(value: &Value, schema: &Value, all: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return misfits(value, all.pointer(name.trim_start_matches('#')).unwrap(), all, place);
    }
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    };
    let kinds: Vec<_> = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        other => panic!("{place}: {other} is no type"),
    };
    let mut found = Vec::new();
    if !kinds.into_iter().any(is) {
        found.push(format!("{place}: {value} is not of type {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|names| !names.contains(value)) {
        found.push(format!("{place}: {value} is none of {}", schema["enum"]));
    }
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(misfits(item, &schema["items"], all, &format!("{place}[{n}]")));
    }
    if let Some(fields) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()) {
            if !fields.contains_key(name) {
                found.push(format!("{place}: {name} is missing"));
            }
        }
        for (name, field) in fields {
            let place = format!("{place}.{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => found.push(format!("{place} is not described")),
                (Value::Null, Value::Null) => {}
                (Value::Null, schema) | (schema, _) => found.extend(misfits(field, schema, all, &place)),
            }
        }
    }
    found
}

#[test]
fn every_document_is_as_it_is_described() {
    let server = Setup::default().run();
    let all = json(&server, "/api/v1/openapi.json");
    for (path, query) in [
        ("/api/v1/overview", ""),
        ("/api/v1/explain", "?region=us-east-1"),
        ("/api/v1/probes", "?path=us-east-1/edge-7/tcp"),
        ("/api/v1/regions", ""),
    ] {
        let operation = &all["paths"][path]["get"];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let found = misfits(&json(&server, &format!("{path}{query}")), schema, &all, path);
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn a_document_that_is_not_as_described_is_found() {
    let schema = serde_json::json!({"type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": ["string", "null"], "enum": ["x", null]}, "b": {"type": "array", "items": {"type": "integer"}}}});
    let misfits = |value: &Value| misfits(value, &schema, &Value::Null, "it").len();
    for (value, count) in [
        (serde_json::json!({"a": "x", "b": [1]}), 0),
        (serde_json::json!({"a": null}), 0),
        (serde_json::json!({}), 1),
        (serde_json::json!({"a": "y"}), 1),
        (serde_json::json!({"a": "x", "b": [1.5, "1"]}), 2),
        (serde_json::json!({"a": "x", "c": 1}), 1),
        (serde_json::json!([]), 1),
    ] {
        assert_eq!(misfits(&value), count, "{value}");
    }
}

#[test]
fn every_endpoint_is_described_and_no_other_one() {
    let server = Setup::default().run();
    let listed = server.get("/nothing");
    let is_page = |path: &&str| {
        let first = path.split('/').nth(1).unwrap();
        matches!(first, "" | "peer" | "path" | "explain" | "config")
    };
    let listed = listed.text().lines().filter_map(|line| line.split_whitespace().nth(1)).collect::<Vec<_>>();
    let listed = listed.iter().filter_map(|path| path.split(['[', '?']).next()).filter(|path| path.starts_with('/'));
    let listed: BTreeSet<_> = listed.filter(|path| !is_page(path)).map(str::to_owned).collect();
    let all = json(&server, "/api/v1/openapi.json");
    let described: BTreeSet<_> = all["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(listed, described);
}

#[test]
fn the_described_names_and_parameters_are_those_of_the_program() {
    let server = Setup::default().run();
    let all = json(&server, "/api/v1/openapi.json");
    let names = |schema: &str| -> Vec<String> {
        serde_json::from_value(all["components"]["schemas"][schema]["enum"].clone()).unwrap()
    };
    assert_eq!(names("PeerState"), PeerState::ALL.map(PeerState::as_str));
    assert_eq!(names("StateReason"), StateReason::ALL.map(StateReason::as_str));
    assert_eq!(names("Vote"), Vote::ALL.map(Vote::as_str));
    let parameters = all["paths"]["/api/v1/probes"]["get"]["parameters"].as_array().unwrap();
    let parameters: Vec<_> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    let refused = server.get("/api/v1/probes?unknown=1");
    let [others @ .., last] = &parameters[..] else { panic!("{parameters:?}") };
    assert!(refused.text().contains(&format!("use {} or {last}", others.join(", "))), "{}", refused.text());
}

#[test]
fn the_overview_says_what_the_status_page_says() {
    let server = Setup::default().run();
    let overview = json(&server, "/api/v1/overview");
    let page = server.get("/");
    let sentence = overview["sentence"].as_str().unwrap();
    assert!(
        !sentence.is_empty() && page.text().contains(&format!("<p class=\"sentence\">{sentence}</p>")),
        "{sentence}"
    );
    assert_eq!(overview["peers"][0]["region"], "us-east-1");
    assert_eq!((&overview["severity"], &overview["peers"][0]["state"]), (&"fine".into(), &"healthy".into()));
}

#[test]
fn a_client_of_probes_gets_as_many_paths_and_samples_as_it_asks_for() {
    let server = Setup::default().run();
    let probes = |query: &str| json(&server, &format!("/api/v1/probes?{query}"));
    assert_eq!(probes("peer=us-east-1&paths=3")["probes"].as_array().unwrap().len(), 3);
    let all = probes("path=us-east-1/edge-7/tcp")["probes"][0]["samples"].clone();
    let last = probes("path=us-east-1/edge-7/tcp&samples=1")["probes"][0]["samples"].clone();
    assert_eq!((all.as_array().unwrap().len(), &last[0], last.as_array().unwrap().len()), (2, &all[1], 1));
    let unknown = server.get("/api/v1/probes?peer=nowhere");
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().starts_with("there is no peer nowhere; peers: us-east-1"), "{}", unknown.text());
    let old = server.get("/api/v1/probes?peer=us-east-1&limit=5");
    assert_eq!(old.status, 400);
    assert!(old.text().contains("paths=N") && old.text().contains("samples=N"), "{}", old.text());
}
