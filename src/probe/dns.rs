//! One question to one named server, without cache, retry, search list or hosts file.
//!
//! Each question has a fresh socket (a random port, by the kernel) and a random identifier. hickory-proto
//! writes and reads the messages; its UDP client is not used, because it sends again every 333 ms and reports
//! the second packet's answer as one slow answer.

mod data;
mod message;
mod spec;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use self::message::{Content, Judgement, Question};
pub use self::{
    message::fuzz_answer,
    spec::{Answer, DnsSpec, DnsTransport, Rcode, RecordType},
};
use super::{
    kind::ProbeKind,
    prober::{Probe, ProbeError, ProberContext, SetupError},
};
use crate::{
    model::{Facts, Failure, FailureDetail, Host, HttpUrl, Kind, Layer, Phase, Shape, Timings},
    net::{
        Attempt, BodyUse, ClockReading, ClockWatch, Connection, Connector, DATAGRAM_BUDGET, Datagram, Elapsed,
        ErrorQueueEvent, HttpClient, HttpVersion, Measured, ReadMore, ResolvedHost, SocketOptions, StreamTimestamps,
        Timestamp, TlsSpec, failure, local_failure, tls_failure_explained,
    },
    yaml::{Fields, ReadContext, writer::Writer},
};

/// One DNS question. The server is often in another place than the region's services, so it ranks last.
pub const DNS: Kind = Kind::new(&Facts {
    name: "dns",
    title: "DNS",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 5,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

impl ProbeKind for DnsSpec {
    const KIND: Kind = DNS;
    const KEYS: &'static [&'static str] = spec::KEYS;
    const SHARES_SOCKET: bool = false;

    type Prober = DnsProbe;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        spec::read(fields, context)
    }

    fn write(&self, page: &mut Writer) {
        spec::write(page, self);
    }

    fn destination(&self, host: &Host) -> String {
        format!("{host}, {} port {}, query {}", self.transport.protocol().name(), self.port, self.query)
    }

    fn shape(&self) -> Shape {
        let mut shape = Shape::new([Phase::Request], [Failure::Refused, Failure::Protocol, Failure::Status]);
        if self.transport != DnsTransport::Udp || self.retry_over_tcp {
            shape = shape.with(Phase::Connect, Failure::Refused);
        }
        if self.transport.tls().is_some() {
            shape = shape.with(Phase::Tls, Failure::Tls);
        }
        shape.results = shape.results.with([Failure::Empty]);
        if self.compares() {
            shape.results = shape.results.with([Failure::Mismatch]);
        }
        shape
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.transport.tls()
    }

    fn question(&self) -> Option<(&str, String)> {
        Some((&self.query, self.record.name()))
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<DnsProbe, SetupError> {
        let options = context.socket_options();
        let transport = match &self.transport {
            DnsTransport::Udp => Transport::Udp,
            DnsTransport::Tcp => Transport::Tcp,
            // RFC 7858 registers the protocol name "dot".
            DnsTransport::Tls(tls) => Transport::Tls(context.tls.connector(tls, context.host, &[b"dot"])?),
            DnsTransport::Https { tls, path } => {
                let url = HttpUrl { https: true, host: context.host.clone(), port: self.port, path: path.clone() };
                Transport::Https(Box::new(HttpClient::new(&url, HttpVersion::Auto, options, tls, context.tls)?))
            }
        };
        let question = Question::new(&self).ok_or_else(|| SetupError::Query(self.query.to_string()))?;
        let [without_edns, has_answered] = Default::default();
        Ok(DnsProbe {
            resolved: context.resolved,
            spec: self,
            question,
            options,
            transport,
            without_edns,
            has_answered,
        })
    }
}

/// The largest message that is read over HTTPS; the other transports cannot carry more anyway.
const MESSAGE_LIMIT: usize = 65_535;

/// The most datagrams that may come instead of the answer. Only the server's address can send them, or who can forge it;
/// reading that many takes some milliseconds.
const MAX_UNRELATED: u32 = 4096;

/// Asks one server.
#[derive(Debug)]
pub(crate) struct DnsProbe {
    resolved: ResolvedHost,
    spec: Arc<DnsSpec>,
    question: Question,
    options: SocketOptions,
    transport: Transport,
    /// The server has said that it does not know EDNS.
    without_edns: AtomicBool,
    /// It has answered with records.
    has_answered: AtomicBool,
}

#[derive(Debug)]
enum Transport {
    Udp,
    Tcp,
    Tls(Connector),
    Https(Box<HttpClient>),
}

/// What a server has said to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// All of the answer, and the right one.
    All(Content),
    /// That there is more than fits into a datagram.
    Part,
    /// That it wants the question without EDNS.
    NoEdns,
}

