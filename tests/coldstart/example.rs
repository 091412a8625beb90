//! The example application: its Dockerfiles are ranked as docs/coldstart.md says, and what is wrong in one of them is found.

use std::{fs, process::Command};

use serde_json::Value;
use testkit::{
    engine::{engine, tried},
    needs::{Need, require},
    process::output,
    root,
};

const BASE: &str = "regionwatch-node:test";

/// The base image: the official one, or a stand-in of what this machine has.
fn base() -> &'static str {
    let official = "node:20-slim";
    if tried(&["inspect", "--type", "image", official]).is_ok() {
        return official;
    }
    if tried(&["inspect", "--type", "image", BASE]).is_err() {
        let made = Command::new(root().join("tests/engine/node-image")).arg(BASE).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    BASE
}

#[test]
fn the_dockerfiles_of_the_example_are_ranked_and_the_faults_of_the_first_are_found() {
    require(&[engine(), Need::Tool("mmdebstrap"), Need::Tool("node"), Need::Tool("npm")]);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json").display().to_string();
    let argument = format!("NODE_IMAGE={}", base());
    let ways = ["single-stage", "multi-stage", "bundled"];
    let file = |way: &str| root().join(format!("examples/coldstart/{way}.Dockerfile")).display().to_string();
    let files: Vec<_> = ways.iter().flat_map(|way| ["--dockerfile".to_owned(), file(way)]).collect();
    let mut arguments = vec!["coldstart", "--rounds", "6", "--build-arg", &argument, "--build-option=--network=host"];
    arguments.extend(["--out", &json]);
    arguments.extend(files.iter().map(String::as_str));
    let run = output(&arguments, &[("DOCKER_BUILDKIT", "1")]);
    let table = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{run:?}");
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let entry = |way: &str| {
        let results = report["results"].as_array().unwrap();
        results.iter().find(|entry| entry["command"].as_str() == Some(&file(way))).unwrap()
    };
    let pull = |way: &str| entry(way)["pull"]["bytes"].as_u64().unwrap();
    assert!(pull("bundled") < pull("multi-stage") && pull("multi-stage") < pull("single-stage"), "{table}");
    let has = |way: &str, part: &str| {
        entry(way)["findings"].as_array().unwrap().iter().any(|finding| finding["part"].as_str() == Some(part))
    };
    for part in ["package caches", "development packages"] {
        assert!(has("single-stage", part) && !has("bundled", part), "{part}: {table}");
    }
    let hygiene = entry("single-stage")["hygiene"].to_string();
    for fault in ["npm install in line 6 runs again", "runs as root", "starts by a shell"] {
        assert!(hygiene.contains(fault), "{fault}: {hygiene}");
    }
    assert!(!entry("bundled")["hygiene"].to_string().contains("runs again"), "{table}");
}
