//! Whether what a peer answered counts: it is the peer's, it is new, and it makes sense.

use super::{Bulletin, Keys};
use crate::model::{VoteResponse, labels};

labels! {
    /// Why what a peer answered does not count, in the order of the checks.
    pub enum Refusal {
        /// It is larger than [`VoteResponse::MAX_BODY`].
        Oversized = "oversized",
        /// It is a bulletin that cannot be verified: it has no signature, or there is no key here, and the connection does
        /// not vouch for the peer either.
        Unsigned = "unsigned",
        /// No key of ours made its signature for this nonce.
        Forged = "forged",
        /// It is no bulletin.
        Malformed = "malformed",
        /// It is another vantage's than the one that was asked.
        Foreign = "foreign",
        /// It is older than one that the vantage had sent before.
        Replayed = "replayed",
    }
}

impl Refusal {
    /// What is behind it most often and what to do, where this vantage `has_key` or has none.
    pub const fn remedy(self, has_key: bool) -> &'static str {
        match self {
            Self::Unsigned if has_key => {
                "its sidecar has no key; write votes: {key_file: votes.key} there, with our key"
            }
            Self::Unsigned => "there is no key here; write votes: {key_file: votes.key} on every vantage, with one key",
            Self::Forged => "its votes.key differs from ours, compare both; or something between answers for it",
            Self::Malformed => {
                "what answers is no sidecar, or one of another version; let the url end in /api/v1/regions"
            }
            Self::Oversized => "what answers is larger than a bulletin; let the url end in /api/v1/regions",
            Self::Foreign => {
                "the sidecar of another region answers; compare the url, and the region that its configuration names"
            }
            Self::Replayed => "old ones come back; let the url lead to the sidecar itself, with no cache between",
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
pub fn open(reply: &VoteResponse, keys: Option<&Keys>) -> Result<Bulletin, Refusal> {
    let body = reply.body.as_ref().filter(|body| body.len() <= Bulletin::MAX_BYTES).ok_or(Refusal::Oversized)?;
    match (keys, &reply.signature) {
        (Some(keys), Some(signature)) if keys.verify(reply.nonce, body, signature) => {}
        (Some(_), Some(_)) => return Err(Refusal::Forged),
        _ if reply.trusted_transport => {}
        // A page that is no bulletin has a wrong URL behind it, not a missing key.
        _ => return Err(decode(reply, body).err().unwrap_or(Refusal::Unsigned)),
    }
    let bulletin = decode(reply, body)?;
    if *bulletin.vantage() == reply.peer { Ok(bulletin) } else { Err(Refusal::Foreign) }
}

fn decode(reply: &VoteResponse, body: &[u8]) -> Result<Bulletin, Refusal> {
    Bulletin::decode(body).map_err(|invalid| {
        tracing::debug!(peer = %reply.peer, "the bulletin {invalid}");
        Refusal::Malformed
    })
}

/// Whether one peer's bulletins count, as people are told: not each of them, but a lasting change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reception {
    told: Option<Refusal>,
    /// Those in a row that were received otherwise than told.
    otherwise: u8,
}

impl Reception {
    /// One that was overtaken by the next is refused now and then, and means nothing.
    const LASTING: u8 = 3;

    /// Takes note of what became of a bulletin, `None` where it counted. Says whether people are to be told of it.
    pub fn note(&mut self, refusal: Option<Refusal>) -> bool {
        self.otherwise = if refusal == self.told { 0 } else { self.otherwise + 1 };
        let changed = self.otherwise >= Self::LASTING;
        if changed {
            *self = Self { told: refusal, otherwise: 0 };
        }
        changed
    }
}

/// How far one peer's bulletins have come.
///
/// Answers can overtake each other, because probes do not wait for one another; what was overtaken must not undo
/// what is newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sequence {
    last: Option<(u64, u64)>,
}

