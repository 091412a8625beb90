//! Names, URLs and addresses that only settings have.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::types::{Anchor, Location};
use crate::{
    model::{Host, HttpUrl, Region},
    yaml::{
        addresses::{bracketed_host, host_port, url},
        units::{Parsed, decimal},
    },
};

/// A name with the rules of a region's.
fn name(text: &str, hint: &str) -> Parsed<Arc<str>> {
    let name = Region::new(text).map_err(|error| format!("{error}; write {hint}"))?;
    Ok(Arc::from(name.as_str()))
}

/// The name of a residency zone.
pub(super) fn zone(text: &str) -> Parsed<Arc<str>> {
    name(text, "a zone name such as eu")
}

/// The name of a failure domain.
pub(super) fn failure_domain(text: &str) -> Parsed<Arc<str>> {
    name(text, "a failure domain such as europe-power")
}

fn base_url(text: &str, example: &str) -> Parsed<HttpUrl> {
    let url = url(text)?;
    if url.path.as_str().contains('?') {
        return Err(format!("has a query; write the base URL such as {example}"));
    }
    Ok(url)
}

/// The base URL of an Alertmanager.
pub(super) fn alertmanager(text: &str) -> Parsed<HttpUrl> {
    const EXAMPLE: &str = "http://alertmanager:9093";
    let url = base_url(text, EXAMPLE)?;
    if ["/api/v2/alerts", "/api/v2"].iter().any(|api| url.path.as_str().ends_with(api)) {
        return Err(format!("is the API's URL; write the base URL such as {EXAMPLE}"));
    }
    Ok(url)
}

/// The URL at which users reach the pages of this instance.
pub(super) fn external_url(text: &str) -> Parsed<HttpUrl> {
    base_url(text, "https://regionwatch.eu-west-1.example.com")
}

/// `tcp://HOST:PORT`.
pub(super) fn anchor(text: &str) -> Parsed<Anchor> {
    const HINT: &str = "write an anchor such as tcp://192.0.2.1:443";
    let rest = text.strip_prefix("tcp://").ok_or_else(|| format!("is not an anchor; {HINT}"))?;
    match host_port(rest.strip_suffix('/').unwrap_or(rest))? {
        (host, Some(port)) => Ok(Anchor { host, port }),
        (_, None) => Err(format!("has no port; {HINT}")),
    }
}

/// Address and port to listen on; port 0 lets the system choose.
pub(super) fn listen(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| match text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        Some(port) if port.parse::<u16>().is_ok() => {
            format!("has no address; write 0.0.0.0:{port} for IPv4 or [::]:{port} for both families")
        }
        _ if text.parse::<IpAddr>().is_ok() => "has no port; write address and port, such as 0.0.0.0:9877".to_owned(),
        _ if text
            .rsplit_once(':')
            .is_some_and(|(host, _)| bracketed_host(host).is_ok_and(|h| matches!(h, Host::Addr(_)))) =>
        {
            "has a bad port; write 0 to 65535 after the colon".to_owned()
        }
        _ => "is not an address and port; write it such as 0.0.0.0:9877 or [::]:9877".to_owned(),
    })
}

/// `LATITUDE,LONGITUDE`.
pub(super) fn location(text: &str) -> Parsed<Location> {
    const HINT: &str = "write latitude and longitude such as 53.35,-6.26";
    let (latitude, longitude) = text.split_once(',').ok_or_else(|| format!("has no comma; {HINT}"))?;
    let degrees = |text: &str, most: f64| decimal(text.trim()).ok().filter(|degrees| degrees.abs() <= most);
    let latitude = degrees(latitude, 90.0).ok_or_else(|| format!("has no latitude from -90 to 90; {HINT}"))?;
    let longitude = degrees(longitude, 180.0).ok_or_else(|| format!("has no longitude from -180 to 180; {HINT}"))?;
    Ok(Location { latitude, longitude })
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", self.host.bracketed(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_has_a_port() {
        assert_eq!(anchor("tcp://[2001:db8::1]:443").map(|a| a.to_string()).as_deref(), Ok("tcp://[2001:db8::1]:443"));
        for text in ["192.0.2.1:443", "tcp://192.0.2.1", "tcp://:443", "udp://192.0.2.1:53", "tcp://::1:443"] {
            assert!(anchor(text).is_err(), "{text}");
        }
    }
}
