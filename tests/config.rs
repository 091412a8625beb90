//! Configurations as operators write them: good ones load, broken ones tell everything that is wrong.
//!
//! A case is `NAME.yaml` (the file), `NAME.env` (lines of `NAME=VALUE`), or both. Beside each broken case
//! `NAME.expected` holds the exact text that is told. `BLESS=1 cargo test --test config` writes these anew;
//! read the difference before you commit it.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use regionwatch::config::{Config, Loaded, Mistakes};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

/// The names of the cases in a folder.
fn cases(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases = files.filter(|path| path.extension().is_some_and(|extension| extension != "expected"));
    cases.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn variables(text: &str) -> Vec<(OsString, OsString)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

/// Loads a case as if its file were named `regionwatch.yaml`.
fn load(folder: &Path, name: &str) -> Result<Loaded, Mistakes> {
    let file = fs::read_to_string(folder.join(format!("{name}.yaml"))).ok();
    let environment = fs::read_to_string(folder.join(format!("{name}.env"))).unwrap_or_default();
    Config::load(file.as_deref().map(|text| (Path::new("regionwatch.yaml"), text)), variables(&environment))
}

#[test]
fn good_configurations_load_and_print_themselves() {
    let folder = folder("good");
    for name in cases(&folder) {
        let loaded = load(&folder, &name).unwrap_or_else(|mistakes| panic!("{name}:\n{mistakes}"));
        let printed = loaded.config.to_yaml();
        let again = Config::load(Some((Path::new("printed.yaml"), &printed)), [])
            .unwrap_or_else(|mistakes| panic!("{name}:\n{mistakes}\n{printed}"));
        assert_eq!(again.config.to_yaml(), printed, "{name}");
        if !printed.contains("<secret>") {
            assert_eq!(again.config, loaded.config, "{name}\n{printed}");
        }
    }
}

#[test]
fn broken_configurations_tell_everything_that_is_wrong() {
    let folder = folder("broken");
    let cases = cases(&folder);
    assert!(cases.len() >= 45, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for name in &cases {
        let told = match load(&folder, name) {
            Ok(_) => {
                failures.push(format!("{name}: is not broken"));
                continue;
            }
            Err(mistakes) => format!("{mistakes}\n"),
        };
        let path = folder.join(format!("{name}.expected"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &told).unwrap();
        }
        match fs::read_to_string(&path) {
            Ok(expected) if expected == told => {}
            Ok(expected) => failures.push(format!("{name}:\n--- expected\n{expected}--- told\n{told}")),
            Err(error) => failures.push(format!("{name}.expected: {error}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// An expectation that outlived its case proves nothing.
#[test]
fn every_expectation_has_its_case() {
    let folder = folder("broken");
    let cases = cases(&folder);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(cases.contains(path.file_stem().unwrap().to_str().unwrap()), "{}", path.display());
    }
}

/// Each line names a place, then says what is wrong, then what to do.
#[test]
fn every_mistake_has_one_form() {
    let folder = folder("broken");
    for name in cases(&folder) {
        let Err(mistakes) = load(&folder, &name) else { continue };
        for line in mistakes.lines() {
            let (place, text) = line.split_once(": ").unwrap_or_else(|| panic!("{name}: {line}"));
            let in_file = place.strip_prefix("regionwatch.yaml:").is_some_and(|position| {
                position.split(':').count() == 2 && position.split(':').all(|n| n.parse::<u32>().is_ok_and(|n| n > 0))
            });
            assert!(in_file || place.starts_with("REGIONWATCH_") || place == "configuration", "{name}: {line}");
            assert!(text.contains("; ") && !text.ends_with(['.', ' ']), "{name}: {line}");
            assert!(!line.contains(['\n', '\r', '\0']), "{name}: {line}");
        }
    }
}
