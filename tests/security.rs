//! docs/security.md says what tests check.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{collections::BTreeSet, fs, path::Path};

use regex_lite::Regex;

/// The names of all functions below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    let pattern = Regex::new(r"\bfn ([a-z0-9_]+)").unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            found.extend(pattern.captures_iter(&text).map(|name| name[1].to_owned()));
        }
    }
}

#[test]
fn each_test_that_the_security_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    ["src", "tests", "examples"].iter().for_each(|folder| functions(&root.join(folder), &mut known));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    // A name of four words or more is a sentence, and no setting or metric.
    let named = Regex::new("`([a-z0-9]+(?:_[a-z0-9]+){3,})`").unwrap();
    let named: BTreeSet<_> = named.captures_iter(&page).map(|name| name[1].to_owned()).collect();
    assert!(named.len() > 40, "{named:?}");
    let missing: Vec<_> = named.difference(&known).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
