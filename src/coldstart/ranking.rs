//! Which image is ready first, with ties: by the median difference between two images in the same round, and its
//! bootstrap interval (Efron, Annals of Statistics 7 (1979) 1).
//!
//! A round starts every image once, so that what slows the machine down for a while slows all of them: their differences
//! know nothing of it. A start that failed counts with the time that it was waited for.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::bench::{CONFIDENCE, normal_quantile, student_quantile};

/// How often the rounds are drawn again.
const RESAMPLES: usize = 10_000;

/// With fewer rounds there is no interval, and everything is a tie.
pub const FEWEST_ROUNDS: usize = 6;

/// A median in seconds, and the interval that holds the true one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    /// The estimate.
    pub value: f64,
    /// The interval; `None` with too few rounds.
    pub interval: Option<(f64, f64)>,
}

impl Median {
    /// The same without a part that is known.
    #[must_use]
    pub fn less(self, part: f64) -> Self {
        let interval = self.interval.map(|(low, high)| (low - part, high - part));
        Self { value: self.value - part, interval }
    }
}

/// Where an image stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its number among those that were compared.
    pub image: usize,
    /// The best and the worst rank that it may have; `None` if it was never ready.
    pub rank: Option<(usize, usize)>,
    /// Its median; `None` if it was never ready.
    pub median: Option<Median>,
    /// How much later than the first one it is ready; `None` for the first one itself.
    pub behind: Option<Median>,
}

/// Compares images: a row of times in seconds for each, with one of every round, and a failure as the time that was waited.
/// The second of a row is whether it was ever ready. The best comes first.
pub fn compare(rows: &[(Vec<f64>, bool)]) -> Vec<Standing> {
    let ranks = ranks(rows, RESAMPLES);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let mut standings: Vec<_> = rows
        .iter()
        .zip(ranks)
        .enumerate()
        .map(|(image, ((times, _), rank))| {
            let median = rank.map(|_| bootstrap(times, tail, RESAMPLES));
            Standing { image, rank, median, behind: None }
        })
        .collect();
    standings.sort_by(|one, other| {
        let key = |standing: &Standing| standing.median.map_or(f64::INFINITY, |median| median.value);
        key(one).total_cmp(&key(other))
    });
    if let Some(first) = standings.first().filter(|first| first.rank.is_some()).map(|first| first.image) {
        for standing in standings.iter_mut().skip(1).filter(|standing| standing.rank.is_some()) {
            let behind = differences(&rows[standing.image].0, &rows[first].0);
            standing.behind = Some(bootstrap(&behind, tail, RESAMPLES));
        }
    }
    standings
}

/// The best and the worst rank of each image.
fn ranks(rows: &[(Vec<f64>, bool)], resamples: usize) -> Vec<Option<(usize, usize)>> {
    let ranked: Vec<usize> = (0..rows.len()).filter(|n| rows[*n].1 && !rows[*n].0.is_empty()).collect();
    let pairs = ranked.len() * ranked.len().saturating_sub(1) / 2;
    // All pairs together are right with the stated confidence (Bonferroni).
    let tail = (1.0 - CONFIDENCE) / 2.0 / pairs.max(1) as f64;
    let (mut better, mut worse) = (vec![0; rows.len()], vec![0; rows.len()]);
    for (n, one) in ranked.iter().enumerate() {
        for other in &ranked[n + 1..] {
            let difference = bootstrap(&differences(&rows[*one].0, &rows[*other].0), tail, resamples);
            let Some((low, high)) = difference.interval else { continue };
            let (first, last) = if high < 0.0 { (*one, *other) } else { (*other, *one) };
            if high < 0.0 || low > 0.0 {
                worse[first] += 1;
                better[last] += 1;
            }
        }
    }
    let rank = |image| ranked.contains(&image).then(|| (1 + better[image], ranked.len() - worse[image]));
    (0..rows.len()).map(rank).collect()
}

/// The differences of the same rounds.
fn differences(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one - other).collect()
}

/// How many resamples must lie beyond an end of an interval.
const BEYOND: f64 = 5.0;

/// The median with the interval that leaves out `tail` on each side; without one where so few values cannot leave out so
/// little: all of them lie on one side of the true median in one of `2^n` cases.
fn bootstrap(values: &[f64], tail: f64, resamples: usize) -> Median {
    let mut drawn = values.to_vec();
    let value = median(&mut drawn);
    if values.len() < FEWEST_ROUNDS || 0.5_f64.powi(values.len() as i32) > tail {
        return Median { value, interval: None };
    }
    let cut = resamples as f64 * expanded(tail, values.len());
    if cut < BEYOND {
        return Median { value, interval: Some(ordered(values, tail)) };
    }
    // The same data give the same interval.
    let mut random = StdRng::seed_from_u64(0x636f_6c64);
    let mut medians: Vec<f64> = (0..resamples)
        .map(|_| {
            for slot in &mut drawn {
                *slot = values[random.random_range(0..values.len())];
            }
            median(&mut drawn)
        })
        .collect();
    medians.sort_unstable_by(f64::total_cmp);
    let cut = (cut.floor() as usize).min(resamples / 2);
    Median { value, interval: Some((medians[cut], medians[resamples - 1 - cut])) }
}

