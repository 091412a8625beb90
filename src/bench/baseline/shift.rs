//! How much one sample lies above another: the Hodges-Lehmann estimate with the interval of the rank sum.
//!
//! The estimate is the median of all differences between a value of the one and a value of the other. No distribution is
//! assumed, and outliers weigh no more than others. Of logarithms the estimate is a ratio.
//!
//! The classic interval takes samples for independent. Latencies are not: a queue that is long stays long for a while. So
//! the variance is multiplied by `(1 + r) / (1 - r)` for the autocorrelation `r` of the ranks, which is estimated and
//! corrected for its bias, and the normal quantile becomes that of Student's distribution with as many degrees of freedom
//! as there are independent samples.

/// A shift with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    /// The estimate.
    pub(super) value: f64,
    /// The lower end of the interval.
    pub(super) low: f64,
    /// The upper end of the interval.
    pub(super) high: f64,
}

impl Shift {
    /// How far the interval reaches.
    pub(super) fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// A sample in the order of time, prepared.
pub(super) struct Prepared {
    sorted: Vec<f64>,
    /// How many independent samples know as much about the position.
    independent: f64,
}

/// The fewest independent samples on both sides together that an interval is made from.
const FEWEST: f64 = 10.0;

impl Prepared {
    /// Takes values in the order of time.
    pub(super) fn new(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let independent = values.len() as f64 / inflation(values, &sorted);
        Self { sorted, independent }
    }

    /// How many independent samples know as much.
    pub(super) fn independent(&self) -> f64 {
        self.independent
    }

    /// The median; 0 without a sample.
    pub(super) fn median(&self) -> f64 {
        self.sorted.get(self.count() / 2).copied().unwrap_or_default()
    }

    /// How many samples there are.
    pub(super) fn count(&self) -> usize {
        self.sorted.len()
    }
}

/// By how much `new` lies above `old`, with the interval that leaves out `tail` on each side; `None` if there are too few
/// samples for one.
pub(super) fn shift(old: &Prepared, new: &Prepared, tail: f64) -> Option<Shift> {
    let pairs = old.count() as f64 * new.count() as f64;
    let freedom = old.independent + new.independent - 2.0;
    if old.independent.min(new.independent) < FEWEST / 2.0 || freedom < FEWEST - 2.0 {
        return None;
    }
    let deviation = pairs * ((1.0 / old.independent + 1.0 / new.independent) / 12.0).sqrt();
    let reach = student_quantile(tail, freedom) * deviation;
    let rank = (pairs / 2.0 - reach).floor();
    if rank < 1.0 {
        return None;
    }
    let difference = |rank: f64| difference_ranked(&old.sorted, &new.sorted, rank as u64);
    Some(Shift { value: difference((pairs / 2.0).ceil()), low: difference(rank), high: difference(pairs - rank + 1.0) })
}

/// The difference `new - old` of this rank among all pairs, from 1, by bisection over values.
fn difference_ranked(old: &[f64], new: &[f64], rank: u64) -> f64 {
    let (Some(first), Some(last)) = (new.first().zip(old.last()), new.last().zip(old.first())) else { return 0.0 };
    let (mut low, mut high) = (first.0 - first.1, last.0 - last.1);
    // A float has 52 bits of mantissa; latencies differ by less than these steps tell apart.
    for _ in 0..64 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if pairs_up_to(old, new, middle) >= rank {
            high = middle;
        } else {
            low = middle;
        }
    }
    // What the bisection ends at is above the difference itself: a little above 0 would be a change.
    largest_up_to(old, new, high).unwrap_or(high)
}

/// The largest difference `new - old` that is not above a limit.
fn largest_up_to(old: &[f64], new: &[f64], limit: f64) -> Option<f64> {
    let mut from = 0;
    let largest = new.iter().filter_map(|value| {
        while from < old.len() && value - old[from] > limit {
            from += 1;
        }
        old.get(from).map(|old| value - old)
    });
    largest.max_by(f64::total_cmp)
}

/// How many pairs have `new - old <= limit`.
fn pairs_up_to(old: &[f64], new: &[f64], limit: f64) -> u64 {
    let (mut from, mut pairs) = (0, 0);
    for value in new {
        while from < old.len() && value - old[from] > limit {
            from += 1;
        }
        pairs += (old.len() - from) as u64;
    }
    pairs
}

/// By how much autocorrelation inflates the variance of the mean rank.
fn inflation(values: &[f64], sorted: &[f64]) -> f64 {
    if values.len() < 5 {
        return 1.0;
    }
    let n = values.len() as f64;
    // The middle of the ranks of equal values.
    let rank = |value: &f64| {
        let below = sorted.partition_point(|other| other < value);
        let upto = sorted.partition_point(|other| other <= value);
        (below + upto) as f64 / 2.0 - n / 2.0
    };
    let ranks: Vec<_> = values.iter().map(rank).collect();
    let variance: f64 = ranks.iter().map(|rank| rank * rank).sum();
    if variance == 0.0 {
        return 1.0;
    }
    let lagged: f64 = ranks.windows(2).map(|pair| pair[0] * pair[1]).sum();
    // Kendall (Biometrika 41 (1954) 403): the estimate is too small by (1 + 3r) / n.
    let correlation = ((n * lagged / variance + 1.0) / (n - 3.0)).clamp(0.0, 0.99);
    (1.0 + correlation) / (1.0 - correlation)
}

/// The quantile of the normal distribution that leaves out `tail` above (Abramowitz and Stegun 26.2.23, refined by a step
/// of Newton's method on a continued fraction of Mills' ratio).
pub(crate) fn normal_quantile(tail: f64) -> f64 {
    let t = (-2.0 * tail.ln()).sqrt();
    let start =
        t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    let mut z = start;
    for _ in 0..3 {
        let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        // Mills' ratio by its continued fraction.
        let mills = 1.0 / (1..200).rev().fold(z, |below, k| z + f64::from(k) / below);
        z += (density * mills - tail) / density;
    }
    z
}

/// The quantile of Student's distribution that leaves out `tail` above (Fisher and Cornish's expansion).
pub(crate) fn student_quantile(tail: f64, freedom: f64) -> f64 {
    let z = normal_quantile(tail);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}
