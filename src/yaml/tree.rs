//! YAML text into a tree of nodes that know their line and column.
//!
//! Events come from saphyr-parser. Features that a configuration does not need and that are dangerous are rejected:
//! aliases (bombs), tags, several documents, duplicate keys, unlimited depth. A rejected node stays as
//! [`Value::Rejected`], so that it is not reported twice.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::{
    diagnostics::{Diagnostics, Place},
    writer::Writer,
};

/// The largest file: 6,000 targets with several probes, labels and headers fit. Files with secrets have the same limit.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// The deepest nesting; a valid file needs 9.
const MAX_DEPTH: usize = 32;
/// The most nodes; 6,000 targets with 4 probes need about 300,000.
const MAX_NODES: usize = 800_000;

/// A value with its place.
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// The value of a node.
pub(crate) enum Value {
    /// A text; `plain` if it is not quoted, so that it may be a number, a flag or null.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping; keys are scalars and unique.
    Mapping(Vec<Entry>),
    /// The text of a variable, and the parts between its commas; an empty part is [`Value::Rejected`].
    Variable { text: String, parts: Vec<Node> },
    /// Something that was reported already.
    Rejected,
}

/// One `key: value` of a mapping.
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

impl Node {
    /// The value of an environment variable.
    pub(crate) fn variable(name: &str, text: &str) -> Self {
        let node = |value| Self { place: Place::Variable(name.to_owned()), value };
        let part = |text: &str| match text.trim() {
            "" => node(Value::Rejected),
            text => node(Value::Scalar { text: text.to_owned(), plain: true }),
        };
        node(Value::Variable { text: text.to_owned(), parts: text.split(',').map(part).collect() })
    }

    /// Whether this is YAML's null: empty, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Reads one document. Reports text that is not YAML, or is too large, and returns `None`.
pub(crate) fn read(source: &str, diagnostics: &Diagnostics) -> Option<Node> {
    let start = Place::File { line: 1, column: 1 };
    if source.len() > MAX_BYTES {
        diagnostics.add(start, "", format!("the file has {} bytes; write at most {MAX_BYTES}", source.len()));
        return None;
    }
    let mut parser = Parser::new_from_str(source.strip_prefix('\u{feff}').unwrap_or(source));
    let mut builder = Builder { diagnostics, open: Vec::new(), root: None, nodes: 0 };
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                diagnostics.add(place(error.marker()), "", syntax(error.info()));
                return None;
            }
        };
        builder.take(event, place(&span.start))?;
    }
    let empty = || Node { place: start, value: Value::Mapping(Vec::new()) };
    Some(builder.root.filter(|root| !root.is_null()).unwrap_or_else(empty))
}

/// In the text of each error about how a line is indented.
pub(super) const INDENTATION: &str = "indent";

/// What is wrong with a text that is not YAML, in our words where the parser's are those of its grammar.
fn syntax(info: &str) -> String {
    let has = |words: &[&str]| words.iter().any(|word| info.contains(word));
    let (what, fix) = if has(&["quoted scalar", "quote"]) {
        ("a quoted text does not end", "close the quote that is opened here or above")
    } else if has(&["tab"]) {
        ("a tab is used for indentation", "indent by spaces")
    } else if has(&["',' or ']'", "',' or '}'", "flow sequence", "flow mapping"]) {
        ("a bracket or brace is not closed", "close it here or above")
    } else if has(&["placement of ':'", "mapping values"]) {
        (
            "a key stands where none can be",
            "indent it like those beside it, and above it close each bracket and quote, and write a space after each colon",
        )
    } else if has(&["block collection", "block mapping", "indentation"]) {
        ("the indentation does not fit", "indent this line like those that it belongs to")
    } else {
        return format!("is not YAML ({info}); check indentation, quotes and brackets here and above");
    };
    format!("is not YAML: {what}; {fix}")
}

/// What is between key and value if the space of YAML's `: ` is missing.
pub(crate) const SEPARATORS: [char; 2] = [':', '='];

/// A key as a key path shows it. The text after a colon should be its value (`password:x` without a space) and may be
/// a secret.
pub(crate) fn shown_key(key: &str) -> String {
    key.split(SEPARATORS).next().unwrap_or_default().chars().take(64).flat_map(char::escape_debug).collect()
}

