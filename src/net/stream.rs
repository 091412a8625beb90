//! A TCP connection that knows when its bytes left and arrived.

use std::{
    io::{self, Read as _},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use super::{
    clock::{ClockReading, Elapsed, Timestamp},
    errors::{failure, local_failure},
    message::{Message, receive},
    options::{SocketOptions, enable_timestamps, tcp_info},
    progress::Records,
};
use crate::model::{Failure, StampSource};

/// How a connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connected {
    /// The round trip of the TCP handshake. The kernel's own measure, taken when the SYN-ACK came in; where a
    /// SYN was sent again, the time it really took, by the process's clock.
    pub elapsed: Elapsed,
    /// How often the SYN was sent again.
    pub syn_retransmits: u32,
}

/// Connects from a fresh, kernel-chosen port.
///
/// # Errors
/// The failure as it is counted.
pub(super) async fn connect(peer: SocketAddr, options: SocketOptions) -> Result<(Stream, Connected), Failure> {
    let (socket, started) = begin(peer, options).map_err(|error| local_failure(&error))?;
    let io = TcpStream::from_std(socket.into()).map_err(|_| Failure::Local)?;
    io.writable().await.map_err(|error| failure(&error))?;
    if let Some(error) = io.take_error().map_err(|_| Failure::Local)? {
        return Err(failure(&error));
    }
    let connected = handshake(io.as_fd(), started);
    Ok((Stream::new(io, true), connected))
}

fn begin(peer: SocketAddr, options: SocketOptions) -> io::Result<(Socket, Instant)> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    options.apply(socket.as_fd(), peer.is_ipv4())?;
    let started = Instant::now();
    match socket.connect(&peer.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok((socket, started)),
    }
}

fn handshake(socket: BorrowedFd<'_>, started: Instant) -> Connected {
    let info = tcp_info(socket).ok();
    let syn_retransmits = info.map_or(0, |info| info.tcpi_total_retrans);
    let elapsed = match info {
        Some(info) if syn_retransmits == 0 && info.tcpi_rtt > 0 => {
            Elapsed { duration: Duration::from_micros(info.tcpi_rtt.into()), source: StampSource::Kernel }
        }
        _ => Elapsed { duration: started.elapsed(), source: StampSource::Userland },
    };
    Connected { elapsed, syn_retransmits }
}

/// When bytes of one phase left and arrived.
#[derive(Debug, Clone, Copy, Default)]
pub struct Readings {
    /// When the first byte left.
    pub first_sent: Option<ClockReading>,
    /// When the last byte left so far.
    pub last_sent: Option<ClockReading>,
    /// When the first byte arrived.
    pub first_received: Option<ClockReading>,
    /// When the last byte arrived so far.
    pub last_received: Option<ClockReading>,
    /// The number of the last byte whose departure was timestamped: a byte that is sent again is timestamped again, and
    /// only the first time counts.
    timestamped: Option<u32>,
}

/// The most bytes that are read of a peer in one wake-up; then the other probes have their turn. Parsing them takes less
/// than a millisecond, whatever they are.
const READ_BUDGET: usize = 16 << 10;

/// The bytes that a peer may send where nothing else is said: a TLS handshake with a long chain of certificates.
const ALLOWANCE: usize = 128 << 10;

/// What a read costs of it at least, and one of few bytes: a peer that sends each byte by itself costs a wake-up for each.
const LEAST: usize = 1 << 10;
const FEW: (usize, usize) = (256, 2 << 10);

/// What a record of TLS costs of it that can be a renewal of keys.
const RENEWAL: usize = 8 << 10;

/// What a read of so many bytes costs of the allowance, with so many records that can be renewals of keys.
const fn cost(bytes: usize, renewals: usize) -> usize {
    let least = if bytes < FEW.0 { FEW.1 } else { LEAST };
    let read = if bytes > least { bytes } else { least };
    read + renewals * RENEWAL
}

/// When bytes of a `Stream` left and arrived, and how many more may arrive; shared with the owner of the stream.
#[derive(Debug)]
pub struct StreamTimestamps {
    readings: Mutex<Readings>,
    allowance: AtomicUsize,
}

impl Default for StreamTimestamps {
    /// Nothing has left or arrived yet.
    fn default() -> Self {
        Self { readings: Mutex::default(), allowance: AtomicUsize::new(ALLOWANCE) }
    }
}

impl StreamTimestamps {
    fn state(&self) -> std::sync::MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the peer may send this many bytes, with all that TLS and HTTP/2 add to them. A read beyond that fails
    /// with `InvalidData`, so that a peer that talks without end costs a bounded amount.
    pub(crate) fn allow(&self, bytes: usize) {
        self.allowance.store(bytes, Ordering::Relaxed);
    }

