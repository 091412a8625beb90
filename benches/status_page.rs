//! What the status page costs: 50 peers with 4 probes each, every window, trace and history full, every peer voting, and
//! 20 of them down.
//! Prints CPU time a page, split into the copy that the probing thread makes and the whole. Ends with 2 where a bound
//! is broken: 1 ms for the copy, 10 ms for all of it.

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use regionwatch::{
    config::Config,
    decision::{
        Now,
        votes::{PeerVoteEntry, RankEntry, VoteMessage},
    },
    engine::{Engine, Input, Topology},
    metrics::Metrics,
    model::{
        Failure, FailureContext, Nonce, PathId, PeerFacts, PeerState, Phase, PhaseTimes, Region, Sample, StampSource,
        Timings, UnixMillis, Vote, VoteResponse,
    },
    schedule::{Event, SlotPhase},
    server::{self, Histories, KnownVantages, Limits, Query, ServerState},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PEERS: usize = 50;
const PROBES: usize = 4;
/// How many of the peers are down, and for how many steps.
const DEAD: usize = 20;
const DEAD_STEPS: u32 = 60;
const PAGES: u32 = 200;
/// How long has been measured before: a whole window.
const BEFORE: Duration = Duration::from_secs(305);
const INTERVAL: Duration = Duration::from_millis(250);

const MOST_COPY: f64 = 1.0;
const MOST_ALL: f64 = 10.0;

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("status_page: runs by `cargo bench --bench status_page` (or with --bench) only");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("status_page: {error}");
            ExitCode::FAILURE
        }
    }
}

fn configuration() -> Result<Config> {
    let probe = |n: usize| {
        format!(
            "{{region: region-{n:02}, location: {{latitude: {n}, longitude: {n}}}, targets: [{{name: edge, \
             host: 192.0.2.{n}, probes: [{{kind: icmp}}, {{kind: tcp, port: 443}}, {{kind: dns, query: a.example}}, \
             {{kind: http, url: 'http://192.0.2.{n}/api/v1/regions', sidecar: true, interval: 250ms}}]}}]}}"
        )
    };
    let peers: Vec<_> = (1..=PEERS).map(probe).collect();
    let text = format!("region: here\nlocation: {{latitude: 0, longitude: 0}}\npeers: [{}]", peers.join(",\n"));
    let loaded = Config::load(Some(("bench.yaml".as_ref(), &text)), []).map_err(|mistakes| mistakes.to_string())?;
    Ok(loaded.config)
}

/// A engine that has seen five minutes of everything; one probe in 50 failed.
fn engine(config: &Arc<Config>, start: Instant) -> Result<Engine> {
    let now = |instant| Now { instant, unix: UnixMillis(1_795_230_245_123) };
    let metrics = Arc::new(Metrics::of(config));
    let mut engine = Engine::new(metrics, Arc::clone(config), start);
    let topology = Topology::first(Arc::clone(config), SlotPhase::random());
    let count = u32::try_from(topology.path_count())?;
    let regions: Vec<Region> = config.peers.iter().map(|peer| peer.region.clone()).collect();
    engine.handle(Input::Topology(&topology), now(start));
    let steps = u32::try_from(BEFORE.as_millis() / INTERVAL.as_millis())?;
    for step in 0..steps {
        let at = start + INTERVAL * step;
        for path in 1..=count {
            let mut phases = PhaseTimes::default();
            phases.add(Phase::Connect, Duration::from_micros(u64::from(20_000 + path * 100 + step * 7919 % 5_000)));
            phases.add(Phase::Processing, Duration::from_micros(u64::from(1_000 + step % 700)));
            let dead = path as usize <= DEAD * PROBES && step + DEAD_STEPS >= steps;
            let failed = dead || (step * 31 + path) % 50 == 0;
            let outcome = if failed { Err(Failure::Timeout) } else { Ok(Timings::new(phases, StampSource::Kernel)) };
            let sent_at_unix = 1_795_230_245_123_000_000 + u64::from(step) * 250_000_000;
            let event = Event::Sampled {
                sample: Sample { path: PathId(path), sent_at: at, sent_at_unix, outcome },
                start_delay: Duration::ZERO,
                late: 0,
                duplicates: 0,
                failed: FailureContext::from(failed.then_some(Phase::Connect)),
                facts: PeerFacts::default(),
            };
            engine.handle(Input::Events(&mut vec![event]), now(at));
        }
        if step % 4 == 0 {
            let dying = step + DEAD_STEPS >= steps;
            let voters = regions.iter().skip(DEAD);
            voters.for_each(|from| vote(&mut engine, from, &regions, (dying, step), now(at)));
            engine.handle(Input::Tick, now(at));
        }
    }
    let down = engine.vantage().peers().filter(|standing| standing.state == PeerState::Down).count();
    if down != DEAD {
        return Err(format!("{down} peers are down, not {DEAD}").into());
    }
    Ok(engine)
}

