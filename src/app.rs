//! Wiring, reload, shutdown: builds everything of a configuration, and then owns the engine and the main loop.

mod probers;
mod reloading;
mod votes;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{error, info, warn};

use self::{
    probers::{anchor_prober, check_descriptors},
    reloading::{Reloading, check_restart_only},
    votes::Votes,
};
pub use self::{
    probers::{descriptors, prober},
    reloading::Reload,
};
use crate::{
    alert::{Notifier, Restored, Setup},
    config::{self, Config, Loaded, ProbeConfig},
    decision::{Now, PathInfo, StateChange, Transition},
    engine::{Anchor, Engine, PathSetup, Topology},
    metrics::Metrics,
    model::{Incident, Path, PathId, PeerState, Region, Tally, TargetName, UnixMillis, VoteResponse},
    net::{ClientError, Resolver, Timestamp, TimestampingGuard, TlsContext, tune_allocator},
    probe::{self, ResponseSender, SetupError},
    schedule::{Command, Event, Launcher, OverdueAfter, Schedule, SlotPhase, SlotTimer},
    server::{self, Limits, Query, ServerState},
};

/// Events that may wait for the engine: what a thousand paths can produce in a stall of a second.
const EVENTS: usize = 4096;

/// Replies of sidecars that may wait to be read; with the largest bodies, 16 MiB.
const REPLIES: usize = 64;

/// How long an anchor's answer is waited for: less than a peer that falls silent takes to be suspected.
const ANCHOR_OVERDUE_AFTER: Duration = Duration::from_millis(300);

/// Events that are recorded at once.
const BATCH: usize = 256;

/// Why the program could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A probe cannot be built.
    #[error("{path}: {source}")]
    Probe {
        /// Its path.
        path: Path,
        /// Why.
        source: SetupError,
    },
    /// An Alertmanager cannot be reached by this URL.
    #[error("alertmanagers: {0}")]
    Notifier(ClientError),
    /// The system refused something that is needed.
    #[error("{0}")]
    System(#[from] io::Error),
    /// A part that must run for the life of the process ended.
    #[error("the {0} ended unexpectedly")]
    Ended(&'static str),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or give another --listen address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: give another --listen address",
        io::ErrorKind::AddrNotAvailable => "; this host does not have that address",
        _ => "",
    }
}

/// A path as it is measured now.
struct Running {
    id: PathId,
    probe: ProbeConfig,
    overdue_after: OverdueAfter,
}

/// What of a new configuration has been built and waits to be put in force.
struct Built {
    path: Path,
    id: PathId,
    probe: ProbeConfig,
    unchanged: bool,
    launcher: Option<Launcher>,
}

struct App {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    engine: Engine,
    votes: Votes,
    resolver: Resolver,
    tls: TlsContext,
    running: HashMap<Path, Running>,
    anchors: Vec<(config::Anchor, PathId)>,
    next_id: u32,
    /// The phases of the targets, by which a target keeps its slots over a reload, and the last one given out.
    phases: HashMap<(Region, TargetName), SlotPhase>,
    last_phase: SlotPhase,
    changes: mpsc::UnboundedSender<Command>,
    events: mpsc::Sender<Event>,
    replies: mpsc::Sender<VoteResponse>,
    notifier: Notifier,
}

/// Binds the address to serve on.
///
/// # Errors
/// [`RunError::Listen`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).map_err(|source| RunError::Listen { address, source })
}

/// Measures and serves until SIGTERM or SIGINT, or until `stop` is ready.
///
/// # Errors
/// Whatever keeps it from starting, or ends a part of it.
pub fn run(
    listener: TcpListener,
    config: Config,
    reload: Reload,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    tune_allocator();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // As a task, because waking the future that the runtime blocks on costs a system call each time.
    let result = runtime.block_on(async {
        let watching = tokio::spawn(watch(config, listener, reload, stop));
        watching.await.unwrap_or(Err(RunError::Ended("main loop")))
    });
    // Without waiting for a file that is being read.
    runtime.shutdown_background();
    result
}

