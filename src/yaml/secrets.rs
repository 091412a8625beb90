//! Values from outside the file: `${NAME}` from the environment, passwords and keys from files.
//!
//! No error repeats a secret.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    file::{self, Content, Unreadable},
    units::Parsed,
};
pub(crate) use crate::model::MASK;

/// The largest file that is read: a bundle of all public authorities has 0.2 MB.
const MAX_FILE: u64 = 4 << 20;

const A_PATH: &str = "write the path of a file";

/// Bytes that are sent, and displayed, debugged and printed as [`MASK`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Makes a secret of bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A text in which variables were replaced.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Expanded {
    /// With the values of the variables.
    pub(crate) sent: String,
    /// With [`MASK`] in their places.
    pub(crate) shown: String,
}

impl Expanded {
    fn push(&mut self, text: &str) {
        self.sent.push_str(text);
        self.shown.push_str(text);
    }
}

impl From<&str> for Expanded {
    fn from(text: &str) -> Self {
        Self { sent: text.to_owned(), shown: text.to_owned() }
    }
}

/// Where secrets come from.
pub(crate) struct Secrets<'a> {
    variables: &'a BTreeMap<OsString, OsString>,
    /// The directory of the configuration file, at which relative paths begin.
    directory: &'a Path,
    used: RefCell<BTreeSet<String>>,
    /// The files that were read: many probes may name the same one.
    files: RefCell<BTreeMap<PathBuf, Content>>,
}

impl<'a> Secrets<'a> {
    pub(crate) fn new(variables: &'a BTreeMap<OsString, OsString>, directory: &'a Path) -> Self {
        Self { variables, directory, used: RefCell::default(), files: RefCell::default() }
    }

    /// Whether `${name}` was used.
    pub(crate) fn used(&self, name: &str) -> bool {
        self.used.borrow().contains(name)
    }

    /// The text with each `${NAME}` replaced by that variable; `$${` stands for `${`.
    pub(crate) fn expand(&self, text: &str) -> Parsed<Expanded> {
        let mut expanded = Expanded::default();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                expanded.push(before);
                expanded.push("${");
                rest = after;
                continue;
            }
            expanded.push(before);
            let (name, after) = after
                .split_once('}')
                .filter(|(name, _)| is_variable(name))
                .ok_or("has a ${ without a variable name and }; write ${NAME}, or $${ for a literal ${")?;
            expanded.sent.push_str(&self.variable(name)?);
            expanded.shown.push_str(MASK);
            rest = after;
        }
        expanded.push(rest);
        Ok(expanded)
    }

    fn variable(&self, name: &str) -> Parsed<String> {
        self.used.borrow_mut().insert(name.to_owned());
        let value = self.variables.get(&OsString::from(name)).filter(|value| !value.is_empty());
        let value =
            value.ok_or_else(|| format!("refers to a variable that is not set; set {name} in the environment"))?;
        let value =
            value.to_str().ok_or_else(|| format!("refers to a variable that is not UTF-8; set {name} to text"))?;
        Ok(value.to_owned())
    }

    /// The path of a file that is named in the configuration.
    pub(crate) fn path(&self, text: &str) -> Parsed<PathBuf> {
        if text.is_empty() {
            return Err("is empty; write the path of a file".to_owned());
        }
        // Errors name the path, and a URL may have secrets.
        if text.contains("://") {
            return Err("is a URL; write the path of a file".to_owned());
        }
        Ok(self.directory.join(text))
    }

    /// The path and the content of a regular file of at most 4 MiB; `instead` is what to do if there is none.
    pub(crate) fn bytes(&self, text: &str, instead: &str) -> Parsed<(PathBuf, Content)> {
        let path = self.path(text)?;
        if let Some(content) = self.files.borrow().get(&path) {
            return Ok((path, content.clone()));
        }
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound if path == Path::new(text) => format!("does not exist; {instead}"),
            ErrorKind::NotFound => format!("does not exist as {}; {instead}", path.display()),
            ErrorKind::PermissionDenied => {
                "cannot be read (permission denied); allow this process's user to read it".to_owned()
            }
            _ => format!("cannot be read ({error}); write the path of a readable file"),
        };
        let content = file::read(&path, MAX_FILE).map_err(|error| unreadable(error, failed))?;
        self.files.borrow_mut().insert(path.clone(), content.clone());
        Ok((path, content))
    }

    /// The content of a file with a secret, without the line break at its end.
    pub(crate) fn file(&self, text: &str) -> Parsed<String> {
        let (_, Content { bytes, .. }) = self.bytes(text, A_PATH)?;
        line(&bytes)
    }

    /// The path and the bytes of a PEM file that holds certificates.
    pub(crate) fn certificates(&self, text: &str) -> Parsed<(PathBuf, Arc<[u8]>)> {
        let (path, Content { bytes, .. }) = self.bytes(text, A_PATH)?;
        match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => Ok((path, bytes)),
            _ => Err("contains no certificate in PEM form; write a file with -----BEGIN CERTIFICATE-----".to_owned()),
        }
    }

    /// The path and the bytes of a PEM file that holds a private key.
    pub(crate) fn private_key(&self, text: &str) -> Parsed<(PathBuf, Arc<[u8]>)> {
        let (path, Content { bytes, .. }) = self.bytes(text, A_PATH)?;
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(_) => Ok((path, bytes)),
            Err(_) => {
                Err("contains no private key in PEM form; write a file with -----BEGIN PRIVATE KEY-----".to_owned())
            }
        }
    }
}

