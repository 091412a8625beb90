//! What the comparison says.

use serde_json::Value;
use testkit::process::output;

use crate::images::{dockerfile, need, server};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn images_are_ranked_by_their_first_correct_answer_with_its_steps() {
    need();
    let (quick, listens, answers) =
        (server("quick", &[]), server("listens-late", &["700"]), server("answers-late", &["0", "1500"]));
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("r.json").display().to_string();
    let run = output(&["coldstart", &answers, &listens, &quick, "--rounds", "6", "--out", &json], &[]);
    assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
    let table = text(&run.stdout);
    assert!(table.starts_with("3 images, 6 rounds, "), "{table}");
    let document: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let results = document["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(|result| result["command"].as_str().unwrap()).collect();
    assert_eq!(names, [&quick, &listens, &answers], "{table}");
    assert!(results.iter().all(|result| result["times"].as_array().unwrap().len() == 6), "{table}");
    // A step has its own delay, however slow the engine is, and the other images do not have it.
    let step = |image: usize, step: &str| results[image]["steps"][step].as_f64().unwrap();
    assert!(step(1, "listen") > 0.65 && step(1, "listen") > step(0, "listen") + 0.5, "{table}");
    assert!(step(2, "ready") >= 1.4 && step(0, "ready") < step(2, "ready") / 2.0, "{table}");
    let median = |entry: &Value| entry["median"].as_f64().unwrap();
    assert!(median(&document["floor"]) < median(&results[1]), "{table}");
    for result in results {
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
    let run = output(&["coldstart", &ends, &late, "--rounds", "1", "--timeout", "1s"], &[]);
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
}
