use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{Outcome, Results, Sample, Series},
    *,
};

fn results(regions: &[(&str, u64, usize)]) -> Results {
    let series = regions.iter().map(|(region, median, failed)| {
        let tags = [("probe".to_owned(), "http".to_owned())].into();
        let mut series = Series::new(*region, tags, Some(Duration::from_secs(1)));
        for n in 0..400_u64 {
            let at = Duration::from_millis(n * 100);
            let outcome = if (n as usize) < *failed {
                Outcome::Failed("timeout".into())
            } else {
                Outcome::Ok(Duration::from_micros(median * 1000 + n * 10))
            };
            series.push(Sample { at, outcome });
        }
        series
    });
    Results {
        began: std::time::SystemTime::UNIX_EPOCH,
        duration: Duration::from_secs(40),
        source: "us=http://192.0.2.1/".to_owned(),
        series: series.collect(),
        dropped: Some(0),
    }
}

fn text(results: &Results, format: Format, colors: Colors) -> String {
    Report::new(results, &BTreeMap::new()).text(format, colors)
}

#[test]
fn the_table_has_ranks_reasons_and_intervals() {
    let found = text(&results(&[("us", 60, 0), ("eu", 20, 4), ("ap", 1, 400)]), Format::Table, Colors::Off);
    let expected = "\
1200 probes of 3 regions in 40.0 s

http
RANK  REGION  SCORE = P50 + TAIL + RETRIES          P50          P95          P99  JITTER  TIMES SLOWER  FAILED
   1  eu      33.01 = 22.01 + 0.90 + 10.10  22.03 \u{b1}0.21  23.83 \u{b1}0.09     23.99 \u{b1}?   0.010             -  4 of 400: 4 timeout
   2  us       62.89 = 61.99 + 0.90 + 0.00  61.99 \u{b1}0.21  63.79 \u{b1}0.09  63.95 \u{b1}0.04   0.010   2.81 \u{b1} 0.03  0 of 400
   -  ap                                 -        \u{2265}1000        \u{2265}1000        \u{2265}1000       -             -  400 of 400: 400 timeout
";
    assert!(found.starts_with(expected), "{found}");
    assert!(!found.contains('\x1b') && found.lines().all(|line| line == line.trim_end()), "{found}");
}

#[test]
fn colors_are_written_only_where_they_are_asked_for() {
    let all = results(&[("us", 60, 1), ("eu", 20, 0)]);
    let (plain, colored) = (text(&all, Format::Table, Colors::Off), text(&all, Format::Table, Colors::On));
    assert!(
        colored.contains("\x1b[32meu\x1b[0m") && colored.contains("\x1b[31m1 of 400: 1 timeout\x1b[0m"),
        "{colored}"
    );
    let stripped = ["\x1b[32m", "\x1b[31m", "\x1b[0m"].iter().fold(colored, |text, code| text.replace(code, ""));
    assert_eq!(stripped, plain);
    for format in [Format::Markdown, Format::Json, Format::Csv] {
        assert_eq!(text(&all, format, Colors::On), text(&all, format, Colors::Off));
    }
}

#[test]
fn names_from_a_file_are_no_markup_formula_or_control_sequence() {
    let all = results(&[("=1+1|<b>*x*\x1b[2J\u{202e}", 60, 0)]);
    let table = text(&all, Format::Table, Colors::Off);
    assert!(table.contains("=1+1|<b>*x*\\u{1b}[2J\\u{202e}"), "{table}");
    let markdown = text(&all, Format::Markdown, Colors::Off);
    assert!(markdown.contains("=1+1\\|\\<b\\>\\*x\\*\\\\u"), "{markdown}");
    assert!(
        text(&all, Format::Csv, Colors::Off).contains(",'=1+1")
            || text(&all, Format::Csv, Colors::Off).contains(",\"'=1+1")
    );
}

#[test]
fn json_and_csv_have_the_same_numbers() {
    let all = results(&[("us", 60, 0), ("eu", 20, 4), ("ap", 1, 400)]);
    let json: serde_json::Value = serde_json::from_str(&text(&all, Format::Json, Colors::Off)).unwrap();
    let regions = json["rankings"][0]["regions"].as_array().unwrap();
    let csv = text(&all, Format::Csv, Colors::Off);
    let rows: Vec<Vec<&str>> = csv.trim_end().split("\r\n").map(|line| line.split(',').collect()).collect();
    let column = |name: &str| rows[0].iter().position(|head| *head == name).unwrap();
    assert_eq!(regions.len(), rows.len() - 1);
    for (region, row) in regions.iter().zip(&rows[1..]) {
        assert_eq!(region["region"], row[column("region")]);
        let close = |name: &str, seconds: &serde_json::Value| match (row[column(name)], seconds.as_f64()) {
            ("", None) => true,
            (text, Some(seconds)) => (text.parse::<f64>().unwrap() - seconds * 1e3).abs() < 1e-5,
            _ => false,
        };
        for quantile in ["p50", "p95", "p99"] {
            let is_failure = region[quantile]["censored"] == true;
            let known = if is_failure { &serde_json::Value::Null } else { &region[quantile]["seconds"] };
            assert!(close(&format!("{quantile}_ms"), known), "{quantile} {region}");
            assert!(close(&format!("{quantile}_low_ms"), &region[quantile]["low"]), "{quantile} {region}");
            assert!(close(&format!("{quantile}_high_ms"), &region[quantile]["high"]), "{quantile} {region}");
        }
        assert!(close("score_ms", &region["score"]["seconds"]), "{region}");
        assert!(close("max_ms", &region["max_seconds"]) && close("min_ms", &region["min_seconds"]), "{region}");
        assert_eq!(region["failed"].to_string(), row[column("failed")]);
    }
    assert!(regions[0]["max_seconds"].is_null() && regions[0]["min_seconds"].is_number(), "a failure is no maximum");
    assert_eq!((regions[2]["rank"].is_null(), &regions[2]["p50"]["censored"]), (true, &true.into()));
    assert_eq!(
        (&regions[1]["failures"]["timeout"], &regions[0]["failures"]["timeout"]),
        (&serde_json::Value::Null, &4.into())
    );
}

#[test]
fn the_extension_of_a_file_is_its_format() {
    for (name, format) in [
        ("a.json", Some(Format::Json)),
        ("a.b/c.MD", Some(Format::Markdown)),
        ("a.csv", Some(Format::Csv)),
        ("a.txt", Some(Format::Table)),
        ("a", None),
        ("a.doc", None),
    ] {
        assert_eq!(Format::of_file(name), format, "{name}");
    }
}
