//! What is served where.

use std::sync::{Arc, OnceLock, atomic::Ordering};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use tokio::{
    sync::{Mutex, Semaphore, oneshot},
    time::{Instant, timeout},
};

use super::{
    api::{Histories, PathFilter},
    body::{Body, Buffers, Source, Stream},
    encoding::wants_gzip,
    limits::Limits,
    page::{self, About, Asset},
    params,
    state::{EncodedVotes, Query, ServerState},
};
use crate::{
    metrics::Collect,
    model::{NONCE_HEADER, Nonce, Path, Region, SIGNATURE_HEADER, TargetName},
    probe,
    status::Overview,
    window::PathHistory,
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

const ROUTES: &str = "not found; served are:\n\
    GET  /\n\
    GET  /peer/REGION\n\
    GET  /path/PEER/TARGET/PROBE\n\
    GET  /config\n\
    GET  /metrics[?collect=all|state]\n\
    GET  /api/v1/regions\n\
    GET  /api/v1/probes[?peer=R][&target=T][&probe=K][&path=PEER/TARGET/PROBE][&limit=N]\n\
    GET  /-/healthy\n\
    GET  /-/ready\n\
    POST /-/reload\n";

/// What all requests share.
pub(super) struct Routes {
    state: ServerState,
    limits: Limits,
    buffers: Arc<Buffers>,
    encoders: Arc<Semaphore>,
    histories: Arc<Semaphore>,
    /// The last bulletin, and when it was asked for.
    bulletin: Mutex<Option<(Instant, EncodedVotes)>>,
    /// The last overview.
    snapshot: Mutex<Option<Snapshot>>,
    /// The last probes of the paths that somebody looks at, and when they were asked for.
    history_cache: Mutex<Vec<(Instant, Arc<PathHistory>)>>,
    started: Instant,
}

/// The last overview, when it was asked for, and the page of it once somebody has wanted that.
#[derive(Clone)]
struct Snapshot {
    asked: Instant,
    overview: Arc<Overview>,
    page: Arc<OnceLock<Bytes>>,
}

#[derive(Debug, Clone, Copy)]
enum Route<'a> {
    Overview,
    Peer(&'a str),
    /// `PEER/TARGET/PROBE`
    Path(&'a str),
    Configuration,
    Asset(Asset),
    Metrics,
    Regions,
    Probes,
    Healthy,
    Ready,
    Reload,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        if let Some(peer) = path.strip_prefix("/peer/") {
            return Some(Self::Peer(peer));
        }
        if let Some(path) = path.strip_prefix("/path/") {
            return Some(Self::Path(path));
        }
        Some(match path {
            "/" => Self::Overview,
            "/config" => Self::Configuration,
            "/metrics" => Self::Metrics,
            "/api/v1/regions" => Self::Regions,
            "/api/v1/probes" => Self::Probes,
            "/-/healthy" => Self::Healthy,
            "/-/ready" => Self::Ready,
            "/-/reload" => Self::Reload,
            _ => Self::Asset(Asset::of(path)?),
        })
    }

    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Reload => matches!(*method, Method::POST | Method::PUT),
            _ => matches!(*method, Method::GET | Method::HEAD),
        }
    }

    fn allowed(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Reload => "POST, PUT",
            _ => "GET, HEAD",
        })
    }
}

