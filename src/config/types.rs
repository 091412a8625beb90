//! What a configuration says once it has been read: every value is in range, every name is checked.

use std::sync::Arc;

pub use crate::{
    geography::Location,
    model::HttpUrl,
    net::{HttpVersion, TlsSpec},
};
use crate::{
    model::{AddressFamily, Cadence, Failure, Host, Kind, Phase, Region, Shape, TargetName, labels},
    probe,
};

/// The most buckets a configuration may ask for; each one is a series for each path.
pub const MAX_BUCKETS: usize = 16;

/// The largest body read from a peer when nothing is said: 1 MiB.
pub const DEFAULT_BODY_LIMIT: usize = 1 << 20;

labels! {
    /// How severe a log line must be to be written.
    pub enum LogLevel {
        /// Errors only.
        Error = "error",
        /// And warnings.
        Warn = "warn",
        /// And what happens.
        Info = "info",
        /// And why.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

labels! {
    /// The form of a log line.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object.
        Json = "json",
    }
}

/// An endpoint outside all regions; being unable to reach it hints at our own isolation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Where it is.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

/// A peer region.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Its name.
    pub region: Region,
    /// Its residency zone.
    pub zone: Option<Arc<str>>,
    /// What it shares its fate with; it does not replace a region of the same domain.
    pub failure_domain: Option<Arc<str>>,
    /// Where it is; where nothing is said, what [`Location::of_region`] knows.
    pub location: Option<Location>,
    /// Tier of preference as a failover target; lower is better.
    pub priority: u32,
    /// The share of what a failover would need that is free there, 0 to 1; `None` where nobody said.
    pub capacity: Option<f64>,
    /// Somebody works on it: it is no failover target.
    pub maintenance: bool,
    /// What is probed in it; (target, kind) is unique.
    pub targets: Vec<Target>,
}

/// Something that is probed inside a peer region.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name, unique inside the peer. Where both address families were asked for there are two targets,
    /// `NAME-v4` and `NAME-v6`.
    pub name: TargetName,
    /// Its probes; each kind at most once.
    pub probes: Vec<ProbeConfig>,
}

/// One probe of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeConfig {
    /// How often, how long.
    pub cadence: Cadence,
    /// Where to (a URL's host for http, the target's for the others).
    pub host: Host,
    /// Which addresses of a name are used.
    pub family: AddressFamily,
    /// The type-of-service byte (DSCP and ECN) of what is sent; RFC 2474.
    pub tos: Option<u8>,
    /// What it probes is what the region is for: when all critical probes of every target fail, the region
    /// counts as down although the network answers. Never for icmp and sidecar probes.
    pub critical: bool,
    /// What is sent and expected.
    pub spec: ProbeSpec,
}

impl ProbeConfig {
    /// The kind, which is the `probe` label.
    pub fn kind(&self) -> Kind {
        match &self.spec {
            ProbeSpec::Icmp(_) => probe::ICMP,
            ProbeSpec::Dns(_) => probe::DNS,
            ProbeSpec::Tcp(_) => probe::TCP,
            ProbeSpec::Http(spec) if spec.sidecar => probe::SIDECAR,
            ProbeSpec::Http(_) => probe::HTTP,
        }
    }

    /// The series that it has on `/metrics`.
    pub fn shape(&self) -> Shape {
        use Failure::{Auth, Mismatch, Protocol, Refused, Status, Tls};
        let mut shape = match &self.spec {
            ProbeSpec::Icmp(_) => Shape { duplicates: true, ..Shape::new([Phase::Rtt], []) },
            ProbeSpec::Dns(spec) => {
                let mut shape = Shape::new([Phase::Request], [Refused, Protocol, Status]);
                if spec.transport != DnsTransport::Udp || spec.retry_over_tcp {
                    shape = shape.with(Phase::Connect, Refused);
                }
                if matches!(spec.transport, DnsTransport::Tls(_) | DnsTransport::Https { .. }) {
                    shape = shape.with(Phase::Tls, Tls);
                }
                shape
            }
            ProbeSpec::Tcp(spec) => {
                let shape = Shape::new([Phase::Connect], [Refused]);
                if spec.tls.is_some() { shape.with(Phase::Tls, Tls) } else { shape }
            }
            ProbeSpec::Http(spec) => {
                let phases = [Phase::Connect, Phase::Processing, Phase::Transfer];
                let shape = Shape { late: false, ..Shape::new(phases, [Refused, Protocol, Status, Auth]) };
                if spec.url.https { shape.with(Phase::Tls, Tls) } else { shape }
            }
        };
        let expects = match &self.spec {
            ProbeSpec::Icmp(_) => false,
            ProbeSpec::Dns(spec) => !spec.answers.is_empty(),
            ProbeSpec::Tcp(spec) => spec.expect.is_some(),
            ProbeSpec::Http(spec) => spec.expect_body.is_some() || !spec.expect_headers.is_empty(),
        };
        if expects {
            shape.results = shape.results.with([Mismatch]);
        }
        match self.host {
            Host::Name(_) => shape.with(Phase::Resolve, Failure::Resolve),
            Host::Addr(_) => shape,
        }
    }
}