async fn watch(
    config: Config,
    listener: TcpListener,
    reload: Reload,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let mut end = pin!(ended(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, stop));
    let mut hangup = signal(SignalKind::hangup())?;
    let keeper = TimestampingGuard::hold();
    if !keeper.available() {
        warn!("the kernel provides no socket timestamps: latencies are measured with the clock of this process");
    }
    check_descriptors(&config);

    let metrics = Arc::new(Metrics::new(&config.region, &config.buckets));
    let (queries, mut queried) = mpsc::channel(16);
    let ready = Arc::new(AtomicBool::new(false));
    let state = ServerState {
        metrics: Arc::clone(&metrics),
        queries,
        lifecycle: config.enable_lifecycle,
        ready: Arc::clone(&ready),
        region: config.region.clone(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let address = listener.local_addr()?;
    let (stop_server, stopped) = oneshot::channel::<()>();
    let server = server::spawn(listener, state, Limits::default(), async move {
        let _ = stopped.await;
    })?;

    let (events, mut happened) = mpsc::channel(EVENTS);
    let (changes, changed) = mpsc::unbounded_channel();
    let mut schedule = tokio::spawn(Schedule::default().run(SlotTimer::new(), changed, events.clone()));
    let (replies, mut replied) = mpsc::channel(REPLIES);
    let mut app = App::new(config, metrics, changes, events, replies)?;
    let built = app.build(&Arc::clone(&app.config))?;
    app.put_in_force(Arc::clone(&app.config), built);
    ready.store(true, Ordering::Release);
    info!(%address, region = %app.config.region, paths = app.running.len(), "measuring");

    let mut batch = Vec::with_capacity(BATCH);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut reloading = Reloading::new(reload);
    loop {
        let wake_at = app.engine.wake_at();
        tokio::select! {
            _ = happened.recv_many(&mut batch, BATCH) => {
                let now = now();
                batch.drain(..).for_each(|event| app.engine.record(event, now));
                app.follow(now);
            }
            Some(reply) = replied.recv() => app.hear(&reply),
            Some(restored) = app.notifier.restored().recv() => app.restore(&restored),
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                let now = now();
                app.engine.wake(now);
                app.follow(now);
            }
            _ = seconds.tick() => {
                if server.is_finished() {
                    return Err(RunError::Ended("HTTP server"));
                }
                let now = now();
                app.engine.tick(now);
                app.follow(now);
            }
            Some(query) = queried.recv() => match query {
                Query::Probes { filter, reply } => {
                    let _ = reply.send(app.engine.histories(|path| filter.matches(path), filter.limit));
                }
                Query::Overview(reply) => {
                    let _ = reply.send(app.engine.overview(Arc::clone(&app.config), now()));
                }
                Query::Votes(reply) => {
                    if let Some(message) = app.votes.publish(&app.config.region, &app.engine, now()) {
                        let _ = reply.send(message);
                    }
                }
                Query::Reload(reply) => {
                    reloading.waiting.push(reply);
                    reloading.begin();
                }
            },
            Some(()) = hangup.recv() => reloading.begin(),
            loaded = reloading.read() => reloading.tell(&app.take(loaded)),
            _ = &mut schedule => return Err(RunError::Ended("schedule")),
            why = &mut end => {
                info!(why, "stopping");
                let _ = stop_server.send(());
                return server.join().map_err(|_| RunError::Ended("HTTP server"));
            }
        }
    }
}

/// This moment on both clocks.
fn now() -> Now {
    Now { instant: Instant::now(), unix: UnixMillis(Timestamp::now().unix_nanos() / 1_000_000) }
}

async fn ended(mut terminate: Signal, mut interrupt: Signal, stop: impl Future<Output = ()>) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = stop => "asked to",
    }
}

impl App {
    fn new(
        config: Config,
        metrics: Arc<Metrics>,
        changes: mpsc::UnboundedSender<Command>,
        events: mpsc::Sender<Event>,
        replies: mpsc::Sender<VoteResponse>,
    ) -> Result<Self, RunError> {
        let (resolver, tls) = (Resolver::from_system(), TlsContext::default());
        let notifier = notifier(&config, &resolver, &tls, &metrics)?;
        Ok(Self {
            engine: Engine::new(Arc::clone(&metrics), &config, Instant::now()),
            votes: Votes::new(Arc::clone(&metrics)),
            config: Arc::new(config),
            metrics,
            resolver,
            tls,
            running: HashMap::new(),
            anchors: Vec::new(),
            next_id: 0,
            phases: HashMap::new(),
            last_phase: SlotPhase::random(),
            changes,
            events,
            replies,
            notifier,
        })
    }

