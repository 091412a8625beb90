//! What the comparison says.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use testkit::{
    images::{context, dockerfile, need, server},
    needs::{Need, require},
    process::output,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn images_are_ranked_by_their_first_correct_answer_with_its_steps() {
    need();
    let (quick, listens, answers) =
        (server("quick", &[]), server("listens-late", &["2000"]), server("answers-late", &["0", "4000"]));
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("r.json").display().to_string();
    let run = output(&["coldstart", &answers, &listens, &quick, "--rounds", "3", "--out", &json], &[]);
    assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
    let table = text(&run.stdout);
    assert!(table.starts_with("3 images, 3 rounds, "), "{table}");
    let document: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let results = document["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(|result| result["command"].as_str().unwrap()).collect();
    assert_eq!(names, [&quick, &listens, &answers], "{table}");
    assert!(results.iter().all(|result| result["times"].as_array().unwrap().len() == 3), "{table}");
    // A step has its own delay, however slow the engine is, and the other images do not have it. The delays are long beside what a
    // busy machine adds.
    let step = |image: usize, step: &str| results[image]["steps"][step].as_f64().unwrap();
    assert!(step(1, "listen") > 1.95 && step(1, "listen") > step(0, "listen") + 1.0, "{table}");
    assert!(step(2, "ready") >= 3.9 && step(0, "ready") < step(2, "ready") / 2.0, "{table}");
    let median = |entry: &Value| entry["median"].as_f64().unwrap();
    assert!(median(&document["floor"]) < median(&results[1]), "{table}");
    for result in results {
        // After the first answer it is asked again, for what it loads late.
        assert!(result["next_100_answers"].as_u64().unwrap() > 0 && result["next_100_p99"].is_f64(), "{result}");
        let sum: f64 = result["steps"].as_object().unwrap().values().map(|step| step.as_f64().unwrap()).sum();
        assert!(median(result) > 0.5 * sum && median(result) < 2.0 * sum, "{result}");
    }
}

#[test]
fn a_threshold_that_is_broken_is_exit_status_99_and_an_unknown_image_64() {
    need();
    let quick = server("quick", &[]);
    let broken = format!("probe_duration{{image=\"{quick}\"}}: max<1");
    let run = output(&["coldstart", &quick, "--rounds", "1", "--threshold", &broken], &[]);
    assert_eq!(run.status.code(), Some(99), "{run:?}");
    assert!(text(&run.stdout).contains("1 rounds are too few for an interval"), "{run:?}");
    let run = output(&["coldstart", "regionwatch-coldstart-test:nowhere"], &[]);
    assert_eq!(run.status.code(), Some(64), "{run:?}");
    assert!(text(&run.stderr).contains("\"regionwatch-coldstart-test:nowhere\" is no image of Docker"), "{run:?}");
}

#[test]
fn an_image_that_ends_or_never_answers_says_why() {
    need();
    let ends = dockerfile("ends", "FROM scratch\nCOPY server /server\nEXPOSE 8080\nENTRYPOINT [\"/nothing\"]\n");
    let late = server("late", &["60000"]);
    // It counts from the creation of a container, which a busy engine needs seconds for.
    let run = output(&["coldstart", &ends, &late, "--rounds", "1", "--timeout", "15s"], &[]);
    let table = text(&run.stdout);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(table.contains("1 of 1: 1 not started") && table.contains("/nothing"), "{table}");
    assert!(table.contains("1 of 1: 1 refused"), "{table}");
    assert!(text(&run.stderr).contains("no image was ready"), "{run:?}");
}

#[test]
fn limits_and_published_ports_reach_the_container() {
    need();
    let quick = server("quick", &[]);
    let run = output(&["coldstart", &quick, "--rounds", "1", "--publish", "--cpus", "0.5", "--memory", "64MiB"], &[]);
    assert!(run.status.success(), "{run:?}");
    assert!(text(&run.stdout).contains(", 0.5 CPUs each, 64 MiB each"), "{run:?}");
    let run = output(&["coldstart", &quick, "--rounds", "1", "--probe", "tcp://:8080"], &[]);
    assert!(run.status.success(), "{run:?}");
    let run = output(&["coldstart", &quick, "--publish", "--probe", "tcp://:8080"], &[]);
    assert_eq!(run.status.code(), Some(64), "{run:?}");
    assert!(text(&run.stderr).contains("a published port accepts before the program does"), "{run:?}");
}

/// The bytes of a file in the page cache.
fn cached(file: &Path) -> u64 {
    let fincore =
        Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(file).output().unwrap();
    text(&fincore.stdout).trim().parse().unwrap()
}

#[test]
fn a_cold_page_cache_is_emptied_before_each_start_and_a_warm_one_is_not() {
    need();
    let may_write = fs::OpenOptions::new().write(true).open("/proc/sys/vm/drop_caches").is_ok();
    require(&[Need::Tool("fincore"), Need::Other("root of this host, for the page cache", may_write)]);
    let quick = server("quick", &[]);
    let bystander = context().join("bystander");
    fs::write(&bystander, noise(1 << 20)).unwrap();
    fs::File::open(&bystander).unwrap().sync_all().unwrap();
    for (state, expected) in [("warm", 1 << 20), ("cold", 0)] {
        let run = output(&["coldstart", &quick, "--rounds", "1", "--present", "all", "--page-cache", state], &[]);
        assert!(run.status.success(), "{run:?}");
        assert_eq!(cached(&bystander), expected, "{state}: {run:?}");
        let first = text(&run.stdout).lines().next().unwrap().to_owned();
        assert_eq!(first.ends_with(", page cache cold"), state == "cold", "{first}");
    }
}

/// Bytes that no compressor makes smaller.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn parts_that_were_planted_are_found_with_what_removing_them_saves() {
    need();
    for (name, bytes) in [("cache", 3_000_000), ("source", 2_000_000), ("package", 1_000_000)] {
        fs::write(context().join(name), noise(bytes)).unwrap();
    }
    let lock = r#"{"packages":{"node_modules/webpack":{"dev":true}}}"#;
    fs::write(context().join("lock.json"), lock).unwrap();
    // A layer that replaces a file is what a RUN that removes one is, without a shell in the image.
    let planted = |without: &str| {
        let lines = [
            ("", "FROM scratch"),
            ("", "COPY server /server"),
            ("cache", "COPY cache /root/.npm/_cacache/content-v2/a"),
            ("source", "COPY source /tmp/source.tar"),
            ("package", "COPY package /app/node_modules/webpack/lib/a.js"),
            ("", "COPY lock.json /app/node_modules/.package-lock.json"),
            ("source", "COPY lock.json /tmp/source.tar"),
            ("", "EXPOSE 8080"),
            ("", "ENTRYPOINT [\"/server\"]"),
        ];
        let kept = lines.iter().filter(|(part, _)| part.is_empty() || *part != without);
        kept.map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
    };
    let parts =
        [("cache", "package caches"), ("source", "removed by a later layer"), ("package", "development packages")];
    let whole = dockerfile("planted", &planted("nothing"));
    let without: Vec<_> = parts.iter().map(|(part, _)| dockerfile(&format!("no-{part}"), &planted(part))).collect();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("r.json").display().to_string();
    let images = [&whole, &without[0], &without[1], &without[2]];
    let args =
        ["coldstart", images[0], images[1], images[2], images[3], "--rounds", "1", "--bandwidth", "100mbit", "--out"];
    let run = output(&[&args[..], &[&json]].concat(), &[]);
    let table = text(&run.stdout);
    assert!(run.status.success(), "{run:?}");
    assert!(table.contains("What to change:\n- "), "{table}");
    assert!(table.contains("runs as root: add USER"), "{table}");
    let document: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let entry = |image: &str| {
        document["results"].as_array().unwrap().iter().find(|result| result["command"] == image).unwrap().clone()
    };
    let pull = |image: &str| entry(image)["pull"]["seconds"]["100 Mbit/s"].as_f64().unwrap();
    for ((_, part), without) in parts.iter().zip(&without) {
        let findings = entry(&whole)["findings"].clone();
        let finding = findings.as_array().unwrap().iter().find(|finding| finding["part"] == *part);
        let cost = finding.unwrap_or_else(|| panic!("{part}: {table}"))["seconds"].as_f64().unwrap();
        let saved = pull(&whole) - pull(without);
        assert!((cost - saved).abs() < 0.2 * saved, "{part}: {cost} s, and its removal saves {saved} s\n{table}");
        assert!(
            !entry(without)["findings"].as_array().unwrap().iter().any(|finding| finding["part"] == *part),
            "{table}"
        );
    }
}
