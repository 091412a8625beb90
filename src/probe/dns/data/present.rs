//! Data as dig prints it.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXUPPER};

use super::{
    layout::{Part, byte, layout, short},
    params,
    text::{escaped, push_byte, quoted},
};

/// The data as dig prints it, with names in lower case.
pub(crate) fn present(record: u16, data: &[u8]) -> String {
    let mut parts = Vec::new();
    match layout(record).and_then(|layout| present_parts(layout, data, &mut parts)) {
        Some(()) => parts.join(" "),
        None => unknown(data),
    }
}

/// Data of a type that has no form of its own (RFC 3597 5).
fn unknown(data: &[u8]) -> String {
    let hex = if data.is_empty() { String::new() } else { format!(" {}", HEXUPPER.encode(data)) };
    format!("\\# {}{hex}", data.len())
}

fn present_parts(layout: &[Part], data: &[u8], out: &mut Vec<String>) -> Option<()> {
    let mut at = 0;
    for part in layout {
        let rest = data.get(at..)?;
        let (text, length) = match part {
            Part::Name => present_name(rest)?,
            Part::Byte => (byte(rest, 0)?.to_string(), 1),
            Part::Short => (short(rest, 0)?.to_string(), 2),
            Part::Long => (u32::from_be_bytes(rest.get(..4)?.try_into().ok()?).to_string(), 4),
            Part::Ipv4 => (Ipv4Addr::from(<[u8; 4]>::try_from(rest.get(..4)?).ok()?).to_string(), 4),
            Part::Ipv6 => (Ipv6Addr::from(<[u8; 16]>::try_from(rest.get(..16)?).ok()?).to_string(), 16),
            Part::Text | Part::Word => {
                let length = 1 + usize::from(byte(rest, 0)?);
                let text = rest.get(1..length)?;
                let is_word = !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric);
                match part {
                    Part::Word if !is_word => return None,
                    Part::Word => (escaped(text), length),
                    _ => (quoted(text), length),
                }
            }
            Part::Texts | Part::Rest => (quoted(rest), rest.len()),
            Part::Hex | Part::Base64 if rest.is_empty() => return None,
            Part::Hex => (HEXUPPER.encode(rest), rest.len()),
            Part::Base64 => (BASE64.encode(rest), rest.len()),
            Part::Params => (params::present(rest)?, rest.len()),
        };
        at += length;
        if !text.is_empty() {
            out.push(text);
        }
    }
    (at == data.len()).then_some(())
}

fn present_name(data: &[u8]) -> Option<(String, usize)> {
    let (mut text, mut at) = (String::new(), 0);
    loop {
        let length = usize::from(byte(data, at)?);
        let label = data.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if label.is_empty() {
            break;
        }
        for byte in label {
            if matches!(byte, b'.' | b'"' | b'$' | b'(' | b')' | b';' | b'@' | b'\\') {
                text.push('\\');
            }
            push_byte(&mut text, *byte);
        }
        text.push('.');
    }
    Some((if text.is_empty() { ".".to_owned() } else { text }, at))
}
