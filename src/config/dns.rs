//! The words of DNS: record types, response codes, names to ask for; and the DNS probe.

use std::{net::IpAddr, sync::Arc};

use super::{
    tls,
    types::{DnsSpec, DnsTransport, Rcode, RecordType},
};
use crate::yaml::{Fields, Parsed, ReadContext, units::choice};

/// Record types that have a name here (IANA); any other is written as `TYPE123` (RFC 3597).
const RECORDS: [(&str, u16); 17] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DS", 43),
    ("DNSKEY", 48),
    ("TLSA", 52),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("ANY", 255),
    ("CAA", 257),
];

/// Response codes (RFC 1035, 2136); the number is the place.
const RCODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
];

/// The keys of a DNS probe.
pub(super) const KEYS: [&str; 9] =
    ["port", "transport", "query", "record", "recursion", "expect", "retry_over_tcp", "path", "tls"];

fn record(text: &str) -> Parsed<RecordType> {
    if let Some(number) = text.strip_prefix("TYPE").and_then(|digits| digits.parse().ok()) {
        return Ok(RecordType(number));
    }
    choice(text, &RECORDS).map(RecordType)
}

fn rcode(text: &str) -> Parsed<Rcode> {
    if let Ok(number @ 0..=15) = text.parse() {
        return Ok(Rcode(number));
    }
    if text.eq_ignore_ascii_case("ok") {
        return Err("is not known here; write NOERROR".to_owned());
    }
    let codes: Vec<_> = (0..).zip(RCODES).map(|(number, name)| (name, Rcode(number))).collect();
    choice(text, &codes)
}

impl RecordType {
    /// The name of the type: `A`, `SOA`, or `TYPE123` where it has none here.
    pub fn name(self) -> String {
        let found = RECORDS.iter().find(|(_, number)| *number == self.0);
        found.map_or_else(|| format!("TYPE{}", self.0), |(name, _)| (*name).to_owned())
    }
}

impl Rcode {
    /// The name of the code: `NOERROR`, `REFUSED`, or its number where it has none.
    pub fn name(self) -> String {
        RCODES.get(usize::from(self.0)).map_or_else(|| self.0.to_string(), |name| (*name).to_owned())
    }
}

/// A name to ask for, made absolute.
fn query(text: &str) -> Parsed<Arc<str>> {
    const HINT: &str = "write a name such as app.example.com, or . for the root";
    let name = text.strip_suffix('.').unwrap_or(text);
    if text == "." {
        return Ok(Arc::from("."));
    }
    if !name.is_ascii() {
        return Err("has letters outside ASCII; write the name in its xn-- form".to_owned());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*' | b'/'))
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(format!("is not a DNS name; {HINT}"));
    }
    Ok(Arc::from(format!("{name}.")))
}

fn answer(text: &str, record: RecordType) -> Parsed<Arc<str>> {
    let parsed = match (record.0, text.parse::<IpAddr>()) {
        (1, Ok(IpAddr::V4(addr))) => addr.to_string(),
        (1, _) => return Err("is not the answer to an A question; write an IPv4 address such as 192.0.2.1".to_owned()),
        (28, Ok(IpAddr::V6(addr))) => addr.to_string(),
        (28, _) => {
            return Err("is not the answer to an AAAA question; write an IPv6 address such as 2001:db8::1".to_owned());
        }
        _ if text.is_empty() => return Err("is empty; write an answer as dig prints it".to_owned()),
        _ => text.to_owned(),
    };
    Ok(Arc::from(parsed))
}

/// How a question travels, before its TLS settings are known.
#[derive(Clone, Copy, PartialEq)]
enum Travel {
    Udp,
    Tcp,
    Tls,
    Https,
}

/// Reads the keys of a DNS probe.
pub(super) fn probe(fields: &Fields<'_>, reading: &ReadContext<'_>) -> Option<DnsSpec> {
    let travels = [("udp", Travel::Udp), ("tcp", Travel::Tcp), ("tls", Travel::Tls), ("https", Travel::Https)];
    let travel = fields.get("transport").map_or(Some(Travel::Udp), |item| item.choice(&travels));
    let only = |key: &str, allowed: &[Travel], names: &str| {
        if let (Some(item), Some(travel)) = (fields.get(key), travel)
            && !allowed.contains(&travel)
        {
            item.wrong(format!("belongs to {names} only; delete it or write transport: {names}"));
        }
    };
    only("tls", &[Travel::Tls, Travel::Https], "tls or https");
    only("path", &[Travel::Https], "https");
    only("retry_over_tcp", &[Travel::Udp], "udp");

    let tls = fields.read("tls", |item| tls::read(item, reading)).unwrap_or_default();
    let path = fields.read("path", |item| item.read(path)).unwrap_or_else(|| Arc::from("/dns-query"));
    let (transport, usual_port) = match travel.unwrap_or(Travel::Udp) {
        Travel::Udp => (DnsTransport::Udp, 53),
        Travel::Tcp => (DnsTransport::Tcp, 53),
        Travel::Tls => (DnsTransport::Tls(tls), 853),
        Travel::Https => (DnsTransport::Https { tls, path }, 443),
    };
    let record = fields.get("record").map_or(Some(RecordType(1)), |item| item.read(record));
    let mut rcodes = vec![Rcode(0)];
    let mut answers = Vec::new();
    if let Some(expect) = fields.read("expect", |item| item.fields(&["rcode", "answers"])) {
        if let Some(item) = expect.get("rcode") {
            rcodes = item.each(|item| item.read(rcode)).unwrap_or_default();
            if item.list_is_empty() {
                item.wrong("is an empty list; write at least one such as [NOERROR]");
            }
        }
        if let (Some(item), Some(record)) = (expect.get("answers"), record) {
            answers = item.each(|item| item.read(|text| answer(text, record))).unwrap_or_default();
        }
    }
    let query = fields.required("query", "write the name to ask for, such as app.example.com");
    Some(DnsSpec {
        port: fields.read("port", |item| item.port()).unwrap_or(usual_port),
        transport,
        query: query?.read(self::query)?,
        record: record?,
        recursion: fields.read("recursion", |item| item.flag()).unwrap_or(true),
        rcodes,
        answers,
        retry_over_tcp: fields.read("retry_over_tcp", |item| item.flag()).unwrap_or(false),
    })
}

fn path(text: &str) -> Parsed<Arc<str>> {
    text.parse::<http::uri::PathAndQuery>()
        .ok()
        .filter(|path| text.starts_with('/') && path.as_str() == text)
        .map(|path| Arc::from(path.as_str()))
        .ok_or_else(|| "is not a path; write it such as /dns-query".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_types_and_rcodes_have_names() {
        for (name, _) in RECORDS {
            assert_eq!(record(name).map(RecordType::name).as_deref(), Ok(name));
        }
        assert_eq!(record("TYPE999").map(RecordType::name).as_deref(), Ok("TYPE999"));
        assert!(record("a").is_err() && record("TYPE70000").is_err());
        for number in 0..16 {
            assert_eq!(rcode(&Rcode(number).name()), Ok(Rcode(number)));
        }
        assert!(rcode("16").is_err() && rcode("NOPE").is_err());
    }

    #[test]
    fn a_question_is_absolute() {
        assert_eq!(query("_sip._tcp.example.com").as_deref(), Ok("_sip._tcp.example.com."));
        assert_eq!(query(".").as_deref(), Ok("."));
        for text in ["", "..", "a..b", "a b", "é"] {
            assert!(query(text).is_err(), "{text}");
        }
    }
}
