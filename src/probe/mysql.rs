//! MySQL and MariaDB: a connection, TLS, a login and one read, each a phase.
//!
//! The few packets that this takes are ours, on our own stream: a login, and statements as texts. No statement is prepared,
//! and none is sent beside another one, so proxies such as ProxySQL and MaxScale carry them.

mod engine;
mod errors;
mod packet;
mod scramble;
mod session;
mod spec;
mod sql;

use std::{sync::Arc, time::Duration};

pub use self::{session::fuzz_mysql_session, spec::MysqlSpec, sql::mysql_setup};
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

/// A login to MySQL or MariaDB and one read. The server adds its own time, and a thread for each connection.
pub const MYSQL: Kind = Kind::new(&Facts {
    name: "mysql",
    title: "MySQL",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 7,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

impl ProbeKind for MysqlSpec {
    const KIND: Kind = MYSQL;
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
        let database = self.database.as_ref().map(|database| format!("database {database} ")).unwrap_or_default();
        format!("{host}, port {}{tls}, {database}as {}", self.port, self.user)
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
