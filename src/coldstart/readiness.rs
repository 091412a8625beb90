//! Readiness: the first correct answer of a probe over the network.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use super::error::ColdstartError;
use crate::{
    bench::spec_of_url,
    model::{AddressFamily, Failure, Host, Phase, Timings},
    net::{Attempt, Resolver, Timestamp, TlsContext, TlsSpec},
    probe::{HttpSpec, Lookup, Probe, ProbeError, ProbeSpec, ProberContext, ProberVisitor},
    yaml::Parsed,
};

/// How long a handshake in a network of this host may take. A SYN that is lost would be sent again after a second.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// How long one answer is waited for.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// The shortest and the longest pause between two probes.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// The share of the time so far that a pause may be: what is found out late is late by at most this share.
const PRECISION: u32 = 200;

/// What is asked of every container: a URL without a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    scheme: String,
    port: Option<u16>,
    path: String,
}

const HINT: &str = "write a path such as /healthz, or a URL without a host such as http://:8080/healthz or tcp://:5432";

impl Question {
    /// Reads `/healthz`, `http://:8080/healthz`, `tcp://:5432` and the like.
    ///
    /// # Errors
    /// What is wrong; what to write instead.
    pub fn parse(text: &str) -> Parsed<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None if text.starts_with('/') => ("http".to_owned(), text),
            None => return Err(format!("is no probe; {HINT}")),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let port = match host.strip_prefix(':') {
            Some(port) => Some(
                port.parse()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(|| format!("has the port {port:?}, which is not a number from 1 to 65535; {HINT}"))?,
            ),
            None if host.is_empty() => None,
            None => return Err(format!("has the host {host:?}, which is that of each container; {HINT}")),
        };
        let question = Self { scheme, port, path: path.to_owned() };
        question.spec(SocketAddr::from(([192, 0, 2, 1], 1)))?;
        Ok(question)
    }

    /// The root page by HTTP.
    pub fn http() -> Self {
        Self { scheme: "http".to_owned(), port: None, path: "/".to_owned() }
    }

    /// The port that is asked, if the question names one.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether a port of this host can stand for the container's.
    ///
    /// # Errors
    /// Why not; what to write instead.
    pub fn check_published(&self) -> Parsed<()> {
        match self.scheme.as_str() {
            "http" | "https" | "tls" => Ok(()),
            "tcp" => {
                Err("a published port accepts before the program does, so tcp:// says nothing with --publish; write a \
                          probe such as http://:8080/ or tls://:5432"
                    .to_owned())
            }
            _ => {
                Err("--publish leads to TCP ports only; write a probe such as http://:8080/ or tls://:5432".to_owned())
            }
        }
    }

    /// Whether it needs a port at all.
    pub(super) fn needs_port(&self) -> bool {
        self.scheme != "icmp"
    }

    /// What the null image is asked, which knows HTTP only.
    pub(super) fn of_null(&self, port: u16) -> Self {
        let scheme = if self.scheme == "tcp" { "tcp" } else { "http" };
        Self { scheme: scheme.to_owned(), port: Some(port), path: if scheme == "tcp" { "" } else { "/" }.to_owned() }
    }

    /// The kind of probe.
    pub fn kind(&self) -> &'static str {
        self.spec(SocketAddr::from(([192, 0, 2, 1], 1))).map_or("http", |(_, spec)| spec.kind().as_str())
    }

    fn spec(&self, address: SocketAddr) -> Parsed<(Host, ProbeSpec)> {
        let url = match self.scheme.as_str() {
            "icmp" => format!("icmp://{}", Host::Addr(address.ip()).bracketed()),
            scheme => format!("{scheme}://{address}{}", self.path),
        };
        let (host, spec) = spec_of_url(&url)?;
        // The address of a container is in no certificate, and the container is ours.
        let spec = match spec {
            ProbeSpec::Http(http) if self.scheme == "https" => {
                let tls = TlsSpec { insecure_skip_verify: true, ..http.tls.clone() };
                HttpSpec { tls, ..(*http).clone() }.into()
            }
            spec => spec,
        };
        Ok((host, spec))
    }

    /// Asks a container at an address.
    pub(super) fn asker(&self, address: IpAddr, port: u16) -> Result<Asker, ColdstartError> {
        let (host, spec) = self.spec(SocketAddr::new(address, port)).map_err(ColdstartError::Invalid)?;
        let tls = TlsContext::default();
        let resolver = Resolver::new(None);
        let (resolved, lookup) = (resolver.lookup(&host, AddressFamily::Any), Lookup::by(&resolver));
        let context =
            ProberContext { host: &host, resolved, lookup, tos: None, source: None, tls: &tls, responses: None };
        spec.prober(context, Boxed).map_err(|error| ColdstartError::Invalid(error.to_string()))
    }
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Timings, ProbeError>> + Send + 'a>>;

/// A prober of whatever kind.
pub(super) struct Asker(Box<dyn Fn(Arc<Attempt>) -> Asking<'static> + Send + Sync>);

struct Boxed;

impl ProberVisitor for Boxed {
    type Output = Asker;

    fn visit<P: Probe>(self, prober: P) -> Asker {
        let prober = Arc::new(prober);
        Asker(Box::new(move |attempt| {
            let prober = Arc::clone(&prober);
            Box::pin(async move { prober.probe(&attempt).await })
        }))
    }
}

/// When a container was there and ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    /// When its port first accepted a connection.
    pub(super) listening: Timestamp,
    /// When the last byte of the first correct answer arrived.
    pub(super) answered: Timestamp,
}

