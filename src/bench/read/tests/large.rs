//! Files that are larger than what is kept of them.

use super::*;
use crate::model::Failure;

#[test]
fn of_a_long_file_as_many_samples_as_fit_are_drawn_at_random() {
    let mut collector = Collector::with_most(by(None), 1000);
    for n in 0..20_000_u32 {
        let latency = MS * (n % 100);
        let request = collect::Request {
            at: MS * n,
            outcome: Ok(latency),
            took: latency,
            tag: &|_| None,
            region: &|| Some(format!("r{}", n % 2)),
            phases: &[],
        };
        collector.add(&request, 1).unwrap();
    }
    let results = collector.finish("file").unwrap();
    let kept: Vec<_> = results.series.iter().map(|series| series.samples().len()).collect();
    let all: usize = kept.iter().sum();
    assert!((300..=1000).contains(&all) && kept.iter().all(|one| *one > all / 3), "{kept:?}");
    assert_eq!(results.source, format!("file ({all} of 20000 requests, drawn at random)"));
    assert_eq!(results.duration, MS * 19_999 + MS * 99);
    let threshold: Threshold = "probe_duration: med<60".parse().unwrap();
    assert_eq!(threshold.check(&results.series, results.duration, 0).unwrap().verdict, Verdict::Pass);
}

#[test]
fn what_is_no_estimate_is_exact_although_samples_are_drawn() {
    let mut collector = Collector::with_most(by(None), 100);
    for n in 0..5000_u32 {
        let outcome = match n {
            17 => Ok(MS),
            18 => Ok(MS * 900),
            _ if n % 100 == 0 => Err(Failure::Timeout),
            _ => Ok(MS * 50),
        };
        let region = || Some("us".to_owned());
        let request = collect::Request { at: MS * n, outcome, took: MS, tag: &|_| None, region: &region, phases: &[] };
        collector.add(&request, 1).unwrap();
    }
    let results = collector.finish("file").unwrap();
    let again = saved::read_saved(crate::bench::saved_text(&results).as_bytes()).unwrap();
    for results in [results, again] {
        assert!(results.series[0].samples().len() <= 100);
        for threshold in [
            "http_reqs: count==5000",
            "http_req_failed: count==50",
            "http_req_duration: min==1",
            "http_reqs: rate<1001",
        ] {
            let check = threshold.parse::<Threshold>().unwrap().check(&results.series, results.duration, 0).unwrap();
            assert_eq!(check.verdict, Verdict::Pass, "{check}");
        }
    }
}

/// Each bracket once: a scan of the tag for each of them takes minutes.
#[test]
fn a_value_of_brackets_is_read() {
    let value = ">".repeat(1_000_000);
    let text = format!("<testResults><sample t='3' ts='1509841690552' s='true' lb='us' rm='{value}'/></testResults>");
    assert_eq!(told(&samples(&text, &by(None)))[0].1, [3]);
}

#[test]
fn a_summary_is_small_and_what_we_saved_may_be_large() {
    let summary = format!("{{\"metrics\":{{}},\"x\":[{}1]}}", "1,".repeat(3 << 20));
    assert!(error(&summary).contains("is larger than 4 MiB"), "{}", error(&summary));
    let mut series = Series::new("us", std::collections::BTreeMap::new(), None);
    let outcome = Outcome::Ok(Duration::from_nanos(1_234_567_890));
    (0..300_000).for_each(|n| series.push(Sample { at: MS * n, outcome: outcome.clone() }));
    let mut results = samples(CSV, &by(None));
    results.series = vec![series];
    let saved = crate::bench::saved_text(&results);
    assert!(saved.len() > 4 << 20);
    assert_eq!(samples(&saved, &by(None)), results);
}
