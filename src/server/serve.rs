//! The server's thread and its accept loop.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, thread};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::TokioIo,
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    client::{Client, KnownVantages},
    conn_state::{ConnState, Signals, WatchedStream},
    connections::{Admission, Connections, ServerStats},
    limits::Limits,
    routes::Routes,
    share::Share,
    state::ServerState,
};

/// Connections that are closed unread before those that are open have their turn.
const REFUSED_AT_ONCE: usize = 256;

/// A running server.
#[derive(Debug)]
pub struct Server {
    stats: Arc<ServerStats>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    /// Counts of its connections.
    pub fn stats(&self) -> &Arc<ServerStats> {
        &self.stats
    }

    /// Whether the server has ended, by its stop signal or a panic.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Blocks the thread until the server has ended after its stop signal.
    ///
    /// # Errors
    /// The panic of the server's thread; a release build aborts instead.
    pub fn join(self) -> thread::Result<()> {
        self.thread.join()
    }
}

/// Serves on a thread of its own until `stop` is ready; responses in flight then get [`Limits::shutdown_grace`].
///
/// # Errors
/// The runtime or the thread could not be created, or the listener is not usable.
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
    let queue = listener.try_clone()?;
    // Sockets are polled after every few tasks: a task may write a chunk of a page, which takes some 100 µs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(7).build()?;
    let listener = {
        let _context = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let stats = Arc::<ServerStats>::default();
    let shared = Arc::clone(&stats);
    let thread = thread::Builder::new()
        .name("server".to_owned())
        .spawn(move || runtime.block_on(serve((listener, queue), state, limits, shared, stop)))?;
    Ok(Server { stats, thread })
}

async fn serve(
    (listener, queue): (TcpListener, std::net::TcpListener),
    state: ServerState,
    limits: Limits,
    stats: Arc<ServerStats>,
    stop: impl Future<Output = ()> + Send,
) {
    let signals = Arc::<Signals>::default();
    let share = Arc::new(Share::new(limits));
    let vantages = state.vantages.clone();
    let routes = Arc::new(Routes::new(state, limits, Arc::clone(&signals)));
    let http = http(&limits);
    let graceful = GracefulShutdown::new();
    let mut connections = Connections::new(limits, stats, signals, Arc::clone(&share));
    let mut sweep = interval(limits.sweep_interval());
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = pin!(stop);
    let mut accepted: Option<(TcpStream, Client)> = None;
    let (mut not_before, mut fails) = (None, false);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            _ = sweep.tick(), if !connections.is_empty() => connections.evict_overdue(Instant::now()),
            () = connections.changed() => {}
            new = accept(&listener, not_before), if accepted.is_none() => {
                let picked = new.and_then(|new| pick(new, &queue, &vantages, &connections));
                match picked {
                    Ok(picked) => {
                        fails = false;
                        not_before = picked.refused.then(|| Instant::now() + limits.refusal_pause);
                        accepted = picked.connection;
                    }
                    Err(error) => {
                        not_before = on_accept_error(&error, fails, &mut connections, &limits);
                        fails |= not_before.is_some();
                    }
                }
            }
            () = share.grant() => {}
        }
        if let Some((stream, client)) = accepted.take() {
            match connections.admit(client) {
                Admission::Admitted => {
                    let (routes, http, watcher) = (Arc::clone(&routes), http.clone(), graceful.watcher());
                    connections.spawn(client, |state| converse(stream, state, routes, http, watcher));
                }
                Admission::Waits => accepted = Some((stream, client)),
                Admission::Refused => drop(stream),
            }
        }
        // The new connection is polled, and its socket read, before the next one may evict it.
        tokio::task::yield_now().await;
    }
    drop((listener, queue, accepted));
    connections.close_waiting();
    if timeout(limits.shutdown_grace, graceful.shutdown()).await.is_err() {
        tracing::debug!("responses in flight aborted at shutdown");
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None) // evict_overdue tells an idle connection from a slow head, hyper does not
        .half_close(true) // a client may close its half before it reads the response
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_head_bytes)
        .max_buf_size(limits.max_head_bytes.max(64 << 10));
    http
}

/// The next connection, not before this time.
async fn accept(listener: &TcpListener, not_before: Option<Instant>) -> io::Result<(TcpStream, SocketAddr)> {
    if let Some(at) = not_before {
        sleep_until(at).await;
    }
    listener.accept().await
}

/// What has become of the connections that waited.
struct Picked {
    /// The first one that is to be served.
    connection: Option<(TcpStream, Client)>,
    /// Whether others were closed unread, because their share was exhausted.
    refused: bool,
}

/// Closes strangers that exceed their share, until there is a connection to serve or no other one. The queue is that of the
/// listener; what is taken from it here does not cost an event.
fn pick(
    (first, from): (TcpStream, SocketAddr),
    queue: &std::net::TcpListener,
    vantages: &KnownVantages,
    connections: &Connections,
) -> io::Result<Picked> {
    let now = Instant::now();
    let client = vantages.client(from.ip());
    if connections.is_welcome(client, now) {
        return Ok(Picked { connection: Some((first, client)), refused: false });
    }
    drop(first);
    for _ in 0..REFUSED_AT_ONCE {
        let (stream, from) = match queue.accept() {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        let client = vantages.client(from.ip());
        if connections.is_welcome(client, now) {
            stream.set_nonblocking(true)?;
            return Ok(Picked { connection: Some((TcpStream::from_std(stream)?, client)), refused: true });
        }
    }
    Ok(Picked { connection: None, refused: true })
}

/// When to accept again. The server never gives up: a sidecar that does not listen is worse than none. Repeated errors
/// are logged once.
fn on_accept_error(
    error: &io::Error,
    failed_before: bool,
    connections: &mut Connections,
    limits: &Limits,
) -> Option<Instant> {
    connections.on_accept_error();
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return None;
    }
    if !failed_before {
        tracing::warn!(%error, "cannot accept connections");
    }
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
        // A connection without a request gives its descriptor to a new one.
        connections.evict_oldest_idle();
    }
    Some(Instant::now() + limits.accept_pause)
}

/// Serves one connection until it ends.
async fn converse(
    stream: TcpStream,
    state: Arc<ConnState>,
    routes: Arc<Routes>,
    http: http1::Builder,
    shutdown: Watcher,
) {
    // The last chunk of a page must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let service = service_fn(|request| {
        let in_flight = state.on_request();
        let routes = Arc::clone(&routes);
        async move { Ok::<_, Infallible>(routes.answer(&request).await.map(|body| body.with(in_flight))) }
    });
    let stream = WatchedStream::new(stream, Arc::clone(&state));
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = shutdown.watch(connection).await {
        tracing::debug!(%error, "connection ended early");
    }
}
