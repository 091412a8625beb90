use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::bench::{Results, Sample, read_saved, saved_text};

const MS: Duration = Duration::from_millis(1);

fn series(latencies: impl IntoIterator<Item = Option<u32>>) -> Series {
    let mut series = Series::new("r", BTreeMap::new(), Some(MS * 1000));
    for latency in latencies {
        let outcome = latency.map_or_else(|| Outcome::Failed("timeout".into()), |ms| Outcome::Ok(MS * ms));
        series.push(Sample { at: Duration::ZERO, outcome });
    }
    series
}

fn at(q: f64, distribution: &Distribution) -> Value {
    distribution.quantile(Quantile::new(q).unwrap()).unwrap().value
}

#[test]
fn quantiles_are_samples_and_failures_lie_above_all_of_them() {
    let all = Distribution::of([series((1..=18).map(Some).chain([None, None]))]);
    assert_eq!((all.count(), all.failed(), all.failure_rate()), (20, 2, Some(0.1)));
    for (q, expected) in [
        (0.01, Value::At(MS)),
        (0.05, Value::At(MS)),
        (0.5, Value::At(MS * 10)),
        (0.9, Value::At(MS * 18)),
        (0.95, Value::AtLeast(MS * 1000)),
        (0.99, Value::AtLeast(MS * 1000)),
    ] {
        assert_eq!(at(q, &all), expected, "{q}");
    }
    assert_eq!((all.min(), all.max()), (Some(Value::At(MS)), Some(Value::AtLeast(MS * 1000))));
    // (171 + 2 * 1000) / 20, and more if the failures had been waited for.
    assert_eq!(all.mean().unwrap().value, Value::AtLeast(Duration::from_micros(108_550)));
    assert_eq!(all.mean().unwrap().high, None);
}

#[test]
fn a_failure_counts_in_the_phase_in_which_it_failed_and_in_later_ones() {
    let mut series = Series::new("r", BTreeMap::new(), Some(MS * 1000));
    let sample = |outcome| Sample { at: Duration::ZERO, outcome };
    let phases = [(Phase::Connect, MS * 2), (Phase::Tls, MS * 3), (Phase::Request, MS * 4)];
    for _ in 0..9 {
        series.push_phases(sample(Outcome::Ok(MS * 9)), phases);
    }
    series.push_failure(sample(Outcome::Failed("status".into())), Some(Phase::Request));
    series.push_failure(sample(Outcome::Failed("tls".into())), Some(Phase::Tls));
    let failed = |series: &Series| {
        let of = |(phase, _)| Distribution::of_phase([series], phase).failed();
        (phases.map(of), Distribution::of([series]).failed())
    };
    assert_eq!(failed(&series), ([0, 1, 2], 2));
    assert_eq!(at(0.95, &Distribution::of_phase([&series], Phase::Connect)), Value::At(MS * 2));
    let (began, duration) = (std::time::SystemTime::UNIX_EPOCH, MS);
    let results = Results { began, duration, source: String::new(), series: vec![series.clone()], dropped: Some(0) };
    let read = read_saved(saved_text(&results).as_bytes()).unwrap();
    assert_eq!(failed(&read.series[0]), ([0, 1, 2], 2));
    series.push_failure(sample(Outcome::Failed("timeout".into())), None);
    assert_eq!(failed(&series), ([1, 2, 3], 3), "where it failed is not known");
}

#[test]
fn no_sample_has_no_quantile_and_local_failures_are_none() {
    let none = Distribution::of(Vec::<Series>::new());
    assert_eq!((none.quantile(Quantile::P50), none.mean(), none.failure_rate()), (None, None, None));
    let mut local = series([]);
    local.push(Sample { at: Duration::ZERO, outcome: Outcome::Failed("local".into()) });
    assert_eq!(Distribution::of([&local]).count(), 0);
}

#[test]
fn without_a_deadline_a_failure_took_at_least_as_long_as_the_slowest_success() {
    let mut unknown = series([Some(5), Some(7), None]);
    unknown.deadline = None;
    assert_eq!(Distribution::of([unknown]).max(), Some(Value::AtLeast(MS * 7)));
}

/// The probabilities are those of the binomial distribution, as R's `pbinom` gives them.
#[test]
fn the_ranks_of_an_interval_are_those_of_the_tables() {
    for (n, q, expected) in [
        (6, 0.5, (1, 6)),
        (5, 0.5, (0, 6)),
        (20, 0.5, (6, 15)),
        (100, 0.5, (40, 61)),
        (100, 0.95, (90, 100)),
        (59, 0.95, (52, 60)),
        (0, 0.5, (0, 1)),
        (1, 0.99, (1, 2)),
    ] {
        assert_eq!(ranks_of_interval(n, q), expected, "{n} {q}");
    }
    let (low, high) = ranks_of_interval(10_000_000, 0.999);
    assert!((9_989_800..9_990_000).contains(&low) && (9_990_000..9_990_200).contains(&high), "{low} {high}");
}

