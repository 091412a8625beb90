//! One HTTP request and its response over a connection whose phases are measured. hyper's low-level client
//! runs on our timestamped stream; nothing is pooled or redirected behind our back, and nothing is retried but a request
//! that met the server's closing of a kept connection.

use std::{
    future::poll_fn,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version, header, response::Parts, uri::Authority};
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

use super::{
    attempt::Attempt,
    clock::Elapsed,
    connection::{Connection, Measured},
    http_failure::{broken, failure},
    options::SocketOptions,
    progress::{SMALL, SMALL_PIECES, Steps, Watched},
    proxy::{Proxy, unusable},
    stream::StreamTimestamps,
    tls::{Connector, TlsContext, TlsError, TlsSpec},
};
use crate::model::{Failure, HttpAnswer, HttpFault, HttpProtocol, HttpUrl, Phase};

/// The most header fields of a response, and the most bytes of its head: what web servers allow for a request,
/// several times over.
const MAX_HEADERS: usize = 1_000;
const MAX_HEAD: usize = 64 << 10;

/// The most bytes that a peer may send until the head of its final response is there: interim responses (RFC 9110 15.2)
/// and frames that bring nothing on are bounded so. And until the next request, while a connection is kept.
const HEAD_ALLOWANCE: usize = 2 * MAX_HEAD;

/// How we call ourselves.
pub(crate) const AGENT: &str = concat!("regionwatch/", env!("CARGO_PKG_VERSION"));

/// Why a client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Its TLS settings cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its URL cannot be requested.
    #[error("{0:?} is not a URL that can be requested")]
    Url(String),
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

/// How an origin is reached.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Way {
    /// By connections to the server.
    #[default]
    Direct,
    /// By this Unix socket.
    Unix(Arc<Path>),
    /// By connections to a proxy.
    Proxy(Box<Proxy>),
}

/// How much a head of HTTP/1.1 may differ from its grammar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeadParsing {
    /// As curl and browsers: folded lines (which a client must read, RFC 9112 5.2), spaces before the colon, and fields whose
    /// name or value breaks the grammar, which are skipped.
    #[default]
    Lenient,
    /// Any of that is a broken protocol.
    Strict,
}

/// Makes requests to one origin.
#[derive(Debug)]
pub(crate) struct HttpClient {
    uri: Uri,
    tls: Option<Connector>,
    version: HttpVersion,
    parsing: HeadParsing,
    options: SocketOptions,
    way: Way,
    /// The connection that is kept for the next request, where that is wanted.
    kept: Option<Mutex<Option<Session>>>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) head: Parts,
    /// The body, empty where it was not asked for; `None` where it is larger than the limit, and was not read to its
    /// end.
    pub(crate) body: Option<Vec<u8>>,
    /// The fields after the body; empty where it was not read to its end.
    pub(crate) trailers: HeaderMap,
}

/// Takes the pieces of a body as they arrive, with the head of its response.
type Inspector<'a> = dyn FnMut(&Parts, &[u8]) + Send + 'a;

/// What becomes of a response's body.
pub(crate) struct BodyUse<'a> {
    /// The most bytes of it.
    pub(crate) limit: usize,
    /// Whether it is wanted as a whole.
    pub(crate) keep: bool,
    /// Takes its pieces as they arrive.
    pub(crate) inspect: Option<&'a mut Inspector<'a>>,
}

impl BodyUse<'_> {
    /// It is wanted as a whole.
    pub(crate) fn kept(limit: usize) -> BodyUse<'static> {
        BodyUse { limit, keep: true, inspect: None }
    }

    /// What a peer may send for such a body, with TLS and small frames around it.
    const fn allowance(&self) -> usize {
        HEAD_ALLOWANCE.saturating_add(self.limit.saturating_mul(2))
    }
}

