//! The real binary, as an operator runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod bench;
mod commands;
mod demo;
mod failover_page;
mod files;
mod log;
mod operators;
mod prometheus;
mod reload;
mod signed_orders;
mod votes;

suite!(Processors, newest: ["failover_page", "prometheus", "signed_orders"]);

#[test]
fn whatever_starts_a_program_of_two_versions_runs_on_both() {
    let of_two_versions = |text: &str| {
        ["\"prometheus\"", "\"promtool\"", "\"amtool\"", "\"prometheus-alertmanager\""]
            .iter()
            .any(|name| text.contains(name))
    };
    let folder = testkit::root().join("tests/product");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| !file.ends_with("main.rs") && of_two_versions(&std::fs::read_to_string(file).unwrap()))
        .map(|file| file.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, ["failover_page", "prometheus", "signed_orders"], "name it in `newest` of this suite too");
}
