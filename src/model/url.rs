//! URLs of HTTP.

use std::{fmt, sync::Arc};

use super::Host;

/// An `http` or `https` URL, which is displayed without the values of its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether the scheme is https.
    pub https: bool,
    /// Host.
    pub host: Host,
    /// Port; 80 or 443 by default.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: UrlPath,
}

impl HttpUrl {
    /// The port of a URL that names none.
    pub const fn default_port(https: bool) -> u16 {
        if https { 443 } else { 80 }
    }

    /// Scheme, host and port, the port only if it is another than that of the scheme.
    pub fn origin(&self) -> String {
        Origin(self).to_string()
    }

    /// The URL as requests have it, with its secrets.
    pub fn sent(&self) -> String {
        let origin = Self { host: self.host.without_zone(), ..self.clone() };
        format!("{}{}", Origin(&origin), self.path.as_str())
    }
}

struct Origin<'a>(&'a HttpUrl);

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HttpUrl { https, host, port, .. } = self.0;
        f.write_str(if *https { "https://" } else { "http://" })?;
        host.bracketed().fmt(f)?;
        if *port == HttpUrl::default_port(*https) { Ok(()) } else { write!(f, ":{port}") }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Origin(self).fmt(f)?;
        self.path.fmt(f)
    }
}

/// Path and query of a URL. What may be a secret is sent, but neither displayed nor debugged.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlPath {
    sent: Arc<str>,
    shown: Arc<str>,
}

impl UrlPath {
    /// A path as it is sent, and the same with [`MASK`] in the places of secrets. The values of its query are never shown.
    pub fn new(sent: &str, shown: &str) -> Self {
        Self { sent: sent.into(), shown: without_query_values(shown).into() }
    }

    /// The path as it is sent.
    pub fn as_str(&self) -> &str {
        &self.sent
    }
}

impl From<&str> for UrlPath {
    fn from(path: &str) -> Self {
        Self::new(path, path)
    }
}

impl fmt::Display for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown)
    }
}

/// What is written instead of a secret.
pub const MASK: &str = "<secret>";

/// The text of a URL with [`MASK`] in the places of its query's values.
pub(crate) fn without_query_values(url: &str) -> String {
    let masked = |part: &str| match part.split_once('=') {
        None if !part.is_empty() => MASK.to_owned(),
        Some((name, value)) if !value.is_empty() => format!("{name}={MASK}"),
        _ => part.to_owned(),
    };
    match url.split_once('?') {
        Some((path, query)) => format!("{path}?{}", query.split('&').map(masked).collect::<Vec<_>>().join("&")),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query_are_sent_and_not_shown() {
        let path = UrlPath::from("/x?token=hunter2&a=&b=1=2&hunter2");
        let url = HttpUrl { https: true, host: Host::Name("a.example".into()), port: 8443, path };
        assert_eq!(url.sent(), "https://a.example:8443/x?token=hunter2&a=&b=1=2&hunter2");
        assert_eq!(url.to_string(), "https://a.example:8443/x?token=<secret>&a=&b=<secret>&<secret>");
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
