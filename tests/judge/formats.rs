//! JUnit's XML, by a reader of it and by the schema that CI systems check it against; CSV, by a spreadsheet.

use std::{collections::BTreeMap, fs, process::Command};

use regex_lite::Regex;

use serde_json::Value;
use testkit::{
    needs::{Need, installed, require},
    root,
};

use crate::results::{judge, k6};

const READER: &str = "import json, sys, junitparser
xml = junitparser.JUnitXml.fromfile(sys.argv[1])
cases = [(case.classname, case.name, [[type(end).__name__, end.message] for end in case.result]) for suite in xml for case in suite]
print(json.dumps([xml.tests, xml.failures, xml.errors, cases]))";

fn junit(args: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (file, xml) = (k6(folder.path(), "k6.json", 1.0), folder.path().join("junit.xml"));
    let out = format!("junit={}", xml.display());
    let (_, told) = judge(&[&[file.as_str(), "--out", &out], args].concat());
    let schema = root().join("tests/judge/junit.xsd");
    let checked =
        Command::new("xmllint").args(["--noout", "--nonet", "--schema"]).arg(schema).arg(&xml).output().unwrap();
    assert!(checked.status.success(), "{told}{}", String::from_utf8_lossy(&checked.stderr));
    let python = installed().join("bin/python");
    let read = Command::new(python).args(["-c", READER]).arg(&xml).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice(&read.stdout).unwrap()
}

fn need_readers() {
    let parser = installed().join("lib").read_dir().is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|version| version.path().join("site-packages/junitparser").is_dir()))
    });
    require(&[Need::Tool("xmllint"), Need::Other("the Python package junitparser (tests/run installs it)", parser)]);
}

#[test]
fn a_junit_reader_finds_a_case_for_each_threshold() {
    need_readers();
    let thresholds = [
        "probe_duration{region:us}: p(95)<30",
        "probe_duration{region:us}: p(95)<20",
        "probe_duration{region:us}: p(95)<29",
    ];
    let flags: Vec<_> = thresholds.iter().flat_map(|threshold| ["--threshold", threshold]).collect();
    let told = junit(&flags);
    assert_eq!((&told[0], &told[1], &told[2]), (&3.into(), &1.into(), &0.into()), "{told}");
    let cases = told[3].as_array().unwrap();
    for (case, (name, end)) in
        cases.iter().zip([("p(95)<30", None), ("p(95)<20", Some("Failure")), ("p(95)<29", Some("Skipped"))])
    {
        assert_eq!((case[0].as_str(), case[1].as_str()), (Some("probe_duration{region=\"us\"}"), Some(name)));
        assert_eq!(case[2][0][0].as_str(), end, "{case}");
        assert_eq!(
            case[2][0][1].as_str().is_some_and(|message| message.contains("p(95) = 28 ms")),
            end.is_some(),
            "{case}"
        );
    }
    let strict = junit(&[&flags[..], &["--inconclusive", "fail"]].concat());
    assert_eq!(strict[1], 2, "{strict}");
}

#[test]
fn without_thresholds_a_junit_reader_finds_a_case_for_each_region() {
    need_readers();
    let told = junit(&[]);
    assert_eq!((&told[0], &told[1]), (&2.into(), &0.into()), "{told}");
    assert_eq!(told[3][0][1], "us");
}

/// The cells of a CSV report as a spreadsheet opens it, by row and column: numbers, and texts in quotes.
fn opened(csv: &std::path::Path) -> BTreeMap<(usize, usize), String> {
    let sheet = csv.with_extension("xml");
    let opened = Command::new("ssconvert").args(["-T", "Gnumeric_XmlIO:sax:0"]).arg(csv).arg(&sheet).output().unwrap();
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    let cell = Regex::new(r#"<gnm:Cell Row="(\d+)" Col="(\d+)" ValueType="(\d+)"[^>]*>([^<]*)<"#).unwrap();
    let text = fs::read_to_string(sheet).unwrap();
    let cells = cell.captures_iter(&text).map(|cell| {
        // GnmValueType: 40 is a number, 60 a string.
        let value = match &cell[3] {
            "40" => format!("{:.3}", cell[4].parse::<f64>().unwrap()),
            "60" => format!("{:?}", cell[4].replace("&quot;", "\"")),
            other => panic!("a value of type {other}"),
        };
        ((cell[1].parse().unwrap(), cell[2].parse().unwrap()), value)
    });
    cells.collect()
}

#[test]
fn a_spreadsheet_opens_the_csv_with_numbers_as_numbers_and_no_formula() {
    require(&[Need::Tool("ssconvert")]);
    let folder = tempfile::tempdir().unwrap();
    let (file, csv) = (k6(folder.path(), "k6.json", 1.0), folder.path().join("report.csv"));
    let hostile = "=1+1,\"x\"";
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"region\":\"eu\"", &format!("\"region\":{}", Value::from(hostile)))).unwrap();
    let (_, told) = judge(&[&file, "--out", &format!("csv={}", csv.display())]);
    assert!(csv.exists(), "{told}");
    let cells = opened(&csv);
    let column = |name: &str| (0..).find(|n| cells[&(0, *n)] == format!("{name:?}")).unwrap();
    let cell = |row, name| cells.get(&(row, column(name))).map(String::as_str);
    let row =
        |row| ["region", "rank_best", "p50_ms", "p99_ms", "samples", "failed", "failures"].map(|name| cell(row, name));
    assert_eq!(
        row(1),
        [Some("\"us\""), Some("1.000"), Some("19.000"), Some("29.000"), Some("400.000"), Some("0.000"), None]
    );
    // Its 99th percentile is a failure.
    let region = format!("{hostile:?}");
    assert_eq!(
        row(2),
        [Some(&*region), Some("2.000"), Some("50.000"), None, Some("400.000"), Some("8.000"), Some("\"timeout 8\"")]
    );
    assert_eq!(cells.keys().map(|(row, _)| *row).max(), Some(2));
}
