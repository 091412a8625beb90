//! How a server is accessed over HTTP: header fields, credentials and TLS settings. Probes and alert pushes share these
//! keys.

use std::{collections::HashSet, path::PathBuf};

use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, header, uri::Authority};

use super::credentials::CredentialsFile;
use crate::{
    model::HttpUrl,
    net::TlsSpec,
    probe::tls,
    yaml::{
        Fields, Item,
        secrets::{MASK, Secrets},
        writer::{Writer, quote},
    },
};

/// Headers that the client itself must set.
const OWN_HEADERS: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE];

/// A header field; the value may be a secret and is not printed.
pub(crate) type Header = (HeaderName, HeaderValue);

/// What a server is sent besides the request itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpAccess {
    /// Header fields, one of which may authenticate; their values may be secrets and are not printed.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The file that one of them comes from, if it authenticates.
    pub credentials: Option<CredentialsFile>,
    /// TLS settings; used if the URL says https.
    pub tls: TlsSpec,
}

impl HttpAccess {
    /// The keys that it is written with.
    pub(crate) const KEYS: [&str; 5] = ["headers", "basic_auth", "bearer_token", "bearer_token_file", "tls"];

    /// Reads the keys of a server with this URL. It may have none of the `reserved` headers.
    pub(crate) fn read(
        fields: &Fields<'_>,
        secrets: &Secrets<'_>,
        url: Option<&HttpUrl>,
        reserved: &[HeaderName],
    ) -> Self {
        let (headers, credentials) = read_headers(fields, secrets, reserved);
        let tls = fields.read("tls", |item| tls::read(item, secrets)).unwrap_or_default();
        if let (Some(item), Some(HttpUrl { https: false, .. })) = (fields.get("tls"), url) {
            item.wrong("has no effect on an http URL; delete it or write an https URL");
        }
        Self { headers, credentials, tls }
    }

    /// Writes the keys for a server with this URL, but no secret.
    pub(crate) fn write(&self, page: &mut Writer, url: &HttpUrl) {
        write_headers(page, &self.headers);
        if url.https {
            tls::write(page, &self.tls);
        }
    }
}

/// Reads the header fields, one of which may authenticate, and then may come from a file. None of them may be `reserved`.
pub(crate) fn read_headers(
    fields: &Fields<'_>,
    secrets: &Secrets<'_>,
    reserved: &[HeaderName],
) -> (Vec<Header>, Option<CredentialsFile>) {
    let mut headers = fields.read("headers", |item| headers(item, secrets, reserved)).unwrap_or_default();
    let (header, file) = authorization(fields, &headers, secrets).unzip();
    headers.extend(header);
    (headers, file.flatten())
}

/// Writes the header fields, but no secret.
pub(crate) fn write_headers(page: &mut Writer, headers: &[Header]) {
    if !headers.is_empty() {
        page.mapping("headers", |page| {
            for (name, value) in headers {
                page.text(&quote(name.as_str()), shown(value));
            }
        });
    }
}

/// A header's value, where it is no secret.
fn shown(value: &HeaderValue) -> &str {
    if value.is_sensitive() { MASK } else { value.to_str().unwrap_or(MASK) }
}

/// A header's name, and the item of its value; a bad name may be a whole `Name:secret`, so it is not shown.
pub(super) fn header_items<'a>(item: &Item<'a>) -> Option<Vec<(HeaderName, Item<'a>)>> {
    let named = |(name, value): (&'a str, Item<'a>)| match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Some((name, value)),
        Err(_) => {
            item.wrong("has a key that is not a header name; write lines of Name: value, with a space after the colon");
            None
        }
    };
    let mut seen = HashSet::new();
    let once = |(name, value): &(HeaderName, Item<'a>)| {
        let first = seen.insert(name.clone());
        if !first {
            value.wrong("is a duplicate, because case does not matter; delete one of them");
        }
        first
    };
    Some(item.entries()?.into_iter().filter_map(named).filter(once).collect())
}

