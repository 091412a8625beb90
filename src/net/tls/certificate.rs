//! What is read of the peer's certificates, trusted or not.

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::{Decode, Encode, Reader, SliceReader, oid::ObjectIdentifier},
    time::Time,
};

use crate::model::CertificateDates;

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
    dates(&chain, None);
    common_name_is(der, &ServerName::try_from("a.example").expect("it is a name"));
}
