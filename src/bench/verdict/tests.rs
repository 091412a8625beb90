use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::*;
use crate::bench::{Outcome, Results, Sample};

const MS: Duration = Duration::from_millis(1);

/// Latencies in milliseconds; `None` is a failure.
fn results(latencies: impl IntoIterator<Item = Option<u64>>) -> Results {
    let tags = BTreeMap::from([("probe".to_owned(), "http".to_owned())]);
    let mut series = Series::new("us", tags, Some(MS * 1000)).with_phases([Phase::Tls]);
    for (n, latency) in latencies.into_iter().enumerate() {
        let sample = |outcome| Sample { at: Duration::from_secs(n as u64), outcome };
        match latency {
            None => series.push(sample(Outcome::Failed("timeout".into()))),
            Some(ms) => {
                let latency = Duration::from_millis(ms);
                series.push_phases(sample(Outcome::Ok(latency)), [(Phase::Tls, latency / 2)]);
            }
        }
    }
    series.missed = 3;
    Results {
        began: SystemTime::UNIX_EPOCH,
        duration: MS * 10_000,
        source: "test".to_owned(),
        series: vec![series],
        dropped: Some(0),
    }
}

fn check(threshold: &str, results: &Results) -> (Verdict, String) {
    let check = threshold.parse::<Threshold>().unwrap().check(&results.series, results.duration, 0).unwrap();
    (check.verdict, check.reason)
}

#[test]
fn a_threshold_passes_or_fails_only_where_its_whole_interval_does() {
    let all = results((1..=400).map(Some));
    let p95 = "p(95) = 380 ms, 95% interval 371 to 389 ms, 400 samples";
    for (threshold, verdict, reason) in [
        ("probe_duration: p(95)<400", Verdict::Pass, p95),
        ("probe_duration: p(95)>400", Verdict::Fail, p95),
        ("probe_duration: p(95)<360", Verdict::Fail, p95),
        ("probe_duration: p(95)<388", Verdict::Inconclusive, p95),
        ("probe_duration: max<=400", Verdict::Pass, "max = 400 ms, 400 samples"),
        ("probe_duration: min==1", Verdict::Pass, "min = 1 ms, 400 samples"),
        ("probe_duration: p(0)!=1", Verdict::Fail, "p(0) = 1 ms, 400 samples"),
        ("probe_duration: count>=400", Verdict::Pass, "count = 400, 400 samples"),
        ("probes: rate>=40", Verdict::Pass, "rate = 40/s, 400 samples"),
        ("probe_slots_missed: count<3", Verdict::Fail, "count = 3, 400 samples"),
        ("probe_failed: rate<0.01", Verdict::Pass, "rate = 0%, 95% interval 0% to 0.9512%, 400 samples"),
        ("probe_failed: rate<0.005", Verdict::Inconclusive, "rate = 0%, 95% interval 0% to 0.9512%, 400 samples"),
    ] {
        let (found, said) = check(threshold, &all);
        assert_eq!(found, verdict, "{threshold}: {said}");
        assert!(said.replace(" ms to ", " to ").starts_with(reason), "{threshold}: {said}");
    }
}

#[test]
fn a_failure_is_later_than_every_bound() {
    let tenth_failed = results((0..400).map(|n| (n % 10 != 0).then_some(5)));
    assert_eq!(check("probe_duration: p(50)<100", &tenth_failed).0, Verdict::Pass);
    let (verdict, reason) = check("probe_duration: p(95)<100000", &tenth_failed);
    assert_eq!((verdict, reason.as_str()), (Verdict::Fail, "p(95) = no answer, 400 samples"));
    assert_eq!(check("probe_duration: max<100000", &tenth_failed).0, Verdict::Fail);
    // Each failure took a second or more.
    assert_eq!(check("probe_duration: avg<50", &tenth_failed).0, Verdict::Fail);
    assert_eq!(check("probe_duration: avg<5000", &tenth_failed).0, Verdict::Inconclusive);
    assert_eq!(check("probe_failed: rate<0.01", &tenth_failed).0, Verdict::Fail);
    assert_eq!(check("probe_failed: count==40", &tenth_failed).0, Verdict::Pass);
}

#[test]
fn too_few_samples_are_inconclusive_and_it_says_how_many_it_needs() {
    let few = results((1..=60).map(Some));
    let (verdict, reason) = check("probe_duration: p(99)<1000", &few);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.ends_with("60 samples; about 368 samples would tell"), "{reason}");
    let (verdict, reason) = check("probe_failed: rate<0.01", &few);
    assert_eq!(verdict, Verdict::Inconclusive);
    let needed: usize = reason.split("about ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // Wilson's interval of no failure shrinks with the number of samples, and not with its root.
    assert!((370..=400).contains(&needed), "{reason}");
    let (verdict, reason) = check("probe_failed: rate<0.01", &results((1..=needed as u64).map(Some)));
    assert_eq!(verdict, Verdict::Pass, "{reason}");
    assert_eq!(check("probe_duration: med<10", &results([])), (Verdict::Inconclusive, "no sample".to_owned()));
}

