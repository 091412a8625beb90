//! The sidecars that the browser looks at.

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use serde_json::{Value, json};
use testkit::process::{Running, eventually, free, get, sidecar, value};

use crate::{driver::order, page::Page};

/// Who dies.
pub(crate) const VICTIM: &str = "us-east-1";

/// The demo with its four sidecars, one of which ends 10 s after the start.
pub(crate) struct Demo {
    pub(crate) addr: SocketAddr,
    pub(crate) running: Running,
}

impl Demo {
    pub(crate) fn start() -> Self {
        Self::with(free(), &["--kill", VICTIM])
    }

    /// One in which no region goes down, and only the first has an instance.
    pub(crate) fn well_at(addr: SocketAddr) -> Self {
        Self::with(addr, &[])
    }

    fn with(addr: SocketAddr, more: &[&str]) -> Self {
        let listen = addr.to_string();
        // On loopback, for a machine that is too busy to carry packets in time degrades regions.
        let args = [&["demo", "--loopback", "--listen", &listen], more].concat();
        Self { addr, running: sidecar(&args, &[], addr) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// How a line of the metrics begins that is about the region that dies.
    pub(crate) fn series(family: &str, labels: &str) -> String {
        format!("regionwatch_{family}{{vantage_region=\"eu-west-1\",peer_region=\"{VICTIM}\"{labels}}}")
    }

    /// Waits until the sidecar takes its peer for dead.
    pub(crate) fn outage(&self) -> &Self {
        let down = Self::series("peer_state", ",state=\"down\"");
        eventually("the verdict", Duration::from_secs(30), || {
            let page = get(self.addr, "/metrics?collect=state");
            (value(&page, &down) == Some(1.0)).then_some(())
        });
        self
    }
}

/// A demo for all tests that only look. Its region dies 10 s after the first call.
pub(crate) fn shared() -> &'static Demo {
    static SHARED: OnceLock<Demo> = OnceLock::new();
    SHARED.get_or_init(|| {
        let demo = Demo::start();
        // Nothing in a static is ever dropped.
        order("keep", &json!({"pid": demo.running.child.id()}));
        demo
    })
}

/// The same, after the death of its region.
pub(crate) fn outage() -> &'static Demo {
    shared().outage()
}

/// A page that can be opened with Playwright's options of a context.
type Opener<'a> = Box<dyn Fn(&Value) -> Page + 'a>;

/// What there is to see: every kind of page, and one that is not there.
pub(crate) fn pages(demo: &Demo) -> Vec<(&'static str, Opener<'_>)> {
    const PAGES: [(&str, u64); 5] = [
        ("/", 200),
        ("/peer/us-east-1", 200),
        ("/path/us-east-1/edge/http", 200),
        ("/config", 200),
        ("/peer/nowhere", 404),
    ];
    let opener = |(path, status)| -> (&'static str, Opener<'_>) {
        (path, Box::new(move |options: &Value| Page::with(&demo.url(path), status, options)))
    };
    PAGES.into_iter().map(opener).collect()
}
