//! The real JMeter: it reads what we write, and we judge what it writes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;
use testkit::{
    needs::{Need, require},
    root,
    space::{Host, need_namespaces},
};

use crate::results::{judge, k6};

/// The sampler of HTTP is a package of its own.
fn need_jmeter() {
    let http = Path::new("/usr/share/jmeter/lib/ext/ApacheJMeter_http.jar").is_file();
    require(&[Need::Tool("jmeter"), Need::Tool("java"), Need::Other("the Debian package jmeter-http", http)]);
}

/// The arguments of `tests/judge/jmeter` for a plan and these properties.
fn plan(folder: &Path, plan: &str, properties: &[String]) -> Vec<String> {
    let plan = root().join("tests/judge").join(plan).display().to_string();
    let log = folder.join("jmeter.log").display().to_string();
    let fixed = ["-n", "-t", &plan, "-j", &log].map(str::to_owned);
    fixed.into_iter().chain(properties.iter().map(|property| format!("-J{property}"))).collect()
}

#[test]
fn jmeter_reads_what_we_write_and_finds_the_same_numbers() {
    need_jmeter();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let file = k6(folder.path(), "k6.json", 1.0);
    let (jtl, json, csv) = (at("out.jtl"), at("out.json"), at("summary.csv"));
    assert_eq!(judge(&[&file, "--out", &jtl, "--out", &json]).0, Some(0));
    let script = root().join("tests/judge/summary.bsh").display().to_string();
    let properties = [format!("script={script}"), format!("results={jtl}"), format!("summary={csv}")];
    let output = Command::new(root().join("tests/judge/jmeter"))
        .args(plan(folder.path(), "summary.jmx", &properties))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let summary = fs::read_to_string(&csv).unwrap_or_else(|error| {
        let log = fs::read_to_string(at("jmeter.log")).unwrap_or_default();
        panic!("{error}\n{}{log}", String::from_utf8_lossy(&output.stdout))
    });
    let ours: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let regions = ours["rankings"][0]["regions"].as_array().unwrap();
    let lines: Vec<Vec<&str>> = summary.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.iter().map(|line| line[0]).collect::<Vec<_>>(), ["eu", "us"]);
    for line in lines {
        let region = regions.iter().find(|region| region["region"] == line[0]).unwrap();
        let theirs: Vec<f64> = line[1..].iter().map(|number| number.parse().unwrap()).collect();
        let ms = |value: &Value| value.as_f64().unwrap() * 1e3;
        assert_eq!((theirs[0], theirs[1]), (region["samples"].as_f64().unwrap(), region["failed"].as_f64().unwrap()));
        // A failure has the time until its deadline there, which a load test does not know; then it has none.
        if theirs[1] == 0.0 {
            assert!((theirs[2] - ms(&region["mean"]["seconds"])).abs() < 0.01, "{line:?} {region}");
            assert_eq!(
                (theirs[3], theirs[4]),
                (ms(&region["min_seconds"]).round(), ms(&region["max_seconds"]).round())
            );
            for (theirs, quantile) in [(theirs[5], "p50"), (theirs[6], "p95")] {
                assert!((theirs - ms(&region[quantile]["seconds"])).abs() <= 1.0, "{quantile}: {line:?} {region}");
            }
        }
    }
}

/// Answers every request after a delay.
fn slow(host: &Host, delay: Duration) {
    let listener = host.run(|| TcpListener::bind("0.0.0.0:80").unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // The client may keep the connection, or close it.
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    thread::sleep(delay);
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn a_real_jmeter_run_against_two_regions_is_judged() {
    need_jmeter();
    need_namespaces();
    let (here, us, eu) = (Host::new(), Host::new(), Host::new());
    here.join(&us, 1);
    here.join(&eu, 2);
    slow(&us, Duration::from_millis(20));
    slow(&eu, Duration::from_millis(80));
    let folder = tempfile::tempdir().unwrap();
    for (format, names) in [("csv", "true"), ("csv", "false"), ("xml", "true")] {
        let results = folder.path().join(format!("{format}-{names}.jtl")).display().to_string();
        let properties = [
            "us=10.0.1.2".to_owned(),
            "eu=10.0.2.2".to_owned(),
            "port=80".to_owned(),
            "loops=40".to_owned(),
            format!("jmeter.save.saveservice.output_format={format}"),
            format!("jmeter.save.saveservice.print_field_names={names}"),
            format!("jmeter.save.saveservice.connect_time={names}"),
        ];
        let mut arguments = plan(folder.path(), "load.jmx", &properties);
        arguments.extend(["-l".to_owned(), results.clone()]);
        let program = root().join("tests/judge/jmeter").display().to_string();
        let said = here.command(&format!("{program} {}", arguments.join(" ")), "");
        let thresholds = |bound: &str| format!("http_req_duration{{region:us}}: med<{bound}");
        let (pass, fail) = (thresholds("75"), thresholds("10"));
        let failing = "http_req_failed{region:down}: rate<0.01";
        let (status, told) = judge(&[&results, "--threshold", &pass]);
        assert_eq!(status, Some(0), "{format}: {told}{said}");
        let place = |region: &str| told.find(&format!("  {region} ")).unwrap_or_else(|| panic!("{told}"));
        assert!(place("us") < place("eu") && place("eu") < place("down"), "{told}");
        assert!(told.contains("80 of 80: 80 refused") && told.contains("0 of 80"), "{told}");
        assert_eq!(judge(&[&results, "--threshold", &fail]).0, Some(99));
        assert_eq!(judge(&[&results, "--threshold", failing]).0, Some(99));
    }
}