fn place(marker: &Marker) -> Place {
    Place::File { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A list or mapping whose end has not been read yet; a mapping's keys and values alternate.
struct Open {
    place: Place,
    mapping: bool,
    nodes: Vec<Node>,
}

struct Builder<'a> {
    diagnostics: &'a Diagnostics,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder<'_> {
    /// Takes the next event; `None` stops reading.
    fn take(&mut self, event: Event<'_>, place: Place) -> Option<()> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                self.diagnostics.add(
                    place,
                    "",
                    "a second document begins here; write one document, without a second ---",
                );
                return None;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.properties(&place, anchor, tag.is_some());
                self.close(Node { place, value })?;
            }
            Event::Alias(_) => {
                self.wrong(place.clone(), "is an alias (*); write the value out");
                self.close(Node { place, value: Value::Rejected })?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.properties(&place, anchor, tag.is_some());
                self.begin(place, false)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.properties(&place, anchor, tag.is_some());
                self.begin(place, true)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { place, mapping, nodes }) = self.open.pop() {
                    let value = if mapping { self.mapping(nodes) } else { Value::List(nodes) };
                    self.close(Node { place, value })?;
                }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Some(())
    }

    /// Reports an error of the next node.
    fn wrong(&self, place: Place, text: impl Into<String>) {
        self.diagnostics.add(place, &self.key(), text);
    }

    /// The key path of the next node.
    fn key(&self) -> String {
        let mut key = String::new();
        for open in &self.open {
            match open.nodes.last() {
                _ if !open.mapping => key.push_str(&format!("[{}]", open.nodes.len())),
                Some(Node { value: Value::Scalar { text, .. }, .. }) if open.nodes.len() % 2 == 1 => {
                    key.push_str(if key.is_empty() { "" } else { "." });
                    key.push_str(&shown_key(text));
                }
                _ => {}
            }
        }
        key
    }

    fn properties(&self, place: &Place, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.wrong(place.clone(), "has an anchor (&); write the value out wherever it is needed");
        }
        if tagged {
            self.wrong(place.clone(), "has a tag (!); write the value without it");
        }
    }

    fn begin(&mut self, place: Place, mapping: bool) -> Option<()> {
        if self.open.len() == MAX_DEPTH {
            self.wrong(place, format!("is nested more than {MAX_DEPTH} deep; write a flatter file"));
            return None;
        }
        self.open.push(Open { place, mapping, nodes: Vec::new() });
        Some(())
    }

    fn close(&mut self, node: Node) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.diagnostics.add(node.place, "", format!("the file has more than {MAX_NODES} values; write fewer"));
            return None;
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None => self.root = Some(node),
        }
        Some(())
    }

    fn mapping(&self, nodes: Vec<Node>) -> Value {
        let mut entries: Vec<Entry> = Vec::with_capacity(nodes.len() / 2);
        let mut seen: HashMap<String, Place> = HashMap::new();
        let mut nodes = nodes.into_iter();
        while let (Some(key), Some(node)) = (nodes.next(), nodes.next()) {
            let Value::Scalar { text, .. } = key.value else {
                if !matches!(key.value, Value::Rejected) {
                    self.wrong(key.place, "a list or mapping is used as a key; write a name before the colon");
                }
                continue;
            };
            if let Some(Place::File { line, .. }) = seen.get(&text) {
                let path = self.key();
                let path = if path.is_empty() { shown_key(&text) } else { format!("{path}.{}", shown_key(&text)) };
                self.diagnostics.add(key.place, &path, format!("is a duplicate of line {line}; delete one of them"));
                continue;
            }
            seen.insert(text.clone(), key.place.clone());
            // An empty value has no position of its own.
            let place = if node.is_null() { key.place.clone() } else { node.place };
            entries.push(Entry { key: text, key_place: key.place, node: Node { place, value: node.value } });
        }
        Value::Mapping(entries)
    }
}

