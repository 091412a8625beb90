//! The workflows of the repository, held by the checkers that there are, and the scripts that they run, by running them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

mod checkers;
mod deploy;
#[allow(dead_code, reason = "shared with the tests of the manifests")]
#[path = "../kubernetes/tools.rs"]
mod kubernetes;
#[path = "../support/privileges.rs"]
mod privileges;
mod release_notes;
mod rights;
mod verify;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn script(name: &str) -> Command {
    Command::new(root().join(".github").join(name))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every workflow: its path and its text.
fn workflows() -> Vec<(PathBuf, String)> {
    let mut found: Vec<_> = fs::read_dir(root().join(".github/workflows"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
    found
}
