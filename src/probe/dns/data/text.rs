//! Texts with escapes (RFC 1035 5.1).

use std::fmt::Write as _;

pub(super) fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", escaped(text))
}

pub(super) fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' ' => out.push(' '),
            _ => push_byte(&mut out, *byte),
        }
    }
    out
}

pub(super) fn push_byte(out: &mut String, byte: u8) {
    if byte.is_ascii_graphic() {
        out.push(char::from(byte));
    } else {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\{byte:03}");
    }
}

/// The bytes of a text in which `\065` is a byte by its number and `\.` the character itself.
pub(super) fn unescaped(text: &str) -> Option<Vec<u8>> {
    let (mut rest, mut out) = (text.as_bytes(), Vec::with_capacity(text.len()));
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let number = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        if let Some(digits) = number {
            out.push(std::str::from_utf8(digits).ok()?.parse().ok()?);
            rest = &rest[3..];
        } else {
            let (character, more) = rest.split_first()?;
            out.push(*character);
            rest = more;
        }
    }
    Some(out)
}
