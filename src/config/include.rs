//! `include`: further files, whose keys are read as if they stood in the file that names them.
//!
//! Mappings are merged, and the lists of [`LISTS`] are joined. Any other key may be given once.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{databases, peers, witnesses};
use crate::yaml::{
    Diagnostics, Item, Parsed, Place,
    file::{self, Unreadable},
    tree::{self, MAX_BYTES, Node, Value, shown_key},
};

/// The key in the top level of a file.
pub(super) const KEY: &str = "include";

/// The lists of the top level that several files may have.
const LISTS: [&str; 3] = [peers::KEY, witnesses::KEY, databases::KEY];

/// The most files beside the first one.
const MAX_FILES: usize = 64;

/// The tree of a file whose text has so many bytes, with what it includes.
pub(super) fn resolve(root: Node, file: &Path, bytes: usize, diagnostics: &Diagnostics) -> Node {
    let main = file.display().to_string();
    let mut include = Include { diagnostics, main, bytes, open: Vec::new(), known: Vec::new() };
    include.resolve(root, file)
}

struct Include<'a> {
    diagnostics: &'a Diagnostics,
    /// The name of the first file.
    main: String,
    /// What all files have together.
    bytes: usize,
    /// The file that is read and those that lead to it.
    open: Vec<PathBuf>,
    /// Every file that was included, and where that is written.
    known: Vec<(PathBuf, String)>,
}

impl Include<'_> {
    fn resolve(&mut self, mut root: Node, file: &Path) -> Node {
        let Value::Mapping(entries) = &mut root.value else { return root };
        let Some(place) = entries.iter().position(|entry| entry.key == KEY) else { return root };
        let include = entries.remove(place);
        self.open.push(identity(file));
        let diagnostics = self.diagnostics;
        let item = Item::named(&include.node, KEY, diagnostics);
        for item in item.list().unwrap_or_default() {
            let Some(text) = item.text() else { continue };
            match self.read(text, file, &item.place()) {
                Ok(Some(included)) => self.merge(&mut root, included, ""),
                // What is wrong with it was reported.
                Ok(None) => {}
                Err(reason) => item.wrong_value(&reason),
            }
        }
        self.open.pop();
        root
    }

    /// The tree of a file that `from` includes there; its path is relative to the folder of `from`.
    fn read(&mut self, text: &str, from: &Path, at: &Place) -> Parsed<Option<Node>> {
        if text.contains("://") {
            return Err("is a URL; write the path of a file".to_owned());
        }
        if text.contains(['*', '?', '[']) {
            return Err("has a wildcard, and none is expanded; write the path of each file".to_owned());
        }
        let path = from.parent().unwrap_or(from).join(text);
        let identity = identity(&path);
        if self.open.contains(&identity) {
            return Err("includes the file that this line is in, or leads back to it; delete it".to_owned());
        }
        if let Some((_, first)) = self.known.iter().find(|(known, _)| *known == identity) {
            return Err(format!("is included twice, also at {first}; delete one of them"));
        }
        if self.known.len() == MAX_FILES {
            return Err(format!("is one file too many; include at most {MAX_FILES}"));
        }
        self.known.push((identity, at.shown(&self.main)));
        let bytes = file::read(&path, MAX_BYTES.saturating_sub(self.bytes) as u64);
        let bytes = bytes.map_err(|error| unreadable(error, text, &path))?.bytes;
        self.bytes += bytes.len();
        let source =
            String::from_utf8(bytes.to_vec()).map_err(|_| "is not UTF-8; save the file in that encoding".to_owned())?;
        let (name, errors) = (Arc::from(path.display().to_string()), Diagnostics::default());
        let root = tree::read(&source, &errors);
        self.diagnostics.include(&name, source, errors);
        let Some(mut root) = root else { return Ok(None) };
        relocate(&mut root, &name);
        if !matches!(root.value, Value::Mapping(_)) {
            self.diagnostics.add(root.place, "", "is not a mapping; write lines of key: value");
            return Ok(None);
        }
        Ok(Some(self.resolve(root, &path)))
    }

    /// Adds what an included file has to the mapping of this key.
    fn merge(&self, own: &mut Node, included: Node, key: &str) {
        let (Value::Mapping(entries), Value::Mapping(more)) = (&mut own.value, included.value) else { return };
        for entry in more {
            let Some(known) = entries.iter_mut().find(|known| known.key == entry.key) else {
                entries.push(entry);
                continue;
            };
            let shown = shown_key(&entry.key);
            let path = if key.is_empty() { shown } else { format!("{key}.{shown}") };
            if matches!((&known.node.value, &entry.node.value), (Value::Mapping(_), Value::Mapping(_))) {
                self.merge(&mut known.node, entry.node, &path);
                continue;
            }
            let is_list = key.is_empty() && LISTS.contains(&&*entry.key);
            match (&mut known.node.value, entry.node.value) {
                (Value::List(list), Value::List(more)) if is_list => list.extend(more),
                _ => {
                    let first = known.key_place.shown(&self.main);
                    let text = format!("is given twice, also at {first}; delete one of them");
                    self.diagnostics.add(entry.key_place, &path, text);
                }
            }
        }
    }
}

/// What a file is, whatever names lead to it.
fn identity(path: &Path) -> PathBuf {
    file::reading(path, || fs::canonicalize(path)).unwrap_or_else(|_| path.to_owned())
}

/// Says of all places that they are in this file.
fn relocate(node: &mut Node, file: &Arc<str>) {
    let included = |place: &mut Place| {
        let before = std::mem::replace(place, Place::Whole);
        *place = before.included(file);
    };
    included(&mut node.place);
    match &mut node.value {
        Value::List(nodes) => nodes.iter_mut().for_each(|node| relocate(node, file)),
        Value::Mapping(entries) => entries.iter_mut().for_each(|entry| {
            included(&mut entry.key_place);
            relocate(&mut entry.node, file);
        }),
        Value::Scalar { .. } | Value::Variable { .. } | Value::Rejected => {}
    }
}

fn unreadable(error: Unreadable, text: &str, path: &Path) -> String {
    match error {
        Unreadable::Not(kind) => format!("is {kind} and not a regular file; write the path of a file"),
        Unreadable::TooLarge => {
            "makes the configuration larger than 4 MiB; split the peers over several instances".to_owned()
        }
        Unreadable::Io(error) => match error.kind() {
            io::ErrorKind::NotFound if path == Path::new(text) => {
                "does not exist; write the path of a file, relative to the folder of this one".to_owned()
            }
            io::ErrorKind::NotFound => format!(
                "does not exist as {}; write the path of a file, relative to the folder of this one",
                path.display()
            ),
            io::ErrorKind::PermissionDenied => {
                "cannot be read (permission denied); allow this process's user to read it".to_owned()
            }
            _ => format!("cannot be read ({error}); write the path of a readable file"),
        },
    }
}
