//! `regionwatch bench` as a program under test: what it saves is laid beside the truth like the sidecar's samples.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::Deserialize;

use super::{
    Result,
    compare::Reported,
    pause,
    process::{Place, Process, Workspace},
    regionwatch::{exchange_phase, peer, target},
    truth::{Flow, Service},
};

/// How much longer than its duration a run takes at most: its start, and what is in flight at the end.
const SLACK: Duration = Duration::from_secs(20);

/// A run that has been started.
pub struct Run {
    /// The process; dropped, it ends.
    pub process: Process,
    saved: PathBuf,
}

impl Run {
    /// Starts it for a while, with a probe on each path every `interval`.
    pub fn start(
        program: &Path,
        config: &Path,
        interval: Duration,
        duration: Duration,
        place: Place<'_>,
        workspace: &Workspace,
    ) -> Result<Self> {
        let saved = workspace.file("bench.json");
        let mut command = Command::new(program);
        command.args(["bench", "--rate", &(1.0 / interval.as_secs_f64()).to_string()]);
        command.args(["--duration", &format!("{}ms", duration.as_millis())]);
        command.arg("--config").arg(config).arg("--save").arg(&saved);
        Ok(Self { process: Process::spawn(command, "bench", place, workspace)?, saved })
    }

    /// Waits until it has ended, and reads its samples from `from` on. `slack` is how long after its start a probe's
    /// first packet may have left.
    pub fn finish(
        &mut self,
        servers: &[Ipv4Addr],
        from: i64,
        duration: Duration,
        slack: Duration,
    ) -> Result<Vec<Reported>> {
        let step = Duration::from_millis(100);
        let mut left = duration + SLACK;
        while self.process.check().is_ok() {
            left = left.checked_sub(step).ok_or("bench does not end")?;
            pause(step)?;
        }
        let text = std::fs::read_to_string(&self.saved)
            .map_err(|error| format!("bench saved nothing: {error}\n{}", self.process.log_tail()))?;
        let results: Saved = serde_json::from_str(&text)?;
        let began = results.began_unix_ms * 1_000_000;
        let mut all = Vec::new();
        for series in &results.series {
            let flow = series.flow(servers).ok_or_else(|| format!("an unknown series {:?}", series.tags))?;
            all.extend((0..series.at_ns.len()).map(|n| series.reported(n, flow, began, slack)));
        }
        all.retain(|sample| sample.from >= from);
        Ok(all)
    }
}

/// What `--save` writes; the other keys are not needed here.
#[derive(Deserialize)]
struct Saved {
    began_unix_ms: i64,
    series: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    region: String,
    tags: BTreeMap<String, String>,
    at_ns: Vec<i64>,
    latency_ns: Vec<Option<f64>>,
    phases_ns: BTreeMap<String, Vec<Option<f64>>>,
}

impl Series {
    fn flow(&self, servers: &[Ipv4Addr]) -> Option<Flow> {
        let server = servers.iter().find(|server| peer(**server) == self.region)?;
        let is_tls = self.tags.get("target")? == target(true);
        let service = match self.tags.get("probe")?.as_str() {
            "icmp" => Service::Icmp,
            "dns" => Service::Dns,
            "tcp" => Service::Tcp,
            "http" if is_tls => Service::Https,
            "http" => Service::Http,
            _ => return None,
        };
        Some((*server, service))
    }

    fn reported(&self, n: usize, flow: Flow, began: i64, slack: Duration) -> Reported {
        let ns = |phase: &str| self.phases_ns.get(phase).and_then(|column| column[n]);
        let at = began + self.at_ns[n];
        Reported {
            flow,
            // The beginning is rounded down to a millisecond.
            from: at - 2_000_000,
            until: at + slack.as_nanos() as i64,
            ok: self.latency_ns[n].is_some(),
            connect: ns("connect"),
            exchange: exchange_phase(flow.1).and_then(ns),
            // A sample of a userland clock is not told apart here.
            kernel: true,
        }
    }
}
