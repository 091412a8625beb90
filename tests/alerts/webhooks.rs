//! The Alertmanager configuration in a real Alertmanager: which webhooks come, how fast, and which do not.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{
    needs::{Need::Tool, require},
    process::{Running, eventually, free, request, write},
};

use crate::read;

/// A webhook that came.
#[derive(Debug, Clone)]
struct Call {
    receiver: String,
    authorization: String,
    body: Value,
}

impl Call {
    fn has(&self, receiver: &str, status: &str, labels: &[(&str, &str)]) -> bool {
        let matches = |alert: &Value| {
            alert["status"] == status && labels.iter().all(|(name, value)| alert["labels"][name] == *value)
        };
        self.receiver == receiver && self.body["alerts"].as_array().unwrap().iter().any(matches)
    }
}

/// Takes every webhook, and says so.
pub(crate) struct Sink {
    pub(crate) addr: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Self { addr: listener.local_addr().unwrap(), calls: Arc::default() };
        let calls = Arc::clone(&sink.calls);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let calls = Arc::clone(&calls);
                thread::spawn(move || {
                    while let Some(call) = answer(&stream) {
                        calls.lock().unwrap().push(call)
                    }
                });
            }
        });
        sink
    }

    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.calls.lock().unwrap().iter().map(|call| call.body.clone()).collect()
    }

    fn count(&self, receiver: &str, status: &str, labels: &[(&str, &str)]) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| call.has(receiver, status, labels)).count()
    }

    fn waits_for(&self, limit: Duration, receiver: &str, status: &str, labels: &[(&str, &str)]) -> Call {
        eventually(&format!("{status} {labels:?} at {receiver}"), limit, || {
            self.calls.lock().unwrap().iter().find(|call| call.has(receiver, status, labels)).cloned()
        })
    }
}

fn answer(stream: &TcpStream) -> Option<Call> {
    let mut reader = BufReader::new(stream);
    let (mut receiver, mut authorization, mut length) = (String::new(), String::new(), 0);
    for number in 0.. {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        if number == 0 {
            receiver = line.split('/').nth(1)?.to_owned();
        } else if line.is_empty() {
            break;
        } else if let Some(value) = line.strip_prefix("Authorization: ") {
            authorization = value.to_owned();
        } else if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    Some(Call { receiver, authorization, body: serde_json::from_slice(&body).ok()? })
}

/// The shipped file, with nothing changed but what a user changes: URLs and paths of credentials.
pub(crate) fn edited(folder: &Path, sink: SocketAddr) -> String {
    let secrets = folder.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    let mut text = read("alerts/alertmanager.yml");
    for receiver in ["failover", "failover-drill", "deadmans-switch", "oncall", "tickets"] {
        write(&secrets, &format!("{receiver}-token"), &format!("secret of {receiver}"));
        text = text.replace(
            &format!("https://{receiver}.example.com/regionwatch\n"),
            &format!("http://{sink}/{receiver}/regionwatch\n"),
        );
    }
    text = text.replace("https://failover.example.com/regionwatch/drill", &format!("http://{sink}/failover-drill/x"));
    text.replace("/etc/alertmanager/secrets/regionwatch", &secrets.display().to_string())
}

pub(crate) fn post(alertmanager: SocketAddr, alert: &Value) {
    let body = json!([alert]).to_string();
    let mut stream = TcpStream::connect(alertmanager).unwrap();
    write!(
        stream,
        "POST /api/v2/alerts HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.0 200"), "{text}");
}

fn failover(stage: &str, source: &str, peer: &str, drill: &str) -> Value {
    let name = if stage == "prepare" { "RegionwatchPeerDown" } else { "RegionwatchPeerFailover" };
    json!({"labels": {
        "alertname": name, "peer_region": peer, "vantage_region": "eu-west-1", "failover": "true", "stage": stage,
        "drill": drill, "severity": "critical", "source": source,
    }})
}

fn ended(mut alert: Value) -> Value {
    alert["startsAt"] = "2020-01-01T00:00:00Z".into();
    alert["endsAt"] = "2020-01-01T00:00:01Z".into();
    alert
}

