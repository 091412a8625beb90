//! A running server and clients for it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use regionwatch::{
    config::{Config, DEFAULT_BUCKETS},
    decision::{
        Explanation, Rule,
        votes::{Keys, VoteMessage},
    },
    metrics::{Collect, Exposed, Metrics},
    model::{
        Failure, Path, PeerState, Phase, Region, Shape, StampSource, Tally, TargetName, Timings, UnixMillis, Vote,
    },
    probe,
    server::{self, EncodedVotes, Histories, KnownVantages, Limits, Query, Server, ServerState, ServerStats},
    status::{KindView, Overview, PathView, PeerView},
    window::{PathHistory, Record, Trace},
};
use testkit::stalls::{Patience, Stalls};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

/// The start of the stand-in for the probing thread, as its vote messages say.
pub(crate) const BOOT: u64 = 0xab;

/// How the stand-in for the probing thread answers.
#[derive(Clone, Copy)]
pub(crate) enum Prober {
    Answers,
    RefusesReload,
    Silent,
}

/// How often the stand-in for the probing thread has copied what the status page shows, and histories.
#[derive(Default)]
pub(crate) struct Copies {
    pub(crate) overviews: AtomicUsize,
    pub(crate) histories: AtomicUsize,
}

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) copies: Arc<Copies>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<Server>,
}

/// Metrics whose whole page has at least this many bytes: one path's series again and again.
fn metrics_of(bytes: usize) -> Arc<Metrics> {
    let region = Region::new("eu-west-1").unwrap();
    let metrics = Arc::new(Metrics::new(&region, &DEFAULT_BUCKETS));
    let path = Path { peer: region, target: TargetName::new("edge-a").unwrap(), kind: probe::ICMP };
    let shape = Shape { duplicates: true, ..Shape::new([Phase::Rtt], []) };
    let series = metrics.path(&path, shape);
    let size = |paths| {
        metrics
            .expose(Exposed { paths: std::iter::repeat_n(Arc::clone(&series), paths).collect(), ..Exposed::default() });
        let (mut page, mut out) = (metrics.page(Collect::All), Vec::new());
        while page.next(&mut out) {}
        // What the process says of itself changes its length from page to page.
        let lines = std::str::from_utf8(&out).unwrap().lines();
        lines.filter(|line| !line.contains("process_")).map(|line| line.len() + 1).sum::<usize>()
    };
    let (fixed, each) = (size(1), size(2) - size(1));
    let paths = std::iter::repeat_n(series, bytes.saturating_sub(fixed).div_ceil(each) + 1).collect();
    metrics.expose(Exposed { paths, ..Exposed::default() });
    metrics
}

/// What a test changes about the server it starts.
pub(crate) struct Setup {
    pub(crate) page: usize,
    pub(crate) lifecycle: bool,
    pub(crate) prober: Prober,
    pub(crate) limits: Limits,
    pub(crate) keys: Option<Keys>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { page: 200_000, lifecycle: true, prober: Prober::Answers, limits: Limits::default(), keys: None }
    }
}

impl Setup {
    pub(crate) fn run(self) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let ready = Arc::new(AtomicBool::new(true));
        let (queries, queried) = mpsc::channel(4);
        let copies = Arc::<Copies>::default();
        let counting = Arc::clone(&copies);
        thread::spawn(move || answer_queries(queried, self.prober, self.keys, &counting));
        let state = ServerState {
            metrics: metrics_of(self.page),
            queries,
            lifecycle: self.lifecycle,
            vantages: KnownVantages::default(),
            external_url: watch::Sender::new(None).subscribe(),
            ready: Arc::clone(&ready),
            region: Region::new("eu-west-1").unwrap(),
            environment: None,
            version: "1.2.3",
        };
        let (stop, stopped) = oneshot::channel();
        let server = server::spawn(listener, state, self.limits, async {
            let _ = stopped.await;
        });
        Running { addr, ready, copies, stop: Some(stop), server: Some(server.unwrap()) }
    }
}

pub(crate) fn history(target: usize, samples: usize) -> PathHistory {
    let path = Path {
        peer: Region::new("us-east-1").unwrap(),
        target: TargetName::new(&format!("edge-{target}")).unwrap(),
        kind: probe::TCP,
    };
    let ok = Timings::single(Phase::Connect, Duration::from_micros(80_012), StampSource::Kernel);
    let samples = (0..samples as u64)
        .map(|n| {
            let outcome = if n % 2 == 0 { Ok(ok) } else { Err(Failure::Timeout) };
            Record::one(1_795_230_245_123_456_789 + n * 250_000_000, outcome, (n % 2 == 1).then_some(Phase::Connect))
        })
        .collect();
    PathHistory { path, samples }
}

