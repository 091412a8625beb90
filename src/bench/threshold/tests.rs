use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn read_one(text: &str) -> Result<Threshold, String> {
    text.parse::<Threshold>().map_err(|error| error.to_string())
}

#[test]
fn both_forms_of_tags_mean_the_same() {
    let ours = read_one(r#"probe_duration{probe="http",peer_region="us-east-1"}: p(95)<200"#).unwrap();
    let k6s = read_one("http_req_duration{ probe:http, peer_region:us-east-1 } : p( 95 ) < 200").unwrap();
    assert_eq!(ours, k6s);
    assert_eq!(ours.to_string(), r#"probe_duration{peer_region="us-east-1",probe="http"}: p(95)<200"#);
    let group = read_one("probe_duration{group:::a b}: avg<1").unwrap();
    assert_eq!(group.tags["group"], "::a b");
}

#[test]
fn every_aggregation_and_operator_of_k6_is_read() {
    for (text, expected) in [
        ("probe_duration: avg<=1.5", "avg<=1.5"),
        ("probe_duration: med>1", "med>1"),
        ("probe_duration: p(50)>1", "med>1"),
        ("probe_duration: min>=1", "min>=1"),
        ("probe_duration: max != 1", "max!=1"),
        ("probe_duration: p(99.99)===1", "p(99.99)==1"),
        ("probe_duration: p(0)==1", "p(0)==1"),
        ("probe_failed: rate<0.01", "rate<0.01"),
        ("http_req_failed: rate<0.01", "rate<0.01"),
        ("probes: count>=500", "count>=500"),
        ("probe_slots_missed: count<1", "count<1"),
    ] {
        assert_eq!(read_one(text).unwrap().expression(), expected, "{text}");
    }
}

#[test]
fn a_threshold_can_end_the_run_early() {
    let abort_after = |text| read_one(text).unwrap().abort_after;
    assert_eq!(abort_after("probe_duration: max<1"), None);
    assert_eq!(abort_after("probe_duration: max<1 abortOnFail"), Some(Duration::ZERO));
    let delayed = Some(Duration::from_secs(10));
    assert_eq!(abort_after("probe_duration: max<1, abortOnFail, delayAbortEval=10s"), delayed);
    assert_eq!(abort_after("probe_duration: max<1 delayAbortEval:10s abortOnFail:true"), delayed);
    let longer = Some(Duration::from_secs(90));
    assert_eq!(abort_after("probe_duration: max<1 abortOnFail delayAbortEval=1m30s"), longer);
}

#[test]
fn an_error_names_the_column_the_reason_and_what_to_type_instead() {
    for (text, expected) in [
        ("", "column 1: has no metric; write probe_duration, probe_failed, probes or probe_slots_missed"),
        ("probe_duraton: avg<1", "column 1: \"probe_duraton\" is not a metric; did you mean probe_duration?"),
        (
            "probe_duration avg<1",
            "column 16: has no colon after the metric; write METRIC: EXPRESSION, such as probe_duration: p(95)<200",
        ),
        (
            "probe_duration{probe}: avg<1",
            "column 21: the tag probe has no value; write {probe:value} or {probe=\"value\"}",
        ),
        ("probe_duration{a:}: avg<1", "column 18: the tag a has no value; write {a:value}"),
        ("probe_duration{a=\"b: avg<1", "column 18: the value of the tag a does not end; write \" after it"),
        ("probe_duration{a:b", "column 19: the tags do not end; write } after the last one"),
        ("probe_duration{a:b,a:c}: avg<1", "column 20: the tag a is one too many; write each tag once, at most 32"),
        ("probe_duration: p95<1", "column 17: \"p95\" is not an aggregation; write p(95)"),
        ("probe_duration: p(101)<1", "column 17: is not a percentile; write p(N) with N from 0 to 100, such as p(95)"),
        ("probe_duration: p(95<1", "column 17: is not a percentile; write p(N) with N from 0 to 100, such as p(95)"),
        ("probe_duration: mex<1", "column 17: \"mex\" is not an aggregation; did you mean med?"),
        ("probe_duration: rate<1", "column 17: probe_duration has no rate; write avg, med, min, max, p(N) or count"),
        ("probe_failed: p(95)<1", "column 15: probe_failed has no p(N); write rate or count"),
        ("probe_duration: avg 200", "column 21: has no operator after avg; write <, <=, >, >=, == or !="),
        ("probe_duration: avg<", "column 21: has no bound; write a number after the operator"),
        ("probe_duration: avg<200ms", "column 21: \"200ms\" has a unit; write milliseconds without one, as for k6"),
        ("probe_failed: rate<1%", "column 20: \"1%\" has a unit; write the number alone, and a share from 0 to 1"),
        (
            "probe_failed: rate<5",
            "column 20: \"5\" is more than all; write the share of failures from 0 to 1, such as 0.01 for 1%",
        ),
        ("probe_duration: avg<nan", "column 21: \"nan\" is not a number; write one such as 200 or 0.01"),
        ("probe_duration: avg<-1", "column 21: \"-1\" is negative; write 0 or more"),
        (
            "probe_duration: avg<1 abortonfail",
            "column 23: \"abortonfail\" is not a part of a threshold; did you mean abortOnFail?",
        ),
        (
            "probe_duration: avg<1 delayAbortEval=10",
            "column 23: delayAbortEval \"10\" has no unit; write a duration such as 250ms, 1s or 5m",
        ),
        (
            "probe_duration: avg<1 delayAbortEval=10s",
            "column 41: delayAbortEval is without abortOnFail; write both, or neither",
        ),
        (
            "probe_duration: avg<1 }",
            "column 23: \"}\" is not a part of a threshold; end here, or write abortOnFail or delayAbortEval=10s",
        ),
    ] {
        assert_eq!(read_one(text), Err(expected.to_owned()), "{text}");
    }
    assert!(read_one(&"x".repeat(5000)).unwrap_err().contains("too long"));
}

#[test]
fn a_file_has_the_form_of_the_options_of_k6() {
    let yaml = "thresholds:\n  probe_duration{peer_region:us}:\n    - p(95)<200\n    - threshold: p(99) < 400\n      abortOnFail: true\n      delayAbortEval: 10s\n  http_req_failed: [rate<0.01]\n";
    let json = r#"{"thresholds": {"probe_duration{peer_region:us}": ["p(95)<200",
        {"threshold": "p(99) < 400", "abortOnFail": true, "delayAbortEval": "10s"}], "http_req_failed": ["rate<0.01"]}}"#;
    let found = read("t.yaml", yaml).unwrap();
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    let expected = [
        r#"probe_duration{peer_region="us"}: p(95)<200"#,
        r#"probe_duration{peer_region="us"}: p(99)<400 abortOnFail delayAbortEval=10s"#,
        "probe_failed: rate<0.01",
    ];
    assert_eq!(texts, expected);
    assert_eq!(read("t.json", json).unwrap(), found);
    let whole = format!("scenarios: {{a: {{executor: shared-iterations}}}}\nvus: 10\n{yaml}");
    assert_eq!(read("t.yaml", &whole).unwrap(), found, "the other options of k6");
}