fn unreadable(error: Unreadable, failed: impl FnOnce(std::io::Error) -> String) -> String {
    match error {
        Unreadable::Not(kind) => format!("is {kind} and not a regular file; write the path of a file"),
        Unreadable::TooLarge => "has more than 4 MiB; write the path of the right file".to_owned(),
        Unreadable::Io(error) => failed(error),
    }
}

/// The secret that a file holds now. The configuration may have been read long ago. Blocks.
pub(crate) fn read_line(path: &Path) -> Parsed<String> {
    let content = file::read(path, MAX_FILE);
    line(&content.map_err(|error| unreadable(error, |error| format!("cannot be read ({error})")))?.bytes)
}

/// A text of one line, without the line break at its end.
fn line(bytes: &[u8]) -> Parsed<String> {
    let secret = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8; write a text file with one line")?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    match secret {
        "" => Err("is an empty file; write the secret into it".to_owned()),
        _ if secret.contains(['\r', '\n']) => Err("contains several lines; write a text file with one line".to_owned()),
        _ => Ok(secret.to_owned()),
    }
}

/// The text that [`Secrets::expand`] reads as this one.
pub(crate) fn unexpanded(text: &str) -> String {
    text.replace("${", "$${")
}

/// Whether `${NAME}` is in the text.
pub(crate) fn names_variable(text: &str) -> bool {
    let after = text.split("${").skip(1);
    after.filter_map(|after| after.split_once('}')).any(|(name, _)| is_variable(name))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_secret() {
        let key = Secret::new(*b"hunter2");
        assert_eq!((format!("{key:?}"), format!("{key:#?}")), ("<secret>".to_owned(), "<secret>".to_owned()));
    }

    fn expand(text: &str) -> Parsed<Expanded> {
        let variables = BTreeMap::from([("TOKEN".into(), "s3cret".into()), ("EMPTY".into(), OsString::new())]);
        Secrets::new(&variables, Path::new("")).expand(text)
    }

    #[test]
    fn variables_are_substituted_once() {
        let (sent, shown) = ("a s3cret-s3cret $b".to_owned(), "a <secret>-<secret> $b".to_owned());
        assert_eq!(expand("a ${TOKEN}-${TOKEN} $b"), Ok(Expanded { sent, shown }));
        assert_eq!(expand("$${TOKEN}"), Ok("${TOKEN}".into()));
        for text in ["${", "${}", "${A B}", "${1}", "${MISSING}", "${EMPTY}"] {
            assert!(expand(text).is_err(), "{text}");
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
