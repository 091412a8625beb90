//! Alertmanager, with the configuration that is shipped.

use std::{path::Path, time::Duration};

use super::{
    CONTROL,
    process::{Process, get, wait_for},
};
use crate::{root, sink::alertmanager_configuration, space::Host};
use regionwatch::model::UnixMillis;
use serde_json::Value;

/// How long a server may take to start on a busy machine.
pub const START: Duration = Duration::from_secs(30);

/// The port of the sink.
pub const SINK_PORT: u16 = 9099;

/// Where the nth Alertmanager listens, from 0.
pub fn alertmanager_address(n: u16) -> String {
    format!("{CONTROL}:{}", 9093 + n)
}

/// The path of a file that is shipped.
pub fn shipped(name: &str) -> String {
    format!("{}/alerts/{name}", root().display())
}

/// Whether an Alertmanager with these metrics has begun a webhook, and does not know yet that it was answered. It counts a
/// notification when it begins, and its requests when they have ended.
pub fn is_notifying(page: &str) -> bool {
    let total = |name: &str| -> f64 {
        let of = |line: &&str| line.starts_with(name) && line.contains("integration=\"webhook\"");
        page.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    total("alertmanager_notification_requests_total{") < total("alertmanager_notifications_total{")
}

/// An Alertmanager on the control host.
pub struct Alertmanager {
    line: String,
    log: std::path::PathBuf,
    address: String,
    process: Option<Process>,
}

impl Alertmanager {
    /// One that is alone, or a cluster of them as the shipped configuration asks for, in the order in which they tell.
    pub fn start(count: u16, control: &Host, folder: &Path) -> Vec<Self> {
        let first = format!("{CONTROL}:{}", 9193);
        let cluster = |n| match (count, n) {
            (1, _) => "--cluster.listen-address=".to_owned(),
            (_, 0) => format!("--cluster.listen-address={first} --cluster.peer-timeout=1s"),
            _ => {
                let own = 9193 + n;
                format!("--cluster.listen-address={CONTROL}:{own} --cluster.peer={first} --cluster.peer-timeout=1s")
            }
        };
        let all: Vec<_> = (0..count).map(|n| Self::with(control, folder, n, &cluster(n))).collect();
        if count > 1 {
            wait_for("a cluster", START, || {
                let all: Option<Vec<_>> = all.iter().map(|one| one.place(control, count.into())).collect();
                all.filter(|names| names.is_sorted())
            });
        }
        all
    }

    fn with(control: &Host, folder: &Path, n: u16, cluster: &str) -> Self {
        let address = alertmanager_address(n);
        let sink = format!("{CONTROL}:{SINK_PORT}").parse().unwrap();
        let config = alertmanager_configuration(folder, sink).display().to_string();
        let data = folder.join(format!("alertmanager{n}"));
        let line = format!(
            "prometheus-alertmanager --config.file={config} --storage.path={} --web.listen-address={address} {cluster}",
            data.display()
        );
        let mut alertmanager = Self { line, log: folder.join(format!("alertmanager{n}.log")), address, process: None };
        alertmanager.go(control);
        alertmanager.is_ready(control);
        alertmanager
    }

    /// Its name in a cluster of so many that has come together; members tell in the order of their names.
    fn place(&self, control: &Host, members: usize) -> Option<String> {
        let status: Value = serde_json::from_str(&get(control, &self.address, "/api/v2/status")?).ok()?;
        let cluster = &status["cluster"];
        let together = cluster["status"] == "ready" && cluster["peers"].as_array()?.len() == members;
        cluster["name"].as_str().filter(|_| together).map(ToOwned::to_owned)
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().unwrap().signal(name);
    }

    /// Starts it, again or for the first time.
    pub fn go(&mut self, control: &Host) {
        self.process = Some(Process::start(control, &self.line, &self.log));
    }

    /// Kills it, so that it forgets what it has told.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Ends it in order, so that it remembers what it has told: a webhook that is under way it would tell again.
    pub fn end(&mut self, control: &Host) {
        wait_for("the answers to its webhooks", START, || {
            let page = get(control, &self.address, "/metrics")?;
            (!is_notifying(&page)).then_some(())
        });
        self.process.take().unwrap().end();
    }

    /// The failover alerts about a region that it holds.
    pub fn alerts(&self, control: &Host, peer: char) -> Vec<Value> {
        self.answer(control, peer).expect("Alertmanager answers")
    }

    /// The same, unless it does not answer, as one that was just started or is overloaded.
    pub fn answer(&self, control: &Host, peer: char) -> Option<Vec<Value>> {
        let path = format!("/api/v2/alerts?filter=failover%3D%22true%22&filter=peer_region%3D%22{peer}%22");
        Some(serde_json::from_str(&get(control, &self.address, &path)?).unwrap())
    }

    /// Adds an alert that looks as if a vantage had pushed it, as anyone who reaches Alertmanager can.
    pub fn plant(&self, control: &Host, peer: char, (stage, alertname): (&str, &str), ends_at: UnixMillis) -> String {
        let onset = UnixMillis(ends_at.0 - 3_600_000);
        let id = format!("{peer}-{}", onset.0);
        let line = format!(
            "amtool alert add --alertmanager.url=http://{} alertname={alertname} stage={stage} peer_region={peer} \
             failover=true drill=false severity=critical source=push --annotation=incident_id={id} \
             --annotation=confirmed=true --annotation=onset=\"{onset}\" --end={ends_at}",
            self.address,
        );
        let _adding = Process::start(control, &line, &self.log);
        wait_for("the planted alert", START, || {
            let is = |alert: &Value| alert["labels"]["stage"] == stage && alert["annotations"]["incident_id"] == id;
            self.alerts(control, peer).iter().any(is).then_some(())
        });
        id
    }

    pub fn is_ready(&self, control: &Host) {
        wait_for("Alertmanager", START, || get(control, &self.address, "/-/ready"));
    }
}
