use std::time::{Duration, SystemTime};

use super::*;
use crate::{
    bench::{Results, Rules},
    coldstart::{
        Bandwidth, Candidate, Comparison, ContainerOptions, Finding, Image, Model, NotReady, Origin, PageCache, Part,
        Plan, Present, Pull, Question, Start, Unpacking,
    },
};

fn image(name: &str, ms: u64, rounds: usize) -> Image {
    let part = |ms| Duration::from_millis(ms);
    let start = |n: u64| Start {
        total: part(ms + n % 3),
        steps: [part(20), part(30), part(ms - 60), part(10 + n % 3)],
        next: vec![Some(part(2)); 100],
    };
    let starts = (0..rounds as u64).map(|n| Ok(start(n))).collect();
    let options = ContainerOptions { cpus: Some(0.5), ..ContainerOptions::default() };
    Image { name: name.to_owned(), size: 120_000_000, layers: 4, starts, options, ..Image::default() }
}

fn candidate(image: &Image) -> Candidate {
    Candidate {
        name: image.name.clone(),
        origin: Origin::Engine(image.name.clone()),
        question: Question::http(),
        options: image.options.clone(),
    }
}

fn comparison(images: Vec<Image>) -> Comparison {
    let plan = Plan {
        sockets: Vec::new(),
        images: images.iter().map(candidate).collect(),
        question: Question::http(),
        rounds: 20,
        timeout: Duration::from_secs(60),
        options: ContainerOptions::default(),
        model: Model { bandwidths: vec![Bandwidth::parse("1gbit").unwrap()], present: Present::None },
        page_cache: PageCache::Warm,
    };
    Comparison {
        results: Results {
            began: SystemTime::UNIX_EPOCH,
            duration: Duration::from_secs(10),
            source: "x".to_owned(),
            series: plan.series(),
        },
        images,
        floor: Some(image("regionwatch-null:x", 100, 20)),
        engine: "Docker 1".to_owned(),
        architecture: "amd64".to_owned(),
        timeout: plan.timeout,
        model: plan.model,
        page_cache: plan.page_cache,
        unpacking: Unpacking(1e-9),
    }
}

#[test]
fn failures_of_half_of_the_starts_are_no_median() {
    let mut failing = image("failing", 1000, 20);
    for start in failing.starts.iter_mut().take(11) {
        *start = Err(NotReady::Unanswered(crate::model::Failure::Refused));
    }
    let mut stepped = image("stepped", 1000, 20);
    stepped.starts[3] = Err(NotReady::ClockStep);
    let comparison = comparison(vec![failing, stepped]);
    let report = Report::new(&comparison);
    let text = report.text(Format::Markdown, Colors::Off);
    let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert_eq!(row("failing").matches("\u{2265}60000").count(), 2, "{text}");
    assert!(!row("stepped").contains('\u{2265}'), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.text(Format::Json, Colors::Off)).unwrap();
    let entry = |name: &str| json["results"].as_array().unwrap().iter().find(|entry| entry["command"] == name).unwrap();
    assert_eq!(
        (&entry("failing")["median"], &entry("failing")["median_at_least"]),
        (&serde_json::Value::Null, &60.0.into())
    );
    assert!(entry("stepped")["median_at_least"].is_null() && entry("stepped")["p95"].as_f64().unwrap() < 1.1, "{json}");
}

#[test]
fn limits_that_differ_are_columns() {
    let mut small = image("small", 1000, 20);
    small.options = ContainerOptions { cpus: Some(2.0), memory: Some(64 << 20), ..ContainerOptions::default() };
    let comparison = comparison(vec![image("large", 1100, 20), small]);
    let text = Report::new(&comparison).text(Format::Markdown, Colors::Off);
    let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap();
    assert!(text.contains("| CPUs | memory, MiB |") && !text.contains("CPUs each"), "{text}");
    assert!(row("small").contains("| 2 | 64 |") && row("large").contains("| 0.5 | - |"), "{text}");
}

#[test]
fn the_table_has_the_best_first_and_the_floor_last() {
    let comparison = comparison(vec![image("slow", 1100, 20), image("fast", 1000, 20)]);
    let text = Report::new(&comparison).text(Format::Table, Colors::Off);
    assert!(text.starts_with("2 images, 20 rounds, 10.0 s; Docker 1, amd64, 0.5 CPUs each\n\n"), "{text}");
    let rows: Vec<_> = text.lines().filter(|line| line.ends_with("0 of 20")).collect();
    assert!(rows[0].starts_with("    1  fast"), "{text}");
    assert!(rows[1].starts_with("    2  slow") && rows[1].contains("+100.0 \u{b1}"), "{text}");
    assert!(rows[2].starts_with("floor  (null image)"), "{text}");
    assert!(text.contains("Noise: the null image takes 101.0"), "{text}");
}

