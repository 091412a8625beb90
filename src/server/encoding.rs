//! Content negotiation: which content coding a client accepts.

use http::{HeaderMap, header::ACCEPT_ENCODING};

/// Whether the client accepts gzip (RFC 9110, 12.5.3) and does not prefer `identity`.
pub(super) fn wants_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let Some(weight) = parts.next().map_or(Some(1000), weight) else { continue };
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            gzip = Some(weight);
        } else if coding.eq_ignore_ascii_case("identity") {
            identity = Some(weight);
        } else if coding == "*" {
            any = Some(weight);
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// `q=0.5` in thousandths; `None` if it is not a weight (at most 1, at most three decimals).
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim_end().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim_start();
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, value.parse().unwrap());
        }
        wants_gzip(&headers)
    }

    #[test]
    fn gzip_is_used_if_the_client_accepts_it() {
        for accepted in
            ["gzip", "GZIP", "x-gzip", "*", "deflate, gzip;q=0.5", "gzip ; q=1.000", "identity;q=0, *;q=0.1"]
        {
            assert!(wants(&[accepted]), "{accepted}");
        }
        assert!(wants(&["br", "gzip"]), "two header lines");
    }

    #[test]
    fn gzip_is_not_used_otherwise() {
        for refused in [
            "",
            "identity",
            "br, zstd",
            "gzip;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "*, gzip;q=0",
            "identity, gzip;q=0.5",
            "gzip;q=2",
            "gzip;q=0.0001",
            "gzip;q=-1",
            "gzip;q",
            "gzipped",
        ] {
            assert!(!wants(&[refused]), "{refused}");
        }
        assert!(!wants(&[]));
    }
}
