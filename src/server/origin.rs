//! Requests that another site makes a user's browser send.

use std::net::IpAddr;

use http::{
    HeaderMap, Request, Uri,
    header::{HOST, ORIGIN},
    uri::Authority,
};

use crate::model::{Host, HttpUrl};

const FETCH_SITE: &str = "sec-fetch-site";

/// Why a request that changes something is refused. A name that belongs to someone else may lead here (DNS rebinding), so the
/// request must name an address, `localhost`, or the host of `external_url`. Only browsers send the other headers.
pub(super) fn refusal<B>(request: &Request<B>, external_url: Option<&HttpUrl>) -> Option<&'static str> {
    let headers = request.headers();
    let Ok(host) = authority(request) else {
        return Some("the header Host is not one host; send it once, such as Host: 127.0.0.1:9877");
    };
    if host.as_ref().is_some_and(|host| !is_own(host, external_url)) {
        return Some(
            "the host of the URL is neither an address, nor localhost, nor the host of external_url; use the address, or set \
             external_url",
        );
    }
    if headers.get_all(FETCH_SITE).iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return Some("the request comes from a page of another site (Sec-Fetch-Site); use curl, or send SIGHUP");
    }
    if headers.get_all(ORIGIN).iter().any(|origin| !is_same(origin.as_bytes(), host.as_ref(), external_url)) {
        return Some("the request comes from a page of another site (Origin); use curl, or send SIGHUP");
    }
    None
}

/// The host and port that a request is for. A request of HTTP/1.0 may have none; no browser sends one.
fn authority<B>(request: &Request<B>) -> Result<Option<Authority>, ()> {
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.clone()));
    }
    let mut values = HeaderMap::get_all(request.headers(), HOST).iter();
    let Some(host) = values.next() else { return Ok(None) };
    match (Authority::try_from(host.as_bytes()), values.next()) {
        (Ok(host), None) if !host.as_str().contains('@') => Ok(Some(host)),
        _ => Err(()),
    }
}

fn is_own(authority: &Authority, external_url: Option<&HttpUrl>) -> bool {
    let host = host(authority);
    address(&host).is_some() || host == "localhost" || external_url.is_some_and(|url| is_host(&host, &url.host))
}

/// The host in lower case, without the final dot.
fn host(authority: &Authority) -> String {
    let host = authority.host();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_host(text: &str, host: &Host) -> bool {
    match host {
        Host::Addr(own) => address(text) == Some(*own),
        Host::Scoped(..) => false,
        Host::Name(_) => text == host.to_string(),
    }
}

/// Whether a page of this origin is one of ours. A proxy may have replaced the host that the browser saw by an own one.
fn is_same(origin: &[u8], own: Option<&Authority>, external_url: Option<&HttpUrl>) -> bool {
    let Ok(origin) = Uri::try_from(origin) else { return false };
    let (Some(scheme), Some(authority)) = (origin.scheme_str(), origin.authority()) else { return false };
    let default = HttpUrl::default_port(scheme == "https");
    let place = |authority: &Authority| (host(authority), authority.port_u16().unwrap_or(default));
    let (name, port) = place(authority);
    let is_external = |url: &HttpUrl| is_host(&name, &url.host) && port == url.port && (scheme == "https") == url.https;
    own.is_some_and(|own| place(own) == (name.clone(), port)) || external_url.is_some_and(is_external)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn is_refused(external: Option<&str>, lines: &[(&str, &str)]) -> bool {
        let mut request = Request::post("/-/reload");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let url = external.map(|name| HttpUrl {
            https: true,
            host: Host::Name(Arc::from(name)),
            port: 443,
            path: "/".into(),
        });
        refusal(&request.body(()).unwrap(), url.as_ref()).is_some()
    }

    #[test]
    fn a_name_that_belongs_to_another_is_refused() {
        for host in
            ["127.0.0.1", "10.0.0.1:9877", "[::1]:9877", "[2001:db8::1]", "localhost:9877", "LOCALHOST", "localhost."]
        {
            assert!(!is_refused(None, &[("Host", host)]), "{host}");
        }
        assert!(!is_refused(None, &[]), "HTTP/1.0");
        for host in [
            "evil.example",
            "evil.example:9877",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "a b",
            "x@127.0.0.1",
        ] {
            assert!(is_refused(None, &[("Host", host)]), "{host}");
            assert!(is_refused(Some("watch.example"), &[("Host", host)]), "{host}");
        }
        assert!(is_refused(None, &[("Host", "127.0.0.1"), ("Host", "evil.example")]));
        assert!(is_refused(None, &[("Host", "watch.example")]));
        assert!(!is_refused(Some("watch.example"), &[("Host", "Watch.Example:8443")]));
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let host = ("Host", "127.0.0.1:9877");
        for (site, refused) in
            [("same-origin", false), ("none", false), ("same-site", true), ("cross-site", true), ("", true)]
        {
            assert_eq!(is_refused(None, &[host, ("Sec-Fetch-Site", site)]), refused, "{site}");
        }
        for (origin, refused) in [
            ("http://127.0.0.1:9877", false),
            ("https://watch.example", false),
            ("http://watch.example", true),
            ("https://watch.example:8443", true),
            ("http://127.0.0.1", true),
            ("http://127.0.0.1:3000", true),
            ("http://evil.example", true),
            ("null", true),
            ("", true),
        ] {
            assert_eq!(is_refused(Some("watch.example"), &[host, ("Origin", origin)]), refused, "{origin}");
        }
        assert!(is_refused(None, &[host, ("Origin", "http://127.0.0.1:9877"), ("Origin", "http://evil.example")]));
        assert!(!is_refused(None, &[("Host", "127.0.0.1"), ("Origin", "http://127.0.0.1:80")]));
    }
}
