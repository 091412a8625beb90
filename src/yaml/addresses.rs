//! Names and addresses on the network: regions, targets, hosts, ports, URLs.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use super::{
    diagnostics::without_secrets,
    secrets::{Expanded, Secrets},
    units::{Parsed, port},
};
use crate::model::{Host, HttpUrl, InterfaceName, MASK, MAX_NAME, Region, Source, TargetName, UrlPath};

/// A region's name.
pub(crate) fn region(text: &str) -> Parsed<Region> {
    Region::new(text).map_err(|error| format!("{error}; write a region name such as eu-west-1"))
}

/// A target's name.
pub(crate) fn target_name(text: &str) -> Parsed<TargetName> {
    TargetName::new(text).map_err(|error| format!("{error}; write a target name such as edge-a"))
}

/// The name of a target without one: its host, with the colons and the zone of IPv6 after a `-`.
pub(crate) fn derived_name(host: &Host) -> Parsed<TargetName> {
    TargetName::new(&host.to_string().replace([':', '%'], "-")).map_err(|_| {
        format!("is too long for the target's name; give the target a name of at most {MAX_NAME} characters")
    })
}

const HOST_HINT: &str = "write a name such as edge.example.com or an address such as 192.0.2.1 or 2001:db8::1";

/// A host without a port: a name, an IPv4 or a bare IPv6 address.
pub(crate) fn host(text: &str) -> Parsed<Host> {
    if let Ok(addr) = text.parse() {
        return Ok(Host::Addr(addr));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(addr) => Err(format!("has brackets; write {addr}")),
            Err(_) => Err(format!("is not a host; {HOST_HINT}")),
        };
    }
    if text.contains("://") || text.contains('/') {
        return Err(format!("is not a host but a URL or path; {HOST_HINT}"));
    }
    if text.contains('%') {
        return Err("has a zone, which only targets can have; write a name or another address".to_owned());
    }
    if let Some((name, port)) = text.split_once(':').filter(|(_, port)| !port.contains(':')) {
        if port.parse::<u16>().is_ok() && host_name(name).is_ok() {
            return Err(format!("has a port; write {name} and give the port to the probes that need one"));
        }
    } else if text.contains(':') {
        return Err(format!("is not an IPv6 address; {HOST_HINT}"));
    }
    host_name(text).map(Host::Name)
}

/// The same, or a link-local address with its interface, such as `fe80::1%eth0`.
pub(crate) fn scoped_host(text: &str) -> Parsed<Host> {
    match text.split_once('%') {
        Some((address, zone)) if !text.starts_with('[') => scoped(address, zone),
        _ => host(text),
    }
}

fn scoped(address: &str, zone: &str) -> Parsed<Host> {
    const HINT: &str = "write it such as fe80::1%eth0";
    let address: Ipv6Addr = address.parse().map_err(|_| format!("has a zone and no IPv6 address before it; {HINT}"))?;
    if !address.is_unicast_link_local() {
        return Err(format!("has a zone, which only link-local addresses have; write {address}"));
    }
    let zone = InterfaceName::new(zone).filter(|zone| !zone.as_str().contains(['%', '[', ']']));
    let zone = zone.ok_or_else(|| format!("has a zone that is no interface; {HINT}"))?;
    Ok(Host::Scoped(address, zone))
}

/// `[fe80::1%eth0]` or `[fe80::1%25eth0]` (RFC 6874), with `:PORT` or without; or what [`host_port`] reads.
fn scoped_host_port(text: &str) -> Parsed<(Host, Option<u16>)> {
    let in_brackets = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let Some(((address, zone), rest)) = in_brackets.and_then(|(inner, rest)| Some((inner.split_once('%')?, rest)))
    else {
        return host_port(text);
    };
    let host = scoped(address, zone.strip_prefix("25").unwrap_or(zone))?;
    // The port is read behind an address that has no zone.
    host_port(&format!("[::]{rest}")).map(|(_, port)| (host, port))
}

/// A host before a port: IPv6 in brackets.
pub(crate) fn bracketed_host(text: &str) -> Parsed<Host> {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .and_then(|inner| inner.parse::<Ipv6Addr>().ok())
            .map(|addr| Host::Addr(IpAddr::V6(addr)))
            .ok_or_else(|| "has a bad IPv6 address in brackets; write it such as [2001:db8::1]".to_owned()),
        None => match host(text) {
            Ok(Host::Addr(IpAddr::V6(addr))) => Err(format!("has an IPv6 address without brackets; write [{addr}]")),
            other => other,
        },
    }
}

