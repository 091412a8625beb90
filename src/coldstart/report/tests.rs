use std::time::{Duration, SystemTime};

use super::*;
use crate::{
    bench::{Results, Rules},
    coldstart::{
        Bandwidth, BaseImage, Candidate, Comparison, ContainerOptions, Finding, Image, Model, NotReady, Origin,
        PageCache, Part, Plan, Present, Pull, Question, Start, Unpacking,
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
            dropped: Some(0),
        },
        images,
        floor: Some(image("regionwatch-null:x", 100, 20)),
        engine: "Docker 1".to_owned(),
        architecture: "amd64".to_owned(),
        timeout: plan.timeout,
        model: plan.model,
        page_cache: plan.page_cache,
        unpacking: Unpacking(1e-9),
        line: None,
        broken: None,
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
fn the_timeout_of_failures_is_no_end_of_an_interval_and_no_distance() {
    let failing = |name: &str, failed: usize| {
        let mut image = image(name, 1000, 20);
        for start in image.starts.iter_mut().take(failed) {
            *start = Err(NotReady::Unanswered(crate::model::Failure::Refused));
        }
        image
    };
    let json = |images: Vec<Image>| -> Vec<serde_json::Value> {
        let comparison = comparison(images);
        let report = Report::new(&comparison);
        let json: serde_json::Value = serde_json::from_str(&report.text(Format::Json, Colors::Off)).unwrap();
        assert_eq!(report.text(Format::Csv, Colors::Off).lines().count(), 4);
        json["results"].as_array().unwrap().clone()
    };
    let [_, few] = json(vec![image("good", 900, 20), failing("few", 7)]).try_into().unwrap();
    assert!((few["median"].as_f64().unwrap() - 1.0).abs() < 0.01, "{few}");
    let is_open = |interval: &serde_json::Value| interval[0].as_f64().is_some() && interval[1].is_null();
    assert!(is_open(&few["median_interval"]) && is_open(&few["behind"]["interval"]), "{few}");
    let [_, many] = json(vec![image("good", 900, 20), failing("many", 12)]).try_into().unwrap();
    assert!(many["behind"].is_null(), "{many}");
    assert!((many["behind_at_least"].as_f64().unwrap() - 59.1).abs() < 0.01, "{many}");
    // Of two that fail mostly, nothing is known.
    let [_, worse] = json(vec![failing("many", 12), failing("worse", 13)]).try_into().unwrap();
    assert!(worse["behind"].is_null() && worse["behind_at_least"].is_null(), "{worse}");
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
fn a_published_port_does_not_say_when_a_program_listens() {
    let mut published = image("a", 1000, 20);
    published.options.publish = true;
    let comparison = comparison(vec![published]);
    let report = Report::new(&comparison);
    let text = report.text(Format::Markdown, Colors::Off);
    assert!(text.contains("| create | start | listen and ready |\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.text(Format::Json, Colors::Off)).unwrap();
    let steps = &json["results"][0]["steps"];
    assert!(steps["listen"].is_null() && (steps["ready"].as_f64().unwrap() - 0.951).abs() < 1e-9, "{steps}");
    assert!(json["floor"]["steps"]["listen"].is_null(), "{json}");
}

#[test]
fn answers_after_the_first_one_that_fail_are_no_short_ones() {
    let mut flaky = image("flaky", 1000, 20);
    for start in &mut flaky.starts {
        start.as_mut().unwrap().next = [vec![None; 60], vec![Some(Duration::from_millis(1)); 20]].concat();
    }
    let comparison = comparison(vec![flaky, image("sound", 1000, 20)]);
    let report = Report::new(&comparison);
    let text = report.text(Format::Markdown, Colors::Off);
    assert!(text.contains("| \u{2265}10000, 1200 of 1600 failed, of 80 in 2 s |"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report.text(Format::Json, Colors::Off)).unwrap();
    let entry = |name: &str| json["results"].as_array().unwrap().iter().find(|entry| entry["command"] == name).unwrap();
    let flaky = entry("flaky");
    assert!(flaky["next_100_p99"].is_null() && flaky["next_100_p99_at_least"] == 10.0, "{flaky}");
    assert_eq!((&flaky["next_100_failed"], &flaky["next_100_answers"]), (&1200.into(), &1600.into()));
    assert!(entry("sound")["next_100_p99"] == 0.002 && entry("sound")["next_100_failed"] == 0, "{json}");
}

#[test]
fn an_image_whose_layers_cannot_be_read_ranks_by_its_start_as_the_others_do() {
    let mut unread = image("unread", 1000, 20);
    unread.unread = Some("a layer is broken".to_owned());
    let mut large = image("large", 900, 20);
    large.pull = Some(Pull { packed: 250_000_000, size: 500_000_000, layers: 4 });
    let comparison = comparison(vec![unread, large]);
    let text = Report::new(&comparison).text(Format::Markdown, Colors::Off);
    assert!(text.contains("| **1** | **large** |") && text.contains("| 2 | unread |"), "{text}");
    assert!(text.contains("unread: its pull is unknown, as its layers cannot be read: a layer is broken."), "{text}");
    assert!(text.contains("Ranks are those of the start alone, without a pull."), "{text}");
}

#[test]
fn an_image_may_have_any_name() {
    let comparison = comparison(vec![image("(null image)", 1000, 20)]);
    let json: serde_json::Value =
        serde_json::from_str(&Report::new(&comparison).text(Format::Json, Colors::Off)).unwrap();
    assert_eq!((json["results"][0]["rank"][0].as_u64(), json["results"].as_array().unwrap().len()), (Some(1), 1));
    assert!(json["floor"]["rank"].is_null(), "{json}");
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

/// An image with a base image of so many megabytes, and one megabyte of its own.
fn based(name: &str, base: u64) -> Image {
    let pull = |mb: u64, layers| Pull { packed: mb * 1_000_000, size: 2_000_000 * mb, layers };
    let whole = pull(base, usize::from(base > 0));
    let found = Finding { part: Part::Base, pull: whole, files: 1, example: "/a".to_owned() };
    let findings = if base > 0 { vec![found] } else { Vec::new() };
    let base = Some(BaseImage { whole, missing: whole });
    Image { pull: Some(pull(whole.packed / 1_000_000 + 1, 2)), base, findings, ..image(name, 1000, 20) }
}

#[test]
fn a_base_image_costs_its_pull_and_a_smaller_one_of_the_comparison_saves_the_difference() {
    // A megabyte takes 8 ms at 1 Gbit/s, and its two take 2 ms to unpack.
    let mut compared = comparison(vec![based("large", 50), based("small", 20), based("medium", 30)]);
    let text = Report::new(&compared).text(Format::Table, Colors::Off);
    assert!(
        text.contains(
            "51.0 MB in 2 layers cost 510.0, its start 1001. 50.0 MB of it are its base image and cost 500.0."
        )
    );
    let line = |text: &str, name: &str| {
        let begin = format!("- {name}: ");
        text.lines().find(|line| line.starts_with(&begin)).map(str::to_owned).unwrap_or_default()
    };
    let large = line(&text, "large");
    assert!(
        large.starts_with("- large: 500.0 ms for the base image, 50.0 MB in 1 file such as /a: start FROM a smaller")
    );
    assert!(large.ends_with("; that of small takes 300.0 ms less"), "{large}");
    assert!(line(&text, "medium").ends_with("; that of small takes 100.0 ms less"), "{text}");
    assert!(line(&text, "small").ends_with("distroless one"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&Report::new(&compared).text(Format::Json, Colors::Off)).unwrap();
    let entry = |name: &str| json["results"].as_array().unwrap().iter().find(|entry| entry["command"] == name).unwrap();
    let smaller = &entry("large")["findings"][0]["smaller"];
    assert_eq!((&smaller["image"], &smaller["is_whole"]), (&"small".into(), &false.into()));
    assert!((smaller["saves_seconds"].as_f64().unwrap() - 0.3).abs() < 1e-9, "{smaller}");
    assert!(entry("small")["findings"][0]["smaller"].is_null(), "{json}");
    assert_eq!(entry("large")["pull"]["base_bytes"], 50_000_000);

    // Without a base image, all of an image counts, as far as it works.
    compared.images.push(based("scratch", 0));
    let text = Report::new(&compared).text(Format::Table, Colors::Off);
    let expected = "; all of scratch, which has no base image, takes 490.0 ms less";
    assert!(line(&text, "large").ends_with(expected), "{text}");
    assert!(!text.contains("- scratch: "), "{text}");
    let refused = NotReady::Unanswered(crate::model::Failure::Refused);
    compared.images[3].starts = vec![Err(refused); 20];
    assert_eq!(line(&Report::new(&compared).text(Format::Table, Colors::Off), "large"), large);

    // What a node has costs nothing, and nothing is saved.
    compared.model.present = Present::AllButLast;
    assert!(!Report::new(&compared).text(Format::Table, Colors::Off).contains(" ms less"));
}

#[test]
fn a_base_image_that_is_not_known_is_said_where_a_node_has_it() {
    let unknown = Image { base: None, findings: Vec::new(), ..based("a", 50) };
    let mut compared = comparison(vec![unknown]);
    let text = Report::new(&compared).text(Format::Table, Colors::Off);
    assert!(text.contains("a: 51.0 MB in 2 layers cost 510.0, its start 1001.\n"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&Report::new(&compared).text(Format::Json, Colors::Off)).unwrap();
    let pull = &json["results"][0]["pull"];
    assert!(pull["base_bytes"].is_null() && pull["base_seconds"].is_null(), "{pull}");
    compared.model.present = Present::Base;
    let text = Report::new(&compared).text(Format::Table, Colors::Off);
    assert!(text.contains("its start 1001. Its base image is unknown: its first layer counts as that"), "{text}");
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

#[test]
fn a_bandwidth_that_is_unknown_is_a_word_with_a_reason_and_never_a_number() {
    let mut large = image("large", 1000, 20);
    large.pull = Some(Pull { packed: 50_000_000, size: 100_000_000, layers: 3 });
    large.findings = vec![Finding { part: Part::Cache, pull: large.pull.unwrap(), files: 1, example: "/a".to_owned() }];
    let mut unknown = comparison(vec![large]);
    unknown.model.bandwidths = vec![Bandwidth::parse("measured").unwrap()];
    unknown.line = Some(Err("the registry r answers 404 Not Found".to_owned()));
    let text = Report::new(&unknown).text(Format::Markdown, Colors::Off);
    assert!(text.contains("| **large** | unknown | unknown | 1001"), "{text}");
    assert!(text.contains("How fast this node pulls is unknown: the registry r answers 404 Not Found."), "{text}");
    assert!(text.contains("Ranks are those of the start alone") && text.contains("an unknown time for"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&Report::new(&unknown).text(Format::Json, Colors::Off)).unwrap();
    assert!(json["results"][0]["pull"]["seconds"]["measured"].is_null(), "{json}");
    assert_eq!(json["measured_bandwidth"]["unknown"], "the registry r answers 404 Not Found");
    // What is known ranks, whatever its place.
    unknown.model.bandwidths.push(Bandwidth::parse("100mbit").unwrap());
    let text = Report::new(&unknown).text(Format::Markdown, Colors::Off);
    assert!(text.contains("Ranks are those of the sum with the pull at 100 Mbit/s."), "{text}");
}
