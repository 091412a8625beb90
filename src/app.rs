//! Wiring, reload, shutdown: builds everything of a configuration, and then owns the engine and the main loop.

mod commands;
mod copying;
mod error;
mod log;
mod measuring;
mod once;
mod probers;
mod reloading;
mod state_dir;
mod system;

use std::{
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
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{info, warn};

pub use self::{
    error::RunError,
    log::ConfigSource,
    once::{Tried, probe_once},
    probers::{descriptors, prober},
    reloading::Reload,
};
use self::{
    measuring::{App, now},
    probers::check_descriptors,
    reloading::Reloading,
    system::trust_store,
};
use crate::{
    config::Config,
    engine::Input,
    metrics::Metrics,
    net::{TimestampingGuard, TlsContext, raise_descriptor_limit, tune_allocator},
    schedule::{Schedule, SlotTimer},
    server::{self, KnownVantages, Limits, Query, ServerState},
};

/// Events that may wait for the engine: what a thousand paths can produce in a stall of a second.
const EVENTS: usize = 4096;

/// Answers of sidecars that may wait to be read; with the largest bodies, 16 MiB.
const RESPONSES: usize = 64;

/// After how many seconds the server learns the addresses of the vantages again.
const VANTAGES_EVERY: u32 = 5;

/// Events that are recorded at once.
const BATCH: usize = 256;

/// Binds the address to serve on.
///
/// # Errors
/// [`RunError::Listen`], or fewer open files are allowed than anything here needs.
pub fn bind(address: SocketAddr) -> Result<TcpListener, RunError> {
    raise_descriptor_limit()?;
    TcpListener::bind(address).map_err(|source| RunError::Listen { address, source })
}

/// Measures and serves until SIGTERM or SIGINT, or until `stop` is ready.
///
/// # Errors
/// Whatever keeps it from starting, or ends a part of it.
pub fn run(
    listener: TcpListener,
    config: Config,
    source: ConfigSource,
    reload: Reload,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    tune_allocator();
    check_descriptors(&config, raise_descriptor_limit()?);
    let (tls, reload) = trust_store(&config, reload)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // As a task, because waking the future that the runtime blocks on costs a system call each time.
    let result = runtime.block_on(async {
        let watching = tokio::spawn(watch(config, source, tls, listener, reload, stop));
        watching.await.unwrap_or(Err(RunError::Ended("main loop")))
    });
    runtime.shutdown_background();
    result
}

async fn watch(
    config: Config,
    source: ConfigSource,
    tls: Arc<TlsContext>,
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

    let metrics = Arc::new(Metrics::of(&config));
    let (queries, mut queried) = mpsc::channel(16);
    let ready = Arc::new(AtomicBool::new(false));
    let vantages = KnownVantages::default();
    let external_url = watch::Sender::new(config.external_url.clone());
    let state = ServerState {
        metrics: Arc::clone(&metrics),
        queries,
        lifecycle: config.enable_lifecycle,
        external_url: external_url.subscribe(),
        ready: Arc::clone(&ready),
        vantages: vantages.clone(),
        region: config.region.clone(),
        environment: config.environment.clone(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let address = listener.local_addr()?;
    let (stop_server, stopped) = oneshot::channel::<()>();
    let limits = Limits::default().within(server::cpu_quota());
    let server = server::spawn(listener, state, limits, async move {
        let _ = stopped.await;
    })?;

    let (events, mut happened) = mpsc::channel(EVENTS);
    let (commands, commanded) = mpsc::unbounded_channel();
    let mut schedule = tokio::spawn(Schedule::default().run(SlotTimer::new(), commanded, events.clone()));
    let (responses, mut responded) = mpsc::channel(RESPONSES);
    let (database_news, mut database_told) = mpsc::channel(EVENTS);
    let mut app = App::new(config, tls, metrics, commands, events, responses, database_news)?;
    ready.store(true, Ordering::Release);
    log::log_start(&source, address, app.config());

    let mut batch = Vec::with_capacity(BATCH);
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ticks = 0_u32;
    let mut reloading = Reloading::new(reload);
    loop {
        let wake_at = app.wake_at();
        tokio::select! {
            _ = happened.recv_many(&mut batch, BATCH) => {
                app.dispatch(Input::Events(&mut batch), now());
            }
            Some(response) = responded.recv() => app.dispatch(Input::VoteResponse(&response), now()),
            Some(event) = database_told.recv() => app.dispatch(Input::Database(&event), now()),
            Some(restored) = app.restored() => app.restore(&restored),
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                app.dispatch(Input::Timer, now());
            }
            _ = seconds.tick() => {
                if server.is_finished() {
                    return Err(RunError::Ended("HTTP server"));
                }
                app.dispatch(Input::Tick, now());
                if ticks.is_multiple_of(VANTAGES_EVERY) {
                    vantages.set(app.vantage_addresses());
                }
                ticks = ticks.wrapping_add(1);
            }
            Some(query) = queried.recv() => match query {
                Query::Reload(reply) => reloading.request(reply),
                query => app.answer(query, now()),
            },
            // Probes and what happens to them have their turn in between.
            () = tokio::task::yield_now(), if app.is_copying() => app.copy_some(),
            Some(()) = hangup.recv() => reloading.begin(),
            loaded = reloading.read() => {
                let result = app.reload(loaded);
                external_url.send_replace(app.config().external_url.clone());
                reloading.finish(&result);
            }
            _ = &mut schedule => return Err(RunError::Ended("schedule")),
            why = &mut end => {
                info!(why, "stopping");
                // Requests that wait for a file are not waited for.
                drop((reloading, queried));
                let _ = stop_server.send(());
                return server.join().map_err(|_| RunError::Ended("HTTP server"));
            }
        }
    }
}

async fn ended(mut terminate: Signal, mut interrupt: Signal, stop: impl Future<Output = ()>) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = stop => "asked to",
    }
}
