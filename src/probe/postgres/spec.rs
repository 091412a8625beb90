//! What a probe of PostgreSQL sends, and how that is written in configuration files.

use std::sync::Arc;

use crate::{
    net::TlsSpec,
    probe::{
        database::{self, Password},
        tls,
    },
    yaml::{Fields, ReadContext, writer::Writer},
};

/// The keys of a probe.
pub(super) const KEYS: &[&str] =
    &["port", "user", "password", "password_file", "cleartext", "database", "query", "keep_alive", "tls"];

/// A statement that reads no table.
const QUERY: &str = "SELECT 1";

/// A login to PostgreSQL, and a statement that reads.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresSpec {
    /// The port.
    pub port: u16,
    /// The role that logs in.
    pub user: Arc<str>,
    /// Its password, if it needs one.
    pub password: Option<Password>,
    /// Send the password as it is where the server asks for that without TLS.
    pub cleartext: bool,
    /// The database to connect to.
    pub database: Arc<str>,
    /// The statement. It runs in a transaction that can only read.
    pub query: Arc<str>,
    /// Keep the connection for the next probe: then only `read` is measured.
    pub keep_alive: bool,
    /// Ask for TLS.
    pub tls: Option<TlsSpec>,
}

impl PostgresSpec {
    /// The port that PostgreSQL has at IANA.
    pub const PORT: u16 = 5432;

    /// The keys of a login.
    pub(crate) const LOGIN_KEYS: &'static [&'static str] =
        &["user", "password", "password_file", "cleartext", "database", "tls"];

    /// Reads the keys of a login.
    pub(crate) fn read_login(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        read(fields, context)
    }

    /// Writes the keys of a login, but no secret.
    pub(crate) fn write_login(&self, page: &mut Writer) {
        page.text("user", &self.user);
        database::write_password(page, self.password.as_ref());
        page.raw("cleartext", self.cleartext);
        page.text("database", &self.database);
        if let Some(spec) = &self.tls {
            tls::write(page, spec);
        }
    }
}

pub(super) fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<PostgresSpec> {
    let tls = fields.get("tls").and_then(|item| {
        if item.is_mapping() { tls::read(&item, context.secrets) } else { item.flag()?.then(Default::default) }
    });
    let port = fields.get("port").map_or(Some(PostgresSpec::PORT), |item| item.port());
    let user = fields.required("user", "write the role that logs in").and_then(|item| item.read(database::name));
    let database = fields.get("database").map_or_else(|| user.clone(), |item| item.read(database::name));
    let query = fields.get("query").map_or_else(|| Some(QUERY.into()), |item| item.read(database::statement));
    let password = database::read_password_of(fields, context);
    Some(PostgresSpec {
        password,
        cleartext: fields.read("cleartext", |item| item.flag()).unwrap_or(false),
        keep_alive: fields.read("keep_alive", |item| item.flag()).unwrap_or(false),
        tls,
        port: port?,
        user: user?,
        database: database?,
        query: query?,
    })
}

pub(super) fn write(page: &mut Writer, spec: &PostgresSpec) {
    page.raw("port", spec.port);
    page.text("query", &spec.query);
    page.raw("keep_alive", spec.keep_alive);
    spec.write_login(page);
}
