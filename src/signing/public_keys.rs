//! The public keys of all vantages.

use std::collections::BTreeMap;

use super::{
    key::{InvalidKey, PublicKey},
    order::Order,
};
use crate::model::{OrderSignature, Region, labels};

labels! {
    /// What the signature of a vantage under an order is worth.
    pub enum SignatureResult {
        /// One of its keys made it.
        Valid = "valid",
        /// None of its keys made it.
        Invalid = "invalid",
        /// No key of it is known.
        NoKey = "no_key",
    }
}

/// The keys of each vantage: one, or two while it changes its key. No two vantages share one, or one stolen key would
/// sign for both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicKeys(BTreeMap<Region, Vec<PublicKey>>);

impl PublicKeys {
    /// The most keys of one vantage.
    pub const MAX: usize = 2;

    /// Adds a key of a vantage.
    ///
    /// # Errors
    /// It is the key of another vantage, or given twice, or the vantage has [`Self::MAX`] already; as the end of a
    /// sentence.
    pub fn add(&mut self, vantage: &Region, key: PublicKey) -> Result<(), String> {
        match self.0.iter().find(|(_, keys)| keys.contains(&key)) {
            Some((other, _)) if other == vantage => return Err("is a duplicate; delete it".to_owned()),
            Some((other, _)) => {
                return Err(format!("is also a key of {other}; create one for each vantage with regionwatch keygen"));
            }
            None => {}
        }
        let keys = self.0.entry(vantage.clone()).or_default();
        if keys.len() == Self::MAX {
            return Err(format!("is a third key of {vantage}; write at most two"));
        }
        keys.push(key);
        Ok(())
    }

    /// Reads lines of a vantage and one of its keys; empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// The number of the line, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Self::default();
        let lines = (1..).zip(text.lines().map(str::trim));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let wrong = |reason: String| format!("line {number}: {reason}");
            let (vantage, key) = line.split_once(char::is_whitespace).ok_or_else(|| {
                wrong("has no space; write VANTAGE PUBLIC-KEY, such as eu-west-1 ed25519:AbC...=".into())
            })?;
            let vantage = Region::new(vantage)
                .map_err(|error| wrong(format!("the vantage {error}; write its region, such as eu-west-1")))?;
            let key: PublicKey =
                key.trim().parse().map_err(|error: InvalidKey| wrong(format!("the key of {vantage} {error}")))?;
            keys.add(&vantage, key).map_err(|reason| wrong(format!("the key {reason}")))?;
        }
        if keys.is_empty() {
            return Err("has no key; write lines of VANTAGE PUBLIC-KEY, such as eu-west-1 ed25519:AbC...=".to_owned());
        }
        Ok(keys)
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many vantages have one.
    pub fn vantages(&self) -> usize {
        self.0.len()
    }

    /// Whether this vantage has one.
    pub fn has(&self, vantage: &Region) -> bool {
        self.0.contains_key(vantage)
    }

    /// Whether this key is one of this vantage's.
    pub fn contains(&self, vantage: &Region, key: &PublicKey) -> bool {
        self.0.get(vantage).is_some_and(|keys| keys.contains(key))
    }

    /// Whether the vantage that the signature names made it, for this order.
    pub fn verify(&self, order: &Order<'_>, signed: &OrderSignature) -> SignatureResult {
        match self.0.get(&signed.vantage) {
            None => SignatureResult::NoKey,
            Some(keys) if keys.iter().any(|key| order.verify(key, signed)) => SignatureResult::Valid,
            Some(_) => SignatureResult::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Stage, UnixMillis},
        signing::PrivateKey,
    };

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    fn key() -> PrivateKey {
        PrivateKey::generate().unwrap().0
    }

    #[test]
    fn both_keys_of_a_rotating_vantage_verify_and_no_other() {
        let (old, new, other) = (key(), key(), key());
        let text = format!("# keys\n\na {}\n  a\t{} \nb {}\n", old.public(), new.public(), other.public());
        let keys = PublicKeys::parse(&text).unwrap();
        assert_eq!((keys.vantages(), keys.has(&region("a")), keys.has(&region("c"))), (2, true, false));
        let down = region("us-east-1");
        let order = Order { environment: "", region: &down, stage: Stage::Execute, drill: false };
        let signed = |vantage: &str, key: &PrivateKey| order.sign(&region(vantage), key, UnixMillis(1)).unwrap();
        let result = |vantage: &str, key: &PrivateKey| keys.verify(&order, &signed(vantage, key));
        assert_eq!([result("a", &old), result("a", &new), result("b", &other)], [SignatureResult::Valid; 3]);
        // A vantage cannot sign as another.
        assert_eq!((result("a", &other), result("c", &other)), (SignatureResult::Invalid, SignatureResult::NoKey));
        let contains = |vantage: &str, key: &PrivateKey| keys.contains(&region(vantage), &key.public());
        assert!(contains("a", &new) && !contains("a", &other) && !contains("c", &other));
    }

    #[test]
    fn each_error_of_a_file_names_the_line_and_what_to_write() {
        let (one, two, three) = (key().public(), key().public(), key().public());
        let parse = |text: &str| PublicKeys::parse(text).unwrap_err();
        assert!(parse("# none\n").contains("has no key; write"));
        assert!(parse(&format!("\n{one}")).starts_with("line 2: has no space; write"));
        assert!(parse(&format!("a/b {one}")).contains("line 1: the vantage contains '/'"));
        assert!(parse("a secret").contains("line 1: the key of a is not a public key; write"));
        assert!(!parse("a secret").contains("secret"));
        assert!(parse(&format!("a {one}\nb {one}")).contains("line 2: the key is also a key of a; create"));
        assert!(parse(&format!("a {one}\na {one}")).contains("is a duplicate; delete it"));
        assert!(parse(&format!("a {one}\na {two}\na {three}")).contains("line 3: the key is a third key of a"));
    }
}
