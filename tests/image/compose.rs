//! `compose.yaml`, brought up as a user does. Where Prometheus' and Alertmanager's images cannot be had, they are the
//! machine's own, with the same command lines and files. Grafana is left out.

use std::{fs, net::SocketAddr, path::Path, process::Command, sync::LazyLock, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    engine::{RECEIVER, build, docker, image, need_engine, read, tried},
    needs::{
        Need::{Other, Tool},
        program as program_at, require,
    },
    process::{eventually, request},
    root,
};

const SECOND: Duration = Duration::from_secs(1);
const REGIONS: [&str; 3] = ["eu-west-1", "us-east-1", "ap-south-1"];

/// The newer plugin, or the older program.
static COMPOSE: LazyLock<Option<&[&str]>> = LazyLock::new(|| {
    [&["docker", "compose"][..], &["docker-compose"]].into_iter().find(|words| {
        let version = Command::new(words[0]).args(&words[1..]).arg("version").output();
        version.is_ok_and(|output| output.status.success())
    })
});

/// The image that `compose.yaml` names for a service, or, where it cannot be had, one of this machine's program.
fn image_of(service: &str, program: &str) -> String {
    let text = read("compose.yaml");
    let images = text.lines().filter_map(|line| line.trim().strip_prefix("image: "));
    let pinned = images.into_iter().find(|image| image.contains(&format!("/{service}:"))).unwrap();
    let pulled = tried(&["inspect", "--type", "image", pinned]).or_else(|_| tried(&["pull", "--quiet", pinned]));
    pulled.map_or_else(|_| stand_in(service, program), |_| pinned.to_owned())
}

