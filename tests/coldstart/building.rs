//! Dockerfiles are built, and their images compared.

use std::fs;

use serde_json::Value;
use testkit::{
    engine::docker,
    images::{context, need, server},
    process::output,
};

/// Writes Dockerfiles beside the server.
fn written(files: &[(&str, &str)]) -> Vec<String> {
    let write = |(name, text): &(&str, &str)| {
        let path = context().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    files.iter().map(write).collect()
}

const LABEL: &str = "label=io.regionwatch.coldstart";

#[test]
fn dockerfiles_are_built_and_ranked_by_stage_and_argument_and_their_images_removed() {
    need();
    let files = written(&[
        (
            "stages.Dockerfile",
            "ARG DELAY=0\nFROM scratch AS quick\nCOPY server /server\nEXPOSE 8080\nENTRYPOINT [\"/server\"]\n\
             FROM quick AS late\nENTRYPOINT [\"/server\", \"700\"]\n",
        ),
        ("all.Dockerfile", "FROM scratch\nCOPY . /\nEXPOSE 8080\nENTRYPOINT [\"/server\", \"1500\"]\n"),
    ]);
    let json = context().join("stages.json").display().to_string();
    let stages = ["coldstart", "--dockerfile", &files[0], "--target", "quick,late", "--rounds", "3", "--out", &json];
    let run = output(&stages, &[]);
    assert!(run.status.success(), "{run:?}");
    let document: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let names: Vec<_> = document["results"].as_array().unwrap().iter().map(|entry| &entry["command"]).collect();
    assert_eq!(names, [&format!("{} quick", files[0]), &format!("{} late", files[0])], "{run:?}");
    assert_eq!(docker(&["images", "--all", "--quiet", "--filter", LABEL]), "");

    let both = ["coldstart", "--dockerfile", &files[0], "--dockerfile", &files[1], "--rounds", "1", "--present", "all"];
    let run = output(&[&both[..], &["--build-arg", "DELAY=0,1"]].concat(), &[]);
    let table = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && table.starts_with("3 images, 1 round, "), "{run:?}");
    for name in ["stages.Dockerfile DELAY=0", "stages.Dockerfile DELAY=1", "all.Dockerfile"] {
        assert!(table.contains(name), "{name}: {table}");
    }
}

#[test]
fn a_file_gives_each_image_limits_variables_and_a_probe_of_its_own() {
    need();
    let quick = server("quick", &[]);
    let stages = "FROM scratch AS quick\nCOPY server /server\nEXPOSE 8080\nENTRYPOINT [\"/server\"]\n\
                  FROM quick AS late\nENTRYPOINT [\"/server\", \"700\"]\n";
    let text = format!(
        "images:\n- {{image: '{quick}', name: half, cpus: 0.5, memory: 64MiB}}\n\
         - {{image: '{quick}', name: waits, cpus: 1, probe: 'tcp://:8080', env: {{LISTEN_MS: '800'}}}}\n\
         - {{dockerfile: of-file.Dockerfile, target: [quick, late]}}\n"
    );
    let files = written(&[("of-file.Dockerfile", stages), ("images.yaml", &text)]);
    let json = context().join("file.json").display().to_string();
    let run = output(&["coldstart", "--file", &files[1], "--rounds", "1", "--out", &json], &[]);
    assert!(run.status.success(), "{run:?}");
    let document: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let entry = |name: &str| {
        let all = document["results"].as_array().unwrap();
        all.iter().find(|entry| entry["command"] == name).unwrap_or_else(|| panic!("{name}: {run:?}"))
    };
    let limits = |name: &str| (entry(name)["cpus"].as_f64(), entry(name)["memory_bytes"].as_u64());
    assert_eq!(limits("half"), (Some(0.5), Some(64 << 20)));
    assert_eq!(limits("waits"), (Some(1.0), None));
    let listen = |name: &str| entry(name)["steps"]["listen"].as_f64().unwrap();
    let late = format!("{} late", files[0]);
    assert!(listen("waits") > 0.75 && listen(&late) > 0.65 && listen(&late) > listen("half") + 0.5, "{run:?}");
    assert_eq!(limits(&format!("{} quick", files[0])), (None, None));
    let table = String::from_utf8_lossy(&run.stdout);
    assert!(table.contains("  CPUS  MEMORY, MIB  "), "{table}");
}

#[test]
fn a_dockerfile_that_cannot_be_built_shows_what_the_builder_says() {
    need();
    let files = written(&[("broken.Dockerfile", "FROM scratch\nCOPY regionwatch-nothing /a\n")]);
    let run = output(&["coldstart", "--dockerfile", &files[0]], &[]);
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(said.contains("broken.Dockerfile failed") && said.contains("regionwatch-nothing"), "{said}");
    let run = output(&["coldstart", "--dockerfile", &files[0], "--target", "x"], &[]);
    assert_eq!(run.status.code(), Some(64), "{run:?}");
    assert!(String::from_utf8_lossy(&run.stderr).contains("has no stage \"x\"; it has no named stages"), "{run:?}");
    assert_eq!(docker(&["images", "--all", "--quiet", "--filter", LABEL]), "");
}

#[test]
fn an_order_of_steps_that_defeats_the_cache_is_named_with_its_line() {
    need();
    let text = "FROM scratch AS packages\nCOPY . .\nRUN npm ci\n\
                FROM scratch\nCOPY server /server\nEXPOSE 8080\nENTRYPOINT [\"/server\"]\n";
    let files = written(&[("order.Dockerfile", text)]);
    // The classic builder makes each stage, and the first one here cannot be.
    let run = output(&["coldstart", "--dockerfile", &files[0], "--rounds", "1"], &[("DOCKER_BUILDKIT", "1")]);
    let table = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{run:?}");
    assert!(table.contains("npm ci in line 3 runs again after each change of a file"), "{table}");
}
