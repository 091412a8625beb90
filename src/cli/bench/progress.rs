//! The progress bar of a terminal.

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::{
    bench::{Distribution, Progress, Quantile, Series, Value},
    probe,
};

/// The width of a terminal, unless it is wider; a longer line would scroll.
const WIDTH: usize = 79;

/// The width of the bar.
const BAR: usize = 20;

/// Shows the progress on one line of standard error.
pub(super) fn show(progress: &Progress<'_>) {
    // The cursor returns to the beginning, so that a log line replaces the bar. Nothing depends on whether it is seen.
    let _ = write!(io::stderr(), "\r\x1b[K{}\r", line(progress));
}

/// Clears the line.
pub(super) fn clear() {
    let _ = write!(io::stderr(), "\r\x1b[K");
}

fn line(progress: &Progress<'_>) -> String {
    let full = (progress.done * BAR as f64) as usize;
    let mut line = format!("[{}{}] {:3} s", "#".repeat(full), "-".repeat(BAR - full), progress.elapsed.as_secs());
    let regions = regions(progress.series);
    for (n, (region, median, failed)) in regions.iter().enumerate() {
        let median = median.map_or_else(|| "-".to_owned(), |median| format!("{:.1} ms", median.as_secs_f64() * 1e3));
        let failed = if *failed == 0 { String::new() } else { format!(", {failed} failed") };
        let next = format!("  {region} {median}{failed}");
        let rest = regions.len() - n;
        if line.chars().count() + next.chars().count() + "  +999".len() > WIDTH {
            line.push_str(&format!("  +{rest}"));
            break;
        }
        line.push_str(&next);
    }
    line
}

/// Each region with its median and failures, by the kind of probe that ranks it.
fn regions(series: &[Series]) -> Vec<(&str, Option<Duration>, usize)> {
    let mut names: Vec<&str> = series.iter().map(|series| series.region.as_str()).collect();
    names.dedup();
    let preference = |series: &&Series| series.tag("probe").and_then(probe::kind_named).map(|kind| kind.preference());
    let region = |name| {
        let own = || series.iter().filter(move |series| series.region == name);
        let first = own().filter_map(|series| preference(&series)).min();
        let all = Distribution::of(own().filter(|series| preference(series) == first));
        let median = all.quantile(Quantile::P50).map(|median| median.value).and_then(Value::exact);
        (name, median, all.failed())
    };
    names.into_iter().map(region).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Outcome, Sample};

    #[test]
    fn the_bar_has_the_running_median_and_failures_and_fits_on_a_line() {
        let series: Vec<_> = (0..20)
            .map(|n| {
                let tags = [("probe".to_owned(), "tcp".to_owned())].into();
                let mut series = Series::new(format!("region-{n}"), tags, None);
                let at = Duration::ZERO;
                series.push(Sample { at, outcome: Outcome::Ok(Duration::from_micros(12_340)) });
                series.push(Sample { at, outcome: Outcome::Ok(Duration::from_micros(12_340)) });
                series.push(Sample { at, outcome: Outcome::Failed("timeout".into()) });
                series
            })
            .collect();
        let text = line(&Progress { done: 0.5, elapsed: Duration::from_secs(30), series: &series });
        assert_eq!(text, "[##########----------]  30 s  region-0 12.3 ms, 1 failed  +19");
        assert!(text.chars().count() <= WIDTH);
        let text = line(&Progress { done: 1.0, elapsed: Duration::ZERO, series: &series[..1] });
        assert_eq!(text, "[####################]   0 s  region-0 12.3 ms, 1 failed");
    }
}
