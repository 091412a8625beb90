//! An HTTP request to the regionwatch of the peer region, whose response carries its votes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::{
    http::{Exchange, HttpProbe, HttpSpec, KEYS, read, write},
    kind::ProbeKind,
    prober::{Probe, ProbeError, ProberContext, ResponseSender, SetupError},
};
use crate::{
    model::{Facts, Host, HttpUrl, Kind, Layer, NONCE_HEADER, Nonce, SIGNATURE_HEADER, Shape, Timings, VoteResponse},
    net::{Attempt, HttpResponse, TlsSpec},
    yaml::{Fields, ReadContext, writer::Writer},
};

/// A request to the peer's regionwatch, which adds next to no time of its own.
pub const SIDECAR: Kind = Kind::new(&Facts {
    name: "sidecar",
    title: "Sidecar",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: Some("a sidecar that restarts does not mean that its region is down"),
    carries_votes: true,
    preference: 1,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

/// The key that makes a sidecar probe of an http probe.
const ALIAS_KEY: &str = "sidecar";

/// An HTTP request to the peer's regionwatch.
#[derive(Debug, Clone, PartialEq)]
pub struct SidecarSpec {
    /// The request. By default it keeps its connection, which saves a round trip.
    pub request: HttpSpec,
}

impl SidecarSpec {
    /// Where a regionwatch serves its votes.
    pub const PATH: &str = "/api/v1/regions";

    /// Whether the connection itself authenticates the peer: TLS with a verified certificate, and one of ours.
    pub const fn is_mutual_tls(&self) -> bool {
        let tls = &self.request.tls;
        self.request.url.https && tls.identity.is_some() && !tls.insecure_skip_verify
    }
}

impl ProbeKind for SidecarSpec {
    const KIND: Kind = SIDECAR;
    const KEYS: &'static [&'static str] = KEYS;
    const SHARES_SOCKET: bool = false;
    const ALIAS: Option<(&'static str, &'static str)> = Some(("http", ALIAS_KEY));

    type Prober = SidecarProbe;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        let is_alias = fields.get(ALIAS_KEY).is_some();
        let request = read(fields, context, |text, mut defaults| {
            let has_path = text.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?']));
            if !is_alias && !has_path {
                defaults.url.path = Self::PATH.into();
            }
            HttpSpec { keep_alive: true, ..defaults }
        });
        for key in ["redirect_origins", "cookies", "unix_socket", "proxy"] {
            if let Some(item) = fields.get(key) {
                item.wrong("belongs to http probes, not to sidecar; delete it");
            }
        }
        request.map(|request| Self { request })
    }

    fn write(&self, page: &mut Writer) {
        write(page, &self.request);
    }

    fn destination(&self, host: &Host) -> String {
        self.request.destination(host)
    }

    fn shape(&self) -> Shape {
        self.request.shape()
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.request.tls()
    }

    fn url(&self) -> Option<&HttpUrl> {
        self.request.url()
    }

    fn prober(self: Arc<Self>, mut context: ProberContext<'_>) -> Result<SidecarProbe, SetupError> {
        let responses = context.responses.take();
        let body_limit = self.request.body_limit.min(VoteResponse::MAX_BODY);
        let http = HttpProbe::new(Arc::new(HttpSpec { body_limit, ..self.request.clone() }), context)?;
        Ok(SidecarProbe { http, responses, trusted_transport: self.is_mutual_tls() })
    }
}

/// Requests the votes of one peer.
#[derive(Debug)]
pub struct SidecarProbe {
    http: HttpProbe,
    responses: Option<ResponseSender>,
    trusted_transport: bool,
}

impl Probe for SidecarProbe {
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let Some(responses) = &self.responses else { return self.http.measure((), attempt).await };
        let (nonce, requested_at) = (Nonce(0), Instant::now());
        let request = VoteRequest { responses, trusted_transport: self.trusted_transport, nonce, requested_at };
        self.http.measure(request, attempt).await
    }
}

/// A request for votes.
struct VoteRequest<'a> {
    responses: &'a ResponseSender,
    trusted_transport: bool,
    nonce: Nonce,
    requested_at: Instant,
}

impl Exchange for VoteRequest<'_> {
    const KEEPS_BODY: bool = true;

    fn prepare(&mut self, header: &mut HeaderMap) {
        self.nonce = Nonce(rand::random());
        self.requested_at = Instant::now();
        if let Ok(value) = HeaderValue::try_from(self.nonce.to_string()) {
            header.insert(NONCE_HEADER, value);
        }
    }

    fn receive(&mut self, response: &mut HttpResponse) {
        if response.head.status != StatusCode::OK {
            return;
        }
        let signature = response.head.headers.get(SIGNATURE_HEADER).map(HeaderValue::as_bytes);
        // The receiver is gone only when the process is about to end.
        let _ = self.responses.response_tx.try_send(VoteResponse {
            peer: self.responses.peer.clone(),
            nonce: self.nonce,
            body: response.body.take().map(Bytes::from),
            signature: signature
                .map(|text| Bytes::copy_from_slice(&text[..text.len().min(VoteResponse::MAX_SIGNATURE)])),
            trusted_transport: self.trusted_transport,
            requested_at: self.requested_at,
            received_at: Instant::now(),
        });
    }
}
