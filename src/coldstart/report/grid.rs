//! The tables for people.

use std::borrow::Cow;

use super::{
    content::{Bounded, Next, Report, Row, shown, shown_value},
    notes::common,
};
use crate::{
    bench::{Column, Tone, printable},
    coldstart::round::{NEXT, NEXT_WITHIN, Step},
};

/// What stands for a number that is not known.
const UNKNOWN: &str = "unknown";

/// The ranking, with the null image below it.
pub(super) fn ranking(report: &Report<'_>) -> Vec<Column> {
    let rows = report.rows();
    let mut columns = vec![
        column(&rows, "rank", true, |row| Some((rank(row), tone(row)))),
        column(&rows, "image", false, |row| Some((printable(&row.name), tone(row)))),
    ];
    for (n, bandwidth) in report.comparison.model.bandwidths.iter().enumerate() {
        let total = |row: &Row<'_>| match *row.pulls.get(n)? {
            Some(pull) => plain(format!("{}{}", at_least(row), shown(row.median?.value + pull))),
            None => plain(UNKNOWN.to_owned()),
        };
        columns.push(column(&rows, format!("ready, with its pull at {bandwidth}"), true, total));
    }
    for (n, bandwidth) in report.comparison.model.bandwidths.iter().enumerate() {
        columns.push(column(&rows, format!("pull at {bandwidth}"), true, |row| {
            plain(row.pulls.get(n)?.map_or_else(|| UNKNOWN.to_owned(), shown))
        }));
    }
    columns.extend([
        column(&rows, "ready after", true, |row| match row.is_censored {
            true => plain(format!("\u{2265}{}", shown(row.median?.value))),
            false => plain(median(row.median?, "")),
        }),
        column(&rows, "behind the first", true, |row| match row.is_censored {
            true => plain(format!("\u{2265}{}", shown(row.behind?.value))),
            false => plain(median(row.behind?, "+")),
        }),
        column(&rows, "p95", true, |row| plain(shown_value(row.p95?))),
        column(&rows, "next 100 p99", true, |row| plain(next(row.next?))),
        column(&rows, "size, MB", true, |row| {
            (!row.is_floor()).then(|| (format!("{:.1}", row.image.size as f64 / 1e6), Tone::Plain))
        }),
        column(&rows, "layers", true, |row| plain(row.image.layers.to_string())),
        column(&rows, "CPUs", true, |row| {
            let differs = common(&report.comparison.images, |image| image.options.cpus).is_none();
            row.image.options.cpus.filter(|_| differs).and_then(|cpus| plain(cpus.to_string()))
        }),
        column(&rows, "memory, MiB", true, |row| {
            let differs = common(&report.comparison.images, |image| image.options.memory).is_none();
            row.image.options.memory.filter(|_| differs).and_then(|memory| plain((memory >> 20).to_string()))
        }),
        column(&rows, "failed", false, |row| {
            let text = failed(row);
            Some((text, if row.failed() > 0 { Tone::Bad } else { Tone::Plain }))
        }),
    ]);
    columns.retain(|column| column.cells.iter().any(|(text, _)| text != "-"));
    columns
}

/// The medians of the steps.
pub(super) fn steps(report: &Report<'_>) -> Vec<Column> {
    let rows = report.rows();
    let name = column(&rows, "median steps", false, |row| plain(printable(&row.name)));
    let is_published = report.comparison.is_published();
    let shown_steps = Step::ALL.into_iter().filter(|step| !(is_published && *step == Step::Listen));
    let head = |step: Step| if is_published && step == Step::Ready { "listen and ready" } else { step.as_str() };
    let steps = shown_steps.map(|step| column(&rows, head(step), true, |row| plain(shown(row.steps[step as usize]?))));
    std::iter::once(name).chain(steps).collect()
}

fn column(
    rows: &[Row<'_>],
    head: impl Into<Cow<'static, str>>,
    is_number: bool,
    cell: impl Fn(&Row<'_>) -> Option<(String, Tone)>,
) -> Column {
    let cells = rows.iter().map(|row| cell(row).unwrap_or_else(|| ("-".to_owned(), Tone::Plain)));
    Column { head: head.into(), is_number, cells: cells.collect() }
}

/// The sign before a time that failures made.
fn at_least(row: &Row<'_>) -> &'static str {
    if row.is_censored { "\u{2265}" } else { "" }
}

fn plain(text: String) -> Option<(String, Tone)> {
    Some((text, Tone::Plain))
}

fn tone(row: &Row<'_>) -> Tone {
    if row.rank.is_some_and(|(best, _)| best == 1) { Tone::Good } else { Tone::Plain }
}

/// `1`, or `1-2` for a tie.
fn rank(row: &Row<'_>) -> String {
    match row.rank {
        Some((best, worst)) if best == worst => best.to_string(),
        Some((best, worst)) => format!("{best}-{worst}"),
        None if row.is_floor() => "floor".to_owned(),
        None => "-".to_owned(),
    }
}

/// A median with the wider half of its interval; `±?` where it has none, by too few rounds or by failures.
fn median(median: Bounded, sign: &str) -> String {
    let value = median.value.max(0.0);
    match median.low.zip(median.high) {
        Some((low, high)) => {
            let half = (high - median.value).max(median.value - low);
            format!("{sign}{} \u{b1}{}", shown(value), shown(half))
        }
        None => format!("{sign}{} \u{b1}?", shown(value)),
    }
}

/// The percentile, with how many answers were none, and how many there were if they came slowly.
fn next(next: Next) -> String {
    let mut text = shown_value(next.p99);
    if next.failed > 0 {
        text.push_str(&format!(", {} of {} failed", next.failed, next.answers));
    }
    if next.of_start < NEXT {
        text.push_str(&format!(", of {} in {} s", next.of_start, NEXT_WITHIN.as_secs()));
    }
    text
}

fn failed(row: &Row<'_>) -> String {
    let mut text = format!("{} of {}", row.failed(), row.image.starts.len());
    let mut reasons: Vec<&str> =
        row.image.starts.iter().filter_map(|start| Some(start.as_ref().err()?.reason())).collect();
    reasons.sort_unstable();
    let mut shown = reasons.clone();
    shown.dedup();
    let counts =
        shown.iter().map(|reason| format!("{} {reason}", reasons.iter().filter(|other| *other == reason).count()));
    if !shown.is_empty() {
        text = format!("{text}: {}", counts.collect::<Vec<_>>().join(", "));
    }
    text
}
