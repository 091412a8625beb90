//! The key pair of one vantage.

use std::{fmt, str::FromStr, sync::Arc};

use data_encoding::BASE64;
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use crate::model::Signature;

/// What a public key begins with in its text.
const SCHEME: &str = "ed25519:";

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// What precedes the 32 bytes of a private key in PKCS#8, version 1 (RFC 8410), which other programs read too.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Why a text is no key. It never repeats the text, which may be a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// No public key.
    #[error(
        "is not a public key; write the line that regionwatch keygen --public FILE prints, such as ed25519:AbC...="
    )]
    Public,
    /// A private key, where a public one belongs.
    #[error("is a private key; write the line that regionwatch keygen --public FILE prints, and replace that key")]
    NotPublic,
    /// No private key.
    #[error("contains no Ed25519 key in PEM form; create one with regionwatch keygen FILE")]
    Private,
    /// More than one.
    #[error("contains more than one key; write one key into each file")]
    Many,
}

/// The key by which everyone verifies what one vantage signed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether the owner of this key signed these bytes.
    pub fn verify(&self, bytes: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, &signature.0).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        if text.contains("PRIVATE KEY") {
            return Err(InvalidKey::NotPublic);
        }
        let bytes = text.strip_prefix(SCHEME).and_then(|key| BASE64.decode(key.as_bytes()).ok());
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(InvalidKey::Public)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The key with which a vantage signs. Its private part is never displayed or debugged.
#[derive(Clone)]
pub struct PrivateKey {
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
    is_repeated: bool,
}

impl PrivateKey {
    /// A new key, and its text in PEM form.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<(Self, String), ring::error::Unspecified> {
        let mut der = [0; 48];
        let (head, seed) = der.split_at_mut(PKCS8.len());
        head.copy_from_slice(&PKCS8);
        SystemRandom::new().fill(seed)?;
        let key = Self::from_pkcs8(&der).map_err(|_| ring::error::Unspecified)?;
        Ok((key, format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(&der))))
    }

    /// The key in a text in PEM form (PKCS#8), such as `regionwatch keygen` and `openssl genpkey -algorithm ed25519`
    /// write.
    ///
    /// # Errors
    /// There is no such key, or more than one.
    pub fn from_pem(text: &[u8]) -> Result<Self, InvalidKey> {
        let mut keys = PrivatePkcs8KeyDer::pem_slice_iter(text);
        let key = keys.next().and_then(Result::ok).ok_or(InvalidKey::Private)?;
        match keys.next() {
            None => Self::from_pkcs8(key.secret_pkcs8_der()),
            Some(_) => Err(InvalidKey::Many),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, InvalidKey> {
        // Version 1 has no public key inside that could be checked.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| InvalidKey::Private)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| InvalidKey::Private)?;
        let seed = der.get(PKCS8.len()..PKCS8.len() + 32).unwrap_or_default();
        let is_repeated = seed.iter().all(|byte| *byte == seed[0]);
        Ok(Self { pair: Arc::new(pair), public: PublicKey(public), is_repeated })
    }

    /// The public part.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Whether its private part is one byte, again and again, which can be guessed.
    pub const fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Signs these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Signature {
        let mut signature = Signature([0; 64]);
        // An Ed25519 signature has 64 bytes (RFC 8032).
        signature.0.copy_from_slice(self.pair.sign(bytes).as_ref());
        signature
    }
}

/// Two private keys are the same if their public ones are.
impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(<secret> of {})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vector 1 of RFC 8032, section 7.1, with the key in the form of RFC 8410.
    #[test]
    fn keys_and_signatures_are_those_of_other_implementations() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let pem = format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(&[&PKCS8[..], &seed].concat()));
        let key = PrivateKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(key.public().0, *hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"));
        let expected = hex(concat!(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b",
            "d25bf5f0595bbe24655141438e7a100b"
        ));
        assert_eq!(key.sign(b"").0[..], expected);
        assert!(key.public().verify(b"", &key.sign(b"")) && !key.public().verify(b"x", &key.sign(b"")));
    }

    #[test]
    fn a_new_key_is_read_back_and_never_shown() {
        let (key, pem) = PrivateKey::generate().unwrap();
        assert_eq!(PrivateKey::from_pem(pem.as_bytes()), Ok(key.clone()));
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        let body = pem.lines().nth(1).unwrap();
        assert!(!format!("{key:?}{:?}", key.public()).contains(&body[24..]));
        assert_ne!(PrivateKey::generate().unwrap().0.public(), key.public());
    }

    #[test]
    fn a_private_part_of_one_repeated_byte_is_noticed() {
        let pem = |seed: [u8; 32]| format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(&[&PKCS8[..], &seed].concat()));
        let mut seed = [b'a'; 32];
        assert!(PrivateKey::from_pem(pem(seed).as_bytes()).unwrap().is_repeated());
        seed[31] = b'b';
        assert!(!PrivateKey::from_pem(pem(seed).as_bytes()).unwrap().is_repeated());
        assert!(!PrivateKey::generate().unwrap().0.is_repeated());
    }

    #[test]
    fn a_text_that_is_no_key_is_rejected_without_repeating_it() {
        let (key, pem) = PrivateKey::generate().unwrap();
        let public = key.public().to_string();
        for (text, reason) in [
            ("", InvalidKey::Public),
            (&public[SCHEME.len()..], InvalidKey::Public),
            (&public[..public.len() - 4], InvalidKey::Public),
            (&format!("{public}\n"), InvalidKey::Public),
            (&public.replace("ed25519", "rsa"), InvalidKey::Public),
            (&pem, InvalidKey::NotPublic),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(reason), "{text}");
        }
        let rsa = format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(&[0x30, 0x2e, 2, 1, 0]));
        for text in ["", BEGIN, &public, &rsa, &pem.replace('M', "\u{e9}"), &format!("{BEGIN}{END}")] {
            assert_eq!(PrivateKey::from_pem(text.as_bytes()), Err(InvalidKey::Private), "{text}");
        }
        assert_eq!(PrivateKey::from_pem(format!("{pem}{pem}").as_bytes()), Err(InvalidKey::Many));
        assert_eq!(PrivateKey::from_pem(&[0xff]), Err(InvalidKey::Private));
    }
}