/// Where packets leave from: an address of this host, or an interface.
pub(crate) fn source(text: &str) -> Parsed<Source> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => {
            Err("is no address of a host; write one of this host, such as 192.0.2.1".to_owned())
        }
        Ok(address) if is_link_local(address) => {
            Err("is on every link; write an interface of this host, such as eth1".to_owned())
        }
        Ok(address) => Ok(Source::Address(address)),
        Err(_) => InterfaceName::new(text).map(Source::Interface).ok_or_else(|| {
            "is neither an address nor an interface; write one of this host, such as 192.0.2.1 or eth1".to_owned()
        }),
    }
}

/// The address of a name server, on port 53 unless it says otherwise.
pub(crate) fn name_server(text: &str) -> Parsed<SocketAddr> {
    const PORT: u16 = 53;
    let address = text.parse().map(|address| SocketAddr::new(address, PORT));
    let address = address.or_else(|_| text.parse()).map_err(|_| {
        "is not the address of a name server; write one such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353"
            .to_owned()
    })?;
    if is_link_local(address.ip()) {
        return Err("is on every link; write another address of the name server".to_owned());
    }
    Ok(address)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// A DNS host name, in lower case (RFC 1123; private zones have `_` as well).
fn host_name(text: &str) -> Parsed<Arc<str>> {
    let text = text.to_ascii_lowercase();
    let name = text.strip_suffix('.').unwrap_or(&text);
    if !name.is_ascii() {
        return Err("has letters outside ASCII; write the name in its xn-- form".to_owned());
    }
    let valid = name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if !valid {
        return Err(format!("is not a host; {HOST_HINT}"));
    }
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("looks like an IPv4 address but is not one; {HOST_HINT}"));
    }
    Ok(Arc::from(text))
}

/// A name that TLS sends and verifies.
pub(crate) fn server_name(text: &str) -> Parsed<Arc<str>> {
    host(text).map(|host| Arc::from(host.to_string()))
}

/// `HOST` or `HOST:PORT`, IPv6 in brackets.
pub(crate) fn host_port(text: &str) -> Parsed<(Host, Option<u16>)> {
    let end = text.rfind(']').map_or(0, |at| at + 1);
    if text.starts_with('[') && end == 0 {
        return bracketed_host(text).map(|host| (host, None));
    }
    match text[end..].find(':') {
        _ if text.parse::<Ipv6Addr>().is_ok() => bracketed_host(text).map(|host| (host, None)),
        Some(colon) => {
            let (name, number) = (&text[..end + colon], &text[end + colon + 1..]);
            let number = port(number).map_err(|_| "has a bad port; write 1 to 65535 after the colon".to_owned())?;
            Ok((bracketed_host(name)?, Some(number)))
        }
        None => bracketed_host(text).map(|host| (host, None)),
    }
}

/// An `http` or `https` URL.
pub(crate) fn url(text: &str) -> Parsed<HttpUrl> {
    url_with(text, host_port, |path| Ok(path.into()))
}

/// The same, in whose path and query variables are replaced; its host may have a zone.
pub(crate) fn url_of_variables(text: &str, secrets: &Secrets<'_>) -> Parsed<HttpUrl> {
    url_with(text, scoped_host_port, |path| secrets.expand(path))
}

/// Path and query, in which variables are replaced.
pub(crate) fn path_of_variables(text: &str, secrets: &Secrets<'_>) -> Parsed<UrlPath> {
    path_and_query(&secrets.expand(text)?).ok_or_else(|| "is not a path; write it such as /dns-query".to_owned())
}

fn path_and_query(Expanded { sent, shown }: &Expanded) -> Option<UrlPath> {
    // `check --print` writes this, and it must load.
    let sent = sent.replace(MASK, "%3Csecret%3E");
    let parsed = http::uri::PathAndQuery::from_str(&sent).ok()?;
    let valid = sent.starts_with('/') && parsed.as_str() == sent && sent.is_ascii();
    valid.then(|| UrlPath::new(&sent, shown))
}

