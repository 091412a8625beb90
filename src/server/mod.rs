//! The HTTP server: `/metrics`, the JSON API, health, reload.
//!
//! It runs on a thread and a runtime of its own, so that a scrape never delays a probe; what only the probing
//! thread knows is asked for by a [`Query`]. It is built to be reached by anyone: connections, heads, answers
//! and the time for each of them are limited (see [`Limits`]), and a scrape is answered at once however many
//! clients hang on.
//!
//! `mod` accepts, `connections` decides who has to go, by the `progress` that `transport` notes, `routes`
//! answers, `body` streams long answers.

mod api;
mod body;
mod connections;
mod encoding;
mod health;
mod html;
mod limits;
mod page;
mod progress;
mod query;
mod routes;
mod transport;

use std::{
    convert::Infallible,
    io,
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use bytes::Bytes;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

pub use self::{api::PathFilter, connections::ServerStats, health::probe_health, limits::Limits};
use self::{
    connections::{ConnGuard, Connections},
    routes::Routes,
    transport::Transport,
};
use crate::{metrics::Metrics, model::Region, quorum::Keys, status::Overview, window::PathHistory};

/// What is served.
pub struct ServerState {
    /// The metrics behind `/metrics`.
    pub metrics: Arc<Metrics>,
    /// The way to the probing thread.
    pub queries: mpsc::Sender<Query>,
    /// Whether `POST /-/reload` is served.
    pub lifecycle: bool,
    /// What `/-/ready` says.
    pub ready: Arc<AtomicBool>,
    /// The vantage region, for the status page.
    pub region: Region,
    /// The version of this program, for the status page.
    pub version: &'static str,
}

/// What must be asked of the probing thread. Who does not wait any more has dropped the receiver.
#[derive(Debug)]
pub enum Query {
    /// Read the configuration again; the error is every mistake as text, one a line.
    Reload(oneshot::Sender<Result<(), String>>),
    /// The bulletin, encoded; dropped where there is none.
    Votes(oneshot::Sender<EncodedVotes>),
    /// Everything that the status page tells.
    Overview(oneshot::Sender<Overview>),
    /// The recent probes of some paths.
    Probes {
        /// Which paths, and how many at the most.
        filter: PathFilter,
        /// Where the answer goes, in an order that does not change from one request to the next.
        reply: oneshot::Sender<Vec<PathHistory>>,
    },
}

/// What this vantage publishes.
#[derive(Debug, Clone)]
pub struct EncodedVotes {
    /// The bulletin, encoded.
    pub body: Bytes,
    /// What signs it for those who ask with a nonce.
    pub keys: Option<Keys>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    stats: Arc<ServerStats>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    /// What the server is bearing now.
    pub fn stats(&self) -> &Arc<ServerStats> {
        &self.stats
    }

    /// Whether the server has ended, by its stop signal or a panic.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits, blocking the thread, until the server has ended after its stop signal.
    ///
    /// # Errors
    /// What the server's thread panicked with; a release build aborts instead.
    pub fn join(self) -> thread::Result<()> {
        self.thread.join()
    }
}

/// Serves on a thread of its own until `stop` is ready; answers in flight then get [`Limits::shutdown_grace`].
///
/// # Errors
/// The runtime or the thread could not be made, or the listener is not usable.
pub fn spawn(
    listener: std::net::TcpListener,
    state: ServerState,
    limits: Limits,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Server> {
    listener.set_nonblocking(true)?;
    let socket = socket2::SockRef::from(&listener);
    // Accepted connections inherit the size of the listener's buffer.
    socket.set_send_buffer_size(limits.send_buffer)?;
    // Listening again changes the length of the queue, which std sets to 128.
    socket.listen(limits.backlog)?;
    // Sockets are looked at after every few tasks: a task may be a chunk of a page, some 100 µs long.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(7).build()?;
    let listener = {
        let _context = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let stats = Arc::<ServerStats>::default();
    let shared = Arc::clone(&stats);
    let thread = thread::Builder::new()
        .name("server".to_owned())
        .spawn(move || runtime.block_on(serve(listener, state, limits, shared, stop)))?;
    Ok(Server { stats, thread })
}

/// Serves in the current task until `stop` is ready; answers in flight then get [`Limits::shutdown_grace`].
pub async fn serve(
    listener: TcpListener,
    state: ServerState,
    limits: Limits,
    stats: Arc<ServerStats>,
    stop: impl Future<Output = ()> + Send,
) {
    let routes = Arc::new(Routes::new(state, limits));
    let connections = Connections::new(limits, Arc::clone(&stats));
    let mut sweep = interval(limits.sweep_interval());
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = pin!(stop);
    let mut newcomer = None;
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            _ = sweep.tick(), if !connections.is_empty() => connections.sweep(Instant::now()),
            stream = accept(&listener, &connections, &mut failing, limits.accept_pause), if newcomer.is_none() => {
                newcomer = Some(stream);
            }
            () = connections.room(), if newcomer.is_some() => {}
        }
        if let Some(stream) = newcomer.take_if(|_| connections.evict_if_full()) {
            tokio::spawn(converse(stream, connections.admit(), Arc::clone(&routes), limits));
        }
        // The newcomer gets its turn, and its socket is looked at, before the next one may push it out.
        tokio::task::yield_now().await;
    }
    drop(listener);
    drop(newcomer);
    connections.stop();
    let gone = async {
        while !connections.is_empty() {
            connections.room().await;
        }
    };
    if timeout(limits.shutdown_grace, gone).await.is_err() {
        tracing::debug!(connections = stats.connections(), "answers given up at the end");
    }
}

/// The next connection. Errors are waited out, for ever: a sidecar that stops listening is worse than none.
/// `failing` outlives the call, which may be given up in a pause, so that one trouble is told once.
async fn accept(listener: &TcpListener, connections: &Connections, failing: &mut bool, pause: Duration) -> TcpStream {
    loop {
        let error = match listener.accept().await {
            Ok((stream, _)) => {
                *failing = false;
                return stream;
            }
            Err(error) => error,
        };
        connections.accept_failed();
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            continue;
        }
        if !std::mem::replace(failing, true) {
            tracing::warn!(%error, "cannot accept connections");
        }
        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            // Whoever waits for nothing gives its descriptor to whoever is waiting to be heard.
            connections.evict_oldest_idle();
        }
        sleep(pause).await;
    }
}

/// Everything that happens on one connection.
async fn converse(stream: TcpStream, guard: ConnGuard, routes: Arc<Routes>, limits: Limits) {
    // The last chunk of a page must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let state = guard.state();
    let service = service_fn(|request| {
        let in_flight = state.request();
        let routes = Arc::clone(&routes);
        async move { Ok::<_, Infallible>(routes.answer(&request).await.map(|body| body.with(in_flight))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None) // the sweep's work, which knows an idle connection from a slow head
        .half_close(true) // a client may say that it has nothing more to ask before it reads the answer
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_head_bytes)
        .max_buf_size(limits.max_head_bytes.max(64 << 10))
        .serve_connection(TokioIo::new(Transport::new(stream, Arc::clone(state))), service);
    let mut connection = pin!(connection);
    let mut stopping = guard.stopping();
    let stopped = async {
        // An error means that the server is gone, which ends this task anyway.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    tokio::select! {
        biased;
        () = state.is_cut() => return,
        result = connection.as_mut() => return log_end(result),
        () = stopped => {}
    }
    if state.progress().is_waiting() {
        return;
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        () = state.is_cut() => {}
        result = connection => log_end(result),
    }
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended early");
    }
}
