//! What a configuration takes from elsewhere: `${NAME}` from the environment, passwords and keys from files.
//!
//! Nothing here repeats a secret in a mistake.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    failover::{Secret, VoteKeys, new_key},
    units::Parsed,
};

/// The largest file that is read: a bundle of all public authorities has 0.2 MB.
const MAX_FILE: u64 = 4 << 20;

const A_PATH: &str = "write the path of a file";

/// Where secrets come from.
pub(super) struct Secrets<'a> {
    variables: &'a BTreeMap<OsString, OsString>,
    /// The configuration file's directory, which relative paths begin at.
    directory: &'a Path,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(variables: &'a BTreeMap<OsString, OsString>, directory: &'a Path) -> Self {
        Self { variables, directory, used: RefCell::default() }
    }

    /// Whether `${name}` was used.
    pub(super) fn used(&self, name: &str) -> bool {
        self.used.borrow().contains(name)
    }

    /// The text with each `${NAME}` replaced by that variable; `$${` stands for `${`.
    pub(super) fn expand(&self, text: &str) -> Parsed<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = after;
                continue;
            }
            expanded.push_str(before);
            let (name, after) = after
                .split_once('}')
                .filter(|(name, _)| is_variable(name))
                .ok_or("has a ${ without a variable's name and }; write ${NAME}, or $${ for the two characters ${")?;
            expanded.push_str(&self.variable(name)?);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn variable(&self, name: &str) -> Parsed<String> {
        self.used.borrow_mut().insert(name.to_owned());
        let value = self.variables.get(&OsString::from(name)).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("names a variable that is not set; set {name} in the environment"))?;
        let value = value.to_str().ok_or_else(|| format!("names a variable that is not UTF-8; set {name} to text"))?;
        Ok(value.to_owned())
    }

    /// The path of a file that is named in the configuration.
    fn path(&self, text: &str) -> Parsed<PathBuf> {
        if text.is_empty() {
            return Err("is empty; write the path of a file".to_owned());
        }
        Ok(self.directory.join(text))
    }

    fn bytes(&self, text: &str, instead: &str) -> Parsed<(PathBuf, Vec<u8>)> {
        let path = self.path(text)?;
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound if path == Path::new(text) => format!("does not exist; {instead}"),
            ErrorKind::NotFound => format!("does not exist as {}; {instead}", path.display()),
            ErrorKind::PermissionDenied => "may not be read; let this process's user read it".to_owned(),
            _ => format!("cannot be read ({error}); write the path of a readable file"),
        };
        // A pipe or a device could block for ever, or never end.
        if !std::fs::metadata(&path).map_err(failed)?.is_file() {
            return Err("is no regular file; write the path of a file".to_owned());
        }
        let mut bytes = Vec::new();
        File::open(&path).map_err(failed)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err("has more than 4 MiB; write the path of the right file".to_owned());
        }
        Ok((path, bytes))
    }

    /// What a secret's file holds, without the line break at its end.
    pub(super) fn file(&self, text: &str) -> Parsed<String> {
        let (_, bytes) = self.bytes(text, A_PATH)?;
        let secret = String::from_utf8(bytes).map_err(|_| "holds no UTF-8; write a text file with one line")?;
        let secret = secret.trim_end_matches(['\r', '\n']);
        match secret {
            "" => Err("is an empty file; write the secret into it".to_owned()),
            _ if secret.contains(['\r', '\n']) => {
                Err("holds several lines; write a text file with one line".to_owned())
            }
            _ => Ok(secret.to_owned()),
        }
    }

    /// The keys that a file holds for votes.
    pub(super) fn vote_keys(&self, text: &str) -> Parsed<VoteKeys> {
        let (file, bytes) = self.bytes(text, &format!("make it with {}", new_key(&self.path(text)?)))?;
        let keys = Secret::list(&bytes, &file)?;
        Ok(VoteKeys { file, keys })
    }

    /// The path of a PEM file that holds certificates.
    pub(super) fn certificates(&self, text: &str) -> Parsed<PathBuf> {
        let (path, bytes) = self.bytes(text, A_PATH)?;
        match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => Ok(path),
            _ => Err("holds no certificate in PEM form; write a file with -----BEGIN CERTIFICATE-----".to_owned()),
        }
    }

    /// The path of a PEM file that holds a private key.
    pub(super) fn private_key(&self, text: &str) -> Parsed<PathBuf> {
        let (path, bytes) = self.bytes(text, A_PATH)?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(_) => Ok(path),
            Err(_) => Err("holds no private key in PEM form; write a file with -----BEGIN PRIVATE KEY-----".to_owned()),
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Base 64 with padding (RFC 4648 section 4), for basic authentication.
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let letter = LETTERS[(three >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Parsed<String> {
        let variables = BTreeMap::from([("TOKEN".into(), "s3cret".into()), ("EMPTY".into(), OsString::new())]);
        Secrets::new(&variables, Path::new("")).expand(text)
    }

    #[test]
    fn variables_are_substituted_once() {
        assert_eq!(expand("a ${TOKEN}-${TOKEN} $b").as_deref(), Ok("a s3cret-s3cret $b"));
        assert_eq!(expand("$${TOKEN}").as_deref(), Ok("${TOKEN}"));
        for text in ["${", "${}", "${A B}", "${1}", "${MISSING}", "${EMPTY}"] {
            assert!(expand(text).is_err(), "{text}");
        }
    }

    /// The vectors of RFC 4648 section 10.
    #[test]
    fn base64_pads() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn devices_and_directories_are_not_read() {
        let variables = BTreeMap::new();
        let secrets = Secrets::new(&variables, Path::new(""));
        for path in ["/dev/zero", "/", "/nonexistent", "", "a\0b"] {
            assert!(secrets.file(path).is_err(), "{path}");
        }
    }
}
