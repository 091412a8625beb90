//! The status page as a browser shows it: Debian's Chromium, without a window, looks at real sidecars.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod driver;
mod fifty;
mod living;
mod page;
#[path = "../support/privileges.rs"]
mod privileges;
mod reading;
#[allow(dead_code, reason = "each test binary needs some of it")]
#[path = "../product/support.rs"]
mod support;
mod trouble;
#[path = "../support/web.rs"]
mod web;
mod world;

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
