//! The README and docs/ say what the code does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{fs, path::Path};

use regionwatch::{
    config::{Config, Loaded, SETTINGS, settings_table},
    metrics::families_table,
};

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Compares what is between two marks of a page with what the code generates; `BLESS=1 cargo test --test readme`
/// rewrites it.
fn compare(file: &str, begin: &str, end: &str, expected: &str) {
    let page = read(file);
    let (before, rest) = page.split_once(begin).unwrap();
    let (table, after) = rest.split_once(end).unwrap();
    if std::env::var_os("BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        fs::write(path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(table, expected, "rewrite {file} with BLESS=1");
    }
}

#[test]
fn the_table_of_metrics_is_that_of_the_code() {
    compare("docs/metrics.md", "tests/readme.rs -->\n", "<!-- end of metrics -->", &families_table());
}

#[test]
fn the_table_of_settings_is_that_of_the_code() {
    compare("docs/configuration.md", "<!-- settings: begin -->\n", "<!-- settings: end -->", &settings_table());
}

#[test]
fn the_readme_is_read_in_five_minutes() {
    let words = read("README.md").split_whitespace().count();
    assert!((900..=1200).contains(&words), "{words} words");
}

#[test]
fn every_variable_is_documented() {
    // The page is being written.
    if std::env::var_os("BLESS").is_some() {
        return;
    }
    let page = read("docs/configuration.md");
    let names =
        SETTINGS.iter().filter(|setting| !setting.is_obsolete()).map(|setting| format!("`{}`", setting.variable));
    let names: Vec<_> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !page.contains(*name)).collect();
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
