//! Which response belongs to which path.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use tokio::{sync::Semaphore, time::Instant};

use super::{
    api::{PathFilter, ProbesJson, parse_path},
    body::{Body, Content},
    conn_state::Signals,
    documents::{OPENAPI, explained_json, overview_json},
    engine_client::{EngineClient, Snapshot},
    held::Held,
    limits::Limits,
    origin,
    page::{self, ASSETS, About, Asset},
    params::{parameters, quoted},
    response::{EXPOSITION, Encoders, HTML, JSON, Rejection, short, text},
    state::{EncodedVotes, ServerState},
};
use crate::{
    metrics::Collect,
    model::{NONCE_HEADER, Nonce, Region, SIGNATURE_HEADER},
    signing::COMMAND_HEADER,
    status::{Explained, Overview},
    window::PathHistory,
};

const PATHS: &str = "not found; available paths:\n\
    GET  /\n\
    GET  /peer/REGION\n\
    GET  /path/PEER/TARGET/PROBE\n\
    GET  /explain?region=REGION\n\
    GET  /config\n\
    GET  /metrics[?collect=all|state|rest]\n\
    GET  /api/v1/overview\n\
    GET  /api/v1/regions\n\
    POST /api/v1/commands\n\
    GET  /api/v1/explain?region=REGION\n\
    GET  /api/v1/probes[?peer=R][&target=T][&probe=K][&path=PEER/TARGET/PROBE][&paths=N][&samples=N]\n\
    GET  /api/v1/openapi.json\n\
    GET  /-/healthy\n\
    GET  /-/ready\n\
    POST /-/reload\n";

#[derive(Debug, Clone, Copy)]
enum Route<'a> {
    Overview,
    Peer(&'a str),
    /// `PEER/TARGET/PROBE`
    Path(&'a str),
    Explain,
    ExplainJson,
    OverviewJson,
    OpenApi,
    Configuration,
    Asset(&'static Asset),
    Metrics,
    Votes,
    Commands,
    Probes,
    Healthy,
    Ready,
    Reload,
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/" => Self::Overview,
            "/explain" => Self::Explain,
            "/api/v1/explain" => Self::ExplainJson,
            "/api/v1/overview" => Self::OverviewJson,
            "/api/v1/openapi.json" => Self::OpenApi,
            "/config" => Self::Configuration,
            "/metrics" => Self::Metrics,
            "/api/v1/regions" => Self::Votes,
            "/api/v1/commands" => Self::Commands,
            "/api/v1/probes" => Self::Probes,
            "/-/healthy" => Self::Healthy,
            "/-/ready" => Self::Ready,
            "/-/reload" => Self::Reload,
            _ => match (path.strip_prefix("/peer/"), path.strip_prefix("/path/")) {
                (Some(peer), _) => Self::Peer(peer),
                (_, Some(path)) => Self::Path(path),
                _ => Self::Asset(ASSETS.get(path)?),
            },
        })
    }

    const fn methods(self) -> ([Method; 2], &'static str) {
        match self {
            Self::Reload => ([Method::POST, Method::PUT], "POST, PUT"),
            Self::Commands => ([Method::POST, Method::POST], "POST"),
            _ => ([Method::GET, Method::HEAD], "GET, HEAD"),
        }
    }
}

/// Answers requests.
pub(super) struct Routes {
    state: ServerState,
    engine: EngineClient,
    encoders: Encoders,
    /// Requests for probe histories that may be in flight.
    histories: Arc<Semaphore>,
    held_pages: Held,
    held_histories: Held,
    started: Instant,
}

impl Routes {
    pub(super) fn new(state: ServerState, limits: Limits, signals: Arc<Signals>) -> Self {
        Self {
            engine: EngineClient::new(state.queries.clone(), limits),
            state,
            encoders: Encoders::new(limits.encoders),
            histories: Arc::new(Semaphore::new(limits.histories)),
            held_pages: Held::new(limits.held_bytes, limits.query_timeout, Arc::clone(&signals)),
            held_histories: Held::new(limits.history_bytes, limits.query_timeout, signals),
            started: Instant::now(),
        }
    }

