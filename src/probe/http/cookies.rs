//! Cookies from one redirect to the next, as browsers and curl keep them (RFC 6265). A jar lives for one probe. It is stricter
//! than the RFC in one thing: a cookie goes only to the host that has set it, whatever its `Domain` says.

use http::{
    HeaderMap, HeaderValue, Uri,
    header::{COOKIE, SET_COOKIE},
};

/// What a jar holds at the most, so that a peer cannot make our requests large.
const MAX_COOKIES: usize = 32;
const MAX_COOKIE: usize = 4096;
const MAX_FIELD: usize = 8192;

struct Cookie {
    host: String,
    path: String,
    secure: bool,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// The cookies of one probe.
#[derive(Default)]
pub(super) struct Jar(Vec<Cookie>);

impl Jar {
    /// Takes the cookies of a response to a request for this URI. `now` is in seconds since 1970.
    pub(super) fn take(&mut self, headers: &HeaderMap, uri: &Uri, now: i64) {
        for field in headers.get_all(SET_COOKIE) {
            let Some((cookie, expired)) = parse(field.as_bytes(), uri, now) else { continue };
            self.0
                .retain(|known| (&known.name, &known.host, &known.path) != (&cookie.name, &cookie.host, &cookie.path));
            if !expired && self.0.len() < MAX_COOKIES {
                self.0.push(cookie);
            }
        }
    }

