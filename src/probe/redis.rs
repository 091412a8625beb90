//! Redis and Valkey: a connection, TLS, a login and one command that reads, each a phase.
//!
//! The few commands that this takes are ours, by RESP2 on our own stream. They are sent without a choice of the protocol, so
//! every version since Redis 5 and proxies understand them.

mod commands;
mod engine;
mod errors;
mod resp;
mod session;
mod spec;

use std::{sync::Arc, time::Duration};

pub use self::{commands::redis_setup, session::fuzz_redis_session, spec::RedisSpec};
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

/// A login to Redis and one read. The server adds its own time, and that of all clients before: it runs one command at a time.
pub const REDIS: Kind = Kind::new(&Facts {
    name: "redis",
    title: "Redis",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 8,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

impl ProbeKind for RedisSpec {
    const KIND: Kind = REDIS;
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
        format!("{host}, port {}{tls}, as {}", self.port, self.user())
    }

    fn shape(&self) -> Shape {
        let phases = [Phase::Connect, Phase::Read];
        let results = [Failure::Refused, Failure::Protocol, Failure::Status, Failure::Auth];
        let mut shape = Shape { late: false, ..Shape::new(phases, results) };
        if self.logs_in() {
            shape = shape.with(Phase::Auth, Failure::Auth);
        }
        if self.tls.is_some() { shape.with(Phase::Tls, Failure::Tls) } else { shape }
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.tls.as_ref()
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<LoginProbe<Self>, SetupError> {
        LoginProbe::new(self, context)
    }
}
