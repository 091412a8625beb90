//! A node of the file with its key path, which reads typed values and reports errors with their position.

use std::ops::RangeInclusive;

use super::{
    diagnostics::{Diagnostics, Place, one_of, quoted, suggestion, synonym},
    secrets::{Secret, Secrets, names_variable},
    tree::{Entry, Node, SEPARATORS, Value, shown_key},
    units::{self, Parsed},
};

/// A value of the file, its position, and where to report its errors.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    node: &'a Node,
    key: String,
    diagnostics: &'a Diagnostics,
    /// No error repeats the text.
    secret: bool,
}

impl<'a> Item<'a> {
    pub(crate) fn root(node: &'a Node, diagnostics: &'a Diagnostics) -> Self {
        Self { node, key: String::new(), diagnostics, secret: false }
    }

    /// The value of this key.
    pub(crate) fn named(node: &'a Node, key: &str, diagnostics: &'a Diagnostics) -> Self {
        Self { key: key.to_owned(), ..Self::root(node, diagnostics) }
    }

    /// The same item, whose text no error repeats.
    pub(crate) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(crate) fn place(&self) -> Place {
        self.node.place.clone()
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Reports an error of the item, without its text.
    pub(crate) fn wrong(&self, text: impl Into<String>) {
        self.diagnostics.add(self.place(), &self.key, text);
    }

    /// Reports something that works, but is not as it should be.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.diagnostics.warn(self.place(), &self.key, text);
    }

    /// Reports an error of the item's text, which is repeated unless it is a secret.
    pub(crate) fn wrong_value(&self, text: &str) {
        match &self.node.value {
            Value::Scalar { text: value, .. } | Value::Variable { text: value, .. } if !self.secret => {
                self.wrong(format!("{} {text}", quoted(value)));
            }
            _ => self.wrong(text),
        }
    }

