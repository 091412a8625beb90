//! Parameters of a service, as in records of the types SVCB and HTTPS (RFC 9460 2).

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;

use super::{
    layout::{byte, short},
    text::{escaped, unescaped},
};

/// The names of keys; the number is the place.
const KEYS: [&str; 8] = ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath"];

fn key_name(key: u16) -> String {
    KEYS.get(usize::from(key)).map_or_else(|| format!("key{key}"), |name| (*name).to_owned())
}

fn key_number(name: &str) -> Option<u16> {
    let named = KEYS.iter().position(|key| *key == name).and_then(|place| u16::try_from(place).ok());
    named.or_else(|| name.strip_prefix("key")?.parse().ok())
}

/// The parameters as dig prints them; `None` if they are not what their keys say.
pub(super) fn present(mut data: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    while !data.is_empty() {
        let (key, length) = (short(data, 0)?, usize::from(short(data, 2)?));
        let value = data.get(4..4 + length)?;
        data = &data[4 + length..];
        let name = key_name(key);
        texts.push(match present_value(key, value)? {
            text if text.is_empty() => name,
            text => format!("{name}={text}"),
        });
    }
    Some(texts.join(" "))
}

fn present_value(key: u16, value: &[u8]) -> Option<String> {
    Some(match key {
        0 | 4 | 6 if value.is_empty() => return None,
        0 => {
            let keys = value.chunks(2).map(|key| Some(key_name(short(key, 0)?)));
            keys.collect::<Option<Vec<_>>>()?.join(",")
        }
        1 => {
            let (mut rest, mut protocols) = (value, Vec::new());
            while let Some(length) = byte(rest, 0) {
                let end = 1 + usize::from(length);
                let protocol = rest.get(1..end)?;
                // Such a name would need escapes within escapes.
                if protocol.is_empty() || protocol.iter().any(|byte| matches!(byte, b',' | b'"' | b'\\')) {
                    return None;
                }
                protocols.push(escaped(protocol));
                rest = &rest[end..];
            }
            if protocols.is_empty() {
                return None;
            }
            format!("\"{}\"", protocols.join(","))
        }
        3 => u16::from_be_bytes(value.try_into().ok()?).to_string(),
        4 => addresses::<4>(value, |bytes| Ipv4Addr::from(bytes).to_string())?,
        5 => BASE64.encode(value),
        6 => addresses::<16>(value, |bytes| Ipv6Addr::from(bytes).to_string())?,
        _ if value.is_empty() => String::new(),
        _ => format!("\"{}\"", escaped(value)),
    })
}

fn addresses<const N: usize>(value: &[u8], show: impl Fn([u8; N]) -> String) -> Option<String> {
    let all: Option<Vec<_>> = value.chunks(N).map(|bytes| Some(show(bytes.try_into().ok()?))).collect();
    Some(all?.join(","))
}

/// The parameters that these words are, in the order of their keys; `None` if a word is no parameter.
pub(super) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Option<Vec<u8>> {
    let mut params = Vec::new();
    for word in words {
        let (name, text) = word.split_once('=').map_or((word, ""), |(name, text)| (name, text));
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let key = key_number(name)?;
        params.push((key, parse_value(key, text)?));
    }
    params.sort();
    let mut data = Vec::new();
    for (key, value) in params {
        data.extend_from_slice(&key.to_be_bytes());
        data.extend_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
        data.extend(value);
    }
    Some(data)
}

fn parse_value(key: u16, text: &str) -> Option<Vec<u8>> {
    let each =
        |read: &dyn Fn(&str) -> Option<Vec<u8>>| Some(text.split(',').map(read).collect::<Option<Vec<_>>>()?.concat());
    match key {
        0 => {
            let mut keys: Vec<_> = text.split(',').map(key_number).collect::<Option<_>>()?;
            keys.sort_unstable();
            Some(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        1 => each(&|protocol| {
            let bytes = unescaped(protocol)?;
            let length = u8::try_from(bytes.len()).ok().filter(|length| *length > 0)?;
            Some([&[length][..], &bytes].concat())
        }),
        3 => Some(text.parse::<u16>().ok()?.to_be_bytes().to_vec()),
        4 => each(&|address| Some(address.parse::<Ipv4Addr>().ok()?.octets().to_vec())),
        5 => BASE64.decode(text.as_bytes()).ok(),
        6 => each(&|address| Some(address.parse::<Ipv6Addr>().ok()?.octets().to_vec())),
        _ => unescaped(text),
    }
}
