//! Connections to one server, each with a login.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::{
    engine::{Access, DatabaseSession as _, Engine},
    spec,
};
use crate::{
    model::{Failure, Phase, Timings},
    net::{Attempt, ClockWatch, Connection, Connector, Measured, ResolvedHost, SocketOptions},
    probe::prober::{Probe, ProbeError, ProberContext, SetupError},
    yaml::Secret,
};

/// A connection on which a login has succeeded, and where it leads.
#[derive(Debug)]
pub(super) struct Kept<S> {
    pub(super) server: SocketAddr,
    pub(super) session: S,
}

/// Logs in to one server and reads.
#[derive(Debug)]
pub(crate) struct LoginProbe<E: Engine> {
    pub(super) resolved: ResolvedHost,
    pub(super) spec: Arc<E>,
    options: SocketOptions,
    connector: Option<Connector>,
    passwords: Arc<Passwords<E::Passphrase>>,
    /// Whether the file of the password is being read again.
    rereads: Arc<AtomicBool>,
    kept: Mutex<Option<Kept<E::Session>>>,
}

impl<E: Engine> LoginProbe<E> {
    pub(crate) fn new(spec: Arc<E>, context: ProberContext<'_>) -> Result<Self, SetupError> {
        let login = spec.login();
        let connector = login.tls.map(|tls| context.tls.connector(tls, context.host, E::ALPN)).transpose()?;
        let passwords = Passwords::new(login.password.map(|password| password.secret.clone()));
        Ok(Self {
            options: context.socket_options(),
            resolved: context.resolved,
            connector,
            passwords: Arc::new(passwords),
            rereads: Arc::default(),
            kept: Mutex::default(),
            spec,
        })
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Option<Kept<E::Session>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects and logs in.
    pub(super) async fn open(
        &self,
        server: SocketAddr,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<E::Session, Failure> {
        let connection = Connection::open(server, self.options, None, measured, attempt).await?;
        let access = Access {
            connector: self.connector.as_ref(),
            password: self.passwords.current(),
            verified: self.spec.login().tls.is_some_and(|tls| !tls.insecure_skip_verify),
        };
        let opened = self.spec.open(connection, access, measured, attempt).await;
        if matches!(opened, Err(Failure::Auth)) {
            self.read_password_again();
        }
        opened
    }

    /// A read by this session.
    async fn read(&self, session: &mut E::Session, measured: &mut Measured, attempt: &Attempt) -> Result<(), Failure> {
        attempt.enter(Phase::Read);
        let elapsed = session.read(self.spec.login().query, attempt).await?;
        measured.add(Phase::Read, elapsed);
        Ok(())
    }

    /// The connection of an earlier probe, if it still serves; otherwise a fresh one.
    async fn exchange(
        &self,
        server: SocketAddr,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<E::Session, Failure> {
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
        let login = self.spec.login();
        let Some(path) = login.password.and_then(|password| password.file.clone()) else { return };
        if self.rereads.swap(true, Ordering::Relaxed) {
            return;
        }
        let (passwords, rereads, user) =
            (Arc::clone(&self.passwords), Arc::clone(&self.rereads), login.user.to_owned());
        spawn_blocking(move || {
            read_again(&path, &passwords, &user);
            rereads.store(false, Ordering::Relaxed);
        });
    }
}

fn read_again<P: From<Secret>>(path: &Path, passwords: &Passwords<P>, user: &str) {
    match spec::read_password(path) {
        Ok(secret) => {
            if passwords.replace(secret) {
                info!("the password of {user:?} was read again from its file");
            }
        }
        Err(reason) => warn!("the file of the password of {user:?} {reason}"),
    }
}

impl<E: Engine> Probe for LoginProbe<E> {
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let login = self.spec.login();
        let server = SocketAddr::new(self.resolved.address(attempt).await?, login.port);
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let session = self.exchange(server, &mut measured, attempt).await?;
        let stepped = watch.stepped();
        if login.keep_alive {
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

/// The password that is used now, as it was read and as the engine has it.
#[derive(Debug)]
struct Passwords<P>(Mutex<Option<(Secret, Arc<P>)>>);

impl<P: From<Secret>> Passwords<P> {
    fn new(secret: Option<Secret>) -> Self {
        Self(Mutex::new(secret.map(Self::entry)))
    }

    fn entry(secret: Secret) -> (Secret, Arc<P>) {
        (secret.clone(), Arc::new(secret.into()))
    }

    fn current(&self) -> Option<Arc<P>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, password)| Arc::clone(password))
    }

    /// Takes another password. Says whether it is one.
    fn replace(&self, secret: Secret) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = current.as_ref().is_none_or(|(current, _)| *current != secret);
        if differs {
            *current = Some(Self::entry(secret));
        }
        differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_debugged() {
        let passwords = Passwords::<Secret>::new(Some(Secret::new(*b"hunter2")));
        assert!(!format!("{passwords:?}").contains("hunter2"));
        assert!(!passwords.replace(Secret::new(*b"hunter2")));
        assert!(passwords.replace(Secret::new(*b"hunter3")));
        assert_eq!(passwords.current().unwrap().as_bytes(), b"hunter3");
    }
}
