//! Pages load without a complaint of the browser.

use std::{thread, time::Duration};

use serde_json::json;
use testkit::process::eventually;

use crate::{driver::need_browser, page::Page, world};

#[test]
fn pages_load_and_update_without_errors_csp_violations_or_external_requests() {
    need_browser();
    let demo = world::outage();
    let opened: Vec<_> = world::pages(demo).into_iter().map(|(path, page)| (path, page(&json!({})))).collect();
    // For some updates.
    thread::sleep(Duration::from_secs(3));
    for (path, page) in opened {
        assert!(page.policy.starts_with("default-src 'none'"), "{path}: {}", page.policy);
        assert_eq!(page.close(), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn errors_csp_violations_and_external_requests_are_detected() {
    need_browser();
    let page = Page::open(&world::outage().url("/"));
    page.order("misbehave", json!({}));
    for kind in ["console: ", "script: ", "elsewhere: ", "policy: ", "status 404"] {
        eventually(&format!("{kind} is found"), Duration::from_secs(10), || {
            let found: Vec<String> = serde_json::from_value(page.order("trouble", json!({}))).unwrap();
            found.iter().any(|told| told.starts_with(kind)).then_some(())
        });
    }
    assert!(page.close().len() >= 5);
}
