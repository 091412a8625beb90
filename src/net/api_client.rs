//! Requests that are made for their answer and not for their time, on the same connections as probes.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, CONTENT_TYPE, DATE, USER_AGENT},
    uri::PathAndQuery,
};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};

use super::{
    attempt::Attempt,
    connection::Measured,
    http_client::{AGENT, BodyUse, ClientError, HttpClient, HttpVersion},
    options::SocketOptions,
    resolver::{ResolvedHost, Resolver},
    tls::{TlsContext, TlsSpec},
};
use crate::model::{AddressFamily, Failure, HttpUrl, Source, UnixMillis};

/// A client of one origin that keeps its connection (HTTP/1.1, with TLS where the URL says https). Follows no
/// redirect and obeys no proxy.
#[derive(Debug)]
pub struct ApiClient {
    resolved: ResolvedHost,
    client: HttpClient,
    port: u16,
    headers: HeaderMap,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiResponse {
    /// The status.
    pub status: StatusCode,
    /// When it answered, by its own clock, to the second.
    pub date: Option<UnixMillis>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl ApiClient {
    /// A client of what lies below the URL, which sends these header fields with each request; nothing is sent yet. The
    /// name of its host is looked up from now on.
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(
        resolver: &Resolver,
        url: &HttpUrl,
        headers: HeaderMap,
        tls: &TlsSpec,
        context: &TlsContext,
    ) -> Result<Self, ClientError> {
        let options = SocketOptions { source: url.host.zone().map(Source::Interface), ..SocketOptions::default() };
        let client = HttpClient::new(url, HttpVersion::Http1, options, tls, context)?;
        let resolved = resolver.lookup(&url.host, AddressFamily::Any);
        Ok(Self { resolved, client: client.keep_alive(true), port: url.port, headers })
    }

    /// Asks for `path`, which begins with `/` and may have a query, below the URL's own path. A `body` is JSON. After an
    /// address that is silent or refuses, the next request goes to another one of the name. The
    /// request must be one that may arrive twice, because it is sent again where the server was closing the kept
    /// connection.
    ///
    /// # Errors
    /// The failure as it is counted: `timeout` after `limit`, `protocol` for a body of more than `most` bytes, `local`
    /// for a path that cannot stand in a URL.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
        most: usize,
    ) -> Result<ApiResponse, Failure> {
        let deadline = Instant::now() + limit;
        let attempt = Attempt::new(deadline);
        let exchange = async {
            let request = self.compose(method, path, body)?;
            let server = (self.resolved.address(&attempt).await?, self.port).into();
            self.client.send(server, request, BodyUse::kept(most), &mut Measured::default(), &attempt).await
        };
        let response = timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(attempt.timeout_reason()));
        let response = response.inspect_err(|failure| attempt.note_failure(*failure))?;
        let body = response.body.ok_or(Failure::Protocol)?;
        let date = response.head.headers.get(DATE).and_then(|date| UnixMillis::parse_http_date(date.to_str().ok()?));
        Ok(ApiResponse { status: response.head.status, date, body })
    }

    /// Returns when the server closes the connection that is kept between requests; never where none is kept. A
    /// server that restarts does so.
    pub async fn disconnected(&self) {
        self.client.closed().await;
    }

    fn compose(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut parts = self.client.uri().clone().into_parts();
        let path = format!("{}{path}", self.client.uri().path().trim_end_matches('/'));
        parts.path_and_query = Some(path.parse::<PathAndQuery>().map_err(|_| Failure::Local)?);
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Failure::Local)?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        // `extend` would add to what is there.
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let json = HeaderValue::from_static("application/json");
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, json.clone());
        }
        headers.insert(ACCEPT, json);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::model::Host;

    fn client(resolver: &Resolver, url: &HttpUrl) -> ApiClient {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("ours"));
        headers.insert("x-scope-orgid", HeaderValue::from_static("tenant"));
        ApiClient::new(resolver, url, headers, &TlsSpec::default(), &TlsContext::default()).unwrap()
    }

    #[tokio::test]
    async fn configured_headers_are_sent_with_every_request() {
        let url = HttpUrl { https: false, host: Host::Name("a.example".into()), port: 80, path: "/".into() };
        for body in [Bytes::new(), Bytes::from_static(b"[]")] {
            let request = client(&Resolver::new(None), &url).compose(Method::POST, "/x", body).unwrap();
            let sent = |name: &str| request.headers().get_all(name).iter().collect::<Vec<_>>();
            assert_eq!(sent("user-agent"), ["ours"]);
            assert_eq!(sent("x-scope-orgid"), ["tenant"]);
            assert_eq!(sent("accept"), ["application/json"]);
        }
    }

    #[tokio::test]
    async fn a_request_path_is_appended_to_the_path_of_the_url() {
        let resolver = Resolver::new(None);
        let asks = |path: &str| {
            let host = Host::Addr("2001:db8::1".parse().unwrap());
            let url = HttpUrl { https: false, host, port: 9093, path: path.into() };
            let client = client(&resolver, &url);
            client.compose(Method::GET, "/api/v2/alerts?a=b", Bytes::new()).unwrap().uri().to_string()
        };
        assert_eq!(asks("/"), "http://[2001:db8::1]:9093/api/v2/alerts?a=b");
        assert_eq!(asks("/am/"), "http://[2001:db8::1]:9093/am/api/v2/alerts?a=b");
        assert_eq!(asks("/am"), "http://[2001:db8::1]:9093/am/api/v2/alerts?a=b");
    }

    #[tokio::test]
    async fn after_an_address_that_is_silent_or_refuses_the_next_request_goes_to_another_one() {
        let live = TcpListener::bind("127.77.0.2:0").await.unwrap();
        let port = live.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = live.accept().await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        let url = HttpUrl { https: false, host: Host::Name("a.example".into()), port, path: "/".into() };
        for failure in [Failure::Refused, Failure::Timeout] {
            // It accepts by its backlog, and never answers.
            let silent = TcpListener::bind(("127.77.0.1", port)).await;
            if failure == Failure::Refused {
                drop(silent);
            }
            let mut client = client(&Resolver::new(None), &url);
            client.resolved = ResolvedHost::fixed(&["127.77.0.1", "127.77.0.2"]);
            let ask = async |limit| client.request(Method::GET, "/", Bytes::new(), limit, 1).await.map(|r| r.status);
            let first = if failure == Failure::Timeout { Duration::from_millis(200) } else { Duration::from_secs(60) };
            assert_eq!(ask(first).await, Err(failure));
            assert_eq!(ask(Duration::from_secs(60)).await, Ok(StatusCode::OK), "after {failure:?}");
        }
    }

    #[tokio::test]
    async fn a_name_without_a_resolver_fails_with_resolve() {
        let url = HttpUrl { https: true, host: Host::Name("a.example".into()), port: 443, path: "/".into() };
        let client = client(&Resolver::new(None), &url);
        let answer = client.request(Method::GET, "/", Bytes::new(), Duration::from_secs(1), 1).await;
        assert_eq!(answer, Err(Failure::Resolve));
    }
}
