//! What a peer's sidecar answered, on its way from the probe that asked to whoever counts votes.

use std::fmt;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use tokio::time::Instant;

use super::Region;

/// The request header field that carries a [`Nonce`].
pub const NONCE_HEADER: &str = "regionwatch-nonce";

/// The response header field that carries the signature of a vote message.
pub const SIGNATURE_HEADER: &str = "regionwatch-signature";

/// A number that was never used before: an answer that is signed together with it was made after it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub u128);

impl Nonce {
    /// Reads the form that [`Display`](fmt::Display) writes: 32 lower-case hexadecimal digits, and nothing else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        HEXLOWER.decode(text).ok()?.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The most peers of a vantage that votes.
pub const MAX_VOTE_PEERS: usize = 1024;

/// An answer with status 200 to a sidecar probe. Every byte of it is the peer's, and nothing is verified yet.
#[derive(Debug, Clone)]
pub struct VoteResponse {
    /// The region that was asked.
    pub peer: Region,
    /// The nonce that this one request carried.
    pub nonce: Nonce,
    /// The body; `None` where it is larger than the probe reads, which is [`Self::MAX_BODY`] at the most.
    pub body: Option<Bytes>,
    /// The value of [`SIGNATURE_HEADER`], cut after [`Self::MAX_SIGNATURE`] bytes.
    pub signature: Option<Bytes>,
    /// Whether the connection itself vouched for the peer: TLS with a certificate that was verified, and one of
    /// ours that was offered.
    pub trusted_transport: bool,
    /// Just before the request was made: what the answer says is no older than this, but for the 10 ms that a sidecar
    /// may give the same answer for.
    pub requested_at: Instant,
    /// When the answer was there.
    pub received_at: Instant,
}

impl VoteResponse {
    /// The largest body that is read from a sidecar, in bytes: a thousand peers fit in.
    pub const MAX_BODY: usize = 256 << 10;

    /// More bytes than any signature has.
    pub const MAX_SIGNATURE: usize = 128;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_one_form_only() {
        for nonce in [Nonce(0), Nonce(0xab), Nonce(u128::MAX)] {
            let text = nonce.to_string();
            assert_eq!((text.len(), Nonce::parse(text.as_bytes())), (32, Some(nonce)));
        }
        let good = "0123456789abcdef0123456789abcdef";
        assert!(Nonce::parse(good.as_bytes()).is_some());
        for bad in ["", "0", &good[1..], &good.to_uppercase(), &good.replace('0', "+"), &format!("{good}0"), "\u{e9}"] {
            assert_eq!(Nonce::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Nonce::parse(&[0xff; 32]), None);
    }
}
