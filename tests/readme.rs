//! The README and docs/ say what the code does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{fs, path::Path};

use regionwatch::{
    config::{Config, Loaded},
    metrics::families_table,
};

const METRICS: &str = "docs/metrics.md";

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// `BLESS=1 cargo test --test readme` rewrites the table.
#[test]
fn the_table_of_metrics_is_that_of_the_code() {
    let page = read(METRICS);
    let (before, rest) = page.split_once("tests/readme.rs -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- end of metrics -->").unwrap();
    let expected = families_table();
    if std::env::var_os("BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(METRICS);
        let text = format!("{before}tests/readme.rs -->\n{expected}<!-- end of metrics -->{after}");
        fs::write(path, text).unwrap();
    } else {
        assert_eq!(table, expected, "rewrite it with BLESS=1");
    }
}

#[test]
fn every_variable_is_documented() {
    let page = read("docs/configuration.md");
    let (_, rest) = page.split_once("<!-- settings: begin -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- settings: end -->").unwrap();
    let source = read("src/config/env.rs");
    let names: Vec<_> = source
        .lines()
        .filter_map(|line| line.trim().split_once(": \"REGIONWATCH_")?.1.split_once('"'))
        .map(|(name, _)| format!("`REGIONWATCH_{name}`"))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !table.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The configurations of a page, as they load where there is a key.
fn configurations(file: &str) -> Vec<Loaded> {
    let page = read(file);
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), "0123456789abcdef0123456789abcdef\n").unwrap();
    let blocks = page.split("```yaml\n").skip(1).filter(|block| block.starts_with("region:"));
    let load = |block: &str| {
        let text = block.split("```").next().unwrap();
        let text = text.lines().map(|line| match line.split_once("key_file: ") {
            Some((before, _)) => format!("{before}key_file: {}}}\n", key.path().display()),
            None => format!("{line}\n"),
        });
        let text: String = text.collect();
        Config::load(Some((&Path::new(file).with_extension("yaml"), &text)), [])
            .unwrap_or_else(|m| panic!("{m}\n{text}"))
    };
    blocks.map(load).collect()
}

#[test]
fn the_configurations_of_the_pages_load_without_a_warning() {
    let pages = [("README.md", (4, false)), ("docs/configuration.md", (8, true)), ("docs/failover.md", (8, true))];
    for (file, expected) in pages {
        let loaded = configurations(file);
        let found: Vec<_> = loaded.iter().map(|l| (l.config.paths().count(), l.config.votes.is_some())).collect();
        assert_eq!(found, [expected], "{file}");
        assert!(loaded.iter().all(|loaded| loaded.warnings.is_empty()), "{file}: {loaded:?}");
    }
}