#[test]
fn tags_and_phases_select_samples() {
    let all = results((1..=400).map(Some));
    let found =
        |text: &str| text.parse::<Threshold>().unwrap().check(&all.series, all.duration, 0).map(|check| check.reason);
    for selected in ["{peer_region=\"us\"}", "{region:us}", "{probe:http,region:us}"] {
        assert!(found(&format!("probe_duration{selected}: max<1")).is_some(), "{selected}");
    }
    for other in ["{peer_region:eu}", "{probe:icmp}", "{phase:rtt}", "{phase:nonsense}", "{none:us}"] {
        assert_eq!(found(&format!("probe_duration{other}: max<1")), None, "{other}");
    }
    assert_eq!(found("probe_duration{phase:tls}: max<1").unwrap(), "max = 200 ms, 400 samples");
}

#[test]
fn a_failure_is_later_than_every_bound_of_a_phase_too() {
    let tls = "probe_duration{phase=\"tls\"}: ";
    let most_failed = results((0..400).map(|n| (n % 5 < 2).then_some(60)));
    assert_eq!(check(&format!("{tls}p(95)<50"), &most_failed).0, Verdict::Fail);
    assert_eq!(check(&format!("{tls}p(20)<50"), &most_failed).0, Verdict::Pass);
    assert_eq!(check(&format!("{tls}count==400"), &most_failed).0, Verdict::Pass);
    let all_failed = results((0..400).map(|_| None));
    assert_eq!(check(&format!("{tls}p(95)<50"), &all_failed).0, Verdict::Fail);
    // A file does not say which phases a request would have had.
    let mut of_file = all_failed.clone();
    let mut unknown = Series::new("us", BTreeMap::new(), None);
    all_failed.series[0].samples().iter().for_each(|sample| unknown.push(sample.clone()));
    of_file.series = vec![unknown];
    assert_eq!(check(&format!("{tls}p(95)<50"), &of_file).0, Verdict::Fail);
}

/// Without a deadline nothing is known of a failure but that it took longer than the slowest success.
#[test]
fn an_interval_from_a_success_to_a_failure_tells_nothing_about_a_bound_between_them() {
    let mut all = results((0..400).map(|n| match n {
        0..370 => Some(5),
        370..375 => Some(12),
        _ => None,
    }));
    for deadline in [None, Some(MS)] {
        all.series[0].deadline = deadline;
        for threshold in ["p(95)<200", "p(95)>200"] {
            let (verdict, reason) = check(&format!("probe_duration: {threshold}"), &all);
            assert_eq!(verdict, Verdict::Inconclusive, "{threshold}: {reason}");
            assert!(reason.starts_with("p(95) = no answer, 95% interval 12 ms to no answer"), "{reason}");
        }
    }
}

#[test]
fn of_samples_that_were_drawn_only_estimates_are_estimated() {
    let mut all = results((1..=400).map(Some));
    let totals = Totals { count: 4000, local: 10, failed: 40, min_ns: Some(500_000), max_ns: Some(900_000_000) };
    all.series[0].drawn_from = Some(totals);
    for (threshold, said) in [
        ("probes: count==4000", "count = 4000, 3990 samples"),
        ("probes: rate==400", "rate = 400/s, 3990 samples"),
        ("probe_failed: count==40", "count = 40, 3990 samples"),
        ("probe_failed: rate>0.007", "rate = 1.003%, 95% interval 0.7371% to 1.362%, 3990 samples"),
        ("probe_duration: count==3990", "count = 3990, 3990 samples"),
        ("probe_duration: min<1", "min = 0.5 ms, 3990 samples"),
        ("probe_duration: max>=900", "max = no answer, 3990 samples"),
        ("probe_duration: p(50)<300", "med = 200 ms, "),
    ] {
        let (verdict, reason) = check(threshold, &all);
        assert_eq!(verdict, Verdict::Pass, "{threshold}: {reason}");
        assert!(reason.starts_with(said), "{threshold}: {reason}");
    }
    all.series[0].drawn_from = Some(Totals { failed: 0, ..totals });
    assert_eq!(check("probe_duration: max==900", &all), (Verdict::Pass, "max = 900 ms, 3990 samples".to_owned()));
    // What a phase of the others was is not known.
    for (threshold, verdict) in [
        ("max<=200", Verdict::Inconclusive),
        ("max>=200", Verdict::Pass),
        ("min>=0.5", Verdict::Inconclusive),
        ("min<=0.5", Verdict::Pass),
        ("count==400", Verdict::Inconclusive),
        ("count>=400", Verdict::Pass),
    ] {
        let (found, reason) = check(&format!("probe_duration{{phase=tls}}: {threshold}"), &all);
        assert_eq!(found, verdict, "{threshold}: {reason}");
    }
}

proptest! {
    #[test]
    fn a_comparison_and_its_opposite_never_pass_together(
        latencies in prop::collection::vec(prop::option::weighted(0.9, 0_u64..50), 1..80),
        bound in 0_u64..50,
        aggregation in prop::sample::select(vec!["avg", "med", "p(90)", "p(99)", "min", "max", "p(100)"]),
    ) {
        let all = results(latencies);
        let verdict = |operator: &str| check(&format!("probe_duration: {aggregation}{operator}{bound}"), &all).0;
        for (one, other) in [("<", ">="), (">", "<="), ("==", "!=")] {
            let found = (verdict(one), verdict(other));
            let opposite = [
                (Verdict::Pass, Verdict::Fail),
                (Verdict::Fail, Verdict::Pass),
                (Verdict::Inconclusive, Verdict::Inconclusive),
            ];
            prop_assert!(opposite.contains(&found), "{} {:?}", one, found);
        }
    }
}
