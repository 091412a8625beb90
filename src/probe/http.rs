//! One HTTP request on a fresh connection, and what its response is worth.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, LOCATION, USER_AGENT},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Full;
use tokio::{sync::mpsc, time::Instant};

use super::{Probe, ProbeError};
use crate::{
    config::HttpSpec,
    model::{Failure, NONCE_HEADER, Nonce, PhaseTimes, Region, SIGNATURE_HEADER, StampSource, Timings, VoteResponse},
    net::{
        AGENT, Attempt, ClockWatch, HttpClient, ResolvedHost, SocketOptions, TimedResponse, TlsContext, TlsError,
        absolute,
    },
};

/// Requests one URL.
#[derive(Debug)]
pub struct HttpProbe {
    resolved: ResolvedHost,
    spec: HttpSpec,
    client: HttpClient,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    responses: Option<ResponseSender>,
}

/// Where the responses of a peer's sidecar go.
#[derive(Debug, Clone)]
pub struct ResponseSender {
    /// The region of the sidecar.
    pub peer: Region,
    /// A response that finds the channel full is dropped: the next one is on its way.
    pub response_tx: mpsc::Sender<VoteResponse>,
}

/// What the peer was asked with.
#[derive(Debug, Clone, Copy)]
struct Question {
    nonce: Nonce,
    at: Instant,
}

impl HttpProbe {
    /// A probe of the URL.
    ///
    /// # Errors
    /// TLS settings that cannot be used.
    pub fn new(resolved: ResolvedHost, spec: HttpSpec, tos: Option<u8>, tls: &TlsContext) -> Result<Self, TlsError> {
        let options = SocketOptions { tos, ..SocketOptions::default() };
        let url = &spec.url;
        let client = if url.https {
            HttpClient::https(tls, &spec.tls, &url.host, spec.version, options)?
        } else {
            HttpClient::plain(spec.version, options)
        };
        let client = if spec.keep_alive { client.keeping_alive() } else { client };
        let uri = absolute(url)?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for name in spec.headers.iter().map(|(name, _)| name) {
            headers.remove(name);
        }
        headers.extend(spec.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        let body = spec.body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body));
        Ok(Self { resolved, spec, client, uri, headers, body, responses: None })
    }

    /// Hands over what the peer's sidecar answers with status 200, where it is one.
    #[must_use]
    pub fn with_response_sender(self, responses: Option<ResponseSender>) -> Self {
        Self { responses: responses.filter(|_| self.spec.sidecar), ..self }
    }

    fn request(&self, uri: Uri, nonce: Nonce) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.spec.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        if self.responses.is_some()
            && let Ok(value) = HeaderValue::try_from(nonce.to_string())
        {
            request.headers_mut().insert(NONCE_HEADER, value);
        }
        request
    }

    /// Follows redirects as far as allowed, adding up the phases.
    async fn fetch(&self, server: SocketAddr, attempt: &Attempt) -> Result<(TimedResponse, Question), Failure> {
        let keep_body = self.spec.expect_body.is_some() || self.responses.is_some();
        let cap = if self.spec.sidecar { VoteResponse::MAX_BODY } else { usize::MAX };
        let limit = self.spec.body_limit.min(cap);
        let mut uri = self.uri.clone();
        let mut phases = PhaseTimes::default();
        let mut source = StampSource::Kernel;
        let mut syn_retransmits = 0;
        for _ in 0..=self.spec.redirects {
            let nonce = Nonce(rand::random());
            let request = self.request(uri.clone(), nonce);
            let question = Question { nonce, at: Instant::now() };
            let answer = self.client.send(server, request, limit, keep_body, attempt).await?;
            answer.phases.iter().for_each(|(phase, duration)| phases.add(phase, duration));
            source = source.and(answer.source);
            syn_retransmits += answer.syn_retransmits;
            match self.redirection(&answer, &uri) {
                Some(next) => uri = next,
                None => return Ok((TimedResponse { phases, source, syn_retransmits, ..answer }, question)),
            }
        }
        // The last allowed redirect led to yet another one.
        Err(Failure::Status)
    }

    /// Where the response sends us: only elsewhere on the same origin, because a peer must not be able to point
    /// our probes at third parties. A redirect that is expected, not allowed or leads away is judged as it is.
    fn redirection(&self, answer: &TimedResponse, current: &Uri) -> Option<Uri> {
        let status = answer.head.status;
        let follows = self.spec.redirects > 0
            && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
            && answer.body.is_some()
            && !self.spec.status.contains(&status.as_u16())
            && matches!(self.spec.method, Method::GET | Method::HEAD);
        if !follows {
            return None;
        }
        let location = answer.head.headers.get(LOCATION)?.to_str().ok()?;
        same_origin(location, current)
    }

    fn judge(&self, answer: &TimedResponse) -> Result<(), Failure> {
        let body = answer.body.as_ref().ok_or(Failure::Protocol)?;
        let status = answer.head.status;
        let expected =
            if self.spec.status.is_empty() { status.is_success() } else { self.spec.status.contains(&status.as_u16()) };
        if !expected {
            return Err(match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    Failure::Auth
                }
                _ => Failure::Status,
            });
        }
        for (name, pattern) in &self.spec.expect_headers {
            let mut values = answer.head.headers.get_all(name).iter();
            if !values.any(|value| pattern.is_match(&String::from_utf8_lossy(value.as_bytes()))) {
                return Err(Failure::Mismatch);
            }
        }
        match &self.spec.expect_body {
            Some(pattern) if !pattern.is_match(&String::from_utf8_lossy(body)) => Err(Failure::Mismatch),
            _ => Ok(()),
        }
    }

    /// Sends on the response of a sidecar. One that is too large is sent without its body, so that it is counted.
    fn forward(&self, answer: &mut TimedResponse, question: Question) {
        let Some(ResponseSender { peer, response_tx }) = &self.responses else { return };
        if answer.head.status != StatusCode::OK {
            return;
        }
        let tls = &self.spec.tls;
        let signature = answer.head.headers.get(SIGNATURE_HEADER).map(HeaderValue::as_bytes);
        // The receiver is gone only when the process is about to be.
        let _ = response_tx.try_send(VoteResponse {
            peer: peer.clone(),
            nonce: question.nonce,
            body: answer.body.take().map(Bytes::from),
            signature: signature
                .map(|text| Bytes::copy_from_slice(&text[..text.len().min(VoteResponse::MAX_SIGNATURE)])),
            trusted_transport: self.spec.url.https && tls.identity.is_some() && !tls.insecure_skip_verify,
            requested_at: question.at,
        });
    }
}

