//! One HTTP request, on a fresh connection unless it is to be kept, and whether the response is the expected one.

mod access;
mod body;
mod credentials;
mod redirect;
mod spec;
mod status;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, LOCATION, USER_AGENT},
    response::Parts,
};
use http_body_util::Full;

use self::body::{BodyMatch, BodyMatcher};
pub use self::{access::HttpAccess, credentials::CredentialsFile, spec::HttpSpec, status::ExpectedStatus};
pub(super) use self::{
    access::{read_headers, write_headers},
    credentials::Authorization,
    spec::{KEYS, read, write},
    status::failure_of,
};
use super::{
    kind::ProbeKind,
    prober::{Probe, ProbeError, ProberContext, SetupError},
};
use crate::{
    model::{Facts, Failure, FailureDetail, Host, HttpUrl, Kind, Layer, Phase, Shape, Timings},
    net::{AGENT, Attempt, BodyUse, ClockWatch, HttpClient, HttpResponse, Measured, ResolvedHost, TlsSpec},
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
    const KEYS: &'static [&'static str] = KEYS;
    const SHARES_SOCKET: bool = false;

    type Prober = HttpProbe;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        read(fields, context, |_, defaults| defaults)
    }

    fn write(&self, page: &mut Writer) {
        write(page, self);
    }

    fn destination(&self, _: &Host) -> String {
        format!("{} {}", self.method, self.url)
    }

    fn shape(&self) -> Shape {
        let phases = [Phase::Connect, Phase::Processing, Phase::Transfer];
        let results = [Failure::Refused, Failure::Protocol, Failure::Status, Failure::Auth];
        let mut shape = Shape { late: false, ..Shape::new(phases, results) };
        if self.url.https {
            shape = shape.with(Phase::Tls, Failure::Tls);
        }
        if self.expect_body.is_some() || self.reject_body.is_some() || !self.expect_headers.is_empty() {
            shape.results = shape.results.with([Failure::Mismatch]);
        }
        shape
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.url.https.then_some(&self.tls)
    }

    fn url(&self) -> Option<&HttpUrl> {
        Some(&self.url)
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<HttpProbe, SetupError> {
        HttpProbe::new(self, context)
    }
}

/// Requests one URL.
#[derive(Debug)]
pub(crate) struct HttpProbe {
    resolved: ResolvedHost,
    spec: Arc<HttpSpec>,
    client: HttpClient,
    headers: HeaderMap,
    authorization: Authorization,
    body: Bytes,
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
        let client = HttpClient::new(&spec.url, spec.version, context.socket_options(), &spec.tls, context.tls)?;
        let client = client.keep_alive(spec.keep_alive).parsing(spec.parsing);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for name in spec.headers.iter().map(|(name, _)| name) {
            headers.remove(name);
        }
        headers.extend(spec.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        let body = spec.body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body.as_bytes()));
        let authorization = Authorization::new(spec.credentials.clone());
        Ok(Self { resolved: context.resolved, spec, client, headers, authorization, body })
    }

    /// Makes the request and judges the response.
    pub(crate) async fn measure<E: Exchange>(&self, mut exchange: E, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = SocketAddr::new(self.resolved.address(attempt).await?, self.spec.url.port);
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let (mut response, body) = self.fetch(server, &mut exchange, &mut measured, attempt).await?;
        let stepped = watch.stepped();
        let judged = self.judge(&response, body, E::KEEPS_BODY);
        if judged == Err(Failure::Auth) {
            self.authorization.refused();
        }
        if let Err(Failure::Status | Failure::Auth) = judged {
            attempt.set_detail(FailureDetail::HttpStatus(response.head.status.as_u16()));
        } else if judged == Err(Failure::Mismatch) && body == BodyMatch::UnknownCoding {
            attempt.set_detail(FailureDetail::UnknownCoding);
        }
        if matches!(judged, Ok(()) | Err(Failure::Protocol)) {
            exchange.receive(&mut response);
        }
        judged?;
        if stepped {
            return Err(ProbeError::ClockStep);
        }
        Ok(measured.into_timings(&self.resolved))
    }

    /// Follows redirects as far as allowed. Returns the response, and whether its body is the expected one.
    async fn fetch<E: Exchange>(
        &self,
        server: SocketAddr,
        exchange: &mut E,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<(HttpResponse, BodyMatch), Failure> {
        let mut uri = self.client.uri().clone();
        for _ in 0..=self.spec.redirects {
            let mut request = Request::new(Full::new(self.body.clone()));
            *request.method_mut() = self.spec.method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = self.headers.clone();
            self.authorization.apply(request.headers_mut());
            exchange.prepare(request.headers_mut());
            let mut matcher = BodyMatcher::new(&self.spec);
            let mut inspect = |head: &Parts, bytes: &[u8]| matcher.feed(head, bytes);
            let body = BodyUse { limit: self.spec.body_limit, keep: E::KEEPS_BODY, inspect: Some(&mut inspect) };
            let response = self.client.send(server, request, body, measured, attempt).await?;
            match self.redirection(&response, &uri) {
                Some(next) => uri = next,
                None => {
                    let is_truncated = response.body.is_none();
                    return Ok((response, matcher.finish(is_truncated)));
                }
            }
        }
        // The last allowed redirect led to yet another one.
        Err(Failure::Status)
    }

    /// Where the response sends us: only elsewhere on the same origin, because a peer must not be able to point
    /// our probes at third parties. A redirect that is expected, not allowed or leads away is judged as it is.
    fn redirection(&self, response: &HttpResponse, current: &Uri) -> Option<Uri> {
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
        redirect::same_origin(location.as_bytes(), current)
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
            return Err(failure_of(status));
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

    #[test]
    fn a_probe_takes_every_key_of_access() {
        assert!(HttpAccess::KEYS.iter().all(|key| KEYS.contains(key)));
    }
}
