//! Signed orders from the vantages' keys to the receiver's command, through a real Alertmanager.

use std::{fs, net::SocketAddr, process::Command, time::Duration};

use regionwatch::{
    model::{OrderSignature, Region, Stage, UnixMillis},
    net::Timestamp,
    signing::{Order, PrivateKey, SignatureList},
};
use serde_json::{Value, json};
use testkit::{
    binary,
    needs::{
        Need::{Other, Ping, Tool},
        installed, require,
    },
    process::{Running, eventually, free, get, request, value, write},
    root,
};

use crate::failover_page::{incidents, receiver};

const SOON: Duration = Duration::from_secs(60);

fn now() -> u64 {
    Timestamp::now().unix_nanos() / 1_000_000
}

/// A real Alertmanager with a receiver behind it that has the public keys in `keys`.
struct World {
    folder: tempfile::TempDir,
    alertmanager: SocketAddr,
    receiver: SocketAddr,
    receives: Running,
    _sends: Running,
}

impl World {
    fn start(keys: &str) -> Self {
        require(&[Tool("prometheus-alertmanager"), Tool("amtool")]);
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let (alertmanager, at) = (free(), free());
        write(folder.path(), "keys", keys);
        let acts = |what: &str| format!("echo {what} $PEER_REGION $FAILOVER_TARGET $INCIDENT_ID >> {}", place("acts"));
        let receives = Running::start(
            receiver().to_str().unwrap(),
            &[
                &*format!("--listen={at}"),
                &format!("--record={}", place("record")),
                "--block=0",
                &format!("--keys={}", place("keys")),
                &format!("--exec={}", acts("switch")),
                &format!("--on-approval={}", acts("page")),
            ],
            &[],
        );
        eventually("the receiver listens", SOON, || incidents(at));
        let config = format!(
            "route: {{receiver: r, group_by: [peer_region, stage], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers: [{{name: r, webhook_configs: [{{url: 'http://{at}/'}}]}}]\n"
        );
        let config = write(folder.path(), "alertmanager.yml", &config);
        let sends = Running::start(
            "prometheus-alertmanager",
            &[
                &*format!("--config.file={config}"),
                &format!("--storage.path={}", place("data")),
                &format!("--web.listen-address={alertmanager}"),
                "--cluster.listen-address=",
            ],
            &[],
        );
        eventually("Alertmanager is ready", SOON, || {
            request(alertmanager, "GET", "/-/ready").filter(|answer| answer.status == 200)
        });
        Self { folder, alertmanager, receiver: at, receives, _sends: sends }
    }

    /// What the receiver's commands did.
    fn acts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("acts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn waits_for(&self, act: &str) {
        eventually(act, SOON, || self.acts().contains(&act.to_owned()).then_some(()));
    }

    fn waits_for_log(&self, line: &str) {
        eventually(&format!("{line} in {}", self.receives.said()), SOON, || {
            self.receives.said().contains(line).then_some(())
        });
    }

