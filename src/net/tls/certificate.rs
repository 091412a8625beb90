//! What is read of the peer's certificates, trusted or not.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use data_encoding::HEXLOWER;
use ring::digest;
use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::{Decode, Encode, Reader as _, SliceReader, oid::ObjectIdentifier},
    time::Time,
};

use crate::{
    model::{CertificateDates, TlsFacts},
    net::attempt::{Certificates, Session},
};

/// The most certificates of a chain that are looked at: browsers give up earlier.
const MAX_CHAIN: usize = 16;

/// `commonName` (RFC 4519 2.3).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// `subjectAltName` (RFC 5280 4.2.1.6).
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// A certificate of any version, with a serial number of any length: appliances have both.
type Certificate = CertificateInner<Raw>;

fn decode(der: &[u8]) -> Option<Certificate> {
    let mut reader = SliceReader::new(der).ok()?;
    let certificate = Certificate::decode(&mut reader).ok()?;
    reader.is_finished().then_some(certificate)
}

fn seconds(time: Time) -> Option<i64> {
    i64::try_from(time.to_unix_duration().as_secs()).ok()
}

/// When the certificates are valid that a peer has sent, its own first. Of the others, those count that lead from its own to
/// one of the trusted authorities, if there are any: servers send others too, and authorities that have long been replaced.
pub(super) fn dates(chain: &[CertificateDer<'_>], trusted: Option<&RootCertStore>) -> Option<CertificateDates> {
    let (leaf, rest) = chain.split_first()?;
    let leaf = decode(leaf)?;
    let mut rest: Vec<_> = rest.iter().take(MAX_CHAIN).filter_map(|der| decode(der)).collect();
    let mut issuers_not_after = None;
    let mut issuer = leaf.tbs_certificate.issuer.clone();
    while !trusted.is_some_and(|trusted| is_anchor(trusted, &issuer)) {
        let expiry = |certificate: &Certificate| seconds(certificate.tbs_certificate.validity.not_after);
        let candidates = rest.iter().enumerate().filter(|(_, other)| other.tbs_certificate.subject == issuer);
        let Some((place, _)) = candidates.max_by_key(|(_, other)| expiry(other)) else { break };
        let next = rest.swap_remove(place);
        issuers_not_after = [issuers_not_after, expiry(&next)].into_iter().flatten().min();
        issuer = next.tbs_certificate.issuer;
    }
    let validity = leaf.tbs_certificate.validity;
    Some(CertificateDates {
        not_before: seconds(validity.not_before)?,
        not_after: seconds(validity.not_after)?,
        issuers_not_after,
    })
}

/// The longest name of a certificate that is kept, in bytes.
const MAX_DN: usize = 256;

/// The short names of attributes (RFC 4514 3, and what OpenSSL calls those of certificates).
const ATTRIBUTES: [(&str, ObjectIdentifier); 10] = [
    ("CN", COMMON_NAME),
    ("O", ObjectIdentifier::new_unwrap("2.5.4.10")),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
    ("C", ObjectIdentifier::new_unwrap("2.5.4.6")),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("ST", ObjectIdentifier::new_unwrap("2.5.4.8")),
    ("STREET", ObjectIdentifier::new_unwrap("2.5.4.9")),
    ("DC", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25")),
    ("UID", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1")),
    ("emailAddress", ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1")),
];

/// A distinguished name as in RFC 4514, as far as its first bytes: the last attribute comes first, and special characters
/// have a backslash. What is no text becomes U+FFFD.
fn distinguished_name(name: &x509_cert::name::Name) -> Box<str> {
    let mut text = String::new();
    'name: for (place, part) in name.0.iter().rev().enumerate() {
        for (n, attribute) in part.0.iter().enumerate() {
            let separator = if place == 0 && n == 0 {
                ""
            } else if n > 0 {
                "+"
            } else {
                ","
            };
            text.push_str(separator);
            match ATTRIBUTES.iter().find(|(_, oid)| *oid == attribute.oid) {
                Some((short, _)) => text.push_str(short),
                // Writing to a String cannot fail.
                None => drop(write!(text, "{}", attribute.oid)),
            }
            text.push('=');
            let value = String::from_utf8_lossy(attribute.value.value());
            for (at, c) in value.char_indices() {
                match c {
                    ' ' if at == 0 || at + 1 == value.len() => text.push_str("\\ "),
                    '#' if at == 0 => text.push_str("\\#"),
                    ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', c]),
                    c if c.is_control() => text.push(char::REPLACEMENT_CHARACTER),
                    c => text.push(c),
                }
                if text.len() > MAX_DN {
                    break 'name;
                }
            }
        }
    }
    while text.len() > MAX_DN {
        text.pop();
    }
    text.into()
}

/// Reads the certificates that the peers of one connector show. Those that it has read last are not read again.
#[derive(Debug)]
pub(super) struct Reader {
    /// The authorities that are trusted; none where anybody is.
    roots: Option<Arc<RootCertStore>>,
    last: Mutex<Option<([u8; 32], Session, Certificates)>>,
}

impl Reader {
    pub(super) fn new(roots: Option<Arc<RootCertStore>>) -> Self {
        Self { roots, last: Mutex::default() }
    }

    /// What a chain says that was shown in a session.
    pub(super) fn read(&self, chain: &[CertificateDer<'_>], session: Session) -> Option<Certificates> {
        let mut context = digest::Context::new(&digest::SHA256);
        for certificate in chain {
            context.update(&(certificate.len() as u64).to_be_bytes());
            context.update(certificate);
        }
        let hash: [u8; 32] = context.finish().as_ref().try_into().ok()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, under, known)) = &*last
            && *of == hash
            && *under == session
        {
            return Some(known.clone());
        }
        let dates = dates(chain, self.roots.as_deref())?;
        let read = Certificates { dates, facts: Arc::new(facts(chain.first()?, session)?) };
        *last = Some((hash, session, read.clone()));
        Some(read)
    }
}

fn facts(leaf: &CertificateDer<'_>, Session { version, cipher }: Session) -> Option<TlsFacts> {
    let certificate = decode(leaf)?.tbs_certificate;
    Some(TlsFacts {
        version,
        cipher,
        issuer: distinguished_name(&certificate.issuer),
        subject: distinguished_name(&certificate.subject),
        fingerprint: HEXLOWER.encode(digest::digest(&digest::SHA256, leaf).as_ref()).into(),
    })
}

/// Whether this is the name of a trusted authority, whose name is kept without the bytes of type and length.
fn is_anchor(trusted: &RootCertStore, name: &x509_cert::name::Name) -> bool {
    let Ok(der) = name.to_der() else { return false };
    trusted.roots.iter().any(|anchor| {
        let header = der.len().saturating_sub(anchor.subject.len());
        (2..=5).contains(&header) && der.ends_with(&anchor.subject)
    })
}

/// Whether it names itself as its issuer.
pub(super) fn is_self_issued(der: &[u8]) -> bool {
    decode(der).is_some_and(|certificate| certificate.tbs_certificate.subject == certificate.tbs_certificate.issuer)
}

/// Whether the common name is this name. It counts only if there are no alternative names (RFC 6125 6.4.4).
pub(super) fn common_name_is(der: &[u8], name: &ServerName<'_>) -> bool {
    let Some(certificate) = decode(der) else { return false };
    let extensions = certificate.tbs_certificate.extensions.unwrap_or_default();
    let common_names = certificate.tbs_certificate.subject.0;
    let mut common_names =
        common_names.iter().flat_map(|names| names.0.iter()).filter(|attribute| attribute.oid == COMMON_NAME);
    let name = name.to_str();
    !extensions.iter().any(|extension| extension.extn_id == SUBJECT_ALT_NAME)
        && common_names.any(|attribute| attribute.value.value().eq_ignore_ascii_case(name.as_bytes()))
}

/// What the fuzz target calls.
pub fn fuzz_expiry(der: &[u8]) {
    let chain = [CertificateDer::from(der), CertificateDer::from(der)];
    if let Some(Certificates { facts, .. }) = Reader::new(None).read(&chain, Session::default()) {
        for text in [&facts.issuer, &facts.subject] {
            assert!(text.len() <= MAX_DN && !text.contains(char::is_control));
        }
    }
    common_name_is(der, &ServerName::try_from("a.example").expect("it is a name"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reader: &Reader, attributes: &[(rcgen::DnType, &str)], session: Session) -> Certificates {
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        attributes.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        reader.read(&[certificate.der().clone()], session).unwrap()
    }

    #[test]
    fn a_name_is_short_and_on_one_line_whatever_a_peer_puts_there() {
        use rcgen::DnType;
        let subject = |attributes: &[(DnType, &str)]| {
            shown(&Reader::new(None), attributes, Session::default()).facts.subject.to_string()
        };
        let usual =
            [(DnType::CountryName, "IE"), (DnType::OrganizationName, "A, B"), (DnType::CommonName, "a.example")];
        assert_eq!(subject(&usual), "CN=a.example,O=A\\, B,C=IE");
        assert_eq!(subject(&[(DnType::CommonName, "a\n\0\"b\u{202e}")]), "CN=a\u{fffd}\u{fffd}\\\"b\u{202e}");
        let odd = [(DnType::CustomDnType(vec![1, 2, 3, 4, 5]), "x")];
        assert_eq!(subject(&odd), "1.2.3.4.5=x");
        let long = subject(&[(DnType::CommonName, &"\u{e9}\\".repeat(5000))]);
        assert!((MAX_DN - 3..=MAX_DN).contains(&long.len()), "{}", long.len());
    }

    #[test]
    fn a_certificate_is_read_once_for_each_session_of_another_kind() {
        let reader = Reader::new(None);
        let chain = [rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.der().clone()];
        let newer = Session { version: Some("TLS 1.3"), cipher: None };
        let [first, same, other] =
            [Session::default(), Session::default(), newer].map(|session| reader.read(&chain, session).unwrap().facts);
        assert!(Arc::ptr_eq(&first, &same) && !Arc::ptr_eq(&first, &other));
        assert_eq!((first.version, other.version), (None, Some("TLS 1.3")));
        assert!(reader.read(&[CertificateDer::from(vec![0; 9])], newer).is_none());
    }
}
