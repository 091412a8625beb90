//! Data as people write it: as dig prints it (RFC 1035 5.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

use super::{
    layout::{MAX_NAME, Part, layout},
    params,
    text::unescaped,
    wire::read,
};

/// The data that this text is for a record of the type; `None` if it is none.
pub(crate) fn parse(record: u16, text: &str) -> Option<Vec<u8>> {
    let words = words(text)?;
    if let [r"\#", length, hex @ ..] = &words[..] {
        let data = HEXLOWER_PERMISSIVE.decode(hex.concat().as_bytes()).ok()?;
        return if length.parse() == Ok(data.len()) { read(record, &data, 0..data.len()) } else { None };
    }
    // A text without quotes is one text, whatever spaces it has.
    if matches!(layout(record), Some([Part::Texts])) && !text.trim_start().starts_with('"') {
        return unescaped(text);
    }
    let (mut words, mut out) = (words.into_iter(), Vec::new());
    for part in layout(record)? {
        match part {
            Part::Texts => {
                for word in words.by_ref() {
                    out.extend(unescaped(unquoted(word))?);
                }
            }
            Part::Hex => out.extend(digits(&mut words, |all| HEXLOWER_PERMISSIVE.decode(all).ok())?),
            Part::Base64 => out.extend(digits(&mut words, |all| BASE64.decode(all).ok())?),
            Part::Params => out.extend(params::parse(words.by_ref())?),
            _ => parse_word(*part, words.next()?, &mut out)?,
        }
    }
    words.next().is_none().then_some(out)
}

/// What digits in one or more words stand for.
fn digits<'a>(words: &mut impl Iterator<Item = &'a str>, decode: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let all: String = words.collect();
    decode(all.as_bytes()).filter(|bytes| !bytes.is_empty())
}

fn parse_word(part: Part, word: &str, out: &mut Vec<u8>) -> Option<()> {
    match part {
        Part::Name => push_name(word, out)?,
        Part::Byte => out.push(word.parse().ok()?),
        Part::Short => out.extend(word.parse::<u16>().ok()?.to_be_bytes()),
        Part::Long => out.extend(word.parse::<u32>().ok()?.to_be_bytes()),
        Part::Ipv4 => out.extend(word.parse::<Ipv4Addr>().ok()?.octets()),
        Part::Ipv6 => out.extend(word.parse::<Ipv6Addr>().ok()?.octets()),
        Part::Text | Part::Word => {
            let text = unescaped(unquoted(word))?;
            out.push(u8::try_from(text.len()).ok()?);
            match part {
                Part::Word => out.extend(text.iter().map(u8::to_ascii_lowercase)),
                _ => out.extend(text),
            }
        }
        Part::Rest => out.extend(unescaped(unquoted(word))?),
        Part::Texts | Part::Hex | Part::Base64 | Part::Params => return None,
    }
    Some(())
}

/// Writes a name, which is absolute with a final dot or without.
fn push_name(word: &str, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    if word != "." {
        let mut labels = split(word, '.');
        if labels.last().is_some_and(|label| label.is_empty()) {
            labels.pop();
        }
        for label in labels {
            let label = unescaped(label)?;
            if !(1..=63).contains(&label.len()) {
                return None;
            }
            out.push(u8::try_from(label.len()).ok()?);
            out.extend(label.iter().map(u8::to_ascii_lowercase));
        }
    }
    out.push(0);
    (out.len() - start <= MAX_NAME).then_some(())
}

/// The text between places of this character that no backslash stands before.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut escaped = false;
    let is_end = |c| {
        let ends = c == at && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    text.split(is_end).collect()
}

/// The words, each with its quotes; `None` if a quote is not closed.
fn words(text: &str) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let is_end = |c: char| {
        let (was_escaped, ends) = (escaped, !quoted && !escaped && c.is_ascii_whitespace());
        escaped = c == '\\' && !was_escaped;
        quoted ^= c == '"' && !was_escaped;
        ends
    };
    let words = text.split(is_end).filter(|word| !word.is_empty()).collect();
    (!quoted).then_some(words)
}

fn unquoted(word: &str) -> &str {
    word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap_or(word)
}
