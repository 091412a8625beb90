//! The prober of one server of a database: reads its role and the token that is there, and writes the next one where that is
//! allowed.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use super::{
    prober::{Kept, PostgresProbe},
    session::{Mode, Session},
    spec::PostgresSpec,
    sql,
};
use crate::{
    model::{DatabaseEvent, DatabaseNews, Failure, Phase, Reading, Region, TargetName, Timings},
    net::{Attempt, ClockWatch, Measured},
    probe::{
        prober::{Probe, ProbeError, ProberContext, SetupError},
        writing::Writing,
    },
};

/// What the prober of a server is made of besides the login.
#[derive(Debug)]
pub struct TokenSetup {
    /// The name of the database.
    pub database: TargetName,
    /// The region of the server.
    pub region: Region,
    /// The place of the database in the configuration.
    pub place: usize,
    /// The place of the server in the database.
    pub server: usize,
    /// The table that holds the tokens.
    pub table: Arc<str>,
    /// Whose token is written.
    pub vantage: Region,
    /// What all probers of the database share.
    pub writing: Arc<Writing>,
    /// Where its news goes.
    pub news: mpsc::Sender<DatabaseEvent>,
}

/// Reads and writes the token at one server.
#[derive(Debug)]
pub struct TokenProbe {
    connection: PostgresProbe,
    status: String,
    setup: TokenSetup,
    /// Whether the log says that the table cannot be used.
    has_complained: AtomicBool,
}

impl TokenProbe {
    /// Makes the prober of a server. Sends nothing yet.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(login: PostgresSpec, context: ProberContext<'_>, setup: TokenSetup) -> Result<Self, SetupError> {
        let connection = PostgresProbe::new(Arc::new(login), context)?;
        let status = sql::status(&setup.table, setup.vantage.as_str());
        Ok(Self { connection, status, setup, has_complained: AtomicBool::default() })
    }

    fn tell(&self, news: DatabaseNews) -> bool {
        self.setup.news.try_send(DatabaseEvent { database: self.setup.place, news }).is_ok()
    }

    async fn read(
        &self,
        session: &mut Session,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Reading, Failure> {
        attempt.enter(Phase::Read);
        let mut found = None;
        let began = Instant::now();
        let elapsed = session.run(Mode::Read, &self.status, attempt, |row| found = sql::found(row)).await;
        let ended = Instant::now();
        self.explain(session);
        measured.add(Phase::Read, elapsed?);
        let found = found.ok_or(Failure::Protocol)?;
        if found.superuser && self.setup.writing.warns() {
            let TokenSetup { database, region, .. } = &self.setup;
            warn!(%database, %region, "the role is a superuser, and needs one table only; regionwatch sql postgres prints its rights");
        }
        Ok(found.reading(self.setup.writing.incarnation(), began, ended))
    }

    /// Reads on the connection of the last time, or on a fresh one.
    async fn session(
        &self,
        server: SocketAddr,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<(Session, Reading), Failure> {
        let kept = self.connection.kept().take().filter(|kept| kept.server == server);
        if let Some(Kept { mut session, .. }) = kept {
            if let Ok(reading) = self.read(&mut session, measured, attempt).await {
                return Ok((session, reading));
            }
            *measured = Measured::default();
        }
        let mut session = self.connection.open(server, measured, attempt).await?;
        let reading = self.read(&mut session, measured, attempt).await?;
        Ok((session, reading))
    }

    /// Writes the next token, on the connection on which the role was just read.
    async fn write(&self, session: &mut Session, measured: &mut Measured, attempt: &Attempt) -> Result<(), Failure> {
        let server = self.setup.server;
        let sequence = self.setup.writing.next_sequence();
        let statement =
            sql::upsert(&self.setup.table, self.setup.vantage.as_str(), self.setup.writing.incarnation(), sequence);
        // A replica must not show a token that the engine does not know.
        if !self.tell(DatabaseNews::Sent { server, sequence, at: Instant::now() }) {
            return Err(Failure::Local);
        }
        attempt.enter(Phase::Write);
        let elapsed = session.run(Mode::Write, &statement, attempt, |_| {}).await;
        let at = Instant::now();
        self.explain(session);
        measured.add(Phase::Write, elapsed?);
        self.tell(DatabaseNews::Acknowledged { server, sequence, at });
        Ok(())
    }

    /// Says once what is to be done about a server that has no table, or gives no right to it.
    fn explain(&self, session: &Session) {
        let TokenSetup { database, region, table, .. } = &self.setup;
        let what = match session.error().as_ref() {
            Some(b"42P01") => "has no table",
            Some(b"42501") => "gives no right to the table",
            _ => return,
        };
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            let user = &self.connection.spec.user;
            warn!(%database, %region, "the server {what} {table}; run at the primary what this prints: regionwatch sql postgres --role {user} --table {table}");
        }
    }

    async fn measure(&self, report: &mut Report<'_>, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = SocketAddr::new(self.connection.resolved.address(attempt).await?, self.connection.spec.port);
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let (mut session, reading) = self.session(server, &mut measured, attempt).await?;
        report.read(reading);
        if self.setup.writing.may_write(self.setup.server, reading.writable, reading.ended) {
            self.write(&mut session, &mut measured, attempt).await?;
        }
        if self.has_complained.swap(false, Ordering::Relaxed) {
            let TokenSetup { database, region, table, .. } = &self.setup;
            info!(%database, %region, "the table {table} can be used now");
        }
        *self.connection.kept() = Some(Kept { server, session });
        if watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        Ok(measured.into_timings(&self.connection.resolved))
    }
}

/// Reports a server that could not be read, also where the probe is dropped at its deadline.
struct Report<'a> {
    probe: &'a TokenProbe,
    failure: Option<Failure>,
}

impl Report<'_> {
    fn read(&mut self, reading: Reading) {
        self.failure = None;
        let TokenSetup { server, writing, .. } = &self.probe.setup;
        writing.note(*server, Some(reading.writable), reading.ended);
        self.probe.tell(DatabaseNews::Read { server: *server, reading: Ok(reading) });
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        let Some(failure) = self.failure else { return };
        let TokenSetup { server, writing, .. } = &self.probe.setup;
        writing.note(*server, None, Instant::now());
        self.probe.tell(DatabaseNews::Read { server: *server, reading: Err(failure) });
    }
}

impl Probe for TokenProbe {
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let mut report = Report { probe: self, failure: Some(Failure::Timeout) };
        let result = self.measure(&mut report, attempt).await;
        if let (Err(ProbeError::Failed(failure)), Some(_)) = (result, report.failure) {
            report.failure = Some(failure);
        }
        result
    }
}
