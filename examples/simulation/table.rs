//! Markdown.

use testkit::simulation::{
    figures::{self, Worth},
    timeline::Time,
};

pub(crate) fn row(cells: impl IntoIterator<Item = String>) {
    println!("| {} |", cells.into_iter().collect::<Vec<_>>().join(" | "));
}

/// The first line; figures stand on the right.
pub(crate) fn header(cells: &[&str]) {
    row(cells.iter().map(|cell| (*cell).to_owned()));
    println!("| --- |{}", " ---: |".repeat(cells.len() - 1));
}

/// A rate, with as many digits as say something.
pub(crate) fn rate(count: u64, years: f64) -> String {
    let rate = count as f64 / years;
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.2}") }
}

pub(crate) fn counts(Worth { dead, isolation_reason, wrong }: Worth) -> [String; 3] {
    [dead, isolation_reason, wrong].map(|count| count.to_string())
}

/// The shortest, the median, the 99th percentile and the longest of these times, in seconds.
pub(crate) fn spread(times: &mut [Time]) -> [String; 4] {
    times.sort_unstable();
    [0.0, 0.5, 0.99, 1.0]
        .map(|part| figures::quantile(times, part).map_or_else(String::new, |seconds| format!("{seconds:.2}")))
}
