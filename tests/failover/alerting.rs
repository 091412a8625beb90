//! Alertmanager and Prometheus, with the files that are shipped.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use crate::{
    process::{Process, get, wait_for},
    space::Host,
    world::CONTROL,
};

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// The port of the sink.
pub(crate) const SINK_PORT: u16 = 9099;

fn shipped(name: &str) -> String {
    format!("{}/alerts/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// An Alertmanager on the control host; the first listens on port 9093, and the next on 9094 and so on.
pub(crate) struct Alertmanager {
    line: String,
    log: std::path::PathBuf,
    address: String,
    process: Option<Process>,
}

impl Alertmanager {
    /// One that is alone.
    pub(crate) fn start(control: &Host, folder: &Path) -> Self {
        Self::with(control, folder, 0, "--cluster.listen-address=")
    }

    fn with(control: &Host, folder: &Path, n: u16, cluster: &str) -> Self {
        let address = format!("{CONTROL}:{}", 9093 + n);
        let config = configuration(folder).display().to_string();
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

    /// Starts it, again or for the first time.
    pub(crate) fn go(&mut self, control: &Host) {
        self.process = Some(Process::start(control, &self.line, &self.log));
    }

    /// Ends it in order, so that it remembers what it has told.
    pub(crate) fn end(&mut self) {
        self.process.take().unwrap().end();
    }

    /// The failover alerts about a region that it holds.
    pub(crate) fn alerts(&self, control: &Host, peer: &str) -> Vec<Value> {
        let path = format!("/api/v2/alerts?filter=failover%3D%22true%22&filter=peer_region%3D%22{peer}%22");
        serde_json::from_str(&get(control, &self.address, &path).unwrap()).unwrap()
    }

    pub(crate) fn is_ready(&self, control: &Host) {
        wait_for("Alertmanager", START, || get(control, &self.address, "/-/ready"));
    }
}

/// The shipped configuration, with the paths of this machine. Whoever is called can be told by the first part of the
/// URL's path.
fn configuration(folder: &Path) -> std::path::PathBuf {
    let mut text = fs::read_to_string(shipped("alertmanager.yml")).unwrap();
    for name in ["failover", "deadmans-switch", "oncall", "tickets"] {
        let before = format!("https://{name}.example.com/");
        assert!(text.contains(&before), "{before}");
        text = text.replace(&before, &format!("http://{CONTROL}:{SINK_PORT}/{name}/"));
    }
    let secrets = "/etc/alertmanager/secrets";
    text = text.replace(secrets, &folder.display().to_string());
    for line in text.lines().filter_map(|line| line.split_once("credentials_file: ")) {
        fs::write(line.1.trim_end_matches('}'), "token").unwrap();
    }
    let path = folder.join("alertmanager.yml");
    fs::write(&path, text).unwrap();
    path
}