    /// Anyone who reaches Alertmanager can do this.
    fn add(&self, region: &str, id: &str, source: &str, annotations: &[(&str, String)]) {
        let url = format!("http://{}", self.alertmanager);
        let mut amtool = Command::new(testkit::needs::program("amtool").unwrap());
        amtool.args(["alert", "add", "--alertmanager.url", &url, "alertname=RegionwatchPeerFailover"]);
        amtool.args(["failover=true", "drill=false", "severity=critical", "stage=execute"]);
        amtool.args([format!("peer_region={region}"), format!("source={source}")]);
        // Each is an alert of its own, so that Alertmanager sends it at once.
        if !id.is_empty() {
            amtool.arg(format!("planted={id}"));
        }
        let known = [("failover_target", "b".to_owned()), ("incident_id", id.to_owned())];
        for (name, value) in known.iter().chain(annotations).filter(|(_, value)| !value.is_empty()) {
            // amtool reads the value as a matcher's, in which quotes are escaped.
            amtool.arg(format!("--annotation={name}={}", json!(value)));
        }
        let output = amtool.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// The vantages `x` and `y`.
struct Keys([(Region, PrivateKey); 2]);

impl Keys {
    fn new() -> Self {
        Self(["x", "y"].map(|name| (Region::new(name).unwrap(), PrivateKey::generate().unwrap().0)))
    }

    fn file(&self) -> String {
        self.0.iter().map(|(name, key)| format!("{name} {}\n", key.public())).collect()
    }

    /// The annotations of an order that these vantages signed so many seconds ago.
    fn annotations(&self, region: &str, by: &[usize], seconds: u64) -> Vec<(&'static str, String)> {
        let at = now() - seconds * 1000;
        let region = Region::new(region).unwrap();
        let order = Order { environment: "", region: &region, stage: Stage::Execute, drill: false };
        let sign = |n: &usize| -> OrderSignature { order.sign(&self.0[*n].0, &self.0[*n].1, UnixMillis(at)).unwrap() };
        let signatures: Vec<_> = by.iter().map(sign).collect();
        vec![
            ("signatures", SignatureList::encode(&signatures)),
            ("expires_at", UnixMillis(at + 60_000).to_string()),
            ("onset", UnixMillis(at - 30_000).to_string()),
        ]
    }
}

#[test]
fn only_an_order_that_two_vantages_signed_is_carried_out() {
    let keys = Keys::new();
    let world = World::start(&keys.file());
    // Planted, with one stolen key, expired, and taken from another order.
    world.add("planted", "1", "push", &[]);
    world.add("stolen", "2", "push", &keys.annotations("stolen", &[0, 0], 0));
    world.add("expired", "3", "push", &keys.annotations("expired", &[0, 1], 120));
    world.add("replayed", "4", "push", &keys.annotations("other", &[0, 1], 0));
    world.add("rules", "", "rules", &[]);
    world.add("signed", "5", "push", &keys.annotations("signed", &[0, 1], 0));
    world.waits_for("switch signed b 5");
    world.waits_for("page rules b");
    for line in [
        "1 execute planted: not carried out: it has fresh valid signatures of 0 vantages (), 2 are needed",
        "2 execute stolen: not carried out: it has fresh valid signatures of 1 vantages (x), 2 are needed",
        "3 execute expired: not carried out: it has expired at ",
        "4 execute replayed: not carried out: it has fresh valid signatures of 0 vantages (), 2 are needed",
        "rules execute: waits for the approval of a person: it comes from rules, which cannot sign",
    ] {
        world.waits_for_log(line);
    }
    // What was refused comes again, and counts once it is fresh; what was carried out does not count twice.
    world.add("expired", "3", "push", &keys.annotations("expired", &[0, 1], 0));
    world.add("signed", "6", "push", &keys.annotations("signed", &[1, 0], 0));
    world.waits_for("switch expired b 3");
    let mut acts = world.acts();
    acts.sort();
    assert_eq!(acts, ["page rules b", "switch expired b 3", "switch signed b 5"]);
    world.waits_for_log("6 execute: is about the outage of 5 execute, which was carried out");
}

/// The outage of the demo: three vantages hold the region down, sign that, and the receiver acts once.
#[test]
fn a_real_outage_is_signed_by_the_vantages_that_hold_it_and_carried_out() {
    require(&[Ping]);
    let world = World::start(&Keys::new().file());
    let (listen, keys) = (free(), world.folder.path().join("keys").display().to_string());
    let place = format!("http://{}", world.alertmanager);
    let arguments =
        ["demo", "--kill", "us-east-1", "--alertmanager", &place, "--listen", &listen.to_string(), "--keys", &keys];
    let _demo = Running::start(binary(), &arguments, &[]);
    eventually("the keys are written", SOON, || {
        fs::read_to_string(&keys).ok().filter(|text| text.contains("ap-southeast-2 ed25519:"))
    });
    // The receiver of other keys refuses it.
    world.waits_for_log("0 of its 3 signatures are valid");
    assert_eq!(world.acts(), [] as [&str; 0]);
    let series = "regionwatch_order_signatures{vantage_region=\"eu-west-1\",peer_region=\"us-east-1\"}";
    // The order of another vantage may have come first.
    eventually(series, SOON, || (value(&get(listen, "/metrics"), series) == Some(3.0)).then_some(()));
    let known = "regionwatch_signing_key_known{vantage_region=\"eu-west-1\",peer_region=\"eu-central-1\"}";
    let valid = "regionwatch_order_signatures_received_total{vantage_region=\"eu-west-1\",peer_region=\"eu-central-1\",result=\"valid\"}";
    let page = get(listen, "/metrics");
    assert_eq!(value(&page, known), Some(1.0), "{page}");
    assert!(value(&page, valid).is_some_and(|count| count > 0.0), "{page}");
    // One that has the right ones acts at once: Alertmanager sends again what was not accepted.
    let World { folder, receiver, receives, .. } = &world;
    let alerts = || -> Vec<Value> {
        let answer = request(world.alertmanager, "GET", "/api/v2/alerts?filter=stage%3D%22execute%22").unwrap();
        serde_json::from_str(&answer.body).unwrap()
    };
    // Each vantage pushes the alert, those that are far away with a signature less in the first moment.
    let signed_at = || {
        let alerts = alerts();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        let signatures = SignatureList::decode(alerts[0]["annotations"]["signatures"].as_str().unwrap());
        (signatures.len() == 3).then(|| signatures[0].at)
    };
    let before = eventually("three signatures", SOON, signed_at);
    receives.signal("INT");
    let again = || {
        Running::start(
            crate::failover_page::receiver().to_str().unwrap(),
            &[
                &*format!("--listen={receiver}"),
                &format!("--record={}", folder.path().join("again").display()),
                &format!("--keys={keys}"),
                "--min-signatures=3",
                &format!(
                    "--exec=echo switch $PEER_REGION $FAILOVER_TARGET >> {}",
                    folder.path().join("acts").display()
                ),
            ],
            &[],
        )
    };
    eventually("the port is free", SOON, || std::net::TcpListener::bind(receiver).ok());
    let _again = again();
    world.waits_for("switch us-east-1 eu-west-1");
    // It is signed again and again for as long as it is held.
    eventually("newer signatures", SOON, || signed_at().filter(|at| *at > before));
    assert_eq!(world.acts().len(), 1);
}

/// The example of the page, in another language, agrees with ours.
#[test]
fn the_snippet_of_the_webhook_page_verifies_orders() {
    let python = installed().join("bin/python");
    let python = if python.exists() { python } else { "python3".into() };
    let there = Command::new(&python).args(["-c", "import cryptography"]).output();
    require(&[Other("cryptography for Python, which tests/run installs", there.is_ok_and(|out| out.status.success()))]);
    let page = fs::read_to_string(root().join("docs/webhook.md")).unwrap();
    let section = page.split("## Verify signed orders").nth(1).unwrap();
    let snippet = section.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let keys = Keys::new();
    let public: Vec<_> = keys.0.iter().map(|(name, key)| (name.to_string(), key.public().to_string())).collect();
    let public: std::collections::BTreeMap<_, _> = public.into_iter().collect();
    let signers = |alert: Value| {
        let code = format!(
            "{snippet}\nimport sys\nkeys, alert = json.load(sys.stdin)\nprint(json.dumps(sorted(signers(alert, keys))))"
        );
        let mut child = Command::new(&python)
            .args(["-c", &code])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        serde_json::to_writer(child.stdin.take().unwrap(), &json!([public, alert])).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice::<Vec<String>>(&output.stdout).unwrap()
    };
    let alert = |region: &str, annotations: Vec<(&str, String)>| {
        let annotations: serde_json::Map<_, _> =
            annotations.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        json!({"labels": {"peer_region": region, "stage": "execute", "drill": "false"}, "annotations": annotations})
    };
    assert_eq!(signers(alert("a", keys.annotations("a", &[0, 1], 0))), ["x", "y"]);
    assert_eq!(signers(alert("a", keys.annotations("a", &[1, 1], 5))), ["y"]);
    assert_eq!(signers(alert("a", keys.annotations("a", &[0, 1], 120))), [] as [&str; 0]);
    assert_eq!(signers(alert("a", keys.annotations("b", &[0, 1], 0))), [] as [&str; 0]);
    assert_eq!(signers(alert("a", vec![("signatures", "[{\"vantage\":\"x\"}, 7]".to_owned())])), [] as [&str; 0]);
    let mut staging = alert("a", keys.annotations("a", &[0, 1], 0));
    staging["labels"]["environment"] = json!("staging");
    assert_eq!(signers(staging), [] as [&str; 0]);
    assert_eq!(
        signers(json!({"labels": {"peer_region": "a", "stage": "execute"}, "annotations": {}})),
        [] as [&str; 0]
    );
}
