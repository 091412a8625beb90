//! The keys that votes are signed and verified with.

use std::path::{Path, PathBuf};

use crate::yaml::{Parsed, Secret, secrets::Secrets};

/// What votes are signed and verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteKeys {
    /// The file they were read from.
    pub file: PathBuf,
    /// One or two: the first signs, both verify. With two, the vantages can change keys one after another.
    pub keys: Vec<Secret>,
}

/// The keys that a file holds, and what is wrong with them although they work.
pub(super) fn read(text: &str, secrets: &Secrets<'_>) -> Parsed<(VoteKeys, Vec<String>)> {
    let (file, content) = secrets.bytes(text, &format!("create it with {}", new_key(&secrets.path(text)?)))?;
    let keys = list(&content.bytes, &file)?;
    let mut warnings = Vec::new();
    if keys.iter().any(|key| is_repeated(key.as_bytes())) {
        warnings.push(format!("contains a key of one repeated character; create one with {}", new_key(&file)));
    }
    if content.is_exposed {
        warnings.push(exposed(&file));
    }
    Ok((VoteKeys { file, keys }, warnings))
}

/// The keys of a file: one or two lines of 16 to 256 printable characters, without blank lines and lines that begin
/// with `#`. 16 bytes cannot be guessed; HMAC gains nothing from more than 64.
fn list(file: &[u8], path: &Path) -> Parsed<Vec<Secret>> {
    let hint = || format!("create one with {}", new_key(path));
    let mut keys: Vec<Secret> = Vec::new();
    for (n, line) in (1..).zip(file.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        match line.len() {
            0 => continue,
            _ if line.starts_with(b"#") => continue,
            _ if !line.iter().all(|byte| matches!(byte, b' '..=b'~')) => {
                return Err(format!("contains a key on line {n} that is not ASCII text; {}", hint()));
            }
            length @ ..16 => {
                return Err(format!("contains a key of {length} characters on line {n}; {}", hint()));
            }
            length @ 257.. => {
                return Err(format!("contains a key of {length} characters on line {n}; write at most 256"));
            }
            _ => {}
        }
        let key = Secret::new(line);
        if keys.contains(&key) {
            return Err(format!("contains the same key again on line {n}; delete one of them"));
        }
        if keys.len() == 2 {
            return Err(format!("contains a third key on line {n}; keep two, with the one that signs first"));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(format!("contains no key; {}", hint())) } else { Ok(keys) }
}

/// Whether a key is one byte, again and again.
fn is_repeated(key: &[u8]) -> bool {
    key.iter().all(|byte| *byte == key[0])
}

/// A warning of a key that every user of the machine can read.
pub(super) fn exposed(file: &Path) -> String {
    format!("can be read by every user of this machine; run: chmod o-rwx {}", file.display())
}

/// What to type for a new key in that file.
fn new_key(path: &Path) -> String {
    format!("(umask 077; openssl rand -hex 32 > {})", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_two_keys_are_read_without_comments_and_whitespace() {
        let read = |text: &str| {
            let keys = list(text.as_bytes(), Path::new("votes.key"))?;
            Ok::<Vec<_>, String>(keys.iter().map(|key| String::from_utf8(key.as_bytes().to_vec()).unwrap()).collect())
        };
        let (a, b, c) = ("a".repeat(16), "b".repeat(256), "c".repeat(40));
        assert_eq!(read(&a), Ok(vec![a.clone()]));
        assert_eq!(read(&format!("# new\r\n \t{a}\r\n\r\n# old\n{b}")), Ok(vec![a.clone(), b.clone()]));
        for text in [
            String::new(),
            "\n# only this\n".to_owned(),
            a[1..].to_owned(),
            format!("{b}b"),
            format!("{a}\n{a}"),
            format!("{a}\n{b}\n{c}"),
            format!("\u{feff}{a}"),
            format!("{a}\n{}é", &b[..100]),
            format!("{a}\0{a}"),
        ] {
            let told = read(&text).unwrap_err();
            assert!(told.contains("; ") && !told.contains(&a), "{told}");
        }
    }
}
