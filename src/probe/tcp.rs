//! A TCP connection, with TLS or a short dialogue where asked for.

mod starttls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use data_encoding::HEXLOWER_PERMISSIVE;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub use self::starttls::StartTls;
use super::{
    kind::ProbeKind,
    pattern::{self, Pattern},
    prober::{Probe, ProbeError, ProberContext, SetupError},
    tls,
};
use crate::{
    model::{Facts, Failure, FailureDetail, Host, Kind, Layer, Phase, Shape, Timings},
    net::{
        Attempt, ClockWatch, Connection, Connector, Measured, ResolvedHost, SocketOptions, TlsSpec,
        tls_failure_explained,
    },
    yaml::{Fields, Parsed, ReadContext, Secret, writer::Writer},
};

/// A TCP connection. Its handshake is one round trip, answered by the kernel, so it ranks first.
pub const TCP: Kind = Kind::new(&Facts {
    name: "tcp",
    title: "TCP",
    layer: Layer::L4,
    fast: true,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 0,
    interval: Duration::from_millis(250),
    timeout: Duration::from_secs(1),
});

/// A TCP connection.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpSpec {
    /// The port.
    pub port: u16,
    /// Shake hands for TLS once connected.
    pub tls: Option<TlsSpec>,
    /// Ask for TLS in this protocol before.
    pub starttls: Option<StartTls>,
    /// Bytes to send once connected.
    pub send: Option<Secret>,
    /// A pattern that the first 64 KiB of what the peer sends must match.
    pub expect: Option<Pattern>,
}

impl TcpSpec {
    /// A probe that only connects.
    pub const fn connect(port: u16) -> Self {
        Self { port, tls: None, starttls: None, send: None, expect: None }
    }
}

impl ProbeKind for TcpSpec {
    const KIND: Kind = TCP;
    const KEYS: &'static [&'static str] = &["port", "tls", "starttls", "send", "send_hex", "expect"];
    const SHARES_SOCKET: bool = false;

    type Prober = TcpProbe;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        let tls = fields.get("tls").and_then(|item| {
            if item.is_mapping() { tls::read(&item, context.secrets) } else { item.flag()?.then(Default::default) }
        });
        let protocols = StartTls::ALL.map(|protocol| (protocol.as_str(), protocol));
        let starttls = fields.read("starttls", |item| item.choice(&protocols));
        let tls = match (starttls, fields.get("tls")) {
            (Some(_), Some(item)) if tls.is_none() => {
                item.wrong("is false, and starttls asks for it; delete one of them");
                None
            }
            (Some(_), None) => Some(TlsSpec::default()),
            _ => tls,
        };
        let text = fields.get("send");
        if let Some(item) = text.as_ref().filter(|item| item.raw().is_some_and(|text| !text.is_ascii())) {
            item.warn("has letters outside ASCII, which are sent as UTF-8; write bytes in send_hex");
        }
        let bytes = fields.get("send_hex");
        if let (Some(_), Some(item)) = (&text, &bytes) {
            item.wrong("stands beside send; write one of them");
        }
        let hex = bytes.and_then(|item| item.secret().read(hex_bytes)).map(Secret::new);
        let send = text.and_then(|item| item.secret_text(context.secrets)).or(hex);
        let expect = fields.read("expect", |item| item.read(pattern::parse));
        let port = fields.required("port", "write the port to connect to, such as 443")?;
        Some(Self { port: port.port()?, tls, starttls, send, expect })
    }

    fn write(&self, page: &mut Writer) {
        page.raw("port", self.port);
        if let Some(spec) = &self.tls {
            tls::write(page, spec);
        }
        page.option("starttls", self.starttls);
        page.option("send", self.send.as_ref());
        page.option("expect", self.expect.as_ref().map(|pattern| pattern.source()));
    }

    fn destination(&self, host: &Host) -> String {
        let tls = match (&self.tls, self.starttls) {
            (None, _) => String::new(),
            (Some(_), None) => ", tls".to_owned(),
            (Some(_), Some(protocol)) => format!(", starttls {protocol}"),
        };
        format!("{host}, port {}{tls}", self.port)
    }

    fn shape(&self) -> Shape {
        let mut shape = Shape::new([Phase::Connect], [Failure::Refused]);
        if self.tls.is_some() {
            shape = shape.with(Phase::Tls, Failure::Tls);
        }
        if self.starttls.is_some() {
            shape.results = shape.results.with([Failure::Protocol, Failure::Status]);
        }
        shape.results = shape.results.with(self.expect.as_ref().map(|_| Failure::Mismatch));
        shape
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.tls.as_ref()
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<TcpProbe, SetupError> {
        let connector = self.tls.as_ref().map(|spec| context.tls.connector(spec, context.host, &[])).transpose()?;
        let options = context.socket_options();
        Ok(TcpProbe { resolved: context.resolved, spec: self, options, connector })
    }
}