impl DnsProbe {
    async fn ask(
        &self,
        server: SocketAddr,
        edns: bool,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Said, Failure> {
        match &self.transport {
            Transport::Udp => match self.ask_udp(server, edns, measured, attempt).await? {
                Said::Part if self.spec.retry_over_tcp => self.ask_stream(server, None, edns, measured, attempt).await,
                Said::Part if self.spec.expects_records() => {
                    attempt.set_detail(FailureDetail::TruncatedAnswer);
                    Err(Failure::Mismatch)
                }
                said => Ok(said),
            },
            Transport::Tcp => self.ask_stream(server, None, edns, measured, attempt).await,
            Transport::Tls(connector) => self.ask_stream(server, Some(connector), edns, measured, attempt).await,
            Transport::Https(client) => self.ask_https(server, client, edns, measured, attempt).await,
        }
    }

    /// An answer without records is a failure where one is expected, or where there were some before: an outage of many
    /// services can begin so. Otherwise it may be right, and is a warning.
    fn judge_content(&self, said: Said, attempt: &Attempt) -> Result<(), Failure> {
        match said {
            Said::All(Content::Records) => self.has_answered.store(true, Ordering::Relaxed),
            Said::All(Content::Nothing(why)) => {
                let detail = FailureDetail::EmptyAnswer(why);
                if self.spec.expects_records() || self.has_answered.load(Ordering::Relaxed) {
                    attempt.set_detail(detail);
                    return Err(Failure::Empty);
                }
                attempt.set_warning(detail);
            }
            Said::All(Content::Rcode) | Said::Part | Said::NoEdns => {}
        }
        Ok(())
    }

    /// Asks with a datagram.
    async fn ask_udp(
        &self,
        server: SocketAddr,
        edns: bool,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Said, Failure> {
        attempt.enter(Phase::Request);
        let id: u16 = rand::random();
        let question = self.question.encode(id, edns);
        let socket = Datagram::udp(server, self.options).map_err(|error| local_failure(&error))?;
        let before = Timestamp::now();
        socket.send(&question).map_err(|error| local_failure(&error))?;
        let mut buffer = [0; 1536];
        let mut departed = departure(&socket, &mut buffer).map_err(|error| failure(&error))?;
        let mut unrelated = 0;
        let (arrival, said) = socket
            .until(|| {
                for _ in 0..DATAGRAM_BUDGET {
                    let message = match socket.try_receive(&mut buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            departed = departed.or(departure(&socket, &mut buffer)?);
                            return Err(error);
                        }
                        received => received?,
                    };
                    match self.question.judge(&buffer[..message.len.min(buffer.len())], id, edns, &self.spec) {
                        Judgement::Answer(verdict) => {
                            note_answer(&buffer, verdict, attempt);
                            return Ok(ReadMore::Last((message.timestamp, verdict.map(Said::All))));
                        }
                        Judgement::Truncated => return Ok(ReadMore::Last((message.timestamp, Ok(Said::Part)))),
                        Judgement::NoEdns => return Ok(ReadMore::Last((message.timestamp, Ok(Said::NoEdns)))),
                        // Anybody can send a datagram; the answer may still come.
                        Judgement::Unrelated if unrelated < MAX_UNRELATED => {
                            unrelated += 1;
                            attempt.set_timeout_reason(Failure::Protocol);
                        }
                        Judgement::Unrelated => return Ok(ReadMore::Last((None, Err(Failure::Protocol)))),
                    }
                }
                Err(io::ErrorKind::Interrupted.into())
            })
            .await
            .map_err(|error| failure(&error))?;
        let said = said?;
        let sent = ClockReading::sent(departed, before);
        measured.add(Phase::Request, ClockReading::received(arrival).since(sent));
        Ok(said)
    }

    /// Asks over a connection.
    async fn ask_stream(
        &self,
        server: SocketAddr,
        connector: Option<&Connector>,
        edns: bool,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Said, Failure> {
        let connection = Connection::open(server, self.options, connector, measured, attempt).await?;
        let timestamps = connection.enable_timestamps();
        let (elapsed, said) = self.ask_over(connection.io, edns, &timestamps, attempt).await?;
        measured.add(Phase::Request, elapsed);
        Ok(said)
    }

    /// Asks with the two bytes of length that come before a message on a connection (RFC 7766 8).
    async fn ask_over(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        edns: bool,
        timestamps: &StreamTimestamps,
        attempt: &Attempt,
    ) -> Result<(Elapsed, Said), Failure> {
        let failed = |error: io::Error| match error.kind() {
            // Closed between or in messages, without a reset.
            io::ErrorKind::UnexpectedEof => Failure::Protocol,
            _ => tls_failure_explained(&error, attempt),
        };
        attempt.enter(Phase::Request);
        let id: u16 = rand::random();
        let mut question = vec![0, 0];
        question.extend(self.question.encode(id, edns));
        let len = (question.len() - 2) as u16;
        question[..2].copy_from_slice(&len.to_be_bytes());
        timestamps.begin();
        timestamps.allow(2 * MESSAGE_LIMIT);
        stream.write_all(&question).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        loop {
            let len = stream.read_u16().await.map_err(failed)?;
            let mut answer = vec![0; len.into()];
            stream.read_exact(&mut answer).await.map_err(failed)?;
            let said = match self.question.judge(&answer, id, edns, &self.spec) {
                Judgement::Answer(verdict) => {
                    note_answer(&answer, verdict, attempt);
                    verdict.map(Said::All)?
                }
                Judgement::NoEdns => Said::NoEdns,
                // There is no room on a connection to run out of.
                Judgement::Truncated => return Err(Failure::Protocol),
                // The connection allows the bytes of a few messages.
                Judgement::Unrelated => {
                    attempt.set_timeout_reason(Failure::Protocol);
                    continue;
                }
            };
            let readings = timestamps.read();
            let elapsed = Elapsed::between(readings.last_sent, readings.last_received).ok_or(Failure::Local)?;
            return Ok((elapsed, said));
        }
    }

    /// Asks by HTTP.
    async fn ask_https(
        &self,
        server: SocketAddr,
        client: &HttpClient,
        edns: bool,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Said, Failure> {
        // RFC 8484 4.1: the identifier should be 0, so that caches can work.
        let request = Request::builder()
            .method(Method::POST)
            .uri(client.uri().clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/dns-message"))
            .header(header::ACCEPT, HeaderValue::from_static("application/dns-message"))
            .body(self.question.encode(0, edns).into())
            .map_err(|_| Failure::Local)?;
        let answer = client.send(server, request, BodyUse::kept(MESSAGE_LIMIT), measured, attempt).await?;
        let body = answer.body.ok_or(Failure::Protocol)?;
        if answer.head.status != http::StatusCode::OK {
            attempt.set_detail(FailureDetail::HttpStatus(answer.head.status.as_u16()));
            return Err(Failure::Status);
        }
        measured.rename_phases(|phase| match phase {
            Phase::Processing | Phase::Transfer => Phase::Request,
            other => other,
        });
        match self.question.judge(&body, 0, edns, &self.spec) {
            Judgement::Answer(verdict) => {
                note_answer(&body, verdict, attempt);
                verdict.map(Said::All)
            }
            Judgement::NoEdns => Ok(Said::NoEdns),
            Judgement::Truncated | Judgement::Unrelated => Err(Failure::Protocol),
        }
    }
}

/// Notes what a message says instead of what is expected: its response code (RFC 1035 4.1.1), or other records.
fn note_answer(message: &[u8], verdict: Result<Content, Failure>, attempt: &Attempt) {
    let rcode = message.get(3).map_or(0, |flags| flags & 0x0f);
    match verdict {
        Err(Failure::Mismatch) if rcode == 0 => attempt.set_detail(FailureDetail::OtherRecords),
        Err(Failure::Status | Failure::Mismatch) => attempt.set_detail(FailureDetail::Rcode(rcode)),
        _ => {}
    }
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
        let mut measured = Measured::default();
        let edns = self.spec.edns && !self.without_edns.load(Ordering::Relaxed);
        let mut said = self.ask(server, edns, &mut measured, attempt).await?;
        if said == Said::NoEdns {
            self.without_edns.store(true, Ordering::Relaxed);
            // Only the question that is answered is measured.
            measured = Measured::default();
            said = self.ask(server, false, &mut measured, attempt).await?;
        }
        self.judge_content(said, attempt)?;
        if watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        Ok(measured.into_timings(&self.resolved))
    }
}
