//! What a probe of Redis sends, and how that is written in configuration files.

use std::sync::Arc;

use super::commands;
use crate::{
    net::TlsSpec,
    probe::{
        database::{self, Password},
        tls,
    },
    yaml::{Fields, Item, ReadContext, units::Parsed, writer::Writer},
};

/// The keys of a probe.
pub(super) const KEYS: &[&str] =
    &["port", "user", "password", "password_file", "cleartext", "query", "keep_alive", "tls"];

/// A command that reads no key.
const QUERY: &str = "PING";

/// A login to Redis, and a command that reads.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisSpec {
    /// The port.
    pub port: u16,
    /// The user that logs in, if it is not the one that every server has.
    pub user: Option<Arc<str>>,
    /// Its password, if it needs one.
    pub password: Option<Password>,
    /// Send the password, which goes as it is, where TLS does not verify who gets it.
    pub cleartext: bool,
    /// The command. It only reads.
    pub query: Arc<str>,
    /// Keep the connection for the next probe: then only `read` is measured.
    pub keep_alive: bool,
    /// Use TLS.
    pub tls: Option<TlsSpec>,
}

impl RedisSpec {
    /// The port that Redis has at IANA.
    pub const PORT: u16 = 6379;

    /// The user of connections that do not log in, or that do so with a password alone.
    pub(crate) const DEFAULT_USER: &'static str = "default";

    /// The keys of a login.
    pub(crate) const LOGIN_KEYS: &'static [&'static str] = &["user", "password", "password_file", "cleartext", "tls"];

    /// The keys that hold the tokens.
    pub(crate) const TOKENS: &'static str = commands::KEYS;

    /// Who logs in.
    pub(crate) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or(Self::DEFAULT_USER)
    }

    /// Whether a login is due. Without it, a server has its usual user for a connection.
    pub(super) const fn logs_in(&self) -> bool {
        self.user.is_some() || self.password.is_some()
    }

    /// Reads the keys of a login.
    pub(crate) fn read_login(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        read(fields, context)
    }

    /// Writes the keys of a login, but no secret.
    pub(crate) fn write_login(&self, page: &mut Writer) {
        page.option("user", self.user.as_ref());
        database::write_password(page, self.password.as_ref());
        page.raw("cleartext", self.cleartext);
        if let Some(spec) = &self.tls {
            tls::write(page, spec);
        }
    }
}

fn tls_of(item: &Item<'_>, context: &ReadContext<'_>) -> Option<Option<TlsSpec>> {
    if item.is_mapping() {
        return tls::read(item, context.secrets).map(Some);
    }
    Some(item.flag()?.then(TlsSpec::default))
}

fn query(text: &str) -> Parsed<Arc<str>> {
    match commands::only_reads(text) {
        true => Ok(text.into()),
        false => Err("is not one command that only reads; write PING, or a command such as GET NAME".to_owned()),
    }
}

pub(super) fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<RedisSpec> {
    let tls = fields.get("tls").map_or(Some(None), |item| tls_of(&item, context));
    let port = fields.get("port").map_or(Some(RedisSpec::PORT), |item| item.port());
    let query = fields.get("query").map_or_else(|| Some(QUERY.into()), |item| item.read(query));
    let cleartext = fields.read("cleartext", |item| item.flag()).unwrap_or(false);
    let password = database::read_password_of(fields, context);
    let hidden = tls.as_ref().is_none_or(|tls| tls.as_ref().is_some_and(|tls| !tls.insecure_skip_verify));
    if let Some(item) = fields.get("password").or_else(|| fields.get("password_file"))
        && !hidden
        && !cleartext
    {
        item.wrong(
            "would be sent as it is, and TLS does not verify the server that gets it; write tls: true, or cleartext: true \
             where the network is trusted",
        );
    }
    Some(RedisSpec {
        password,
        cleartext,
        user: fields.read("user", |item| item.read(database::name)),
        keep_alive: fields.read("keep_alive", |item| item.flag()).unwrap_or(false),
        tls: tls?,
        port: port?,
        query: query?,
    })
}

pub(super) fn write(page: &mut Writer, spec: &RedisSpec) {
    page.raw("port", spec.port);
    page.text("query", &spec.query);
    page.raw("keep_alive", spec.keep_alive);
    spec.write_login(page);
}