impl Routes {
    pub(super) fn new(state: ServerState, limits: Limits) -> Self {
        Self {
            state,
            limits,
            buffers: Arc::default(),
            encoders: Arc::new(Semaphore::new(limits.encoders)),
            histories: Arc::new(Semaphore::new(limits.histories)),
            bulletin: Mutex::default(),
            snapshot: Mutex::default(),
            history_cache: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// The answer to a request, whose body is never looked at.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut response = match Route::of(request.uri().path()) {
            // Programs are told what there is.
            None if !reads_pages(request.headers()) => plain(StatusCode::NOT_FOUND, ROUTES),
            None => self.missing("page", request.uri().path(), None, request.headers()),
            Some(route) if !route.allows(request.method()) => {
                let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
                refusal.headers_mut().insert(ALLOW, route.allowed());
                refusal
            }
            Some(Route::Overview) => self.overview(request.headers()).await,
            Some(Route::Peer(peer)) => self.peer(peer, request.headers()).await,
            Some(Route::Path(path)) => self.path(path, request.headers()).await,
            Some(Route::Configuration) => self.configuration(request.headers()).await,
            Some(Route::Asset(asset)) => self.asset(asset, request.headers()),
            Some(Route::Metrics) => self.metrics(request),
            Some(Route::Regions) => self.regions(request.headers()).await,
            Some(Route::Probes) => self.probes(request).await,
            Some(Route::Healthy) => plain(StatusCode::OK, "regionwatch is healthy.\n"),
            Some(Route::Ready) if self.state.ready.load(Ordering::Relaxed) => {
                plain(StatusCode::OK, "regionwatch is ready.\n")
            }
            Some(Route::Ready) => plain(StatusCode::SERVICE_UNAVAILABLE, "regionwatch is not ready yet.\n"),
            Some(Route::Reload) => self.reload().await,
        };
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if request.method() == Method::HEAD {
            *response.body_mut() = Body::text("");
        }
        response
    }

    /// Paths whose last probes are held for the next reader; some 15 KiB each.
    const LOOKED_AT: usize = 32;

