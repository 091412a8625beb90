//! What the data of each type consists of.

/// What data consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A name.
    Name,
    /// Numbers of one, two and four bytes.
    Byte,
    Short,
    Long,
    /// Addresses.
    Ipv4,
    Ipv6,
    /// A text of at most 255 bytes, and a word of that form.
    Text,
    Word,
    /// All texts that follow, as one.
    Texts,
    /// The bytes that follow, as a text, and as dig prints those of keys.
    Rest,
    Hex,
    Base64,
    /// Parameters of a service (RFC 9460 2.1).
    Params,
}

/// The types that dig has names for here: those of the configuration but ANY.
pub(super) const fn layout(record: u16) -> Option<&'static [Part]> {
    use Part::*;
    Some(match record {
        1 => &[Ipv4],
        2 | 5 | 12 => &[Name],
        6 => &[Name, Name, Long, Long, Long, Long, Long],
        15 => &[Short, Name],
        16 => &[Texts],
        28 => &[Ipv6],
        33 => &[Short, Short, Short, Name],
        35 => &[Short, Short, Text, Text, Text, Name],
        43 => &[Short, Byte, Byte, Hex],
        48 => &[Short, Byte, Byte, Base64],
        52 => &[Byte, Byte, Byte, Hex],
        64 | 65 => &[Short, Name, Params],
        257 => &[Byte, Word, Rest],
        _ => return None,
    })
}

/// The longest name (RFC 1035 2.3.4).
pub(super) const MAX_NAME: usize = 255;

pub(super) fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(super) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
