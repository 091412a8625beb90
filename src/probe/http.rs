//! One HTTP request on a fresh connection, and what its response is worth.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, LOCATION, USER_AGENT},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Full;

use super::{
    Attempt, Fault, Lookup, Probe, TlsContext, TlsError,
    exchange::{Client, Exchange},
};
use crate::{
    config::HttpSpec,
    model::{Failure, Host, PhaseTimes, StampSource, Timings},
    wire::{ClockWatch, SocketOptions},
};

/// Requests one URL.
#[derive(Debug)]
pub struct HttpProbe {
    lookup: Lookup,
    spec: HttpSpec,
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl HttpProbe {
    /// A probe of the URL.
    ///
    /// # Errors
    /// TLS settings that cannot be used.
    pub fn new(lookup: Lookup, spec: HttpSpec, tos: Option<u8>, tls: &TlsContext) -> Result<Self, TlsError> {
        let options = SocketOptions { tos, ..SocketOptions::default() };
        let url = &spec.url;
        let client = if url.https {
            Client::https(tls, &spec.tls, &url.host, spec.version, options)?
        } else {
            Client::plain(spec.version, options)
        };
        let client = if spec.keep_alive { client.keeping_alive() } else { client };
        let host = match &url.host {
            Host::Addr(std::net::IpAddr::V6(address)) => format!("[{address}]"),
            host => host.to_string(),
        };
        let default_port = if url.https { 443 } else { 80 };
        let authority = if url.port == default_port { host } else { format!("{host}:{}", url.port) };
        let uri = Uri::builder()
            .scheme(if url.https { Scheme::HTTPS } else { Scheme::HTTP })
            .authority(authority)
            .path_and_query(&*url.path)
            .build()
            .map_err(|_| TlsError::ServerName(url.host.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("regionwatch/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for name in spec.headers.iter().map(|(name, _)| name) {
            headers.remove(name);
        }
        headers.extend(spec.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        let body = spec.body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body));
        Ok(Self { lookup, spec, client, uri, headers, body })
    }

    fn request(&self, uri: Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.spec.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Follows redirects as far as allowed, adding up the phases.
    async fn fetch(&self, server: SocketAddr) -> Result<Exchange, Failure> {
        let keep_body = self.spec.expect_body.is_some();
        let mut uri = self.uri.clone();
        let mut phases = PhaseTimes::default();
        let mut source = StampSource::Kernel;
        let mut syn_retransmits = 0;
        for _ in 0..=self.spec.redirects {
            let request = self.request(uri.clone());
            let exchange = self.client.exchange(server, request, self.spec.body_limit, keep_body).await?;
            exchange.phases.iter().for_each(|(phase, duration)| phases.add(phase, duration));
            source = source.and(exchange.source);
            syn_retransmits += exchange.syn_retransmits;
            match self.redirection(&exchange, &uri) {
                Some(next) => uri = next,
                None => return Ok(Exchange { phases, source, syn_retransmits, ..exchange }),
            }
        }
        // The last allowed redirect led to yet another one.
        Err(Failure::Status)
    }

    /// Where the response sends us: only elsewhere on the same origin, because a peer must not be able to point
    /// our probes at third parties. A redirect that is expected, not allowed or leads away is judged as it is.
    fn redirection(&self, exchange: &Exchange, current: &Uri) -> Option<Uri> {
        let status = exchange.response.status;
        let follows = self.spec.redirects > 0
            && matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
            && !self.spec.status.contains(&status.as_u16())
            && matches!(self.spec.method, Method::GET | Method::HEAD);
        if !follows {
            return None;
        }
        let location = exchange.response.headers.get(LOCATION)?.to_str().ok()?;
        same_origin(location, current)
    }

    fn judge(&self, exchange: &Exchange) -> Result<(), Failure> {
        let status = exchange.response.status;
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
            let mut values = exchange.response.headers.get_all(name).iter();
            if !values.any(|value| pattern.is_match(&String::from_utf8_lossy(value.as_bytes()))) {
                return Err(Failure::Mismatch);
            }
        }
        match &self.spec.expect_body {
            Some(pattern) if !pattern.is_match(&String::from_utf8_lossy(&exchange.body)) => Err(Failure::Mismatch),
            _ => Ok(()),
        }
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

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, Fault> {
        let server = SocketAddr::new(self.lookup.address(attempt).await?, self.spec.url.port);
        let watch = ClockWatch::start();
        let mut exchange = self.fetch(server).await?;
        self.judge(&exchange)?;
        if watch.stepped() {
            return Err(Fault::ClockStep);
        }
        let total = exchange.phases.total();
        self.lookup.report(&mut exchange.phases);
        Ok(Timings {
            total,
            syn_retransmits: exchange.syn_retransmits,
            certificate_expiry: exchange.certificate_expiry,
            ..Timings::new(exchange.phases, exchange.source)
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
