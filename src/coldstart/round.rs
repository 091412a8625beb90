//! One start of one container, from the call that creates it to its first correct answer.

use std::{fmt, net::SocketAddr, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    engine::{ContainerOptions, Creation, Engine},
    error::ColdstartError,
    readiness::Question,
};
use crate::{
    model::{Failure, UnixMillis, labels},
    net::{ClockWatch, Timestamp},
};

/// How often it is looked whether a container that does not answer still runs.
const WATCHED_EVERY: Duration = Duration::from_millis(250);

/// How often the removal of a container may be refused.
const REMOVALS: usize = 4;

/// The answers after the first one that are measured, and how long that may take.
pub(super) const NEXT: usize = 100;
pub(super) const NEXT_WITHIN: Duration = Duration::from_secs(2);

/// What was being made may appear a little later. How often, and with what pause, it is removed again.
const LATE: (usize, Duration) = (50, Duration::from_millis(100));

labels! {
    /// A part of a cold start.
    pub enum Step {
        /// The engine makes the container.
        Create = "create",
        /// The engine sets up its network and namespaces, and runs its program.
        Start = "start",
        /// The program begins, until its port accepts connections.
        Listen = "listen",
        /// The program is reached, until it answers correctly.
        Ready = "ready",
    }
}

/// How long the parts of one start took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// From the call to create it to the last byte of its first correct answer.
    pub total: Duration,
    /// The parts of `total`, by [`Step`].
    pub steps: [Duration; Step::ALL.len()],
    /// The latencies of the answers after the first one; `None` for a failure.
    pub next: Vec<Option<Duration>>,
}

/// Why a container did not become ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReady {
    /// It did not answer correctly in time. The last probe failed so.
    Unanswered(Failure),
    /// It ended by itself.
    Exited {
        /// Its exit status.
        code: i64,
        /// Whether it used more memory than it may.
        out_of_memory: bool,
        /// The last lines that it wrote.
        log: String,
    },
    /// The engine does not start it.
    NotStarted(String),
    /// The wall clock was set meanwhile.
    ClockStep,
}

impl NotReady {
    /// The kind of failure, as reports count it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unanswered(failure) => failure.as_str(),
            Self::Exited { out_of_memory: true, .. } => "out of memory",
            Self::Exited { .. } => "exited",
            Self::NotStarted(_) => "not started",
            Self::ClockStep => Failure::Local.as_str(),
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(failure) => write!(f, "no correct answer in time; the last probe failed: {failure}"),
            Self::Exited { code, out_of_memory, log } => {
                write!(f, "exited with status {code}")?;
                f.write_str(if *out_of_memory { ", out of memory" } else { "" })?;
                if log.is_empty() { Ok(()) } else { write!(f, "; its log ends with: {log}") }
            }
            Self::NotStarted(reason) => write!(f, "the engine did not start it: {reason}"),
            Self::ClockStep => f.write_str("the wall clock was set during the start"),
        }
    }
}

/// What one start needs to know.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) image: &'a str,
    pub(super) question: &'a Question,
    pub(super) port: u16,
    pub(super) options: &'a ContainerOptions,
}

/// The container of a run that is there now.
#[derive(Debug, Default)]
pub(super) struct Current {
    name: Option<String>,
    address: Option<SocketAddr>,
}

impl Current {
    /// The name of the container, which is perhaps still being created.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the last container was asked.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

/// Where containers are started.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) engine: &'a Engine,
    pub(super) run: &'a str,
    pub(super) network: &'a str,
    /// How long a start may take.
    pub(super) timeout: Duration,
}

