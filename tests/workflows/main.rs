//! The workflows of the repository, held by the checkers that there are, and the scripts that they run, by running them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use testkit::root;

mod bench;
mod checkers;
mod deploy;
mod release_notes;
mod rights;
mod verify;

suite!(Processors);

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
