//! What an HTTP request sends and expects, and how that is written in configuration files.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
};

use http::{HeaderName, HeaderValue, Method};

use super::{
    access::{HttpAccess, header_items, read_headers, write_headers},
    credentials::CredentialsFile,
    status::{self, ExpectedStatus},
};
use crate::{
    model::{Host, HttpUrl},
    net::{HeadParsing, HttpVersion, Proxy, TlsSpec, Way},
    probe::{
        pattern::{self, Pattern},
        tls,
    },
    yaml::{
        Fields, Item, Parsed, ReadContext, Secret, addresses,
        secrets::{MASK, unexpanded},
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

/// The keys of an http probe. A sidecar is asked where it is, so its probe has only those above.
pub(super) const HTTP_KEYS: &[&str] = &[
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
    "redirect_origins",
    "cookies",
    "unix_socket",
    "proxy",
];

/// The host of a Unix socket, whose address is not used.
static NOWHERE: Host = Host::Addr(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// The most origins that redirects may lead to.
const MAX_ORIGINS: usize = 8;

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
    /// How many redirects to follow, 0 to 10, and only on the same origin or to one of those.
    pub redirects: u8,
    /// Other origins that redirects may lead to. They get neither the headers nor the credentials.
    pub redirect_origins: Vec<HttpUrl>,
    /// Whether cookies that a response sets are sent after its redirect, to the host that has set them.
    pub cookies: bool,
    /// How the server is reached.
    pub way: Way,
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
            redirect_origins: Vec::new(),
            cookies: false,
            way: Way::Direct,
            body_limit: DEFAULT_BODY_LIMIT,
            version: HttpVersion::default(),
            tls: TlsSpec::default(),
            keep_alive: false,
            parsing: HeadParsing::default(),
        }
    }

    /// The host that is connected to.
    pub(super) fn dialled_host(&self) -> &Host {
        match &self.way {
            Way::Direct => &self.url.host,
            Way::Unix(_) => &NOWHERE,
            Way::Proxy(proxy) => &proxy.url.host,
        }
    }

    /// Whether a connection of it may be with TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        self.url.https || self.redirect_origins.iter().any(|origin| origin.https)
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
    let redirect_origins =
        fields.read("redirect_origins", |item| item.each(|item| item.read(origin))).unwrap_or_default();
    let url = default.as_ref().map(|default| &default.url);
    let needs_tls = redirect_origins.iter().any(|origin| origin.https);
    let HttpAccess { headers, credentials, tls } =
        HttpAccess::read(fields, context.secrets, url.filter(|_| !needs_tls), &[]);

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

    let redirects = fields.read("redirects", |item| item.whole::<u8>(0..=10));
    if let Some(item) = fields.get("redirect_origins").filter(|_| redirect_origins.len() > MAX_ORIGINS) {
        item.wrong(format!("has {} origins; write at most {MAX_ORIGINS}", redirect_origins.len()));
    }
    for item in ["redirect_origins", "cookies"].into_iter().filter_map(|key| fields.get(key)) {
        if redirects.unwrap_or(0) == 0 {
            item.wrong("has no effect without redirects; write redirects: 3 beside it");
        }
    }

    let version = fields.read("version", |item| item.choice(&VERSIONS));
    let proxy = fields.read("proxy", |item| read_proxy(item, context)).map(|proxy| Way::Proxy(Box::new(proxy)));
    let socket = fields.read("unix_socket", |item| item.read(unix_socket)).map(Way::Unix);
    let is_plain = url.is_some_and(|url| !url.https) || redirect_origins.iter().any(|origin| !origin.https);
    for (key, is_wrong, why) in [
        ("proxy", socket.is_some(), "stands beside unix_socket; write one of them"),
        ("redirect_origins", socket.is_some(), "cannot be reached by unix_socket; delete one of them"),
        (
            "version",
            proxy.is_some() && version == Some(HttpVersion::Http2) && is_plain,
            "cannot be 2 for an http URL and a proxy; write 1 or https URLs",
        ),
    ] {
        if let Some(item) = fields.get(key).filter(|_| is_wrong) {
            item.wrong(why);
        }
    }

    let default = default?;
    Some(HttpSpec {
        way: socket.or(proxy).unwrap_or_default(),
        method: method?,
        headers,
        credentials,
        body: fields.get("body").and_then(|item| item.secret_text(context.secrets)),
        status: statuses.unwrap_or_default(),
        expect_headers,
        expect_body: expect_body.and_then(|item| item.read(pattern::parse)),
        reject_body: reject_body.and_then(|item| item.read(pattern::parse)),
        redirects: redirects.unwrap_or(default.redirects),
        redirect_origins,
        cookies: fields.read("cookies", |item| item.flag()).unwrap_or(false),
        body_limit: fields.read("body_limit", |item| item.read(units::size)).unwrap_or(default.body_limit),
        version: version.unwrap_or(default.version),
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
    if !spec.redirect_origins.is_empty() {
        let origins: Vec<_> = spec.redirect_origins.iter().map(|url| quote(&format!("{url:#}"))).collect();
        page.raw("redirect_origins", format_args!("[{}]", origins.join(", ")));
    }
    if spec.cookies {
        page.raw("cookies", true);
    }
    match &spec.way {
        Way::Direct => {}
        Way::Unix(path) => page.text("unix_socket", path.display()),
        Way::Proxy(proxy) => page.mapping("proxy", |page| {
            page.text("url", format_args!("{:#}", proxy.url));
            if proxy.authorization.is_some() {
                page.mapping("basic_auth", |page| {
                    page.text("username", MASK);
                    page.text("password", MASK);
                });
            }
        }),
    }
    let version = VERSIONS.iter().find(|(_, version)| *version == spec.version);
    page.option("version", version.map(|(name, _)| name));
    if spec.uses_tls() {
        tls::write(page, &spec.tls);
    }
    page.raw("keep_alive", spec.keep_alive);
    page.raw("strict_headers", spec.parsing == HeadParsing::Strict);
}

/// The URL of a proxy alone, or with the credentials for it.
fn read_proxy(item: &Item<'_>, context: &ReadContext<'_>) -> Option<Proxy> {
    if !item.is_mapping() {
        return Some(Proxy { url: item.read(proxy_url)?, authorization: None });
    }
    let fields = item.fields(&["url", "basic_auth"])?;
    let url = fields.required("url", "write the URL of the proxy, such as http://proxy.example.com:3128");
    let authorization = read_headers(&fields, context.secrets, &[]).0.into_iter().next().map(|(_, value)| value);
    Some(Proxy { url: url?.read(proxy_url)?, authorization })
}

fn proxy_url(text: &str) -> Parsed<HttpUrl> {
    let url = origin(text)?;
    if url.https {
        return Err("asks for TLS to the proxy, which is not supported; write an http URL".to_owned());
    }
    Ok(url)
}

/// The longest path of a Unix socket (unix(7)), without the NUL.
const MAX_SOCKET_PATH: usize = 107;

fn unix_socket(text: &str) -> Parsed<Arc<Path>> {
    const HINT: &str = "write it such as /run/app.sock";
    if !text.starts_with('/') || text.contains('\0') {
        return Err(format!("is not an absolute path; {HINT}"));
    }
    if text.len() > MAX_SOCKET_PATH {
        return Err(format!("is longer than {MAX_SOCKET_PATH} bytes, which no Unix socket can be; {HINT}"));
    }
    Ok(Path::new(text).into())
}

/// Scheme, host and port of a URL.
fn origin(text: &str) -> Parsed<HttpUrl> {
    let url = addresses::url(text)?;
    if url.path.as_str() != "/" {
        return Err(format!("has a path, and every path of an origin is allowed; write {}", url.origin()));
    }
    Ok(url)
}

fn expected_headers(item: &Item<'_>) -> Option<Vec<(HeaderName, Pattern)>> {
    let patterns = header_items(item)?.into_iter().map(|(name, item)| Some((name, item.read(pattern::parse)?)));
    Some(patterns.flatten().collect())
}
