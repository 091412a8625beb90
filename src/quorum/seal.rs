//! Whose a bulletin is, and that it is new.
//!
//! The asking side sends a nonce, the answer is signed together with it: an old answer is never right, and nobody's
//! clock matters. HMAC (RFC 2104) with SHA-256; `v1` is the way of signing.

use std::sync::Arc;

use ring::hmac;

use super::Bulletin;
use crate::model::{Nonce, Reply};

/// What is signed begins with this, so that a signature of something else by the same key is none of a bulletin.
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
        use std::fmt::Write as _;
        // There is at least one.
        let tag = self.0.first().map(|key| hmac::sign(key, &signed(nonce, body)));
        let mut signature = String::from("v1=");
        for byte in tag.iter().flat_map(AsRef::as_ref) {
            // Writing to a String does not fail.
            let _ = write!(signature, "{byte:02x}");
        }
        signature
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
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

/// Why what a peer answered does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It cannot be verified: it has no signature, or there is no key here, and the connection does not vouch for
    /// the peer either.
    Unsigned,
    /// No key of ours made its signature for this nonce.
    Forged,
    /// It is no bulletin.
    Malformed,
    /// It is larger than [`Reply::MAX_BODY`].
    Oversized,
    /// It is another vantage's than the one that was asked.
    Foreign,
    /// It is older than one that the vantage had sent before.
    Replayed,
}

impl Refusal {
    /// Every refusal, in the order of its checks.
    pub const ALL: [Self; 6] =
        [Self::Oversized, Self::Unsigned, Self::Forged, Self::Malformed, Self::Foreign, Self::Replayed];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Forged => "forged",
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::Foreign => "foreign",
            Self::Replayed => "replayed",
        }
    }
}

/// The bulletin in a reply, where it is that of the peer that was asked, made after it was asked.
///
/// A signature counts where there are keys, and a wrong one is refused whatever the connection says. A reply
/// without one counts only where the connection vouches for the peer.
///
/// # Errors
/// Why it does not count.
pub fn open(reply: &Reply, keys: Option<&Keys>) -> Result<Bulletin, Refusal> {
    let body = reply.body.as_ref().filter(|body| body.len() <= Bulletin::MAX_BYTES).ok_or(Refusal::Oversized)?;
    match (keys, &reply.signature) {
        (Some(keys), Some(signature)) if keys.verify(reply.nonce, body, signature) => {}
        (Some(_), Some(_)) => return Err(Refusal::Forged),
        _ if reply.trusted_transport => {}
        _ => return Err(Refusal::Unsigned),
    }
    let bulletin = Bulletin::decode(body).map_err(|invalid| {
        tracing::debug!(peer = %reply.peer, "the bulletin {invalid}");
        Refusal::Malformed
    })?;
    if *bulletin.vantage() == reply.peer { Ok(bulletin) } else { Err(Refusal::Foreign) }
}

/// How far one peer's bulletins have come.
///
/// Answers can overtake each other, because probes do not wait for one another; what was overtaken must not undo
/// what is newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sequence {
    last: Option<(u64, u64)>,
}

/// How a bulletin follows those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is the first one of this peer.
    First,
    /// It follows the last one, or is it once more.
    Next,
    /// The peer has started anew since the last one.
    Restarted,
}

