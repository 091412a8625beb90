//! A page in the browser.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::driver::order;

/// A page in a context of its own, closed when dropped.
pub(crate) struct Page {
    name: String,
    /// Its Content-Security-Policy.
    pub(crate) policy: String,
    closed: bool,
}

impl Page {
    /// Opens a page that is answered by 200.
    pub(crate) fn open(url: &str) -> Self {
        Self::with(url, 200, &json!({}))
    }

    /// Opens a page with Playwright's options of a context.
    pub(crate) fn with(url: &str, expected: u64, options: &Value) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("page {}", NEXT.fetch_add(1, Ordering::Relaxed));
        let told = order("open", &json!({"name": name, "url": url, "expected": [expected], "options": options}));
        assert_eq!(told["status"], expected, "{url}");
        Self { name, policy: told["policy"].as_str().unwrap().to_owned(), closed: false }
    }

    /// Has `orders.mjs` do something with this page.
    pub(crate) fn order(&self, run: &str, mut with: Value) -> Value {
        with["name"] = self.name.as_str().into();
        order(run, &with)
    }

    /// Closes it, and returns what went wrong on it.
    pub(crate) fn close(mut self) -> Vec<String> {
        self.closed = true;
        serde_json::from_value(self.order("close", json!({}))).unwrap()
    }

    /// The same for a page whose server was ended meanwhile, in the middle of a request or between two.
    pub(crate) fn close_after_restart(self) -> Vec<String> {
        const ENDED: [&str; 5] =
            ["CONNECTION_REFUSED", "CONNECTION_RESET", "CONNECTION_CLOSED", "SOCKET_NOT_CONNECTED", "EMPTY_RESPONSE"];
        let is_of_that = |told: &String| ENDED.iter().any(|error| told.contains(&format!("net::ERR_{error}")));
        self.close().into_iter().filter(|told| !is_of_that(told)).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !self.closed && !std::thread::panicking() {
            self.order("close", json!({}));
        }
    }
}