impl Sequence {
    /// Takes note of a bulletin of the peer.
    ///
    /// # Errors
    /// [`Refusal::Replayed`], for one that is older than one that was admitted since the peer's last start.
    pub fn admit(&mut self, bulletin: &Bulletin) -> Result<(), Refusal> {
        let (boot, seq) = (bulletin.boot(), bulletin.seq());
        if self.last.is_some_and(|(last, newest)| last == boot && seq < newest) {
            return Err(Refusal::Replayed);
        }
        self.last = Some((boot, seq));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::model::{Nonce, Region};

    const NONCE: Nonce = Nonce(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    const OLD: &str = "an old secret of the region";
    const NEW: &str = "a new secret of the regions";

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(secrets).unwrap()
    }

    fn bulletin(vantage: &str, boot: u64, seq: u64) -> Bulletin {
        Bulletin::new(Region::new(vantage).unwrap(), (boot, seq), false, Vec::new(), Vec::new()).unwrap()
    }

    fn reply(signed_by: Option<&Keys>) -> VoteResponse {
        let body = bulletin("there", 1, 1).encode().unwrap();
        VoteResponse {
            peer: Region::new("there").unwrap(),
            nonce: NONCE,
            signature: signed_by.map(|keys| Bytes::from(keys.sign(NONCE, &body))),
            body: Some(body),
            trusted_transport: false,
            requested_at: Instant::now(),
        }
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
        let over_tls = |reply: &VoteResponse| VoteResponse { trusted_transport: true, ..reply.clone() };
        assert!(open(&signed, Some(&keys)).is_ok());
        assert_eq!(open(&unsigned, Some(&keys)), Err(Refusal::Unsigned));
        assert_eq!(open(&signed, None), Err(Refusal::Unsigned), "nothing to verify it by");
        assert!(open(&over_tls(&unsigned), Some(&keys)).is_ok() && open(&over_tls(&unsigned), None).is_ok());
        let forged = VoteResponse { signature: Some(Bytes::from_static(b"v1=")), ..over_tls(&unsigned) };
        assert_eq!(open(&forged, Some(&keys)), Err(Refusal::Forged), "a wrong signature is worse than none");
    }

    #[test]
    fn an_answer_to_another_question_is_refused() {
        let keys = keys(&[OLD]);
        let good = reply(Some(&keys));
        let recorded = VoteResponse { nonce: Nonce(NONCE.0 + 1), ..good.clone() };
        assert_eq!(open(&recorded, Some(&keys)), Err(Refusal::Forged));
        let relayed = VoteResponse { peer: Region::new("elsewhere").unwrap(), ..good };
        assert_eq!(open(&relayed, Some(&keys)), Err(Refusal::Foreign));
    }

    #[test]
    fn what_is_no_bulletin_is_told_apart_by_what_is_wrong() {
        let keys = keys(&[OLD]);
        let with = |body: Option<Bytes>| {
            let signature = body.as_ref().map(|body| keys.sign(NONCE, body).into());
            open(&VoteResponse { body, signature, ..reply(None) }, Some(&keys))
        };
        assert_eq!(with(Some(Bytes::from_static(b"{}"))), Err(Refusal::Malformed));
        assert_eq!(with(Some(Bytes::from(vec![b' '; VoteResponse::MAX_BODY + 1]))), Err(Refusal::Oversized));
        assert_eq!(with(None), Err(Refusal::Oversized));
        let page = VoteResponse { body: Some(Bytes::from_static(b"<html>")), ..reply(None) };
        for keys in [Some(&keys), None] {
            assert_eq!(open(&page, keys), Err(Refusal::Malformed), "no key is missing where there is no bulletin");
        }
    }

    #[test]
    fn a_lasting_change_is_told_once_and_a_single_refusal_never() {
        let (forged, foreign) = (Some(Refusal::Forged), Some(Refusal::Foreign));
        let mut reception = Reception::default();
        let mut told = |refusals: &[Option<Refusal>]| -> Vec<bool> {
            refusals.iter().map(|refusal| reception.note(*refusal)).collect()
        };
        assert_eq!(told(&[None, forged, None, forged, forged, None]), [false; 6]);
        assert_eq!(told(&[forged, foreign, forged, forged, forged]), [false, false, true, false, false]);
        assert_eq!(told(&[foreign; 5]), [false, false, true, false, false]);
        assert_eq!(told(&[None; 5]), [false, false, true, false, false]);
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for refusal in Refusal::ALL {
            for has_key in [true, false] {
                let remedy = refusal.remedy(has_key);
                assert!(["write", "compare", "let"].iter().any(|verb| remedy.contains(verb)), "{remedy}");
            }
        }
    }

    #[test]
    fn a_bulletin_that_was_overtaken_undoes_nothing_and_a_restart_begins_anew() {
        let mut sequence = Sequence::default();
        let mut admit = |boot, seq| sequence.admit(&bulletin("there", boot, seq));
        assert_eq!(admit(1, 5), Ok(()));
        assert_eq!(admit(1, 5), Ok(()));
        assert_eq!(admit(1, 7), Ok(()));
        assert_eq!(admit(1, 6), Err(Refusal::Replayed));
        assert_eq!(admit(1, 7), Ok(()));
        assert_eq!(admit(2, 0), Ok(()));
        assert_eq!(admit(2, 1), Ok(()));
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
            let body = VoteResponse { body: flipped(&good.body), ..good.clone() };
            prop_assert_eq!(open(&body, Some(&keys)), Err(Refusal::Forged));
            let signature = VoteResponse { signature: flipped(&good.signature), ..good.clone() };
            prop_assert_eq!(open(&signature, Some(&keys)), Err(Refusal::Forged));
            let nonce = VoteResponse { nonce: Nonce(NONCE.0 ^ 1 << place.index(128)), ..good };
            prop_assert_eq!(open(&nonce, Some(&keys)), Err(Refusal::Forged));
        }
    }
}
