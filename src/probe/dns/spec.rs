//! What one DNS question asks and expects, and how that is written in configuration files.

use std::sync::Arc;

use super::data;
use crate::{
    model::UrlPath,
    net::TlsSpec,
    probe::{
        pattern::{self, Pattern},
        tls,
    },
    yaml::{Fields, Parsed, ReadContext, addresses, secrets::unexpanded, units::choice, writer::Writer},
};

/// One DNS question to one server.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsSpec {
    /// The server's port; by default 53, 853 (tls), 443 (https).
    pub port: u16,
    /// How the question is sent.
    pub transport: DnsTransport,
    /// The name that is asked for, absolute.
    pub query: Arc<str>,
    /// The record type that is asked for.
    pub record: RecordType,
    /// Ask the server to recurse.
    pub recursion: bool,
    /// The rcodes that count as success; by default `NOERROR`.
    pub rcodes: Vec<Rcode>,
    /// Answers that must all be there.
    pub answers: Vec<Answer>,
    /// What at least one answer must match, as dig prints it.
    pub some_answer: Option<Pattern>,
    /// What every answer must match, of which there must be one.
    pub every_answer: Option<Pattern>,
    /// What no answer may match.
    pub no_answer: Option<Pattern>,
    /// Ask again over TCP where the UDP answer was truncated.
    pub retry_over_tcp: bool,
    /// Ask with EDNS, and without it from the server's first sign that it does not know it.
    pub edns: bool,
}

/// A DNS record type, by its number (IANA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType(pub u16);

/// A DNS response code, by its number (RFC 1035 4.1.1; 0 to 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcode(pub u8);

/// How a DNS question is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum DnsTransport {
    /// A datagram (RFC 1035).
    Udp,
    /// A connection (RFC 7766).
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls(TlsSpec),
    /// DNS over HTTPS (RFC 8484), by POST to this path.
    Https {
        /// TLS settings.
        tls: TlsSpec,
        /// The path, by default `/dns-query`.
        path: UrlPath,
    },
}

/// An answer that is expected. Two are equal if their texts are.
#[derive(Debug, Clone)]
pub struct Answer {
    text: Arc<str>,
    /// Its data; none for the type ANY, whose answers are of any type.
    data: Option<Vec<u8>>,
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Answer {
    /// An answer to a question for records of this type, as dig prints it.
    ///
    /// # Errors
    /// That it is none, and what to write.
    pub fn parse(text: &str, record: RecordType) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty; write an answer as dig prints it".to_owned());
        }
        let data = if record.is_any() {
            None
        } else {
            let hint = record.example();
            let article =
                if matches!(record.name().as_bytes(), [b'A' | b'H' | b'M' | b'N' | b'S', ..]) { "an" } else { "a" };
            let wrong = || format!("is not the answer to {article} {} question; write {hint}", record.name());
            Some(data::parse(record.0, text).ok_or_else(wrong)?)
        };
        Ok(Self { text: text.into(), data })
    }

    /// Whether it is this record.
    pub(super) fn is(&self, record: RecordType, data: &[u8]) -> bool {
        match &self.data {
            Some(expected) => expected == data,
            None => data::present(record.0, data).eq_ignore_ascii_case(&self.text),
        }
    }
}

/// The protocol that carries a question.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Protocol {
    Udp,
    Tcp,
    Tls,
    Https,
}

impl Protocol {
    const NAMES: [(&str, Self); 4] =
        [("udp", Self::Udp), ("tcp", Self::Tcp), ("tls", Self::Tls), ("https", Self::Https)];

    pub(super) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, protocol)| *protocol == self).map_or("", |(name, _)| name)
    }

    /// The port that it usually has.
    const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 53,
            Self::Tls => 853,
            Self::Https => 443,
        }
    }
}

impl DnsTransport {
    pub(super) const fn protocol(&self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
            Self::Tls(_) => Protocol::Tls,
            Self::Https { .. } => Protocol::Https,
        }
    }

    pub(super) const fn tls(&self) -> Option<&TlsSpec> {
        match self {
            Self::Udp | Self::Tcp => None,
            Self::Tls(tls) | Self::Https { tls, .. } => Some(tls),
        }
    }
}

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
pub(super) const KEYS: &[&str] =
    &["port", "transport", "query", "record", "recursion", "expect", "retry_over_tcp", "edns", "path", "tls"];

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
        return Err("is not a valid value; write NOERROR".to_owned());
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

    /// Whether it asks for records of any type (RFC 8482).
    pub(super) const fn is_any(self) -> bool {
        self.0 == 255
    }

    /// What to write for an answer.
    const fn example(self) -> &'static str {
        match self.0 {
            1 => "an IPv4 address such as 192.0.2.1",
            28 => "an IPv6 address such as 2001:db8::1",
            2 | 5 | 12 => "a name such as ns1.example.com",
            6 => "it as dig prints it, such as ns1.example.com. admin.example.com. 1 3600 600 86400 60",
            15 => "it as dig prints it, such as 10 mx.example.com",
            16 => "the text, such as v=spf1 -all",
            33 => "it as dig prints it, such as 10 5 443 app.example.com",
            35 => "it as dig prints it, such as 10 5 \"s\" \"SIP+D2U\" \"\" sip.example.com",
            43 => "it as dig prints it, such as 257 13 2 and hexadecimal digits",
            48 => "it as dig prints it, such as 257 3 13 and the key in Base64",
            52 => "it as dig prints it, such as 3 1 1 and hexadecimal digits",
            64 | 65 => "it as dig prints it, such as 1 . alpn=\"h2\"",
            257 => "it as dig prints it, such as 0 issue \"ca.example.com\"",
            _ => "it as RFC 3597 has it, such as \\# 4 c0000201",
        }
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

