//! Connections to one server, each with a login.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::spawn_blocking,
};
use tracing::{info, warn};

use super::{
    login::{Credentials, Passwords},
    session::{Mode, Session, broken},
    spec::{self, PostgresSpec},
};
use crate::{
    model::{Failure, Phase, Timings},
    net::{Attempt, ClockWatch, Connection, Connector, Elapsed, Measured, ResolvedHost, SocketOptions},
    probe::prober::{Probe, ProbeError, ProberContext, SetupError},
};

/// Asks for TLS before anything else is said: the length, and a number that is no version of the protocol.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A connection on which a login has succeeded, and where it leads.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) server: SocketAddr,
    pub(super) session: Session,
}

/// Logs in to one server and reads.
#[derive(Debug)]
pub(crate) struct PostgresProbe {
    pub(super) resolved: ResolvedHost,
    pub(super) spec: Arc<PostgresSpec>,
    options: SocketOptions,
    connector: Option<Connector>,
    passwords: Arc<Passwords>,
    /// Whether the file of the password is being read again.
    rereads: Arc<AtomicBool>,
    kept: Mutex<Option<Kept>>,
}

impl PostgresProbe {
    pub(super) fn new(spec: Arc<PostgresSpec>, context: ProberContext<'_>) -> Result<Self, SetupError> {
        // The name by which PostgreSQL 17 knows its protocol among others; older servers look at none.
        let connector = spec.tls.as_ref().map(|tls| context.tls.connector(tls, context.host, &[b"postgresql"]));
        Ok(Self {
            options: context.socket_options(),
            resolved: context.resolved,
            connector: connector.transpose()?,
            passwords: Arc::new(Passwords::new(spec.password.as_ref().map(|password| password.secret.clone()))),
            rereads: Arc::default(),
            kept: Mutex::default(),
            spec,
        })
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects and logs in.
    pub(super) async fn open(
        &self,
        server: SocketAddr,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Session, Failure> {
        let mut connection = Connection::open(server, self.options, None, measured, attempt).await?;
        if let Some(connector) = &self.connector {
            connection = encrypt(connection, connector, measured, attempt).await?;
        }
        attempt.enter(Phase::Auth);
        let timestamps = connection.enable_timestamps();
        let mut session = Session::new(connection, timestamps);
        let credentials = Credentials {
            user: &self.spec.user,
            database: &self.spec.database,
            password: self.passwords.current(),
            // A password in cleartext is a password for everyone on the way, and for any server that answers, unless its
            // certificate is verified.
            cleartext: self.spec.cleartext || self.spec.tls.as_ref().is_some_and(|tls| !tls.insecure_skip_verify),
        };
        let logged_in = session.login(&credentials, attempt).await;
        if logged_in == Err(Failure::Auth) {
            self.read_password_again();
        }
        measured.add(Phase::Auth, logged_in?);
        Ok(session)
    }

    /// A read by this session.
    async fn read(&self, session: &mut Session, measured: &mut Measured, attempt: &Attempt) -> Result<(), Failure> {
        attempt.enter(Phase::Read);
        let elapsed = session.run(Mode::Read, &self.spec.query, attempt, |_| {}).await?;
        measured.add(Phase::Read, elapsed);
        Ok(())
    }

    /// The connection of an earlier probe, if it still serves; otherwise a fresh one.
    async fn exchange(
        &self,
        server: SocketAddr,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Session, Failure> {
        let kept = self.kept().take().filter(|kept| kept.server == server);
        if let Some(Kept { mut session, .. }) = kept {
            // Whatever it fails of, it may be that the server has ended this connection since, and only that.
            if self.read(&mut session, measured, attempt).await.is_ok() {
                return Ok(session);
            }
            *measured = Measured::default();
        }
        let mut session = self.open(server, measured, attempt).await?;
        self.read(&mut session, measured, attempt).await?;
        Ok(session)
    }

    /// Reads the file of the password again after it was refused, because it may have been replaced. On another thread:
    /// a file system may not answer.
    fn read_password_again(&self) {
        let Some(path) = self.spec.password.as_ref().and_then(|password| password.file.clone()) else { return };
        if self.rereads.swap(true, Ordering::Relaxed) {
            return;
        }
        let (passwords, rereads, user) =
            (Arc::clone(&self.passwords), Arc::clone(&self.rereads), Arc::clone(&self.spec.user));
        spawn_blocking(move || {
            read_again(&path, &passwords, &user);
            rereads.store(false, Ordering::Relaxed);
        });
    }
}

fn read_again(path: &Path, passwords: &Passwords, user: &str) {
    match spec::read_password(path) {
        Ok(secret) => {
            if passwords.replace(secret) {
                info!("the password of {user:?} was read again from its file");
            }
        }
        Err(reason) => warn!("the file of the password of {user:?} {reason}"),
    }
}

/// Asks the server for TLS, and shakes hands.
async fn encrypt(
    mut connection: Connection,
    connector: &Connector,
    measured: &mut Measured,
    attempt: &Attempt,
) -> Result<Connection, Failure> {
    attempt.enter(Phase::Tls);
    let timestamps = connection.enable_timestamps();
    timestamps.begin();
    connection.io.write_all(&TLS_REQUEST).await.map_err(|error| broken(&error))?;
    // One byte and no more: what follows it must be the handshake, and nothing that a third party put there.
    let mut word = [0];
    connection.io.read_exact(&mut word).await.map_err(|error| broken(&error))?;
    match &word {
        b"S" => {}
        b"N" => return Err(Failure::Tls),
        _ => return Err(Failure::Protocol),
    }
    let readings = timestamps.read();
    if let Some(elapsed) = Elapsed::between(readings.first_sent, readings.last_received) {
        measured.add(Phase::Tls, elapsed);
    }
    connection.secure(connector, measured, attempt).await
}

impl Probe for PostgresProbe {
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = SocketAddr::new(self.resolved.address(attempt).await?, self.spec.port);
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let session = self.exchange(server, &mut measured, attempt).await?;
        let stepped = watch.stepped();
        if self.spec.keep_alive {
            *self.kept() = Some(Kept { server, session });
        } else {
            session.end().await;
        }
        if stepped {
            return Err(ProbeError::ClockStep);
        }
        Ok(measured.into_timings(&self.resolved))
    }
}
