//! Accessibility: contrast, labels, keyboard, small screens, no scripts.

use serde_json::{Value, json};

use crate::{
    driver::need_browser,
    page::Page,
    world::{self, VICTIM},
};

fn texts(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).unwrap()
}

/// Does this on every page, and shows all that was found on any.
fn on_every_page(options: &Value, find: impl Fn(&Page) -> Vec<String>) {
    let mut found = Vec::new();
    for (path, open) in world::pages(world::outage()) {
        found.extend(find(&open(options)).into_iter().map(|told| format!("{path}, {told}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn pages_pass_axe_in_light_and_dark_at_phone_and_desktop_widths() {
    need_browser();
    on_every_page(&json!({}), |page| texts(&page.order("audit", json!({}))));
}

#[test]
fn no_text_is_clipped_or_overlaps_at_any_width() {
    need_browser();
    on_every_page(&json!({}), |page| texts(&page.order("layout", json!({}))));
}

#[test]
fn pages_respect_reduced_motion() {
    need_browser();
    on_every_page(&json!({"reducedMotion": "reduce"}), |page| texts(&page.order("moving", json!({}))));
}

#[test]
fn every_link_is_reachable_by_keyboard_and_the_first_skips_to_the_content() {
    need_browser();
    on_every_page(&json!({}), |page| {
        let told = page.order("walk", json!({}));
        let stops = told["stops"].as_array().unwrap();
        let mut found = texts(&told["missed"]);
        let invisible = stops.iter().filter(|stop| stop["outlined"] != true || stop["seen"] != true);
        found.extend(invisible.map(|stop| format!("not seen: {stop}")));
        if stops[0]["target"] != "#main" || told["skipped"] != "main" {
            found.push(format!("the first stop leads to {}: {}", told["skipped"], stops[0]));
        }
        found
    });
}

#[test]
fn the_state_of_a_region_is_a_word_not_only_a_color() {
    need_browser();
    let told = Page::open(&world::outage().url("/")).order("rows", json!({}));
    let peers = told["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 3);
    for row in peers {
        let (peer, state) = (row["peer"].as_str().unwrap(), row["state"].as_str().unwrap());
        // Where the machine is busy, a region that is well may be degraded for a moment.
        assert!(if peer == VICTIM { state == "down" } else { ["healthy", "degraded"].contains(&state) }, "{row}");
        let text = row["text"].as_str().unwrap();
        assert!(text.contains(peer) && text.contains(state), "{text}");
    }
    let probes = Page::open(&world::outage().url("/path/us-east-1/edge/http")).order("rows", json!({}));
    let probes = probes["probes"].as_array().unwrap();
    for probe in probes {
        assert!(probe["text"].as_str().unwrap().contains(probe["result"].as_str().unwrap()), "{probe}");
    }
    for result in ["ok", "refused"] {
        assert!(probes.iter().any(|probe| probe["result"] == result), "no {result} in {probes:?}");
    }
}

#[test]
fn the_local_time_of_the_reader_stands_beside_utc() {
    need_browser();
    let there = Page::with(&world::outage().url("/"), 200, &json!({"timezoneId": "America/New_York"}));
    assert!(there.order("until", json!({"selector": "#summary .local", "text": "local"}))["at"].is_number());
}

#[test]
fn pages_label_language_tables_columns_and_charts() {
    need_browser();
    on_every_page(&json!({}), |page| {
        let told = page.order("rows", json!({}));
        let mut found = Vec::new();
        if told["lang"] != "en" || told["headings"].as_array().unwrap().len() != 1 || told["home"] == 0 {
            found.push(told.to_string());
        }
        let unnamed =
            ["unnamedTables", "unscopedHeaders", "unnamedPictures"].into_iter().filter(|what| told[what] != 0);
        found.extend(unnamed.map(|what| format!("{what}: {}", told[what])));
        found
    });
}

/// Peers and candidates by name and columns, and the paths.
fn shape(told: &Value) -> Value {
    let rows = |of: &str, name: &str| -> Vec<Value> {
        told[of].as_array().unwrap().iter().map(|row| json!([row[name], row["state"], row["columns"]])).collect()
    };
    json!({"peers": rows("peers", "peer"), "candidates": rows("candidates", "region"), "paths": told["paths"]})
}

#[test]
fn without_scripts_the_page_shows_the_same_and_reloads_itself() {
    need_browser();
    let url = world::outage().url("/");
    let plain = Page::with(&url, 200, &json!({"javaScriptEnabled": false}));
    let told = plain.order("rows", json!({}));
    assert_eq!(told["live"], Value::Null);
    let live = Page::open(&url).order("rows", json!({}));
    assert_eq!(live["live"], "on");
    assert_eq!(shape(&told), shape(&live));
    assert_eq!(told["paths"].as_array().unwrap().len(), 9);
    plain.order("reloaded", json!({"seconds": 8}));
    assert_eq!(plain.close(), Vec::<String>::new());
}
