//! An open page shows changes and keeps focus and scroll position.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use testkit::process::{eventually, free, get, value};

use crate::{
    driver::need_browser,
    page::Page,
    world::{self, Demo, VICTIM},
};

/// How long after the sidecar's verdict the page may show it.
const LATE: f64 = 2.0;

/// The seconds of the day at which a line of the log was written.
fn logged(demo: &Demo, what: &str) -> Option<f64> {
    let said = demo.running.said();
    let (_, clock) = said.lines().find(|line| line.contains(what))?.split_whitespace().next()?.split_once('T')?;
    let parts = clock.trim_end_matches('Z').split(':').map(|part| part.parse::<f64>().unwrap());
    Some(parts.fold(0.0, |sum, part| sum * 60.0 + part))
}

#[test]
fn an_open_page_shows_an_outage_within_two_seconds_and_keeps_focus_and_scroll_position() {
    need_browser();
    // Its region dies meanwhile, for the tests that come after.
    world::shared();
    let demo = Demo::start();
    // So narrow that the table must be scrolled.
    let options = json!({"viewport": {"width": 240, "height": 400}});
    let page = Page::with(&demo.url("/"), 200, &options);
    page.order("observe", json!({"peer": VICTIM}));
    // In the row that moves when the region dies.
    let focus = format!("#region-{VICTIM} a");
    let go = json!({"focus": focus, "box": "#regions", "left": 40, "top": 120});
    let before = page.order("stand", json!({"go": go}));
    assert_eq!((&before["top"], &before["link"]), (&json!(120), &json!(format!("/peer/{VICTIM}"))));
    assert_eq!(before["boxes"][0], json!(["regions", 40]));
    // Nothing moves by updates alone.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(page.order("stand", json!({})), before);

    let states = eventually("the page shows the death", Duration::from_secs(30), || {
        let states = page.order("seen", json!({}));
        states.as_array().unwrap().iter().any(|seen| seen["state"] == "down").then_some(states)
    });
    let states = states.as_array().unwrap();
    assert_ne!(states[0]["state"], "down", "{states:?}");
    let shown = states.iter().find(|seen| seen["state"] == "down").unwrap();
    assert!(shown["text"].as_str().unwrap().contains("down"), "{shown}");
    let verdict = value(&get(demo.addr, "/metrics"), &Demo::series("peer_state_since_timestamp_seconds", "")).unwrap();
    let at = shown["at"].as_f64().unwrap();
    let death = at % 86_400.0 - logged(&demo, "goes down now").unwrap();
    println!("shown {:.2} s after the verdict, {death:.2} s after the death", at - verdict);
    assert!((0.0..LATE).contains(&(at - verdict)), "{} s after the verdict", at - verdict);

    // Some more updates: the row has moved, and the reader has not.
    thread::sleep(Duration::from_millis(2_500));
    let after = page.order("stand", json!({}));
    assert_eq!((&after["focus"], &after["link"]), (&before["focus"], &before["link"]));
    assert_eq!(after["boxes"][0], before["boxes"][0]);
    let moved = after["top"].as_f64().unwrap() - 120.0;
    // What has come above may push the text down, and the browser follows it.
    assert!((0.0..150.0).contains(&moved.abs()), "scrolled by {moved}");
    assert!(page.order("until", json!({"selector": "#summary", "text": "us-east-1 is down"}))["at"].is_number());
    assert_eq!(page.close(), Vec::<String>::new());
}

#[test]
fn an_open_page_reports_a_stopped_server_and_resumes_when_it_is_back() {
    need_browser();
    // One in which no region goes down: a busy machine may need long for this.
    let mut demo = Demo::well_at(free());
    let page = Page::open(&demo.url("/"));
    let wait = |text: &str| page.order("until", json!({"selector": "[role=status]", "text": text}));
    assert_eq!(wait("live")["text"], "live");
    let _ = demo.running.child.kill();
    let _ = demo.running.child.wait();
    let told = wait("not answering since ");
    let (_, since) = told["text"].as_str().unwrap().split_once("since ").unwrap();
    assert!(since.len() >= 8 && since.as_bytes()[2] == b':', "{told}");
    // It stays readable, and is told from one that lives.
    let broken = page.order("audit", json!({"widths": [1280], "hold": false}));
    assert_eq!(broken, json!([]));
    let rows = page.order("rows", json!({}));
    assert_eq!(rows["peers"].as_array().unwrap().len(), 3);

    let again = Demo::well_at(demo.addr);
    assert_eq!(wait("live")["text"], "live");
    page.order("observe", json!({"peer": VICTIM}));
    eventually("the page shows the new sidecar's view", Duration::from_secs(30), || {
        let states = page.order("seen", json!({}));
        let last = states.as_array().and_then(|states| states.last().cloned()).unwrap_or(Value::Null);
        (last["state"] == "healthy").then_some(())
    });
    assert_eq!(page.close_after_restart(), Vec::<String>::new());
    drop(again);
}