/// The interval of the median between two of the values, which is exact for any tail (David & Nagaraja, Order Statistics,
/// 7.1): how many of them lie below the true median is binomial.
fn ordered(values: &[f64], tail: f64) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    let (mut rank, mut chance) = (0, 0.5_f64.powi(n as i32));
    let mut below = chance;
    while rank + 1 < n / 2 {
        chance *= (n - rank) as f64 / (rank + 1) as f64;
        if below + chance > tail {
            break;
        }
        below += chance;
        rank += 1;
    }
    (sorted[rank], sorted[n - 1 - rank])
}

/// The tail of a bootstrap distribution that leaves out `tail`. Of few values the distribution is too narrow (Hesterberg,
/// The American Statistician 69 (2015) 371, the expanded percentile interval).
fn expanded(tail: f64, count: usize) -> f64 {
    let n = count as f64;
    let reach = (n / (n - 1.0)).sqrt() * student_quantile(tail, n - 1.0);
    // What lies beyond that in a normal distribution, by bisection.
    let (mut low, mut high) = (0.0, tail);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if normal_quantile(middle) > reach { low = middle } else { high = middle }
    }
    low
}

/// The median, between the two in the middle where their number is even. Changes the order; 0 without a value.
pub(super) fn median(values: &mut [f64]) -> f64 {
    let (half, is_odd) = (values.len() / 2, values.len() % 2 == 1);
    if values.is_empty() {
        return 0.0;
    }
    let (below, upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let upper = *upper;
    if is_odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times of images that take so long, with the noise of a busy machine: skewed, and common to a round.
    fn simulated(random: &mut StdRng, images: &[f64], rounds: usize) -> Vec<(Vec<f64>, bool)> {
        let mut rows = vec![Vec::new(); images.len()];
        for _ in 0..rounds {
            let common = 0.05 * random.random::<f64>();
            for (row, time) in rows.iter_mut().zip(images) {
                let slow = if random.random_bool(0.05) { 0.5 * random.random::<f64>() } else { 0.0 };
                row.push(time + common + slow - 0.03 * random.random::<f64>().ln());
            }
        }
        rows.into_iter().map(|row| (row, true)).collect()
    }

    fn share(runs: usize, run: impl Fn(&mut StdRng) -> bool) -> f64 {
        let mut random = StdRng::seed_from_u64(14);
        (0..runs).filter(|_| run(&mut random)).count() as f64 / runs as f64
    }

    #[test]
    fn images_of_a_second_and_a_tenth_more_are_ranked_right_in_95_percent_of_runs_of_20_rounds() {
        let right =
            share(300, |random| ranks(&simulated(random, &[1.1, 1.0], 20), 400) == [Some((2, 2)), Some((1, 1))]);
        assert!(right >= 0.95, "{right}");
    }

    #[test]
    fn equal_images_tie_in_95_percent_of_runs_however_many_there_are() {
        for images in [2, 3] {
            let ties = share(300, |random| {
                let ranks = ranks(&simulated(random, &vec![1.0; images], 20), 1000);
                ranks.iter().all(|rank| *rank == Some((1, images)))
            });
            assert!(ties >= 0.95, "{images} images: {ties}");
        }
    }

    #[test]
    fn an_image_that_was_never_ready_is_last_and_has_no_rank() {
        let rows = [(vec![60.0; 20], false), (vec![1.0; 20], true), (vec![2.0; 20], true)];
        let standings = compare(&rows);
        let ranks: Vec<_> = standings.iter().map(|standing| (standing.image, standing.rank)).collect();
        assert_eq!(ranks, [(1, Some((1, 1))), (2, Some((2, 2))), (0, None)]);
        assert_eq!(standings[1].behind, Some(Median { value: 1.0, interval: Some((1.0, 1.0)) }));
        assert_eq!((standings[0].behind, standings[2].behind), (None, None));
    }

    #[test]
    fn few_rounds_have_no_winner() {
        let standings = compare(&[(vec![1.0; 3], true), (vec![2.0; 3], true)]);
        assert!(standings.iter().all(|standing| standing.rank == Some((1, 2))));
        assert_eq!(standings[0].median.and_then(|median| median.interval), None);
        assert!(compare(&[]).is_empty());
    }

    #[test]
    fn many_equal_images_tie_in_95_percent_of_runs_of_six_rounds() {
        let ties = share(200, |random| {
            let ranks = ranks(&simulated(random, &[1.0; 10], 6), 1000);
            ranks.iter().all(|rank| *rank == Some((1, 10)))
        });
        assert!(ties >= 0.95, "{ties}");
    }

    #[test]
    fn an_interval_leaves_out_no_less_than_its_values_can() {
        let values: Vec<f64> = (1..=6).map(f64::from).collect();
        assert!(bootstrap(&values, 0.025, 1000).interval.is_some());
        assert_eq!(bootstrap(&values, 0.015, 1000).interval, None);
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        // P(X <= 5) of a binomial distribution of 20 and 0.5 is 0.0207, and P(X <= 6) is 0.0577.
        assert_eq!(ordered(&twenty, 0.025), (6.0, 15.0));
        assert_eq!(ordered(&twenty, 3e-5), (2.0, 19.0));
        assert_eq!(bootstrap(&twenty, 3e-5, 1000).interval, Some((2.0, 19.0)));
    }

    #[test]
    fn fewer_values_leave_out_less() {
        assert!((expanded(0.025, 20) - 0.0159).abs() < 0.0005, "{}", expanded(0.025, 20));
        assert!(expanded(0.025, 6) < expanded(0.025, 20));
        assert!((expanded(0.025, 100_000) - 0.025).abs() < 1e-4);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }
}