    fn spend(&self, cost: usize) -> io::Result<()> {
        let left = self.allowance.load(Ordering::Relaxed).checked_sub(cost);
        let left = left.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "more bytes than expected"))?;
        self.allowance.store(left, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets what was sent and received so far: a new phase begins.
    pub fn begin(&self) {
        let mut state = self.state();
        *state = Readings { timestamped: state.timestamped, ..Readings::default() };
    }

    /// What was sent and received since the phase began.
    pub fn read(&self) -> Readings {
        *self.state()
    }

    fn received(&self, timestamp: Option<Timestamp>) {
        let reading = ClockReading::received(timestamp);
        let mut state = self.state();
        state.first_received.get_or_insert(reading);
        state.last_received = Some(reading);
    }

    /// Notes a write: what the kernel timestamped, else when it was made.
    fn sent(&self, before: Timestamp, timestamps: impl Iterator<Item = (u32, Timestamp)>) {
        let mut state = self.state();
        let mut kernel = None;
        for (id, at) in timestamps {
            if state.timestamped != Some(id) {
                state.timestamped = Some(id);
                kernel = Some(at);
            }
        }
        let reading = ClockReading::sent(kernel, before);
        state.first_sent.get_or_insert(reading);
        state.last_sent = Some(reading);
    }
}

/// A connection whose reads and writes leave [`StreamTimestamps`]; tokio's IO traits, so that rustls and hyper run on
/// it.
#[derive(Debug)]
pub(crate) struct Stream {
    io: TcpStream,
    timestamps: Arc<StreamTimestamps>,
    /// What was read since this connection last waited, as it is counted of the allowance.
    since_wake_up: usize,
    /// The records in what is read, where it is TLS.
    records: Option<Records>,
    /// A Unix socket has no queue of errors: a read of it would take data.
    is_tcp: bool,
}

impl Stream {
    fn new(io: TcpStream, is_tcp: bool) -> Self {
        Self { io, timestamps: Arc::default(), since_wake_up: 0, records: None, is_tcp }
    }

    /// A connection to a Unix socket, which the calls of a TCP connection read and write.
    pub(super) fn unix(io: TcpStream) -> Self {
        Self::new(io, false)
    }

    /// Asks the kernel for timestamps from here on. The timestamps stay readable when the stream is given away.
    pub(super) fn enable_timestamps(&self) -> Arc<StreamTimestamps> {
        if self.is_tcp {
            // Where there are no timestamps, the timestamps are of the userland clock.
            let _ = enable_timestamps(self.io.as_fd());
            // Small writes leave at once: a request that waits for an acknowledgement would measure Nagle's algorithm.
            let _ = self.io.set_nodelay(true);
        }
        self.timestamps()
    }

    /// From here on the peer is expected to speak TLS.
    pub(super) fn expect_tls(&mut self) {
        self.records = Some(Records::default());
    }

    /// What reads and writes have left so far.
    pub(super) fn timestamps(&self) -> Arc<StreamTimestamps> {
        Arc::clone(&self.timestamps)
    }

