//! Whether what a peer answered counts: it is the peer's, it is new, and it makes sense.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Keys, VoteMessage, VoteTable};
use crate::{
    decision::Failing,
    model::{Cause, LabelValue, Nonce, Region, Vote, VoteResponse, labels},
};

labels! {
    /// Why what a peer answered does not count, in the order of the checks.
    pub enum RejectReason {
        /// It is larger than [`VoteResponse::MAX_BODY`].
        Oversized = "oversized",
        /// It is a message that cannot be verified: it has no signature, or there is no key here, and the connection does
        /// not vouch for the peer either.
        Unsigned = "unsigned",
        /// No key of ours made its signature for this nonce.
        BadSignature = "forged",
        /// It is no message.
        Malformed = "malformed",
        /// It is another vantage's than the one that was asked.
        WrongSender = "foreign",
        /// It is of another environment.
        Environment = "environment",
        /// It is older than one that the vantage had sent before.
        Replayed = "replayed",
    }
}

impl RejectReason {
    /// What is behind it most often and what to do, where this vantage `has_key` or has none.
    pub const fn remedy(self, has_key: bool) -> &'static str {
        match self {
            Self::Unsigned if has_key => {
                "its sidecar has no key; write votes: {key_file: votes.key} there, with the same key"
            }
            Self::Unsigned => {
                "this vantage has no key; write votes: {key_file: votes.key} on every vantage, with one key"
            }
            Self::BadSignature => {
                "its votes.key differs from ours; compare both, or look for a proxy that answers in its place"
            }
            Self::Malformed => {
                "the answer is not from a sidecar of this version; write a url that ends in /api/v1/regions"
            }
            Self::Oversized => "the answer is larger than a vote message; write a url that ends in /api/v1/regions",
            Self::WrongSender => {
                "the sidecar of another region answers; compare the url with the region in its configuration"
            }
            Self::Environment => {
                "its environment differs from ours; write the url of the sidecar in this environment, or the same \
                 environment there"
            }
            Self::Replayed => "old votes are replayed; write the url of the sidecar itself, without a cache in between",
        }
    }
}

/// The message in a reply, where it is that of the peer that was asked, made after it was asked.
///
/// A signature counts where there are keys, and a wrong one is refused whatever the connection says. A reply
/// without one counts only where the connection vouches for the peer.
///
/// # Errors
/// Why it does not count.
pub fn verify(reply: &VoteResponse, keys: Option<&Keys>) -> Result<VoteMessage, RejectReason> {
    let body =
        reply.body.as_ref().filter(|body| body.len() <= VoteMessage::MAX_BYTES).ok_or(RejectReason::Oversized)?;
    match (keys, &reply.signature) {
        (Some(keys), Some(signature)) if keys.verify(reply.nonce, body, signature) => {}
        (Some(_), Some(_)) => return Err(RejectReason::BadSignature),
        _ if reply.trusted_transport => {}
        // A page that is no message has a wrong URL behind it, not a missing key.
        _ => return Err(decode(reply, body).err().unwrap_or(RejectReason::Unsigned)),
    }
    let message = decode(reply, body)?;
    if *message.vantage() == reply.peer { Ok(message) } else { Err(RejectReason::WrongSender) }
}

/// Compares the environment of a message with ours. A message counts if one side has none, so that the vantages can get
/// theirs one by one.
///
/// # Errors
/// [`RejectReason::Environment`], if both have one and these differ.
pub fn check_environment(
    ours: Option<&LabelValue>,
    theirs: Option<&LabelValue>,
) -> Result<Option<MissingEnvironment>, RejectReason> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(RejectReason::Environment),
        (Some(_), None) => Ok(Some(MissingEnvironment::There)),
        (None, Some(_)) => Ok(Some(MissingEnvironment::Here)),
        _ => Ok(None),
    }
}

/// Which side of a vote has no environment while the other one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingEnvironment {
    /// This vantage.
    Here,
    /// The vantage that votes.
    There,
}

impl MissingEnvironment {
    /// What to do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::There => "they have no environment; write the environment of this vantage there too",
            Self::Here => "they have an environment; write it as environment: NAME on this vantage too",
        }
    }
}