    fn about(&self) -> About<'_> {
        About { region: &self.state.region, version: self.state.version, uptime: self.started.elapsed() }
    }

    /// What the pages show. One request at a time asks for it, and those that waited meanwhile get the same.
    async fn snapshot(&self) -> Option<Snapshot> {
        let mut last = self.snapshot.lock().await;
        if let Some(snapshot) = last.as_ref().filter(|snapshot| snapshot.asked.elapsed() < self.limits.overview_max_age)
        {
            return Some(snapshot.clone());
        }
        let asked = Instant::now();
        let overview = Arc::new(self.query(Query::Overview).await?);
        let snapshot = Snapshot { asked, overview, page: Arc::default() };
        *last = Some(snapshot.clone());
        Some(snapshot)
    }

    async fn overview(&self, headers: &HeaderMap) -> Response<Body> {
        let Ok(Some(Snapshot { overview, page, .. })) = timeout(self.limits.query_timeout, self.snapshot()).await
        else {
            return timed_out();
        };
        let page = page.get_or_init(|| page::overview(self.about(), &overview)).clone();
        self.html(StatusCode::OK, page, headers)
    }

    async fn peer(&self, peer: &str, headers: &HeaderMap) -> Response<Body> {
        let Ok(Some(Snapshot { overview, .. })) = timeout(self.limits.query_timeout, self.snapshot()).await else {
            return timed_out();
        };
        match page::peer(self.about(), &overview, peer) {
            Some(page) => self.html(StatusCode::OK, page, headers),
            None => self.missing("peer", peer, Some(&overview), headers),
        }
    }

    async fn path(&self, path: &str, headers: &HeaderMap) -> Response<Body> {
        let asked = path;
        let Ok(Some(Snapshot { overview, .. })) = timeout(self.limits.query_timeout, self.snapshot()).await else {
            return timed_out();
        };
        let missing = || self.missing("path", asked, Some(&overview), headers);
        let Some(path) = path_named(path).filter(|path| overview.path(path).is_some()) else { return missing() };
        let Ok(Some(history)) = timeout(self.limits.query_timeout, self.history(&path)).await else {
            return timed_out();
        };
        match page::path(self.about(), &overview, &path, &history.samples) {
            Some(page) => self.html(StatusCode::OK, page, headers),
            None => missing(),
        }
    }

    /// The last probes of a path, shared like the overview.
    async fn history(&self, path: &Path) -> Option<Arc<PathHistory>> {
        let mut known = self.history_cache.lock().await;
        known.retain(|(asked, _)| asked.elapsed() < self.limits.overview_max_age);
        if let Some((_, history)) = known.iter().find(|(_, history)| history.path == *path) {
            return Some(Arc::clone(history));
        }
        let asked = Instant::now();
        let filter = PathFilter {
            peer: Some(path.peer.clone()),
            target: Some(path.target.clone()),
            kind: Some(path.kind),
            limit: 1,
        };
        let found = self.query(|reply| Query::Probes { filter, reply }).await?;
        let history = found.into_iter().find(|history| history.path == *path);
        let history = history.unwrap_or_else(|| PathHistory { path: path.clone(), samples: Vec::new() });
        let history = Arc::new(history);
        let surplus = (known.len() + 1).saturating_sub(Self::LOOKED_AT);
        known.drain(..surplus);
        known.push((asked, Arc::clone(&history)));
        Some(history)
    }

    async fn configuration(&self, headers: &HeaderMap) -> Response<Body> {
        let Ok(Some(Snapshot { overview, .. })) = timeout(self.limits.query_timeout, self.snapshot()).await else {
            return timed_out();
        };
        self.html(StatusCode::OK, page::configuration(self.about(), &overview), headers)
    }

    fn asset(&self, asset: Asset, headers: &HeaderMap) -> Response<Body> {
        let (content_type, content) = asset.content();
        let stream = Stream::new(Source::Text(content), &self.buffers, None);
        let mut response = self.streamed(stream, HeaderValue::from_static(content_type), headers);
        // Its name changes with its content.
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(CACHE_CONTROL, forever);
        response
    }

    fn missing(&self, what: &str, asked: &str, overview: Option<&Overview>, headers: &HeaderMap) -> Response<Body> {
        self.html(StatusCode::NOT_FOUND, page::missing(self.about(), what, asked, overview), headers)
    }

    /// A page for people.
    fn html(&self, status: StatusCode, page: Bytes, headers: &HeaderMap) -> Response<Body> {
        let stream = Stream::new(Source::Text(page), &self.buffers, None);
        let mut response = self.streamed(stream, HTML, headers);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }

    fn metrics<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut collect = None;
        for (_, value) in params::parameters(request.uri().query()).filter(|(name, _)| name == "collect") {
            let Some(parsed) = Collect::parse(&value) else {
                let value = params::quoted(&value);
                return mistake(format!("collect={value} is unknown; allowed are all and state"));
            };
            if collect.replace(parsed).is_some() {
                return mistake("collect is given twice".to_owned());
            }
        }
        let page = self.state.metrics.page(collect.unwrap_or(Collect::All));
        let stream = Stream::new(Source::Page(page), &self.buffers, None);
        self.streamed(stream, PROMETHEUS, request.headers())
    }

    /// The bulletin. One request at a time asks for it, and those that waited meanwhile get the same.
    async fn bulletin(&self) -> Option<EncodedVotes> {
        let mut last = self.bulletin.lock().await;
        let fresh = last.as_ref().filter(|(asked, _)| asked.elapsed() < self.limits.votes_max_age);
        if let Some((_, bulletin)) = fresh {
            return Some(bulletin.clone());
        }
        let asked = Instant::now();
        let bulletin = self.query(Query::Votes).await?;
        *last = Some((asked, bulletin.clone()));
        Some(bulletin)
    }

    /// The bulletin, signed where the asker has given a nonce to sign it with and there is a key.
    async fn regions(&self, headers: &HeaderMap) -> Response<Body> {
        let mut nonces = headers.get_all(NONCE_HEADER).iter();
        let nonce = match (nonces.next(), nonces.next()) {
            (None, _) => None,
            (Some(value), None) => match Nonce::parse(value.as_bytes()) {
                Some(nonce) => Some(nonce),
                None => {
                    let value = params::quoted(&String::from_utf8_lossy(value.as_bytes()));
                    return mistake(format!(
                        "{NONCE_HEADER}: {value} is not 32 lower-case hexadecimal digits; write those of a random \
                         number, or leave the header out and get no signature"
                    ));
                }
            },
            (Some(_), Some(_)) => return mistake(format!("{NONCE_HEADER} is given twice")),
        };
        let Ok(Some(EncodedVotes { body, keys })) = timeout(self.limits.query_timeout, self.bulletin()).await else {
            return busy("the bulletin was not made in time\n");
        };
        let signature = nonce.zip(keys).map(|(nonce, keys)| keys.sign(nonce, &body));
        let mut response = text(StatusCode::OK, JSON, body);
        if let Some(signature) = signature.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(SIGNATURE_HEADER, signature);
        }
        response
    }

    async fn probes<B>(&self, request: &Request<B>) -> Response<Body> {
        let filter = match PathFilter::parse(request.uri().query()) {
            Ok(filter) => filter,
            Err(error) => return mistake(error),
        };
        // Histories are large and copied for each reader, so only a few readers are served at a time.
        let Ok(permit) = Arc::clone(&self.histories).try_acquire_owned() else {
            return busy("too many readers of probes at once\n");
        };
        let limit = filter.limit;
        let Some(mut histories) = self.query(|reply| Query::Probes { filter, reply }).await else {
            return busy("the probes did not answer in time\n");
        };
        histories.truncate(limit);
        let stream = Stream::new(Source::Histories(Histories::new(histories)), &self.buffers, Some(permit));
        self.streamed(stream, JSON, request.headers())
    }

    async fn reload(&self) -> Response<Body> {
        if !self.state.lifecycle {
            return plain(StatusCode::FORBIDDEN, "Lifecycle API is not enabled; start with --enable-lifecycle.\n");
        }
        match self.query(Query::Reload).await {
            Some(Ok(())) => plain(StatusCode::OK, "reloaded\n"),
            Some(Err(mistakes)) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                format!("failed to reload the configuration:\n{mistakes}\n"),
            ),
            None => busy("no answer in time; the reload may still take effect\n"),
        }
    }

    /// Asks the probing thread; `None` where it does not answer in time.
    async fn query<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        timeout(self.limits.query_timeout, async {
            self.state.queries.send(query(reply)).await.ok()?;
            answer.await.ok()
        })
        .await
        .ok()?
    }

    /// A long answer, in gzip where the client wants it and an encoder is free.
    fn streamed(&self, stream: Stream, content_type: HeaderValue, headers: &HeaderMap) -> Response<Body> {
        // An encoder takes some 300 KiB, so that a crowd of stalled clients is served plain text instead.
        let encoder = wants_gzip(headers).then(|| Arc::clone(&self.encoders).try_acquire_owned().ok()).flatten();
        let gzip = encoder.is_some();
        let body = match encoder {
            Some(permit) => Body::stream(stream.gzip(permit)),
            None => Body::stream(stream),
        };
        let mut response = answer(StatusCode::OK, content_type, body);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn plain(status: StatusCode, message: &'static str) -> Response<Body> {
    text(status, TEXT, message)
}

fn mistake(mut message: String) -> Response<Body> {
    message.push('\n');
    tracing::debug!(message, "bad request");
    text(StatusCode::BAD_REQUEST, TEXT, message)
}

fn busy(message: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// `PEER/TARGET/PROBE`; `None` where it is none.
fn path_named(text: &str) -> Option<Path> {
    let mut parts = text.split('/');
    let (peer, target, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = probe::kind_named(kind)?;
    let path = Path { peer: Region::new(peer).ok()?, target: TargetName::new(target).ok()?, kind };
    parts.next().is_none().then_some(path)
}

/// Whether it is a browser that asks.
fn reads_pages(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

fn timed_out() -> Response<Body> {
    busy("the probing thread did not answer in time\n")
}

fn text(status: StatusCode, content_type: HeaderValue, message: impl Into<Bytes>) -> Response<Body> {
    let message = message.into();
    let length = HeaderValue::from(message.len());
    let mut response = answer(status, content_type, Body::text(message));
    // Said here, because a HEAD request is answered without the body that hyper would measure.
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

fn answer(status: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
