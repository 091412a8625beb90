//! One HTTP request, on a fresh connection unless it is to be kept, and whether the response is the expected one.

mod access;
mod body;
mod cookies;
mod credentials;
mod redirect;
mod spec;
mod status;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, LOCATION, USER_AGENT},
    response::Parts,
};
use http_body_util::Full;

pub use self::{access::HttpAccess, credentials::CredentialsFile, spec::HttpSpec, status::ExpectedStatus};
pub(super) use self::{
    access::{read_headers, write_headers},
    credentials::Authorization,
    spec::{KEYS, read, write},
    status::{failure_by_proxy, failure_of},
};
use self::{
    body::{BodyMatch, BodyMatcher},
    cookies::Jar,
    redirect::Origin,
    spec::HTTP_KEYS,
};
use super::{
    kind::ProbeKind,
    prober::{Probe, ProbeError, ProberContext, SetupError},
};
use crate::{
    model::{Facts, Failure, FailureDetail, Host, HttpUrl, Kind, Layer, Phase, Shape, Timings},
    net::{
        AGENT, Attempt, BodyUse, ClockWatch, HttpClient, HttpResponse, Measured, ResolvedHost, SocketOptions,
        Timestamp, TlsContext, TlsSpec, Way, proxy_unusable,
    },
    yaml::{Fields, ReadContext, writer::Writer},
};

/// One HTTP request. The server adds its own time.
pub const HTTP: Kind = Kind::new(&Facts {
    name: "http",
    title: "HTTP",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 2,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

impl ProbeKind for HttpSpec {
    const KIND: Kind = HTTP;
    const KEYS: &'static [&'static str] = HTTP_KEYS;
    const SHARES_SOCKET: bool = false;

    type Prober = HttpProbe;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        read(fields, context, |_, defaults| defaults)
    }

    fn write(&self, page: &mut Writer) {
        write(page, self);
    }

    fn destination(&self, _: &Host) -> String {
        let way = match &self.way {
            Way::Direct => String::new(),
            Way::Unix(path) => format!(" by {}", path.display()),
            Way::Proxy(proxy) => format!(" by {}", proxy.url.origin()),
        };
        format!("{} {}{way}", self.method, self.url)
    }

    fn shape(&self) -> Shape {
        let phases = [Phase::Connect, Phase::Processing, Phase::Transfer];
        let results = [Failure::Refused, Failure::Protocol, Failure::Status, Failure::Auth];
        let mut shape = Shape { late: false, http: true, ..Shape::new(phases, results) };
        if self.uses_tls() {
            shape = shape.with(Phase::Tls, Failure::Tls);
        }
        if self.expect_body.is_some() || self.reject_body.is_some() || !self.expect_headers.is_empty() {
            shape.results = shape.results.with([Failure::Mismatch]);
        }
        shape
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.uses_tls().then_some(&self.tls)
    }

    fn url(&self) -> Option<&HttpUrl> {
        Some(&self.url)
    }

    fn dialled(&self) -> Option<&Host> {
        Some(self.dialled_host())
    }

    fn connects_to(&self) -> Vec<(&'static str, &Host)> {
        match &self.way {
            Way::Direct => {
                let origins = self.redirect_origins.iter().map(|origin| ("redirect_origins", &origin.host));
                [("url", &self.url.host)].into_iter().chain(origins).collect()
            }
            Way::Unix(_) => Vec::new(),
            Way::Proxy(proxy) => vec![("proxy", &proxy.url.host)],
        }
    }

    fn connections_elsewhere(&self) -> usize {
        if self.keep_alive { self.redirect_origins.len() } else { 0 }
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<HttpProbe, SetupError> {
        HttpProbe::new(self, context)
    }
}

/// Requests one URL.
#[derive(Debug)]
pub(crate) struct HttpProbe {
    own: Place,
    /// Where redirects may lead besides.
    others: Box<[Place]>,
    spec: Arc<HttpSpec>,
    headers: HeaderMap,
    authorization: Authorization,
    body: Bytes,
    /// Whether an answer may be a proxy's own.
    may_be_of_proxy: bool,
}

/// An origin that is requested.
#[derive(Debug)]
struct Place {
    origin: Option<Origin>,
    resolved: ResolvedHost,
    /// That of the URL, or of the proxy.
    port: u16,
    client: HttpClient,
}

/// What the clients of a probe share.
type Setup<'a> = (SocketOptions, &'a TlsContext);

impl Place {
    fn new(
        url: &HttpUrl,
        spec: &HttpSpec,
        tls: &TlsSpec,
        resolved: ResolvedHost,
        setup: Setup<'_>,
    ) -> Result<Self, SetupError> {
        let (options, context) = setup;
        let client = HttpClient::new(url, spec.version, options, tls, context)?;
        let client = client.keep_alive(spec.keep_alive).parsing(spec.parsing).by(spec.way.clone());
        let port = if let Way::Proxy(proxy) = &spec.way { proxy.url.port } else { url.port };
        Ok(Self { origin: Origin::of(client.uri()), resolved, port, client })
    }

