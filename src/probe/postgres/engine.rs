//! How a login to PostgreSQL begins, and what the probers of databases ask of it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    login::{Credentials, Passphrase},
    session::Session,
    spec::PostgresSpec,
    sql,
};
use crate::{
    model::{Failure, Phase},
    net::{Attempt, Connection, Connector, Elapsed, Measured},
    probe::database::{Access, Engine, Login, broken},
};

/// Asks for TLS before anything else is said: the length, and a number that is no version of the protocol.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

impl Engine for PostgresSpec {
    type Passphrase = Passphrase;
    type Session = Session;

    /// PostgreSQL 17 knows its protocol by it; older servers look at none.
    const ALPN: &'static [&'static [u8]] = &[b"postgresql"];

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
        access: Access<'_, Passphrase>,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> Result<Session, Failure> {
        if let Some(connector) = access.connector {
            connection = encrypt(connection, connector, measured, attempt).await?;
        }
        attempt.enter(Phase::Auth);
        let timestamps = connection.enable_timestamps();
        let mut session = Session::new(connection, timestamps);
        let credentials = Credentials {
            user: &self.user,
            database: &self.database,
            password: access.password,
            cleartext: self.cleartext || access.verified,
        };
        measured.add(Phase::Auth, session.login(&credentials, attempt).await?);
        Ok(session)
    }

    fn status_statement(table: &str, vantage: &str) -> String {
        sql::status(table, vantage)
    }

    fn write_statement(table: &str, vantage: &str, incarnation: u64, sequence: u64) -> String {
        sql::upsert(table, vantage, incarnation, sequence)
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