fn url_with(
    text: &str,
    host_port: impl Fn(&str) -> Parsed<(Host, Option<u16>)>,
    expand: impl FnOnce(&str) -> Parsed<Expanded>,
) -> Parsed<HttpUrl> {
    const HINT: &str = "write a URL such as https://edge.example.com/healthz";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(match host_port(text.split('/').next().unwrap_or_default()) {
            Ok(_) => format!("has no scheme; write https://{0} or http://{0}", without_secrets(text)),
            Err(_) => format!("is not a URL; {HINT}"),
        });
    };
    let https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err("has a scheme other than http and https; write http:// or https://".to_owned()),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(
            "has a user or password in it; remove them (http probes and alertmanagers take basic_auth or bearer_token)"
                .to_owned(),
        );
    }
    if authority.contains("${") {
        return Err("has a ${ before its path; write scheme, host and port themselves".to_owned());
    }
    let path = match path.as_bytes() {
        [] => expand("/")?,
        [b'?', ..] => expand(&format!("/{path}"))?,
        _ => expand(path)?,
    };
    if path.sent.contains('#') {
        return Err("has a fragment, which is never sent; remove the # and what follows".to_owned());
    }
    if authority.is_empty() {
        return Err(format!("has no host; {HINT}"));
    }
    let (host, port) = host_port(authority)?;
    let path = path_and_query(&path)
        .ok_or_else(|| "has a character in its path that must be percent-encoded; write it such as %20".to_owned())?;
    Ok(HttpUrl { https, host, port: port.unwrap_or_else(|| HttpUrl::default_port(https)), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_a_bare_address() {
        assert_eq!(host("Edge.Example.COM.").map(|h| h.to_string()), Ok("edge.example.com".to_owned()));
        assert!(matches!(host("::1"), Ok(Host::Addr(_))));
        for text in [
            "",
            ".",
            "[::1]",
            "a..b",
            "-a",
            "a_b/",
            "http://a",
            "a:80",
            "1.2.3",
            "1.2.3.4.5",
            "fe80::1%eth0",
            "ü.de",
            "a b",
            "::g",
        ] {
            assert!(host(text).is_err(), "{text}");
        }
        assert!(host(&"a".repeat(64)).is_err() && host(&"a.".repeat(200)).is_err());
    }

    #[test]
    fn a_link_local_address_has_the_zone_of_its_interface_and_no_other_does() {
        assert_eq!(scoped_host("fe80::1%eth0").map(|host| host.to_string()).as_deref(), Ok("fe80::1%eth0"));
        let environment = std::collections::BTreeMap::new();
        let secrets = Secrets::new(&environment, "".as_ref());
        let url = |text: &str| url_of_variables(text, &secrets);
        for text in ["http://[fe80::1%eth0.5]:8080/x", "http://[fe80::1%25eth0.5]:8080/x"] {
            let url = url(text).unwrap();
            assert_eq!(url.sent(), "http://[fe80::1]:8080/x", "a zone has no meaning for others");
            assert_eq!(url.to_string(), "http://[fe80::1%25eth0.5]:8080/x");
        }
        for text in [
            "2001:db8::1%eth0",
            "10.0.0.1%eth0",
            "a.example%eth0",
            "fe80::1%",
            "fe80::1%a/b",
            "[fe80::1%eth0]",
            "fe80::1%a%b",
        ] {
            assert!(scoped_host(text).is_err(), "{text}");
        }
        for text in
            ["http://[fe80::1%eth0]:0/", "http://[fe80::1%eth0]x/", "http://fe80::1%eth0/", "http://[fe80::1%]/"]
        {
            assert!(url(text).is_err(), "{text}");
        }
        assert!(super::url("http://[fe80::1%eth0]/").is_err() && host("fe80::1%eth0").is_err());
    }

    #[test]
    fn a_url_is_read_as_it_is_written() {
        for text in ["https://a.example/", "http://[::1]:9093/x?y=1", "https://192.0.2.1:8443/", "http://a/?q"] {
            assert_eq!(url(text).map(|url| url.sent()).as_deref(), Ok(text));
        }
        assert_eq!(url("HTTPS://A.example:443?q").map(|u| u.sent()).as_deref(), Ok("https://a.example/?q"));
        for text in [
            "",
            "a.example",
            "ftp://a",
            "https://",
            "https://u:p@a/",
            "https://::1/",
            "https://a:0/",
            "https://a:x/",
            "https://a:/",
            "https://a/#b",
            "https://a/b c",
            "https://a/\u{fc}",
            "https://${HOST}/",
            "${URL}",
            "https://[::1/",
            "https://[a]/",
            "http:///x",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
