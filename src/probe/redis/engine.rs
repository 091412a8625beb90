//! How a login to Redis begins, and what the probers of databases ask of it.

use super::{commands, session::Session, spec::RedisSpec};
use crate::{
    model::{Failure, Phase},
    net::{Attempt, Connection, Measured},
    probe::{
        database::{Access, Engine, Login},
        kind::ProbeKind,
    },
    yaml::Secret,
};

impl Engine for RedisSpec {
    type Passphrase = Secret;
    type Session = Session;

    const STORE: &'static str = "key";
    const ALPN: &'static [&'static [u8]] = &[];

    fn login(&self) -> Login<'_> {
        Login {
            port: self.port,
            user: self.user(),
            password: self.password.as_ref(),
            query: &self.query,
            keep_alive: self.keep_alive,
            tls: self.tls.as_ref(),
        }
    }

    async fn open(
        &self,
        mut connection: Connection,
        access: Access<'_, Secret>,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Session, Failure> {
        if let Some(connector) = access.connector {
            connection = connection.secure(connector, measured, attempt).await?;
        }
        let mut session = Session::new(connection);
        if self.logs_in() {
            attempt.enter(Phase::Auth);
            // A user without a password takes any.
            let password = access.password.as_ref().map_or(&b""[..], |password| password.as_bytes());
            let words = [Some(&b"AUTH"[..]), self.user.as_ref().map(|user| user.as_bytes()), Some(password)];
            let words: Vec<_> = words.into_iter().flatten().collect();
            measured.add(Phase::Auth, session.login(&words, attempt).await?);
        }
        Ok(session)
    }

    fn status_statement(_table: &str, vantage: &str) -> String {
        commands::status(vantage)
    }

    fn write_statement(_table: &str, vantage: &str, incarnation: u64, sequence: u64) -> String {
        commands::write(vantage, incarnation, sequence)
    }

    fn check_statement(table: &str, vantage: &str) -> String {
        Self::status_statement(table, vantage)
    }

    fn help(user: &str, _table: &str) -> String {
        // The user that every server has keeps its rights.
        let role = if user == Self::DEFAULT_USER { String::new() } else { format!(" --role {user}") };
        format!("run at each server what this prints: regionwatch sql {}{role}", Self::KIND)
    }
}