    /// The text; anything else is an error, and so is a variable, because none is replaced.
    pub(crate) fn text(&self) -> Option<&'a str> {
        let text = self.raw()?;
        if names_variable(text) {
            self.wrong_value("has a ${NAME}, but this key takes no variable; write the value itself");
            return None;
        }
        Some(text)
    }

    /// The text, whose variables the caller replaces; anything else is an error.
    pub(crate) fn raw(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Rejected => None,
            _ if self.node.is_null() => {
                self.wrong("has no value; write one, or delete the key if it is not needed");
                None
            }
            Value::Scalar { text, .. } | Value::Variable { text, .. } => Some(text),
            Value::List(_) => {
                self.wrong("is a list; write a single value");
                None
            }
            Value::Mapping(_) => {
                self.wrong("is a mapping; write a single value");
                None
            }
        }
    }

    /// Whether this is the value of a variable.
    pub(crate) fn is_variable(&self) -> bool {
        matches!(self.node.value, Value::Variable { .. })
    }

    /// Whether this is a mapping, if a scalar is allowed as well.
    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Mapping(_))
    }

    /// Whether this is a text, if a list or a mapping is allowed as well.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Scalar { .. } | Value::Variable { .. })
    }

    /// What the function reads from the text.
    pub(crate) fn read<T>(&self, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        parse(self.text()?).map_err(|reason| self.wrong_value(&reason)).ok()
    }

    /// What the function reads from the text, in which it replaces variables.
    pub(crate) fn read_raw<T>(&self, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        parse(self.raw()?).map_err(|reason| self.wrong_value(&reason)).ok()
    }

    /// What is sent of a text that may have variables, and is never shown.
    pub(crate) fn secret_text(self, secrets: &Secrets<'_>) -> Option<Secret> {
        let expanded = self.secret().read_raw(|text| secrets.expand(text))?;
        Some(Secret::new(expanded.sent.into_bytes()))
    }

    /// The same as [`Item::read`], with its text and its place for an error that is only known later.
    pub(crate) fn spanned<T>(&self, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<Spanned<T>> {
        let value = self.read(parse)?;
        Some(Spanned { value, text: self.text()?.to_owned(), place: self.place(), key: self.key.clone() })
    }

    /// What the function reads from a text that must not be quoted: numbers and flags.
    pub(crate) fn plain<T>(&self, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        if let Value::Scalar { text, plain: false } = &self.node.value {
            match parse(text) {
                Ok(_) => self.wrong_value(&format!("is in quotes; write {text}")),
                Err(reason) => self.wrong_value(&reason),
            }
            return None;
        }
        self.read(parse)
    }

    pub(crate) fn whole<T: Copy + Into<u32> + TryFrom<u32>>(&self, range: RangeInclusive<T>) -> Option<T> {
        let number = self.plain(units::whole((*range.start()).into()..=(*range.end()).into()))?;
        T::try_from(number).ok()
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.plain(units::port)
    }

    pub(crate) fn decimal(&self) -> Option<f64> {
        self.plain(units::decimal)
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        self.plain(units::flag)
    }

    /// The value that one of these words stands for.
    pub(crate) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        self.read(|text| units::choice(text, choices))
    }

    /// The items of a list, or the parts of a variable that are not empty. A single value is a list of one.
    pub(crate) fn list(&self) -> Option<Vec<Self>> {
        let item = |(n, node)| Self { node, key: format!("{}[{n}]", self.key), ..self.clone() };
        match &self.node.value {
            Value::List(nodes) => Some(nodes.iter().enumerate().map(item).collect()),
            Value::Variable { parts, .. } => {
                let parts = parts.iter().enumerate().filter(|(_, part)| !matches!(part.value, Value::Rejected));
                Some(parts.map(item).collect())
            }
            Value::Rejected => None,
            _ if self.node.is_null() => {
                self.wrong("has no value; write a list, or delete the key if it is not needed");
                None
            }
            Value::Scalar { .. } => Some(vec![self.clone()]),
            _ => {
                self.wrong("is not a list; write [...] or lines that begin with -");
                None
            }
        }
    }

    /// Whether this is a list without items.
    pub(crate) fn list_is_empty(&self) -> bool {
        matches!(&self.node.value, Value::List(nodes) if nodes.is_empty())
    }

    /// What the function reads from each item of a list, without the items that it rejects.
    pub(crate) fn each<T>(&self, read: impl FnMut(&Self) -> Option<T>) -> Option<Vec<T>> {
        Some(self.list()?.iter().filter_map(read).collect())
    }

    /// The entries of a mapping with any keys.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a str, Self)>> {
        let entries = self.mapping("lines of key: value")?;
        Some(entries.iter().map(|entry| (entry.key.as_str(), self.child(entry))).collect())
    }

    fn mapping(&self, form: &str) -> Option<&'a [Entry]> {
        match &self.node.value {
            Value::Mapping(entries) => return Some(entries),
            Value::Rejected => {}
            _ if self.node.is_null() => {
                self.wrong(format!("has no value; write {form}, or delete the key if it is not needed"))
            }
            // `password=x` in the place of keys and values.
            Value::Scalar { text, .. } if text.contains(SEPARATORS) => {
                self.wrong(format!("is not a mapping; write {form}"));
            }
            _ => self.wrong_value(&format!("is not a mapping; write {form}")),
        }
        None
    }

    /// The entries of a mapping that has only these keys.
    pub(crate) fn fields(&self, keys: &[&'static str]) -> Option<Fields<'a>> {
        Some(self.fields_of(keys)?.only(|_| format!("write {}", one_of(keys)), keys))
    }

    /// The entries of a mapping that should have these keys, which are checked later.
    pub(crate) fn fields_of(&self, keys: &[&str]) -> Option<Fields<'a>> {
        let form = if keys.len() > 5 || self.key.is_empty() {
            "lines of key: value".to_owned()
        } else {
            format!("{{{}: ...}}", keys.join(": ..., "))
        };
        Some(Fields { item: self.clone(), entries: self.mapping(&form)?, misspelt: Vec::new() })
    }

    /// The entries of a mapping, whose keys are checked later.
    pub(crate) fn any_fields(&self) -> Option<Fields<'a>> {
        let entries = self.mapping("{kind: ..., ...}")?;
        Some(Fields { item: self.clone(), entries, misspelt: Vec::new() })
    }

    fn child(&self, entry: &'a Entry) -> Self {
        let key = self.child_key(&entry.key);
        Self { node: &entry.node, key, ..self.clone() }
    }

    fn child_key(&self, name: &str) -> String {
        let shown = shown_key(name);
        if self.key.is_empty() { shown } else { format!("{}.{shown}", self.key) }
    }
}