    /// Another origin than that of the probe's URL. What proves who we are is for the host of that URL alone.
    fn other(url: &HttpUrl, spec: &HttpSpec, resolved: ResolvedHost, setup: Setup<'_>) -> Result<Self, SetupError> {
        let mut tls = spec.tls.clone();
        if url.host != spec.url.host {
            (tls.server_name, tls.identity) = (None, None);
        }
        Self::new(url, spec, &tls, resolved, setup)
    }

    async fn server(&self, attempt: &Attempt) -> Result<SocketAddr, Failure> {
        let address = match self.client.way() {
            Way::Direct => self.resolved.address(attempt).await?,
            // Not used, but the same for each request.
            Way::Unix(_) => Ipv4Addr::LOCALHOST.into(),
            Way::Proxy(_) => {
                self.resolved.address_or(attempt, Failure::Local).await.map_err(|_| proxy_unusable(attempt))?
            }
        };
        Ok(SocketAddr::new(address, self.port))
    }
}

/// The header fields of every request.
fn common_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers
}

/// What a kind of probe adds to the HTTP request that it consists of.
pub(crate) trait Exchange: Send {
    /// Whether the body is needed even if no pattern is expected in it.
    const KEEPS_BODY: bool;

    /// Changes the header of a request, just before it is sent. A redirect leads to another request.
    fn prepare(&mut self, header: &mut HeaderMap);

    /// Takes a response that is the expected one, or whose body is too large.
    fn receive(&mut self, response: &mut HttpResponse);
}

/// A plain request.
impl Exchange for () {
    const KEEPS_BODY: bool = false;

    fn prepare(&mut self, _: &mut HeaderMap) {}

    fn receive(&mut self, _: &mut HttpResponse) {}
}

