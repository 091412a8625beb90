//! Where a `Location` field leads (RFC 9110 10.2.2, RFC 3986 5.2).

use std::fmt::Write as _;

use http::{
    Uri,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};

use crate::model::HttpUrl;

/// The longest reference that is followed: what web servers take as a request line.
const MAX_REFERENCE: usize = 8 << 10;

/// Scheme, host and port (RFC 6454 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a URI that has one and is of HTTP.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        Self::new(uri.scheme()?, uri.authority()?)
    }

    fn new(scheme: &Scheme, authority: &Authority) -> Option<Self> {
        let https = *scheme == Scheme::HTTPS;
        if (!https && *scheme != Scheme::HTTP) || authority.as_str().contains('@') {
            return None;
        }
        let port = authority.port_u16().unwrap_or_else(|| HttpUrl::default_port(https));
        Some(Self { https, host: authority.host().to_ascii_lowercase(), port })
    }
}

/// The URI that a reference stands for beside the current one, if it is on the same origin or on one that is allowed: a peer
/// must not be able to point our probes at third parties. Bytes that no URI may have, such as spaces and UTF-8, are percent-encoded as
/// browsers and curl do. A fragment is not sent.
pub(super) fn target(reference: &[u8], current: &Uri, is_allowed: impl Fn(&Origin) -> bool) -> Option<Uri> {
    if reference.len() > MAX_REFERENCE {
        return None;
    }
    let reference = encoded(reference.trim_ascii());
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, rest) = split_scheme(reference);
    let mut base = current.clone();
    let rest = match rest.strip_prefix("//") {
        None if scheme.is_some() => return None,
        None => rest,
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let authority: Authority = rest[..end].parse().ok()?;
            let scheme: Scheme = scheme.or_else(|| current.scheme_str())?.to_ascii_lowercase().parse().ok()?;
            let origin = Origin::new(&scheme, &authority)?;
            if Origin::of(current).as_ref() != Some(&origin) {
                if !is_allowed(&origin) {
                    return None;
                }
                let mut parts = Parts::default();
                (parts.scheme, parts.authority) = (Some(scheme), Some(authority));
                parts.path_and_query = Some(PathAndQuery::from_static("/"));
                base = Uri::from_parts(parts).ok()?;
            }
            // With an authority, an empty path is the root.
            if rest[end..].starts_with('/') {
                &rest[end..]
            } else {
                return with_path(&base, "/", query(&rest[end..]));
            }
        }
    };
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    match path {
        "" => with_path(current, current.path(), query.or_else(|| current.query())),
        _ if path.starts_with('/') => with_path(&base, &without_dots(path), query),
        _ => {
            let folder = current.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            with_path(current, &without_dots(&format!("{folder}/{path}")), query)
        }
    }
}

fn query(rest: &str) -> Option<&str> {
    rest.strip_prefix('?')
}

/// The scheme that the reference begins with (RFC 3986 3.1), and what follows it.
fn split_scheme(reference: &str) -> (Option<&str>, &str) {
    match reference.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, reference),
    }
}

fn with_path(current: &Uri, path: &str, query: Option<&str>) -> Option<Uri> {
    let mut text = path.to_owned();
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    let mut parts = current.clone().into_parts();
    parts.path_and_query = Some(text.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// A path without the segments `.` and `..` (RFC 3986 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let mut is_folder = false;
    for segment in segments {
        is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    if is_folder {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

/// The same text with every byte percent-encoded that no URI may have.
fn encoded(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(reference: &str, from: &str) -> Option<String> {
        target(reference.as_bytes(), &from.parse().unwrap(), |_| false).map(|uri| uri.to_string())
    }

    #[test]
    fn a_reference_is_resolved_as_in_rfc_3986_5_4() {
        let cases = [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            (";x", "/b/c/;x"),
            ("g;x=1/./y", "/b/c/g;x=1/y"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("g/../h", "/b/c/h"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("//a", "/"),
            ("//A:80?z", "/?z"),
            ("HTTP://a/x", "/x"),
            (" /a b\u{e9} ", "/a%20b%C3%A9"),
            ("/x\\y|z", "/x%5Cy%7Cz"),
        ];
        for (reference, expected) in cases {
            let expected = format!("http://a{expected}");
            assert_eq!(to(reference, "http://a/b/c/d;p?q").as_ref(), Some(&expected), "{reference}");
        }
        assert_eq!(to("next", "http://a:8080").as_deref(), Some("http://a:8080/next"));
    }

    #[test]
    fn another_origin_is_allowed_by_its_scheme_host_and_port() {
        let allowed =
            ["https://www.example/", "http://a.example:81/"].map(|url| Origin::of(&url.parse().unwrap()).unwrap());
        let to = |reference: &str| {
            let from = "http://a.example/x".parse().unwrap();
            target(reference.as_bytes(), &from, |origin| allowed.contains(origin)).map(|uri| uri.to_string())
        };
        assert_eq!(to("HTTPS://WWW.example:443/y/../z?q").as_deref(), Some("https://WWW.example:443/z?q"));
        assert_eq!(to("//a.example:81?q").as_deref(), Some("http://a.example:81/?q"));
        assert_eq!(to("https://www.example").as_deref(), Some("https://www.example/"));
        for away in [
            "http://www.example/",
            "//www.example/",
            "https://www.example:444/",
            "https://a.example:81/",
            "https://u@www.example/",
            "https://www.example.evil/",
            "ftp://www.example/",
            "https:/www.example/",
        ] {
            assert_eq!(to(away), None, "{away}");
        }
    }

    #[test]
    fn a_reference_that_leads_to_another_origin_is_not_followed() {
        let away = [
            "//b.example/",
            "http://b.example:8080/",
            "https://a.example:8080/",
            "http://a.example/",
            "http://user@a.example:8080/",
            "http:/x",
            "http:x",
            "mailto:x@a.example",
            "//a.example:8080x/",
            "///x",
        ];
        for reference in away {
            assert_eq!(to(reference, "http://a.example:8080/x"), None, "{reference}");
        }
        assert_eq!(to(&"x".repeat(MAX_REFERENCE + 1), "http://a.example/"), None);
    }
}