#[test]
fn every_error_of_a_file_is_reported_with_its_place() {
    let errors = |text: &str| read("t.yaml", text).unwrap_err().to_string();
    let broken =
        "thresholds:\n  probe_duraton: [avg<1]\n  probe_duration: [avg>x, {treshold: avg<1}]\n  probes: count>1\n";
    let found = errors(broken);
    let expected = [
        "t.yaml:2:18: thresholds.probe_duraton: column 1: \"probe_duraton\" is not a metric; did you mean probe_duration?",
        "t.yaml:3:20: thresholds.probe_duration[0]: column 5: \"x\" is not a number; write one such as 200 or 0.01",
        "t.yaml:3:28: thresholds.probe_duration[1].treshold: is not a known key; did you mean threshold?",
    ];
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "a single threshold needs no list");
    for (text, told) in [
        ("thresholds: {}\n", "t.yaml:1:13: thresholds: has no threshold; write METRIC: [EXPRESSION]"),
        ("thresholds: {probes: []}\n", "t.yaml:1:22: thresholds.probes: has no expression; write one"),
        ("vus: 1\n", "has no thresholds; write METRIC: [EXPRESSION]"),
        (
            "thresholds: {probes: [count>1 abortOnFail]}\n",
            "is too much; write {threshold: EXPRESSION, abortOnFail: true}",
        ),
    ] {
        assert!(errors(text).contains(told), "{}", errors(text));
        assert_eq!(errors(text).lines().count(), 1, "{}", errors(text));
    }
}

fn a_threshold() -> impl Strategy<Value = Threshold> {
    let metric = prop_oneof![
        (0..6_usize, 0.0..=100.0).prop_map(|(n, percent)| {
            let all = [
                Aggregation::Avg,
                Aggregation::Min,
                Aggregation::Max,
                Aggregation::Count,
                Aggregation::Percentile(Percentile::MEDIAN),
                Aggregation::Percentile(Percentile::new(percent).unwrap()),
            ];
            (Metric::ProbeDuration, all[n])
        }),
        Just((Metric::ProbeFailed, Aggregation::Rate)),
        Just((Metric::Probes, Aggregation::Count)),
        Just((Metric::SlotsMissed, Aggregation::Rate)),
    ];
    let comparison = (0..Comparison::ALL.len()).prop_map(|n| Comparison::ALL[n].0);
    let tags = prop::collection::btree_map("[a-z_][a-z0-9_.-]{0,8}", "\\PC{0,12}", 0..4);
    let delay = prop::option::of((0..100_000_u64).prop_map(Duration::from_millis));
    (metric, comparison, tags, 0.0..1.0, delay).prop_map(
        |((metric, aggregation), comparison, tags, bound, abort_after)| Threshold {
            metric,
            tags,
            aggregation,
            comparison,
            bound,
            abort_after,
        },
    )
}

proptest! {
    #[test]
    fn a_threshold_that_is_printed_is_read_as_itself(threshold in a_threshold()) {
        prop_assert_eq!(threshold.to_string().parse::<Threshold>(), Ok(threshold.clone()));
        prop_assert_eq!(parse_selector(&threshold.selector()).unwrap(), (threshold.metric, threshold.tags));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,40}", tail in "(probe_duration|probes|)\\{?[a-z:=\"'\\\\}, ]{0,12}:? ?(p\\(|avg|)[0-9.<>=!)-]{0,8}[a-zA-Z =]{0,20}") {
        for text in [text.as_str(), tail.as_str()] {
            if let Err(error) = text.parse::<Threshold>() {
                prop_assert!(error.column <= text.chars().count() + 1);
                prop_assert!(error.reason.contains("; "), "{}", error);
            }
            let _ = read("t.yaml", text);
        }
    }
}
