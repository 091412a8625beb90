//! The sidecars that the browser looks at.

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use serde_json::json;

use crate::{
    driver::order,
    support::{Running, eventually, free, get, sidecar, value},
};

/// Who dies.
pub(crate) const VICTIM: &str = "us-east-1";

/// The demo with its four sidecars, one of which ends 10 s after the start.
pub(crate) struct Demo {
    pub(crate) addr: SocketAddr,
    pub(crate) running: Running,
}

impl Demo {
    pub(crate) fn start() -> Self {
        let addr = free();
        let running = sidecar(&["demo", "--listen", &addr.to_string(), "--kill", VICTIM], &[], addr);
        Self { addr, running }
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

/// A demo for all tests that only look, after the death of its region.
pub(crate) fn outage() -> &'static Demo {
    static SHARED: OnceLock<Demo> = OnceLock::new();
    let demo = SHARED.get_or_init(|| {
        let demo = Demo::start();
        // Nothing in a static is ever dropped.
        order("keep", &json!({"pid": demo.running.child.id()}));
        demo
    });
    demo.outage()
}
