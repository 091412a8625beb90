//! One HTTP request and its response over a connection whose phases are measured. hyper's low-level client
//! runs on our timestamped stream; nothing is pooled or redirected behind our back, and nothing is retried but a request
//! that met the server's closing of a kept connection.

use std::{
    error::Error as _,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, Version, header, response::Parts, uri::Scheme};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};
use tokio_rustls::rustls;

use super::{
    attempt::Attempt,
    errors,
    options::SocketOptions,
    stream::{Elapsed, StreamTimestamps, connect},
    tls::{self, Connector, TlsContext, TlsError, TlsSpec},
};
use crate::model::{Failure, Host, HttpUrl, Phase, PhaseTimes, StampSource};

/// The most header fields of a response, and the most bytes of its head: what web servers allow for a request,
/// several times over.
const MAX_HEADERS: usize = 128;
const MAX_HEAD: usize = 64 << 10;

/// How we call ourselves.
pub(crate) const AGENT: &str = concat!("regionwatch/", env!("CARGO_PKG_VERSION"));

/// A URL as requests have it.
pub(crate) fn absolute(url: &HttpUrl) -> Result<Uri, TlsError> {
    let host = match &url.host {
        Host::Addr(IpAddr::V6(address)) => format!("[{address}]"),
        host => host.to_string(),
    };
    let default_port = if url.https { 443 } else { 80 };
    let authority = if url.port == default_port { host } else { format!("{host}:{}", url.port) };
    Uri::builder()
        .scheme(if url.https { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(authority)
        .path_and_query(&*url.path)
        .build()
        .map_err(|_| TlsError::ServerName(url.host.to_string()))
}

/// Which HTTP versions a probe offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/2 and 1.1 by ALPN; 1.1 without TLS.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; with prior knowledge where there is no TLS.
    Http2,
}

/// Makes requests to one origin.
#[derive(Debug)]
pub(crate) struct HttpClient {
    tls: Option<Connector>,
    version: HttpVersion,
    options: SocketOptions,
    /// The connection that is kept for the next request, where that is wanted.
    kept: Option<Mutex<Option<Connection>>>,
}

/// A response and how long its phases took.
#[derive(Debug)]
pub(crate) struct TimedResponse {
    pub(crate) head: Parts,
    /// The body, empty where it was not asked for; `None` where it is larger than the limit, and was not read to its
    /// end.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) phases: PhaseTimes,
    pub(crate) source: StampSource,
    pub(crate) syn_retransmits: u32,
    pub(crate) certificate_expiry: Option<i64>,
}

#[derive(Debug)]
struct Connection {
    /// `None` only in the fuzz target.
    server: Option<SocketAddr>,
    sender: Sender,
    timestamps: Arc<StreamTimestamps>,
    driver: Driver,
    certificate_expiry: Option<i64>,
    /// Whether head and body come in segments of their own timestamps: HTTP/1.1 without TLS.
    plain: bool,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// The task that moves a connection's bytes; ends with it.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HttpClient {
    /// A client for a plain origin.
    pub(crate) fn plain(version: HttpVersion, options: SocketOptions) -> Self {
        Self { tls: None, version, options, kept: None }
    }

    /// A client for an origin with TLS.
    pub(crate) fn https(
        context: &TlsContext,
        spec: &TlsSpec,
        host: &Host,
        version: HttpVersion,
        options: SocketOptions,
    ) -> Result<Self, TlsError> {
        let alpn: &[&[u8]] = match version {
            HttpVersion::Auto => &[b"h2", b"http/1.1"],
            HttpVersion::Http1 => &[b"http/1.1"],
            HttpVersion::Http2 => &[b"h2"],
        };
        Ok(Self { tls: Some(context.connector(spec, host, alpn)?), version, options, kept: None })
    }

    /// Keeps the connection for the next request.
    pub(crate) fn keeping_alive(self) -> Self {
        Self { kept: Some(Mutex::default()), ..self }
    }

    /// Sends the request, whose URI is absolute, and reads the whole response, `limit` bytes of body at the
    /// most.
    ///
    /// A server may close a kept connection at any time, and a request that is under way then gets no answer: that
    /// says nothing about the server, so the request is sent again on a fresh connection (RFC 9112 9.3.1). It must
    /// be one that may arrive twice.
    pub(crate) async fn send(
        &self,
        server: SocketAddr,
        request: Request<Full<Bytes>>,
        limit: usize,
        keep_body: bool,
        attempt: &Attempt,
    ) -> Result<TimedResponse, Failure> {
        let mut phases = PhaseTimes::default();
        let mut source = StampSource::Kernel;
        let mut syn_retransmits = 0;
        attempt.enter(Phase::Processing);
        let answered = match self.take_kept(server) {
            Some(mut kept) => match kept.send(request.clone()).await {
                Ok(response) => Some((kept, response)),
                Err(_) if kept.may_have_been_closed() => None,
                Err(failure) => return Err(failure),
            },
            None => None,
        };
        let (connection, response) = match answered {
            Some(answered) => answered,
            None => {
                let mut fresh = self.open(server, &mut phases, &mut source, &mut syn_retransmits, attempt).await?;
                attempt.enter(Phase::Processing);
                let response = fresh.send(request).await?;
                (fresh, response)
            }
        };
        let timestamps = Arc::clone(&connection.timestamps);
        let sent_to_head = if connection.plain {
            timestamps.last_sent_to_first_received()
        } else if matches!(connection.sender, Sender::Http2(_)) {
            // The request leaves first; acknowledgements of the peer's settings may follow it.
            timestamps.first_sent_to_last_received()
        } else {
            // What came before the head, such as session tickets, is not the first byte of an answer.
            timestamps.last_sent_to_last_received()
        };
        let head_arrived = timestamps.last_received();
        attempt.enter(Phase::Transfer);
        let (head, incoming) = response.into_parts();
        let body = read_body(incoming, limit, keep_body).await?;
        let Elapsed { duration, source: timestamped } = sent_to_head.ok_or(Failure::Local)?;
        phases.add(Phase::Processing, duration);
        let transfer = if connection.plain {
            timestamps.first_to_last_received().map(|elapsed| elapsed.duration)
        } else {
            timestamps.last_received().zip(head_arrived).map(|(last, head)| last.since(head))
        };
        phases.add(Phase::Transfer, transfer.unwrap_or_default());
        let certificate_expiry = connection.certificate_expiry;
        if let Some(kept) = &self.kept
            && body.is_some()
            && !connection.driver.0.is_finished()
        {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
        Ok(TimedResponse { head, body, phases, source: source.and(timestamped), syn_retransmits, certificate_expiry })
    }

    /// Returns when the kept connection is closed; never where there is none.
    pub(crate) async fn closed(&self) {
        poll_fn(|cx| {
            let Some(kept) = &self.kept else { return Poll::Pending };
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(connection) = &mut *kept else { return Poll::Pending };
            ready!(Pin::new(&mut connection.driver.0).poll(cx)).ok();
            *kept = None;
            Poll::Ready(())
        })
        .await;
    }

    fn take_kept(&self, server: SocketAddr) -> Option<Connection> {
        let kept = self.kept.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let usable = match &kept.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        };
        // A name that leads elsewhere now must be followed.
        (usable && kept.server == Some(server)).then_some(kept)
    }

    async fn open(
        &self,
        server: SocketAddr,
        phases: &mut PhaseTimes,
        source: &mut StampSource,
        syn_retransmits: &mut u32,
        attempt: &Attempt,
    ) -> Result<Connection, Failure> {
        attempt.enter(Phase::Connect);
        let (stream, connected) = connect(server, self.options).await?;
        phases.add(Phase::Connect, connected.duration);
        *source = source.and(connected.source);
        *syn_retransmits = connected.syn_retransmits;
        let timestamps = stream.enable_timestamps();
        let Some(connector) = &self.tls else {
            let http2 = self.version == HttpVersion::Http2;
            let connection = start(stream, http2, timestamps, None, !http2).await?;
            return Ok(Connection { server: Some(server), ..connection });
        };
        attempt.enter(Phase::Tls);
        let stream = connector.handshake(stream, &timestamps, phases, source).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if self.version == HttpVersion::Http2 && !http2 {
            return Err(Failure::Protocol);
        }
        let certificate_expiry = tls::expiry(&stream);
        let connection = start(stream, http2, timestamps, certificate_expiry, false).await?;
        Ok(Connection { server: Some(server), ..connection })
    }
}

async fn start(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
    timestamps: Arc<StreamTimestamps>,
    certificate_expiry: Option<i64>,
    plain: bool,
) -> Result<Connection, Failure> {
    let io = TokioIo::new(io);
    let (sender, driver) = if http2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(MAX_HEAD as u32)
            .handshake(io)
            .await
            .map_err(|error| failure(&error))?;
        (Sender::Http2(sender), tokio::spawn(async move { drop(connection.await) }))
    } else {
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .handshake(io)
            .await
            .map_err(|error| failure(&error))?;
        (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
    };
    Ok(Connection { server: None, sender, timestamps, driver: Driver(driver), certificate_expiry, plain })
}

impl Connection {
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.timestamps.begin();
        let result = match &mut self.sender {
            Sender::Http1(sender) => {
                to_origin_form(&mut request)?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                sender.send_request(request).await
            }
        };
        result.map_err(|error| failure(&error))
    }

    /// Whether the last request can have failed because the server was closing: nothing came. Under TLS and HTTP/2 a
    /// closing is itself told in bytes, so there it is assumed.
    fn may_have_been_closed(&self) -> bool {
        !self.plain || self.timestamps.last_received().is_none()
    }
}

