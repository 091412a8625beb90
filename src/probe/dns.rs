//! One question to one named server, without cache, retry, search list or hosts file.
//!
//! Each question has a fresh socket (a random port, by the kernel) and a random identifier. hickory-proto
//! writes and reads the messages; its UDP client is not used, because it sends again every 333 ms and reports
//! the second packet's answer as one slow answer.

use std::{io, net::SocketAddr};

use http::{HeaderValue, Method, Request, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    Fault, Probe,
    answer::{Judgement, Question},
};
use crate::{
    config::{DnsSpec, DnsTransport},
    model::{Failure, Host, Phase, PhaseTimes, StampSource, Timings},
    net::{
        self, Attempt, Client, ClockWatch, Connector, Datagram, HttpVersion, Lookup, Marks, Notice, SocketOptions,
        Stamp, Taken, TlsContext, TlsError,
    },
};

/// The largest message that is read over HTTPS; the other transports cannot carry more anyway.
const MESSAGE_LIMIT: usize = 65_535;

/// Asks one server.
#[derive(Debug)]
pub struct DnsProbe {
    lookup: Lookup,
    spec: DnsSpec,
    question: Question,
    options: SocketOptions,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Udp,
    Tcp,
    Tls(Connector),
    Https { client: Box<Client>, uri: http::Uri },
}

impl DnsProbe {
    /// A probe of the server.
    ///
    /// # Errors
    /// TLS settings that cannot be used; a question that is not a name.
    pub fn new(
        lookup: Lookup,
        host: &Host,
        spec: DnsSpec,
        tos: Option<u8>,
        tls: &TlsContext,
    ) -> Result<Self, TlsError> {
        let options = SocketOptions { tos, ..SocketOptions::default() };
        let carrier = match &spec.transport {
            DnsTransport::Udp => Carrier::Udp,
            DnsTransport::Tcp => Carrier::Tcp,
            // RFC 7858 registers the protocol name "dot".
            DnsTransport::Tls(settings) => Carrier::Tls(tls.connector(settings, host, &[b"dot"])?),
            DnsTransport::Https { tls: settings, path } => {
                let client = Client::https(tls, settings, host, HttpVersion::Auto, options)?;
                let authority = match host {
                    Host::Addr(std::net::IpAddr::V6(address)) => format!("[{address}]:{}", spec.port),
                    host => format!("{host}:{}", spec.port),
                };
                let uri = http::Uri::builder()
                    .scheme("https")
                    .authority(authority)
                    .path_and_query(&**path)
                    .build()
                    .map_err(|_| TlsError::ServerName(host.to_string()))?;
                Carrier::Https { client: Box::new(client), uri }
            }
        };
        let question = Question::new(&spec).ok_or_else(|| TlsError::ServerName(spec.query.to_string()))?;
        Ok(Self { lookup, spec, question, options, carrier })
    }

