//! The signature of a vote message.
//!
//! The asking side sends a nonce, the answer is signed together with it: an old answer is never right, and nobody's
//! clock matters. HMAC (RFC 2104) with SHA-256; `v1` is the way of signing.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use ring::hmac;

use crate::model::Nonce;

/// What is signed begins with this, so that a signature of something else by the same key is none of a vote message.
const DOMAIN: &str = "regionwatch-bulletin-v1\n";

const SCHEME: &[u8] = b"v1=";

/// Keys that vantages share. The first signs, each verifies, so that a key can be replaced without an outage: add
/// the new one everywhere, then put it first everywhere, then delete the old one.
#[derive(Clone)]
pub struct Keys(Arc<[hmac::Key]>);

/// A secret that protects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// There is no secret at all.
    #[error(
        "holds no key; write one line of at least {} bytes, such as that of: openssl rand -hex 32",
        Keys::MIN_SECRET
    )]
    None,
    /// The secret is too short.
    #[error("has as key number {0} one of fewer than {min} bytes; make another: openssl rand -hex 32", min = Keys::MIN_SECRET)]
    Short(usize),
}

impl Keys {
    /// The fewest bytes of a secret: 128 bits, where they are random.
    pub const MIN_SECRET: usize = 16;

    /// Keys of these secrets, in this order.
    ///
    /// # Errors
    /// There is none, or the one of this number (from 1) is shorter than [`Self::MIN_SECRET`].
    pub fn new(secrets: &[impl AsRef<[u8]>]) -> Result<Self, WeakKey> {
        if secrets.is_empty() {
            return Err(WeakKey::None);
        }
        if let Some(short) = secrets.iter().position(|secret| secret.as_ref().len() < Self::MIN_SECRET) {
            return Err(WeakKey::Short(short + 1));
        }
        Ok(Self(secrets.iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref())).collect()))
    }

    /// The value of the signature's header field for this answer to this nonce.
    pub fn sign(&self, nonce: Nonce, body: &[u8]) -> String {
        // There is at least one.
        let tag = self.0.first().map(|key| HEXLOWER.encode(hmac::sign(key, &signed(nonce, body)).as_ref()));
        format!("v1={}", tag.unwrap_or_default())
    }

    /// Whether one of the keys made this signature, in a time that does not depend on what it should have been.
    pub fn verify(&self, nonce: Nonce, body: &[u8], signature: &[u8]) -> bool {
        let Some(tag) = signature.strip_prefix(SCHEME).and_then(digest) else { return false };
        let signed = signed(nonce, body);
        self.0.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(<secret>)")
    }
}

fn signed(nonce: Nonce, body: &[u8]) -> Vec<u8> {
    [DOMAIN.as_bytes(), nonce.to_string().as_bytes(), b"\n", body].concat()
}

/// 64 lower-case hexadecimal digits: one form only, so that no other bytes are the same signature.
fn digest(text: &[u8]) -> Option<[u8; 32]> {
    HEXLOWER.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: Nonce = Nonce(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    const OLD: &str = "an old secret of the region";

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(secrets).unwrap()
    }

    /// By `printf 'regionwatch-bulletin-v1\n%s\n%s' NONCE BODY | openssl dgst -sha256 -hmac SECRET`.
    #[test]
    fn the_signature_is_that_of_other_implementations() {
        let signature = keys(&[OLD]).sign(NONCE, b"{}");
        assert_eq!(signature, "v1=6b3d5bdcb36bba8ec199c9dd46acbfbe5a8924a279ec526d3a58a88a2f442533");
        assert!(keys(&[OLD]).verify(NONCE, b"{}", signature.as_bytes()));
    }

    #[test]
    fn a_weak_secret_is_rejected_and_a_strong_one_is_not_printed() {
        assert_eq!(Keys::new(&[] as &[&str]).unwrap_err(), WeakKey::None);
        assert_eq!(Keys::new(&[OLD, "fifteen bytes .."]).err(), None);
        assert_eq!(Keys::new(&[OLD, "fifteen bytes ."]).unwrap_err(), WeakKey::Short(2));
        assert_eq!(format!("{:?}", keys(&[OLD])), "Keys(<secret>)");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn an_arbitrary_signature_is_rejected(
            signature in proptest::collection::vec(any::<u8>(), 0..200), scheme in any::<bool>(),
        ) {
            let text = if scheme { [SCHEME, &signature].concat() } else { signature };
            let verified = keys(&[OLD]).verify(NONCE, b"{}", &text);
            prop_assert!(!verified);
        }
    }
}
