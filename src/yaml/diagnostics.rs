//! Errors and warnings of a configuration, one line each: place, key, value, reason, what to type instead.

use std::{
    cell::{Cell, RefCell},
    fmt,
    sync::Arc,
};

use crate::model::{MASK, url::without_query_values};

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The configuration as a whole.
    Whole,
    /// A position in the file; line and column count from 1.
    File { line: usize, column: usize },
    /// A position in another file, which the file includes.
    Included { file: Arc<str>, line: usize, column: usize },
    /// An environment variable.
    Variable(String),
}

impl Place {
    /// It as an error shows it, in a configuration whose file has this name.
    pub(crate) fn shown(&self, file: &str) -> String {
        match self {
            Self::Whole => "configuration".to_owned(),
            Self::File { line, column } => format!("{file}:{line}:{column}"),
            Self::Included { file, line, column } => format!("{file}:{line}:{column}"),
            Self::Variable(name) => name.clone(),
        }
    }

    /// The same place, if the file is an included one.
    pub(crate) fn included(self, file: &Arc<str>) -> Self {
        match self {
            Self::File { line, column } => Self::Included { file: Arc::clone(file), line, column },
            other => other,
        }
    }
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ConfigError {
    place: Place,
    /// `peers[0].targets[1].host` in the file, `[1]` in a variable that is a list, or nothing.
    key: String,
    /// The value, the reason, `; ` and what to type instead.
    text: String,
}

/// All errors of a configuration, in the order of the file, then of the variables' names.
///
/// `Display` writes one line for each. An error never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    list: Vec<ConfigError>,
    pub(super) included: Vec<Included>,
}

/// An included file, which may have secrets.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Included {
    pub(super) file: Arc<str>,
    pub(super) text: String,
}

impl fmt::Debug for Included {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)
    }
}

impl ConfigErrors {
    /// The number of errors; at least one.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// One line for each error.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().map(|error| error.line(&self.file))
    }

    /// Each as its line, its place, its key, and its text without both.
    pub(super) fn entries(&self) -> impl Iterator<Item = (String, &Place, &str, &str)> + '_ {
        self.list.iter().map(|error| (error.line(&self.file), &error.place, &*error.key, &*error.text))
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
        let shown = place.shown(file);
        match place {
            Place::Variable(_) => format!("{shown}{key}: {text}"),
            Place::File { .. } | Place::Included { .. } if !key.is_empty() => format!("{shown}: {key}: {text}"),
            Place::Whole | Place::File { .. } | Place::Included { .. } => format!("{shown}: {text}"),
        }
    }
}

/// Collects errors and warnings while a configuration is read, so that one run reports all of them.
#[derive(Default)]
pub(crate) struct Diagnostics {
    list: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<ConfigError>>,
    /// The number of errors beyond [`Diagnostics::MAX`].
    more: Cell<usize>,
    included: RefCell<Vec<Included>>,
}

impl Diagnostics {
    /// The most errors that are kept, so that memory is bounded.
    const MAX: usize = 1000;

    /// Adds an error; `text` is the reason, `; ` and what to type instead.
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

    /// Adds an included file: its text, and what is wrong with it.
    pub(crate) fn include(&self, file: &Arc<str>, text: String, errors: Self) {
        self.more.set(self.more.get() + errors.more.get());
        for ConfigError { place, key, text } in errors.list.into_inner() {
            self.add(place.included(file), &key, text);
        }
        self.included.borrow_mut().push(Included { file: Arc::clone(file), text });
    }

    /// The warnings so far, one line each.
    pub(crate) fn warnings(&self, file: &str) -> Vec<String> {
        self.warnings.borrow().iter().map(|warning| warning.line(file)).collect()
    }

    /// All errors, if there are any.
    pub(crate) fn into_errors(self, file: &str) -> Option<ConfigErrors> {
        let mut list = self.list.into_inner();
        list.sort_by(|a, b| a.place.cmp(&b.place)); // stable: errors of one place keep their order
        list.dedup();
        if self.more.get() > 0 {
            let text = format!("{} more errors are not shown; fix these first", self.more.get());
            list.push(ConfigError { place: Place::Whole, key: String::new(), text });
        }
        let included = self.included.into_inner();
        (!list.is_empty()).then(|| ConfigErrors { file: file.to_owned(), list, included })
    }
}

/// The most characters of a value that an error repeats.
const MAX_SHOWN: usize = 80;

/// A value as an error shows it: quoted, on one line, shortened, without the secrets of a URL.
pub(crate) fn quoted(value: &str) -> String {
    let shown = without_secrets(value);
    match shown.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}...", &shown[..end]),
        None => format!("{shown:?}"),
    }
}

