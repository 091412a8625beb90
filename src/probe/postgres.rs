//! PostgreSQL: a connection, TLS, a login and one read, each a phase.
//!
//! The few messages that this takes are ours, by the simple query protocol, on our own stream. tokio-postgres would reserve
//! what a server claims to send, would hide where the login ends, and needs prepared statements for typed results, which
//! PgBouncer cannot carry in transaction mode.

mod engine;
mod login;
mod message;
mod scram;
mod session;
mod spec;
mod sql;

use std::{sync::Arc, time::Duration};

pub use self::{session::fuzz_session, spec::PostgresSpec, sql::postgres_setup};
use super::{
    database::LoginProbe,
    kind::ProbeKind,
    prober::{ProberContext, SetupError},
};
use crate::{
    model::{Facts, Failure, Host, Kind, Layer, Phase, Shape},
    net::TlsSpec,
    yaml::{Fields, ReadContext, writer::Writer},
};

/// A login to PostgreSQL and one read. The server adds its own time, and a fork of itself for each connection.
pub const POSTGRES: Kind = Kind::new(&Facts {
    name: "postgres",
    title: "PostgreSQL",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 6,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

impl ProbeKind for PostgresSpec {
    const KIND: Kind = POSTGRES;
    const KEYS: &'static [&'static str] = spec::KEYS;
    const SHARES_SOCKET: bool = false;

    type Prober = LoginProbe<Self>;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        spec::read(fields, context)
    }

    fn write(&self, page: &mut Writer) {
        spec::write(page, self);
    }

    fn destination(&self, host: &Host) -> String {
        let tls = if self.tls.is_some() { ", tls" } else { "" };
        format!("{host}, port {}{tls}, database {} as {}", self.port, self.database, self.user)
    }

    fn shape(&self) -> Shape {
        let phases = [Phase::Connect, Phase::Auth, Phase::Read];
        let results = [Failure::Refused, Failure::Protocol, Failure::Status, Failure::Auth];
        let shape = Shape { late: false, ..Shape::new(phases, results) };
        if self.tls.is_some() { shape.with(Phase::Tls, Failure::Tls) } else { shape }
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.tls.as_ref()
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<LoginProbe<Self>, SetupError> {
        LoginProbe::new(self, context)
    }
}