/// An image of a program of this machine, with its own libraries and loader: a base image's may be older than it needs.
fn stand_in(name: &str, program: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    for part in ["share", "libraries"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    // Debian's Alertmanager reads its templates from here.
    let share = Path::new("/usr/share/prometheus").join(name);
    if share.exists() {
        let copied = Command::new("cp").arg("-r").arg(&share).arg(folder.path().join("share")).status().unwrap();
        assert!(copied.success(), "{}", share.display());
    }
    let found = program_at(program).unwrap();
    fs::copy(&found, folder.path().join(name)).unwrap();
    let mut command = format!("\"/bin/{name}\"");
    // Nothing for a static one. The loader is the line without a name before its path.
    let needed = String::from_utf8(Command::new("ldd").arg(&found).output().unwrap().stdout).unwrap();
    for line in needed.lines() {
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else { continue };
        let file = Path::new(path).file_name().unwrap().to_str().unwrap();
        fs::copy(path, folder.path().join("libraries").join(file)).unwrap();
        if line.trim().starts_with('/') {
            command = format!("\"/libraries/{file}\", \"--library-path\", \"/libraries\", {command}");
        }
    }
    let tag = format!("regionwatch-test-{name}");
    let text = format!(
        "FROM scratch\nCOPY {name} /bin/{name}\nCOPY libraries /libraries\nCOPY share /usr/share/prometheus\n\
         ENTRYPOINT [{command}]\n"
    );
    build(&tag, &text, folder.path(), &[]);
    tag
}

/// The services of `compose.yaml`; removed when dropped.
struct Project {
    name: String,
    folder: TempDir,
}

impl Project {
    fn up() -> Self {
        let folder = tempfile::tempdir().unwrap();
        docker(&["tag", image(), "regionwatch:compose"]);
        docker(&["tag", RECEIVER, "regionwatch-webhook-receiver:compose"]);
        let (prometheus, alertmanager) =
            (image_of("prometheus", "prometheus"), image_of("alertmanager", "prometheus-alertmanager"));
        fs::write(
            folder.path().join("compose.override.yaml"),
            format!(
                "services:\n  prometheus: {{image: {prometheus}}}\n  alertmanager: {{image: {alertmanager}}}\n\
                 networks:\n  default: {{internal: true}}\n"
            ),
        )
        .unwrap();
        let project = Self { name: format!("regionwatch-test-{}", std::process::id()), folder };
        let services = [&REGIONS[..], &["prometheus", "alertmanager", "webhook-receiver"]].concat();
        project.compose(&[&["up", "--detach", "--no-build"], &services[..]].concat());
        project
    }

    fn compose(&self, args: &[&str]) -> String {
        let words = COMPOSE.expect("it was asked for");
        let folder: &Path = self.folder.path();
        let output = Command::new(words[0])
            .args(&words[1..])
            .args(["-p", &self.name, "-f"])
            .arg(root().join("compose.yaml"))
            .arg("-f")
            .arg(folder.join("compose.override.yaml"))
            .arg("--project-directory")
            .arg(root())
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Where a service is, as this machine reaches it.
    fn address(&self, service: &str, port: u16) -> SocketAddr {
        let id = self.compose(&["ps", "--quiet", service]);
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        SocketAddr::new(docker(&["inspect", "--format", format, id.trim()]).parse().unwrap(), port)
    }

    /// Waits until a page has what the function looks for.
    fn shows<T>(&self, what: &str, at: SocketAddr, path: &str, limit: u32, find: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, limit * SECOND, || find(&request(at, "GET", path)?.body))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.compose(&["logs", "--tail", "30"]));
        }
        self.compose(&["down", "--volumes", "--timeout", "1"]);
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn compose_shows_a_killed_region_in_every_service() {
    let compose = Other("docker compose, or docker-compose", COMPOSE.is_some());
    need_engine();
    require(&[compose, Tool("prometheus"), Tool("prometheus-alertmanager")]);
    let project = Project::up();
    let (prometheus, alertmanager) = (project.address("prometheus", 9090), project.address("alertmanager", 9093));
    let (receiver, vantage) = (project.address("webhook-receiver", 9099), project.address("eu-west-1", 9877));
    for region in REGIONS {
        let own = project.address(region, 9877);
        project.shows("two peers that answer", own, "/metrics?collect=state", 30, |page| {
            let well = |line: &&str| {
                line.starts_with("regionwatch_peer_state{")
                    && (line.ends_with("state=\"healthy\"} 1") || line.ends_with("state=\"degraded\"} 1"))
            };
            (page.lines().filter(well).count() == 2).then_some(())
        });
    }
    project.shows("Prometheus scrapes all", prometheus, "/api/v1/query?query=up", 60, |text| {
        let found = json(text)["data"]["result"].as_array()?.clone();
        (found.len() == 6 && found.iter().all(|series| series["value"][1] == "1")).then_some(())
    });

    project.compose(&["kill", "us-east-1"]);
    project.shows("the region is down for another one", vantage, "/metrics?collect=state", 20, |page| {
        let down = "peer_region=\"us-east-1\",state=\"down\"} 1";
        page.lines().any(|line| line.ends_with(down)).then_some(())
    });
    let alerts = "/api/v1/query?query=ALERTS%7Balertname%3D%22RegionwatchPeerDown%22%2Calertstate%3D%22firing%22%7D";
    project.shows("Prometheus' rules say so", prometheus, alerts, 30, |text| {
        json(text)["data"]["result"]
            .as_array()?
            .first()
            .map(|series| assert_eq!(series["metric"]["peer_region"], "us-east-1"))
    });
    project.shows("Alertmanager holds it", alertmanager, "/api/v2/alerts?filter=failover%3D%22true%22", 20, |text| {
        let told = json(text);
        let pushed = told.as_array()?.iter().find(|alert| alert["labels"]["source"] == "push")?;
        assert_eq!(pushed["labels"]["peer_region"], "us-east-1", "{pushed:#}");
        let link = pushed["generatorURL"].as_str().unwrap();
        link.starts_with("http://localhost:987").then_some(())
    });
    let orders = project.shows("both orders were taken", receiver, "/incidents", 60, |text| {
        let mut orders = json(text).as_array()?.clone();
        orders.retain(|order| order["decision"] == "accepted");
        (orders.len() == 2).then_some(orders)
    });
    for (order, stage) in orders.iter().zip(["prepare", "execute"]) {
        assert_eq!((&order["stage"], &order["peer_region"]), (&stage.into(), &"us-east-1".into()), "{order:#}");
        assert!([REGIONS[0], REGIONS[2]].contains(&order["target"].as_str().unwrap()), "{order:#}");
    }

    project.compose(&["up", "--detach", "--no-build", "us-east-1"]);
    project.shows("the region is back", vantage, "/metrics?collect=state", 30, |page| {
        let back = "peer_region=\"us-east-1\",state=\"recovering\"} 1";
        page.lines().any(|line| line.ends_with(back)).then_some(())
    });
}

#[test]
fn every_mounted_file_exists() {
    let text = read("compose.yaml");
    let mounts: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ./"))
        .filter_map(|mount| mount.split(':').next())
        .collect();
    assert!(mounts.len() >= 8, "{mounts:?}");
    for path in mounts {
        assert!(root().join(path).exists(), "{path}");
    }
}
