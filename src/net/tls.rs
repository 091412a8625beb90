//! TLS handshakes by rustls with ring, and what is read of the peer's certificates.

mod certificate;
mod verifier;

use std::{
    env, fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls_native_certs::{CertificateResult, load_native_certs};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CipherSuite, ClientConfig, ProtocolVersion, RootCertStore,
        client::{Resumption, danger::ServerCertVerifier},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

pub use self::certificate::fuzz_expiry;
use self::{
    certificate::Reader,
    verifier::{AnyCertificate, Keeping, Verifier},
};
use super::{
    attempt::{Attempt, Session},
    errors,
    stream::Stream,
};
use crate::model::{Failure, FailureDetail, Host};

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

    /// Whether its authorities can be used.
    ///
    /// # Errors
    /// The certificate that cannot.
    pub fn check_authorities(&self) -> Result<(), TlsError> {
        self.ca_file.as_ref().map_or(Ok(()), |file| roots_of(file, &certificates(file)?).map(drop))
    }

    /// Whether its certificate and key can be used, and belong together.
    ///
    /// # Errors
    /// Why not.
    pub fn check_identity(&self) -> Result<(), TlsError> {
        let Some((chain, key)) = &self.identity else { return Ok(()) };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(RootCertStore::empty());
        builder.with_client_auth_cert(certificates(chain)?, private_key(key)?)?;
        Ok(())
    }

    /// Whether its files have other content, which they may while the configuration is the same.
    pub fn files_differ(&self, other: &Self) -> bool {
        self.contents() != other.contents()
    }

    fn contents(&self) -> [Option<&[u8]>; 3] {
        let (chain, key) = self.identity.as_ref().map(|(chain, key)| (chain, key)).unzip();
        [self.ca_file.as_ref(), chain, key].map(|file| file.map(|file| &*file.content))
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
    /// The system has a trust store, and none of it could be read.
    #[error("trust store of the system: {0}")]
    TrustStore(String),
    /// The key is that of another certificate.
    #[error("the key does not belong to the certificate")]
    OtherKey,
    /// rustls refuses the combination.
    #[error("{0}")]
    Config(rustls::Error),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InconsistentKeys(_) => Self::OtherKey,
            error => Self::Config(error),
        }
    }
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
    ///
    /// # Errors
    /// There is one, and none of it can be read.
    pub fn read_public_roots(&self) -> Result<(), TlsError> {
        self.public_roots().map(drop)
    }

    /// The system's trust store, or Mozilla's authorities if it has none. Read when first needed, because most of it
    /// stays in memory.
    fn public_roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        if let Some(roots) = self.public_roots.get() {
            return Ok(Arc::clone(roots));
        }
        let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|name| env::var_os(name).is_some());
        let roots = roots_or_mozilla(load_native_certs(), named)?;
        Ok(Arc::clone(self.public_roots.get_or_init(|| Arc::new(roots))))
    }

    /// A connector for one target. `alpn` is offered in this order.
    ///
    /// # Errors
    /// A file without PEM of the kind, a name that cannot be verified.
    pub fn connector(&self, spec: &TlsSpec, host: &Host, alpn: &[&[u8]]) -> Result<Connector, TlsError> {
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        let (verifier, roots): (Arc<dyn ServerCertVerifier>, _) = if spec.insecure_skip_verify {
            (Arc::new(AnyCertificate), None)
        } else {
            let (roots, named) = match &spec.ca_file {
                Some(file) => {
                    let named = certificates(file)?;
                    (Arc::new(roots_of(file, &named)?), named)
                }
                None => (self.public_roots()?, Vec::new()),
            };
            let verifier = Verifier::new(Arc::clone(&roots), named, Arc::clone(&self.provider))?;
            (Arc::new(verifier), Some(roots))
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::clone(&verifier));
        let mut config = match &spec.identity {
            Some((chain, key)) => builder.with_client_auth_cert(certificates(chain)?, private_key(key)?)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Each probe measures a whole handshake.
        config.resumption = Resumption::disabled();
        let name = server_name(spec, host)?;
        Ok(Connector { config: Arc::new(config), verifier, name, reader: Arc::new(Reader::new(roots)) })
    }
}

/// Trusts these authorities alone, so that an administrator can remove one from the system's store. A container may have no
/// store; it trusts the authorities that are compiled in. A store that cannot be read, or that a variable of the environment
/// names, is one: an administrator who trusts few authorities must not get all of them by a mistake.
fn roots_or_mozilla(system: CertificateResult, named: Option<&str>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    match (named, system.errors.first()) {
        (None, None) => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        (None, Some(error)) => return Err(TlsError::TrustStore(error.to_string())),
        (Some(name), Some(error)) => return Err(TlsError::TrustStore(format!("{name}: {error}"))),
        (Some(name), None) => return Err(TlsError::TrustStore(format!("{name} names no certificate"))),
    }
    Ok(roots)
}