    /// The response to a request, whose body is never read.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut response = self.respond(request).await.unwrap_or_else(Rejection::response);
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if request.method() == Method::HEAD {
            *response.body_mut() = Body::new(Content::Text(Bytes::new()));
        }
        response
    }

    async fn respond<B>(&self, request: &Request<B>) -> Result<Response<Body>, Rejection> {
        let (path, headers) = (request.uri().path(), request.headers());
        let Some(route) = Route::of(path) else {
            return match accepts_html(headers) {
                true => self.not_found("page", path, None, headers).await,
                false => Ok(text(StatusCode::NOT_FOUND, PATHS)),
            };
        };
        let (methods, allow) = route.methods();
        if !methods.contains(request.method()) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            return Ok(response);
        }
        match route {
            Route::Overview => self.overview(headers).await,
            Route::Peer(peer) => self.peer(peer, headers).await,
            Route::Path(path) => self.path(path, headers).await,
            Route::Explain => self.explain(request).await,
            Route::ExplainJson => self.explain_json(request).await,
            Route::OverviewJson => {
                let Snapshot { overview, .. } = self.engine.snapshot().await?;
                Ok(self.json(overview_json(self.about(), &overview), headers))
            }
            Route::OpenApi => Ok(self.json(Bytes::from_static(OPENAPI.as_bytes()), headers)),
            Route::Configuration => {
                let Snapshot { overview, .. } = self.engine.snapshot().await?;
                self.html(headers, || (StatusCode::OK, page::configuration(self.about(), &overview))).await
            }
            Route::Asset(asset) => Ok(self.asset(asset, headers)),
            Route::Metrics => self.metrics(request),
            Route::Votes => self.votes(headers).await,
            Route::Commands => self.command(headers).await,
            Route::Probes => self.probes(request).await,
            Route::Healthy => Ok(text(StatusCode::OK, "regionwatch is healthy.\n")),
            Route::Ready if self.state.ready.load(Ordering::Relaxed) => {
                Ok(text(StatusCode::OK, "regionwatch is ready.\n"))
            }
            Route::Ready => Ok(text(StatusCode::SERVICE_UNAVAILABLE, "regionwatch is not ready yet.\n")),
            Route::Reload => self.reload(request).await,
        }
    }

    fn about(&self) -> About<'_> {
        About {
            region: &self.state.region,
            environment: self.state.environment.as_ref(),
            version: self.state.version,
            uptime: self.started.elapsed(),
        }
    }

    async fn overview(&self, headers: &HeaderMap) -> Result<Response<Body>, Rejection> {
        let Snapshot { overview, page } = self.engine.snapshot().await?;
        let render = || page.get_or_init(|| page::overview(self.about(), &overview)).clone();
        self.html(headers, || (StatusCode::OK, render())).await
    }

    async fn peer(&self, peer: &str, headers: &HeaderMap) -> Result<Response<Body>, Rejection> {
        let Snapshot { overview, .. } = self.engine.snapshot().await?;
        self.html(headers, || match page::peer(self.about(), &overview, peer) {
            Some(page) => (StatusCode::OK, page),
            None => (StatusCode::NOT_FOUND, page::not_found(self.about(), "peer", peer, Some(&overview))),
        })
        .await
    }

    async fn path(&self, name: &str, headers: &HeaderMap) -> Result<Response<Body>, Rejection> {
        let Snapshot { overview, .. } = self.engine.snapshot().await?;
        let Some(view) = parse_path(name).ok().and_then(|path| overview.path(&path)) else {
            return self.not_found("path", name, Some(&overview), headers).await;
        };
        let history = self.engine.history(&view.path).await?;
        let render = || page::path(self.about(), &overview, view, &history.samples);
        self.html(headers, || (StatusCode::OK, render())).await
    }

    async fn explain<B>(&self, request: &Request<B>) -> Result<Response<Body>, Rejection> {
        let (region, headers) = (region_of(request)?, request.headers());
        let Snapshot { overview, .. } = self.engine.snapshot().await?;
        match self.engine.explain(&region).await? {
            Some(explanation) => {
                let explained = Explained::of(&explanation, &overview);
                self.html(headers, || (StatusCode::OK, page::explain(self.about(), &overview, &explained))).await
            }
            None => self.not_found("peer", region.as_str(), Some(&overview), headers).await,
        }
    }

    async fn explain_json<B>(&self, request: &Request<B>) -> Result<Response<Body>, Rejection> {
        let region = region_of(request)?;
        let Snapshot { overview, .. } = self.engine.snapshot().await?;
        Ok(match self.engine.explain(&region).await? {
            Some(explanation) => self.json(explained_json(&Explained::of(&explanation, &overview)), request.headers()),
            None => unknown_peer(&region, &overview),
        })
    }

    fn json(&self, document: Bytes, headers: &HeaderMap) -> Response<Body> {
        self.encoders.respond(JSON, Body::new(Content::Text(document)), headers)
    }

    /// A page for people, with its status.
    async fn html(
        &self,
        headers: &HeaderMap,
        render: impl FnOnce() -> (StatusCode, Bytes),
    ) -> Result<Response<Body>, Rejection> {
        let ((status, page), permit) = self.held_pages.make(async { Ok(render()) }, |(_, page)| page.len()).await?;
        let mut response = self.encoders.respond(HTML, Body::new(Content::Text(page)).with_permit(permit), headers);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Ok(response)
    }

    async fn not_found(
        &self,
        what: &str,
        name: &str,
        overview: Option<&Overview>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Rejection> {
        self.html(headers, || (StatusCode::NOT_FOUND, page::not_found(self.about(), what, name, overview))).await
    }

    fn asset(&self, asset: &Asset, headers: &HeaderMap) -> Response<Body> {
        let body = Body::new(Content::Text(Bytes::from_static(asset.content.as_bytes())));
        let mut response = self.encoders.respond(HeaderValue::from_static(asset.content_type), body, headers);
        // Its name changes with its content.
        let immutable = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(CACHE_CONTROL, immutable);
        response
    }

    fn metrics<B>(&self, request: &Request<B>) -> Result<Response<Body>, Rejection> {
        let mut collect = None;
        for (_, value) in parameters(request.uri().query()).filter(|(name, _)| name == "collect") {
            let Some(parsed) = Collect::parse(&value) else {
                return Err(Rejection::BadRequest(format!(
                    "collect={} is unknown; use all, state or rest",
                    quoted(&value)
                )));
            };
            if collect.replace(parsed).is_some() {
                return Err(Rejection::BadRequest("collect is given twice".to_owned()));
            }
        }
        let page = self.state.metrics.page(collect.unwrap_or_default());
        Ok(self.encoders.respond(EXPOSITION, Body::new(Content::Metrics(page)), request.headers()))
    }

    /// The vote message, signed if there is a key and the client sends a nonce.
    async fn votes(&self, headers: &HeaderMap) -> Result<Response<Body>, Rejection> {
        let nonce = nonce(headers)?;
        let EncodedVotes { body, keys } = self.engine.votes().await?;
        let signature = nonce.zip(keys).map(|(nonce, keys)| keys.sign(nonce, &body));
        let mut response = short(StatusCode::OK, JSON, body);
        if let Some(signature) = signature.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(SIGNATURE_HEADER, signature);
        }
        Ok(response)
    }

    /// Carries out what an operator has signed. Nothing else authorizes it.
    async fn command(&self, headers: &HeaderMap) -> Result<Response<Body>, Rejection> {
        let Some(value) = headers.get(COMMAND_HEADER) else {
            return Err(Rejection::BadRequest(format!(
                "{COMMAND_HEADER} is missing; use regionwatch release, failover, arm, disarm or maintenance"
            )));
        };
        Ok(match self.engine.command(Bytes::copy_from_slice(value.as_bytes())).await? {
            Ok(done) => text(StatusCode::OK, done + "\n"),
            Err(reason) => text(StatusCode::FORBIDDEN, format!("refused: {reason}\n")),
        })
    }

    async fn probes<B>(&self, request: &Request<B>) -> Result<Response<Body>, Rejection> {
        let filter = PathFilter::parse(request.uri().query()).map_err(Rejection::BadRequest)?;
        // They are copied on the thread that probes, and a body would be thrown away.
        if *request.method() == Method::HEAD {
            return Ok(self.encoders.respond(JSON, Body::new(Content::Text(Bytes::new())), request.headers()));
        }
        // Histories are large and copied for each client.
        let Ok(permit) = Arc::clone(&self.histories).try_acquire_owned() else {
            return Err(Rejection::Unavailable("too many concurrent requests for probes"));
        };
        let peer = filter.peer.clone();
        let size = |history: &PathHistory| size_of_val(history) + size_of_val(&*history.samples);
        let copied = self.engine.probes(filter);
        let (paths, held) = self.held_histories.make(copied, |paths| paths.iter().map(size).sum()).await?;
        if let (Some(peer), true) = (peer, paths.is_empty()) {
            let Snapshot { overview, .. } = self.engine.snapshot().await?;
            if overview.peer(peer.as_str()).is_none() {
                return Ok(unknown_peer(&peer, &overview));
            }
        }
        let probes = ProbesJson::new(self.state.environment.clone(), paths);
        let body = Body::new(Content::Probes(probes)).with_permit(permit).with_permit(held);
        Ok(self.encoders.respond(JSON, body, request.headers()))
    }

    async fn reload<B>(&self, request: &Request<B>) -> Result<Response<Body>, Rejection> {
        if !self.state.lifecycle {
            let message = "Lifecycle API is not enabled; start with --enable-lifecycle.\n";
            return Ok(text(StatusCode::FORBIDDEN, message));
        }
        if let Some(reason) = origin::refusal(request, self.state.external_url.borrow().as_ref()) {
            return Ok(text(StatusCode::FORBIDDEN, format!("not reloaded: {reason}\n")));
        }
        let late = Rejection::Unavailable("the reload did not finish in time; it may still take effect");
        Ok(match self.engine.reload().await.map_err(|_| late)? {
            Ok(()) => text(StatusCode::OK, "reloaded\n"),
            Err(mistakes) => {
                let message = format!("failed to reload the configuration:\n{mistakes}\n");
                text(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        })
    }
}

/// The parameter `region`, which must be the only one.
fn region_of<B>(request: &Request<B>) -> Result<Region, Rejection> {
    let mut given = parameters(request.uri().query());
    let region = match (given.next(), given.next()) {
        (Some((name, value)), None) if name == "region" => {
            Region::new(&value).map_err(|error| format!("region={} {error}", quoted(&value)))
        }
        _ => Err("use ?region=REGION, and no other parameter".to_owned()),
    };
    region.map_err(Rejection::BadRequest)
}

/// 404, with the peers that there are.
fn unknown_peer(region: &Region, overview: &Overview) -> Response<Body> {
    let peers: Vec<_> = overview.peers.iter().map(|peer| peer.region.as_str()).collect();
    text(StatusCode::NOT_FOUND, format!("there is no peer {region}; peers: {}\n", peers.join(", ")))
}

fn nonce(headers: &HeaderMap) -> Result<Option<Nonce>, Rejection> {
    let mut values = headers.get_all(NONCE_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::BadRequest(format!("{NONCE_HEADER} is given twice")));
    }
    let nonce = Nonce::parse(value.as_bytes()).ok_or_else(|| {
        let value = quoted(&String::from_utf8_lossy(value.as_bytes()));
        Rejection::BadRequest(format!(
            "{NONCE_HEADER}: {value} is not 32 lower-case hexadecimal digits; send 32 random ones, or omit the header to \
             get an unsigned response"
        ))
    });
    nonce.map(Some)
}

/// Whether the client is a browser.
fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}
