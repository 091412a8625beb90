//! A Prometheus that has seen an outage: the four regions of the demo, of which one dies; a fifth sidecar, which
//! measures real servers by TLS too and has an anchor; a sixth, which measures databases; and the rules that are shipped. It scrapes itself too, and a target
//! that does not answer, as one does that watches over other things as well.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    binary, peers,
    process::{Running, escaped, eventually, free, request, sidecar, write},
};
use tokio::time::Instant;

use crate::{read, stores::Stores};

/// Who dies.
pub(crate) const VICTIM: &str = "us-east-1";

/// The job of what has nothing to do with regionwatch.
pub(crate) const FOREIGN: &str = "others";

/// How many sidecars there are, the dead one included.
pub(crate) const SIDECARS: usize = 6;

/// How far back queries look at least; they see all that was since the beginning.
const BACK: u64 = 90;

pub(crate) struct Outage {
    began: Instant,
    prometheus: SocketAddr,
    _servers: peers::Peers,
    _stores: Stores,
    _running: Vec<Running>,
    _folder: TempDir,
}

/// A series of an answer: its labels, and the numbers in it.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) labels: Value,
    pub(crate) values: Vec<f64>,
}

impl Series {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }
}

impl Outage {
    /// Starts everything, loses the primary of a database, and returns when the region has died.
    pub(crate) fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::start(folder.path());
        let alertmanager_at = free();
        let config =
            write(folder.path(), "alertmanager.yml", "{route: {receiver: nobody}, receivers: [{name: nobody}]}");
        let args = [
            format!("--config.file={config}"),
            format!("--storage.path={}", folder.path().join("alertmanager").display()),
            format!("--web.listen-address={alertmanager_at}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let alertmanager = Running::start("prometheus-alertmanager", &args.each_ref().map(String::as_str), &[]);

        let servers = peers::start(folder.path());
        let listen = free();
        let extra = format!("location: {{latitude: 53.3, longitude: -6.3}}\nanchors: ['tcp://{}']", servers.web);
        // By name, so that there is something to resolve.
        let config = peers::configuration(&servers, folder.path(), listen, &extra)
            .replace("host: 127.0.0.1\n", "host: localhost\n        address_family: v4\n");
        let config = write(folder.path(), "regionwatch.yaml", &config);
        let fifth = sidecar(&["run", "--config", &config], &[], listen);

        let (demo_at, url) = (free(), format!("http://{alertmanager_at}"));
        let args = ["demo", "--listen", &demo_at.to_string(), "--kill", VICTIM, "--alertmanager", &url];
        let demo = Running::start(binary(), &args, &[]);
        // What the demo says is what its reader pastes.
        let scrape = eventually("what Prometheus is to scrape", Duration::from_secs(10), || {
            let said = demo.said();
            said.lines().find_map(|line| line.trim().strip_prefix("Prometheus: ").map(str::to_owned))
        });
        let scrape = scrape.replace(
            "targets: [",
            &format!("labels: {{environment: live}}, targets: ['{listen}', '{}', ", stores.page),
        );
        let prometheus_at = free();
        // The slow groups as well: their first turn would come within their interval.
        let rules = read("alerts/regionwatch.rules.yml")
            .replace("    interval: 15s\n", "    interval: 1s\n")
            .replace("    interval: 1m\n", "    interval: 1s\n");
        // The small page by a job of its own, as the rules advise: no panel may count twice.
        let (_, job) = scrape.split_once("scrape_configs: [").unwrap();
        let states = job.replace("job_name: regionwatch", "job_name: regionwatch-state, params: {collect: [state]}");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
             scrape_configs: [{}, {{job_name: {FOREIGN}, static_configs: [{{targets: ['{prometheus_at}', '{}']}}]}}, {states}\n",
            write(folder.path(), "rules.yml", &rules),
            job.strip_suffix(']').unwrap(),
            free()
        );
        let args = [
            format!("--config.file={}", write(folder.path(), "prometheus.yml", &config)),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address={prometheus_at}"),
            "--log.level=error".to_owned(),
        ];
        let prometheus = Running::start("prometheus", &args.each_ref().map(String::as_str), &[]);
        let running = vec![alertmanager, fifth, demo, prometheus];
        let began = Instant::now();
        stores.lose_a_primary();
        Self {
            began,
            prometheus: prometheus_at,
            _servers: servers,
            _stores: stores,
            _running: running,
            _folder: folder,
        }
    }

    fn ask(&self, path: &str) -> Result<Value, String> {
        let answer = request(self.prometheus, "GET", path).ok_or("no answer")?;
        let mut answer: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// What a panel would get: all series with a number in them.
    pub(crate) fn query(&self, expression: &str, instant: bool) -> Result<Vec<Series>, String> {
        let expression = escaped(expression);
        let data = if instant {
            self.ask(&format!("/api/v1/query?query={expression}"))?
        } else {
            let now = self.ask("/api/v1/query?query=time()")?["result"][0].as_f64().ok_or("no time")? as u64;
            let start = now - BACK.max(self.began.elapsed().as_secs());
            self.ask(&format!("/api/v1/query_range?query={expression}&start={start}&end={now}&step=1"))?
        };
        let number = |pair: &Value| pair[1].as_str().and_then(|text| text.parse().ok()).filter(|n: &f64| n.is_finite());
        let series = |row: &Value| {
            let pairs = row["values"].as_array().cloned().unwrap_or_else(|| vec![row["value"].clone()]);
            Series { labels: row["metric"].clone(), values: pairs.iter().filter_map(number).collect() }
        };
        let all = data["result"].as_array().into_iter().flatten().map(series);
        Ok(all.filter(|series| !series.values.is_empty()).collect())
    }

    /// The labels of all series of a metric, as they were scraped or made.
    pub(crate) fn series(&self, metric: &str) -> Vec<Value> {
        let data = self.ask(&format!("/api/v1/series?match[]={}", escaped(metric))).unwrap_or_default();
        data.as_array().cloned().unwrap_or_default()
    }

    /// The values that a variable of the kind `label_values(selector, label)` offers.
    pub(crate) fn label_values(&self, query: &str) -> Vec<String> {
        let (selector, label) =
            query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", ")).unwrap();
        let data = self.ask(&format!("/api/v1/label/{label}/values?match[]={}", escaped(selector))).unwrap_or_default();
        data.as_array().into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    }
}