    async fn ask_udp(&self, server: SocketAddr, attempt: &Attempt) -> Result<(Measured, bool), Failure> {
        attempt.enter(Phase::Request);
        let id: u16 = rand::random();
        let question = self.question.encode(id);
        let socket = Datagram::udp(server, self.options).map_err(|error| net::local_failure(&error))?;
        let before = Stamp::now();
        socket.send(&question).map_err(|error| net::local_failure(&error))?;
        let mut buffer = [0; 1536];
        let mut departed = departure(&socket, &mut buffer).map_err(|error| net::failure(&error))?;
        let (arrival, truncated) = socket
            .until(|| {
                loop {
                    let message = match socket.try_receive(&mut buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            departed = departed.or(departure(&socket, &mut buffer)?);
                            return Err(error);
                        }
                        received => received?,
                    };
                    match self.question.judge(&buffer[..message.len.min(buffer.len())], id, &self.spec) {
                        Judgement::Answer(verdict) => {
                            return Ok(Taken::Last((verdict.map(|()| message.stamp), false)));
                        }
                        Judgement::Truncated => return Ok(Taken::Last((Ok(message.stamp), true))),
                        // Anybody can send a datagram; the answer may still come.
                        Judgement::Foreign => attempt.suspect(Failure::Protocol),
                    }
                }
            })
            .await
            .map_err(|error| net::failure(&error))?;
        let (at, received) = match arrival? {
            Some(at) => (at, StampSource::Kernel),
            None => (Stamp::now(), StampSource::Userland),
        };
        let (from, sent) = match departed {
            Some(at) => (at, StampSource::Kernel),
            None => (before, StampSource::Userland),
        };
        let mut phases = PhaseTimes::default();
        phases.add(Phase::Request, at.since(from));
        Ok((Measured { phases, source: sent.and(received), certificate_expiry: None, retransmits: 0 }, truncated))
    }

    async fn ask_stream(
        &self,
        server: SocketAddr,
        connector: Option<&Connector>,
        attempt: &Attempt,
    ) -> Result<Measured, Failure> {
        attempt.enter(Phase::Connect);
        let (stream, connected) = net::connect(server, self.options).await?;
        let marks = stream.stamp();
        let mut phases = PhaseTimes::default();
        phases.add(Phase::Connect, connected.duration);
        let mut source = connected.source;
        let mut certificate_expiry = None;
        let span = match connector {
            None => self.ask_over(stream, &marks, attempt).await?,
            Some(connector) => {
                attempt.enter(Phase::Tls);
                let stream = connector.handshake(stream, &marks, &mut phases, &mut source).await?;
                certificate_expiry = net::expiry(&stream);
                self.ask_over(stream, &marks, attempt).await?
            }
        };
        phases.add(Phase::Request, span.duration);
        Ok(Measured {
            phases,
            source: source.and(span.source),
            certificate_expiry,
            retransmits: connected.syn_retransmits,
        })
    }

    /// Asks with the two bytes of length that come before a message on a connection (RFC 7766 8).
    async fn ask_over(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        marks: &Marks,
        attempt: &Attempt,
    ) -> Result<net::Span, Failure> {
        let failure = |error: io::Error| match error.kind() {
            // Closed between or in messages, without a reset.
            io::ErrorKind::UnexpectedEof => Failure::Protocol,
            _ => net::tls_failure(&error),
        };
        attempt.enter(Phase::Request);
        let id: u16 = rand::random();
        let mut question = vec![0, 0];
        question.extend(self.question.encode(id));
        let len = (question.len() - 2) as u16;
        question[..2].copy_from_slice(&len.to_be_bytes());
        marks.begin();
        stream.write_all(&question).await.map_err(failure)?;
        stream.flush().await.map_err(failure)?;
        loop {
            let len = stream.read_u16().await.map_err(failure)?;
            let mut answer = vec![0; len.into()];
            stream.read_exact(&mut answer).await.map_err(failure)?;
            match self.question.judge(&answer, id, &self.spec) {
                Judgement::Answer(verdict) => verdict?,
                // There is no room on a connection to run out of.
                Judgement::Truncated => return Err(Failure::Protocol),
                Judgement::Foreign => {
                    attempt.suspect(Failure::Protocol);
                    continue;
                }
            }
            return marks.last_sent_to_last_received().ok_or(Failure::Local);
        }
    }

    async fn ask_https(
        &self,
        server: SocketAddr,
        client: &Client,
        uri: &http::Uri,
        attempt: &Attempt,
    ) -> Result<Measured, Failure> {
        // RFC 8484 4.1: the identifier should be 0, so that caches can work.
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri.clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/dns-message"))
            .header(header::ACCEPT, HeaderValue::from_static("application/dns-message"))
            .body(self.question.encode(0).into())
            .map_err(|_| Failure::Local)?;
        let exchange = client.exchange(server, request, MESSAGE_LIMIT, true, attempt).await?;
        let body = exchange.body.as_ref().ok_or(Failure::Protocol)?;
        if exchange.response.status != http::StatusCode::OK {
            return Err(Failure::Status);
        }
        match self.question.judge(body, 0, &self.spec) {
            Judgement::Answer(verdict) => verdict?,
            Judgement::Truncated | Judgement::Foreign => return Err(Failure::Protocol),
        }
        let mut phases = PhaseTimes::default();
        for (phase, duration) in exchange.phases.iter() {
            let phase = match phase {
                Phase::Processing | Phase::Transfer => Phase::Request,
                other => other,
            };
            phases.add(phase, duration);
        }
        Ok(Measured {
            phases,
            source: exchange.source,
            certificate_expiry: exchange.certificate_expiry,
            retransmits: exchange.syn_retransmits,
        })
    }
}

struct Measured {
    phases: PhaseTimes,
    source: StampSource,
    certificate_expiry: Option<i64>,
    retransmits: u32,
}

/// Reads the error queue up to the stamp of when the question left, which comes once.
///
/// # Errors
/// What an ICMP error means for a connected socket. It can be there as soon as the question has left.
fn departure(socket: &Datagram, buffer: &mut [u8]) -> io::Result<Option<Stamp>> {
    loop {
        match socket.try_notice(buffer) {
            Ok(Notice::Sent { at, .. }) => return Ok(Some(at)),
            Ok(Notice::Icmp { errno, .. } | Notice::Local { errno }) => {
                return Err(io::Error::from_raw_os_error(errno));
            }
            Ok(Notice::Other) => {}
            Err(_) => return Ok(None),
        }
    }
}

impl Probe for DnsProbe {
    const LINGERS: bool = true;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, Fault> {
        let server = SocketAddr::new(self.lookup.address(attempt).await?, self.spec.port);
        let watch = ClockWatch::start();
        let mut measured = match &self.carrier {
            Carrier::Udp => match self.ask_udp(server, attempt).await? {
                (first, true) if self.spec.retry_over_tcp => {
                    let mut second = self.ask_stream(server, None, attempt).await?;
                    first.phases.iter().for_each(|(phase, duration)| second.phases.add(phase, duration));
                    second.source = second.source.and(first.source);
                    second
                }
                (_, true) if !self.spec.answers.is_empty() => return Err(Failure::Mismatch.into()),
                (measured, _) => measured,
            },
            Carrier::Tcp => self.ask_stream(server, None, attempt).await?,
            Carrier::Tls(connector) => self.ask_stream(server, Some(connector), attempt).await?,
            Carrier::Https { client, uri } => self.ask_https(server, client, uri, attempt).await?,
        };
        if watch.stepped() {
            return Err(Fault::ClockStep);
        }
        let total = measured.phases.total();
        self.lookup.report(&mut measured.phases);
        Ok(Timings {
            total,
            syn_retransmits: measured.retransmits,
            certificate_expiry: measured.certificate_expiry,
            ..Timings::new(measured.phases, measured.source)
        })
    }
}