    /// Takes what a peer's sidecar has answered.
    fn hear(&mut self, reply: &VoteResponse) {
        if let Some(message) = self.votes.hear(reply) {
            let now = now();
            let (views, candidates) = (votes::views(&message, reply.requested_at), votes::candidates(&message));
            self.engine.hear(&reply.peer, reply.requested_at, views, candidates, now);
            self.follow(now);
        }
    }

    /// Does what follows from what has been heard and seen.
    fn follow(&mut self, now: Now) {
        for path in self.engine.take_extra_probes() {
            let _ = self.changes.send(Command::Probe(path));
        }
        let news = self.engine.take_changes(now);
        // Nothing before this: it is what all of this is for.
        if news.contains(&StateChange::Incidents) {
            self.notifier.publish(self.engine.incidents(now));
        }
        news.iter().for_each(tell);
    }

    /// Goes on with an incident that Alertmanager still holds from before a restart.
    fn restore(&mut self, Restored { alertmanager, incident }: &Restored) {
        let Incident { peer, stage, id, .. } = incident;
        info!(%peer, %stage, %id, %alertmanager, "incident restored from Alertmanager");
        self.engine.restore(incident);
        self.follow(now());
    }

    /// Puts a new configuration in force where it is valid as a whole, and changes nothing where it is not.
    fn take(&mut self, loaded: Result<Loaded, String>) -> Result<(), String> {
        match loaded.and_then(|loaded| self.accept(loaded)) {
            Ok((config, built)) => {
                self.put_in_force(Arc::new(config), built);
                info!(paths = self.running.len(), "configuration reloaded");
                Ok(())
            }
            Err(mistakes) => {
                self.metrics.vantage().config_rejected();
                error!("the configuration was not reloaded, the previous one stays in force:\n{mistakes}");
                Err(mistakes)
            }
        }
    }

    /// Builds what is new in a configuration, and refuses what cannot change while running.
    fn accept(&mut self, loaded: Loaded) -> Result<(Config, Vec<Built>), String> {
        check_restart_only(&self.config, &loaded)?;
        let Loaded { config, warnings, .. } = loaded;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let built = self.build(&config).map_err(|error| error.to_string())?;
        if (&config.alertmanagers, &config.external_url) != (&self.config.alertmanagers, &self.config.external_url) {
            self.notifier =
                notifier(&config, &self.resolver, &self.tls, &self.metrics).map_err(|error| error.to_string())?;
            self.notifier.publish(self.engine.incidents(now()));
        }
        Ok((config, built))
    }

    fn build(&mut self, config: &Config) -> Result<Vec<Built>, RunError> {
        let same_window = config.window == self.config.window;
        let mut built = Vec::new();
        for (path, probe) in config.paths() {
            let running = self.running.get(&path);
            let same = running.is_some_and(|running| running.probe == *probe);
            let id = running.map_or_else(
                || {
                    self.next_id += 1;
                    PathId(self.next_id)
                },
                |running| running.id,
            );
            // A certificate may have been renewed behind the same name.
            let launcher = (!same || probe.spec.reads_files())
                .then(|| {
                    let responses = ResponseSender { peer: path.peer.clone(), response_tx: self.replies.clone() };
                    prober(probe, &self.resolver, &self.tls, self.events.clone(), Some(responses))
                })
                .transpose()
                .map_err(|source| RunError::Probe { path: path.clone(), source })?;
            let unchanged = same && same_window;
            built.push(Built { path, id, probe: probe.clone(), unchanged, launcher });
        }
        Ok(built)
    }

