//! What an HTTP request sends and expects, and how that is written in configuration files.

use http::{HeaderName, HeaderValue, Method};

use super::{
    access::{HttpAccess, header_items, write_headers},
    credentials::CredentialsFile,
    status::{self, ExpectedStatus},
};
use crate::{
    model::HttpUrl,
    net::{HeadParsing, HttpVersion, TlsSpec},
    probe::{
        pattern::{self, Pattern},
        tls,
    },
    yaml::{
        Fields, Item, ReadContext, Secret, addresses,
        secrets::unexpanded,
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
    "strict_headers",
];

/// The largest body that is read by default: 1 MiB.
const DEFAULT_BODY_LIMIT: usize = 1 << 20;

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
    /// The file that one of them comes from, if it authenticates.
    pub credentials: Option<CredentialsFile>,
    /// Body to send.
    pub body: Option<Secret>,
    /// The statuses that count as success; empty means 200 to 299.
    pub status: Vec<ExpectedStatus>,
    /// Header fields of which each must be there and match.
    pub expect_headers: Vec<(HeaderName, Pattern)>,
    /// A pattern that the body must match.
    pub expect_body: Option<Pattern>,
    /// A pattern that the body must not match.
    pub reject_body: Option<Pattern>,
    /// How many redirects to follow, 0 to 10, and only to the same host.
    pub redirects: u8,
    /// How much of a body is read. Of a longer one the rest is neither waited for nor matched.
    pub body_limit: usize,
    /// Which HTTP versions are offered.
    pub version: HttpVersion,
    /// TLS settings; used if the URL says https.
    pub tls: TlsSpec,
    /// Keep the connection for the next probe: then only `processing` and `transfer` are measured.
    pub keep_alive: bool,
    /// How heads of responses are read.
    pub parsing: HeadParsing,
}

impl HttpSpec {
    /// A GET of the URL on a fresh connection, to which any status from 200 to 299 is right.
    pub fn get(url: HttpUrl) -> Self {
        Self {
            url,
            method: Method::GET,
            headers: Vec::new(),
            credentials: None,
            body: None,
            status: Vec::new(),
            expect_headers: Vec::new(),
            expect_body: None,
            reject_body: None,
            redirects: 0,
            body_limit: DEFAULT_BODY_LIMIT,
            version: HttpVersion::default(),
            tls: TlsSpec::default(),
            keep_alive: false,
            parsing: HeadParsing::default(),
        }
    }

    /// Whether the status is among those that are configured.
    pub(super) fn expects(&self, status: u16) -> bool {
        self.status.iter().any(|expected| expected.contains(status))
    }
}

/// Reads the keys. `defaults` gets the text of the URL and the defaults, and may change them.
pub(crate) fn read(
    fields: &Fields<'_>,
    context: &ReadContext<'_>,
    defaults: impl FnOnce(&str, HttpSpec) -> HttpSpec,
) -> Option<HttpSpec> {
    let url = fields.required("url", "write a URL such as https://edge.example.com/healthz");
    let default = url.and_then(|item| {
        let url = item.read_raw(|text| addresses::url_of_variables(text, context.secrets))?;
        Some(defaults(item.raw()?, HttpSpec::get(url)))
    });
    let method = fields.get("method").map_or(Some(Method::GET), |item| item.choice(&METHODS));
    let HttpAccess { headers, credentials, tls } =
        HttpAccess::read(fields, context.secrets, default.as_ref().map(|default| &default.url), &[]);

    let expect = fields.read("expect", |item| item.fields(&["status", "headers", "body", "body_not"]));
    let expect = expect.as_ref();
    let statuses = expect.and_then(|expect| expect.read("status", |item| item.each(|item| item.plain(status::parse))));
    let expect_headers = expect.and_then(|expect| expect.read("headers", expected_headers)).unwrap_or_default();
    let expect_body = expect.and_then(|expect| expect.get("body"));
    let reject_body = expect.and_then(|expect| expect.get("body_not"));
    for item in [&expect_body, &reject_body].into_iter().flatten() {
        if method == Some(Method::HEAD) {
            item.wrong("can never match, because the answer to HEAD has no body; delete it or write method: GET");
        }
    }

    let default = default?;
    Some(HttpSpec {
        method: method?,
        headers,
        credentials,
        body: fields.get("body").and_then(|item| item.secret_text(context.secrets)),
        status: statuses.unwrap_or_default(),
        expect_headers,
        expect_body: expect_body.and_then(|item| item.read(pattern::parse)),
        reject_body: reject_body.and_then(|item| item.read(pattern::parse)),
        redirects: fields.read("redirects", |item| item.whole::<u8>(0..=10)).unwrap_or(default.redirects),
        body_limit: fields.read("body_limit", |item| item.read(units::size)).unwrap_or(default.body_limit),
        version: fields.read("version", |item| item.choice(&VERSIONS)).unwrap_or(default.version),
        tls,
        keep_alive: fields.read("keep_alive", |item| item.flag()).unwrap_or(default.keep_alive),
        parsing: match fields.read("strict_headers", |item| item.flag()) {
            Some(true) => HeadParsing::Strict,
            Some(false) | None => HeadParsing::Lenient,
        },
        url: default.url,
    })
}

/// Writes the keys, but no secret.
pub(crate) fn write(page: &mut Writer, spec: &HttpSpec) {
    page.text("url", unexpanded(&format!("{:#}", spec.url)));
    page.text("method", &spec.method);
    write_headers(page, &spec.headers);
    page.option("body", spec.body.as_ref());
    page.raw("body_limit", size_text(spec.body_limit));
    page.mapping("expect", |page| {
        let default = if spec.status.is_empty() { " # 200 to 299" } else { "" };
        let statuses: Vec<_> = spec.status.iter().map(ToString::to_string).collect();
        page.raw("status", format_args!("[{}]{default}", statuses.join(", ")));
        if !spec.expect_headers.is_empty() {
            page.mapping("headers", |page| {
                for (name, pattern) in &spec.expect_headers {
                    page.text(&quote(name.as_str()), pattern.source());
                }
            });
        }
        page.option("body", spec.expect_body.as_ref().map(|pattern| pattern.source()));
        page.option("body_not", spec.reject_body.as_ref().map(|pattern| pattern.source()));
    });
    page.raw("redirects", spec.redirects);
    let version = VERSIONS.iter().find(|(_, version)| *version == spec.version);
    page.option("version", version.map(|(name, _)| name));
    if spec.url.https {
        tls::write(page, &spec.tls);
    }
    page.raw("keep_alive", spec.keep_alive);
    page.raw("strict_headers", spec.parsing == HeadParsing::Strict);
}

fn expected_headers(item: &Item<'_>) -> Option<Vec<(HeaderName, Pattern)>> {
    let patterns = header_items(item)?.into_iter().map(|(name, item)| Some((name, item.read(pattern::parse)?)));
    Some(patterns.flatten().collect())
}