fn headers(item: &Item<'_>, secrets: &Secrets<'_>, reserved: &[HeaderName]) -> Option<Vec<Header>> {
    let items = header_items(&item.clone().secret())?;
    let value = |(name, item): (HeaderName, Item<'_>)| {
        if OWN_HEADERS.contains(&name) || reserved.contains(&name) {
            item.wrong("is set by regionwatch itself; delete it");
        }
        let value = expand(&item, secrets)?;
        if name == header::HOST && Authority::try_from(value.as_str()).is_err() {
            item.wrong("is not a host; write a name or an address, with :PORT where it has one");
            return None;
        }
        Some((name, secret_value(&item, &value)?))
    };
    Some(items.into_iter().filter_map(value).collect())
}

/// A value that is never printed nor logged.
fn secret_value(item: &Item<'_>, value: &str) -> Option<HeaderValue> {
    let Ok(mut value) = HeaderValue::from_str(value) else {
        item.wrong("has a character that no header may have; write it in one line without control characters");
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

/// The `Authorization` header that `basic_auth`, `bearer_token` or `bearer_token_file` asks for, and its file.
fn authorization(
    fields: &Fields<'_>,
    headers: &[Header],
    secrets: &Secrets<'_>,
) -> Option<(Header, Option<CredentialsFile>)> {
    let keys = ["basic_auth", "bearer_token", "bearer_token_file"];
    let mut given = keys.into_iter().filter_map(|key| fields.get(key)).map(Item::secret);
    let item = given.next()?;
    for another in given {
        another.wrong("is a second way to authenticate; write one of basic_auth, bearer_token or bearer_token_file");
    }
    if headers.iter().any(|(name, _)| *name == header::AUTHORIZATION) {
        item.wrong("is a second way to authenticate; delete it or the header Authorization");
    }
    let (value, file) = if fields.get("basic_auth").is_some() {
        let (user, password, path) = basic_auth(&item, secrets)?;
        let value = format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
        (value, path.map(|path| CredentialsFile::password(path, &user)))
    } else if fields.get("bearer_token").is_some() {
        (format!("Bearer {}", expand(&item, secrets).filter(|token| not_empty(&item, token))?), None)
    } else {
        let read = |text: &str| Ok((secrets.file(text)?, secrets.path(text)?));
        let (token, path) = fields.get("bearer_token_file")?.read(read)?;
        (format!("Bearer {token}"), Some(CredentialsFile::token(path)))
    };
    Some(((header::AUTHORIZATION, secret_value(&item, &value)?), file))
}

fn expand(item: &Item<'_>, secrets: &Secrets<'_>) -> Option<String> {
    item.read_raw(|text| secrets.expand(text)).map(|expanded| expanded.sent)
}

fn not_empty(item: &Item<'_>, text: &str) -> bool {
    if text.is_empty() {
        item.wrong("is empty; write ${NAME} of a variable that holds the secret");
    }
    !text.is_empty()
}

/// User, password, and the file of the password.
fn basic_auth(item: &Item<'_>, secrets: &Secrets<'_>) -> Option<(String, String, Option<PathBuf>)> {
    let fields = item.fields(&["username", "password", "password_file"])?;
    let user = fields.required("username", "write the user's name").and_then(|item| {
        let user = expand(&item, secrets)?;
        if user.contains(':') {
            item.wrong("has a colon, which basic authentication cannot carry; write another user");
        }
        Some(user)
    });
    let password = match (fields.get("password"), fields.get("password_file")) {
        (Some(item), None) => Some((expand(&item, secrets).filter(|text| not_empty(&item, text))?, None)),
        (None, Some(_)) => {
            let read = |text: &str| Ok((secrets.file(text)?, Some(secrets.path(text)?)));
            fields.shown("password_file")?.read(read)
        }
        (Some(_), Some(item)) => {
            item.wrong("is a second password; write either password or password_file");
            None
        }
        (None, None) => {
            fields.missing("password", "write password: ${NAME} of a variable, or password_file");
            None
        }
    };
    let (password, path) = password?;
    Some((user?, password, path))
}
