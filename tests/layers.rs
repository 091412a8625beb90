//! The architecture, held: a module imports only from rows above its own (DESIGN.md, 3; the table in `lib.rs`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const ROWS: &[&[&str]] = &[
    &["model", "geography"],
    &["yaml"],
    &["config", "wire", "window"],
    &["probe", "schedule", "verdict", "quorum", "ranking"],
    &["metrics", "vantage", "status"],
    &["recorder", "alert", "server"],
    &["app"],
    &["cli", "lib", "main"],
];

/// The one import inside a row: the schedule drives probes, and knows them by their trait alone.
const SAME_ROW: &[(&str, &str)] = &[("schedule", "probe")];

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that stand behind `crate::` anywhere in code, in braces too.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut modules = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => word.clear(),
                    ':' if depth == 0 && !word.is_empty() => {
                        modules.insert(std::mem::take(&mut word));
                    }
                    c if depth == 0 && (c.is_alphanumeric() || c == '_') => word.push(c),
                    _ => {}
                }
            }
        } else {
            modules.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    modules
}

#[test]
fn modules_import_only_from_the_rows_above_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "found only {files:?}");
    let mut broken = Vec::new();
    let mut checked = 0;
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        let Some(own) = row(module) else {
            broken.push(format!("{}: {module} stands in no row", relative.display()));
            continue;
        };
        for import in imports(&fs::read_to_string(&file).unwrap()) {
            checked += 1;
            let allowed =
                import == module || SAME_ROW.contains(&(module, &*import)) || row(&import).is_some_and(|row| row < own);
            if !allowed {
                broken.push(format!("{}: imports crate::{import}", relative.display()));
            }
        }
    }
    assert!(checked > 30, "only {checked} imports were seen");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let owners = [
        ("prometheus::", &["metrics"][..]),
        // Its sockets are made in the one, its packets decoded in the other.
        ("surge_ping::", &["wire/ping.rs", "probe/icmp"]),
        ("unsafe {", &["wire"]),
        ("hickory_resolver::", &["probe/names.rs"]),
        ("hickory_proto::", &["probe/answer.rs"]),
        ("rustls::", &["probe/tls.rs", "probe/exchange.rs", "yaml/secrets.rs"]),
        // rustls has a module of that name.
        ("use ring::", &["quorum/seal.rs"]),
        ("saphyr_parser::", &["yaml/tree.rs"]),
        ("clap::", &["cli"]),
    ];
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let relative = file.strip_prefix(&root).unwrap().to_str().unwrap();
        for (library, owners) in owners {
            let own = owners.iter().any(|owner| relative.starts_with(owner));
            assert!(own || !text.contains(library), "{relative} names {library}, which is for {owners:?}");
        }
    }
}

#[test]
fn an_import_is_seen_wherever_it_stands() {
    let text = "use crate::{\n    config::{A, b::C},\n    model::D,\n};\nfn f() { crate::wire::g(); }\n// crate::cli\n";
    let seen: Vec<_> = imports(text).into_iter().collect();
    assert_eq!(seen, ["config", "model", "wire"]);
}