impl Sequence {
    /// Takes note of a bulletin of the peer.
    ///
    /// # Errors
    /// [`Refusal::Replayed`], for one that is older than one that was admitted since the peer's last start.
    pub fn admit(&mut self, bulletin: &Bulletin) -> Result<Arrival, Refusal> {
        let (boot, seq) = (bulletin.boot(), bulletin.seq());
        let arrival = match self.last {
            Some((last, newest)) if last == boot && seq < newest => return Err(Refusal::Replayed),
            Some((last, _)) if last == boot => Arrival::Next,
            Some(_) => Arrival::Restarted,
            None => Arrival::First,
        };
        self.last = Some((boot, seq));
        Ok(arrival)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::model::Region;

    const NONCE: Nonce = Nonce(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(secrets).unwrap()
    }

    fn bulletin(vantage: &str, boot: u64, seq: u64) -> Bulletin {
        Bulletin::new(Region::new(vantage).unwrap(), (boot, seq), false, Vec::new(), Vec::new()).unwrap()
    }

    fn reply(signed_by: Option<&Keys>) -> Reply {
        let body = bulletin("there", 1, 1).encode().unwrap();
        Reply {
            peer: Region::new("there").unwrap(),
            nonce: NONCE,
            signature: signed_by.map(|keys| Bytes::from(keys.sign(NONCE, &body))),
            body: Some(body),
            trusted_transport: false,
            requested_at: Instant::now(),
            answered_at: Instant::now(),
        }
    }

    const OLD: &str = "an old secret of the region";
    const NEW: &str = "a new secret of the regions";

    /// By `printf 'regionwatch-bulletin-v1\n%s\n%s' NONCE BODY | openssl dgst -sha256 -hmac SECRET`.
    #[test]
    fn the_signature_is_that_of_other_implementations() {
        let signature = keys(&[OLD]).sign(NONCE, b"{}");
        assert_eq!(signature, "v1=6b3d5bdcb36bba8ec199c9dd46acbfbe5a8924a279ec526d3a58a88a2f442533");
        assert!(keys(&[OLD]).verify(NONCE, b"{}", signature.as_bytes()));
    }

    #[test]
    fn a_key_can_be_replaced_without_an_outage() {
        let stages = [keys(&[OLD]), keys(&[OLD, NEW]), keys(&[NEW, OLD]), keys(&[NEW])];
        for pair in stages.windows(2) {
            assert!(open(&reply(Some(&pair[0])), Some(&pair[1])).is_ok());
            assert!(open(&reply(Some(&pair[1])), Some(&pair[0])).is_ok());
        }
        assert_eq!(open(&reply(Some(&stages[0])), Some(&stages[3])), Err(Refusal::Forged));
    }

    #[test]
    fn who_is_not_vouched_for_has_no_vote() {
        let keys = keys(&[OLD]);
        let signed = reply(Some(&keys));
        let unsigned = reply(None);
        let over_tls = |reply: &Reply| Reply { trusted_transport: true, ..reply.clone() };
        assert!(open(&signed, Some(&keys)).is_ok());
        assert_eq!(open(&unsigned, Some(&keys)), Err(Refusal::Unsigned));
        assert_eq!(open(&signed, None), Err(Refusal::Unsigned), "nothing to verify it by");
        assert!(open(&over_tls(&unsigned), Some(&keys)).is_ok() && open(&over_tls(&unsigned), None).is_ok());
        let forged = Reply { signature: Some(Bytes::from_static(b"v1=")), ..over_tls(&unsigned) };
        assert_eq!(open(&forged, Some(&keys)), Err(Refusal::Forged), "a wrong signature is worse than none");
    }

    #[test]
    fn an_answer_to_another_question_is_refused() {
        let keys = keys(&[OLD]);
        let good = reply(Some(&keys));
        let recorded = Reply { nonce: Nonce(NONCE.0 + 1), ..good.clone() };
        assert_eq!(open(&recorded, Some(&keys)), Err(Refusal::Forged));
        let relayed = Reply { peer: Region::new("elsewhere").unwrap(), ..good };
        assert_eq!(open(&relayed, Some(&keys)), Err(Refusal::Foreign));
    }

    #[test]
    fn what_is_no_bulletin_is_told_apart_by_what_is_wrong() {
        let keys = keys(&[OLD]);
        let with = |body: Option<Bytes>| {
            let signature = body.as_ref().map(|body| keys.sign(NONCE, body).into());
            open(&Reply { body, signature, ..reply(None) }, Some(&keys))
        };
        assert_eq!(with(Some(Bytes::from_static(b"{}"))), Err(Refusal::Malformed));
        assert_eq!(with(Some(Bytes::from(vec![b' '; Reply::MAX_BODY + 1]))), Err(Refusal::Oversized));
        assert_eq!(with(None), Err(Refusal::Oversized));
    }

    #[test]
    fn a_weak_secret_makes_no_key_and_a_strong_one_is_not_shown() {
        assert_eq!(Keys::new(&[] as &[&str]).unwrap_err(), WeakKey::None);
        assert_eq!(Keys::new(&[OLD, "fifteen bytes .."]).err(), None);
        assert_eq!(Keys::new(&[OLD, "fifteen bytes ."]).unwrap_err(), WeakKey::Short(2));
        assert_eq!(format!("{:?}", keys(&[OLD])), "Keys(<secret>)");
    }

    #[test]
    fn a_bulletin_that_was_overtaken_undoes_nothing_and_a_restart_is_told() {
        let mut sequence = Sequence::default();
        let mut admit = |boot, seq| sequence.admit(&bulletin("there", boot, seq));
        assert_eq!(admit(1, 5), Ok(Arrival::First));
        assert_eq!(admit(1, 5), Ok(Arrival::Next));
        assert_eq!(admit(1, 7), Ok(Arrival::Next));
        assert_eq!(admit(1, 6), Err(Refusal::Replayed));
        assert_eq!(admit(1, 7), Ok(Arrival::Next));
        assert_eq!(admit(2, 0), Ok(Arrival::Restarted));
        assert_eq!(admit(2, 1), Ok(Arrival::Next));
    }

    #[test]
    fn refusals_are_labels_of_their_own() {
        let labels: std::collections::HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.as_str()).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
        assert!(!labels.contains("accepted"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn one_flipped_bit_is_refused(place in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let keys = keys(&[NEW, OLD]);
            let good = reply(Some(&keys));
            let flipped = |bytes: &Option<Bytes>| {
                let mut bytes = bytes.as_ref().unwrap().to_vec();
                let place = place.index(bytes.len());
                bytes[place] ^= 1 << bit;
                Some(Bytes::from(bytes))
            };
            let body = Reply { body: flipped(&good.body), ..good.clone() };
            prop_assert_eq!(open(&body, Some(&keys)), Err(Refusal::Forged));
            let signature = Reply { signature: flipped(&good.signature), ..good.clone() };
            prop_assert_eq!(open(&signature, Some(&keys)), Err(Refusal::Forged));
            let nonce = Reply { nonce: Nonce(NONCE.0 ^ 1 << place.index(128)), ..good };
            prop_assert_eq!(open(&nonce, Some(&keys)), Err(Refusal::Forged));
        }

        #[test]
        fn no_signature_does_harm(
            signature in proptest::collection::vec(any::<u8>(), 0..200), scheme in any::<bool>(),
        ) {
            let text = if scheme { [SCHEME, &signature].concat() } else { signature };
            let verified = keys(&[OLD]).verify(NONCE, b"{}", &text);
            prop_assert!(!verified);
        }
    }
}
