//! A line per kind of probe and region, for spreadsheets (RFC 4180).

use std::{fmt::Write as _, time::Duration};

use super::content::Report;
use crate::bench::{Estimate, Ranked};

const HEAD: &str = "probe,region,rank_best,rank_worst,score_ms,score_low_ms,score_high_ms,\
                    p50_ms,p50_low_ms,p50_high_ms,p95_ms,p95_low_ms,p95_high_ms,p99_ms,p99_low_ms,p99_high_ms,\
                    mean_ms,min_ms,max_ms,jitter_ms,samples,failed,missed,slower,slower_half_width,light_ms,failures\r\n";

/// The report as CSV. A value that is a failure is no number: its cell is empty.
pub(super) fn write(report: &Report<'_>) -> String {
    let mut text = HEAD.to_owned();
    for ranking in &report.rankings {
        for ranked in &ranking.regions {
            row(&mut text, ranking.probe.as_deref().unwrap_or_default(), ranked);
        }
    }
    text
}

fn row(text: &mut String, probe: &str, ranked: &Ranked) {
    let mut cells = vec![spreadsheet_cell(probe), spreadsheet_cell(&ranked.region)];
    let ranks = ranked.rank.map_or([None; 2], |(best, worst)| [Some(best), Some(worst)]);
    cells.extend(ranks.map(|rank| rank.map(|rank| rank.to_string()).unwrap_or_default()));
    let score = ranked.score;
    cells.push(millis(score.map(|score| score.cost.total())));
    cells.push(millis(score.map(|score| score.low)));
    cells.push(millis(score.and_then(|score| score.high)));
    for n in 0..3 {
        let estimate = ranked.quantiles.map(|quantiles| quantiles[n]);
        cells.push(value(estimate));
        cells.push(millis(estimate.map(|estimate| estimate.low.least())));
        cells.push(millis(estimate.and_then(|estimate| estimate.high)));
    }
    cells.push(value(ranked.mean));
    cells.push(millis(ranked.extremes.and_then(|(min, _)| min.exact())));
    cells.push(millis(ranked.extremes.and_then(|(_, max)| max.exact())));
    cells.push(millis(ranked.jitter));
    cells.extend([ranked.count as u64, ranked.failed as u64, ranked.missed].map(|count| count.to_string()));
    let slower = ranked.slower.map_or([None; 2], |ratio| [Some(ratio.value), Some(ratio.half_width)]);
    cells.extend(slower.map(|number| number.map(|number| format!("{number:.6}")).unwrap_or_default()));
    cells.push(millis(ranked.light.map(|gap| gap.light)));
    let failures: Vec<_> = ranked.failures.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    cells.push(spreadsheet_cell(&failures.join("; ")));
    let _ = write!(text, "{}\r\n", cells.join(","));
}

fn value(estimate: Option<Estimate>) -> String {
    millis(estimate.and_then(|estimate| estimate.value.exact()))
}

fn millis(duration: Option<Duration>) -> String {
    duration.map(|duration| format!("{:.6}", duration.as_secs_f64() * 1e3)).unwrap_or_default()
}

/// A text as a cell. One that a spreadsheet would take for a formula gets an apostrophe before it.
pub(crate) fn spreadsheet_cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if guard.is_empty() && !text.contains(['"', ',', '\n', '\r']) {
        return text.to_owned();
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}
