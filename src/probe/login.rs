//! How to log in to the servers of a replicated database, whatever its engine.

use super::{
    MYSQL, MysqlSpec, POSTGRES, PostgresSpec, ProbeSpec, REDIS, RedisSpec,
    database::{Engine, TokenProbe, TokenSetup},
    prober::{ProberContext, ProberVisitor, SetupError},
};
use crate::{
    model::{Kind, Region},
    yaml::{Fields, ReadContext, writer::Writer},
};

/// How to log in to any of the servers of a database; each has a port of its own.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant's type says it")]
pub enum DatabaseLogin {
    Postgres(PostgresSpec),
    Mysql(MysqlSpec),
    Redis(RedisSpec),
}

impl DatabaseLogin {
    /// The kinds of databases, by their names.
    pub(crate) const KINDS: [(&'static str, Kind); 3] = [("postgres", POSTGRES), ("mysql", MYSQL), ("redis", REDIS)];

    /// The kind of the probes that log in so.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Postgres(_) => POSTGRES,
            Self::Mysql(_) => MYSQL,
            Self::Redis(_) => REDIS,
        }
    }

    /// The port of its kind.
    pub(crate) fn port_of(kind: Kind) -> u16 {
        match kind {
            _ if kind == MYSQL => MysqlSpec::PORT,
            _ if kind == REDIS => RedisSpec::PORT,
            _ => PostgresSpec::PORT,
        }
    }

    /// What holds the tokens where that cannot be chosen; nothing of a kind whose table can be.
    pub(crate) fn tokens_of(kind: Kind) -> Option<&'static str> {
        (kind == REDIS).then_some(RedisSpec::TOKENS)
    }

    /// The keys of a login of this kind.
    pub(crate) fn keys_of(kind: Kind) -> &'static [&'static str] {
        match kind {
            _ if kind == MYSQL => MysqlSpec::LOGIN_KEYS,
            _ if kind == REDIS => RedisSpec::LOGIN_KEYS,
            _ => PostgresSpec::LOGIN_KEYS,
        }
    }

    /// Reads the keys of a login of this kind. `names_database` says that the table is named with its database.
    pub(crate) fn read(
        kind: Kind,
        fields: &Fields<'_>,
        context: &ReadContext<'_>,
        names_database: bool,
    ) -> Option<Self> {
        if kind == MYSQL {
            if !names_database && fields.get("database").is_none() {
                fields.missing(
                    "database",
                    "write the one that holds the table, or name both, such as table: shop.tokens",
                );
            }
            return MysqlSpec::read_login(fields, context).map(Self::Mysql);
        }
        if kind == REDIS {
            return RedisSpec::read_login(fields, context).map(Self::Redis);
        }
        PostgresSpec::read_login(fields, context).map(Self::Postgres)
    }

    /// Writes the keys of the login, but no secret.
    pub(crate) fn write(&self, page: &mut Writer) {
        match self {
            Self::Postgres(spec) => spec.write_login(page),
            Self::Mysql(spec) => spec.write_login(page),
            Self::Redis(spec) => spec.write_login(page),
        }
    }

    /// Who logs in.
    pub fn user(&self) -> &str {
        match self {
            Self::Postgres(spec) => &spec.user,
            Self::Mysql(spec) => &spec.user,
            Self::Redis(spec) => spec.user(),
        }
    }

    /// What holds the tokens, for people.
    pub const fn store(&self) -> &'static str {
        match self {
            Self::Postgres(_) => PostgresSpec::STORE,
            Self::Mysql(_) => MysqlSpec::STORE,
            Self::Redis(_) => RedisSpec::STORE,
        }
    }

    /// A probe that logs in.
    pub(crate) fn spec(&self) -> ProbeSpec {
        match self.clone() {
            Self::Postgres(spec) => spec.into(),
            Self::Mysql(spec) => spec.into(),
            Self::Redis(spec) => spec.into(),
        }
    }

    /// A probe that logs in on this port and reads what holds the tokens of this vantage.
    pub(crate) fn reader(&self, port: u16, table: &str, vantage: &Region) -> ProbeSpec {
        let vantage = vantage.as_str();
        match self.clone() {
            Self::Postgres(spec) => {
                let query = PostgresSpec::check_statement(table, vantage).into();
                PostgresSpec { port, query, keep_alive: false, ..spec }.into()
            }
            Self::Mysql(spec) => {
                let query = MysqlSpec::check_statement(table, vantage).into();
                MysqlSpec { port, query, keep_alive: false, ..spec }.into()
            }
            Self::Redis(spec) => {
                let query = RedisSpec::check_statement(table, vantage).into();
                RedisSpec { port, query, keep_alive: false, ..spec }.into()
            }
        }
    }

    /// Makes what reads and writes tokens at the server on this port, and gives it to the visitor. Sends nothing yet.
    pub(crate) fn token_prober<V: ProberVisitor>(
        &self,
        port: u16,
        context: ProberContext<'_>,
        setup: TokenSetup,
        visitor: V,
    ) -> Result<V::Output, SetupError> {
        match self.clone() {
            Self::Postgres(spec) => Ok(visitor.visit(TokenProbe::new(PostgresSpec { port, ..spec }, context, setup)?)),
            Self::Mysql(spec) => Ok(visitor.visit(TokenProbe::new(MysqlSpec { port, ..spec }, context, setup)?)),
            Self::Redis(spec) => Ok(visitor.visit(TokenProbe::new(RedisSpec { port, ..spec }, context, setup)?)),
        }
    }
}
