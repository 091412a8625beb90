//! The example application: its Dockerfiles are ranked as docs/coldstart.md says, and what is wrong in some of them is found
//! with its cost.

use std::{fs, process::Command};

use serde_json::Value;
use testkit::{
    engine::{engine, read, tried},
    needs::{Need, require},
    process::{output, write},
    root,
};

/// A base image: the official one, or a stand-in of what this machine has.
fn base(official: &str, stand_in: &str, program: &str) -> String {
    let is_there = |image: &str| tried(&["inspect", "--type", "image", image]).is_ok();
    if is_there(official) {
        return official.to_owned();
    }
    if !is_there(stand_in) {
        let made = Command::new(root().join(program)).arg(stand_in).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    stand_in.to_owned()
}

fn file(way: &str) -> String {
    root().join(format!("examples/coldstart/{way}.Dockerfile")).display().to_string()
}

/// Compares what these Dockerfiles build of the example.
fn compared(files: &[String], rounds: &str) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json").display().to_string();
    let node = base("node:20-slim", "regionwatch-node:test", "tests/engine/node-image");
    let nginx = base("nginx:1.28-alpine", "regionwatch-nginx:test", "tests/engine/nginx-image");
    let (node, nginx) = (format!("NODE_IMAGE={node}"), format!("NGINX_IMAGE={nginx}"));
    let context = root().join("examples/coldstart").display().to_string();
    let mut arguments = vec!["coldstart", "--rounds", rounds, "--context", &context, "--build-option=--network=host"];
    arguments.extend(["--build-arg", &node, "--build-arg", &nginx, "--out", &json]);
    arguments.extend(files.iter().flat_map(|file| ["--dockerfile", file.as_str()]));
    let run = output(&arguments, &[("DOCKER_BUILDKIT", "1")]);
    assert!(run.status.success(), "{run:?}");
    let table = String::from_utf8_lossy(&run.stdout).into_owned();
    (serde_json::from_slice(&fs::read(&json).unwrap()).unwrap(), table)
}

#[test]
fn the_dockerfiles_of_the_example_are_ranked_and_their_faults_found_with_what_removing_them_saves() {
    require(&[engine(), Need::Tool("node"), Need::Tool("npm"), Need::Tool("nginx")]);
    // All pairs of all of them would need many more rounds.
    let (report, table) = compared(&[file("single-stage"), file("nginx")], "6");
    assert_eq!(report["results"][0]["command"], Value::from(file("nginx")), "{table}");
    assert_eq!(report["results"][1]["rank"], serde_json::json!([2, 2]), "{table}");

    // The same without one of the faults.
    let folder = tempfile::tempdir().unwrap();
    let without = |way: &str, fault: &str, better: &str| {
        let text = read(&format!("examples/coldstart/{way}.Dockerfile"));
        assert!(text.contains(fault), "{text}");
        write(folder.path(), &format!("{}.Dockerfile", better.len()), &text.replace(fault, better))
    };
    let install = "RUN npm install\n";
    let build = "RUN npm install\nRUN npm run build\n";
    let prune = "RUN npm install\nRUN npm run build\nRUN npm prune --omit=dev && npm cache clean --force\n";
    let faults = [
        (
            "single-stage",
            "package caches",
            without("single-stage", install, "RUN npm install && npm cache clean --force\n"),
        ),
        (
            "single-stage",
            "development packages",
            without("single-stage", build, "RUN npm install && npm run build && npm prune --omit=dev\n"),
        ),
        ("pruned", "removed by a later layer", without("pruned", prune, &prune.replace("\nRUN", " &&"))),
    ];
    let ways = ["nginx", "distroless", "bundled", "multi-stage", "pruned", "single-stage"];
    let all: Vec<_> = ways.map(file).into_iter().chain(faults.iter().map(|(_, _, without)| without.clone())).collect();
    let (report, table) = compared(&all, "1");
    let entry = |file: &str| {
        let results = report["results"].as_array().unwrap();
        results.iter().find(|entry| entry["command"].as_str() == Some(file)).unwrap()
    };
    let bytes: Vec<_> = ways.map(|way| entry(&file(way))["pull"]["bytes"].as_u64().unwrap()).into();
    assert!(bytes[..4].is_sorted() && bytes[3] < bytes[4].min(bytes[5]), "{bytes:?} {table}");
    let finding = |file: &str, part: &str| {
        entry(file)["findings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|finding| finding["part"].as_str() == Some(part))
            .cloned()
    };
    let pull = |file: &str| entry(file)["pull"]["seconds"]["1 Gbit/s"].as_f64().unwrap();
    for (way, part, without) in &faults {
        let found = finding(&file(way), part).unwrap_or_else(|| panic!("{part}: {table}"));
        let (cost, saved) = (found["seconds"].as_f64().unwrap(), pull(&file(way)) - pull(without));
        assert!((cost - saved).abs() < 0.2 * saved, "{part}: {cost} s, and its removal saves {saved} s\n{table}");
        assert_eq!((finding(without, part), finding(&file("bundled"), part)), (None, None), "{part}: {table}");
    }
    // Of the others, nginx and what starts from nothing have less than the base of this one.
    let base = finding(&file("single-stage"), "the base image").unwrap_or_else(|| panic!("{table}"));
    let (cost, saves) = (base["seconds"].as_f64().unwrap(), base["smaller"]["saves_seconds"].as_f64().unwrap());
    assert!(0.0 < saves && saves < cost && cost < pull(&file("single-stage")), "{base}: {table}");
    let others = [file("nginx"), file("distroless")];
    assert!(others.iter().any(|other| base["smaller"]["image"].as_str() == Some(other)), "{base}: {table}");
    assert_eq!(finding(&file("distroless"), "the base image"), None, "{table}");
    let hygiene = entry(&file("single-stage"))["hygiene"].to_string();
    for fault in ["npm install in line 6 runs again", "runs as root", "starts by a shell"] {
        assert!(hygiene.contains(fault), "{fault}: {hygiene}");
    }
    assert!(!entry(&file("bundled"))["hygiene"].to_string().contains("runs again"), "{table}");
}
