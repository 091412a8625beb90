//! Targets of the command line: `us=https://us.example.com/healthz`. The scheme is the kind of probe.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    config::ProbeConfig,
    model::{Host, Kind, Path, Region, TargetName},
    net::TlsSpec,
    probe::{DnsSpec, HttpSpec, IcmpSpec, ProbeSpec, RecordType, TcpSpec},
    yaml::{Parsed, addresses, diagnostics::quoted},
};

const HINT: &str = "write REGION=URL, such as us=https://us.example.com/healthz";

/// The schemes, each with an example.
const SCHEMES: [(&str, &str); 5] = [
    ("http", "http://us.example.com/healthz"),
    ("https", "https://us.example.com/healthz"),
    ("tcp", "tcp://us.example.com:443"),
    ("dns", "dns://192.0.2.53/app.example.com"),
    ("icmp", "icmp://us.example.com"),
];

/// The port of DNS (RFC 1035 4.2).
const DNS_PORT: u16 = 53;

/// Reads all targets.
///
/// # Errors
/// One line for each target that is wrong.
pub(super) fn read(texts: &[String]) -> Result<Vec<(Path, ProbeConfig)>, String> {
    let mut errors = Vec::new();
    let mut paths = Vec::new();
    let mut names: BTreeMap<(Region, Kind, TargetName), u32> = BTreeMap::new();
    for text in texts {
        match target(text) {
            Ok((region, name, probe)) => {
                let kind = probe.kind();
                let count = names.entry((region.clone(), kind, name.clone())).or_default();
                *count += 1;
                // The same host twice is two targets: they differ in their paths.
                let target = if *count == 1 { Some(name) } else { TargetName::new(&format!("{name}-{count}")).ok() };
                match target {
                    Some(target) => paths.push((Path { peer: region, target, kind }, probe)),
                    None => errors.push(format!("--target {}: is a duplicate; delete it", quoted(text))),
                }
            }
            Err(reason) => errors.push(format!("--target {}: {reason}", quoted(text))),
        }
    }
    if errors.is_empty() { Ok(paths) } else { Err(errors.join("\n")) }
}

fn target(text: &str) -> Parsed<(Region, TargetName, ProbeConfig)> {
    let Some((region, url)) = text.split_once('=').filter(|(region, _)| !region.contains("://")) else {
        return Err(format!("has no region; {HINT}"));
    };
    let region = addresses::region(region.trim()).map_err(|reason| format!("has a bad region, which {reason}"))?;
    let (host, spec) = spec_of_url(url.trim())?;
    let name = addresses::derived_name(&host)?;
    let cadence = spec.kind().default_cadence();
    Ok((region, name, ProbeConfig::new(cadence, host, spec)))
}

/// The probe that a URL stands for, and the host that it goes to.
pub(crate) fn spec_of_url(url: &str) -> Parsed<(Host, ProbeSpec)> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("has no scheme; {HINT}"));
    };
    Ok(match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {
            let url = addresses::url(url)?;
            (url.host.clone(), HttpSpec::get(url).into())
        }
        scheme @ ("tcp" | "tls") => match addresses::host_port(without_slash(rest))? {
            (host, Some(port)) => {
                let tls = (scheme == "tls").then(TlsSpec::default);
                (host, TcpSpec { tls, ..TcpSpec::connect(port) }.into())
            }
            (host, None) => {
                return Err(format!("has no port; write it such as {scheme}://{}:443", host.bracketed()));
            }
        },
        "dns" => {
            let (server, name) = rest.split_once('/').unwrap_or((rest, ""));
            let (host, port) = addresses::host_port(server)?;
            let (query, record): (Arc<str>, _) = match name {
                "" => (".".into(), RecordType(2)),
                name => match addresses::host(name)? {
                    Host::Name(name) => (format!("{name}.").into(), RecordType(1)),
                    Host::Addr(_) | Host::Scoped(..) => {
                        return Err("asks for an address; write a name after the /".to_owned());
                    }
                },
            };
            (host, DnsSpec::question(port.unwrap_or(DNS_PORT), query, record).into())
        }
        "icmp" => (addresses::bracketed_host(without_slash(rest))?, IcmpSpec::default().into()),
        _ => {
            let known: Vec<_> = SCHEMES.iter().map(|(_, example)| *example).collect();
            return Err(format!("has an unknown scheme; write one such as {}", known.join(", ")));
        }
    })
}

fn without_slash(rest: &str) -> &str {
    rest.strip_suffix('/').unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<String, String> {
        let (path, probe) = read(&[text.to_owned()])?.remove(0);
        Ok(format!("{path} {}", probe.spec.destination(&probe.host)))
    }

    #[test]
    fn the_scheme_is_the_kind_of_probe() {
        for (text, expected) in [
            ("us=https://us.example.com/healthz", "us/us.example.com/http GET https://us.example.com/healthz"),
            ("us=HTTP://192.0.2.1:8080", "us/192.0.2.1/http GET http://192.0.2.1:8080/"),
            ("us-east-1=tcp://a.example:443", "us-east-1/a.example/tcp a.example, port 443"),
            ("us=tls://a.example:443/", "us/a.example/tcp a.example, port 443, tls"),
            ("us=icmp://[2001:db8::1]", "us/2001-db8--1/icmp 2001:db8::1, 56 bytes"),
        ] {
            assert_eq!(one(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(one("us=dns://192.0.2.53/app.example.com").unwrap().contains("app.example.com"));
        assert!(one("us=dns://192.0.2.53:5353").unwrap().contains("5353"));
        assert!(SCHEMES.iter().all(|(_, example)| one(&format!("us={example}")).is_ok()));
    }

    #[test]
    fn a_wrong_target_is_refused_with_what_to_write() {
        for (text, told) in [
            ("https://us.example.com/", "has no region; write REGION=URL, such as us=https://us.example.com/healthz"),
            ("us", "has no region; write"),
            ("us=us.example.com", "has no scheme; write"),
            ("u s=http://a", "has a bad region, which contains ' '"),
            ("us=ftp://a", "has an unknown scheme; write one such as http://us"),
            ("us=tcp://a.example", "has no port; write it such as tcp://a.example:443"),
            ("us=http://u:p@a/", "has a user or password in it"),
            ("us=dns://a/1.2.3.4", "asks for an address"),
            ("us=icmp://a:1", "has a port"),
        ] {
            let error = one(text).unwrap_err();
            assert!(error.starts_with("--target ") && error.contains(told), "{text}: {error}");
        }
        let both = read(&["us".to_owned(), "eu".to_owned(), "eu=http://a".to_owned()]).err().unwrap();
        assert_eq!(both.lines().count(), 2, "{both}");
    }

    #[test]
    fn two_paths_of_a_host_are_two_targets() {
        let texts = ["us=http://a/x", "us=http://a/y", "eu=http://a/x", "us=tcp://a:80"].map(str::to_owned);
        let names: Vec<_> = read(&texts).unwrap().iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(names, ["us/a/http", "us/a-2/http", "eu/a/http", "us/a/tcp"]);
    }
}
