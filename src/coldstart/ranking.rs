//! Which image is ready first, with ties: by the median difference between two images in the same round, and its interval
//! between two of the differences, which is exact for any distribution (David & Nagaraja, Order Statistics, 7.1).
//!
//! A round starts every image once, so that what slows the machine down for a while slows all of them: their differences
//! know nothing of it. A start that failed counts with the time that it was waited for.

use crate::bench::CONFIDENCE;

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
    let ranks = ranks(rows);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let mut standings: Vec<_> = rows
        .iter()
        .zip(ranks)
        .enumerate()
        .map(|(image, ((times, _), rank))| {
            let median = rank.map(|_| estimate(times, tail));
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
            standing.behind = Some(estimate(&behind, tail));
        }
    }
    standings
}

/// The best and the worst rank of each image.
fn ranks(rows: &[(Vec<f64>, bool)]) -> Vec<Option<(usize, usize)>> {
    let ranked: Vec<usize> = (0..rows.len()).filter(|n| rows[*n].1 && !rows[*n].0.is_empty()).collect();
    let pairs = ranked.len() * ranked.len().saturating_sub(1) / 2;
    // All pairs together are right with the stated confidence (Bonferroni).
    let tail = (1.0 - CONFIDENCE) / 2.0 / pairs.max(1) as f64;
    let (mut better, mut worse) = (vec![0; rows.len()], vec![0; rows.len()]);
    for (n, one) in ranked.iter().enumerate() {
        for other in &ranked[n + 1..] {
            let difference = estimate(&differences(&rows[*one].0, &rows[*other].0), tail);
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

/// The median with the interval that leaves out `tail` on each side; without one where so few values cannot leave out so
/// little: all of them lie on one side of the true median in one of `2^n` cases.
fn estimate(values: &[f64], tail: f64) -> Median {
    let value = median(&mut values.to_vec());
    let has_interval = values.len() >= FEWEST_ROUNDS && 0.5_f64.powi(values.len() as i32) <= tail;
    Median { value, interval: has_interval.then(|| ordered(values, tail)) }
}

/// The interval of the median between two of the values: how many of them lie below the true median is binomial.
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
    use rand::{RngExt, SeedableRng, rngs::StdRng};

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
        let right = share(300, |random| ranks(&simulated(random, &[1.1, 1.0], 20)) == [Some((2, 2)), Some((1, 1))]);
        assert!(right >= 0.95, "{right}");
    }

    #[test]
    fn equal_images_tie_in_95_percent_of_runs_however_many_there_are() {
        for images in [2, 3] {
            let ties = share(1000, |random| {
                let ranks = ranks(&simulated(random, &vec![1.0; images], 20));
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
            let ranks = ranks(&simulated(random, &[1.0; 10], 6));
            ranks.iter().all(|rank| *rank == Some((1, 10)))
        });
        assert!(ties >= 0.95, "{ties}");
    }

    #[test]
    fn an_interval_leaves_out_no_less_than_its_values_can() {
        let values: Vec<f64> = (1..=6).map(f64::from).collect();
        assert!(estimate(&values, 0.025).interval.is_some());
        assert_eq!(estimate(&values, 0.015).interval, None);
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        // P(X <= 5) of a binomial distribution of 20 and 0.5 is 0.0207, and P(X <= 6) is 0.0577.
        assert_eq!(ordered(&twenty, 0.025), (6.0, 15.0));
        assert_eq!(ordered(&twenty, 3e-5), (2.0, 19.0));
        assert_eq!(estimate(&twenty, 3e-5).interval, Some((2.0, 19.0)));
    }

    #[test]
    fn equal_images_of_eleven_rounds_have_a_winner_in_less_than_5_percent_of_runs() {
        let ties = share(2000, |random| ranks(&simulated(random, &[1.0; 2], 11)) == [Some((1, 2)); 2]);
        // What is exact leaves out 2 * P(X <= 1) of a binomial distribution of 11 and 0.5: 1.2%.
        assert!(ties >= 0.98, "{ties}");
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }
}
