//! Writes YAML, a block line by line or a mapping on one line, which [`tree`](super::tree) reads back as the same values.

use std::fmt::{Display, Write as _};

/// The text so far, and the beginning of the next line.
#[derive(Default)]
pub(crate) struct Writer {
    out: String,
    depth: usize,
    /// The next line is the first of a list item.
    item: bool,
    /// Everything is on one line.
    flow: bool,
}

impl Writer {
    /// The text.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// A mapping on one line, whose entries `body` writes.
    pub(crate) fn flow(body: impl FnOnce(&mut Self)) -> String {
        let mut writer = Self { out: "{".to_owned(), flow: true, ..Self::default() };
        body(&mut writer);
        writer.out + "}"
    }

    fn line(&mut self, key: &str, value: impl Display) {
        if self.flow {
            let separator = if self.out.ends_with('{') { "" } else { ", " };
            let _ = write!(self.out, "{separator}{key}:{value}");
            return;
        }
        let indent = if self.item { self.depth - 1 } else { self.depth };
        let dash = if std::mem::take(&mut self.item) { "- " } else { "" };
        let _ = writeln!(self.out, "{:1$}{dash}{key}:{value}", "", indent * 2);
    }

    /// A value that needs no quotes.
    pub(crate) fn raw(&mut self, key: &str, value: impl Display) {
        self.line(key, format_args!(" {value}"));
    }

    /// A text, in quotes if it needs them.
    pub(crate) fn text(&mut self, key: &str, value: impl Display) {
        self.raw(key, quote(&value.to_string()));
    }

    /// A text, if there is one.
    pub(crate) fn option(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// A list of texts on one line.
    pub(crate) fn list(&mut self, key: &str, values: &[impl Display]) {
        let values: Vec<_> = values.iter().map(|value| quote(&value.to_string())).collect();
        self.raw(key, format_args!("[{}]", values.join(", ")));
    }

    /// A mapping, whose lines `body` writes.
    pub(crate) fn mapping(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        if self.flow {
            return self.raw(key, Self::flow(body));
        }
        self.line(key, "");
        self.depth += 1;
        body(self);
        self.depth -= 1;
    }

    /// A list of mappings, whose lines `body` writes.
    pub(crate) fn items<T>(&mut self, key: &str, values: &[T], mut body: impl FnMut(&mut Self, &T)) {
        self.line(key, "");
        self.depth += 2;
        for value in values {
            self.item = true;
            body(self, value);
        }
        self.depth -= 2;
    }
}

/// A text as a scalar: bare if it cannot be read as anything else, otherwise in double quotes.
pub(crate) fn quote(text: &str) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b':'))
        && !text.ends_with(':')
        && !text.eq_ignore_ascii_case("null");
    if bare {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            ' ' => quoted.push(c),
            _ if c.is_alphanumeric() || c.is_ascii_graphic() => quoted.push(c),
            _ => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}
