//! Results that are made up, and what `bench judge` says of them.

use std::{fmt::Write as _, path::Path};

use testkit::process::{output, write};

/// What a command ended with: its status, and what it printed.
pub(crate) fn judge(args: &[&str]) -> (Option<i32>, String) {
    let output = output(&[&["bench", "judge"], args].concat(), &[]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// k6's samples of two regions, one request every 100 ms of each: `us` takes 10 to 29 ms and `eu` 40 to 59 ms, and every
/// 50th request to `eu` times out.
pub(crate) fn k6(folder: &Path, name: &str, slower: f64) -> String {
    let mut text = String::new();
    for n in 0..400 {
        for (region, least) in [("us", 10.0), ("eu", 40.0)] {
            let latency = (least + f64::from(n * 7 % 20)) * slower;
            let (expected, error) = match region == "eu" && n % 50 == 0 {
                true => ("false", "\"error_code\":\"1050\","),
                false => ("true", ""),
            };
            let (second, tenth) = (n / 10, n % 10);
            let _ = writeln!(
                text,
                "{{\"metric\":\"http_req_duration\",\"type\":\"Point\",\"data\":{{\"time\":\"2026-11-29T20:00:{second:02}.{tenth}00Z\",\
                 \"value\":{latency},\"tags\":{{{error}\"expected_response\":\"{expected}\",\"region\":\"{region}\"}}}}}}"
            );
        }
    }
    write(folder, name, &text)
}

#[test]
fn a_broken_threshold_ends_with_99_and_an_invalid_one_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let file = k6(folder.path(), "k6.json", 1.0);
    for (thresholds, status, said) in [
        (&["probe_duration{peer_region=\"us\"}: p(95)<30"][..], 0, "pass"),
        (&["http_req_duration{region:us}: p(95)<20"][..], 99, "fail"),
        (&["probe_failed{region:eu}: rate<0.05", "http_req_failed: rate<0.001"][..], 99, "fail"),
        (&["probe_duration{region:us}: p(95)<29"][..], 0, "inconclusive"),
        (
            &["probe_duration{region:nowhere}: p(95)<29"][..],
            64,
            "selects nothing; there is {peer_region=\"us\"}, {peer_region=\"eu\"}",
        ),
        (&["probe_duration: p95<29"][..], 64, "write p(95)"),
    ] {
        let flags: Vec<_> = thresholds.iter().flat_map(|threshold| ["--threshold", threshold]).collect();
        let (found, told) = judge(&[&[file.as_str()][..], &flags].concat());
        assert!(found == Some(status) && told.contains(said), "{thresholds:?}: {found:?} {told}");
    }
    let undecided = ["--threshold", "probe_duration{region:us}: p(95)<29", "--inconclusive", "fail"];
    assert_eq!(judge(&[&[file.as_str()][..], &undecided].concat()).0, Some(99));
    let options =
        write(folder.path(), "options.json", r#"{"thresholds":{"http_req_duration{region:us}":["p(95)<20"]}}"#);
    assert_eq!(judge(&[&file, "--thresholds", &options]).0, Some(99));
    let broken = write(folder.path(), "broken.yaml", "thresholds:\n  probe_duration: [p(95)]\n");
    let (status, told) = judge(&[&file, "--thresholds", &broken]);
    assert!(
        status == Some(64)
            && told.contains("broken.yaml:2:20: thresholds.probe_duration[0]: column 6: has no operator"),
        "{told}"
    );
}

#[test]
fn a_run_that_got_slower_than_its_baseline_ends_with_99() {
    let folder = tempfile::tempdir().unwrap();
    let (old, slower) = (k6(folder.path(), "old.json", 1.0), k6(folder.path(), "new.json", 1.2));
    let saved = folder.path().join("saved.json").display().to_string();
    assert_eq!(judge(&[&old, "--save", &saved]).0, Some(0));
    let (status, told) = judge(&[&old, "--baseline", &saved]);
    assert!(status == Some(0) && told.contains("0% slower"), "{told}");
    let (status, told) = judge(&[&slower, "--baseline", &saved]);
    assert!(status == Some(99) && told.contains("Hodges-Lehmann shift") && told.contains("20% slower"), "{told}");
    assert_eq!(judge(&[&slower, "--baseline", &saved, "--min-effect", "30%"]).0, Some(0));
    let (status, told) = judge(&[&slower, "--baseline", &old]);
    assert!(status == Some(64) && told.contains("is not a file that --save wrote; name one"), "{told}");
}

#[test]
fn a_summary_of_k6_is_judged_without_samples() {
    let folder = tempfile::tempdir().unwrap();
    let summary = r#"{"metrics":{"http_req_duration{region:us}":{"values":{"p(95)":28,"count":400}},"http_reqs":{"values":{"count":800}}}}"#;
    let file = write(folder.path(), "summary.json", summary);
    let (status, told) = judge(&[&file, "--threshold", "http_req_duration{region:us}: p(95)<20"]);
    assert!(status == Some(99) && told.contains("probe_duration{region=\"us\"}: count=400 p(95)=28"), "{told}");
    assert!(told.contains("p(95) = 28 ms, 400 samples, no interval"), "{told}");
    let (status, told) = judge(&[&file, "--threshold", "http_req_duration: p(95)<20"]);
    assert!(
        status == Some(64) && told.contains("selects nothing; there is probe_duration{region=\"us\"}, probes"),
        "{told}"
    );
    let saved = folder.path().join("saved.json").display().to_string();
    for (more, expected) in [
        (["--threshold", "http_req_duration{region:us}: p(99)<1"], "the summary has no p(99); run k6 with"),
        (["--save", &saved], "--save: a summary of k6 has no samples to save"),
        (["--format", "csv"], "csv: a summary of k6 has no samples; write table, markdown"),
    ] {
        let (status, told) = judge(&[&[file.as_str()][..], &more].concat());
        assert!(status == Some(64) && told.contains(expected), "{told}");
    }
    let (_, told) = judge(&[&file, "--format", "markdown"]);
    assert!(told.contains("```text\nprobe_duration{region=\"us\"}: count=400 p(95)=28\n"), "{told}");
}

#[test]
fn names_from_a_file_move_no_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let summary = "{\"metrics\":{\"http_req_duration{a:\\u001b]0;x\\u0007}\":{\"values\":{\"p(95)\":28}}}}";
    let file = write(folder.path(), "summary.json", summary);
    for more in [&[][..], &["--threshold", "probe_duration: p(95)<1"]] {
        let (_, told) = judge(&[&[file.as_str()][..], more].concat());
        assert!(told.contains("\\u{1b}") && !told.contains('\u{1b}') && !told.contains('\u{7}'), "{told:?}");
    }
}

#[test]
fn a_run_in_which_nothing_succeeded_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let line = "1509841690552,21000,us,504,OK,a,text,false,,1,1,1,1,http://x/,0,0,1\n";
    let file = write(folder.path(), "failed.jtl", &line.repeat(100));
    let (status, told) = judge(&[&file]);
    assert!(status == Some(1) && told.contains("no probe of any region succeeded"), "{told}");
    assert_eq!(judge(&[&file, "--threshold", "probe_duration: avg<200"]).0, Some(99));
}

#[test]
fn a_report_that_cannot_be_written_keeps_no_other_from_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = k6(folder.path(), "k6.json", 1.0);
    let csv = folder.path().join("r.csv").display().to_string();
    let flags = ["--out", "json=/dev/full", "--save", "/dev/full", "--out", &csv];
    let (status, told) = judge(&[&[file.as_str()][..], &flags].concat());
    assert!(status == Some(1) && told.contains("--out /dev/full: ") && told.contains("--save /dev/full: "), "{told}");
    assert!(std::fs::read_to_string(&csv).unwrap().contains(",us,1,1,") && told.contains("RANK"), "{told}");
    let broken = ["--threshold", "probe_duration: max<1"];
    assert_eq!(judge(&[&[file.as_str()][..], &flags, &broken].concat()).0, Some(99), "a broken check is the status");
}