/// The absolute URI of a `Location` on the same origin (RFC 3986 4.2: absolute, or an absolute path).
fn same_origin(location: &str, current: &Uri) -> Option<Uri> {
    let mut parts = current.clone().into_parts();
    if location.starts_with('/') && !location.starts_with("//") {
        parts.path_and_query = Some(location.parse::<PathAndQuery>().ok()?);
        return Uri::from_parts(parts).ok();
    }
    let next: Uri = location.parse().ok()?;
    let origin = |uri: &Uri| {
        let scheme = uri.scheme().cloned()?;
        let port = uri.port_u16().unwrap_or(if scheme == Scheme::HTTPS { 443 } else { 80 });
        Some((scheme, uri.authority().map(Authority::host)?.to_ascii_lowercase(), port))
    };
    (origin(&next)? == origin(current)?).then_some(next)
}

impl Probe for HttpProbe {
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = SocketAddr::new(self.resolved.address(attempt).await?, self.spec.url.port);
        let watch = ClockWatch::start();
        let (mut answer, question) = self.fetch(server, attempt).await?;
        let stepped = watch.stepped();
        let judged = self.judge(&answer);
        if matches!(judged, Ok(()) | Err(Failure::Protocol)) {
            self.forward(&mut answer, question);
        }
        judged?;
        if stepped {
            return Err(ProbeError::ClockStep);
        }
        let total = answer.phases.total();
        self.resolved.report(&mut answer.phases);
        Ok(Timings {
            total,
            syn_retransmits: answer.syn_retransmits,
            certificate_expiry: answer.certificate_expiry,
            ..Timings::new(answer.phases, answer.source)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_only_within_the_same_origin() {
        let here: Uri = "http://a.example:8080/x".parse().unwrap();
        let to = |location| same_origin(location, &here).map(|uri| uri.to_string());
        assert_eq!(to("/y?z"), Some("http://a.example:8080/y?z".into()));
        assert_eq!(to("http://A.example:8080/y"), Some("http://A.example:8080/y".into()));
        for away in ["//b.example/", "http://b.example:8080/", "https://a.example:8080/", "http://a.example/", "y"] {
            assert_eq!(to(away), None, "{away}");
        }
    }
}
