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
    engine::{DatabaseSession as _, Engine, NoTokens, Problem, StatusAnswer},
    prober::{Kept, LoginProbe},
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
pub(crate) struct TokenSetup {
    /// The name of the database.
    pub(crate) database: TargetName,
    /// The region of the server.
    pub(crate) region: Region,
    /// The place of the database in the configuration.
    pub(crate) place: usize,
    /// The place of the server in the database.
    pub(crate) server: usize,
    /// The table that holds the tokens.
    pub(crate) table: Arc<str>,
    /// Whose token is written.
    pub(crate) vantage: Region,
    /// What all probers of the database share.
    pub(crate) writing: Arc<Writing>,
    /// Where its news goes.
    pub(crate) news: mpsc::Sender<DatabaseEvent>,
}

/// Reads and writes the token at one server.
#[derive(Debug)]
pub(crate) struct TokenProbe<E: Engine> {
    connection: LoginProbe<E>,
    status: String,
    setup: TokenSetup,
    /// Whether the log says that the table cannot be used.
    has_complained: AtomicBool,
    /// Whether the log says why a server that takes writes gets no token.
    has_refused: AtomicBool,
}

impl<E: Engine> TokenProbe<E> {
    /// Makes the prober of a server. Sends nothing yet.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub(crate) fn new(login: E, context: ProberContext<'_>, setup: TokenSetup) -> Result<Self, SetupError> {
        let connection = LoginProbe::new(Arc::new(login), context)?;
        let status = E::status_statement(&setup.table, setup.vantage.as_str());
        let (has_complained, has_refused) = Default::default();
        Ok(Self { connection, status, setup, has_complained, has_refused })
    }

    fn tell(&self, news: DatabaseNews) -> bool {
        self.setup.news.try_send(DatabaseEvent { database: self.setup.place, news }).is_ok()
    }

    async fn read(
        &self,
        session: &mut E::Session,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Read, Failure> {
        attempt.enter(Phase::Read);
        let answer = session.status(&self.status, attempt).await;
        self.explain(session);
        let StatusAnswer { began, ended, elapsed, found } = answer?;
        measured.add(Phase::Read, elapsed);
        if found.superuser && self.setup.writing.warns() {
            let TokenSetup { database, region, .. } = &self.setup;
            let (kind, store) = (E::KIND, E::STORE);
            warn!(%database, %region, "the role is a superuser, and needs one {store} only; regionwatch sql {kind} prints its rights");
        }
        let reading = found.reading(self.setup.writing.incarnation(), began, ended);
        Ok(Read { reading, no_tokens: found.no_tokens })
    }

    /// Reads on the connection of the last time, or on a fresh one.
    async fn session(
        &self,
        server: SocketAddr,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<(E::Session, Read), Failure> {
        let kept = self.connection.kept().take().filter(|kept| kept.server == server);
        if let Some(Kept { mut session, .. }) = kept {
            if let Ok(read) = self.read(&mut session, measured, attempt).await {
                return Ok((session, read));
            }
            *measured = Measured::default();
        }
        let mut session = self.connection.open(server, measured, attempt).await?;
        let read = self.read(&mut session, measured, attempt).await?;
        Ok((session, read))
    }

    /// Writes the next token, on the connection on which the role was just read.
    async fn write(&self, session: &mut E::Session, measured: &mut Measured, attempt: &Attempt) -> Result<(), Failure> {
        let server = self.setup.server;
        let sequence = self.setup.writing.next_sequence();
        let TokenSetup { table, vantage, writing, .. } = &self.setup;
        let statement = E::write_statement(table, vantage.as_str(), writing.incarnation(), sequence);
        // A replica must not show a token that the engine does not know.
        if !self.tell(DatabaseNews::Sent { server, sequence, at: Instant::now() }) {
            return Err(Failure::Local);
        }
        attempt.enter(Phase::Write);
        let elapsed = session.write(&statement, attempt).await;
        let at = Instant::now();
        self.explain(session);
        measured.add(Phase::Write, elapsed?);
        self.tell(DatabaseNews::Acknowledged { server, sequence, at });
        Ok(())
    }

    /// Says once what is to be done about a server that has no table, or gives no right to it.
    fn explain(&self, session: &E::Session) {
        let TokenSetup { database, region, table, .. } = &self.setup;
        let what = match session.problem() {
            Some(Problem::NoTable) => "has no",
            Some(Problem::NoRight) => "gives no right to the",
            None => return,
        };
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            let (store, help) = (E::STORE, self.help());
            warn!(%database, %region, "the server {what} {store} {table}; {help}");
        }
    }

    /// What an administrator has to run.
    fn help(&self) -> String {
        E::help(self.connection.spec.login().user, &self.setup.table)
    }

    /// Says once why a server that takes writes gets no token.
    fn refuse(&self, why: NoTokens) {
        if self.has_refused.swap(true, Ordering::Relaxed) {
            return;
        }
        let TokenSetup { database, region, .. } = &self.setup;
        match why {
            NoTokens::Replicates => warn!(
                %database, %region,
                "the server replicates from another one and takes writes, so it gets no token; set read_only there, or end the replication"
            ),
            NoTokens::MayReplicate => {
                let help = self.help();
                warn!(
                    %database, %region,
                    "the server does not say whether it replicates, so it gets no token; {help}"
                );
            }
        }
    }

    async fn measure(&self, report: &mut Report<'_, E>, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server =
            SocketAddr::new(self.connection.resolved.address(attempt).await?, self.connection.spec.login().port);
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let (mut session, Read { reading, no_tokens }) = self.session(server, &mut measured, attempt).await?;
        report.read(reading);
        let may_write = self.setup.writing.may_write(self.setup.server, reading.writable, reading.ended);
        match no_tokens {
            Some(why) if may_write => self.refuse(why),
            Some(_) => {}
            None => {
                self.has_refused.store(false, Ordering::Relaxed);
                if may_write {
                    self.write(&mut session, &mut measured, attempt).await?;
                }
            }
        }
        if self.has_complained.swap(false, Ordering::Relaxed) {
            let TokenSetup { database, region, table, .. } = &self.setup;
            let store = E::STORE;
            info!(%database, %region, "the {store} {table} can be used now");
        }
        match no_tokens {
            // A right that is granted meanwhile counts from the next login on.
            Some(NoTokens::MayReplicate) => session.end().await,
            _ => *self.connection.kept() = Some(Kept { server, session }),
        }
        if watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        Ok(measured.into_timings(&self.connection.resolved))
    }
}

/// What a read has shown.
struct Read {
    reading: Reading,
    no_tokens: Option<NoTokens>,
}

/// Reports a server that could not be read, also where the probe is dropped at its deadline.
struct Report<'a, E: Engine> {
    probe: &'a TokenProbe<E>,
    failure: Option<Failure>,
}

impl<E: Engine> Report<'_, E> {
    fn read(&mut self, reading: Reading) {
        self.failure = None;
        let TokenSetup { server, writing, .. } = &self.probe.setup;
        writing.note(*server, Some(reading.writable), reading.ended);
        self.probe.tell(DatabaseNews::Read { server: *server, reading: Ok(reading) });
    }
}

impl<E: Engine> Drop for Report<'_, E> {
    fn drop(&mut self) {
        let Some(failure) = self.failure else { return };
        let TokenSetup { server, writing, .. } = &self.probe.setup;
        writing.note(*server, None, Instant::now());
        self.probe.tell(DatabaseNews::Read { server: *server, reading: Err(failure) });
    }
}

impl<E: Engine> Probe for TokenProbe<E> {
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