#[test]
fn only_failover_alerts_reach_the_failover_webhook_and_at_once() {
    require(&[Tool("prometheus-alertmanager")]);
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start();
    let config = write(folder.path(), "alertmanager.yml", &edited(folder.path(), sink.addr));
    let alertmanager = free();
    let _running = Running::start(
        "prometheus-alertmanager",
        &[
            &format!("--config.file={config}"),
            &format!("--storage.path={}", folder.path().join("data").display()),
            &format!("--web.listen-address={alertmanager}"),
            "--cluster.listen-address=",
            "--log.level=error",
        ],
        &[],
    );
    eventually("Alertmanager is ready", Duration::from_secs(15), || {
        request(alertmanager, "GET", "/-/ready").filter(|answer| answer.status == 200)
    });
    let (soon, tick) = (Duration::from_secs(2), Duration::from_secs(8));

    // The first of a region and stage comes at once, with the credentials of its receiver, and pages.
    post(alertmanager, &failover("prepare", "push", "us-east-1", "false"));
    let first = [("peer_region", "us-east-1"), ("stage", "prepare"), ("source", "push")];
    let call = sink.waits_for(soon, "failover", "firing", &first);
    assert_eq!(call.authorization, "Bearer secret of failover");
    let page = sink.waits_for(soon, "oncall", "firing", &first);
    assert_eq!(page.authorization, "Bearer secret of oncall");
    // The next stage is a group of its own, and need not wait for a tick.
    post(alertmanager, &failover("execute", "push", "us-east-1", "false"));
    sink.waits_for(soon, "failover", "firing", &[("peer_region", "us-east-1"), ("stage", "execute")]);

    // What says the same again, or less, is inhibited; what is only near it is not.
    post(alertmanager, &failover("prepare", "rules", "us-east-1", "false"));
    let unreachable = |peer: &str| {
        json!({"labels": {"alertname": "RegionwatchPeerUnreachable", "peer_region": peer,
                          "vantage_region": "ap-south-1", "severity": "critical"}})
    };
    post(alertmanager, &unreachable("us-east-1"));
    post(alertmanager, &unreachable("sa-east-1"));
    sink.waits_for(
        soon,
        "oncall",
        "firing",
        &[("alertname", "RegionwatchPeerUnreachable"), ("peer_region", "sa-east-1")],
    );

    // A drill goes to its own receiver; the always firing alerts go to the dead man's switch.
    post(alertmanager, &failover("execute", "push", "eu-north-1", "true"));
    let drill = sink.waits_for(soon, "failover-drill", "firing", &[("peer_region", "eu-north-1")]);
    assert_eq!(drill.authorization, "Bearer secret of failover-drill");
    let heartbeat =
        json!({"labels": {"alertname": "RegionwatchHeartbeat", "vantage_region": "eu-west-1", "severity": "none"}});
    post(alertmanager, &heartbeat);
    sink.waits_for(soon, "deadmans-switch", "firing", &[("vantage_region", "eu-west-1")]);

    // A vantage that is said to be isolated silences what it says about peers, but never a failover.
    let isolated = json!({"labels": {"alertname": "RegionwatchVantageIsolated", "vantage_region": "eu-west-1",
                                     "severity": "critical"}});
    post(alertmanager, &isolated);
    sink.waits_for(soon, "oncall", "firing", &[("alertname", "RegionwatchVantageIsolated")]);
    post(alertmanager, &failover("prepare", "rules", "me-south-1", "false"));
    sink.waits_for(soon, "failover", "firing", &[("peer_region", "me-south-1"), ("source", "rules")]);

    // A second outage soon after the first makes a second webhook.
    let again = [("peer_region", "me-south-1"), ("stage", "prepare")];
    post(alertmanager, &ended(failover("prepare", "rules", "me-south-1", "false")));
    sink.waits_for(tick, "failover", "resolved", &again);
    let before = sink.count("failover", "firing", &again);
    post(alertmanager, &failover("prepare", "rules", "me-south-1", "false"));
    eventually("the webhook of the second outage", tick, || {
        (sink.count("failover", "firing", &again) > before).then_some(())
    });

    // By now every group has had its tick.
    assert_eq!(sink.count("failover", "firing", &[("peer_region", "us-east-1"), ("source", "rules")]), 0);
    assert_eq!(
        sink.count("oncall", "firing", &[("alertname", "RegionwatchPeerUnreachable"), ("peer_region", "us-east-1")]),
        0
    );
    for receiver in ["failover", "oncall"] {
        assert_eq!(sink.count(receiver, "firing", &[("drill", "true")]), 0);
        assert_eq!(sink.count(receiver, "firing", &[("severity", "none")]), 0);
    }
}