    /// The departure timestamps that are in the error queue now. The kernel puts them there while `send` runs, so
    /// reading them here spares the runtime a wake-up.
    fn departures(&self) -> impl Iterator<Item = (u32, Timestamp)> {
        // SCM_TSTAMP_SCHED (linux/errqueue.h).
        const SCHED: u32 = 1;
        let next = || receive(self.io.as_fd(), &mut [], libc::MSG_ERRQUEUE).ok();
        std::iter::from_fn(move || self.is_tcp.then(next)?)
            .filter_map(|message| message.error.zip(message.timestamp))
            .filter(|(error, _)| error.info == SCHED)
            .map(|(error, timestamp)| (error.data, timestamp))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.since_wake_up >= READ_BUDGET {
            self.since_wake_up = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Self { io, timestamps, since_wake_up, records, is_tcp } = &mut *self;
        loop {
            if io.poll_read_ready(cx)?.is_pending() {
                *since_wake_up = 0;
                return Poll::Pending;
            }
            let unfilled = buf.initialize_unfilled();
            let room = unfilled.len().min(READ_BUDGET);
            let unfilled = &mut unfilled[..room];
            match io.try_io(Interest::READABLE, || match *is_tcp {
                true => receive(io.as_fd(), unfilled, 0),
                // Without room for control messages: the kernel throws away the descriptors that a peer sends with its bytes
                // (unix(7), SCM_RIGHTS), each of which would stay open.
                false => (&*SockRef::from(&*io)).read(unfilled).map(|len| Message { len, ..Message::default() }),
            }) {
                Ok(message) => {
                    if message.len > 0 {
                        let renewals = records.as_mut().map_or(0, |records| records.renewals(&unfilled[..message.len]));
                        let cost = cost(message.len, renewals);
                        timestamps.received(message.timestamp);
                        timestamps.spend(cost)?;
                        *since_wake_up += cost;
                    }
                    buf.advance(message.len);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let before = Timestamp::now();
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.timestamps.sent(before, self.departures());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_process_that_wakes_late_still_measures_the_network() {
        let _keeper = super::super::options::TimestampingGuard::hold();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut question = [0; 4];
            peer.read_exact(&mut question).unwrap();
            std::thread::sleep(Duration::from_millis(30));
            peer.write_all(b"pong").unwrap();
            (peer, Instant::now())
        });
        let (mut stream, connected) = connect(addr, SocketOptions::default()).await.unwrap();
        assert_eq!((connected.elapsed.source, connected.syn_retransmits), (StampSource::Kernel, 0));
        let timestamps = stream.enable_timestamps();
        let asked = Instant::now();
        stream.write_all(b"ping").await.unwrap();
        // However late the answer is, this thread is later.
        let (_peer, answered) = server.join().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        let elapsed = Elapsed::between(timestamps.read().last_sent, timestamps.read().first_received).unwrap();
        assert_eq!(elapsed.source, StampSource::Kernel);
        let most = answered - asked + Duration::from_millis(1);
        assert!(elapsed.duration >= Duration::from_millis(29) && elapsed.duration < most, "{elapsed:?} of {most:?}");
    }

    /// How many of these a peer can send until a read fails.
    async fn endured(each: &'static [u8], tls: bool) -> usize {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let all = each.repeat(20_000);
            // The reader hangs up.
            let _ = peer.write_all(&all);
        });
        let (mut stream, _) = connect(addr, SocketOptions::default()).await.unwrap();
        if tls {
            stream.expect_tls();
        }
        let (mut read, mut piece) = (0, vec![0; each.len()]);
        let error = loop {
            match stream.read_exact(&mut piece).await {
                Ok(_) => read += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(stream);
        server.join().unwrap();
        read
    }

    #[tokio::test]
    async fn keys_that_are_renewed_without_end_are_more_than_is_allowed() {
        let renewal = b"\x17\x03\x03\x00\x161234567890123456789012";
        assert!(endured(renewal, true).await < ALLOWANCE / RENEWAL);
        assert!(endured(&[b'x'; 1024], true).await > 100);
    }

    #[tokio::test]
    async fn a_peer_sends_no_more_than_is_allowed() {
        let read = endured(&[b'x'; 1024], false).await;
        assert!((100..=ALLOWANCE / 1024).contains(&read), "{read}");
    }

    #[tokio::test]
    async fn other_probes_have_their_turn_after_a_bounded_part_of_what_a_peer_has_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut stream, _) = connect(listener.local_addr().unwrap(), SocketOptions::default()).await.unwrap();
        stream.timestamps().allow(usize::MAX);
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(more) = peer.write(&[b'x'; 4096]) {
            sent += more;
        }
        assert!(sent > 4 * READ_BUDGET, "{sent} bytes are too few for this");
        let (mut read, mut most) = (0, 0);
        while read < sent {
            let turn = std::future::poll_fn(|cx| {
                let (mut turn, mut bytes) = (0, [0; 4096]);
                loop {
                    let mut buf = ReadBuf::new(&mut bytes);
                    match Pin::new(&mut stream).poll_read(cx, &mut buf) {
                        Poll::Ready(result) => {
                            result.unwrap();
                            turn += buf.filled().len();
                        }
                        Poll::Pending if turn == 0 => return Poll::Pending,
                        Poll::Pending => return Poll::Ready(turn),
                    }
                }
            });
            let turn = turn.await;
            (read, most) = (read + turn, most.max(turn));
        }
        assert!((READ_BUDGET..READ_BUDGET + 4096).contains(&most), "{most}");
    }

    #[test]
    fn bytes_that_come_one_by_one_cost_more_than_those_of_a_segment() {
        let reads = |bytes| ALLOWANCE / cost(bytes, 0);
        assert_eq!((reads(1), reads(255)), (64, 64));
        assert_eq!(reads(1024), 128);
        assert_eq!(cost(1460, 0), 1460);
        assert_eq!(cost(READ_BUDGET, 0), READ_BUDGET);
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(connect(addr, SocketOptions::default()).await.err(), Some(Failure::Refused));
    }

    #[tokio::test]
    async fn no_route_from_here_is_local() {
        let addr: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
        let result = connect(addr, SocketOptions::default()).await.err();
        assert!(matches!(result, Some(Failure::Local | Failure::Unreachable)), "{result:?}");
    }
}
