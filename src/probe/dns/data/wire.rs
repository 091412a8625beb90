//! Data in messages (RFC 1035 4.1).

use std::ops::Range;

use super::layout::{MAX_NAME, Part, byte, layout, short};

/// The bytes of a header, and those of a question after its name.
const HEADER: usize = 12;
const QUESTION: usize = 4;

/// The class IN.
const INTERNET: u16 = 1;

/// The records of the answer section: type and data. `None` if the message ends within one.
pub(crate) fn answers(message: &[u8]) -> Option<Vec<(u16, Range<usize>)>> {
    let (questions, count) = (short(message, 4)?, short(message, 6)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(message, at)? + QUESTION;
    }
    let mut records = Vec::new();
    for _ in 0..count {
        at = after_name(message, at)?;
        let (record, class, length) = (short(message, at)?, short(message, at + 2)?, short(message, at + 8)?);
        let data = at + 10..at + 10 + usize::from(length);
        message.get(data.clone())?;
        at = data.end;
        if class == INTERNET {
            records.push((record, data));
        }
    }
    Some(records)
}

/// Where what follows the name begins.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match byte(message, at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Writes the name in lower case and whole, and returns where what follows begins.
fn read_name(message: &[u8], start: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (first, end) = (out.len(), after_name(message, start)?);
    // A pointer must lead back, so that it cannot lead in circles.
    let (mut at, mut lowest) = (start, start);
    loop {
        match byte(message, at)? {
            0 => break,
            length @ 1..=63 => {
                let label = message.get(at..=at + usize::from(length))?;
                out.push(length);
                out.extend(label[1..].iter().map(u8::to_ascii_lowercase));
                at += label.len();
            }
            0xc0.. => {
                at = usize::from(short(message, at)? & 0x3fff);
                if at >= lowest {
                    return None;
                }
                lowest = at;
            }
            _ => return None,
        }
        if out.len() - first >= MAX_NAME {
            return None;
        }
    }
    out.push(0);
    Some(end)
}

/// The data of a record in a message; `None` if it is not what its type says.
pub(crate) fn read(record: u16, message: &[u8], Range { start, end }: Range<usize>) -> Option<Vec<u8>> {
    // A pointer may lead back to any place, and nothing may lead beyond the data.
    let message = message.get(..end)?;
    let Some(layout) = layout(record) else { return Some(message.get(start..)?.to_vec()) };
    let (mut at, mut out) = (start, Vec::new());
    for part in layout {
        let length = match part {
            Part::Name => {
                at = read_name(message, at, &mut out)?;
                continue;
            }
            Part::Byte => 1,
            Part::Short => 2,
            Part::Long | Part::Ipv4 => 4,
            Part::Ipv6 => 16,
            Part::Text | Part::Word => 1 + usize::from(byte(message, at)?),
            Part::Texts => {
                while at < end {
                    let length = usize::from(byte(message, at)?);
                    out.extend_from_slice(message.get(at + 1..at + 1 + length)?);
                    at += 1 + length;
                }
                0
            }
            Part::Rest | Part::Hex | Part::Base64 | Part::Params => end.checked_sub(at)?,
        };
        let bytes = message.get(at..at + length)?;
        match part {
            // Names of properties have no case (RFC 8659 4.1).
            Part::Word => out.extend(bytes.iter().map(u8::to_ascii_lowercase)),
            _ => out.extend_from_slice(bytes),
        }
        at += length;
    }
    (at == end).then_some(out)
}
