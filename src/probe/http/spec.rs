//! What an HTTP request sends and expects, and how that is written in configuration files.

use std::{collections::HashSet, sync::Arc};

use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, Method, header};

use super::super::{
    pattern::{self, Pattern},
    tls,
};
use crate::{
    model::HttpUrl,
    net::{HttpVersion, TlsSpec},
    yaml::{
        Fields, Item, ReadContext, addresses,
        secrets::MASK,
        units::{self, size_text},
        writer::{Writer, quote},
    },
};

/// The keys of an HTTP request.
pub(crate) const KEYS: &[&str] = &[
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
];

/// The largest body that is read by default: 1 MiB.
const DEFAULT_BODY_LIMIT: usize = 1 << 20;

/// Headers that the client itself must set.
const OWN_HEADERS: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE];

const VERSIONS: [(&str, HttpVersion); 3] =
    [("auto", HttpVersion::Auto), ("1", HttpVersion::Http1), ("2", HttpVersion::Http2)];

const METHODS: [(&str, Method); 7] = [
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
    ("OPTIONS", Method::OPTIONS),
];

/// An HTTP request and what must come back.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSpec {
    /// Where to.
    pub url: HttpUrl,
    /// `GET`, `HEAD`, `POST`, ...
    pub method: Method,
    /// Header fields to send; the value may be a secret and is not printed.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body to send.
    pub body: Option<Arc<[u8]>>,
    /// The statuses that count as success; empty means 200 to 299.
    pub status: Vec<u16>,
    /// Header fields of which each must be there and match.
    pub expect_headers: Vec<(HeaderName, Pattern)>,
    /// A pattern that the body must match.
    pub expect_body: Option<Pattern>,
    /// How many redirects to follow, 0 to 10, and only to the same host.
    pub redirects: u8,
    /// The largest body that is read; a larger one is a failure.
    pub body_limit: usize,
    /// Which HTTP versions are offered.
    pub version: HttpVersion,
    /// TLS settings; used if the URL says https.
    pub tls: TlsSpec,
    /// Keep the connection for the next probe: then only `processing` and `transfer` are measured.
    pub keep_alive: bool,
}

impl HttpSpec {
    /// A GET of the URL on a fresh connection, to which any status from 200 to 299 is right.
    pub fn get(url: HttpUrl) -> Self {
        Self {
            url,
            method: Method::GET,
            headers: Vec::new(),
            body: None,
            status: Vec::new(),
            expect_headers: Vec::new(),
            expect_body: None,
            redirects: 0,
            body_limit: DEFAULT_BODY_LIMIT,
            version: HttpVersion::default(),
            tls: TlsSpec::default(),
            keep_alive: false,
        }
    }
}

/// Reads the keys. `defaults` gets the text of the URL and the defaults, and may change them.
pub(crate) fn read(
    fields: &Fields<'_>,
    context: &ReadContext<'_>,
    defaults: impl FnOnce(&str, HttpSpec) -> HttpSpec,
) -> Option<HttpSpec> {
    let url = fields.required("url", "write a URL such as https://edge.example.com/healthz");
    let default = url.and_then(|item| Some(defaults(item.text()?, HttpSpec::get(item.read(addresses::url)?))));
    let method = fields.get("method").map_or(Some(Method::GET), |item| item.choice(&METHODS));
    let mut headers = fields.read("headers", |item| headers(item, context)).unwrap_or_default();
    headers.extend(authorization(fields, &headers, context));

    let expect = fields.read("expect", |item| item.fields(&["status", "headers", "body"]));
    let expect = expect.as_ref();
    let status = expect.and_then(|expect| expect.read("status", |item| item.each(|item| item.whole::<u16>(100..=599))));
    let expect_headers = expect.and_then(|expect| expect.read("headers", expected_headers)).unwrap_or_default();
    let expect_body = expect.and_then(|expect| expect.get("body"));
    if let (Some(item), Some(Method::HEAD)) = (&expect_body, &method) {
        item.wrong("can never match, because the answer to HEAD has no body; delete it or write method: GET");
    }

    let tls = fields.read("tls", |item| tls::read(item, context));
    let default = default?;
    let spec = HttpSpec {
        method: method?,
        headers,
        body: fields.read("body", |item| item.text()).map(|text| Arc::from(text.as_bytes())),
        status: status.unwrap_or_default(),
        expect_headers,
        expect_body: expect_body.and_then(|item| item.read(pattern::parse)),
        redirects: fields.read("redirects", |item| item.whole::<u8>(0..=10)).unwrap_or(default.redirects),
        body_limit: fields.read("body_limit", |item| item.read(units::size)).unwrap_or(default.body_limit),
        version: fields.read("version", |item| item.choice(&VERSIONS)).unwrap_or(default.version),
        tls: tls.unwrap_or_default(),
        keep_alive: fields.read("keep_alive", |item| item.flag()).unwrap_or(default.keep_alive),
        url: default.url,
    };
    if let (Some(item), false) = (fields.get("tls"), spec.url.https) {
        item.wrong("has no effect on an http URL; delete it or write url: https://...");
    }
    Some(spec)
}