fn server_name(spec: &TlsSpec, host: &Host) -> Result<ServerName<'static>, TlsError> {
    let mut name = spec.server_name.as_ref().map_or_else(|| host.without_zone().to_string(), ToString::to_string);
    // Neither what TLS sends nor what a certificate has ends in a dot (RFC 6066 3).
    if name.ends_with('.') {
        name.pop();
    }
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

/// The certificates of this file as authorities.
fn roots_of(file: &PemFile, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (n, certificate) in certificates.iter().enumerate() {
        roots.add(certificate.clone()).map_err(|error| {
            file_error(&file.path, format!("certificate {} of it cannot be an authority: {error}", n + 1))
        })?;
    }
    Ok(roots)
}

/// A connection with TLS.
pub(super) type TlsStream = tokio_rustls::client::TlsStream<Stream>;

/// Shakes hands with one target, whose name it verifies.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
    name: ServerName<'static>,
    reader: Arc<Reader>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Connector {
    /// Shakes hands on a stream. Of a failure, the attempt gets the detail.
    ///
    /// # Errors
    /// The failure as it is counted.
    pub(super) async fn handshake(&self, mut stream: Stream, attempt: &Attempt) -> Result<TlsStream, Failure> {
        stream.expect_tls();
        let mut config = ClientConfig::clone(&self.config);
        attempt.set_session(Session::default());
        let (verifier, reader) = (Arc::clone(&self.verifier), Arc::clone(&self.reader));
        let keeping = Keeping { verifier, reader, shown: attempt.shown() };
        config.dangerous().set_certificate_verifier(Arc::new(keeping));
        let stream =
            TlsConnector::from(Arc::new(config)).connect(self.name.clone(), stream).await.map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    attempt.set_detail(FailureDetail::ClosedInHandshake);
                }
                explained(&error, attempt)
            })?;
        attempt.set_session(session(stream.get_ref().1));
        Ok(stream)
    }
}

/// Version and cipher of a connection, by the names of the field.
fn session(connection: &rustls::ClientConnection) -> Session {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => Some("TLS 1.3"),
        Some(ProtocolVersion::TLSv1_2) => Some("TLS 1.2"),
        _ => None,
    };
    let cipher = connection.negotiated_cipher_suite().and_then(|cipher| match cipher.suite() {
        // rustls has names of its own for those of TLS 1.3.
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => other.as_str(),
    });
    Session { version, cipher }
}

/// What an error on a TLS connection is counted as. The attempt gets the detail.
pub(crate) fn explained(error: &io::Error, attempt: &Attempt) -> Failure {
    note_detail(error.get_ref().and_then(|inner| inner.downcast_ref()), attempt);
    failure(error)
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

/// Gives the attempt the detail of an error of TLS.
pub(super) fn note_detail(error: Option<&rustls::Error>, attempt: &Attempt) {
    if let Some(detail) = error.and_then(verifier::detail) {
        attempt.set_detail(detail);
    }
}

#[cfg(test)]
mod tests {
    use rustls_native_certs::load_certs_from_paths;

    use super::*;

    #[test]
    fn the_systems_trust_store_is_trusted_alone_if_there_is_one() {
        let compiled_in = webpki_roots::TLS_SERVER_ROOTS.len();
        let garbage = CertificateDer::from(vec![0; 9]);
        let trusted = |certs: Vec<_>| {
            let mut found = CertificateResult::default();
            found.certs = certs;
            roots_or_mozilla(found, None).unwrap()
        };
        assert_eq!(trusted(Vec::new()).len(), compiled_in);
        assert_eq!(trusted(vec![garbage.clone()]).len(), compiled_in, "a store without a certificate is none");

        let own = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.der().clone();
        let only = trusted(vec![garbage, own.clone()]);
        let mut expected = RootCertStore::empty();
        expected.add(own).unwrap();
        assert_eq!(only.roots, expected.roots);
    }

    #[test]
    fn a_trust_store_that_cannot_be_read_does_not_become_all_public_authorities() {
        let missing = || load_certs_from_paths(Some(Path::new("/missing/store.pem")), None);
        let error = |found, named| roots_or_mozilla(found, named).unwrap_err().to_string();
        assert!(error(missing(), None).contains("/missing/store.pem"));
        assert!(error(missing(), Some("SSL_CERT_FILE")).starts_with("trust store of the system: SSL_CERT_FILE: "));
        let empty = error(CertificateResult::default(), Some("SSL_CERT_DIR"));
        assert_eq!(empty, "trust store of the system: SSL_CERT_DIR names no certificate");
    }
}
