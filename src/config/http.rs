//! The HTTP probe, with its credentials.

use std::{collections::HashSet, sync::Arc};

use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, Method, header};

use super::{
    pattern::pattern,
    tls,
    types::{DEFAULT_BODY_LIMIT, HttpSpec, HttpVersion, Pattern},
};
use crate::yaml::{Fields, Item, ReadContext, addresses, units};

/// The keys of an HTTP probe.
pub(super) const KEYS: [&str; 14] = [
    "url",
    "method",
    "headers",
    "body",
    "body_limit",
    "basic_auth",
    "bearer_token",
    "bearer_token_file",
    "expect",
    "redirects",
    "version",
    "tls",
    "keep_alive",
    "sidecar",
];

/// Headers that the client itself must set.
const OWN_HEADERS: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE];

const METHODS: [(&str, Method); 7] = [
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
    ("OPTIONS", Method::OPTIONS),
];

/// Reads the keys of an HTTP probe.
pub(super) fn probe(fields: &Fields<'_>, sidecar: bool, reading: &ReadContext<'_>) -> Option<HttpSpec> {
    let method = fields.get("method").map_or(Some(Method::GET), |item| item.choice(&METHODS));
    let versions = [("auto", HttpVersion::Auto), ("1", HttpVersion::Http1), ("2", HttpVersion::Http2)];
    let mut headers = fields.read("headers", |item| headers(item, reading)).unwrap_or_default();
    headers.extend(authorization(fields, &headers, reading));

    let expect = fields.read("expect", |item| item.fields(&["status", "headers", "body"]));
    let expect = expect.as_ref();
    let status = expect.and_then(|expect| expect.read("status", |item| item.each(|item| item.word(100..=599))));
    let expect_headers = expect.and_then(|expect| expect.read("headers", expected_headers)).unwrap_or_default();
    let expect_body = expect.and_then(|expect| expect.get("body"));
    if let (Some(item), Some(Method::HEAD)) = (&expect_body, &method) {
        item.wrong("can never match, as HEAD is answered without a body; delete it or write method: GET");
    }

    let tls = fields.read("tls", |item| tls::read(item, reading)).unwrap_or_default();
    let spec = HttpSpec {
        url: fields.required("url", "write a URL such as https://edge.example.com/healthz")?.read(addresses::url)?,
        method: method?,
        headers,
        body: fields.read("body", |item| item.text()).map(|text| Arc::from(text.as_bytes())),
        status: status.unwrap_or_default(),
        expect_headers,
        expect_body: expect_body.and_then(|item| item.read(pattern)),
        redirects: fields.read("redirects", |item| item.byte(0..=10)).unwrap_or(0),
        body_limit: fields.read("body_limit", |item| item.read(units::size)).unwrap_or(DEFAULT_BODY_LIMIT),
        version: fields.read("version", |item| item.choice(&versions)).unwrap_or_default(),
        tls,
        keep_alive: fields.read("keep_alive", |item| item.flag()).unwrap_or(sidecar),
        sidecar,
    };
    if let (Some(item), false) = (fields.get("tls"), spec.url.https) {
        item.wrong("has no effect on an http URL; delete it or write url: https://...");
    }
    Some(spec)
}

/// A header's name, and the item of its value; a bad name may be a whole `Name:secret`, so it is not shown.
fn header_items<'a>(item: &Item<'a>) -> Option<Vec<(HeaderName, Item<'a>)>> {
    let named = |(name, value): (&'a str, Item<'a>)| match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Some((name, value)),
        Err(_) => {
            item.wrong("has a key that is no header name; write lines of Name: value, with a space after the colon");
            None
        }
    };
    let mut seen = HashSet::new();
    let once = |(name, value): &(HeaderName, Item<'a>)| {
        let first = seen.insert(name.clone());
        if !first {
            value.wrong("is there twice, as case does not count; delete one");
        }
        first
    };
    Some(item.entries()?.into_iter().filter_map(named).filter(once).collect())
}

fn headers(item: &Item<'_>, reading: &ReadContext<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let items = header_items(&item.clone().secret())?;
    let value = |(name, item): (HeaderName, Item<'_>)| {
        if OWN_HEADERS.contains(&name) {
            item.wrong("is set by the probe itself; delete it");
        }
        let value = item.read(|text| reading.secrets.expand(text))?;
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

fn expected_headers(item: &Item<'_>) -> Option<Vec<(HeaderName, Pattern)>> {
    let patterns = header_items(item)?.into_iter().map(|(name, item)| Some((name, item.read(pattern)?)));
    Some(patterns.flatten().collect())
}

/// The `Authorization` header that `basic_auth`, `bearer_token` or `bearer_token_file` asks for.
fn authorization(
    fields: &Fields<'_>,
    headers: &[(HeaderName, HeaderValue)],
    reading: &ReadContext<'_>,
) -> Option<(HeaderName, HeaderValue)> {
    let keys = ["basic_auth", "bearer_token", "bearer_token_file"];
    let mut given = keys.into_iter().filter_map(|key| fields.get(key)).map(Item::secret);
    let item = given.next()?;
    for another in given {
        another.wrong("is a second way to authenticate; write one of basic_auth, bearer_token or bearer_token_file");
    }
    if headers.iter().any(|(name, _)| *name == header::AUTHORIZATION) {
        item.wrong("is a second way to authenticate; delete it or the header Authorization");
    }
    let value = if fields.get("basic_auth").is_some() {
        let (user, password) = basic_auth(&item, reading)?;
        format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
    } else if fields.get("bearer_token").is_some() {
        format!("Bearer {}", item.read(|text| reading.secrets.expand(text)).filter(|token| not_empty(&item, token))?)
    } else {
        format!("Bearer {}", fields.get("bearer_token_file")?.read(|text| reading.secrets.file(text))?)
    };
    Some((header::AUTHORIZATION, secret_value(&item, &value)?))
}

fn not_empty(item: &Item<'_>, text: &str) -> bool {
    if text.is_empty() {
        item.wrong("is empty; write ${NAME} of a variable that holds the secret");
    }
    !text.is_empty()
}

fn basic_auth(item: &Item<'_>, reading: &ReadContext<'_>) -> Option<(String, String)> {
    let fields = item.fields(&["username", "password", "password_file"])?;
    let user = fields.required("username", "write the user's name").and_then(|item| {
        let user = item.read(|text| reading.secrets.expand(text))?;
        if user.contains(':') {
            item.wrong("has a colon, which basic authentication cannot carry; write another user");
        }
        Some(user)
    });
    let password = match (fields.get("password"), fields.get("password_file")) {
        (Some(item), None) => item.read(|text| reading.secrets.expand(text)).filter(|text| not_empty(&item, text)),
        (None, Some(_)) => fields.shown("password_file")?.read(|text| reading.secrets.file(text)),
        (Some(_), Some(item)) => {
            item.wrong("is a second password; write either password or password_file");
            None
        }
        (None, None) => {
            fields.missing("password", "write password: ${NAME} of a variable, or password_file");
            None
        }
    };
    user.zip(password)
}