/// Writes the keys, but no secret.
pub(crate) fn write(page: &mut Writer, spec: &HttpSpec) {
    page.text("url", &spec.url);
    page.text("method", &spec.method);
    if !spec.headers.is_empty() {
        page.mapping("headers", |page| {
            for (name, value) in &spec.headers {
                page.text(&quote(name.as_str()), shown(value));
            }
        });
    }
    page.option("body", spec.body.as_ref().map(|bytes| String::from_utf8_lossy(bytes)));
    page.raw("body_limit", size_text(spec.body_limit));
    page.mapping("expect", |page| {
        let default = if spec.status.is_empty() { " # 200 to 299" } else { "" };
        page.raw("status", format_args!("{:?}{default}", spec.status));
        if !spec.expect_headers.is_empty() {
            page.mapping("headers", |page| {
                for (name, pattern) in &spec.expect_headers {
                    page.text(&quote(name.as_str()), pattern.source());
                }
            });
        }
        page.option("body", spec.expect_body.as_ref().map(|pattern| pattern.source()));
    });
    page.raw("redirects", spec.redirects);
    let version = VERSIONS.iter().find(|(_, version)| *version == spec.version);
    page.option("version", version.map(|(name, _)| name));
    if spec.url.https {
        tls::write(page, &spec.tls);
    }
    page.raw("keep_alive", spec.keep_alive);
}

/// A header's value, where it is no secret.
fn shown(value: &HeaderValue) -> &str {
    if value.is_sensitive() { MASK } else { value.to_str().unwrap_or(MASK) }
}

/// A header's name, and the item of its value; a bad name may be a whole `Name:secret`, so it is not shown.
fn header_items<'a>(item: &Item<'a>) -> Option<Vec<(HeaderName, Item<'a>)>> {
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

fn headers(item: &Item<'_>, context: &ReadContext<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let items = header_items(&item.clone().secret())?;
    let value = |(name, item): (HeaderName, Item<'_>)| {
        if OWN_HEADERS.contains(&name) {
            item.wrong("is set by the probe itself; delete it");
        }
        let value = item.read(|text| context.secrets.expand(text))?;
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
    let patterns = header_items(item)?.into_iter().map(|(name, item)| Some((name, item.read(pattern::parse)?)));
    Some(patterns.flatten().collect())
}

/// The `Authorization` header that `basic_auth`, `bearer_token` or `bearer_token_file` asks for.
fn authorization(
    fields: &Fields<'_>,
    headers: &[(HeaderName, HeaderValue)],
    context: &ReadContext<'_>,
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
        let (user, password) = basic_auth(&item, context)?;
        format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
    } else if fields.get("bearer_token").is_some() {
        format!("Bearer {}", item.read(|text| context.secrets.expand(text)).filter(|token| not_empty(&item, token))?)
    } else {
        format!("Bearer {}", fields.get("bearer_token_file")?.read(|text| context.secrets.file(text))?)
    };
    Some((header::AUTHORIZATION, secret_value(&item, &value)?))
}

fn not_empty(item: &Item<'_>, text: &str) -> bool {
    if text.is_empty() {
        item.wrong("is empty; write ${NAME} of a variable that holds the secret");
    }
    !text.is_empty()
}

fn basic_auth(item: &Item<'_>, context: &ReadContext<'_>) -> Option<(String, String)> {
    let fields = item.fields(&["username", "password", "password_file"])?;
    let user = fields.required("username", "write the user's name").and_then(|item| {
        let user = item.read(|text| context.secrets.expand(text))?;
        if user.contains(':') {
            item.wrong("has a colon, which basic authentication cannot carry; write another user");
        }
        Some(user)
    });
    let password = match (fields.get("password"), fields.get("password_file")) {
        (Some(item), None) => item.read(|text| context.secrets.expand(text)).filter(|text| not_empty(&item, text)),
        (None, Some(_)) => fields.shown("password_file")?.read(|text| context.secrets.file(text)),
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