/// What the fuzz target calls: a text is read or rejected with a reason, and what is read lies within the limits and
/// within the text.
#[doc(hidden)]
pub fn fuzz_tree(source: &str) {
    let diagnostics = Diagnostics::default();
    let Some(root) = read(source, &diagnostics) else {
        assert!(diagnostics.into_errors("").is_some(), "rejected without a reason");
        return;
    };
    // YAML has more line breaks than Rust.
    let lines = 1 + source.chars().filter(|c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')).count();
    let check_place = |place: &Place| {
        let Place::File { line, column } = place else { panic!("{place:?} is not in the file") };
        assert!((1..=lines + 1).contains(line) && (1..=source.len() + 1).contains(column), "{place:?}");
    };
    let mut nodes = vec![(&root, 0)];
    let mut count = 0;
    while let Some((node, depth)) = nodes.pop() {
        count += 1;
        assert!(count <= MAX_NODES && depth <= MAX_DEPTH);
        check_place(&node.place);
        match &node.value {
            Value::List(items) => nodes.extend(items.iter().map(|node| (node, depth + 1))),
            Value::Mapping(entries) => {
                let mut keys = std::collections::HashSet::new();
                for entry in entries {
                    check_place(&entry.key_place);
                    assert!(keys.insert(&entry.key), "a key is there twice");
                    nodes.push((&entry.node, depth + 1));
                }
            }
            Value::Scalar { text, .. } => {
                let mut writer = Writer::default();
                writer.text("key", text);
                let written = writer.finish();
                let again = read(&written, &Diagnostics::default()).map(|node| node.value);
                let Some(Value::Mapping(entries)) = again else { panic!("{written:?} is no mapping") };
                let [Entry { node, .. }] = &entries[..] else { panic!("{written:?} has more than one key") };
                assert!(matches!(&node.value, Value::Scalar { text: again, .. } if again == text), "{written:?}");
            }
            Value::Variable { .. } | Value::Rejected => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn errors(source: &str) -> Vec<String> {
        let diagnostics = Diagnostics::default();
        let _ = read(source, &diagnostics);
        diagnostics.into_errors("f").map(|errors| errors.lines().collect()).unwrap_or_default()
    }

    #[test]
    fn quoted_numbers_are_distinguished_from_numbers() {
        let diagnostics = Diagnostics::default();
        let root = read("a: 1\nb: '1'\nc:\nd: ''\n", &diagnostics).unwrap();
        let Value::Mapping(entries) = root.value else { panic!("no mapping") };
        let plain: Vec<_> = entries.iter().map(|e| matches!(e.node.value, Value::Scalar { plain: true, .. })).collect();
        assert_eq!(plain, [true, false, true, false]);
        assert!(entries[2].node.is_null() && !entries[3].node.is_null());
        assert_eq!(entries[1].node.place, Place::File { line: 2, column: 4 });
    }

    /// Input that made YAML readers crash, hang or take all memory is rejected at once.
    #[test]
    fn hostile_input_is_rejected_quickly() {
        let bomb = (0..20).fold("a: &a [x]\n".to_owned(), |text, n| {
            let last = if n == 0 { "a".to_owned() } else { format!("a{}", n - 1) };
            format!("{text}b{n}: &a{n} [{}]\n", vec![format!("*{last}"); 10].join(","))
        });
        let half = MAX_BYTES / 2;
        let cases = [
            ("bomb", bomb),
            ("flow lists", "[".repeat(100_000)),
            ("flow mappings", "{a: ".repeat(100_000)),
            ("block lists", "- ".repeat(100_000)),
            ("explicit keys", "? ".repeat(100_000)),
            ("indented", (0..1000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
            ("nul", "a: b\0c".to_owned()),
            ("nul first", "\0".to_owned()),
            ("too large", "a".repeat(MAX_BYTES + 1)),
            ("open quote", format!("a: \"{}", "b".repeat(half))),
            ("anchors", "&a ".repeat(100_000)),
            ("closing", "]".repeat(100_000)),
            ("colons", ":".repeat(half) + "\n: ["),
            ("tab", "a:\n\tb: c".to_owned()),
            ("unknown alias", "a: *b".to_owned()),
            ("directive", "%YAML 9.9\n%FOO bar\n---\n[".to_owned()),
            ("nodes", format!("[{}]", "1,".repeat(MAX_NODES + 1))),
            ("two documents", "a: b\n---\nc: d".to_owned()),
        ];
        for (name, source) in cases {
            let (took, found) = testkit::cpu::timed(|| errors(&source));
            assert!(!found.is_empty(), "{name} was taken");
            assert!(took < Duration::from_secs(5), "{name} took {took:?}");
        }
    }

    /// Large but harmless input is read in linear time.
    #[test]
    fn large_input_is_read() {
        for source in ["a\n".repeat(100_000), "#".repeat(MAX_BYTES), "\n".repeat(MAX_BYTES), " ".repeat(MAX_BYTES)] {
            assert_eq!(errors(&source), [] as [String; 0]);
        }
        let keys: String = (0..50_000).map(|n| format!("k{n}: v\n")).collect();
        assert_eq!(errors(&keys), [] as [String; 0]);
    }

    #[test]
    fn the_error_of_a_duplicate_key_omits_its_value() {
        let found = errors("{password:hunter2, password:hunter2}");
        assert_eq!(found, ["f:1:20: password: is a duplicate of line 1; delete one of them"]);
    }
}
