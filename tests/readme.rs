//! The README says what the code does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{fs, path::Path};

use regionwatch::{config::Config, metrics::families_table};

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// `BLESS=1 cargo test --test readme` writes the table anew.
#[test]
fn the_table_of_metrics_is_that_of_the_code() {
    let readme = read("README.md");
    let (before, rest) = readme.split_once("tests/readme.rs -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- end of metrics -->").unwrap();
    let expected = families_table();
    if std::env::var_os("BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let text = format!("{before}tests/readme.rs -->\n{expected}<!-- end of metrics -->{after}");
        fs::write(path, text).unwrap();
    } else {
        assert_eq!(table, expected, "write it anew with BLESS=1");
    }
}

#[test]
fn every_variable_stands_in_the_readme() {
    let readme = read("README.md");
    let source = read("src/config/env.rs");
    let names: Vec<_> = source
        .lines()
        .filter_map(|line| line.trim().split_once(": \"REGIONWATCH_")?.1.split_once('"'))
        .map(|(name, _)| format!("`REGIONWATCH_{name}`"))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !readme.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_configuration_of_the_readme_loads() {
    let readme = read("README.md");
    let text = readme.split("```yaml\n").find(|block| block.starts_with("region:")).unwrap();
    let text = text.split("```").next().unwrap();
    let loaded = Config::load(Some((Path::new("README.yaml"), text)), []).unwrap_or_else(|m| panic!("{m}"));
    assert_eq!((loaded.config.paths().count(), loaded.warnings.len()), (4, 0));
}

#[test]
fn the_configuration_of_the_failover_page_loads_without_a_warning() {
    let page = read("docs/failover.md");
    let text = page.split("```yaml\n").find(|block| block.starts_with("region:")).unwrap().split("```").next().unwrap();
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), "0123456789abcdef0123456789abcdef\n").unwrap();
    let text = text.replace("/etc/regionwatch/votes.key", key.path().to_str().unwrap());
    let loaded = Config::load(Some((Path::new("failover.yaml"), &text)), []).unwrap_or_else(|m| panic!("{m}"));
    assert_eq!((loaded.config.paths().count(), &loaded.warnings), (8, &Vec::new()));
}