/// What is wrong with the votes of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteProblem {
    /// They do not count.
    Rejected(RejectReason),
    /// They count, but nothing tells them from the votes of another environment.
    EnvironmentMissing(MissingEnvironment),
}

fn decode(reply: &VoteResponse, body: &[u8]) -> Result<VoteMessage, RejectReason> {
    VoteMessage::decode(body).map_err(|invalid| {
        tracing::debug!(peer = %reply.peer, "the vote message {invalid}");
        RejectReason::Malformed
    })
}

/// What is wrong with one peer's messages, as it is logged: not each of them, but a lasting change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VoteLog {
    logged: Option<VoteProblem>,
    /// How many in a row differ from what was logged.
    differing: u8,
}

impl VoteLog {
    /// One that was overtaken by the next is refused now and then, and means nothing.
    const LASTING: u8 = 3;

    /// What is wrong, as it was logged last.
    pub const fn lasting(&self) -> Option<VoteProblem> {
        self.logged
    }

    /// Takes what is wrong with a message, if anything is. Says whether it is worth a line in the log.
    pub fn should_log(&mut self, problem: Option<VoteProblem>) -> bool {
        self.differing = if problem == self.logged { 0 } else { self.differing + 1 };
        let changed = self.differing >= Self::LASTING;
        if changed {
            *self = Self { logged: problem, differing: 0 };
        }
        changed
    }
}

/// How far one peer's messages have come.
///
/// Answers can overtake each other, because probes do not wait for one another; what was overtaken must not undo
/// what is newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sequence {
    last: Option<(u64, u64)>,
}

impl Sequence {
    /// Takes note of a message of the peer.
    ///
    /// # Errors
    /// [`RejectReason::Replayed`], for one that is older than one that was admitted since the peer's last start.
    pub fn accept(&mut self, message: &VoteMessage) -> Result<(), RejectReason> {
        let (incarnation, sequence) = (message.incarnation(), message.sequence());
        if self.last.is_some_and(|(last, newest)| last == incarnation && sequence < newest) {
            return Err(RejectReason::Replayed);
        }
        self.last = Some((incarnation, sequence));
        Ok(())
    }
}