/// A value that was read, its text, and where it is.
#[derive(Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) text: String,
    pub(crate) place: Place,
    pub(crate) key: String,
}

/// The entries of a mapping.
pub(crate) struct Fields<'a> {
    item: Item<'a>,
    entries: &'a [Entry],
    /// Keys whose misspelling was reported.
    misspelt: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The value of a key, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<Item<'a>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| self.item.child(entry))
    }

    /// The value of a key inside a secret mapping that is not secret itself, such as the path of a file.
    pub(crate) fn shown(&self, key: &str) -> Option<Item<'a>> {
        self.get(key).map(|item| Item { secret: false, ..item })
    }

    /// What the function reads from the value of a key, if it is there.
    pub(crate) fn read<T>(&self, key: &str, read: impl FnOnce(&Item<'a>) -> Option<T>) -> Option<T> {
        read(&self.get(key)?)
    }

    /// The value of a key that must be there; `hint` says what to write.
    pub(crate) fn required(&self, key: &str, hint: &str) -> Option<Item<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.missing(key, hint);
        }
        found
    }

    /// Reports that a key is missing, unless a misspelling of it was reported.
    pub(crate) fn missing(&self, key: &str, hint: &str) {
        if self.misspelt.contains(&key) {
            return;
        }
        let glued = |entry: &&Entry| entry.key.split_once(SEPARATORS).is_some_and(|(name, _)| name == key);
        let meant = |entry: &&Entry| synonym(&entry.key) == Some(key);
        if let Some(entry) = self.entries.iter().find(meant) {
            let text = format!("is not a known key; did you mean {key}?");
            self.item.diagnostics.add(entry.key_place.clone(), &self.item.child_key(&entry.key), text);
            return;
        }
        let (place, text) = match self.entries.iter().find(glued) {
            Some(entry) => (entry.key_place.clone(), glued_text(key)),
            None => (self.item.place(), format!("is missing; {hint}")),
        };
        self.item.diagnostics.add(place, &self.item.child_key(key), text);
    }

    /// Reports each key that is not among these; `other` says what to do if none of them is near.
    pub(crate) fn only(self, other: impl Fn(&str) -> String, keys: &[&'static str]) -> Self {
        let mut misspelt = Vec::new();
        let unknown = self.entries.iter().filter(|entry| !keys.contains(&entry.key.as_str()));
        for (n, entry) in unknown.enumerate() {
            // `password:x` without a space is a key; what follows the colon may be a secret.
            let glued = entry.key.split_once(SEPARATORS);
            let name = glued.map_or(entry.key.as_str(), |(name, _)| name);
            // More than these are not typing errors.
            let suggestion = if n < 100 { suggestion(name, keys) } else { None };
            misspelt.extend(suggestion);
            let text = match (glued, suggestion) {
                (Some(_), _) => glued_text(name),
                (None, Some(option)) => format!("is not a known key; did you mean {option}?"),
                (None, None) => format!("is not a known key; {}", other(name)),
            };
            self.item.diagnostics.add(entry.key_place.clone(), &self.item.child_key(name), text);
        }
        Self { misspelt, ..self }
    }
}

/// The error of a key such as `port:443` or `port=443`.
fn glued_text(name: &str) -> String {
    format!("has no colon with a space after it; write {}: VALUE", shown_key(name))
}