impl Place<'_> {
    /// Starts a container, waits until it is ready, and removes it.
    pub(super) async fn start(
        &self,
        subject: &Subject<'_>,
        name: String,
        current: &mut Current,
    ) -> Result<Result<Start, NotReady>, ColdstartError> {
        current.name = Some(name.clone());
        let started = self.measure(subject, &name, &mut current.address).await;
        let was_there = self.remove(&name).await?;
        if !was_there && matches!(started, Err(ColdstartError::Engine { .. })) {
            late(async || self.engine.remove(&name).await).await?;
        }
        current.name = None;
        match started {
            // An engine that fails once fails one start, and not the comparison.
            Err(error @ (ColdstartError::Refused { .. } | ColdstartError::Engine { .. })) => {
                Ok(Err(NotReady::NotStarted(error.to_string())))
            }
            started => started,
        }
    }

    /// Removes a container. An engine may refuse that for a moment after a start, while a layer is busy.
    /// Returns whether it was there.
    async fn remove(&self, name: &str) -> Result<bool, ColdstartError> {
        for _ in 0..REMOVALS {
            match self.engine.remove(name).await {
                Err(ColdstartError::Refused { .. }) => sleep(WATCHED_EVERY).await,
                result => return result,
            }
        }
        self.engine.remove(name).await
    }

    async fn measure(
        &self,
        subject: &Subject<'_>,
        name: &str,
        asked: &mut Option<SocketAddr>,
    ) -> Result<Result<Start, NotReady>, ColdstartError> {
        let creation = Creation {
            name,
            image: subject.image,
            network: self.network,
            run: self.run,
            options: subject.options,
            port: subject.options.publish.then_some(subject.port),
        };
        let deadline = Instant::now() + self.timeout;
        let watch = ClockWatch::start();
        let began = Timestamp::now();
        let id = self.engine.create(&creation).await?;
        let created = Timestamp::now();
        match self.engine.start(&id).await {
            Ok(()) => {}
            // Such as a program that is not in the image.
            Err(ColdstartError::Refused { reason, .. }) => return Ok(Err(NotReady::NotStarted(reason))),
            Err(error) => return Err(error),
        }
        let started = Timestamp::now();
        let facts = self.engine.container_facts(&id).await?;
        let address = if subject.options.publish {
            facts.published(subject.port).map(|port| ([127, 0, 0, 1].into(), port))
        } else {
            facts.address().map(|address| (address, subject.port))
        };
        let Some((address, port)) = address else {
            let no_address = || NotReady::NotStarted("it has no address; add --publish".to_owned());
            return Ok(Err(self.exited(&id).await?.unwrap_or_else(no_address)));
        };
        *asked = Some(SocketAddr::new(address, port));
        let asker = subject.question.asker(address, port)?;
        let ready = tokio::select! {
            ready = asker.until_ready(deadline) => ready,
            exited = self.until_exited(&id) => return exited.map(Err),
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(failure) => {
                return Ok(Err(self.exited(&id).await?.unwrap_or(NotReady::Unanswered(failure))));
            }
        };
        if watch.stepped() {
            return Ok(Err(NotReady::ClockStep));
        }
        // Where the engine's word cannot be true, its clock is another one.
        let executed = nanoseconds(&facts.state.started_at)
            .filter(|executed| (created.unix_nanos()..=started.unix_nanos()).contains(executed))
            .map_or(started, |executed| created.after(Duration::from_nanos(executed - created.unix_nanos())));
        let steps = [
            created.since(began),
            executed.since(created),
            ready.listening.since(executed),
            ready.answered.since(ready.listening),
        ];
        let next = asker.next_answers(NEXT, NEXT_WITHIN).await;
        Ok(Ok(Start { total: ready.answered.since(began), steps, next }))
    }

    /// Returns when a container has ended by itself.
    async fn until_exited(&self, id: &str) -> Result<NotReady, ColdstartError> {
        loop {
            sleep(WATCHED_EVERY).await;
            if let Some(exited) = self.exited(id).await? {
                return Ok(exited);
            }
        }
    }

    async fn exited(&self, id: &str) -> Result<Option<NotReady>, ColdstartError> {
        let state = self.engine.container_facts(id).await?.state;
        if state.running {
            return Ok(None);
        }
        let log = self.engine.log_tail(id).await;
        Ok(Some(NotReady::Exited { code: state.exit_code, out_of_memory: state.oom_killed, log }))
    }
}

/// Removes what may appear a little later. Returns whether it was there.
pub(super) async fn late(remove: impl AsyncFn() -> Result<bool, ColdstartError>) -> Result<bool, ColdstartError> {
    for _ in 0..LATE.0 {
        if remove().await? {
            return Ok(true);
        }
        sleep(LATE.1).await;
    }
    Ok(false)
}

/// A time of RFC 3339 to the nanosecond, as engines write it, since 1970.
fn nanoseconds(text: &str) -> Option<u64> {
    let seconds = UnixMillis::parse(text)?.0 / 1000;
    let digits = text
        .get(19..)?
        .strip_prefix('.')
        .map_or("", |rest| &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())]);
    let fraction = format!("{digits:0<9}");
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction.get(..9)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_removal_that_the_engine_refuses_for_a_moment_does_not_end_the_comparison() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            // A greeting, the version, and three removals.
            for status in ["200 OK", "200 OK", "500 Busy", "500 Busy", "204 Done"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                let body = if status.starts_with("204") { "" } else { "{}" };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
                stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
            }
        });
        let engine = Engine::connect(&[path]).await.unwrap();
        let place = Place { engine: &engine, run: "1", network: "n", timeout: Duration::from_secs(1) };
        place.remove("a").await.unwrap();
        server.await.unwrap();
    }

    #[test]
    fn the_time_of_an_engine_is_read_to_the_nanosecond() {
        for (text, expected) in [
            ("1970-01-01T00:00:01.000000002Z", Some(1_000_000_002)),
            ("1970-01-01T00:00:01.5Z", Some(1_500_000_000)),
            ("1970-01-01T00:00:01Z", Some(1_000_000_000)),
            ("1970-01-01T01:00:01.25+01:00", Some(1_250_000_000)),
            ("0001-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(nanoseconds(text), expected, "{text}");
        }
    }
}
