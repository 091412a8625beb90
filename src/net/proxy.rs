//! HTTP proxies, and tunnels through them (RFC 9110 9.3.6).

use std::net::SocketAddr;

use http::{HeaderValue, Uri};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    attempt::Attempt,
    clock::Elapsed,
    connection::{Connection, Measured},
    options::SocketOptions,
};
use crate::model::{Failure, FailureDetail, HttpUrl, Phase};

/// The longest head of an answer to CONNECT.
const MAX_HEAD: usize = 16 << 10;

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    /// Where it is; the path is not used.
    pub url: HttpUrl,
    /// The credentials that it wants.
    pub authorization: Option<HeaderValue>,
}

impl Proxy {
    /// Connects to the proxy at this address, and through it to the origin of a URI if there is one. That a proxy of our own
    /// does not answer says nothing about the peer.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        options: SocketOptions,
        to: Option<&Uri>,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Connection, Failure> {
        attempt.set_timeout_reason(unusable(attempt));
        let opened = Connection::open(address, options, None, measured, attempt).await;
        let mut connection = opened.map_err(|_| Failure::Local)?;
        // From here on, the peer may be what does not answer.
        attempt.clear_timeout_reason();
        attempt.clear_detail();
        if let Some(to) = to {
            let timestamps = connection.enable_timestamps();
            timestamps.begin();
            ask(&mut connection.io, to, self.authorization.as_ref(), attempt).await?;
            let readings = timestamps.read();
            if let Some(elapsed) = Elapsed::between(readings.first_sent, readings.last_received) {
                measured.add(Phase::Connect, elapsed);
            }
        }
        Ok(connection)
    }
}

/// Notes that the proxy cannot be used, which is no failure of the peer.
pub(crate) fn unusable(attempt: &Attempt) -> Failure {
    attempt.set_detail(FailureDetail::ProxyUnreachable);
    Failure::Local
}

/// Asks a proxy to connect to the origin of a URI.
///
/// # Errors
/// What the proxy says itself is not the peer's word: `unreachable` if it cannot connect, and `local` if it refuses or does not
/// speak HTTP.
async fn ask(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    to: &Uri,
    authorization: Option<&HeaderValue>,
    attempt: &Attempt,
) -> Result<(), Failure> {
    let host = to.host().ok_or(Failure::Local)?;
    let port = to.port_u16().unwrap_or(443);
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await.map_err(|_| unusable(attempt))?;
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    let end = loop {
        let count = io.read(&mut piece).await.unwrap_or(0);
        head.extend_from_slice(&piece[..count]);
        if let Some(end) = end_of_head(&head) {
            break end;
        }
        if count == 0 || head.len() > MAX_HEAD {
            return Err(unusable(attempt));
        }
    };
    match status(&head) {
        // Nothing follows: the other end waits for our handshake.
        Some(200..=299) if head.len() == end => Ok(()),
        Some(status @ 300..) => {
            attempt.set_detail(FailureDetail::HttpStatus(status));
            Err(if status >= 500 { Failure::Unreachable } else { Failure::Local })
        }
        _ => Err(unusable(attempt)),
    }
}

/// Where the head ends, whose lines may end in LF alone (RFC 9112 2.2).
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let ends = |end: &[u8]| bytes.windows(end.len()).position(|window| window == end).map(|at| at + end.len());
    ends(b"\n\r\n").into_iter().chain(ends(b"\n\n")).min()
}

/// The status of a head of HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.")?.get(1..5)?.strip_prefix(b" ")?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..1000).contains(status))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::model::{PhaseTimes, StampSource, Timings};

    /// The result of this answer of a proxy, which then hangs up, and what it was asked.
    async fn answered(answer: &[u8]) -> (Result<(), Failure>, Option<FailureDetail>, String) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
        let attempt = Attempt::new(Instant::now());
        let to: Uri = "https://[2001:db8::1]:8443/x".parse().unwrap();
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        let secret = HeaderValue::from_static("Basic dTpw");
        let result = ask(&mut ours, &to, Some(&secret), &attempt).await;
        drop(ours);
        let mut request = String::new();
        theirs.read_to_string(&mut request).await.unwrap();
        let timings = Timings::new(PhaseTimes::default(), StampSource::Kernel);
        let detail = attempt.context(&result.map(|()| timings)).detail;
        (result, detail, request)
    }

    #[tokio::test]
    async fn a_proxy_opens_the_tunnel_or_says_why_not() {
        let (result, _, request) = answered(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n").await;
        let expected = "CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
        assert_eq!((result, &*request), (Ok(()), expected));
        assert_eq!(answered(b"HTTP/1.0 200 OK\n\n").await.0, Ok(()));
        let status = |status| Some(FailureDetail::HttpStatus(status));
        let unusable = (Err(Failure::Local), Some(FailureDetail::ProxyUnreachable));
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(5_000)].concat();
        let cases: [(&[u8], _); 11] = [
            (b"HTTP/1.1 407 Who\r\n\r\n", (Err(Failure::Local), status(407))),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", (Err(Failure::Local), status(403))),
            (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nsorry", (Err(Failure::Unreachable), status(502))),
            (b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n", (Err(Failure::Local), status(302))),
            (b"HTTP/1.1 200 OK\r\n\r\nmore", unusable),
            (b"HTTP/1.1 100 Continue\r\n\r\n", unusable),
            (b"HTTP/1.1 200 OK\r\n", unusable),
            (b"SSH-2.0-x\r\n\r\n", unusable),
            (b"HTTP/1.1 99\r\n\r\n", unusable),
            (&endless, unusable),
            (b"", unusable),
        ];
        for (answer, expected) in cases {
            let (result, detail, _) = answered(answer).await;
            assert_eq!((result, detail), expected, "{}", String::from_utf8_lossy(&answer[..answer.len().min(60)]));
        }
    }
}