/// A connection that requests are sent on.
#[derive(Debug)]
struct Session {
    server: SocketAddr,
    sender: Sender,
    timestamps: Arc<StreamTimestamps>,
    steps: Arc<Steps>,
    driver: Driver,
    /// Whether head and body come in segments of their own timestamps: HTTP/1.1 without TLS.
    plain: bool,
    /// Whether requests go to a proxy, and not through a tunnel.
    at_proxy: bool,
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
    /// A client for the origin of a URL, on a fresh connection for each request. `tls` is used if the scheme is https.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(crate) fn new(
        url: &HttpUrl,
        version: HttpVersion,
        options: SocketOptions,
        tls: &TlsSpec,
        context: &TlsContext,
    ) -> Result<Self, ClientError> {
        let alpn: &[&[u8]] = match version {
            HttpVersion::Auto => &[b"h2", b"http/1.1"],
            HttpVersion::Http1 => &[b"http/1.1"],
            HttpVersion::Http2 => &[b"h2"],
        };
        let tls = if url.https { Some(context.connector(tls, &url.host, alpn)?) } else { None };
        let uri = url.sent().parse().map_err(|_| ClientError::Url(url.to_string()))?;
        Ok(Self { uri, tls, version, parsing: HeadParsing::default(), options, way: Way::Direct, kept: None })
    }

    /// Reads heads so.
    pub(crate) fn parsing(self, parsing: HeadParsing) -> Self {
        Self { parsing, ..self }
    }

    /// Reaches the origin so.
    pub(crate) fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    /// How the origin is reached.
    pub(crate) const fn way(&self) -> &Way {
        &self.way
    }

    /// Keeps the connection for the next request, or does not.
    pub(crate) fn keep_alive(self, keep: bool) -> Self {
        Self { kept: keep.then(Mutex::default), ..self }
    }

    /// The URL, as requests have it.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Sends the request, whose URI is absolute, and reads the whole response, with no more of a body than the limit.
    ///
    /// A server may close a kept connection at any time, and a request that is under way then gets no answer: that
    /// says nothing about the server, so the request is sent again on a fresh connection (RFC 9112 9.3.1). It must
    /// be one that may arrive twice.
    pub(crate) async fn send(
        &self,
        server: SocketAddr,
        mut request: Request<Full<Bytes>>,
        body: BodyUse<'_>,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<HttpResponse, Failure> {
        attempt.enter(Phase::Processing);
        if let (Way::Proxy(proxy), None) = (&self.way, &self.tls)
            && let Some(value) = &proxy.authorization
        {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        let answered = match self.take_kept(server) {
            Some(mut kept) => match kept.send(request.clone(), attempt).await {
                Ok(response) => Some((kept, response)),
                Err(_) if kept.may_have_been_closed() => {
                    attempt.clear_detail();
                    None
                }
                Err(failure) => return Err(failure),
            },
            None => None,
        };
        let (session, response) = match answered {
            Some(answered) => answered,
            None => {
                let mut fresh = self.open(server, measured, attempt).await?;
                attempt.enter(Phase::Processing);
                let response = match fresh.send(request, attempt).await {
                    Err(_) if fresh.at_proxy && fresh.received_nothing() => Err(unusable(attempt)),
                    result => result,
                };
                (fresh, response?)
            }
        };
        let head_read = session.timestamps.read();
        let (from, to) = if session.plain {
            (head_read.last_sent, head_read.first_received)
        } else if matches!(session.sender, Sender::Http2(_)) {
            // The request leaves first; acknowledgements of the peer's settings may follow it.
            (head_read.first_sent, head_read.last_received)
        } else {
            // What came before the head, such as session tickets, is not the first byte of an answer.
            (head_read.last_sent, head_read.last_received)
        };
        let processing = Elapsed::between(from, to);
        attempt.enter(Phase::Transfer);
        let (head, incoming) = response.into_parts();
        attempt.set_http_answer(answer(&head));
        session.timestamps.allow(body.allowance());
        session.steps.follow();
        let (body, trailers) = read_body(&head, incoming, body, attempt).await?;
        session.timestamps.allow(HEAD_ALLOWANCE);
        session.steps.begin();
        let processing = processing.ok_or(Failure::Local)?;
        measured.add(Phase::Processing, processing);
        let whole_read = session.timestamps.read();
        let from = if session.plain { whole_read.first_received } else { head_read.last_received };
        let transfer = Elapsed::between(from, whole_read.last_received).map(|elapsed| elapsed.duration);
        measured.add(Phase::Transfer, Elapsed { duration: transfer.unwrap_or_default(), ..processing });
        if let Some(kept) = &self.kept
            && body.is_some()
            && !session.driver.0.is_finished()
        {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        }
        Ok(HttpResponse { head, body, trailers })
    }

    /// Returns when the kept connection is closed; never where there is none.
    pub(crate) async fn closed(&self) {
        poll_fn(|cx| {
            let Some(kept) = &self.kept else { return Poll::Pending };
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(session) = &mut *kept else { return Poll::Pending };
            ready!(Pin::new(&mut session.driver.0).poll(cx)).ok();
            *kept = None;
            Poll::Ready(())
        })
        .await;
    }

    fn take_kept(&self, server: SocketAddr) -> Option<Session> {
        let kept = self.kept.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let usable = match &kept.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        };
        // A name that leads elsewhere now must be followed.
        (usable && kept.server == server).then_some(kept)
    }

    async fn open(&self, server: SocketAddr, measured: &mut Measured, attempt: &Attempt) -> Result<Session, Failure> {
        let connection = match &self.way {
            Way::Direct => Connection::open(server, self.options, None, measured, attempt).await?,
            Way::Unix(path) => Connection::open_unix(path, measured, attempt).await?,
            Way::Proxy(proxy) => {
                let to = self.tls.is_some().then_some(&self.uri);
                proxy.connect(server, self.options, to, measured, attempt).await?
            }
        };
        let connection = match &self.tls {
            Some(connector) => connection.secure(connector, measured, attempt).await?,
            None => connection,
        };
        let http2 = match self.tls {
            Some(_) => connection.alpn_protocol() == Some(b"h2"),
            None => self.version == HttpVersion::Http2,
        };
        if self.version == HttpVersion::Http2 && !http2 {
            return Err(broken(HttpFault::NoHttp2, attempt));
        }
        let timestamps = connection.enable_timestamps();
        let plain = self.tls.is_none() && !http2;
        let session = start(connection.io, server, http2, self.parsing, timestamps, attempt).await?;
        let at_proxy = self.tls.is_none() && matches!(self.way, Way::Proxy(_));
        Ok(Session { plain, at_proxy, ..session })
    }
}

