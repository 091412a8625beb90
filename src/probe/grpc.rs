//! The health check of gRPC (`grpc.health.v1.Health/Check`), by one call over our own HTTP/2.
//!
//! The two messages have one field each, so there is no protobuf library: it would be more code than the probe, and its
//! limits would be its own.

mod message;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{CONTENT_TYPE, HOST, TE, USER_AGENT},
    uri::Authority,
};
use http_body_util::Full;

pub use self::message::fuzz_health;
use super::{
    http::{Authorization, CredentialsFile, failure_of, read_headers, write_headers},
    kind::ProbeKind,
    prober::{Probe, ProbeError, ProberContext, SetupError},
    tls,
};
use crate::{
    model::{Facts, Failure, FailureDetail, Host, HttpUrl, Kind, Layer, Phase, Shape, Timings},
    net::{
        AGENT, Attempt, BodyUse, ClockWatch, HttpClient, HttpResponse, HttpVersion, Measured, ResolvedHost, TlsSpec,
    },
    yaml::{Fields, Parsed, ReadContext, writer::Writer},
};

/// A health check of gRPC. The server adds its own time.
pub const GRPC: Kind = Kind::new(&Facts {
    name: "grpc",
    title: "gRPC",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 3,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

/// The method that is called.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The fields of a response that say how the call ended, and of what format its body is.
const STATUS: &str = "grpc-status";
const FORMAT: &[u8] = b"application/grpc";

/// The longest name of a service.
const MAX_SERVICE: usize = 1024;

/// A health check of gRPC.
#[derive(Debug, Clone, PartialEq)]
pub struct GrpcSpec {
    /// The port.
    pub port: u16,
    /// The service that is asked about; empty for the server as a whole.
    pub service: Arc<str>,
    /// The `:authority` of the call, if it is not the host and the port.
    pub authority: Option<Arc<str>>,
    /// Metadata; its values may be secrets and are not printed.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The file that one of them comes from, if it authenticates.
    pub credentials: Option<CredentialsFile>,
    /// Keep the connection for the next probe: then only `processing` and `transfer` are measured.
    pub keep_alive: bool,
    /// Use TLS.
    pub tls: Option<TlsSpec>,
}

/// Header fields that gRPC itself sets.
fn reserved() -> [HeaderName; 7] {
    let own = ["grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-message-type"];
    let [timeout, encoding, accepted, message] = own.map(HeaderName::from_static);
    [CONTENT_TYPE, TE, HOST, timeout, encoding, accepted, message]
}

fn service(text: &str) -> Parsed<Arc<str>> {
    if text.len() > MAX_SERVICE {
        return Err(format!(
            "is longer than {MAX_SERVICE} bytes; write the full name of a service, such as shop.v1.Cart"
        ));
    }
    Ok(text.into())
}

fn authority(text: &str) -> Parsed<Arc<str>> {
    match Authority::try_from(text) {
        Ok(authority) if !text.contains('@') => Ok(authority.as_str().into()),
        _ => Err("is not a host; write a name or an address, with :PORT where it has one".to_owned()),
    }
}

impl ProbeKind for GrpcSpec {
    const KIND: Kind = GRPC;
    const KEYS: &'static [&'static str] = &[
        "port",
        "service",
        "authority",
        "headers",
        "basic_auth",
        "bearer_token",
        "bearer_token_file",
        "keep_alive",
        "tls",
    ];
    const SHARES_SOCKET: bool = false;

    type Prober = GrpcProbe;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        let tls = fields.get("tls").and_then(|item| {
            if item.is_mapping() { tls::read(&item, context.secrets) } else { item.flag()?.then(Default::default) }
        });
        let (headers, credentials) = read_headers(fields, context.secrets, &reserved());
        let service = fields.read("service", |item| item.read(service)).unwrap_or_default();
        let authority = fields.read("authority", |item| item.read(authority));
        let keep_alive = fields.read("keep_alive", |item| item.flag()).unwrap_or(false);
        let port = fields.required("port", "write the port of the server, such as 50051")?;
        Some(Self { port: port.port()?, service, authority, headers, credentials, keep_alive, tls })
    }

    fn write(&self, page: &mut Writer) {
        page.raw("port", self.port);
        page.text("service", &self.service);
        page.option("authority", self.authority.as_ref());
        write_headers(page, &self.headers);
        page.raw("keep_alive", self.keep_alive);
        if let Some(spec) = &self.tls {
            tls::write(page, spec);
        }
    }

    fn destination(&self, host: &Host) -> String {
        let tls = if self.tls.is_some() { ", tls" } else { "" };
        let service = if self.service.is_empty() { String::new() } else { format!(", service {}", self.service) };
        format!("{host}, port {}{tls}{service}", self.port)
    }

    fn shape(&self) -> Shape {
        let phases = [Phase::Connect, Phase::Processing, Phase::Transfer];
        let results = [Failure::Refused, Failure::Protocol, Failure::Status, Failure::Auth];
        let shape = Shape { late: false, ..Shape::new(phases, results) };
        if self.tls.is_some() { shape.with(Phase::Tls, Failure::Tls) } else { shape }
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.tls.as_ref()
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<GrpcProbe, SetupError> {
        let url =
            HttpUrl { https: self.tls.is_some(), host: context.host.clone(), port: self.port, path: CHECK.into() };
        let tls = self.tls.clone().unwrap_or_default();
        let client = HttpClient::new(&url, HttpVersion::Http2, context.socket_options(), &tls, context.tls)?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for name in self.headers.iter().map(|(name, _)| name) {
            headers.remove(name);
        }
        headers.extend(self.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        // Servers refuse a client that does not want trailers.
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if let Some(authority) = self.authority.as_ref().and_then(|authority| HeaderValue::from_str(authority).ok()) {
            headers.insert(HOST, authority);
        }
        let body = message::request(&self.service).into();
        let client = client.keep_alive(self.keep_alive);
        let authorization = Authorization::new(self.credentials.clone());
        Ok(GrpcProbe { resolved: context.resolved, port: self.port, client, headers, authorization, body })
    }
}

/// Checks the health of one service.
#[derive(Debug)]
pub(crate) struct GrpcProbe {
    resolved: ResolvedHost,
    port: u16,
    client: HttpClient,
    headers: HeaderMap,
    authorization: Authorization,
    body: Bytes,
}

impl Probe for GrpcProbe {
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = SocketAddr::new(self.resolved.address(attempt).await?, self.port);
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.client.uri().clone();
        *request.headers_mut() = self.headers.clone();
        self.authorization.apply(request.headers_mut());
        let body = BodyUse::kept(message::MAX_BODY);
        let response = self.client.send(server, request, body, &mut measured, attempt).await?;
        let stepped = watch.stepped();
        if let Err((failure, detail)) = judge(&response) {
            if failure == Failure::Auth {
                self.authorization.refused();
            }
            if let Some(detail) = detail {
                attempt.set_detail(detail);
            }
            return Err(failure.into());
        }
        if stepped {
            return Err(ProbeError::ClockStep);
        }
        Ok(measured.into_timings(&self.resolved))
    }
}

type Verdict = Result<(), (Failure, Option<FailureDetail>)>;

/// What a response is worth: `SERVING` alone is a success.
fn judge(response: &HttpResponse) -> Verdict {
    const BROKEN: (Failure, Option<FailureDetail>) = (Failure::Protocol, None);
    let status = response.head.status;
    // A proxy that answers for its server does not speak gRPC.
    if status != StatusCode::OK {
        return Err((failure_of(status), Some(FailureDetail::HttpStatus(status.as_u16()))));
    }
    let format = response.head.headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(FORMAT));
    if !matches!(format, Some([] | [b'+' | b';', ..])) {
        return Err(BROKEN);
    }
    // A response that has no message has its status in the head.
    let fields = [&response.trailers, &response.head.headers];
    let code = fields.into_iter().find_map(|fields| fields.get(STATUS)).ok_or(BROKEN)?;
    let code = code.to_str().ok().and_then(|text| text.parse().ok()).ok_or(BROKEN)?;
    if code != 0 {
        let detail = Some(FailureDetail::GrpcStatus(code));
        // PERMISSION_DENIED and UNAUTHENTICATED.
        return Err((if matches!(code, 7 | 16) { Failure::Auth } else { Failure::Status }, detail));
    }
    let body = response.body.as_ref().ok_or(BROKEN)?;
    match message::serving_status(body).ok_or(BROKEN)? {
        message::SERVING => Ok(()),
        other => Err((Failure::Status, Some(FailureDetail::Health(other)))),
    }
}
