//! The base image: what it costs, what a smaller one saves, and what a node needs to pull that has it already.

use std::fs;

use serde_json::Value;
use testkit::{
    images::{context, dockerfile, need},
    process::output,
};

use crate::ranking::noise;

/// The report of a comparison of which a node has this already, and its table.
fn compared(present: &str, images: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("r.json").display().to_string();
    let options = ["coldstart", "--rounds", "1", "--bandwidth", "100mbit", "--present", present, "--out", &json];
    let run = output(&[&options[..], images].concat(), &[("DOCKER_BUILDKIT", "1")]);
    assert!(run.status.success(), "{run:?}");
    let table = String::from_utf8_lossy(&run.stdout).into_owned();
    (serde_json::from_slice(&fs::read(&json).unwrap()).unwrap(), table)
}

fn entry<'a>(report: &'a Value, image: &str) -> &'a Value {
    report["results"].as_array().unwrap().iter().find(|entry| entry["command"] == image).unwrap()
}

fn pull(report: &Value, image: &str) -> (f64, f64) {
    let pull = &entry(report, image)["pull"];
    (pull["bytes"].as_f64().unwrap(), pull["seconds"]["100 Mbit/s"].as_f64().unwrap())
}

fn base_finding<'a>(report: &'a Value, image: &str) -> Option<&'a Value> {
    entry(report, image)["findings"].as_array().unwrap().iter().find(|finding| finding["part"] == "the base image")
}

/// Files of no use, by which layers differ.
fn files() {
    for (name, bytes) in [("large", 6_000_000), ("small", 1_000_000), ("program", 500_000)] {
        fs::write(context().join(name), noise(bytes)).unwrap();
    }
}

const PROGRAM: &str = "COPY server /server\nCOPY program /program\nEXPOSE 8080\nENTRYPOINT [\"/server\"]\n";

#[test]
fn a_base_image_has_its_cost_and_that_of_a_smaller_one_is_what_changing_it_saves() {
    need();
    files();
    let [large, small] = ["large", "small"].map(|name| {
        let base = dockerfile(&format!("{name}-base"), &format!("FROM scratch\nCOPY {name} /base\nCMD [\"/base\"]\n"));
        dockerfile(&format!("on-{name}"), &format!("FROM {base}\n{PROGRAM}"))
    });
    let images = [&*large, &*small];
    let (report, table) = compared("none", &images);
    let (whole, other) = (pull(&report, &large), pull(&report, &small));
    let found = base_finding(&report, &large).unwrap_or_else(|| panic!("{table}"));
    let cost = found["seconds"].as_f64().unwrap();
    assert!((cost / whole.1 - 6.0 / 6.9).abs() < 0.05, "{cost} of {whole:?}: {table}");
    assert_eq!((&found["files"], &found["example"]), (&1.into(), &"/base".into()), "{table}");
    let smaller = &found["smaller"];
    assert_eq!((smaller["image"].as_str(), smaller["is_whole"].as_bool()), (Some(&*small), Some(false)), "{table}");
    let (told, saved) = (smaller["saves_seconds"].as_f64().unwrap(), whole.1 - other.1);
    assert!((told - saved).abs() < 0.2 * saved, "{told} s, and the smaller base saves {saved} s: {table}");
    assert!(base_finding(&report, &small).is_some_and(|found| found["smaller"].is_null()), "{table}");
    assert!(table.contains(&format!("; that of {small} takes ")), "{table}");
    assert!(table.contains(" MB of it are its base image and cost "), "{table}");

    // What a node has of it costs nothing.
    let (report, table) = compared("base", &images);
    let (above, other) = (pull(&report, &large), pull(&report, &small));
    assert!((above.0 - other.0).abs() < 1000.0, "{above:?} {other:?}");
    let base = entry(&report, &large)["pull"]["base_bytes"].as_f64().unwrap();
    assert!((above.0 + base - whole.0).abs() < 1.0, "{above:?} {base} {whole:?}");
    assert_eq!(base_finding(&report, &large), None, "{table}");
    assert!(!table.contains("base image and cost") && !table.contains(" ms less"), "{table}");
    let (report, table) = compared("all-but-last", &images);
    let last = pull(&report, &large);
    assert!(last.0 > 500_000.0 && last.0 < 510_000.0 && last.0 < above.0, "{last:?} {above:?}: {table}");
    assert_eq!(entry(&report, &large)["pull"]["layers"], 1, "{table}");
    assert_eq!(base_finding(&report, &large), None, "{table}");
}

#[test]
fn a_dockerfile_says_what_the_base_image_is_where_its_history_does_not() {
    need();
    files();
    // Without a command, the history does not show where it ends.
    let base = dockerfile("base-without-command", "FROM scratch\nCOPY large /large\nCOPY small /small\n");
    let named = dockerfile("on-base-without-command", &format!("FROM {base}\n{PROGRAM}"));
    let write = |name: &str, text: &str| {
        let path = context().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let on = write("on.Dockerfile", &format!("ARG BASE={base}\nFROM ${{BASE}}\n{PROGRAM}"));
    let scratch = write("scratch.Dockerfile", &format!("FROM scratch AS all\nCOPY large /large\nFROM all\n{PROGRAM}"));
    let (report, table) = compared("base", &[&named, "--dockerfile", &on, "--dockerfile", &scratch]);
    let bytes = |image: &str| pull(&report, image).0;
    assert!(bytes(&on) < 3_000_000.0, "{table}");
    assert!(bytes(&scratch) > 6_000_000.0 && entry(&report, &scratch)["pull"]["base_bytes"] == 0, "{table}");
    // The first of its layers is taken for it.
    assert!((bytes(&named) - bytes(&on) - 1_000_000.0).abs() < 10_000.0, "{table}");
    assert!(entry(&report, &named)["pull"]["base_bytes"].is_null(), "{table}");
    assert!(table.contains("Its base image is unknown: its first layer counts as that if others follow."), "{table}");

    let (report, table) = compared("none", &["--dockerfile", &on, "--dockerfile", &scratch]);
    let found = base_finding(&report, &on).unwrap_or_else(|| panic!("{table}"));
    assert!(found["bytes"].as_f64().unwrap() > 6_900_000.0, "{found}");
    // All of the other one is hardly less than this base, and never more.
    let smaller = &found["smaller"];
    let less = pull(&report, &on).1 - pull(&report, &scratch).1;
    assert!(smaller.is_null() || smaller["saves_seconds"].as_f64().unwrap() < less, "{smaller} {less}: {table}");
    assert_eq!(base_finding(&report, &scratch), None, "{table}");
}
