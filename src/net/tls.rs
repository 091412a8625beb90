//! TLS handshakes by rustls with ring, and what is read of the peer's certificates.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            Resumption,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    },
};
use x509_cert::{
    der::{Decode, Reader, SliceReader},
    time::Time,
};

use super::{errors, stream::Stream};
use crate::model::{Failure, Host, Validity};

/// How a TLS handshake is made and judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSpec {
    /// The name that is sent and verified, where it is not the target's.
    pub server_name: Option<Arc<str>>,
    /// PEM file of the authorities to trust, instead of those of the system.
    pub ca_file: Option<PemFile>,
    /// PEM files of our certificate chain and key, for mutual TLS.
    pub identity: Option<(PemFile, PemFile)>,
    /// Do not verify the peer's certificate.
    pub insecure_skip_verify: bool,
}

impl TlsSpec {
    /// Whether the peer is verified by the authorities of the system.
    pub const fn trusts_the_system(&self) -> bool {
        self.ca_file.is_none() && !self.insecure_skip_verify
    }

    /// Whether it depends on files, which may change while the configuration does not.
    pub const fn reads_files(&self) -> bool {
        self.ca_file.is_some() || self.identity.is_some()
    }
}

/// A PEM file with what it held when the configuration was read, because a file system may not answer later. Two are the same
/// if their paths are: a certificate may be renewed behind the same name.
#[derive(Clone)]
pub struct PemFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content, which may be a private key, and is never debugged.
    pub content: Arc<[u8]>,
}

impl PartialEq for PemFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for PemFile {}

impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.path)
    }
}

/// A TLS setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds no PEM of the kind.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The name to verify is neither a DNS name nor an address.
    #[error("{0:?} is not a name that a certificate can have")]
    ServerName(String),
    /// rustls refuses the combination.
    #[error("{0}")]
    Config(#[from] rustls::Error),
}

/// What all TLS probes share: the cryptography and the authorities that are trusted by default.
#[derive(Debug)]
pub struct TlsContext {
    provider: Arc<CryptoProvider>,
    public_roots: OnceLock<Arc<RootCertStore>>,
}

impl Default for TlsContext {
    fn default() -> Self {
        Self { provider: Arc::new(ring::default_provider()), public_roots: OnceLock::new() }
    }
}

impl TlsContext {
    /// Reads the system's trust store, unless it was read before. It may be on a file system that does not answer.
    pub fn read_public_roots(&self) {
        self.public_roots();
    }

    /// The system's trust store, or Mozilla's authorities if it has none. Read when first needed, because most of it
    /// stays in memory.
    fn public_roots(&self) -> Arc<RootCertStore> {
        let read = || Arc::new(roots_or_mozilla(rustls_native_certs::load_native_certs().certs));
        Arc::clone(self.public_roots.get_or_init(read))
    }

    /// A connector for one target. `alpn` is offered in this order.
    ///
    /// # Errors
    /// A file without PEM of the kind, a name that cannot be verified.
    pub fn connector(&self, spec: &TlsSpec, host: &Host, alpn: &[&[u8]]) -> Result<Connector, TlsError> {
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        let builder = if spec.insecure_skip_verify {
            let verifier = AnyCertificate(Arc::clone(&self.provider));
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            let roots = match &spec.ca_file {
                Some(file) => Arc::new(roots_from(file)?),
                None => self.public_roots(),
            };
            builder.with_root_certificates(roots)
        };
        let mut config = match &spec.identity {
            Some((chain, key)) => builder.with_client_auth_cert(certificates(chain)?, private_key(key)?)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Each probe measures a whole handshake.
        config.resumption = Resumption::disabled();
        let name = server_name(spec, host)?;
        Ok(Connector { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

/// Trusts these authorities alone, so that an administrator can remove one from the system's store. A container may have no
/// store; it trusts the authorities that are compiled in.
fn roots_or_mozilla(system: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn server_name(spec: &TlsSpec, host: &Host) -> Result<ServerName<'static>, TlsError> {
    let name = spec.server_name.as_ref().map_or_else(|| host.to_string(), ToString::to_string);
    ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name))
}

fn file_error(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

fn certificates(PemFile { path, content }: &PemFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let certificates = certificates.map_err(|error| file_error(path, error))?;
    if certificates.is_empty() {
        return Err(file_error(path, "holds no certificate in PEM"));
    }
    Ok(certificates)
}

fn private_key(PemFile { path, content }: &PemFile) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(content).map_err(|error| file_error(path, error))
}

fn roots_from(file: &PemFile) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| file_error(&file.path, error))?;
    }
    Ok(roots)
}

/// A connection with TLS.
pub(super) type TlsStream = tokio_rustls::client::TlsStream<Stream>;

/// Shakes hands with one target, whose name it verifies.
#[derive(Clone)]
pub struct Connector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Connector {
    /// Shakes hands on a stream.
    ///
    /// # Errors
    /// The failure as it is counted.
    pub(super) async fn handshake(&self, stream: Stream) -> Result<TlsStream, Failure> {
        self.connector.connect(self.name.clone(), stream).await.map_err(|error| failure(&error))
    }
}

/// What an error on a TLS connection is counted as.
pub(crate) fn failure(error: &io::Error) -> Failure {
    match error.get_ref() {
        Some(inner) if inner.is::<rustls::Error>() => Failure::Tls,
        // The peer hung up in the middle of the handshake, without an alert.
        _ if error.kind() == io::ErrorKind::UnexpectedEof => Failure::Tls,
        _ => errors::failure(error),
    }
}

/// When the certificate of the peer's chain that expires first is valid.
pub(super) fn validity(stream: &TlsStream) -> Option<Validity> {
    let chain = stream.get_ref().1.peer_certificates()?;
    chain.iter().filter_map(|certificate| validity_of(certificate)).min_by_key(|validity| validity.not_after)
}

/// `validity` of a certificate (RFC 5280 4.1.2.5).
fn validity_of(der: &[u8]) -> Option<Validity> {
    let mut reader = SliceReader::new(der).ok()?;
    let certificate = x509_cert::Certificate::decode(&mut reader).ok()?;
    if !reader.is_finished() {
        return None;
    }
    let seconds = |time: Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
    let validity = certificate.tbs_certificate.validity;
    Some(Validity { not_before: seconds(validity.not_before)?, not_after: seconds(validity.not_after)? })
}

/// What the fuzz target calls.
pub fn fuzz_expiry(der: &[u8]) {
    validity_of(der);
}

/// Accepts any certificate, but still checks that the peer has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_trust_store_is_trusted_alone_if_there_is_one() {
        let compiled_in = webpki_roots::TLS_SERVER_ROOTS.len();
        let garbage = CertificateDer::from(vec![0; 9]);
        assert_eq!(roots_or_mozilla(Vec::new()).len(), compiled_in);
        assert_eq!(roots_or_mozilla(vec![garbage.clone()]).len(), compiled_in, "a store without a certificate is none");

        let own = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.der().clone();
        let only = roots_or_mozilla(vec![garbage, own.clone()]);
        let mut expected = RootCertStore::empty();
        expected.add(own).unwrap();
        assert_eq!(only.roots, expected.roots);
    }
}