    /// Adds the cookies that belong to this URI, the ones of longer paths first.
    pub(super) fn apply(&self, headers: &mut HeaderMap, uri: &Uri) {
        let (host, secure) = (host_of(uri), is_https(uri));
        let belongs = |cookie: &&Cookie| {
            cookie.host == host && (secure || !cookie.secure) && path_matches(uri.path(), &cookie.path)
        };
        let mut cookies: Vec<_> = self.0.iter().filter(belongs).collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let mut field = headers.get(COOKIE).map(|own| own.as_bytes().to_vec()).unwrap_or_default();
        for Cookie { name, value, .. } in cookies {
            if field.len() + name.len() + value.len() + 3 > MAX_FIELD {
                break;
            }
            if !field.is_empty() {
                field.extend_from_slice(b"; ");
            }
            field.extend_from_slice(name);
            field.push(b'=');
            field.extend_from_slice(value);
        }
        if field.is_empty() {
            return;
        }
        if let Ok(mut value) = HeaderValue::from_bytes(&field) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }
}

fn host_of(uri: &Uri) -> String {
    uri.host().unwrap_or_default().to_ascii_lowercase()
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

/// RFC 6265 5.1.4.
fn path_matches(path: &str, of_cookie: &str) -> bool {
    path.strip_prefix(of_cookie)
        .is_some_and(|rest| rest.is_empty() || of_cookie.ends_with('/') || rest.starts_with('/'))
}

fn default_path(uri: &Uri) -> &str {
    match uri.path().rfind('/') {
        None | Some(0) => "/",
        Some(end) => &uri.path()[..end],
    }
}

/// A cookie, and whether it is to be forgotten (RFC 6265 5.2).
fn parse(field: &[u8], uri: &Uri, now: i64) -> Option<(Cookie, bool)> {
    if field.len() > MAX_COOKIE || field.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return None;
    }
    let mut parts = field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let (name, value) = split(parts.next()?)?;
    if name.is_empty() {
        return None;
    }
    let mut cookie = Cookie {
        host: host_of(uri),
        path: default_path(uri).to_owned(),
        secure: false,
        name: name.to_vec(),
        value: value.to_vec(),
    };
    let (mut max_age, mut expires) = (None, None);
    for part in parts {
        let (key, value) = split(part).unwrap_or((part, b""));
        let text = std::str::from_utf8(value).unwrap_or_default();
        match key.to_ascii_lowercase().as_slice() {
            b"secure" => cookie.secure = true,
            b"path" if text.starts_with('/') => text.clone_into(&mut cookie.path),
            b"path" => default_path(uri).clone_into(&mut cookie.path),
            b"max-age" => max_age = text.parse::<i64>().ok().map(|seconds| seconds <= 0).or(max_age),
            b"expires" => expires = date(text).map(|at| at <= now).or(expires),
            b"domain" => {
                let domain = text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase();
                let host = &cookie.host;
                let is_ours = domain.is_empty()
                    || *host == domain
                    || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
                if !is_ours {
                    return None;
                }
            }
            _ => {}
        }
    }
    if cookie.secure && !is_https(uri) {
        return None;
    }
    Some((cookie, max_age.or(expires).unwrap_or(false)))
}

fn split(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = part.iter().position(|byte| *byte == b'=')?;
    Some((part[..equals].trim_ascii(), part[equals + 1..].trim_ascii()))
}

/// The seconds since 1970 of a date as cookies have it, in any of its forms (RFC 6265 5.1.1).
fn date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split([' ', ',', '-', '\t']).filter(|token| !token.is_empty()) {
        let lower = token.to_ascii_lowercase();
        let number = token.parse::<i64>().ok().filter(|number| (0..10_000).contains(number));
        let parts: Vec<_> = token.split(':').map(str::parse::<i64>).collect();
        if let ([Ok(hours @ 0..=23), Ok(minutes @ 0..=59), Ok(seconds @ 0..=59)], None) = (&parts[..], time) {
            time = Some((hours * 60 + minutes) * 60 + seconds);
        } else if let (Some(number @ 1..=31), None, 1..=2) = (number, day, token.len()) {
            day = Some(number);
        } else if let (Some(place), None) = (MONTHS.iter().position(|name| lower.starts_with(name)), month) {
            month = Some(place as i64 + 1);
        } else if let (Some(number), None) = (number, year) {
            year = Some(match number {
                0..=69 => number + 2000,
                70..=99 => number + 1900,
                number => number,
            });
        }
    }
    let (day, month, year) = (day?, month?, year.filter(|year| *year >= 1601)?);
    // Days from the civil calendar: years begin in March, so that the leap day is their last.
    let (years, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (years.div_euclid(400), years.rem_euclid(400));
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + time?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent to `to` after these were set by `from`.
    fn sent(set: &[&str], from: &str, to: &str) -> String {
        let mut jar = Jar::default();
        let mut headers = HeaderMap::new();
        for field in set {
            headers.append(SET_COOKIE, HeaderValue::from_str(field).unwrap());
        }
        jar.take(&headers, &from.parse().unwrap(), 1_800_000_000);
        let mut request = HeaderMap::new();
        jar.apply(&mut request, &to.parse().unwrap());
        request.get(COOKIE).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_cookie_goes_only_to_the_host_that_has_set_it() {
        let set = ["a=1; Domain=example.com; Path=/"];
        assert_eq!(sent(&set, "https://www.example.com/x", "https://www.example.com/y"), "a=1");
        assert_eq!(sent(&set, "https://www.example.com/x", "http://WWW.example.com:8080/y"), "a=1");
        for other in ["https://example.com/", "https://a.www.example.com/", "https://ample.com/", "https://evil.test/"]
        {
            assert_eq!(sent(&set, "https://www.example.com/x", other), "", "{other}");
        }
        for foreign in ["a=1; Domain=evil.test", "a=1; Domain=ww.example.com"] {
            assert_eq!(sent(&[foreign], "https://www.example.com/", "https://www.example.com/"), "");
        }
    }

    #[test]
    fn a_cookie_keeps_to_its_path_and_to_https() {
        let at = |set: &str, to: &str| sent(&[set], "https://a.example/login/form", &format!("https://a.example{to}"));
        assert_eq!([at("a=1", "/login/x"), at("a=1", "/login"), at("a=1", "/loginx")], ["a=1", "a=1", ""]);
        assert_eq!(
            [at("a=1; path=/", "/x"), at("a=1; Path=/x", "/x/y"), at("a=1; Path=/x/", "/x")],
            ["a=1", "a=1", ""]
        );
        assert_eq!(sent(&["a=1; Secure; Path=/"], "https://a.example/", "http://a.example/"), "");
        assert_eq!(sent(&["a=1; Secure; Path=/"], "http://a.example/", "https://a.example/"), "");
        let two = ["short=1; Path=/", "long=2; Path=/x"];
        assert_eq!(sent(&two, "https://a.example/x", "https://a.example/x"), "long=2; short=1");
    }

    #[test]
    fn a_cookie_that_is_over_is_forgotten() {
        let after = |end: &str| sent(&["a=1", &format!("a=; {end}")], "http://a.example/", "http://a.example/");
        for end in
            ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01-Jan-1970 00:00:01 GMT", "Expires=Thu, 01 Jan 70 00:00:01"]
        {
            assert_eq!(after(end), "", "{end}");
        }
        for kept in ["Max-Age=9", "Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "Expires=never", "Max-Age=x"] {
            assert_eq!(after(kept), "a=", "{kept}");
        }
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Sunday, 06-Nov-94 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Sun Nov  6 08:49:37 1994"), Some(784_111_777));
        assert_eq!(date("29 Feb 2024 00:00:00"), Some(1_709_164_800));
    }

    #[test]
    fn whatever_a_peer_sets_a_request_stays_small() {
        let many: Vec<_> = (0..1000).map(|n| format!("c{n}={}", "x".repeat(1000))).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let field = sent(&many, "http://a.example/", "http://a.example/");
        assert!((1000..=MAX_FIELD).contains(&field.len()), "{}", field.len());
        assert_eq!(
            sent(&[&format!("a={}", "x".repeat(MAX_COOKIE)), "", "=x", "novalue"], "http://a/", "http://a/"),
            ""
        );
    }
}