/// HTTP/1.1 carries the host in a field and only the path in the request line (RFC 9112 3.2.1).
fn to_origin_form(request: &mut Request<Full<Bytes>>) -> Result<(), Failure> {
    if !request.headers().contains_key(header::HOST) {
        let authority = request.uri().authority().ok_or(Failure::Local)?.as_str();
        let host = HeaderValue::from_str(authority).map_err(|_| Failure::Local)?;
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned().ok_or(Failure::Local)?;
    *request.uri_mut() = Uri::from(path);
    Ok(())
}

async fn read_body(mut incoming: Incoming, limit: usize, keep: bool) -> Result<Option<Vec<u8>>, Failure> {
    let mut body = Vec::new();
    let mut read = 0;
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| failure(&error))?;
        if let Some(data) = frame.data_ref() {
            read += data.len();
            if read > limit {
                return Ok(None);
            }
            if keep {
                body.extend_from_slice(data);
            }
        }
    }
    Ok(Some(body))
}

/// What hyper's error is counted as: the socket's or TLS's where there is one beneath, else a broken protocol.
fn failure(error: &hyper::Error) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return match io.get_ref() {
                Some(inner) if inner.is::<rustls::Error>() => Failure::Tls,
                _ if io.kind() == io::ErrorKind::UnexpectedEof => Failure::Protocol,
                _ => errors::failure(io),
            };
        }
        cause = inner.source();
    }
    Failure::Protocol
}

/// What the fuzz target calls: a peer that says these bytes, whatever it is asked, and hangs up.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn fuzz_response(bytes: &[u8], http2: bool) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let Ok(mut connection) = start(ours, http2, Arc::default(), None, true).await else { return };
    let request = Request::builder().uri("http://peer.example/").body(Full::default());
    let Ok(request) = request else { return };
    let said = async {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut theirs, bytes).await;
        drop(theirs);
    };
    let heard = async {
        if let Ok(response) = connection.send(request).await {
            let _ = read_body(response.into_body(), MAX_HEAD, true).await;
        }
    };
    tokio::join!(said, heard);
}
