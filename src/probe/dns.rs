//! One question to one named server, without cache, retry, search list or hosts file.
//!
//! Each question has a fresh socket (a random port, by the kernel) and a random identifier. hickory-proto
//! writes and reads the messages; its UDP client is not used, because it sends again every 333 ms and reports
//! the second packet's answer as one slow answer.

use std::{io, net::SocketAddr};

use http::{HeaderValue, Method, Request, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    Probe, ProbeError,
    answer::{Judgement, Question},
};
use crate::{
    config::{DnsSpec, DnsTransport},
    model::{Failure, Host, Phase, PhaseTimes, StampSource, Timings},
    net::{
        self, Attempt, ClockWatch, Connector, Datagram, ErrorQueueEvent, HttpClient, HttpVersion, ReadMore,
        ResolvedHost, SocketOptions, StreamTimestamps, Timestamp, TlsContext, TlsError,
    },
};

/// The largest message that is read over HTTPS; the other transports cannot carry more anyway.
const MESSAGE_LIMIT: usize = 65_535;

/// Asks one server.
#[derive(Debug)]
pub struct DnsProbe {
    resolved: ResolvedHost,
    spec: DnsSpec,
    question: Question,
    options: SocketOptions,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Udp,
    Tcp,
    Tls(Connector),
    Https { client: Box<HttpClient>, uri: http::Uri },
}

impl DnsProbe {
    /// A probe of the server.
    ///
    /// # Errors
    /// TLS settings that cannot be used; a question that is not a name.
    pub fn new(
        resolved: ResolvedHost,
        host: &Host,
        spec: DnsSpec,
        tos: Option<u8>,
        tls: &TlsContext,
    ) -> Result<Self, TlsError> {
        let options = SocketOptions { tos, ..SocketOptions::default() };
        let transport = match &spec.transport {
            DnsTransport::Udp => Transport::Udp,
            DnsTransport::Tcp => Transport::Tcp,
            // RFC 7858 registers the protocol name "dot".
            DnsTransport::Tls(settings) => Transport::Tls(tls.connector(settings, host, &[b"dot"])?),
            DnsTransport::Https { tls: settings, path } => {
                let client = HttpClient::https(tls, settings, host, HttpVersion::Auto, options)?;
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
                Transport::Https { client: Box::new(client), uri }
            }
        };
        let question = Question::new(&spec).ok_or_else(|| TlsError::ServerName(spec.query.to_string()))?;
        Ok(Self { resolved, spec, question, options, transport })
    }

