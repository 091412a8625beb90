//! The line of a file under an error, with a caret. It shows only what the error says itself, its key and its value: any other word may
//! be a secret, or a part of one. An error about indentation shows nothing else.

use std::fmt::Write as _;

use super::{
    diagnostics::{ConfigErrors, Place, quoted},
    tree::INDENTATION,
};

/// What stands for the rest of a line.
const REST: &str = "…";

/// The most errors with an excerpt: each reads the file from its start.
const MAX_EXCERPTS: usize = 20;

impl ConfigErrors {
    /// One line for each error, and the line of the file that it is about if it has a place there.
    pub fn with_excerpts<'a>(&'a self, source: &'a str) -> impl Iterator<Item = (String, Option<String>)> + 'a {
        let plain = plain(source);
        self.entries().enumerate().map(move |(n, (shown, place, key, text))| {
            let at = match *place {
                Place::File { line, column } => plain.map(|source| (source, line, column)),
                Place::Included { ref file, line, column } if n < MAX_EXCERPTS => {
                    let found = self.included.iter().find(|included| included.file == *file);
                    found.and_then(|included| Some((self::plain(&included.text)?, line, column)))
                }
                Place::Included { .. } | Place::Whole | Place::Variable(_) => None,
            };
            let excerpt = at.and_then(|(source, line, column)| {
                if key.is_empty() && text.contains(INDENTATION) {
                    indentation(source, line)
                } else if n < MAX_EXCERPTS {
                    excerpt(source, (line, column), key, text)
                } else {
                    None
                }
            });
            (shown, excerpt)
        })
    }
}

/// The text of a file whose lines are counted as YAML counts them. For YAML a carriage return alone ends a line, too.
fn plain(source: &str) -> Option<&str> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    source.split('\n').all(|line| !line.strip_suffix('\r').unwrap_or(line).contains('\r')).then_some(source)
}

/// How the line is indented, and the one before it.
fn indentation(source: &str, line: usize) -> Option<String> {
    let lines: Vec<_> = source.lines().take(line).enumerate().filter(|(_, text)| !text.trim().is_empty()).collect();
    let [.., above, wrong] = lines[..] else { return None };
    if wrong.0 + 1 != line {
        return None;
    }
    let width = line.to_string().len();
    let mut excerpt = String::new();
    for (n, text) in [above, wrong] {
        let _ = writeln!(excerpt, "  {:width$} | {}{REST}", n + 1, indent(text));
    }
    let caret = " ".repeat(indent(wrong.1).chars().count());
    let _ = write!(excerpt, "  {:width$} | {caret}^", "");
    Some(excerpt)
}

/// What is before the first word of a line: spaces, tabs and the marks of lists.
fn indent(line: &str) -> String {
    let end = line.find(|char: char| !char.is_whitespace() && char != '-').unwrap_or(line.len());
    line[..end].replace('\t', "→")
}

/// The line at this place, for an error about this key with this text. Line and column count from 1. `None` if there is nothing to
/// show.
fn excerpt(source: &str, (line, column): (usize, usize), key: &str, text: &str) -> Option<String> {
    let named = key.rsplit('.').next().unwrap_or_default();
    let whole = source.lines().nth(line.checked_sub(1)?)?;
    let at = whole.char_indices().map(|(at, _)| at).chain([whole.len()]).nth(column.checked_sub(1)?)?;
    let (before, after) = whole.split_at(at);
    // The key of the value at the caret, and what is before it if that is no value.
    let key = before.trim_end().strip_suffix(':');
    let start = key.map_or(0, |key| key.len() - word(key.chars().rev()).len());
    let start = key.filter(|key| !named.is_empty() && key[start..] == *named).map_or(at, |_| start);
    let (indent, between) = (&before[..start], &before[start..]);
    let indent = if indent.chars().all(|char| char.is_whitespace() || char == '-') { indent } else { "… " };
    let shown = format!("{}{between}", indent.replace('\t', " "));
    let value = value(after);
    let name = word(after.chars());
    let repeated = format!("{value:?}");
    let after = if !value.is_empty() && quoted(value) == repeated && text.contains(&repeated) {
        value.to_owned()
    } else if !name.is_empty() && name == named && after[name.len()..].starts_with(':') {
        format!("{name}: {REST}")
    } else if after.trim().is_empty() {
        String::new()
    } else {
        REST.to_owned()
    };
    if ![&*shown, &*after].iter().any(|part| part.contains(char::is_alphanumeric)) {
        return None;
    }
    let number = line.to_string();
    let caret = " ".repeat(shown.chars().count());
    Some(format!("  {number} | {shown}{after}\n  {} | {caret}^", " ".repeat(number.len())))
}

