//! The same on Podman, whose API speaks Docker's.

use std::{fs, process::Command, time::Duration};

use serde_json::Value;
use testkit::{
    images::context,
    needs::{Need, require},
    process::{Running, eventually, output},
    root,
    space::Host,
};

const LABEL: &str = "label=io.regionwatch.coldstart";

#[test]
fn podman_builds_starts_and_ranks_as_docker_does_and_keeps_nothing() {
    require(&[Need::Root, Need::NetworkNamespaces, Need::Tool("podman"), Need::Tool("iptables"), Need::Tool("cc")]);
    let folder = tempfile::tempdir().unwrap();
    let text = "FROM scratch AS quick\nCOPY server /server\nEXPOSE 8080\nENTRYPOINT [\"/server\"]\n\
                FROM quick AS late\nENTRYPOINT [\"/server\", \"2000\"]\n";
    let file = context().join("podman.Dockerfile").display().to_string();
    fs::write(&file, text).unwrap();
    let (place, socket) = (folder.path().display().to_string(), folder.path().join("socket").display().to_string());
    let engine = format!("unix://{socket}");
    let host = Host::new();
    let program = root().join("tests/engine/podman").display().to_string();
    let service = host.run(move || Running::start(&program, &[&place], &[]));
    eventually("Podman listens", Duration::from_secs(60), || fs::exists(&socket).unwrap().then_some(()));
    let json = folder.path().join("r.json").display().to_string();
    let run = {
        let (engine, json) = (engine.clone(), json.clone());
        host.run(move || {
            let stages = ["coldstart", "--engine", &engine, "--dockerfile", &file, "--target", "quick,late"];
            output(&[&stages[..], &["--rounds", "6", "--out", &json]].concat(), &[])
        })
    };
    assert!(run.status.success() && run.stderr.is_empty(), "{run:?}\n{}", service.said());
    let table = String::from_utf8_lossy(&run.stdout);
    assert!(table.contains("; Podman "), "{table}");
    let document: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let results = document["results"].as_array().unwrap();
    assert!(results[0]["command"].as_str().unwrap().ends_with(" quick"), "{table}");
    assert!(results[0]["pull"]["bytes"].as_u64().unwrap() > 100_000, "{table}");
    assert_eq!(results[1]["rank"], serde_json::json!([2, 2]), "{table}");
    assert!(document["floor"]["starts"] == 6 && document["floor"]["failed"] == 0, "{table}");
    for kept in [["ps", "--all"], ["network", "ls"], ["images", "--all"]] {
        let listed = Command::new("podman")
            .args(["--url", &engine])
            .args(kept)
            .args(["--quiet", "--filter", LABEL])
            .output()
            .unwrap();
        assert!(listed.status.success() && listed.stdout.is_empty(), "{kept:?}: {listed:?}");
    }
}