#[test]
fn an_image_that_fails_says_why_and_is_last() {
    let mut broken = image("broken", 1000, 0);
    let exited = NotReady::Exited { code: 3, out_of_memory: false, log: "no \x1b[31mfile".to_owned() };
    broken.starts = vec![Err(exited); 20];
    let comparison = comparison(vec![broken, image("works", 1000, 20)]);
    let report = Report::new(&comparison);
    assert!(report.has_success());
    let text = report.text(Format::Table, Colors::Off);
    assert!(text.contains("20 of 20: 20 exited"), "{text}");
    assert!(text.contains("broken: exited with status 3; its log ends with: no \\u{1b}[31mfile"), "{text}");
}

#[test]
fn an_image_that_starts_sooner_is_behind_if_its_pull_takes_longer() {
    let pull = |packed| Some(Pull { packed, size: 2 * packed, layers: 4 });
    let cache = Finding { part: Part::Cache, pull: pull(25_000_000).unwrap(), files: 7, example: "/c/a".to_owned() };
    let mut large = image("large", 1000, 20);
    (large.pull, large.findings) = (pull(250_000_000), vec![cache]);
    let mut small = image("small", 1500, 20);
    (small.pull, small.hygiene) = (pull(25_000_000), vec!["runs as root: add USER".to_owned()]);
    let comparison = comparison(vec![large, small]);
    let report = Report::new(&comparison);
    let text = report.text(Format::Table, Colors::Off);
    let rows: Vec<_> = text.lines().filter(|line| line.ends_with("0 of 20")).collect();
    // 250 MB take 2 s at 1 Gbit/s and half a second to unpack.
    assert!(rows[0].starts_with("    1  small") && rows[1].starts_with("    2  large"), "{text}");
    assert!(rows[1].contains(" 3501 ") && rows[1].contains(" 2500 ") && rows[1].contains(" 1001 "), "{text}");
    assert!(text.contains("large: 250.0 MB in 4 layers cost 2500, its start 1001."), "{text}");
    assert!(
        text.contains("- large: 250.0 ms for package caches, 25.0 MB in 7 files such as /c/a: keep caches"),
        "{text}"
    );
    assert!(text.ends_with("- small: runs as root: add USER\n"), "{text}");
    let document: serde_json::Value = serde_json::from_str(&report.text(Format::Json, Colors::Off)).unwrap();
    let large = &document["results"][1];
    assert_eq!(
        (large["pull"]["bytes"].as_u64(), large["findings"][0]["seconds"].as_f64()),
        (Some(250_000_000), Some(0.25))
    );
}

#[test]
fn json_is_what_hyperfines_readers_take() {
    let comparison = comparison(vec![image("a", 1000, 20), image("b", 1100, 20)]);
    let document: serde_json::Value =
        serde_json::from_str(&Report::new(&comparison).text(Format::Json, Colors::Off)).unwrap();
    let first = &document["results"][0];
    assert_eq!((first["command"].as_str(), first["times"].as_array().map(Vec::len)), (Some("a"), Some(20)));
    for key in ["mean", "stddev", "median", "min", "max"] {
        assert!(first[key].is_number(), "{key}: {first}");
    }
    assert_eq!(document["floor"]["command"], "(null image)");
    assert_eq!(document["results"][1]["rank"], serde_json::json!([2, 2]));
}

#[test]
fn every_format_is_written() {
    let comparison = comparison(vec![image("a|b", 1000, 20), image("=c", 1100, 20)]);
    let gate = Rules::default().gate(&comparison.results).unwrap();
    let report = Report::new(&comparison).with(&gate);
    for format in Format::ALL {
        assert!(!report.text(format, Colors::Off).is_empty(), "{format}");
    }
    assert!(report.text(Format::Html, Colors::Off).contains("<h1>Latency by image</h1>"));
    assert!(report.text(Format::Markdown, Colors::Off).contains("| **1** | **a\\|b** |"));
    assert!(report.text(Format::Csv, Colors::Off).contains("\r\n\"'=c\",2,2,"));
}