#[test]
fn an_interval_has_two_ends_from_the_stated_number_of_samples_on() {
    for q in [0.01, 0.05, 0.5, 0.9, 0.95, 0.99, 0.999] {
        let quantile = Quantile::new(q).unwrap();
        let two_ends = |n| {
            let (low, high) = ranks_of_interval(n, q);
            low >= 1 && high <= n
        };
        let needed = samples_for(quantile);
        assert!(two_ends(needed) && !two_ends(needed - 1), "{q}: {needed}");
    }
    assert_eq!(samples_for(Quantile::P99), 368);
    assert!([0.0, 1.0, -0.5, 1.5, f64::NAN].into_iter().all(|q| Quantile::new(q).is_none()));
}

/// The probability that the true quantile lies between the samples of these ranks, summed up from logarithms.
fn coverage(count: usize, q: f64, (low, high): (usize, usize)) -> f64 {
    let logs: Vec<f64> = (0..=count)
        .scan(0.0, |sum, k| {
            *sum += if k == 0 { 0.0 } else { (k as f64).ln() };
            Some(*sum)
        })
        .collect();
    let probability = |k: usize| {
        let ways = logs[count] - logs[k] - logs[count - k];
        (ways + k as f64 * q.ln() + (count - k) as f64 * (1.0 - q).ln()).exp()
    };
    (low..high).map(probability).sum()
}

#[test]
fn an_interval_holds_the_true_quantile_with_95_percent_or_more() {
    for q in [0.5, 0.95, 0.99] {
        for count in (1..=700).chain([5_000, 50_000]) {
            let ranks = ranks_of_interval(count, q);
            let held = coverage(count, q, ranks);
            assert!(held >= CONFIDENCE - 1e-9, "{count} {q} {ranks:?}: {held}");
        }
    }
}

/// Whatever the distribution is: here one with a long tail and one with two modes.
#[test]
fn an_interval_holds_the_true_quantile_in_95_percent_of_runs() {
    let mut random = StdRng::seed_from_u64(13);
    type Inverse = fn(f64) -> f64;
    let exponential: Inverse = |u| -(1.0 - u).ln() * 1e7;
    let two_modes: Inverse = |u| if u < 0.7 { 1e7 + u * 1e6 } else { 5e7 + u * 3e7 };
    for inverse in [exponential, two_modes] {
        for (n, q) in [(60, 0.5), (60, 0.95), (400, 0.5), (400, 0.95), (400, 0.99)] {
            let truth = Duration::from_nanos(inverse(q) as u64);
            let runs = 500;
            let held = (0..runs).filter(|_| {
                let sample = |_| Duration::from_nanos(inverse(random.random::<f64>()) as u64);
                let all = Distribution::of_latencies((0..n).map(sample));
                let Estimate { low, high, .. } = all.quantile(Quantile::new(q).unwrap()).unwrap();
                low.least() <= truth && high.is_none_or(|high| truth <= high)
            });
            let held = held.count() as f64 / f64::from(runs);
            // Ranks are whole, so an interval can hold the truth more often, and never less: 3 sigma.
            assert!(held > 0.92, "{n} {q}: {held}");
        }
    }
}

#[test]
fn jitter_is_between_consecutive_successes() {
    let of = |latencies: &[Option<u32>]| series(latencies.iter().copied());
    let one = of(&[Some(10), None, Some(14), Some(12)]);
    assert_eq!(jitter([&one]), Some(MS * 3));
    assert_eq!(jitter([&one, &of(&[Some(100), Some(100), Some(100)])]), Some(Duration::from_micros(1500)));
    assert_eq!((jitter([of(&[Some(10), None])]), jitter(Vec::<Series>::new())), (None, None));
}

/// Examples of Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
#[test]
fn the_interval_of_a_failure_rate_is_wilsons() {
    for (failed, count, low, high) in
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    {
        let (found_low, found_high) = failure_rate_interval(failed, count).unwrap();
        assert!((found_low - low).abs() < 1e-4 && (found_high - high).abs() < 1e-4, "{found_low} {found_high}");
    }
    assert_eq!(failure_rate_interval(3, 3).map(|(_, high)| high), Some(1.0));
    assert_eq!(failure_rate_interval(0, 0), None);
}
