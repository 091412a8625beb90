//! Pages load without a complaint of the browser.

use std::{thread, time::Duration};

use serde_json::json;

use crate::{driver::browser_granted, page::Page, world};

#[test]
fn every_page_loads_and_lives_without_errors_violations_or_requests_elsewhere() {
    if !browser_granted() {
        return;
    }
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
fn what_must_not_happen_would_be_found() {
    if !browser_granted() {
        return;
    }
    let page = Page::open(&world::outage().url("/"));
    page.order("misbehave", json!({}));
    thread::sleep(Duration::from_millis(500));
    let found = page.close();
    for kind in ["console: ", "script: ", "elsewhere: ", "policy: ", "status 404"] {
        assert!(found.iter().any(|told| told.starts_with(kind)), "{kind} not in {found:#?}");
    }
}