/// Reads `d2 00 ff`.
fn hex_bytes(text: &str) -> Parsed<Vec<u8>> {
    let digits: String = text.chars().filter(|c| *c != ' ').collect();
    let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
    bytes.map_err(|_| "is not a list of bytes; write two hexadecimal digits for each, such as d2 00 ff".to_owned())
}

/// How much of what the peer sends is compared with the pattern.
const EXPECT_LIMIT: usize = 64 << 10;

/// Connects to one target.
#[derive(Debug)]
pub struct TcpProbe {
    resolved: ResolvedHost,
    spec: Arc<TcpSpec>,
    options: SocketOptions,
    connector: Option<Connector>,
}

impl TcpProbe {
    /// A probe that only connects.
    pub fn connect(resolved: ResolvedHost, port: u16) -> Self {
        Self { resolved, spec: Arc::new(TcpSpec::connect(port)), options: SocketOptions::default(), connector: None }
    }

    /// Sends and expects what is configured. The time for it is not measured.
    async fn converse(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        attempt: &Attempt,
    ) -> Result<(), Failure> {
        if self.spec.send.is_some() || self.spec.expect.is_some() {
            attempt.enter(Phase::Processing);
        }
        if let Some(send) = &self.spec.send {
            stream.write_all(send.as_bytes()).await.map_err(|error| tls_failure_explained(&error, attempt))?;
        }
        let Some(expect) = &self.spec.expect else { return Ok(()) };
        let mut matcher = expect.matcher();
        let mut buffer = [0; 1024];
        let mut left = EXPECT_LIMIT;
        let other = |left: usize| FailureDetail::OtherBytes(u16::try_from(EXPECT_LIMIT - left).unwrap_or(u16::MAX));
        while left > 0 {
            let room = left.min(buffer.len());
            let count = stream.read(&mut buffer[..room]).await.map_err(|error| {
                attempt.clear_detail();
                match tls_failure_explained(&error, attempt) {
                    // More than is read, in many pieces as in few.
                    Failure::Protocol => {
                        attempt.set_detail(other(left));
                        Failure::Mismatch
                    }
                    failure => failure,
                }
            })?;
            matcher.feed(&buffer[..count]);
            if matcher.is_match() {
                return Ok(());
            }
            if count == 0 {
                break;
            }
            left -= count;
            // It has sent something else so far.
            attempt.set_timeout_reason(Failure::Mismatch);
            attempt.set_detail(other(left));
        }
        attempt.set_detail(other(left));
        Err(Failure::Mismatch)
    }
}

impl Probe for TcpProbe {
    const LINGERS: bool = true;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = SocketAddr::new(self.resolved.address(attempt).await?, self.spec.port);
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let connection = match (self.spec.starttls, &self.connector) {
            (Some(protocol), Some(connector)) => {
                let mut plain = Connection::open(server, self.options, None, &mut measured, attempt).await?;
                starttls::ask(protocol, &mut plain.io, attempt).await?;
                plain.secure(connector, &mut measured, attempt).await?
            }
            (_, connector) => {
                Connection::open(server, self.options, connector.as_ref(), &mut measured, attempt).await?
            }
        };
        self.converse(connection.io, attempt).await?;
        // The round trip of a plain connection is the kernel's and knows no wall clock.
        if self.connector.is_some() && watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        Ok(measured.into_timings(&self.resolved))
    }
}
