//! What a peer has shown in a probe, whatever its answer was worth.

use std::sync::Arc;

use super::CertificateDates;

/// The version of HTTP in which a peer has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpProtocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl HttpProtocol {
    /// The number of the version, such as 1.1.
    pub const fn number(self) -> f64 {
        match self {
            Self::Http10 => 1.0,
            Self::Http11 => 1.1,
            Self::Http2 => 2.0,
        }
    }
}

/// An HTTP response: the last one, where redirects were followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its version.
    pub protocol: HttpProtocol,
    /// Whether it offers HTTP/3 (`Alt-Svc`, RFC 7838), which is not probed.
    pub offers_http3: bool,
}

/// A session of TLS and the certificate that the peer has shown in it. The texts are short, whatever the peer has sent, and have
/// no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// Such as `TLS 1.3`; none if the handshake failed.
    pub version: Option<&'static str>,
    /// The IANA name of the cipher suite; none if the handshake failed.
    pub cipher: Option<&'static str>,
    /// The distinguished name of the issuer (RFC 4514).
    pub issuer: Box<str>,
    /// The distinguished name of the subject.
    pub subject: Box<str>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: Box<str>,
}

/// What a peer has shown in one probe, also if the probe failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerFacts {
    /// The head of its HTTP response.
    pub http: Option<HttpAnswer>,
    /// When its certificates are valid.
    pub certificate: Option<CertificateDates>,
    /// The session of TLS.
    pub tls: Option<Arc<TlsFacts>>,
}
