//! How certificates are verified, and that what a peer has sent is kept, whatever becomes of the handshake.

use std::sync::Arc;

use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, DigitallySignedStruct, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::certificate::{Reader, common_name_is, dates, is_self_issued};
use crate::{
    model::{CertificateFault, FailureDetail},
    net::attempt::Shown,
};

/// Verifies as browsers do. It also accepts a certificate that is itself among the trusted ones, as OpenSSL does: what
/// `openssl req -x509` makes is its own authority.
#[derive(Debug)]
pub(super) struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    /// The certificates that the configuration names; none with the system's store.
    named: Vec<CertificateDer<'static>>,
}

impl Verifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        named: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self { webpki, named })
    }

    /// Judges a certificate that is trusted itself, by its dates and its name.
    fn verify_named(
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let valid = dates(std::slice::from_ref(certificate), None).ok_or(CertificateError::BadEncoding)?;
        if now > valid.not_after {
            return Err(CertificateError::Expired.into());
        }
        if now < valid.not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        let by_alternative_name =
            ParsedCertificate::try_from(certificate).and_then(|parsed| verify_server_name(&parsed, name));
        match by_alternative_name {
            Err(error) if !common_name_is(certificate, name) => Err(error),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut result = self.webpki.verify_server_cert(certificate, intermediates, name, ocsp, now);
        if result.is_err() && self.named.contains(certificate) {
            result = Self::verify_named(certificate, name, now);
        }
        result.map_err(|error| named(error, certificate))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Accepts whatever the peer shows, also what cannot be read or verified: version 1, RSA of 1,024 bits, SHA-1. That the peer
/// has the key of a certificate that anybody could have made would prove nothing, so its signature is not verified either.
#[derive(Debug)]
pub(super) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Every scheme that a certificate may need, the strong ones first.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::ECDSA_SHA1_Legacy,
            SignatureScheme::RSA_PKCS1_SHA1,
        ]
    }
}

/// Judges as another verifier does, and keeps what the peer shows in one handshake.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) reader: Arc<Reader>,
    pub(super) shown: Shown,
}

impl ServerCertVerifier for Keeping {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = [certificate].into_iter().chain(intermediates).map(|der| der.clone().into_owned());
        let (chain, reader): (Vec<_>, _) = (chain.collect(), Arc::clone(&self.reader));
        self.shown.set(move |session| reader.read(&chain, session));
        self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// What an error of TLS was about, if that helps.
pub(super) fn detail(error: &rustls::Error) -> Option<FailureDetail> {
    Some(match error {
        rustls::Error::InvalidCertificate(error) => FailureDetail::Certificate(fault(error)),
        rustls::Error::AlertReceived(alert) => FailureDetail::TlsAlert(alert_code(*alert)),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => FailureDetail::OldTls,
        rustls::Error::PeerIncompatible(_) => FailureDetail::NoCommonTls,
        rustls::Error::InvalidMessage(_) => FailureDetail::NotTls,
        _ => return None,
    })
}

/// The error of rustls for what it passes on as webpki has it.
fn named(error: rustls::Error, certificate: &[u8]) -> rustls::Error {
    use webpki::Error::{CaUsedAsEndEntity, EndEntityUsedAsCa, NameConstraintViolation, PathLenConstraintViolated};
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = &error else { return error };
    match inner.downcast_ref() {
        // `openssl req -x509` makes an authority. webpki rejects that before it asks whether it is a known one.
        Some(CaUsedAsEndEntity) if is_self_issued(certificate) => CertificateError::UnknownIssuer.into(),
        Some(CaUsedAsEndEntity | EndEntityUsedAsCa | NameConstraintViolation | PathLenConstraintViolated) => {
            CertificateError::InvalidPurpose.into()
        }
        _ => error,
    }
}

fn alert_code(alert: AlertDescription) -> u8 {
    alert.into()
}

fn fault(error: &CertificateError) -> CertificateFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => CertificateFault::NotYetValid,
        CertificateError::UnknownIssuer => CertificateFault::UnknownAuthority,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateFault::WrongName
        }
        CertificateError::BadSignature => CertificateFault::BadSignature,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            CertificateFault::WrongPurpose
        }
        CertificateError::Revoked => CertificateFault::Revoked,
        _ => CertificateFault::Unsupported,
    }
}
