//! What is wrong with a configuration, one line each: place, key, value, reason, what to type instead.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In the configuration as a whole.
    Whole,
    /// In the file; line and column count from 1.
    File { line: usize, column: usize },
    /// In an environment variable.
    Variable(String),
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ConfigError {
    place: Place,
    /// `peers[0].targets[1].host` in the file, `[1]` in a variable that is a list, or nothing.
    key: String,
    /// What is wrong, after the value, then `; ` and what to type instead.
    text: String,
}

/// Every mistake of a configuration, in the order of the file, then of the variables' names.
///
/// Displayed it is one line each. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    list: Vec<ConfigError>,
}

impl ConfigErrors {
    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The lines of the display.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().map(|mistake| mistake.line(&self.file))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, line) in self.lines().enumerate() {
            f.write_str(if n == 0 { "" } else { "\n" })?;
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl ConfigError {
    fn line(&self, file: &str) -> String {
        let Self { place, key, text } = self;
        match place {
            Place::Whole => format!("configuration: {text}"),
            Place::Variable(name) => format!("{name}{key}: {text}"),
            Place::File { line, column } if key.is_empty() => format!("{file}:{line}:{column}: {text}"),
            Place::File { line, column } => format!("{file}:{line}:{column}: {key}: {text}"),
        }
    }
}

/// Collects mistakes while a configuration is read, so that they are told all at once.
#[derive(Default)]
pub(crate) struct Diagnostics {
    list: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<ConfigError>>,
    /// How many there were beyond [`Diagnostics::MAX`].
    more: Cell<usize>,
}

impl Diagnostics {
    /// The most mistakes that are kept: nobody reads more, and memory is bounded.
    const MAX: usize = 1000;

    /// Diagnostics a mistake; `text` is the reason, `; ` and what to type instead.
    pub(crate) fn add(&self, place: Place, key: &str, text: impl Into<String>) {
        let mut list = self.list.borrow_mut();
        if list.len() < Self::MAX {
            list.push(ConfigError { place, key: key.to_owned(), text: text.into() });
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    /// Adds a warning, in the same form.
    pub(crate) fn warn(&self, place: Place, key: &str, text: impl Into<String>) {
        self.warnings.borrow_mut().push(ConfigError { place, key: key.to_owned(), text: text.into() });
    }

    /// The warnings so far, one line each.
    pub(crate) fn warnings(&self, file: &str) -> Vec<String> {
        self.warnings.borrow().iter().map(|warning| warning.line(file)).collect()
    }

    /// Everything noted, or nothing where all is well.
    pub(crate) fn into_errors(self, file: &str) -> Option<ConfigErrors> {
        let mut list = self.list.into_inner();
        list.sort_by(|a, b| a.place.cmp(&b.place)); // stable: mistakes of one place keep their order
        list.dedup();
        if self.more.get() > 0 {
            let text = format!("{} more mistakes are not shown; correct these first", self.more.get());
            list.push(ConfigError { place: Place::Whole, key: String::new(), text });
        }
        (!list.is_empty()).then(|| ConfigErrors { file: file.to_owned(), list })
    }
}

/// The most characters of a value that a mistake repeats.
const MAX_SHOWN: usize = 80;

/// A value as it is shown in a mistake: quoted, on one line, not too long, without the password of a URL.
pub(crate) fn quoted(value: &str) -> String {
    let shown = without_password(value);
    match shown.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}...", &shown[..end]),
        None => format!("{shown:?}"),
    }
}

/// Whatever stands before an `@` may be `user:password`, in a URL or where someone forgot its scheme.
fn without_password(value: &str) -> String {
    let mut shown = String::new();
    for (n, part) in value.split(',').enumerate() {
        shown.push_str(if n == 0 { "" } else { "," });
        match part.rsplit_once('@') {
            Some((before, after)) => {
                shown.push_str(before.find("://").map_or("", |at| &before[..at + 3]));
                shown.push_str("<secret>@");
                shown.push_str(after);
            }
            None => shown.push_str(part),
        }
    }
    shown
}

/// The option that was probably meant: the nearest by edits, where that is near enough to be no guess.
pub(crate) fn suggestion<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let word = word.to_lowercase();
    options
        .iter()
        .map(|option| (edits(&word, &option.to_lowercase()), *option))
        .filter(|(edits, option)| *edits <= limit && *edits < option.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, option)| option)
}

/// The number of letters to insert, delete, replace or swap with their neighbour, to get from one word to
/// the other (optimal string alignment distance).
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<_>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replace = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

/// The options in a sentence: `a, b or c`.
pub(crate) fn one_of(options: &[&str]) -> String {
    match options {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [start @ .., last] => format!("{} or {last}", start.join(", ")),
    }
}

/// `did you mean X?` where that can be told, else all options.
pub(crate) fn hint(word: &str, options: &[&str]) -> String {
    suggestion(word, options)
        .map_or_else(|| format!("write {}", one_of(options)), |option| format!("did you mean {option}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let options = ["interval", "timeout", "kind", "url"];
        assert_eq!(suggestion("intervall", &options), Some("interval"));
        assert_eq!(suggestion("tiemout", &options), Some("timeout"));
        assert_eq!(suggestion("URL", &options), Some("url"));
        assert_eq!(suggestion("colour", &options), None);
        assert_eq!(suggestion("x", &options), None);
        assert_eq!(suggestion(&"x".repeat(100_000), &options), None);
    }

    #[test]
    fn a_value_is_shown_on_one_line_and_cut() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"é".repeat(200)), format!("\"{}\"...", "é".repeat(MAX_SHOWN)));
    }

    #[test]
    fn the_password_of_a_url_is_not_shown() {
        for value in ["https://me:hunter2@host/", "me:hunter2@host", "a=https://me:hun@ter2@host/,b=x"] {
            let shown = quoted(value);
            assert!(!shown.contains("hun") && !shown.contains("ter2"), "{shown}");
            assert!(shown.contains("host"), "{shown}");
        }
    }
}
