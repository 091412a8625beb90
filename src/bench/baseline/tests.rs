use std::{collections::BTreeMap, time::SystemTime};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::bench::Sample;

/// The samples of a minute at the default rate of HTTP, and of ICMP and TCP.
const MINUTE: [usize; 2] = [60, 240];

/// A log-normal latency around 100 ms with autocorrelation, as of a queue.
struct Model {
    sigma: f64,
    correlation: f64,
    /// The ratio to the latency of the baseline.
    slower: f64,
    failures: f64,
}

/// The effect that matters unless a user says otherwise.
const DEFAULT_EFFECT: f64 = 0.05;

const STEADY: Model = Model { sigma: 0.1, correlation: 0.0, slower: 1.0, failures: 0.0 };

fn normal(random: &mut StdRng) -> f64 {
    let (a, b): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

fn run(random: &mut StdRng, model: &Model, count: usize, regions: usize) -> Results {
    let one = |region: usize, random: &mut StdRng| {
        let deadline = Some(Duration::from_secs(1));
        let mut series = Series::new(format!("region-{region}"), BTreeMap::new(), deadline);
        let mut state = normal(random);
        for n in 0..count {
            let latency = Duration::from_secs_f64(0.1 * model.slower * (model.sigma * state).exp());
            let is_failed = random.random::<f64>() < model.failures;
            let outcome = if is_failed { Outcome::Failed("timeout".into()) } else { Outcome::Ok(latency) };
            series.push(Sample { at: Duration::from_secs(n as u64), outcome });
            state = model.correlation * state + (1.0 - model.correlation.powi(2)).sqrt() * normal(random);
        }
        series
    };
    let series = (0..regions).map(|region| one(region, random)).collect();
    Results {
        began: SystemTime::UNIX_EPOCH,
        duration: Duration::from_secs(60),
        source: "model".to_owned(),
        series,
        dropped: Some(0),
    }
}

/// In which share of runs any check has this verdict.
fn share(verdict: Verdict, before: &Model, after: &Model, count: usize, regions: usize, runs: u32) -> f64 {
    let mut random = StdRng::seed_from_u64(1313);
    let has_it = (0..runs).filter(|_| {
        let (old, new) = (run(&mut random, before, count, regions), run(&mut random, after, count, regions));
        compare(&old, &new, DEFAULT_EFFECT).unwrap().iter().any(|check| check.verdict == verdict)
    });
    has_it.count() as f64 / f64::from(runs)
}

#[test]
fn equal_runs_are_a_regression_in_at_most_one_of_a_hundred() {
    for count in MINUTE {
        let found = share(Verdict::Fail, &STEADY, &STEADY, count, 1, 1000);
        assert!(found <= FALSE_ALARMS, "{count}: {found}");
    }
    let lossy = Model { failures: 0.05, sigma: 0.5, ..STEADY };
    let found = share(Verdict::Fail, &lossy, &lossy, 240, 1, 1000);
    assert!(found <= FALSE_ALARMS, "lossy: {found}");
    let found = share(Verdict::Fail, &STEADY, &STEADY, 60, 10, 200);
    assert!(found <= FALSE_ALARMS, "ten regions: {found}");
}

#[test]
fn autocorrelated_latencies_raise_no_false_alarms() {
    for (correlation, sigma, count) in
        [(0.3, 0.3, 60), (0.6, 0.1, 60), (0.6, 0.3, 240), (0.9, 0.3, 240), (0.95, 0.1, 240)]
    {
        let model = Model { correlation, sigma, ..STEADY };
        let found = share(Verdict::Fail, &model, &model, count, 1, 1000);
        assert!(found <= FALSE_ALARMS, "{correlation} {sigma} {count}: {found}");
    }
}

#[test]
fn ten_percent_slower_is_found_in_95_of_100_runs_of_a_minute() {
    let slower = Model { slower: 1.1, ..STEADY };
    for count in MINUTE {
        let found = share(Verdict::Fail, &STEADY, &slower, count, 1, 400);
        assert!(found >= 0.95, "{count}: {found}");
    }
    let correlated = Model { correlation: 0.5, ..STEADY };
    let slower = Model { correlation: 0.5, ..slower };
    let found = share(Verdict::Fail, &correlated, &slower, 240, 1, 400);
    assert!(found >= 0.95, "autocorrelated: {found}");
}

fn compared(before: &Model, after: &Model, counts: [usize; 2], effect: f64) -> Vec<Check> {
    let mut random = StdRng::seed_from_u64(7);
    let (old, new) = (run(&mut random, before, counts[0], 1), run(&mut random, after, counts[1], 1));
    compare(&old, &new, effect).unwrap()
}

#[test]
fn an_effect_that_does_not_matter_passes_although_chance_is_excluded() {
    let slower = Model { slower: 1.03, sigma: 0.01, ..STEADY };
    let steady = Model { sigma: 0.01, ..STEADY };
    let [latency, failures] = compared(&steady, &slower, [240, 240], 0.05).try_into().unwrap();
    assert_eq!((latency.verdict, failures.verdict), (Verdict::Pass, Verdict::Pass));
    assert!(latency.reason.contains("% slower (2."), "{latency}");
    assert_eq!(latency.subject, "{peer_region=\"region-0\"}");
    assert_eq!(compared(&steady, &slower, [240, 240], 0.02)[0].verdict, Verdict::Fail);
}

#[test]
fn too_few_samples_are_inconclusive_and_as_many_as_it_says_it_needs_are_not() {
    let wide = Model { sigma: 0.4, ..STEADY };
    let few = compared(&wide, &wide, [60, 60], 0.05).remove(0);
    assert_eq!(few.verdict, Verdict::Inconclusive, "{few}");
    let needed = few.reason.split("about ").nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
    assert!((200..4000).contains(&needed), "{few}");
    let enough = compared(&wide, &wide, [needed * 2, needed * 2], 0.05).remove(0);
    assert_eq!(enough.verdict, Verdict::Pass, "{enough}");
    let none = compared(&STEADY, &STEADY, [3, 3], 0.05).remove(0);
    assert_eq!(none.verdict, Verdict::Inconclusive);
    assert!(none.reason.starts_with("3 against 3 samples are too few; about 30 samples"), "{none}");
    assert!(compared(&STEADY, &STEADY, [60, 0], 0.05).iter().all(|check| check.verdict == Verdict::Inconclusive));
}

#[test]
fn more_failures_are_a_regression_and_one_lost_probe_is_not() {
    let lossy = Model { failures: 0.1, ..STEADY };
    let [latency, failures] = compared(&STEADY, &lossy, [240, 240], 0.05).try_into().unwrap();
    assert_eq!(failures.verdict, Verdict::Fail, "{failures}");
    assert_eq!(latency.verdict, Verdict::Pass, "{latency}");
    let mut random = StdRng::seed_from_u64(7);
    let (old, mut new) = (run(&mut random, &STEADY, 60, 1), run(&mut random, &STEADY, 59, 1));
    new.series[0].push(Sample { at: Duration::from_secs(59), outcome: Outcome::Failed("timeout".into()) });
    let failures = compare(&old, &new, DEFAULT_EFFECT).unwrap().remove(1);
    assert!(failures.reason.starts_with("1.67% after 0%, which chance explains; about"), "{failures}");
    assert_eq!(failures.verdict, Verdict::Inconclusive);
}

#[test]
fn a_failure_rate_passes_only_if_the_samples_would_have_shown_a_rise() {
    let failures = |failures: f64, count: usize| {
        let model = Model { failures, ..STEADY };
        compared(&model, &model, [count; 2], DEFAULT_EFFECT).remove(1)
    };
    let few = failures(0.0, 10);
    assert_eq!(few.verdict, Verdict::Inconclusive, "{few}");
    let said = "0% after 0%, and 10% more would not be seen; about ";
    let needed = few.reason.strip_prefix(said).unwrap_or_else(|| panic!("{few}")).split(' ').next().unwrap();
    for count in [needed.parse().unwrap(), MINUTE[0], MINUTE[1], 2_000] {
        let enough = failures(0.0, count);
        assert_eq!(enough.verdict, Verdict::Pass, "{count}: {enough}");
    }
    // What is missed where a tenth of the probes fails from now on.
    let rise = Model { failures: 0.1, ..STEADY };
    let missed = (0..400).filter(|seed| {
        let mut random = StdRng::seed_from_u64(*seed);
        let (old, new) = (run(&mut random, &STEADY, 60, 1), run(&mut random, &rise, 60, 1));
        compare(&old, &new, DEFAULT_EFFECT).unwrap()[1].verdict == Verdict::Pass
    });
    assert!(missed.count() <= 20);
}

#[test]
fn a_region_that_most_probes_no_longer_reach_is_a_regression() {
    let gone = Model { failures: 0.9, ..STEADY };
    let checks = compared(&STEADY, &gone, [60, 60], 0.05);
    assert!(checks.iter().all(|check| check.verdict == Verdict::Fail), "{checks:?}");
}

#[test]
fn series_that_only_one_side_has_cannot_be_compared() {
    let mut random = StdRng::seed_from_u64(7);
    let (old, mut new) = (run(&mut random, &STEADY, 60, 2), run(&mut random, &STEADY, 60, 2));
    new.series[1].region = "other".to_owned();
    let checks = compare(&old, &new, DEFAULT_EFFECT).unwrap();
    let unmatched: Vec<_> = checks.iter().filter(|check| check.criterion == "same series").collect();
    let subjects: Vec<_> = unmatched.iter().map(|check| check.subject.as_str()).collect();
    assert_eq!(subjects, ["{peer_region=\"other\"}", "{peer_region=\"region-1\"}"]);
    assert!(unmatched.iter().all(|check| check.verdict == Verdict::Inconclusive));
    assert_eq!(checks.len(), 4);
}

#[test]
fn a_baseline_of_which_nothing_was_measured_is_an_error() {
    let mut random = StdRng::seed_from_u64(7);
    let (old, mut new) = (run(&mut random, &STEADY, 60, 1), run(&mut random, &STEADY, 60, 1));
    new.series[0].region = "renamed".to_owned();
    let error = compare(&old, &new, DEFAULT_EFFECT).unwrap_err();
    assert_eq!(
        error,
        "--baseline: nothing of it was measured now: it has {peer_region=\"region-0\"}, and this run has \
         {peer_region=\"renamed\"}; save a new one with --save"
    );
}

#[test]
fn tags_that_only_a_threshold_asks_for_do_not_switch_off_the_baseline() {
    let mut random = StdRng::seed_from_u64(7);
    let slower = Model { slower: 1.2, ..STEADY };
    let (old, mut new) = (run(&mut random, &STEADY, 240, 1), run(&mut random, &slower, 240, 2));
    for (series, code) in new.series.iter_mut().zip(["200", "503"]) {
        series.region = "region-0".to_owned();
        series.tags.insert("responseCode".to_owned(), code.to_owned());
    }
    let checks = compare(&old, &new, DEFAULT_EFFECT).unwrap();
    assert_eq!((checks.len(), checks[0].verdict), (2, Verdict::Fail), "{checks:?}");
    assert!(checks[0].reason.contains("480 against 240 samples"), "{}", checks[0]);
    // How it was probed is no such tag.
    new.series.iter_mut().for_each(|series| series.tags = BTreeMap::from([("probe".to_owned(), "icmp".to_owned())]));
    assert!(compare(&old, &new, DEFAULT_EFFECT).is_err());
}

#[test]
fn an_interval_that_begins_at_no_change_is_no_regression() {
    let run = |latency: fn(u64) -> u64| {
        let mut series = Series::new("us", BTreeMap::new(), None);
        for n in 0..100 {
            let outcome = Outcome::Ok(Duration::from_millis(latency(n)));
            series.push(Sample { at: Duration::from_secs(n), outcome });
        }
        let (began, duration) = (SystemTime::UNIX_EPOCH, Duration::from_secs(60));
        Results { began, duration, source: "model".to_owned(), series: vec![series], dropped: Some(0) }
    };
    let (old, new) = (run(|_| 10), run(|n| if n % 5 < 2 { 10 } else { 12 }));
    let check = &compare(&old, &new, DEFAULT_EFFECT).unwrap()[0];
    assert!(check.reason.starts_with("20% slower (0% slower to "), "{}", check.reason);
    assert_eq!(check.verdict, Verdict::Inconclusive, "{}", check.reason);
}