/// The characters at the start that a key of ours may have. They are ASCII, so that they come in either direction.
fn word(chars: impl Iterator<Item = char>) -> String {
    chars.take_while(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-')).collect()
}

/// The plain or quoted value at the start of a text, without its quotes.
fn value(text: &str) -> &str {
    let value = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].split(quote).next(),
        _ => text.split([',', '}', ']', '#']).next(),
    };
    value.unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_what_the_error_is_about() {
        let source = "region: a\nwindow: 300\n";
        let told = excerpt(source, (2, 9), "window", "\"300\" has no unit; write a duration such as 250ms, 1s or 5m");
        assert_eq!(told.as_deref(), Some("  2 | window: 300\n    |         ^"));
        let flow = "      - {name: a, probes: [{kind: tpc, port: 1}]}";
        let told = excerpt(flow, (1, 35), "targets[0].probes[0].kind", "\"tpc\" is not a kind; write tcp");
        assert_eq!(told.as_deref(), Some("  1 | … kind: tpc\n    |         ^"));
        let key = excerpt("  typ: tcp\n", (1, 3), "probes[0].typ", "is not known; write kind");
        assert_eq!(key.as_deref(), Some("  1 |   typ: …\n    |   ^"));
    }

    #[test]
    fn a_value_that_the_error_does_not_repeat_is_not_shown() {
        for (line, column, key, text) in [
            ("password: hunter2", 11, "password", "is a list; write a single value"),
            ("pasword: hunter2", 1, "pasword", "is not known; write password"),
            ("{pasword: hunter2, typ: x}", 20, "typ", "is not known; write kind"),
            ("basic_auth: {username:admin, password:hunter2}", 14, "basic_auth", "has no colon with a space after it"),
            ("headers: {\"Authorization:Bearer hunter2\": }", 11, "headers", "has a key that is not a header name"),
            ("- hunter2", 3, "[0]", "is a list; write a single value"),
            ("zone: \"hunter2", 7, "", "is not YAML: a quoted text does not end"),
            ("host: \"admin:hunter2@i.example.com\"", 7, "host", "\"<secret>@i.example.com\" is not a host"),
            // A value may have a colon, and a mistake may make a key of it.
            ("password: hunter2:${SUFFIX}", 11, "basic_auth.password", "SUFFIX is not set"),
            ("  hunter2: x", 3, "bearer_token", "is a mapping; write a single value"),
            ("password: hunter2:\tx", 20, "", "is not YAML: a tab"),
            ("password: hunter2: x", 20, "", "is not YAML: mapping values are not allowed here"),
        ] {
            let told = excerpt(line, (1, column), key, text).unwrap_or_default();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn an_error_of_indentation_shows_how_both_lines_are_indented_and_no_word() {
        let source = "peers:\n  - region: a\n\n     secret: x\n\ty: z\n";
        assert_eq!(indentation(source, 4).as_deref(), Some("  2 |   - …\n  4 |      …\n    |      ^"));
        assert_eq!(indentation(source, 5).as_deref(), Some("  4 |      …\n  5 | →…\n    |  ^"));
        assert_eq!([1, 3, 6].map(|line| indentation(source, line)), [const { None }; 3]);
    }

    #[test]
    fn a_place_outside_of_the_file_shows_nothing() {
        for (line, column) in [(0, 1), (1, 0), (2, 1), (1, 9)] {
            assert_eq!(excerpt("a: ü", (line, column), "a", "x"), None, "{line}:{column}");
        }
    }
}