/// A value without the passwords, the values of queries and the fragments of the URLs in it.
pub(crate) fn without_secrets(value: &str) -> String {
    // The value of a query may have commas.
    let parts = value.split(',').scan(false, |masked, part| {
        let (shown, masks) = match *masked && !part.contains("://") {
            true => (MASK.to_owned(), true),
            false => part_without_secrets(part),
        };
        *masked = masks;
        Some(shown)
    });
    parts.collect::<Vec<_>>().join(",")
}

/// The same of a value without commas, and whether something at its end is masked.
fn part_without_secrets(part: &str) -> (String, bool) {
    let is_url = part.contains("://") || part.starts_with('/');
    let end = part.find(['?', '#']).filter(|at| is_url || part[*at..].contains('='));
    let Some(end) = end else { return (without_password(part), false) };
    if part[end..].contains('@') {
        // It may be in a password.
        let scheme = part.find("://").map_or("", |at| &part[..at + 3]);
        return (format!("{scheme}{MASK}"), true);
    }
    let (url, fragment) = part.split_at(part.find('#').unwrap_or(part.len()));
    let (before, query) = url.split_at(end.min(url.len()));
    let fragment = if fragment.is_empty() { String::new() } else { format!("#{MASK}") };
    (format!("{}{}{fragment}", without_password(before), without_query_values(query)), true)
}

/// Everything before an `@` may be `user:password`, in a URL or in one without its scheme.
fn without_password(part: &str) -> String {
    match part.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
            format!("{scheme}{MASK}@{after}")
        }
        None => part.to_owned(),
    }
}

/// Words of other programs for keys of ours.
const SYNONYMS: [(&str, &str); 13] = [
    ("name", "region"),
    ("type", "kind"),
    ("prober", "kind"),
    ("protocol", "kind"),
    ("hostname", "host"),
    ("address", "host"),
    ("uri", "url"),
    ("endpoint", "url"),
    ("period", "interval"),
    ("frequency", "interval"),
    ("deadline", "timeout"),
    ("mariadb", "mysql"),
    ("valkey", "redis"),
];

/// Our key for a word of other programs.
pub(crate) fn synonym(word: &str) -> Option<&'static str> {
    SYNONYMS.iter().find(|(other, _)| *other == word).map(|(_, own)| *own)
}

/// The option that was probably meant: one of the same meaning, or the nearest by edits, if it is near.
pub(crate) fn suggestion<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let word = word.to_lowercase();
    let synonym = synonym(&word);
    if let Some(option) = options.iter().find(|option| Some(**option) == synonym) {
        return Some(option);
    }
    options
        .iter()
        .map(|option| (strsim::osa_distance(&word, &option.to_lowercase()), *option))
        .filter(|(edits, option)| *edits <= limit && *edits < option.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, option)| option)
}

/// The options in a sentence: `a, b or c`.
pub(crate) fn one_of(options: &[&str]) -> String {
    match options {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [start @ .., last] => format!("{} or {last}", start.join(", ")),
    }
}

/// `did you mean X?` if an option is near, else all options.
pub(crate) fn hint(word: &str, options: &[&str]) -> String {
    suggestion(word, options)
        .map_or_else(|| format!("write {}", one_of(options)), |option| format!("did you mean {option}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_word_is_suggested_and_a_dissimilar_one_is_not() {
        let options = ["interval", "timeout", "kind", "url"];
        assert_eq!(suggestion("intervall", &options), Some("interval"));
        assert_eq!(suggestion("tiemout", &options), Some("timeout"));
        assert_eq!(suggestion("URL", &options), Some("url"));
        assert_eq!(suggestion("type", &options), Some("kind"));
        assert_eq!(suggestion("hostname", &options), None, "no host can be written here");
        assert_eq!(suggestion("colour", &options), None);
        assert_eq!(suggestion("x", &options), None);
        assert_eq!(suggestion(&"x".repeat(100_000), &options), None);
    }

    #[test]
    fn a_value_is_printed_on_one_line_and_truncated() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"é".repeat(200)), format!("\"{}\"...", "é".repeat(MAX_SHOWN)));
    }

    #[test]
    fn the_values_of_a_query_and_the_fragment_are_not_shown() {
        for (value, shown) in [
            ("https://a/x?token=hunter2&b", "https://a/x?token=<secret>&<secret>"),
            ("a.example/?token=hunter2,ter2", "a.example/?token=<secret>,<secret>"),
            ("us=https://a/?hunter2,eu=https://b/", "us=https://a/?<secret>,eu=https://b/"),
            ("https://a/#hunter2?x", "https://a/#<secret>"),
            ("https://a/?token=hun@ter2", "https://<secret>"),
            ("https://me:hunt?er2@host/", "https://<secret>"),
            ("(?i)ok|what?", "(?i)ok|what?"),
        ] {
            assert_eq!(quoted(value), format!("{shown:?}"));
        }
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