impl DnsSpec {
    /// Whether it expects anything that only records can be.
    pub(super) const fn expects_records(&self) -> bool {
        !self.answers.is_empty() || self.some_answer.is_some() || self.every_answer.is_some()
    }

    /// Whether an answer is compared with anything but the rcode.
    pub(super) const fn compares(&self) -> bool {
        self.expects_records() || self.no_answer.is_some()
    }

    /// A question to a server, recursive and over UDP, to which any answer without an error is right. The name must be
    /// absolute.
    pub fn question(port: u16, query: Arc<str>, record: RecordType) -> Self {
        Self {
            port,
            transport: DnsTransport::Udp,
            query,
            record,
            recursion: true,
            rcodes: vec![Rcode(0)],
            answers: Vec::new(),
            some_answer: None,
            every_answer: None,
            no_answer: None,
            retry_over_tcp: false,
            edns: true,
        }
    }
}

/// Reads the keys.
pub(super) fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<DnsSpec> {
    let protocol = fields.get("transport").map_or(Some(Protocol::Udp), |item| item.choice(&Protocol::NAMES));
    let only = |key: &str, allowed: &[Protocol], names: &str| {
        if let (Some(item), Some(protocol)) = (fields.get(key), protocol)
            && !allowed.contains(&protocol)
        {
            item.wrong(format!("belongs to {names} only; delete it or write transport: {names}"));
        }
    };
    only("tls", &[Protocol::Tls, Protocol::Https], "tls or https");
    only("path", &[Protocol::Https], "https");
    only("retry_over_tcp", &[Protocol::Udp], "udp");

    let protocol = protocol.unwrap_or(Protocol::Udp);
    let tls = fields.read("tls", |item| tls::read(item, context.secrets)).unwrap_or_default();
    let path = fields.read("path", |item| item.read_raw(|text| addresses::path_of_variables(text, context.secrets)));
    let path = path.unwrap_or_else(|| "/dns-query".into());
    let record = fields.get("record").map_or(Some(RecordType(1)), |item| item.read(record));
    let mut rcodes = vec![Rcode(0)];
    let mut answers = Vec::new();
    let mut patterns = [None, None, None];
    if let Some(expect) =
        fields.read("expect", |item| item.fields(&["rcode", "answers", "some_answer", "every_answer", "no_answer"]))
    {
        if let Some(item) = expect.get("rcode") {
            rcodes = item.each(|item| item.read(rcode)).unwrap_or_default();
            if item.list_is_empty() {
                item.wrong("is an empty list; write at least one such as [NOERROR]");
            }
        }
        if let (Some(item), Some(record)) = (expect.get("answers"), record) {
            answers = item.each(|item| item.read(|text| Answer::parse(text, record))).unwrap_or_default();
        }
        patterns =
            ["some_answer", "every_answer", "no_answer"].map(|key| expect.read(key, |item| item.read(pattern::parse)));
    }
    let [some_answer, every_answer, no_answer] = patterns;
    let query = fields.required("query", "write the name to ask for, such as app.example.com");
    Some(DnsSpec {
        port: fields.read("port", |item| item.port()).unwrap_or_else(|| protocol.default_port()),
        transport: match protocol {
            Protocol::Udp => DnsTransport::Udp,
            Protocol::Tcp => DnsTransport::Tcp,
            Protocol::Tls => DnsTransport::Tls(tls),
            Protocol::Https => DnsTransport::Https { tls, path },
        },
        query: query?.read(self::query)?,
        record: record?,
        recursion: fields.read("recursion", |item| item.flag()).unwrap_or(true),
        rcodes,
        answers,
        some_answer,
        every_answer,
        no_answer,
        retry_over_tcp: fields.read("retry_over_tcp", |item| item.flag()).unwrap_or(false),
        edns: fields.read("edns", |item| item.flag()).unwrap_or(true),
    })
}

/// Writes the keys.
pub(super) fn write(page: &mut Writer, spec: &DnsSpec) {
    page.raw("port", spec.port);
    page.raw("transport", spec.transport.protocol().name());
    page.text("query", &spec.query);
    page.raw("record", spec.record.name());
    page.raw("recursion", spec.recursion);
    page.mapping("expect", |page| {
        let names: Vec<_> = spec.rcodes.iter().map(|rcode| rcode.name()).collect();
        page.list("rcode", &names);
        let answers: Vec<_> = spec.answers.iter().map(|answer| &answer.text).collect();
        page.list("answers", &answers);
        for (key, pattern) in
            [("some_answer", &spec.some_answer), ("every_answer", &spec.every_answer), ("no_answer", &spec.no_answer)]
        {
            page.option(key, pattern.as_ref().map(|pattern| pattern.source()));
        }
    });
    if spec.transport == DnsTransport::Udp {
        page.raw("retry_over_tcp", spec.retry_over_tcp);
    }
    page.raw("edns", spec.edns);
    if let DnsTransport::Https { path, .. } = &spec.transport {
        page.text("path", unexpanded(&path.to_string()));
    }
    if let Some(settings) = spec.transport.tls() {
        tls::write(page, settings);
    }
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
