//! Reads Prometheus' text format, as far as the benchmarks need it.

use std::collections::BTreeMap;

/// The value of one series of a Prometheus page, named with its labels just as it stands there.
pub fn series(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Labels and value of every series of a name.
fn all<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    page.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some((labels, value.split(' ').next()?.parse().ok()?))
    })
}

/// The sum of all series of a name whose labels contain the text.
pub fn sum(page: &str, name: &str, labels: &str) -> f64 {
    all(page, name).filter(|(own, _)| own.contains(labels)).map(|(_, value)| value).sum()
}

/// How many series the page has.
pub fn count(page: &str) -> usize {
    page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

/// A histogram, summed over all label sets: upper bounds as they are printed, with what counts up to each.
pub struct Histogram(BTreeMap<Bound, f64>);

/// A bucket's upper bound; ordered.
#[derive(PartialEq)]
struct Bound(f64);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Histogram {
    /// What was counted between two pages.
    pub fn between(before: &str, after: &str, name: &str) -> Self {
        let name = format!("{name}_bucket");
        let mut buckets: BTreeMap<Bound, f64> = BTreeMap::new();
        for (page, sign) in [(before, -1.0), (after, 1.0)] {
            for (labels, value) in all(page, &name) {
                let bound = labels.split_once("le=\"").and_then(|(_, rest)| rest.split('"').next());
                if let Some(bound) = bound.and_then(|bound| bound.parse().ok()) {
                    *buckets.entry(Bound(bound)).or_default() += sign * value;
                }
            }
        }
        Self(buckets)
    }

    /// The bound of the bucket that holds the q-quantile; NaN where nothing was counted.
    pub fn quantile(&self, q: f64) -> f64 {
        let total = self.0.values().next_back().copied().unwrap_or(0.0);
        if total <= 0.0 {
            return f64::NAN;
        }
        self.0.iter().find(|(_, count)| **count >= q * total).map_or(f64::NAN, |(bound, _)| bound.0)
    }
}
