//! SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.

use data_encoding::BASE64;
use ring::{
    digest::{SHA256, digest},
    hmac::{HMAC_SHA256, Key, sign},
};
use tokio::task::yield_now;

/// Its name.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// The most iterations that a server may ask for, which take us some 50 ms. PostgreSQL has 4,096 where nothing else is set.
const MAX_ITERATIONS: u32 = 100_000;

/// How many are done before other probes have their turn.
const AT_ONCE: u32 = 1000;

/// A password with salt. Deriving it is the costly part, so it is kept.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    key: [u8; 32],
}

impl Salted {
    /// Whether it is what the challenge asks for.
    pub(super) fn fits(&self, challenge: &Challenge) -> bool {
        (&self.salt, self.iterations) == (&challenge.salt, challenge.iterations)
    }

    /// `Hi` of RFC 5802. A password outside of ASCII is taken as it is, as PostgreSQL does where it cannot prepare it.
    pub(super) async fn derive(password: &[u8], challenge: &Challenge) -> Self {
        let key = Key::new(HMAC_SHA256, password);
        let mut block = sign(&key, &[&challenge.salt[..], &[0, 0, 0, 1]].concat());
        let mut sum = bytes(block.as_ref());
        for round in 1..challenge.iterations {
            if round % AT_ONCE == 0 {
                yield_now().await;
            }
            block = sign(&key, block.as_ref());
            sum.iter_mut().zip(block.as_ref()).for_each(|(sum, byte)| *sum ^= byte);
        }
        Self { salt: challenge.salt.clone(), iterations: challenge.iterations, key: sum }
    }

    fn hmac(&self, text: &[u8]) -> [u8; 32] {
        hmac(&self.key, text)
    }
}

fn bytes(digest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest);
    bytes
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    bytes(sign(&Key::new(HMAC_SHA256, key), text).as_ref())
}

/// What the server wants the password to be salted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
    /// Its message, which is signed.
    text: String,
}

/// Our nonce, and so our first message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub(super) nonce: &'a str,
}

impl Exchange<'_> {
    /// PostgreSQL takes the user from the startup message, and none here.
    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// Our first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.bare())
    }

    /// Reads the server's first message; nothing if it breaks the protocol or asks for too much.
    pub(super) fn challenge(&self, message: &[u8]) -> Option<Challenge> {
        let text = std::str::from_utf8(message).ok()?;
        let mut parts = text.split(',');
        let nonce = parts.next()?.strip_prefix("r=")?;
        let salt = BASE64.decode(parts.next()?.strip_prefix("s=")?.as_bytes()).ok()?;
        let iterations = parts.next()?.strip_prefix("i=")?.parse().ok()?;
        let ours = nonce.starts_with(self.nonce) && nonce.len() > self.nonce.len();
        let bounded = (1..=MAX_ITERATIONS).contains(&iterations);
        (ours && bounded).then(|| Challenge { nonce: nonce.to_owned(), salt, iterations, text: text.to_owned() })
    }

    /// Our last message, and what the server must answer to show that it knows the password too.
    pub(super) fn proof(&self, challenge: &Challenge, salted: &Salted) -> (String, String) {
        // "biws" is "n,," in base64.
        let last = format!("c=biws,r={}", challenge.nonce);
        let signed = format!("{},{},{last}", self.bare(), challenge.text);
        let client_key = salted.hmac(b"Client Key");
        let mut proof = hmac(digest(&SHA256, &client_key).as_ref(), signed.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(byte, key)| *byte ^= key);
        let server = hmac(&salted.hmac(b"Server Key"), signed.as_bytes());
        (format!("{last},p={}", BASE64.encode(&proof)), format!("v={}", BASE64.encode(&server)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: Exchange<'_> = Exchange { nonce: "rOprNGfwEbeRWgbNEkqO" };

    /// RFC 7677 3, but for the user, which PostgreSQL does not read there.
    #[tokio::test]
    async fn the_salted_password_is_that_of_rfc_7677() {
        let first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let challenge = EXCHANGE.challenge(first).unwrap();
        let salted = Salted::derive(b"pencil", &challenge).await;
        assert!(salted.fits(&challenge));
        // By ring's own derivation.
        let mut expected = [0; 32];
        let iterations = std::num::NonZeroU32::new(4096).unwrap();
        ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, iterations, &challenge.salt, b"pencil", &mut expected);
        assert_eq!(salted.key, expected);
        // By the text of the RFC, with its user.
        let signed = format!("n=user,r={},{},c=biws,r={}", EXCHANGE.nonce, challenge.text, challenge.nonce);
        let server = hmac(&salted.hmac(b"Server Key"), signed.as_bytes());
        assert_eq!(BASE64.encode(&server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let (last, _) = EXCHANGE.proof(&challenge, &salted);
        assert!(last.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="), "{last}");
    }

    #[test]
    fn a_challenge_that_is_not_for_us_or_costs_too_much_is_none() {
        let challenge = |text: &str| EXCHANGE.challenge(text.as_bytes());
        assert!(challenge("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=100000").is_some());
        for text in [
            "",
            "r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096",
            "r=other,s=AAAA,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=0",
            "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=100001",
            "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA",
            "m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096",
        ] {
            assert_eq!(challenge(text), None, "{text}");
        }
    }
}