/// What the stand-in knows: one peer that is healthy, with one path.
fn overview() -> Overview {
    // So many peers make the page of the configuration longer than what the kernel holds for a client.
    let probes = "probes: [{kind: http, url: 'http://192.0.2.1/', bearer_token: hush}]";
    let peer = |region: String| format!("{{region: {region}, targets: [{{name: edge-7, host: 192.0.2.1, {probes}}}]}}");
    let peers: Vec<_> =
        std::iter::once("us-east-1".to_owned()).chain((0..100).map(|n| format!("other-{n}"))).map(peer).collect();
    let text = format!("region: eu-west-1\npeers: [{}]", peers.join(", "));
    let config =
        Config::load(Some(("c.yaml".as_ref(), &text)), []).unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
    let at = UnixMillis(1_795_230_245_123);
    let PathHistory { path, .. } = history(7, 0);
    let paths = vec![PathView { path: path.clone(), trace: Trace::new(Instant::now()), last: None, failed: None }];
    let peer = PeerView {
        order: regionwatch::status::FailoverOrder::None,
        incident_over_at: None,
        stated: None,
        operator_order: None,
        restrictions: Vec::new(),
        region: path.peer,
        state: PeerState::Healthy,
        rule: Rule::Answers,
        since: at,
        tally: Tally::default(),
        vote: Vote::Up,
        said: Vec::new(),
        vote_problem: None,
        good_at: Some(at),
        kinds: vec![KindView { kind: path.kind, summary: None, answered: false }],
        paths,
    };
    Overview {
        at,
        instant: Instant::now(),
        uptime: Duration::from_secs(3_600),
        config: Arc::new(config),
        isolation_reason: None,
        health_score: 0,
        anchors: Vec::new(),
        peers: vec![peer],
        witnesses: Vec::new(),
        databases: Vec::new(),
        ranking: Vec::new(),
        incidents: Vec::new(),
        alertmanagers: Vec::new(),
    }
}

/// Why the one peer that it knows is healthy.
fn explanation(region: Region) -> Option<Explanation> {
    let known = overview().peers.into_iter().find(|peer| peer.region == region)?;
    Some(Explanation {
        region,
        state: known.state,
        since: Instant::now(),
        rule: known.rule,
        isolation: None,
        failing: None,
        quality: None,
        paths: Vec::new(),
        own: known.vote,
        ballots: Vec::new(),
        tally: known.tally,
        next_votes: Vec::new(),
        incident: None,
        stated: None,
        operator_order: None,
        restrictions: Vec::new(),
        failed_over: Vec::new(),
    })
}

fn answer_queries(mut queried: mpsc::Receiver<Query>, prober: Prober, keys: Option<Keys>, copies: &Copies) {
    let mut kept = Vec::new();
    let mut seq = 0;
    while let Some(query) = queried.blocking_recv() {
        match (prober, query) {
            (Prober::Silent, query) => kept.push(query),
            (Prober::RefusesReload, Query::Reload(reply)) => {
                let _ = reply.send(Err("regions.yml:3: peers: is empty\nregions.yml:9: zone: unknown".to_owned()));
            }
            (_, Query::Votes(reply)) => {
                seq += 1;
                let vantage = Region::new("eu-west-1").unwrap();
                let message = VoteMessage::new(vantage, (BOOT, seq), false, Vec::new(), Vec::new()).unwrap();
                drop(reply.send(EncodedVotes { body: message.encode().unwrap(), keys: keys.clone() }));
            }
            (_, Query::Overview(reply)) => {
                copies.overviews.fetch_add(1, Ordering::Relaxed);
                drop(reply.send(overview()));
            }
            (_, Query::Explain { region, reply }) => drop(reply.send(explanation(region))),
            (_, Query::Reload(reply)) => drop(reply.send(Ok(()))),
            (_, Query::Command { value, reply }) => {
                let refused = Err("the signature is not that of the operator".to_owned());
                drop(reply.send(if &*value == b"signed" { Ok("done".to_owned()) } else { refused }));
            }
            (_, Query::Probes { filter, reply }) => {
                // One more than the limit allows: the server does not trust the answer.
                let all = (0..20_000).map(|target| history(target, 2)).filter(|history| filter.matches(&history.path));
                copies.histories.fetch_add(1, Ordering::Relaxed);
                let paths = all.take(filter.paths + 1).collect();
                drop(reply.send(Histories { paths, ..Histories::default() }));
            }
        }
    }
}

impl Running {
    pub(crate) fn stats(&self) -> &ServerStats {
        self.server.as_ref().unwrap().stats()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// A connection whose client can hold little, so that a page it does not read soon stands still.
    pub(crate) fn connect_small(&self) -> TcpStream {
        let stream = self.connect();
        socket2::SockRef::from(&stream).set_recv_buffer_size(16 << 10).unwrap();
        stream
    }

    /// Sends the bytes and reads all that comes until the server closes.
    pub(crate) fn raw(&self, request: &str) -> Vec<u8> {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str) -> Answer {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n");
        Answer::parse(&self.raw(&request))
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }

    /// Asks for a scrape and says how long the whole answer took, of the time that the machine gave.
    pub(crate) fn scrape(&self) -> Duration {
        let (start, stalls) = (Instant::now(), Stalls::watch());
        assert_eq!(self.get("/metrics").status, 200);
        start.elapsed().saturating_sub(stalls.sum())
    }

    /// Waits until no connection is left: nothing leaks.
    pub(crate) fn settles(&self) {
        eventually("every connection is gone", || self.stats().connections() == 0);
    }

    /// Ends the server and says how long that took.
    pub(crate) fn stop(mut self) -> Duration {
        let start = Instant::now();
        let _ = self.stop.take().unwrap().send(());
        self.server.take().unwrap().join().unwrap();
        start.elapsed()
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Patience::of(Duration::from_secs(20));
    while !holds() {
        assert!(!patience.is_over(), "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Without chunk framing.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Self { status, head, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 4 + length..];
    }
    panic!("the last chunk is missing");
}

/// Runs the named test again in a process of its own, after the shell command, and says whether this is that
/// process: for tests about what a process has as a whole, such as memory and descriptors.
pub(crate) fn alone(test: &str, shell: &str) -> bool {
    const MARK: &str = "REGIONWATCH_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let binary = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" --exact {test} --nocapture")])
        .arg(binary)
        .env(MARK, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    false
}

pub(crate) fn gunzipped(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}