    async fn ask_udp(&self, server: SocketAddr, attempt: &Attempt) -> Result<(Measured, bool), Failure> {
        attempt.enter(Phase::Request);
        let id: u16 = rand::random();
        let question = self.question.encode(id);
        let socket = Datagram::udp(server, self.options).map_err(|error| net::local_failure(&error))?;
        let before = Timestamp::now();
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
                            return Ok(ReadMore::Last((verdict.map(|()| message.timestamp), false)));
                        }
                        Judgement::Truncated => return Ok(ReadMore::Last((Ok(message.timestamp), true))),
                        // Anybody can send a datagram; the answer may still come.
                        Judgement::Unrelated => attempt.set_timeout_reason(Failure::Protocol),
                    }
                }
            })
            .await
            .map_err(|error| net::failure(&error))?;
        let (at, received) = match arrival? {
            Some(at) => (at, StampSource::Kernel),
            None => (Timestamp::now(), StampSource::Userland),
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
        let timestamps = stream.enable_timestamps();
        let mut phases = PhaseTimes::default();
        phases.add(Phase::Connect, connected.duration);
        let mut source = connected.source;
        let mut certificate_expiry = None;
        let elapsed = match connector {
            None => self.ask_over(stream, &timestamps, attempt).await?,
            Some(connector) => {
                attempt.enter(Phase::Tls);
                let stream = connector.handshake(stream, &timestamps, &mut phases, &mut source).await?;
                certificate_expiry = net::expiry(&stream);
                self.ask_over(stream, &timestamps, attempt).await?
            }
        };
        phases.add(Phase::Request, elapsed.duration);
        Ok(Measured {
            phases,
            source: source.and(elapsed.source),
            certificate_expiry,
            retransmits: connected.syn_retransmits,
        })
    }

    /// Asks with the two bytes of length that come before a message on a connection (RFC 7766 8).
    async fn ask_over(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        timestamps: &StreamTimestamps,
        attempt: &Attempt,
    ) -> Result<net::Elapsed, Failure> {
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
        timestamps.begin();
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
                Judgement::Unrelated => {
                    attempt.set_timeout_reason(Failure::Protocol);
                    continue;
                }
            }
            return timestamps.last_sent_to_last_received().ok_or(Failure::Local);
        }
    }

    async fn ask_https(
        &self,
        server: SocketAddr,
        client: &HttpClient,
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
        let answer = client.send(server, request, MESSAGE_LIMIT, true, attempt).await?;
        let body = answer.body.as_ref().ok_or(Failure::Protocol)?;
        if answer.head.status != http::StatusCode::OK {
            return Err(Failure::Status);
        }
        match self.question.judge(body, 0, &self.spec) {
            Judgement::Answer(verdict) => verdict?,
            Judgement::Truncated | Judgement::Unrelated => return Err(Failure::Protocol),
        }
        let mut phases = PhaseTimes::default();
        for (phase, duration) in answer.phases.iter() {
            let phase = match phase {
                Phase::Processing | Phase::Transfer => Phase::Request,
                other => other,
            };
            phases.add(phase, duration);
        }
        Ok(Measured {
            phases,
            source: answer.source,
            certificate_expiry: answer.certificate_expiry,
            retransmits: answer.syn_retransmits,
        })
    }
}

struct Measured {
    phases: PhaseTimes,
    source: StampSource,
    certificate_expiry: Option<i64>,
    retransmits: u32,
}

/// Reads the error queue up to the timestamp of when the question left, which comes once.
///
/// # Errors
/// What an ICMP error means for a connected socket. It can be there as soon as the question has left.
fn departure(socket: &Datagram, buffer: &mut [u8]) -> io::Result<Option<Timestamp>> {
    loop {
        match socket.try_error_queue(buffer) {
            Ok(ErrorQueueEvent::Sent { at, .. }) => return Ok(Some(at)),
            Ok(ErrorQueueEvent::Icmp { errno, .. } | ErrorQueueEvent::Local { errno }) => {
                return Err(io::Error::from_raw_os_error(errno));
            }
            Ok(ErrorQueueEvent::Other) => {}
            Err(_) => return Ok(None),
        }
    }
}

impl Probe for DnsProbe {
    const LINGERS: bool = true;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = SocketAddr::new(self.resolved.address(attempt).await?, self.spec.port);
        let watch = ClockWatch::start();
        let mut measured = match &self.transport {
            Transport::Udp => match self.ask_udp(server, attempt).await? {
                (first, true) if self.spec.retry_over_tcp => {
                    let mut second = self.ask_stream(server, None, attempt).await?;
                    first.phases.iter().for_each(|(phase, duration)| second.phases.add(phase, duration));
                    second.source = second.source.and(first.source);
                    second
                }
                (_, true) if !self.spec.answers.is_empty() => return Err(Failure::Mismatch.into()),
                (measured, _) => measured,
            },
            Transport::Tcp => self.ask_stream(server, None, attempt).await?,
            Transport::Tls(connector) => self.ask_stream(server, Some(connector), attempt).await?,
            Transport::Https { client, uri } => self.ask_https(server, client, uri, attempt).await?,
        };
        if watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        let total = measured.phases.total();
        self.resolved.report(&mut measured.phases);
        Ok(Timings {
            total,
            syn_retransmits: measured.retransmits,
            certificate_expiry: measured.certificate_expiry,
            ..Timings::new(measured.phases, measured.source)
        })
    }
}
