//! The part of a URL after the question mark.

use std::borrow::Cow;

/// The parameters of a query in their order, decoded; what is not UTF-8 is replaced.
pub(super) fn parameters(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// A value as it may stand in a message: quoted, without control characters, of bounded length.
pub(super) fn quoted(value: &str) -> String {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &value[..end]),
        None => format!("{value:?}"),
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let escaped = bytes.get(at..at + 2).filter(|_| byte == b'%');
        match escaped.and_then(|digits| Some(hex(digits[0])? << 4 | hex(digits[1])?)) {
            Some(value) => {
                plain.push(value);
                at += 2;
            }
            None => plain.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(query: &str) -> Vec<(String, String)> {
        parameters(Some(query)).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    #[test]
    fn parameters_are_decoded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(all("a=1&b=x%2Fy+z&&c"), [pair("a", "1"), pair("b", "x/y z"), pair("c", "")]);
        assert_eq!(
            all("a=%&b=%4&c=%zz&d=%ff"),
            [pair("a", "%"), pair("b", "%4"), pair("c", "%zz"), pair("d", "\u{fffd}")]
        );
        assert_eq!(all("a=é%é"), [pair("a", "é%é")]);
        assert!(all("").is_empty());
    }

    #[test]
    fn what_a_client_sent_is_quoted_and_short() {
        assert_eq!(quoted("a\r\nb"), r#""a\r\nb""#);
        assert!(quoted(&"é".repeat(10_000)).len() < 200);
    }
}
