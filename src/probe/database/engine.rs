//! What tells one engine of databases from another.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::spec::Password;
use crate::{
    model::{Failure, Reading},
    net::{Attempt, Connection, Connector, Elapsed, Measured, TlsSpec},
    probe::kind::ProbeKind,
    yaml::Secret,
};

/// An engine, implemented by the specification of its kind.
pub(crate) trait Engine: ProbeKind + fmt::Debug + Send + Sync + 'static {
    /// A password, with what was derived from it.
    type Passphrase: From<Secret> + fmt::Debug + Send + Sync;

    /// A connection on which a login has succeeded.
    type Session: DatabaseSession + 'static;

    /// What holds the tokens, for people.
    const STORE: &'static str = "table";

    /// The name by which a server knows its protocol among others in TLS.
    const ALPN: &'static [&'static [u8]];

    /// What a login consists of.
    fn login(&self) -> Login<'_>;

    /// Asks for TLS where there is a connector, and logs in on a connection on which nothing was said yet.
    fn open(
        &self,
        connection: Connection,
        access: Access<'_, Self::Passphrase>,
        measured: &mut Measured,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<Self::Session, Failure>> + Send;

    /// The statement that reads the role of a server and the token of a vantage.
    fn status_statement(table: &str, vantage: &str) -> String;

    /// The statement that writes a token. A later one of the same process stays, should two writes change their order.
    fn write_statement(table: &str, vantage: &str, incarnation: u64, sequence: u64) -> String;

    /// The statement that shows whether the tokens can be read, for people who try a configuration.
    fn check_statement(table: &str, _vantage: &str) -> String {
        format!("SELECT sequence FROM {table} LIMIT 1")
    }

    /// Where an administrator runs what, for a server that has no table or gives no right to it.
    fn help(user: &str, table: &str) -> String {
        format!("run at the primary what this prints: regionwatch sql {} --role {user} --table {table}", Self::KIND)
    }
}

/// What all engines have in their specifications.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) port: u16,
    pub(crate) user: &'a str,
    pub(crate) password: Option<&'a Password>,
    /// The statement of a probe that does not read tokens.
    pub(crate) query: &'a str,
    pub(crate) keep_alive: bool,
    pub(crate) tls: Option<&'a TlsSpec>,
}

/// With what a login is made.
#[derive(Debug)]
pub(crate) struct Access<'a, P> {
    pub(crate) connector: Option<&'a Connector>,
    pub(crate) password: Option<Arc<P>>,
    /// Whether TLS verifies the server. Otherwise, a password as it is would be one for everyone on the way, and for any
    /// server that answers.
    pub(crate) verified: bool,
}

/// A connection on which one statement after another runs. Each ends at the deadline of the attempt, and the server gives
/// it up then too.
pub(crate) trait DatabaseSession: fmt::Debug + Send {
    /// Runs a statement in a transaction that can only read. Returns the time from its departure to the arrival of the end
    /// of its result.
    fn read(&mut self, statement: &str, attempt: &Attempt) -> impl Future<Output = Result<Elapsed, Failure>> + Send;

    /// Reads the role and the token.
    fn status(
        &mut self,
        statement: &str,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<StatusAnswer, Failure>> + Send;

    /// Runs a statement that writes.
    fn write(&mut self, statement: &str, attempt: &Attempt) -> impl Future<Output = Result<Elapsed, Failure>> + Send;

    /// What the last statement has failed of, if an administrator can mend it.
    fn problem(&self) -> Option<Problem>;

    /// Takes leave, so that the server logs no lost connection.
    fn end(self) -> impl Future<Output = ()> + Send;
}

/// What keeps the table from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    NoTable,
    NoRight,
}

/// What a server said of itself, and when it was asked.
#[derive(Debug)]
pub(crate) struct StatusAnswer {
    /// Before the question was sent.
    pub(crate) began: Instant,
    /// After the answer was received.
    pub(crate) ended: Instant,
    pub(crate) elapsed: Elapsed,
    pub(crate) found: Found,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) writable: bool,
    /// Why it gets no token, even if it takes writes.
    pub(crate) no_tokens: Option<NoTokens>,
    /// The tokens that are there: the process that wrote each, and its number.
    pub(crate) tokens: Vec<(u64, u64)>,
    pub(crate) received: Option<u64>,
    pub(crate) receiver: bool,
    pub(crate) paused: bool,
    pub(crate) engine_lag: Option<Duration>,
    pub(crate) superuser: bool,
}

/// Why a server gets no token, even if it takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTokens {
    /// It replicates from another one, which would not have the token.
    Replicates,
    /// Whether it replicates is not said to this user.
    MayReplicate,
}

impl Found {
    /// What it says to the process of this number.
    pub(crate) fn reading(&self, incarnation: u64, began: Instant, ended: Instant) -> Reading {
        let own = self.tokens.iter().filter(|(process, _)| *process == incarnation);
        let token = own.map(|(_, sequence)| *sequence).max();
        Reading {
            began,
            ended,
            writable: self.writable,
            token,
            received: self.received,
            receiver: self.receiver,
            paused: self.paused,
            engine_lag: self.engine_lag,
        }
    }
}
