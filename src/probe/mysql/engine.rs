//! How a login to MySQL begins, and what the probers of databases ask of it.

use tokio::io::AsyncWriteExt;

use super::{
    errors, packet,
    session::{self, Credentials, Session},
    spec::MysqlSpec,
    sql,
};
use crate::{
    model::{Failure, FailureDetail, Phase},
    net::{Attempt, ClockReading, Connection, Elapsed, Measured, Timestamp},
    probe::database::{Access, Engine, Login, broken},
    yaml::Secret,
};

impl Engine for MysqlSpec {
    type Passphrase = Secret;
    type Session = Session;

    const ALPN: &'static [&'static [u8]] = &[];

    fn login(&self) -> Login<'_> {
        Login {
            port: self.port,
            user: &self.user,
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
        let connected = Timestamp::now();
        attempt.enter(Phase::Auth);
        let timestamps = connection.enable_timestamps();
        timestamps.begin();
        let (mut sequence, greeting) = session::greeting(&mut connection.io).await?;
        let greeting = greeting.map_err(|code| {
            attempt.set_detail(FailureDetail::MysqlError(code));
            errors::failure(code)
        })?;
        // The server greets once it has a thread and, if it asks DNS for names, the name of the client. No packet of ours
        // begins that time, so it begins by our own clock.
        let begun = Some(ClockReading::sent(None, connected));
        if let Some(elapsed) = Elapsed::between(begun, timestamps.read().last_received) {
            measured.add(Phase::Auth, elapsed);
        }
        if let Some(connector) = access.connector {
            attempt.enter(Phase::Tls);
            if !greeting.has_tls() {
                attempt.set_detail(FailureDetail::StartTlsRefused);
                return Err(Failure::Tls);
            }
            let request = packet::tls_request(&greeting, self.database.is_some());
            let request = packet::framed(sequence, &request);
            sequence = sequence.wrapping_add(1);
            connection.io.write_all(&request).await.map_err(|error| broken(&error))?;
            connection = connection.secure(connector, measured, attempt).await?;
            attempt.enter(Phase::Auth);
        }
        let timestamps = connection.enable_timestamps();
        let mut session = Session::new(connection, timestamps, sequence);
        let credentials = Credentials {
            user: &self.user,
            database: self.database.as_deref(),
            password: access.password,
            tls: access.connector.is_some(),
            verified: access.verified,
        };
        measured.add(Phase::Auth, session.login(&greeting, &credentials, attempt).await?);
        Ok(session)
    }

    fn status_statement(table: &str, vantage: &str) -> String {
        sql::status(table, vantage)
    }

    fn write_statement(table: &str, vantage: &str, incarnation: u64, sequence: u64) -> String {
        sql::upsert(table, vantage, incarnation, sequence)
    }
}