    /// Probes the anchors of a configuration like a peer's TCP port.
    fn anchors(&mut self, config: &Config, starts: &mut Vec<Command>) -> Vec<Anchor> {
        let mut before = std::mem::take(&mut self.anchors);
        let mut anchors = Vec::with_capacity(config.anchors.len());
        for anchor in &config.anchors {
            let kept = before.iter().position(|(known, _)| known == anchor).map(|n| before.swap_remove(n).1);
            let path = kept.unwrap_or_else(|| {
                self.next_id += 1;
                let path = PathId(self.next_id);
                let (cadence, launcher) = anchor_prober(anchor, &self.resolver, self.events.clone());
                self.last_phase = self.last_phase.next();
                let (phase, overdue_after) = (self.last_phase, OverdueAfter::default());
                overdue_after.set(ANCHOR_OVERDUE_AFTER);
                starts.push(Command::Start { path, cadence, phase, overdue_after, launcher });
                path
            });
            self.anchors.push((anchor.clone(), path));
            let target = TargetName::new("anchor").expect("the name is valid");
            let (kind, interval) = (probe::TCP, probe::TCP.default_cadence().interval());
            let lane = PathInfo { path, target, kind, interval, critical: false };
            anchors.push(Anchor { lane, name: anchor.to_string() });
        }
        starts.extend(before.into_iter().map(|(_, path)| Command::Stop(path)));
        anchors
    }

    fn put_in_force(&mut self, config: Arc<Config>, built: Vec<Built>) {
        self.resolver.used_by(config.paths().map(|(path, probe)| (&probe.host, path.peer)));
        let mut before = std::mem::take(&mut self.running);
        let mut setups = Vec::with_capacity(built.len());
        let mut starts = Vec::new();
        let targets: HashSet<_> = built.iter().map(|built| target_of(&built.path)).collect();
        self.phases.retain(|target, _| targets.contains(target));
        let anchors = self.anchors(&config, &mut starts);
        for Built { path, id, probe, unchanged, launcher } in built {
            let overdue_after = before.remove(&path).map(|running| running.overdue_after).unwrap_or_default();
            if let Some(launcher) = launcher {
                let phase = *self.phases.entry(target_of(&path)).or_insert_with(|| {
                    self.last_phase = self.last_phase.next();
                    self.last_phase
                });
                let overdue_after = overdue_after.clone();
                starts.push(Command::Start { path: id, cadence: probe.cadence, phase, overdue_after, launcher });
            }
            setups.push((id, path.clone(), unchanged, overdue_after.clone()));
            self.running.insert(path, Running { id, probe, overdue_after });
        }
        let running = &self.running;
        let paths = setups.into_iter().filter_map(|(id, path, unchanged, overdue_after)| {
            let probe = &running.get(&path)?.probe;
            Some(PathSetup { id, path, probe, unchanged, overdue_after })
        });
        let topology = Topology { paths: paths.collect(), anchors, config: &config, votes: self.votes.listen(&config) };
        let now = now();
        self.engine.reconfigure(topology, now);
        self.follow(now);
        let stops = before.into_values().map(|running| Command::Stop(running.id));
        for change in stops.chain(starts) {
            // Never waits: the schedule may itself be waiting for this loop to take its events. It ends only with
            // the process.
            let _ = self.changes.send(change);
        }
        self.metrics.vantage().config_loaded(Duration::from_nanos(Timestamp::now().unix_nanos()));
        self.config = config;
    }
}

fn notifier(config: &Config, resolver: &Resolver, tls: &TlsContext, metrics: &Metrics) -> Result<Notifier, RunError> {
    let setup = Setup {
        vantage: &config.region,
        alertmanagers: &config.alertmanagers,
        external_url: config.external_url.as_ref(),
    };
    Notifier::spawn(setup, resolver, tls, metrics).map_err(RunError::Notifier)
}

fn tell(news: &StateChange) {
    match news {
        StateChange::State { peer, transition: Transition { from, to }, tally } => {
            let Tally { down, up, voters, needed, .. } = tally;
            match to {
                PeerState::Down => {
                    warn!(%peer, %from, %to, down, up, voters, needed, confirmed = tally.reached, "the peer is down");
                }
                PeerState::Suspect => info!(%peer, %from, %to, "the peer does not answer; asking the other vantages"),
                _ => info!(%peer, %from, %to, down, up, voters, needed, "the peer's state has changed"),
            }
        }
        StateChange::Isolated(Some(why)) => {
            warn!(%why, "this vantage appears to be isolated; it reports no peer as down")
        }
        StateChange::Isolated(None) => info!("this vantage is no longer isolated"),
        StateChange::Incidents => {}
    }
}

fn target_of(path: &Path) -> (Region, TargetName) {
    (path.peer.clone(), path.target.clone())
}
