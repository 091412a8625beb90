//! The real Alertmanager, a webhook's receiver, hostile Alertmanagers, and a notifier.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use regionwatch::{
    alert::{Notifier, Setup},
    config::{self, HttpUrl, UrlTemplate},
    metrics::{Collect, Metrics},
    model::{Candidate, Cause, ConstantLabels, Host, Incident, Region, Stage, Tally, UnixMillis},
    net::{Resolver, Timestamp, TlsContext},
    signing::PublicKeys,
};
use serde_json::{Value, json};
use testkit::{
    needs::{Need, require},
    regions::alerting::is_notifying,
    stalls::Patience,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

pub(crate) const ALERTMANAGER: &str = "prometheus-alertmanager";

pub(crate) fn need_alertmanager() {
    require(&[Need::Tool(ALERTMANAGER)]);
}

pub(crate) use testkit::process::free;

pub(crate) fn now() -> UnixMillis {
    UnixMillis(Timestamp::now().unix_nanos() / 1_000_000)
}

pub(crate) fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

pub(crate) fn incident(peer: &str, stage: Stage) -> Incident {
    let onset = now();
    Incident {
        peer: region(peer),
        stage,
        id: format!("{peer}-{}", onset.0).into(),
        onset,
        cause: Cause::Silence,
        confirmed: true,
        tally: Tally { down: 2, voters: 2, needed: 2, reached: true, ..Tally::default() },
        candidates: vec![Candidate { region: region("eu-central-1"), rank: 1, score: Some(Duration::from_millis(33)) }],
        blocked: None,
        blocked_by: Vec::new(),
        common_mode: false,
        loss: None,
        lost: None,
        evidence: "icmp and tcp are silent".into(),
        ordered_by: None,
        resolved: None,
        signatures: Vec::new(),
    }
}

pub(crate) fn resolved(incident: &Incident) -> Incident {
    Incident { resolved: Some(now()), ..incident.clone() }
}

/// Reads a request and returns its body, or nothing where the client has left.
pub(crate) fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// Serves each connection on a thread of its own, for the life of the test process.
pub(crate) fn serve_on(addr: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind(addr).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    addr
}

pub(crate) fn serve(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    serve_on("127.0.0.1:0".parse().unwrap(), serve)
}

/// Receives webhooks and keeps them.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) addr: SocketAddr,
    received: Arc<Mutex<Vec<(Instant, Value)>>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let received: Arc<Mutex<Vec<_>>> = Arc::default();
        let keeping = Arc::clone(&received);
        let addr = serve(move |mut stream| {
            while let Some(body) = read_request(&mut stream) {
                keeping.lock().unwrap().push((Instant::now(), serde_json::from_slice(&body).unwrap()));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        Self { addr, received }
    }

    /// When the webhooks of failovers came, and what they said.
    pub(crate) fn failovers(&self) -> Vec<(Instant, Value)> {
        let received = self.received.lock().unwrap();
        received.iter().filter(|(_, webhook)| webhook["commonLabels"]["failover"] == "true").cloned().collect()
    }

    /// Their statuses, in the order in which they came.
    pub(crate) fn statuses(&self) -> Vec<String> {
        self.failovers().iter().map(|(_, webhook)| webhook["status"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits for the webhook of that number, from 1.
    pub(crate) async fn nth(&self, number: usize) -> (Instant, Value) {
        eventually(&format!("webhook {number}"), Duration::from_secs(20), || self.find(number)).await
    }

    /// The same, if it has come. Copies no other one: that would delay what is on the same thread.
    fn find(&self, number: usize) -> Option<(Instant, Value)> {
        let received = self.received.lock().unwrap();
        let mut failovers = received.iter().filter(|(_, webhook)| webhook["commonLabels"]["failover"] == "true");
        failovers.nth(number - 1).cloned()
    }
}

/// Asks again and again until the function finds what it wants. What the machine does not give is no part of the limit.
pub(crate) async fn eventually<T>(what: &str, limit: Duration, mut find: impl FnMut() -> Option<T>) -> T {
    let patience = Patience::of(limit);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(!patience.is_over(), "{what}: not within {limit:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The real one, with a data folder of its own, killed when dropped.
pub(crate) struct Alertmanager {
    pub(crate) addr: SocketAddr,
    /// Flags besides those that each has.
    pub(crate) flags: Vec<String>,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

impl Alertmanager {
    /// One that is not running yet.
    pub(crate) fn new(sink: &Sink) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "route: {{receiver: sink, group_by: [peer_region, stage], group_wait: 0s, group_interval: 5s, repeat_interval: 1h}}\n\
             receivers: [{{name: sink, webhook_configs: [{{url: 'http://{}/', send_resolved: true}}]}}]\n",
            sink.addr
        );
        fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
        Self { addr: free(), flags: Vec::new(), folder, child: None }
    }

    pub(crate) async fn started(sink: &Sink) -> Self {
        let mut alertmanager = Self::new(sink);
        alertmanager.start().await;
        alertmanager
    }

    pub(crate) async fn start(&mut self) {
        let place = self.folder.path().display();
        let child = Command::new(ALERTMANAGER)
            .arg(format!("--config.file={place}/alertmanager.yml"))
            .arg(format!("--storage.path={place}/data"))
            .arg(format!("--web.listen-address={}", self.addr))
            .arg("--cluster.listen-address=")
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.folder.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{ALERTMANAGER}: {error}; install it (tests/run says how)"));
        self.child = Some(child);
        let addr = self.addr;
        eventually("Alertmanager listens", Duration::from_secs(20), || TcpStream::connect(addr).ok()).await;
    }

    /// Ends it by a signal and waits for that.
    pub(crate) fn signal(&mut self, name: &str) {
        if self.child.is_some() {
            self.send(name);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Makes it hang: its kernel accepts connections and it answers none.
    pub(crate) fn stop(&self) {
        self.send("STOP");
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.send("CONT");
    }

    fn send(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// Where it keeps what it must not forget.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// The alerts that it holds.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("/api/v2/alerts")).unwrap()
    }

    /// Waits until it knows that all webhooks were answered which it has begun. A webhook is received before.
    pub(crate) async fn is_answered(&self) {
        let answered = || {
            let page = self.get("/metrics");
            (!is_notifying(&page)).then_some(())
        };
        eventually("Alertmanager has notified", Duration::from_secs(20), answered).await;
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

/// Posts an alert without a notifier, and returns how long the webhook of that number took: what Alertmanager and the machine
/// take. The Alertmanager and the sink are for this alone.
pub(crate) fn posted(alertmanager: SocketAddr, sink: &Sink, number: usize) -> Duration {
    let labels = json!({"alertname": "Plain", "failover": "true", "peer_region": format!("plain-{number}")});
    let body = json!([{ "labels": labels }]).to_string();
    let began = Instant::now();
    let mut stream = TcpStream::connect(alertmanager).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /api/v2/alerts HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let nth = || sink.find(number);
    let (received, _) = testkit::process::eventually("a plain webhook", Duration::from_secs(20), nth);
    received.saturating_duration_since(began)
}

/// A notifier with its metrics.
pub(crate) struct Telling {
    pub(crate) notifier: Notifier,
    pub(crate) metrics: Arc<Metrics>,
    /// Says each second that all peers were evaluated, until it is aborted.
    pub(crate) ticks: JoinHandle<()>,
    pub(crate) evaluated: watch::Sender<Instant>,
}

pub(crate) fn url(addr: SocketAddr) -> HttpUrl {
    HttpUrl { https: false, host: Host::Addr(addr.ip()), port: addr.port(), path: "/".into() }
}

/// The vantage `eu-west-1`, telling these.
pub(crate) fn telling(alertmanagers: &[SocketAddr]) -> Telling {
    let urls: Vec<_> = alertmanagers.iter().copied().map(url).collect();
    telling_urls(&urls, &Resolver::new(None))
}

pub(crate) fn telling_urls(urls: &[HttpUrl], resolver: &Resolver) -> Telling {
    telling_alertmanagers(&urls.iter().cloned().map(Into::into).collect::<Vec<_>>(), resolver)
}

pub(crate) fn telling_alertmanagers(alertmanagers: &[config::Alertmanager], resolver: &Resolver) -> Telling {
    telling_by(now, alertmanagers, resolver)
}

/// The same with a clock of its own.
pub(crate) fn telling_by(
    clock: fn() -> UnixMillis,
    alertmanagers: &[config::Alertmanager],
    resolver: &Resolver,
) -> Telling {
    let vantage = region("eu-west-1");
    let metrics = Arc::new(Metrics::new(&vantage, &[0.1]));
    let external_url = HttpUrl { https: false, host: Host::Name("eu.example".into()), port: 9877, path: "/".into() };
    let evaluated = watch::Sender::new(Instant::now());
    let setup = Setup {
        vantage: &vantage,
        labels: &ConstantLabels::default(),
        public_keys: &PublicKeys::default(),
        alertmanagers,
        external_url: Some(&external_url),
        runbook_url: &UrlTemplate::runbooks(),
        dashboard_url: &UrlTemplate::default(),
        clock,
        evaluated: &evaluated.subscribe(),
    };
    let notifier = Notifier::spawn(setup, resolver, &TlsContext::default(), &metrics).unwrap();
    let ticking = evaluated.clone();
    let ticks = tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(1)).await;
            ticking.send_replace(Instant::now());
        }
    });
    Telling { notifier, metrics, ticks, evaluated }
}

impl Telling {
    /// How many pushes to an Alertmanager had this result.
    pub(crate) fn pushes(&self, addr: SocketAddr, result: &str) -> u64 {
        self.pushes_to(url(addr), result)
    }

    pub(crate) fn pushes_to(&self, url: impl std::fmt::Display, result: &str) -> u64 {
        let mut page = self.metrics.page(Collect::All);
        let mut text = Vec::new();
        while page.next(&mut text) {}
        let text = String::from_utf8(text).unwrap();
        let series = format!(
            "regionwatch_alert_pushes_total{{vantage_region=\"eu-west-1\",alertmanager=\"{url}\",result=\"{result}\"}} "
        );
        let line = text.lines().find_map(|line| line.strip_prefix(&*series));
        line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
    }

    pub(crate) async fn pushed(&self, addr: SocketAddr, result: &str, times: u64) {
        let enough = || (self.pushes(addr, result) >= times).then_some(());
        eventually(&format!("{times} pushes to {addr} are {result}"), Duration::from_secs(20), enough).await;
    }
}
