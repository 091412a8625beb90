//! What a probe of PostgreSQL sends, and how that is written in configuration files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    net::TlsSpec,
    probe::tls,
    yaml::{Fields, Item, ReadContext, Secret, secrets, units::Parsed, writer::Writer},
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

/// A password, and the file that it was read from. Two of one file are the same, whatever it held: it is read again when
/// the password is refused.
#[derive(Debug, Clone)]
pub struct Password {
    /// The file, which is read again when the password is refused.
    pub file: Option<PathBuf>,
    /// What it held.
    pub secret: Secret,
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file && (self.file.is_some() || self.secret == other.secret)
    }
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
        match &self.password {
            Some(Password { file: Some(path), .. }) => page.text("password_file", path.display()),
            Some(Password { file: None, secret }) => page.text("password", secret),
            None => {}
        }
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
    let user = fields.required("user", "write the role that logs in").and_then(|item| item.read(name));
    let database = fields.get("database").map_or_else(|| user.clone(), |item| item.read(name));
    let query = fields.get("query").map_or_else(|| Some(QUERY.into()), |item| item.read(statement));
    let password = password(fields, context);
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

fn password(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Password> {
    let file = fields.get("password_file");
    let given = fields.get("password").map(Item::secret);
    if let (Some(_), Some(item)) = (&given, &file) {
        item.wrong("is a second password; write either password or password_file");
    }
    if let Some(item) = given {
        let secret = item.read_raw(|text| context.secrets.expand(text).and_then(|password| whole(password.sent)))?;
        return Some(Password { file: None, secret });
    }
    file?.read(|text| {
        let secret = whole(context.secrets.file(text)?)?;
        Ok(Password { file: Some(context.secrets.path(text)?), secret })
    })
}

/// Reads the file of a password again.
pub(super) fn read_password(path: &Path) -> Parsed<Secret> {
    whole(secrets::read_line(path)?)
}

/// What a message can carry: it ends such texts with a NUL.
fn without_nul(text: &str) -> Parsed<()> {
    match text {
        "" => Err("is empty; write a text".to_owned()),
        _ if text.contains('\0') => Err("has a NUL, which PostgreSQL cannot take; delete it".to_owned()),
        _ => Ok(()),
    }
}

fn whole(password: String) -> Parsed<Secret> {
    without_nul(&password)?;
    Ok(Secret::new(password.into_bytes()))
}

fn name(text: &str) -> Parsed<Arc<str>> {
    without_nul(text)?;
    Ok(text.into())
}

/// One statement: a second one could end the transaction that can only read.
fn statement(text: &str) -> Parsed<Arc<str>> {
    without_nul(text)?;
    match text.contains(';') {
        true => Err("has a semicolon; write one statement, such as SELECT 1".to_owned()),
        false => Ok(text.into()),
    }
}

pub(super) fn write(page: &mut Writer, spec: &PostgresSpec) {
    page.raw("port", spec.port);
    page.text("query", &spec.query);
    page.raw("keep_alive", spec.keep_alive);
    spec.write_login(page);
}
