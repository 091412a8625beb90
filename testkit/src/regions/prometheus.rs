//! Prometheus, with the rules that are shipped.

use std::{fs, path::Path};

use super::{
    CONTROL,
    alerting::{START, alertmanager_address, shipped},
    process::{Process, get, wait_for},
    region::{NamedBy, Plan, REGION_PORT},
};
use crate::space::Host;

const PORT: u16 = 9090;

/// Prometheus on the control host, which scrapes all sidecars each second.
pub struct Prometheus {
    line: String,
    log: std::path::PathBuf,
    process: Option<Process>,
}

impl Prometheus {
    pub fn start(control: &Host, folder: &Path, plan: &Plan) -> Self {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let rules = shipped("regionwatch.rules.yml");
        let list = |hosts: Vec<String>| hosts.join(", ");
        let alertmanagers = list((0..plan.alertmanagers).map(alertmanager_address).collect());
        let region = |n: u8| {
            let environment = match plan.named_by {
                NamedBy::Scrape => plan.environment(n),
                NamedBy::Setting => "",
            };
            format!("{{targets: [\"10.0.{n}.2:{REGION_PORT}\"], labels: {{environment: \"{environment}\"}}}}")
        };
        let regions = list((1..=plan.everywhere()).map(region).collect());
        let config = write(
            "prometheus.yml",
            format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [\"{rules}\"]\n\
                 alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{alertmanagers}\"]}}]}}]}}\n\
                 scrape_configs:\n  - job_name: regionwatch-state\n    params: {{collect: [state]}}\n\
                 \x20   static_configs: [{regions}]\n\
                 \x20 - job_name: regionwatch\n    scrape_interval: 15s\n    params: {{collect: [rest]}}\n\
                 \x20   static_configs: [{regions}]\n"
            ),
        );
        let data = folder.join("prometheus").display().to_string();
        let line = format!(
            "prometheus --config.file={config} --storage.tsdb.path={data} --web.listen-address={CONTROL}:{PORT}"
        );
        let mut prometheus = Self { line, log: folder.join("prometheus.log"), process: None };
        prometheus.go(control);
        prometheus
    }

    /// Starts it, again or for the first time.
    pub fn go(&mut self, control: &Host) {
        self.process = Some(Process::start(control, &self.line, &self.log));
        wait_for("Prometheus", START, || get(control, &format!("{CONTROL}:{PORT}"), "/-/ready"));
    }

    /// Ends it in order.
    pub fn end(&mut self) {
        self.process.take().unwrap().end();
    }

    /// What it said last, and which alerts it has.
    pub fn said(&self, control: &Host) -> String {
        let alerts = get(control, &format!("{CONTROL}:{PORT}"), "/api/v1/alerts");
        format!("{}\n{}", self.process.as_ref().map(Process::said).unwrap_or_default(), alerts.unwrap_or_default())
    }

    /// Waits until it has heard of so many regions from others.
    pub fn knows(&self, control: &Host, pairs: usize) {
        let path = "/api/v1/query?query=sum(regionwatch_peer_state%7Bstate=~%22healthy%7Cdegraded%22%7D)";
        let wanted = format!("\"{pairs}\"]");
        let address = format!("{CONTROL}:{PORT}");
        wait_for("Prometheus to know all regions", START, || {
            get(control, &address, path)?.contains(&wanted).then_some(())
        });
    }
}
