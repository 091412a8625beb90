//! A kind of probe is one file and one line. A copy of the crate gets the kind of `new_kind/echo.rs`, written by the recipe in
//! CONTRIBUTING.md, and runs the tests of that file: reading, printing, reports, series and a measurement.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use testkit::root;

/// The one line, at the end of the list that begins so.
const LIST: &str = "kinds! {\n";
const LINE: &str = "    echo: Echo(EchoSpec);\n";

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn a_kind_of_probe_is_one_file_and_one_line() {
    let root = fs::canonicalize(root()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for entry in fs::read_dir(&root).unwrap().map(Result::unwrap) {
        if !["src", "target", ".git"].iter().any(|name| entry.file_name() == *name) {
            symlink(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    copy(&root.join("src"), &folder.join("src"));

    // The file and the line.
    fs::copy(root.join("tests/new_kind/echo.rs"), folder.join("src/probe/echo.rs")).unwrap();
    let list = fs::read_to_string(folder.join("src/probe/mod.rs")).unwrap();
    assert_eq!(list.matches(LIST).count(), 1);
    fs::write(folder.join("src/probe/mod.rs"), list.replace(LIST, &format!("{LIST}{LINE}"))).unwrap();

    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo.args(["test", "--locked", "--offline", "--lib", "--", "probe::echo", "probe::tests"]).current_dir(folder);
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        cargo.env("CARGO_TARGET_DIR", root.join("target"));
    }
    let output = cargo.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success() && text.contains("test result: ok. 3 passed"), "{text}");
    assert!(!text.contains("warning"), "{text}");
}