async fn start(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: SocketAddr,
    http2: bool,
    parsing: HeadParsing,
    timestamps: Arc<StreamTimestamps>,
    attempt: &Attempt,
) -> Result<Session, Failure> {
    let steps = Arc::<Steps>::default();
    let lenient = parsing == HeadParsing::Lenient;
    let io = TokioIo::new(Watched::new(io, http2, Arc::clone(&steps)));
    let (sender, driver) = if http2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(MAX_HEAD as u32)
            .handshake(io)
            .await
            .map_err(|error| failure(&error, attempt))?;
        (Sender::Http2(sender), tokio::spawn(async move { drop(connection.await) }))
    } else {
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .allow_obsolete_multiline_headers_in_responses(lenient)
            .allow_spaces_after_header_name_in_responses(lenient)
            .ignore_invalid_headers_in_responses(lenient)
            .max_buf_size(MAX_HEAD)
            .handshake(io)
            .await
            .map_err(|error| failure(&error, attempt))?;
        (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
    };
    Ok(Session { server, sender, timestamps, steps, driver: Driver(driver), plain: false, at_proxy: false })
}

impl Session {
    async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
        attempt: &Attempt,
    ) -> Result<Response<Incoming>, Failure> {
        self.timestamps.begin();
        self.timestamps.allow(HEAD_ALLOWANCE);
        self.steps.begin();
        let result = match &mut self.sender {
            Sender::Http1(sender) => {
                add_host(&mut request)?;
                // A proxy gets the whole URI in the request line (RFC 9112 3.2.2).
                if !self.at_proxy {
                    to_origin_form(&mut request)?;
                }
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                to_authority(&mut request)?;
                sender.send_request(request).await
            }
        };
        result.map_err(|error| failure(&error, attempt))
    }

    /// Whether the last request can have failed because the server was closing: nothing came. Under TLS and HTTP/2 a
    /// closing is itself announced in bytes, so there it is assumed.
    fn may_have_been_closed(&self) -> bool {
        !self.plain || self.received_nothing()
    }

    fn received_nothing(&self) -> bool {
        self.timestamps.read().last_received.is_none()
    }
}

fn answer(head: &Parts) -> HttpAnswer {
    let protocol = match head.version {
        Version::HTTP_2 => HttpProtocol::Http2,
        Version::HTTP_11 => HttpProtocol::Http11,
        _ => HttpProtocol::Http10,
    };
    let is_http3 = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|part| part.trim_ascii_start().starts_with(b"h3"))
    };
    let offers_http3 = head.headers.get_all(header::ALT_SVC).iter().any(is_http3);
    HttpAnswer { status: head.status.as_u16(), protocol, offers_http3 }
}

/// HTTP/1.1 carries the host in a field and only the path in the request line (RFC 9112 3.2.1).
fn to_origin_form(request: &mut Request<Full<Bytes>>) -> Result<(), Failure> {
    let path = request.uri().path_and_query().cloned().ok_or(Failure::Local)?;
    *request.uri_mut() = Uri::from(path);
    Ok(())
}

fn add_host(request: &mut Request<Full<Bytes>>) -> Result<(), Failure> {
    if !request.headers().contains_key(header::HOST) {
        let authority = request.uri().authority().ok_or(Failure::Local)?.as_str();
        let host = HeaderValue::from_str(authority).map_err(|_| Failure::Local)?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}

/// HTTP/2 carries the host in `:authority`; a field beside it must say the same, or the request is malformed (RFC 9113
/// 8.3.1).
fn to_authority(request: &mut Request<Full<Bytes>>) -> Result<(), Failure> {
    let Some(host) = request.headers_mut().remove(header::HOST) else { return Ok(()) };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| Failure::Local)?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Failure::Local)?;
    Ok(())
}

async fn read_body(
    head: &Parts,
    mut incoming: Incoming,
    wanted: BodyUse<'_>,
    attempt: &Attempt,
) -> Result<(Option<Vec<u8>>, HeaderMap), Failure> {
    let BodyUse { limit, keep, mut inspect } = wanted;
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    let (mut read, mut small) = (0, 0);
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| failure(&error, attempt))?;
        if let Some(data) = frame.data_ref() {
            small += u32::from(data.len() < SMALL);
            if small > SMALL_PIECES {
                return Err(broken(HttpFault::TooLong, attempt));
            }
            let room = limit - read;
            if data.len() > room {
                // One byte more tells a pattern that its match does not need the end of the body.
                if let Some(inspect) = &mut inspect {
                    inspect(head, &data[..=room]);
                }
                return Ok((None, trailers));
            }
            read += data.len();
            if let Some(inspect) = &mut inspect {
                inspect(head, data);
            }
            if keep {
                body.extend_from_slice(data);
            }
        } else if let Ok(fields) = frame.into_trailers() {
            trailers = fields;
        }
    }
    Ok((Some(body), trailers))
}