/// What the fuzz target calls, with the body of a peer's answer and its signature, both as they came.
///
/// # Panics
/// If a forged signature counts, or if what is read is not written again as it was.
#[doc(hidden)]
pub fn fuzz_vote(body: &[u8], signature: &[u8]) {
    const NONCE: Nonce = Nonce(7);
    let Ok(keys) = Keys::new(&["a secret that no fuzzer knows"]) else { return };
    let body = Bytes::copy_from_slice(body);
    let decoded = VoteMessage::decode(&body);
    let message = decoded.as_ref().ok();
    let peer = message.map_or_else(|| Region::new("there").expect("a constant"), |message| message.vantage().clone());
    let reply = VoteResponse {
        peer,
        nonce: NONCE,
        body: Some(body.clone()),
        signature: Some(Bytes::copy_from_slice(signature)),
        trusted_transport: true,
        requested_at: Instant::now(),
        received_at: Instant::now(),
    };
    let oversized = body.len() > VoteMessage::MAX_BYTES;
    let expected = if oversized { RejectReason::Oversized } else { RejectReason::BadSignature };
    assert_eq!(verify(&reply, Some(&keys)), Err(expected));
    let signed = VoteResponse { signature: Some(keys.sign(NONCE, &body).into()), ..reply };
    let Ok(message) = verify(&signed, Some(&keys)) else {
        assert!(decoded.is_err());
        return;
    };
    assert_eq!(decoded.as_ref(), Ok(&message));
    // Numbers are written longer than they may have been read.
    if let Ok(encoded) = message.encode() {
        assert_eq!(VoteMessage::decode(&encoded).as_ref(), Ok(&message));
    }
    let now = Instant::now();
    let votes = message.votes(now);
    assert!(votes.peers.len() == message.peers().len() && votes.ranking.len() <= message.ranking().len());
    let mut table = VoteTable::default();
    table.set_voters([(message.vantage().clone(), Duration::from_secs(3))]);
    let failing = Some(Failing { cause: Cause::Silence, onset: now, decisive: now });
    for entry in message.peers() {
        table.record(message.vantage(), now, votes.clone());
        let tally = table.count(&entry.region, Vote::Down, failing, now);
        assert!(!(tally.reached && tally.contradicted) && tally.voters <= 2);
    }
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    const NONCE: Nonce = Nonce(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    const OLD: &str = "an old secret of the region";
    const NEW: &str = "a new secret of the regions";

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(secrets).unwrap()
    }

    fn message(vantage: &str, incarnation: u64, sequence: u64) -> VoteMessage {
        VoteMessage::new(Region::new(vantage).unwrap(), (incarnation, sequence), false, Vec::new(), Vec::new()).unwrap()
    }

    fn reply(signed_by: Option<&Keys>) -> VoteResponse {
        let body = message("there", 1, 1).encode().unwrap();
        VoteResponse {
            peer: Region::new("there").unwrap(),
            nonce: NONCE,
            signature: signed_by.map(|keys| Bytes::from(keys.sign(NONCE, &body))),
            body: Some(body),
            trusted_transport: false,
            requested_at: Instant::now(),
            received_at: Instant::now(),
        }
    }

    #[test]
    fn a_key_can_be_replaced_without_an_outage() {
        let stages = [keys(&[OLD]), keys(&[OLD, NEW]), keys(&[NEW, OLD]), keys(&[NEW])];
        for pair in stages.windows(2) {
            assert!(verify(&reply(Some(&pair[0])), Some(&pair[1])).is_ok());
            assert!(verify(&reply(Some(&pair[1])), Some(&pair[0])).is_ok());
        }
        assert_eq!(verify(&reply(Some(&stages[0])), Some(&stages[3])), Err(RejectReason::BadSignature));
    }

    #[test]
    fn an_unsigned_vote_over_plain_tcp_is_rejected() {
        let keys = keys(&[OLD]);
        let signed = reply(Some(&keys));
        let unsigned = reply(None);
        let over_tls = |reply: &VoteResponse| VoteResponse { trusted_transport: true, ..reply.clone() };
        assert!(verify(&signed, Some(&keys)).is_ok());
        assert_eq!(verify(&unsigned, Some(&keys)), Err(RejectReason::Unsigned));
        assert_eq!(verify(&signed, None), Err(RejectReason::Unsigned), "nothing to verify it by");
        assert!(verify(&over_tls(&unsigned), Some(&keys)).is_ok() && verify(&over_tls(&unsigned), None).is_ok());
        let forged = VoteResponse { signature: Some(Bytes::from_static(b"v1=")), ..over_tls(&unsigned) };
        assert_eq!(
            verify(&forged, Some(&keys)),
            Err(RejectReason::BadSignature),
            "a wrong signature is worse than none"
        );
    }

    #[test]
    fn a_response_to_another_nonce_or_peer_is_rejected() {
        let keys = keys(&[OLD]);
        let good = reply(Some(&keys));
        let recorded = VoteResponse { nonce: Nonce(NONCE.0 + 1), ..good.clone() };
        assert_eq!(verify(&recorded, Some(&keys)), Err(RejectReason::BadSignature));
        let relayed = VoteResponse { peer: Region::new("elsewhere").unwrap(), ..good };
        assert_eq!(verify(&relayed, Some(&keys)), Err(RejectReason::WrongSender));
    }

    #[test]
    fn malformed_and_oversized_responses_are_distinguished() {
        let keys = keys(&[OLD]);
        let with = |body: Option<Bytes>| {
            let signature = body.as_ref().map(|body| keys.sign(NONCE, body).into());
            verify(&VoteResponse { body, signature, ..reply(None) }, Some(&keys))
        };
        assert_eq!(with(Some(Bytes::from_static(b"{}"))), Err(RejectReason::Malformed));
        assert_eq!(with(Some(Bytes::from(vec![b' '; VoteResponse::MAX_BODY + 1]))), Err(RejectReason::Oversized));
        assert_eq!(with(None), Err(RejectReason::Oversized));
        let page = VoteResponse { body: Some(Bytes::from_static(b"<html>")), ..reply(None) };
        for keys in [Some(&keys), None] {
            assert_eq!(
                verify(&page, keys),
                Err(RejectReason::Malformed),
                "no key is missing where there is no message"
            );
        }
    }

    #[test]
    fn a_lasting_rejection_is_logged_once_and_a_single_one_never() {
        let rejected = |reason| Some(VoteProblem::Rejected(reason));
        let (forged, foreign) = (rejected(RejectReason::BadSignature), rejected(RejectReason::WrongSender));
        let missing = Some(VoteProblem::EnvironmentMissing(MissingEnvironment::There));
        let mut log = VoteLog::default();
        let mut logged = |problems: &[Option<VoteProblem>]| -> Vec<bool> {
            problems.iter().map(|problem| log.should_log(*problem)).collect()
        };
        assert_eq!(logged(&[None, forged, None, forged, forged, None]), [false; 6]);
        assert_eq!(logged(&[forged, foreign, forged, forged, forged]), [false, false, true, false, false]);
        assert_eq!(logged(&[foreign; 5]), [false, false, true, false, false]);
        assert_eq!(logged(&[None; 5]), [false, false, true, false, false]);
        assert_eq!(logged(&[missing; 5]), [false, false, true, false, false]);
    }

    #[test]
    fn a_vote_of_another_environment_is_rejected_and_one_without_is_accepted() {
        let named = |name: &str| Some(LabelValue::new(name).unwrap());
        let check = |ours: &str, theirs: &str| {
            let [ours, theirs] = [ours, theirs].map(|name| if name.is_empty() { None } else { named(name) });
            check_environment(ours.as_ref(), theirs.as_ref())
        };
        assert_eq!(check("prod", "staging"), Err(RejectReason::Environment));
        assert_eq!(check("prod", "Prod"), Err(RejectReason::Environment));
        assert_eq!(check("prod", "prod"), Ok(None));
        assert_eq!(check("", ""), Ok(None));
        assert_eq!(check("prod", ""), Ok(Some(MissingEnvironment::There)));
        assert_eq!(check("", "prod"), Ok(Some(MissingEnvironment::Here)));
    }

    #[test]
    fn every_reject_reason_has_a_remedy() {
        for reason in RejectReason::ALL {
            for has_key in [true, false] {
                let remedy = reason.remedy(has_key);
                assert!(["write", "compare", "let"].iter().any(|verb| remedy.contains(verb)), "{remedy}");
            }
        }
    }

    #[test]
    fn an_overtaken_message_is_rejected_and_a_restart_resets_the_sequence() {
        let mut sequence = Sequence::default();
        let mut accept = |incarnation, n| sequence.accept(&message("there", incarnation, n));
        assert_eq!(accept(1, 5), Ok(()));
        assert_eq!(accept(1, 5), Ok(()));
        assert_eq!(accept(1, 7), Ok(()));
        assert_eq!(accept(1, 6), Err(RejectReason::Replayed));
        assert_eq!(accept(1, 7), Ok(()));
        assert_eq!(accept(2, 0), Ok(()));
        assert_eq!(accept(2, 1), Ok(()));
    }

    #[test]
    fn reject_reasons_have_distinct_labels() {
        let labels: std::collections::HashSet<_> = RejectReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(labels.len(), RejectReason::ALL.len());
        assert!(!labels.contains("accepted"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn one_flipped_bit_is_rejected(place in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let keys = keys(&[NEW, OLD]);
            let good = reply(Some(&keys));
            let flipped = |bytes: &Option<Bytes>| {
                let mut bytes = bytes.as_ref().unwrap().to_vec();
                let place = place.index(bytes.len());
                bytes[place] ^= 1 << bit;
                Some(Bytes::from(bytes))
            };
            let body = VoteResponse { body: flipped(&good.body), ..good.clone() };
            prop_assert_eq!(verify(&body, Some(&keys)), Err(RejectReason::BadSignature));
            let signature = VoteResponse { signature: flipped(&good.signature), ..good.clone() };
            prop_assert_eq!(verify(&signature, Some(&keys)), Err(RejectReason::BadSignature));
            let nonce = VoteResponse { nonce: Nonce(NONCE.0 ^ 1 << place.index(128)), ..good };
            prop_assert_eq!(verify(&nonce, Some(&keys)), Err(RejectReason::BadSignature));
        }
    }
}
