//! The bytes that a vantage signs, and the annotation that carries the signatures.

use data_encoding::BASE64;
use serde::Serialize;

use super::key::{PrivateKey, PublicKey};
use crate::model::{OrderSignature, Region, Signature, Stage, UnixMillis};

/// What is signed begins with this, so that a signature of something else by the same key is none of an order. A change
/// of the form makes a new version.
const DOMAIN: &str = "regionwatch-order-v1\n";

/// An order about a region. It carries a signature of each vantage that holds the region down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<'a> {
    /// The environment that it is for; may be empty.
    pub environment: &'a str,
    /// The region that is down.
    pub region: &'a Region,
    /// Its stage.
    pub stage: Stage,
    /// Whether it is a drill.
    pub drill: bool,
}

impl Order<'_> {
    /// The bytes that are signed at that time: one line for each value, of which none has a line break. `None` for an
    /// environment with control characters.
    pub fn bytes(&self, at: UnixMillis) -> Option<Vec<u8>> {
        let Self { environment, region, stage, drill } = self;
        let text = format!(
            "{DOMAIN}environment={environment}\nregion={region}\nstage={}\ndrill={drill}\nat={at}\n",
            stage.as_str()
        );
        (!environment.contains(char::is_control)).then(|| text.into_bytes())
    }

    /// The signature of this vantage at that time.
    pub fn sign(&self, vantage: &Region, key: &PrivateKey, at: UnixMillis) -> Option<OrderSignature> {
        let signature = key.sign(&self.bytes(at)?);
        Some(OrderSignature { vantage: vantage.clone(), at, signature })
    }

    /// Whether the owner of the key signed this order, at the time that the signature says.
    pub fn verify(&self, key: &PublicKey, signed: &OrderSignature) -> bool {
        self.bytes(signed.at).is_some_and(|bytes| key.verify(&bytes, &signed.signature))
    }
}

/// The annotation `signatures` of an order: JSON in a string.
#[derive(Debug)]
pub struct SignatureList;

/// One entry.
#[derive(Serialize)]
struct Entry<'a> {
    vantage: &'a str,
    at: String,
    signature: String,
}

impl SignatureList {
    /// The most signatures of one order.
    pub const MAX: usize = 16;

    /// The most bytes of a list that is read.
    pub const MAX_BYTES: usize = 8 << 10;

    /// The text.
    pub fn encode(signatures: &[OrderSignature]) -> String {
        let entries = signatures.iter().take(Self::MAX).map(|OrderSignature { vantage, at, signature }| Entry {
            vantage: vantage.as_str(),
            at: at.to_string(),
            signature: encode_signature(signature),
        });
        let entries: Vec<_> = entries.collect();
        // Only strings: serialization cannot fail.
        serde_json::to_string(&entries).unwrap_or_default()
    }

    /// The signatures in a text. Entries that are none are left out, and so is what exceeds the limits.
    pub fn decode(text: &str) -> Vec<OrderSignature> {
        if text.len() > Self::MAX_BYTES {
            return Vec::new();
        }
        let entries: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
        let read = |entry: serde_json::Value| {
            let field = |name: &str| entry.get(name)?.as_str();
            Some(OrderSignature {
                vantage: Region::new(field("vantage")?).ok()?,
                at: UnixMillis::parse(field("at")?)?,
                signature: decode_signature(field("signature")?)?,
            })
        };
        entries.into_iter().take(Self::MAX).filter_map(read).collect()
    }
}

/// Reads a list of signatures, and verifies what is in it.
#[doc(hidden)]
pub fn fuzz_signatures(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let signatures = SignatureList::decode(&text);
    assert!(signatures.len() <= SignatureList::MAX);
    let order = |region| Order { environment: "", region, stage: Stage::Execute, drill: false };
    for signed in &signatures {
        // Never a signature that no vantage made.
        let key: PublicKey = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".parse().expect("a constant key");
        assert!(!order(&signed.vantage).verify(&key, signed));
    }
    assert_eq!(SignatureList::decode(&SignatureList::encode(&signatures)), signatures);
}

