//! Thresholds, baselines, and the exit status that a pipeline reads.

use std::fs;

use testkit::{
    images::{dockerfile, need, server},
    process::output,
};

/// Compares an image, and returns the exit status with what was printed and what was complained of.
fn compared(image: &str, options: &[&str]) -> (Option<i32>, String, String) {
    let run = output(&[&["coldstart", image, "--present", "all"][..], options].concat(), &[]);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (run.status.code(), text(&run.stdout), text(&run.stderr))
}

#[test]
fn an_image_that_got_worse_than_its_baseline_is_exit_status_99_and_one_that_did_not_0() {
    need();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (before, after) = (file("before.json"), file("after.json"));
    let (quick, gated) = (server("quick", &[]), server("gated", &[]));
    let (status, table, said) = compared(&gated, &[&quick, "--rounds", "20", "--save", &before]);
    assert_eq!((status, &*said), (Some(0), ""), "{table}");
    // Its failures are certain on any machine. How latencies are compared is tested with files.
    dockerfile("gated", "FROM scratch\nCOPY server /server\nEXPOSE 8080\nENTRYPOINT [\"/nothing\"]\n");
    let worse = [&*quick, "--rounds", "20", "--baseline", &before, "--save", &after];
    let (status, table, said) = compared(&gated, &worse);
    assert_eq!(status, Some(99), "{table}{said}");
    assert!(table.contains("failure rate not 1% higher (Newcombe interval)  100% after 0%"), "{table}");
    // What fails is saved too, so that a run can be compared with it.
    let same = [&*quick, "--rounds", "6", "--baseline", &after, "--min-effect", "1000%"];
    let (status, table, said) = compared(&gated, &same);
    assert_eq!(status, Some(0), "{table}{said}");
    assert!(table.contains("100% after 100%") && table.contains("latency not 1000% slower"), "{table}");
}

#[test]
fn a_baseline_of_other_images_is_exit_status_64_and_the_report_is_not_lost() {
    need();
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved.json").display().to_string();
    let json = folder.path().join("r.json").display().to_string();
    let (quick, other) = (server("quick", &[]), server("other", &[]));
    assert_eq!(compared(&other, &["--rounds", "1", "--save", &saved]).0, Some(0));
    let (status, table, said) = compared(&quick, &["--rounds", "1", "--baseline", &saved, "--out", &json]);
    assert_eq!(status, Some(64), "{table}{said}");
    assert!(said.contains("--baseline: nothing of it was measured now") && said.contains(&other), "{said}");
    assert!(table.starts_with("1 image, 1 round, "), "{table}");
    assert!(fs::read_to_string(&json).unwrap().contains(&quick));
}

#[test]
fn thresholds_decide_the_exit_status_and_what_the_samples_cannot_tell_is_up_to_the_user() {
    need();
    let quick = server("quick", &[]);
    let holds = format!("probe_duration{{image=\"{quick}\"}}: max<60000");
    let (status, table, said) = compared(&quick, &["--rounds", "1", "--threshold", &holds]);
    assert_eq!(status, Some(0), "{table}{said}");
    assert!(table.contains("pass"), "{table}");
    // One start does not tell the 95th percentile.
    let untold = ["--rounds", "1", "--threshold", "probe_duration: p(95)<60000"];
    let (status, table, said) = compared(&quick, &untold);
    assert_eq!(status, Some(0), "{table}{said}");
    assert!(table.contains("inconclusive"), "{table}");
    let (status, table, said) = compared(&quick, &[&untold[..], &["--inconclusive", "fail"]].concat());
    assert_eq!(status, Some(99), "{table}{said}");
    let nothing = ["--threshold", "probe_duration{image=\"nothing\"}: max<1"];
    assert_eq!(compared(&quick, &nothing).0, Some(64));
}
