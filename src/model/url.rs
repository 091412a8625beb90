//! URLs of HTTP.

use std::{fmt, sync::Arc};

use super::Host;

/// An `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Whether the scheme is https.
    pub https: bool,
    /// Host.
    pub host: Host,
    /// Port; 80 or 443 by default.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: Arc<str>,
}

impl HttpUrl {
    /// The port of a URL that names none.
    pub const fn default_port(https: bool) -> u16 {
        if https { 443 } else { 80 }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host.bracketed())?;
        if self.port != Self::default_port(self.https) {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)
    }
}
