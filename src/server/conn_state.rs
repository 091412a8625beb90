//! What one connection is doing, noted by the bytes that pass and by the responses that begin and end.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::Instant,
};

use super::{client::Client, limits::Limits, share::Share};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Nothing of the next request has arrived.
    Idle,
    /// The head of a request is awaited or arriving. A new connection starts here: a client must send something.
    Head,
    /// A request is being answered.
    Response,
    /// The response is complete, but its last bytes are not written yet.
    Flush,
}

/// What a connection is doing, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    activity: Activity,
    /// The start of the activity; `Flush` keeps the start of its response.
    since: Instant,
    /// When the kernel last took bytes of a response.
    wrote: Instant,
}

impl Activity {
    /// Whether the client has not taken all of a response.
    const fn is_unread(self) -> bool {
        matches!(self, Self::Response | Self::Flush)
    }
}

impl Progress {
    /// Whether no request is being answered.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.activity, Activity::Idle | Activity::Head)
    }

    /// The start of the activity.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// When the client last took bytes of a response.
    pub(super) fn wrote(&self) -> Instant {
        self.wrote
    }

    /// Whether a limit on time is exceeded.
    pub(super) fn is_overdue(&self, now: Instant, limits: &Limits) -> bool {
        let lasted = now.saturating_duration_since(self.since);
        match self.activity {
            Activity::Idle => lasted > limits.idle_timeout,
            Activity::Head => lasted > limits.head_timeout,
            Activity::Response | Activity::Flush => {
                lasted > limits.response_timeout || now.saturating_duration_since(self.wrote) > limits.stall_timeout
            }
        }
    }
}

/// What connections tell the table of connections.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// A connection has become idle, so that it may be evicted.
    pub(super) room: Notify,
    /// Responses that are not read hold more memory than they may: some connection must be evicted.
    pub(super) pressure: Notify,
    /// Responses to strangers that are not read yet.
    unread: AtomicUsize,
}

impl Signals {
    /// How many responses to strangers are not read yet.
    pub(super) fn unread(&self) -> usize {
        self.unread.load(Ordering::Relaxed)
    }
}

/// The state of one connection, shared by its task and the table of connections.
#[derive(Debug)]
pub(super) struct ConnState {
    client: Client,
    progress: Mutex<Progress>,
    signals: Arc<Signals>,
    share: Arc<Share>,
    max_unread: usize,
}

impl ConnState {
    /// The state of a new connection.
    pub(super) fn new(client: Client, signals: Arc<Signals>, share: Arc<Share>, max_unread: usize) -> Self {
        let now = Instant::now();
        let progress = Mutex::new(Progress { activity: Activity::Head, since: now, wrote: now });
        Self { client, progress, signals, share, max_unread }
    }

    /// Who the connection comes from.
    pub(super) const fn client(&self) -> Client {
        self.client
    }

    /// Changes the activity, and counts responses that are not read.
    fn enter(&self, progress: &mut Progress, activity: Activity) {
        let before = std::mem::replace(&mut progress.activity, activity).is_unread();
        if self.client.trusted || before == activity.is_unread() {
            return;
        }
        if before {
            self.signals.unread.fetch_sub(1, Ordering::Relaxed);
        } else if self.signals.unread.fetch_add(1, Ordering::Relaxed) >= self.max_unread {
            self.signals.pressure.notify_one();
        }
    }

    // Only a test can see a poisoned lock: a panic ends a release build.
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the connection is doing now.
    pub(super) fn progress(&self) -> Progress {
        *self.lock()
    }

    /// Bytes have arrived.
    pub(super) fn on_read(&self) {
        let mut progress = self.lock();
        if progress.activity == Activity::Idle {
            self.enter(&mut progress, Activity::Head);
            progress.since = Instant::now();
        }
    }

    /// The kernel has taken bytes.
    pub(super) fn on_write(&self) {
        self.lock().wrote = Instant::now();
    }

    /// The kernel has taken everything that was written so far.
    pub(super) fn on_flush(&self) {
        let mut progress = self.lock();
        if progress.activity == Activity::Flush {
            self.enter(&mut progress, Activity::Idle);
            progress.since = Instant::now();
            self.signals.room.notify_one();
            if !self.client.trusted {
                self.share.has_read(self.client.group, progress.since);
            }
        }
    }

    /// A whole request head has arrived; the response lasts until the returned value is dropped.
    pub(super) fn on_request(self: &Arc<Self>) -> InFlight {
        let now = Instant::now();
        let mut progress = self.lock();
        self.enter(&mut progress, Activity::Response);
        (progress.since, progress.wrote) = (now, now);
        drop(progress);
        InFlight(Arc::clone(self))
    }
}

impl Drop for ConnState {
    fn drop(&mut self) {
        let mut progress = self.progress();
        self.enter(&mut progress, Activity::Idle);
    }
}

/// A response that is not complete yet; held by its body.
#[derive(Debug)]
pub(super) struct InFlight(Arc<ConnState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        if progress.activity == Activity::Response {
            self.0.enter(&mut progress, Activity::Flush);
        }
    }
}

/// A TCP stream that notes in its state when bytes pass.
#[derive(Debug)]
pub(super) struct WatchedStream {
    stream: TcpStream,
    state: Arc<ConnState>,
}

impl WatchedStream {
    pub(super) fn new(stream: TcpStream, state: Arc<ConnState>) -> Self {
        Self { stream, state }
    }

    fn noted(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if matches!(written, Ok(1..)) {
            self.state.on_write();
        }
        Poll::Ready(written)
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.state.on_read();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // hyper flushes only when it has handed over everything it had.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.state.on_flush();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
