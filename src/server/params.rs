//! The parameters of a URL, after the question mark.

use std::borrow::Cow;

/// The parameters in their order, decoded; invalid UTF-8 is replaced.
pub(super) fn parameters(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

/// A value for an error message: quoted, without control characters, of bounded length.
pub(super) fn quoted(value: &str) -> String {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &value[..end]),
        None => format!("{value:?}"),
    }
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
    fn a_quoted_value_is_short_and_has_no_control_characters() {
        assert_eq!(quoted("a\r\nb"), r#""a\r\nb""#);
        assert!(quoted(&"é".repeat(10_000)).len() < 200);
    }
}