/// A signature as text.
pub(crate) fn encode_signature(signature: &Signature) -> String {
    BASE64.encode(&signature.0)
}

/// The signature in a text of one form only.
pub(crate) fn decode_signature(text: &str) -> Option<Signature> {
    Some(Signature(BASE64.decode(text.as_bytes()).ok()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: UnixMillis = UnixMillis(1_795_230_245_123);

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    #[test]
    fn the_signed_bytes_are_stable() {
        let region = region("us-east-1");
        let order = Order { environment: "prod", region: &region, stage: Stage::Execute, drill: false };
        assert_eq!(
            String::from_utf8(order.bytes(AT).unwrap()).unwrap(),
            "regionwatch-order-v1\nenvironment=prod\nregion=us-east-1\nstage=execute\ndrill=false\n\
             at=2026-11-21T03:04:05.123Z\n"
        );
        // A line break would make one order look like another.
        assert_eq!(Order { environment: "prod\nregion=a", ..order }.bytes(AT), None);
    }

    #[test]
    fn a_signature_is_valid_for_exactly_one_order_key_and_time() {
        let (down, other, here) = (region("us-east-1"), region("us-west-1"), region("eu-west-1"));
        let (key, _) = PrivateKey::generate().unwrap();
        let order = Order { environment: "prod", region: &down, stage: Stage::Execute, drill: false };
        let signed = order.sign(&here, &key, AT).unwrap();
        assert!(order.verify(&key.public(), &signed));
        for wrong in [
            Order { environment: "", ..order },
            Order { region: &other, ..order },
            Order { stage: Stage::Prepare, ..order },
            Order { drill: true, ..order },
        ] {
            assert!(!wrong.verify(&key.public(), &signed), "{wrong:?}");
        }
        assert!(!order.verify(&key.public(), &OrderSignature { at: UnixMillis(AT.0 + 1), ..signed.clone() }));
        assert!(!order.verify(&PrivateKey::generate().unwrap().0.public(), &signed));
    }

    #[test]
    fn a_list_is_bounded_and_entries_that_are_none_are_left_out() {
        let (key, _) = PrivateKey::generate().unwrap();
        let down = region("us-east-1");
        let order = Order { environment: "", region: &down, stage: Stage::Execute, drill: false };
        let all: Vec<_> = (0..20).map(|n| order.sign(&region(&format!("v{n}")), &key, AT).unwrap()).collect();
        let text = SignatureList::encode(&all);
        assert_eq!(SignatureList::decode(&text), all[..SignatureList::MAX]);
        let one = SignatureList::encode(&all[..1]);
        let entry = &one[1..one.len() - 1];
        assert_eq!(SignatureList::decode(&format!("[1,{{}},{entry},\"x\"]")), all[..1]);
        for text in ["", "{}", "[", "[[]]", &entry.replace("v0", "a b"), &format!("[{entry}]{}", " ".repeat(9_000))] {
            assert_eq!(SignatureList::decode(text), []);
        }
        for (from, to) in [("\"v0\"", "\"\""), ("2026", "20"), ("==", "="), ("==", "AA=="), ("vantage", "vintage")] {
            assert_eq!(SignatureList::decode(&one.replace(from, to)), [], "{to}");
        }
    }

    proptest! {
        #[test]
        fn an_arbitrary_list_never_panics(text in "\\PC{0,200}", from in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = SignatureList::decode(&text);
            let (key, _) = PrivateKey::generate().unwrap();
            let down = region("us-east-1");
            let order = Order { environment: "", region: &down, stage: Stage::Execute, drill: false };
            let mut text = SignatureList::encode(&[order.sign(&down, &key, AT).unwrap()]).into_bytes();
            let from = from.index(text.len());
            text[from] = byte;
            let read = SignatureList::decode(&String::from_utf8_lossy(&text));
            for signed in read {
                let _ = order.verify(&key.public(), &signed);
            }
        }
    }
}
