//! What a probe of MySQL sends, and how that is written in configuration files.

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
    &["port", "user", "password", "password_file", "database", "query", "keep_alive", "tls"];

/// A statement that reads no table.
const QUERY: &str = "SELECT 1";

/// A login to MySQL or MariaDB, and a statement that reads.
#[derive(Debug, Clone, PartialEq)]
pub struct MysqlSpec {
    /// The port.
    pub port: u16,
    /// The user that logs in.
    pub user: Arc<str>,
    /// Its password, if it needs one.
    pub password: Option<Password>,
    /// The database to connect to, if to one.
    pub database: Option<Arc<str>>,
    /// The statement. It runs in a transaction that can only read.
    pub query: Arc<str>,
    /// Keep the connection for the next probe: then only `read` is measured.
    pub keep_alive: bool,
    /// Ask for TLS.
    pub tls: Option<TlsSpec>,
}

impl MysqlSpec {
    /// The port that MySQL has at IANA.
    pub const PORT: u16 = 3306;

    /// The keys of a login.
    pub(crate) const LOGIN_KEYS: &'static [&'static str] = &["user", "password", "password_file", "database", "tls"];

    /// Reads the keys of a login.
    pub(crate) fn read_login(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        read(fields, context)
    }

    /// Writes the keys of a login, but no secret.
    pub(crate) fn write_login(&self, page: &mut Writer) {
        page.text("user", &self.user);
        database::write_password(page, self.password.as_ref());
        page.option("database", self.database.as_ref());
        if let Some(spec) = &self.tls {
            tls::write(page, spec);
        }
    }
}

pub(super) fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<MysqlSpec> {
    let tls = fields.get("tls").and_then(|item| {
        if item.is_mapping() { tls::read(&item, context.secrets) } else { item.flag()?.then(Default::default) }
    });
    let port = fields.get("port").map_or(Some(MysqlSpec::PORT), |item| item.port());
    let user = fields.required("user", "write the user that logs in").and_then(|item| item.read(database::name));
    let query = fields.get("query").map_or_else(|| Some(QUERY.into()), |item| item.read(database::statement));
    Some(MysqlSpec {
        password: database::read_password_of(fields, context),
        database: fields.read("database", |item| item.read(database::name)),
        keep_alive: fields.read("keep_alive", |item| item.flag()).unwrap_or(false),
        tls,
        port: port?,
        user: user?,
        query: query?,
    })
}

pub(super) fn write(page: &mut Writer, spec: &MysqlSpec) {
    page.raw("port", spec.port);
    page.text("query", &spec.query);
    page.raw("keep_alive", spec.keep_alive);
    spec.write_login(page);
}
