//! The key that signs orders, and the public keys of the peers.

use std::{collections::BTreeMap, path::PathBuf};

use super::{types::Operator, votes::exposed};
use crate::{
    model::Region,
    signing::{InvalidKey, PrivateKey, PublicKey, PublicKeys},
    yaml::{Item, Parsed, secrets::Secrets},
};

/// What orders are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The file that it was read from.
    pub file: PathBuf,
    /// The key.
    pub key: PrivateKey,
}

/// The key that a file holds, and what is wrong with it although it works.
pub(super) fn read(text: &str, secrets: &Secrets<'_>) -> Parsed<(SigningKey, Vec<String>)> {
    let create = format!("create it with regionwatch keygen {}", secrets.path(text)?.display());
    let (file, content) = secrets.bytes(text, &create)?;
    let key = PrivateKey::from_pem(&content.bytes).map_err(|error| error.to_string())?;
    let mut warnings = Vec::new();
    if key.is_repeated() {
        let place = file.display();
        warnings.push(format!(
            "contains a key of one repeated byte; delete it, and create one with regionwatch keygen {place}"
        ));
    }
    if content.is_exposed {
        warnings.push(exposed(&file));
    }
    Ok((SigningKey { file, key }, warnings))
}

/// The operator in `NAME=KEY`. What has no key may be a private one, and is not repeated.
pub(super) fn operator(text: &str) -> Parsed<Operator> {
    const HINT: &str = "write NAME=KEY with the key that regionwatch keygen printed, such as alice=ed25519:AbC...=";
    let (name, key) = text.split_once('=').ok_or_else(|| format!("has no name; {HINT}"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
        return Err(format!("has a name that is not 1 to 64 letters, digits, '-', '_', '.' or '@'; {HINT}"));
    }
    let key = key.parse().map_err(|error: InvalidKey| error.to_string())?;
    Ok(Operator { name: name.to_owned(), key })
}

/// The keys that were read, each with the vantage that it belongs to: no key has two owners.
pub(super) type Owners = BTreeMap<PublicKey, Region>;

/// Reads one public key of a region. What is none may be a private key, and is not repeated.
pub(super) fn public_key(
    item: &Item<'_>,
    region: &Region,
    text: &str,
    count: usize,
    owners: &mut Owners,
) -> Option<PublicKey> {
    let key: PublicKey = text.parse().map_err(|error: InvalidKey| item.wrong(error.to_string())).ok()?;
    match owners.insert(key, region.clone()) {
        Some(other) if other == *region => item.wrong_value("is a duplicate; delete it"),
        Some(other) => {
            item.wrong_value(&format!("is also a key of {other}; create one for each vantage with regionwatch keygen"))
        }
        None if count == PublicKeys::MAX => item.wrong_value("is a third key; write at most two"),
        None => return Some(key),
    }
    None
}
