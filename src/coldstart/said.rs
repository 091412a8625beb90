//! What an engine says in other words than documents: versions, errors, logs.

use serde_json::Value;

/// The most characters that are shown of a log or an error.
const LONGEST: usize = 2000;

/// A version such as `1.41`.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What an engine says of an error.
pub(super) fn message(body: &[u8]) -> String {
    let told = serde_json::from_slice::<Value>(body).ok();
    let told = told.as_ref().and_then(|told| told.get("message")?.as_str());
    let text = told.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    text.trim().chars().take(LONGEST).collect()
}

/// The error among the lines of a progress report.
pub(super) fn error_line(body: &[u8]) -> Option<String> {
    body.split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .find_map(|line| Some(line.get("error")?.as_str()?.to_owned()))
}

/// The end of a log.
pub(super) fn log(body: &[u8]) -> String {
    let text = unframed(body);
    let cut = text.char_indices().rev().nth(LONGEST - 1).map_or(0, |(at, _)| at);
    text[cut..].to_owned()
}

/// The text of a log, whose pieces have a header of 8 bytes each where the container has no terminal.
fn unframed(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let [kind @ 0..=2, 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let _ = kind;
        let length = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).min(rest.len());
        text.push_str(&String::from_utf8_lossy(&rest[..length]));
        bytes = &rest[length..];
    }
    text.push_str(&String::from_utf8_lossy(bytes));
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_is_read_whatever_it_is() {
        assert_eq!(version("1.41"), Some((1, 41)));
        assert_eq!(version("x"), None);
        assert_eq!(message(br#"{"message":"no such thing"}"#), "no such thing");
        assert_eq!(message(b"<html>"), "<html>");
        assert_eq!(error_line(b"{\"status\":\"a\"}\n{\"error\":\"bad\"}\n").as_deref(), Some("bad"));
        assert_eq!(error_line(b"{\"status\":\"a\"}\n"), None);
        assert_eq!(unframed(b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x04 two"), "one two");
        assert_eq!(unframed(b"\x01\0\0\0\xff\xff\xff\xffcut"), "cut");
        assert_eq!(unframed(b"plain\n"), "plain");
    }

    #[test]
    fn of_a_long_log_the_end_is_shown() {
        assert_eq!(log(b"short\n"), "short");
        let long = format!("{}\u{e9}end", "x".repeat(100_000));
        let shown = log(long.as_bytes());
        assert!(shown.chars().count() == LONGEST && shown.ends_with("x\u{e9}end"), "{}", shown.len());
    }
}