/// A peer votes on all others, and publishes who could replace it.
fn vote(engine: &mut Engine, from: &Region, regions: &[Region], (dying, step): (bool, u32), now: Now) {
    let others = || regions.iter().enumerate().filter(|(_, region)| *region != from);
    let entry = |(n, region): (usize, &Region)| PeerVoteEntry {
        region: region.clone(),
        state: PeerState::Healthy,
        since_ms: 0,
        vote: if dying && n < DEAD { Vote::Down } else { Vote::Up },
        last_answer_age_ms: Some(0),
        alive_age_ms: Some(0),
        unserved_ms: None,
        onset: None,
        incident: None,
        held: None,
        order: None,
        mode: None,
        target: None,
        failed_over: None,
        operator_order: false,
    };
    let rank_entry = |(rank, (_, region)): (u32, (usize, &Region))| RankEntry {
        region: region.clone(),
        rank: Some(rank),
        score: None,
        eligible: true,
        reasons: Vec::new(),
    };
    let ranking = (1..).zip(others()).map(rank_entry).collect();
    let message = VoteMessage::new(from.clone(), (1, step.into()), false, others().map(entry).collect(), ranking);
    let response = VoteResponse {
        peer: from.clone(),
        nonce: Nonce(0),
        body: Some(message.and_then(|message| message.encode()).expect("a valid message")),
        signature: None,
        trusted_transport: true,
        requested_at: now.instant,
        received_at: now.instant,
    };
    engine.handle(Input::VoteResponse(&response), now);
}

/// CPU time of all tasks of this process so far, in ns (`Documentation/scheduler/sched-stats`).
fn used() -> Result<u64> {
    let each = |task: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        Ok(text.split(' ').next().ok_or("no number")?.parse::<u64>()?)
    };
    fs::read_dir("/proc/self/task")?.map(each).sum()
}

fn run() -> Result<bool> {
    let config = Arc::new(configuration()?);
    let start = Instant::now();
    let engine = engine(&config, start)?;
    let now = move || Now { instant: start + BEFORE, unix: UnixMillis(1_795_230_550_123) };

    let (queries, mut queried) = mpsc::channel(16);
    let state = ServerState {
        metrics: Arc::new(Metrics::of(&config)),
        queries,
        lifecycle: false,
        vantages: KnownVantages::default(),
        external_url: watch::Sender::new(None).subscribe(),
        ready: Arc::default(),
        region: config.region.clone(),
        environment: None,
        version: "bench",
    };
    // No copy and no page is used a second time.
    let limits = Limits { overview_max_age: Duration::ZERO, ..Limits::default() };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = server::spawn(listener, state, limits, async move {
        let _ = stopped.await;
    })?;
    let copies = Arc::new(Mutex::new(Vec::new()));
    let costs = Arc::clone(&copies);
    let prober = thread::spawn(move || {
        while let Some(query) = queried.blocking_recv() {
            match query {
                Query::Overview(reply) => {
                    // By the clock, as CPU time of a thread that runs is not counted so finely; the median is not
                    // disturbed by others.
                    let before = Instant::now();
                    let overview = engine.overview(Vec::new(), now());
                    let cost = before.elapsed().as_secs_f64() * 1e3;
                    costs.lock().unwrap_or_else(PoisonError::into_inner).push(cost);
                    let _ = reply.send(overview);
                }
                Query::Probes { filter, reply } => {
                    let found = engine.matching(|path| filter.matches(path), filter.paths);
                    let paths = found.into_iter().filter_map(|path| engine.history(path)).collect();
                    let _ = reply.send(Histories { paths, ..Histories::default() });
                }
                Query::Explain { region, reply } => drop(reply.send(engine.explain(&region, now()))),
                Query::Votes(_) | Query::Reload(_) | Query::Command { .. } => {}
            }
        }
    });

    println!("{PEERS} peers with {PROBES} probes each, {DEAD} of them down, {PAGES} pages each\n");
    println!("| page | bytes | CPU ms a page |\n| --- | ---: | ---: |");
    let mut met = true;
    for (name, path, headers) in [
        ("/", "/", ""),
        ("/ in gzip", "/", "Accept-Encoding: gzip\r\n"),
        ("/peer/region-01", "/peer/region-01", ""),
        ("/path/region-01/edge/tcp", "/path/region-01/edge/tcp", ""),
        ("/config", "/config", ""),
    ] {
        let bytes = get(address, path, headers)?;
        let before = used()?;
        for _ in 0..PAGES {
            get(address, path, headers)?;
        }
        let cost = (used()? - before) as f64 / 1e6 / f64::from(PAGES);
        println!("| {name} | {bytes} | {cost:.2} |");
        met &= cost <= MOST_ALL;
    }
    let _ = stop.send(());
    server.join().map_err(|_| "the server has panicked")?;
    prober.join().map_err(|_| "the prober has panicked")?;
    let mut copies = copies.lock().unwrap_or_else(PoisonError::into_inner);
    copies.sort_by(f64::total_cmp);
    let quantile = |q: f64| copies.get(((copies.len() - 1) as f64 * q) as usize).copied().unwrap_or(f64::NAN);
    println!("\ncopy on the probing thread, ms: p50 {:.3}, p99 {:.3}", quantile(0.5), quantile(0.99));
    met &= quantile(0.5) <= MOST_COPY;
    println!("bounds: {MOST_COPY} ms for the copy, {MOST_ALL} ms for a page: {}", if met { "PASS" } else { "MISS" });
    Ok(met)
}

/// The bytes of an answer that must be there.
fn get(address: SocketAddr, path: &str, headers: &str) -> Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("{path}: {}", String::from_utf8_lossy(&answer[..answer.len().min(200)])).into());
    }
    Ok(answer.len())
}