impl HttpProbe {
    pub(crate) fn new(spec: Arc<HttpSpec>, context: ProberContext<'_>) -> Result<Self, SetupError> {
        let setup = (context.socket_options(), context.tls);
        let own = Place::new(&spec.url, &spec, &spec.tls, context.resolved, setup)?;
        let dialled = |url: &HttpUrl| if spec.way == Way::Direct { url.host.clone() } else { context.host.clone() };
        let other = |url: &HttpUrl| Place::other(url, &spec, context.lookup.of(&dialled(url)), setup);
        let others = spec.redirect_origins.iter().map(other);
        let others = others.collect::<Result<_, _>>()?;
        let mut headers = common_headers();
        for name in spec.headers.iter().map(|(name, _)| name) {
            headers.remove(name);
        }
        headers.extend(spec.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        let body = spec.body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body.as_bytes()));
        let authorization = Authorization::new(spec.credentials.clone());
        // A tunnel has TLS in it, so that what answers there is the peer.
        let may_be_of_proxy = matches!(spec.way, Way::Proxy(_)) && !spec.url.https;
        Ok(Self { own, others, spec, headers, authorization, body, may_be_of_proxy })
    }

    /// Makes the request and judges the response.
    pub(crate) async fn measure<E: Exchange>(&self, mut exchange: E, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = self.own.server(attempt).await?;
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let (mut response, body) = self.fetch(server, &mut exchange, &mut measured, attempt).await?;
        let stepped = watch.stepped();
        let judged = self.judge(&response, body, E::KEEPS_BODY);
        if judged == Err(Failure::Auth) {
            self.authorization.refused();
        }
        if let Err(Failure::Status | Failure::Auth | Failure::Local | Failure::Unreachable) = judged {
            attempt.set_detail(FailureDetail::HttpStatus(response.head.status.as_u16()));
        } else if judged == Err(Failure::Mismatch) && body == BodyMatch::UnknownCoding {
            attempt.set_detail(FailureDetail::UnknownCoding);
        } else if response.body.is_none() {
            attempt.set_detail(FailureDetail::TruncatedBody);
            attempt.set_warning(FailureDetail::TruncatedBody);
        } else if judged == Err(Failure::Mismatch) {
            let is_body = body == BodyMatch::Unexpected;
            attempt.set_detail(if is_body { FailureDetail::OtherBody } else { FailureDetail::OtherHeader });
        }
        if matches!(judged, Ok(()) | Err(Failure::Protocol)) {
            exchange.receive(&mut response);
        }
        judged?;
        if stepped {
            return Err(ProbeError::ClockStep);
        }
        Ok(measured.into_timings(&self.own.resolved))
    }

    /// Follows redirects as far as allowed. Returns the response, and whether its body is the expected one.
    async fn fetch<E: Exchange>(
        &self,
        mut server: SocketAddr,
        exchange: &mut E,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<(HttpResponse, BodyMatch), Failure> {
        let mut place = &self.own;
        let mut uri = place.client.uri().clone();
        let mut jar = self.spec.cookies.then(Jar::default);
        for _ in 0..=self.spec.redirects {
            let is_own = std::ptr::eq(place, &self.own);
            let mut request = Request::new(Full::new(if is_own { self.body.clone() } else { Bytes::new() }));
            *request.method_mut() = self.spec.method.clone();
            *request.uri_mut() = uri.clone();
            if is_own {
                *request.headers_mut() = self.headers.clone();
                self.authorization.apply(request.headers_mut());
                exchange.prepare(request.headers_mut());
            } else {
                // Credentials can be in any header field.
                *request.headers_mut() = common_headers();
            }
            if let Some(jar) = &jar {
                jar.apply(request.headers_mut(), &uri);
            }
            let mut matcher = BodyMatcher::new(&self.spec);
            let mut inspect = |head: &Parts, bytes: &[u8]| matcher.feed(head, bytes);
            let body = BodyUse { limit: self.spec.body_limit, keep: E::KEEPS_BODY, inspect: Some(&mut inspect) };
            let response = place.client.send(server, request, body, measured, attempt).await?;
            if let Some(jar) = &mut jar {
                jar.take(&response.head.headers, &uri, (Timestamp::now().unix_nanos() / 1_000_000_000) as i64);
            }
            match self.redirection(&response, &uri) {
                Some((next, to)) => {
                    attempt.follow(!std::ptr::eq(place, to));
                    if !std::ptr::eq(place, to) {
                        place = to;
                        server = place.server(attempt).await?;
                    }
                    uri = next;
                }
                None => {
                    let is_truncated = response.body.is_none();
                    return Ok((response, matcher.finish(is_truncated)));
                }
            }
        }
        // The last allowed redirect led to yet another one.
        Err(Failure::Status)
    }

    /// Where the response sends us: only elsewhere on the same origin or to one that is allowed, because a peer must not be
    /// able to point our probes at third parties. A redirect that is expected, not allowed or leads away is judged as it is.
    fn redirection(&self, response: &HttpResponse, current: &Uri) -> Option<(Uri, &Place)> {
        let status = response.head.status;
        let follows = self.spec.redirects > 0
            && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
            && !self.spec.expects(status.as_u16())
            && matches!(self.spec.method, Method::GET | Method::HEAD);
        if !follows {
            return None;
        }
        // An empty field says nothing, as for curl.
        let location = response.head.headers.get_all(LOCATION).iter().find(|value| !value.is_empty())?;
        let places = || [&self.own].into_iter().chain(&self.others);
        let place_of = |origin: &Origin| places().find(|place| place.origin.as_ref() == Some(origin));
        let uri = redirect::target(location.as_bytes(), current, |origin| place_of(origin).is_some())?;
        let place = place_of(&Origin::of(&uri)?)?;
        Some((uri, place))
    }

    /// A body that is longer than what is read of it fails only where the whole is needed.
    fn judge(&self, response: &HttpResponse, body: BodyMatch, needs_body: bool) -> Result<(), Failure> {
        if needs_body && response.body.is_none() {
            return Err(Failure::Protocol);
        }
        let status = response.head.status;
        let expected =
            if self.spec.status.is_empty() { status.is_success() } else { self.spec.expects(status.as_u16()) };
        if !expected {
            return Err(if self.may_be_of_proxy { failure_by_proxy(status) } else { failure_of(status) });
        }
        for (name, pattern) in &self.spec.expect_headers {
            let mut values = response.head.headers.get_all(name).iter();
            if !values.any(|value| pattern.is_match(value.as_bytes())) {
                return Err(Failure::Mismatch);
            }
        }
        match body {
            BodyMatch::Expected => Ok(()),
            BodyMatch::Unexpected | BodyMatch::UnknownCoding => Err(Failure::Mismatch),
            BodyMatch::Broken => Err(Failure::Protocol),
        }
    }
}

impl Probe for HttpProbe {
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        self.measure((), attempt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ProbeSpec;

    #[test]
    fn the_connections_that_are_kept_where_redirects_lead_are_counted() {
        let url = |host: &str| HttpUrl { https: true, host: Host::Name(host.into()), port: 443, path: "/".into() };
        let needed = |keep_alive| {
            let redirect_origins = vec![url("b.example"), url("c.example")];
            let spec = HttpSpec { keep_alive, redirect_origins, ..HttpSpec::get(url("a.example")) };
            ProbeSpec::from(spec).descriptors(3, &Host::Name("a.example".into()))
        };
        // Each of two other origins has one connection, however many probes are under way.
        assert_eq!([needed(false), needed(true)], [6, 8]);
    }

    #[test]
    fn a_probe_takes_every_key_of_access() {
        assert!(HttpAccess::KEYS.iter().all(|key| KEYS.contains(key)));
    }
}