/// What is sent and expected, by kind.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant's type says it")]
pub enum ProbeSpec {
    Icmp(IcmpSpec),
    Dns(DnsSpec),
    Tcp(TcpSpec),
    Http(Box<HttpSpec>),
}

/// An ICMP echo probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpSpec {
    /// Bytes of payload, 16 to 65,507. The first 16 carry a token by which a reply is known as ours.
    pub size: u16,
    /// The hop limit of what is sent, 1 to 255; `None` leaves the system's.
    pub ttl: Option<u8>,
    /// Forbid fragmentation (DF), so that a path with too small an MTU fails.
    pub dont_fragment: bool,
}

impl Default for IcmpSpec {
    fn default() -> Self {
        Self { size: 56, ttl: None, dont_fragment: false }
    }
}

/// One DNS question to one server.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsSpec {
    /// The server's port; by default 53, 853 (tls), 443 (https).
    pub port: u16,
    /// How the question travels.
    pub transport: DnsTransport,
    /// The name that is asked for, absolute.
    pub query: Arc<str>,
    /// The record type that is asked for, in upper case: `A`, `AAAA`, `SOA`, ...
    pub record: RecordType,
    /// Ask the server to recurse.
    pub recursion: bool,
    /// The rcodes that count as success, in upper case; by default `NOERROR`.
    pub rcodes: Vec<Rcode>,
    /// Answers of which each must be there, in presentation form, such as `192.0.2.1`.
    pub answers: Vec<Arc<str>>,
    /// Ask again over TCP where the UDP answer was truncated.
    pub retry_over_tcp: bool,
}

/// A DNS record type, by its number (IANA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType(pub u16);

/// A DNS response code, by its number (RFC 1035 4.1.1; 0 to 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcode(pub u8);

/// How a DNS question travels.
#[derive(Debug, Clone, PartialEq)]
pub enum DnsTransport {
    /// A datagram (RFC 1035).
    Udp,
    /// A connection (RFC 7766).
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls(TlsSpec),
    /// DNS over HTTPS (RFC 8484), by POST to this path.
    Https {
        /// TLS settings.
        tls: TlsSpec,
        /// The path, by default `/dns-query`.
        path: Arc<str>,
    },
}

/// A TCP connection.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpSpec {
    /// The port.
    pub port: u16,
    /// Shake hands for TLS once connected.
    pub tls: Option<TlsSpec>,
    /// Bytes to send once connected.
    pub send: Option<Arc<[u8]>>,
    /// A pattern that the first 64 KiB of what the peer says must match.
    pub expect: Option<Pattern>,
}

/// An HTTP request and what must come back.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSpec {
    /// Where to.
    pub url: HttpUrl,
    /// `GET`, `HEAD`, `POST`, ...
    pub method: http::Method,
    /// Header fields to send; the value may be a secret and is not printed.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Body to send.
    pub body: Option<Arc<[u8]>>,
    /// The statuses that count as success; empty means 200 to 299.
    pub status: Vec<u16>,
    /// Header fields of which each must be there and match.
    pub expect_headers: Vec<(http::HeaderName, Pattern)>,
    /// A pattern that the body must match.
    pub expect_body: Option<Pattern>,
    /// How many redirects to follow, 0 to 10, and only to the same host.
    pub redirects: u8,
    /// The largest body that is read; a larger one is a failure.
    pub body_limit: usize,
    /// Which HTTP versions are offered.
    pub version: HttpVersion,
    /// TLS settings; used where the URL says https.
    pub tls: TlsSpec,
    /// Keep the connection for the next probe: then only `processing` and `transfer` are measured. By default
    /// where `sidecar` is set, as asking for votes is then a round trip shorter.
    pub keep_alive: bool,
    /// The target is the regionwatch of the peer region.
    pub sidecar: bool,
}

/// A regular expression with its source, so that it can be compared and printed.
#[derive(Debug, Clone)]
pub struct Pattern(regex_lite::Regex);

impl Pattern {
    /// The most memory that a compiled expression may take: `(a{1000}){1000}` is refused.
    const MAX_SIZE: usize = 1 << 20;

    /// Compiles the expression.
    ///
    /// # Errors
    /// The syntax error of the expression, or that it is too large.
    pub fn new(source: &str) -> Result<Self, regex_lite::Error> {
        regex_lite::RegexBuilder::new(source).size_limit(Self::MAX_SIZE).build().map(Self)
    }

    /// Whether the text has a match.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The expression.
    pub fn source(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}