impl Asker {
    /// One probe: when it began and how it ended, and whether it got beyond the handshake.
    async fn ask(&self, deadline: Instant) -> (Timestamp, Result<Timings, ProbeError>, bool) {
        let attempt = Arc::new(Attempt::new(deadline.min(Instant::now() + ANSWER)));
        let began = Timestamp::now();
        let mut asking = (self.0)(Arc::clone(&attempt));
        let connecting = timeout_at(attempt.deadline().min(Instant::now() + HANDSHAKE), &mut asking).await;
        let is_connected = || attempt.reached().is_some_and(|phase| !matches!(phase, Phase::Resolve | Phase::Connect));
        let result = match connecting {
            Ok(result) => result,
            Err(_) if !is_connected() => Err(ProbeError::Failed(Failure::Timeout)),
            Err(_) => timeout_at(attempt.deadline(), asking)
                .await
                .unwrap_or_else(|_| Err(ProbeError::Failed(attempt.timeout_reason()))),
        };
        (began, result, is_connected())
    }

    /// Asks until there is a correct answer. After the deadline, the reason of the last failure.
    pub(super) async fn until_ready(&self, deadline: Instant) -> Result<Ready, Failure> {
        let since = Instant::now();
        let mut listening = None;
        let mut last = None;
        loop {
            let (began, result, is_connected) = self.ask(deadline).await;
            let failure = match result {
                Ok(timings) => {
                    let connect = timings.phases.iter().find(|(phase, _)| *phase == Phase::Connect);
                    let connected = began.after(connect.map_or(Duration::ZERO, |(_, connect)| connect));
                    let listening = *listening.get_or_insert(connected);
                    return Ok(Ready { listening, answered: began.after(timings.total) });
                }
                Err(ProbeError::Failed(failure)) => failure,
                Err(ProbeError::ClockStep) => Failure::Local,
            };
            if is_connected {
                listening.get_or_insert(began);
            }
            // A probe that the deadline cut before it was connected says less than the one before it.
            let is_cut = failure == Failure::Timeout && !is_connected && Instant::now() >= deadline;
            let failure = last.filter(|_| is_cut).unwrap_or(failure);
            last = Some(failure);
            let pause = (since.elapsed() / PRECISION).clamp(PAUSES.0, PAUSES.1);
            if Instant::now() + pause >= deadline {
                return Err(failure);
            }
            sleep(pause).await;
        }
    }

    /// The latencies of the next answers, one after the other: so many, or those of a stretch of time.
    pub(super) async fn next_answers(&self, count: usize, within: Duration) -> Vec<Option<Duration>> {
        let deadline = Instant::now() + within;
        let mut latencies = Vec::with_capacity(count);
        while latencies.len() < count && Instant::now() < deadline {
            let (_, result, _) = self.ask(Instant::now() + ANSWER).await;
            latencies.push(result.ok().map(|timings| timings.total));
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn a_question_is_a_url_without_a_host() {
        for (text, url, kind) in [
            ("/healthz", "http://192.0.2.1:1/healthz", "http"),
            ("http://:8080/a?b=c", "http://192.0.2.1:1/a?b=c", "http"),
            ("HTTPS:///x", "https://192.0.2.1:1/x", "http"),
            ("tcp://:5432", "tcp://192.0.2.1:1", "tcp"),
            ("icmp://", "icmp://192.0.2.1", "icmp"),
        ] {
            let question = Question::parse(text).unwrap();
            assert_eq!(question.kind(), kind, "{text}");
            assert_eq!(question.port().is_some(), text.contains("://:"), "{text}");
            let (_, expected) = spec_of_url(url).unwrap();
            let (_, spec) = question.spec("192.0.2.1:1".parse().unwrap()).unwrap();
            if !url.starts_with("https") {
                assert_eq!(spec, expected, "{text}");
            }
        }
        for (text, told) in [
            ("healthz", "is no probe; write a path such as /healthz"),
            ("http://a:80/", "has the host \"a:80\", which is that of each container"),
            ("http://:0/", "has the port \"0\", which is not a number"),
            ("gopher://:70/", "has an unknown scheme"),
        ] {
            assert!(Question::parse(text).unwrap_err().contains(told), "{text}");
        }
    }

    #[test]
    fn a_connection_to_a_published_port_is_no_answer() {
        let of = |text: &str| Question::parse(text).unwrap().check_published();
        for text in ["/", "https://:443/", "tls://:5432"] {
            assert_eq!(of(text), Ok(()), "{text}");
        }
        assert!(of("tcp://:5432").unwrap_err().starts_with("a published port accepts before the program does"));
        assert!(of("dns://:53/example.com").unwrap_err().contains("TCP ports only"));
    }

    #[tokio::test]
    async fn the_first_correct_answer_counts_and_not_the_first_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut statuses = ["503 No", "503 No"].into_iter();
            loop {
                let status = statuses.next().unwrap_or("200 OK");
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                sleep(Duration::from_millis(30)).await;
                let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        let asker = Question::http().asker(address.ip(), address.port()).unwrap();
        let ready = asker.until_ready(Instant::now() + Duration::from_secs(30)).await.unwrap();
        assert!(ready.answered.since(ready.listening) >= Duration::from_millis(89), "{ready:?}");
        server.abort();
        let _ = server.await;
        assert!(asker.until_ready(Instant::now() + Duration::from_millis(20)).await.is_err());
    }
}
