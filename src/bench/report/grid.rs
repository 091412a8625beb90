//! The cells that tables for people have, whatever their format.

use std::{borrow::Cow, time::Duration};

use super::super::{Check, Estimate, Gate, Ranked, Ranking, Value, Verdict, ranking::only_local};
use super::content::Subject;

/// What a cell says of its row, for colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
}

/// A column.
pub(crate) struct Column {
    pub(crate) head: Cow<'static, str>,
    pub(crate) is_number: bool,
    pub(crate) cells: Vec<(String, Tone)>,
}

/// The columns of a ranking; a column without any value is left out. Latencies are in milliseconds.
pub(super) fn ranking(ranking: &Ranking, subject: Subject) -> Vec<Column> {
    let best = |ranked: &Ranked| ranked.rank.is_some_and(|(best, _)| best == 1);
    let mut columns = vec![
        column(ranking, "rank", true, |ranked| {
            Some((rank(ranked), if best(ranked) { Tone::Good } else { Tone::Plain }))
        }),
        column(ranking, subject.as_str(), false, |ranked| {
            Some((printable(&ranked.region), if best(ranked) { Tone::Good } else { Tone::Plain }))
        }),
        column(ranking, "score = p50 + tail + retries", true, |ranked| plain(score(ranked)?)),
    ];
    for (n, head) in ["p50", "p95", "p99"].into_iter().enumerate() {
        columns.push(column(ranking, head, true, |ranked| plain(estimate(&ranked.quantiles?[n]))));
    }
    columns.push(column(ranking, "jitter", true, |ranked| plain(millis(ranked.jitter?))));
    columns.push(column(ranking, "times slower", true, |ranked| {
        let ratio = ranked.slower?;
        plain(format!("{:.2} \u{b1} {:.2}", ratio.value, ratio.half_width))
    }));
    columns.push(column(ranking, "rtt / light", true, |ranked| {
        let gap = ranked.light?;
        let text = format!("{} / {}", millis(gap.round_trip), millis(gap.light));
        Some((text, if gap.is_impossible() { Tone::Bad } else { Tone::Plain }))
    }));
    columns.push(column(ranking, "failed", false, |ranked| {
        Some((failed(ranked), if ranked.failures.is_empty() { Tone::Plain } else { Tone::Bad }))
    }));
    columns.retain(|column| column.cells.iter().any(|(text, _)| text != "-"));
    columns
}

/// The columns of the median phases; empty if no region has two.
pub(super) fn phases(ranking: &Ranking) -> Vec<Column> {
    let mut phases: Vec<_> =
        ranking.regions.iter().flat_map(|ranked| &ranked.phases).map(|(phase, _)| *phase).collect();
    phases.sort_unstable();
    phases.dedup();
    if phases.len() < 2 {
        return Vec::new();
    }
    let region = column(ranking, "median phases", false, |ranked| plain(printable(&ranked.region)));
    let phases = phases.into_iter().map(|phase| {
        column(ranking, phase.as_str(), true, |ranked| {
            let (_, median) = ranked.phases.iter().find(|(known, _)| *known == phase)?;
            plain(estimate(median))
        })
    });
    std::iter::once(region).chain(phases).collect()
}

/// The columns of the checks; empty if there is none.
pub(crate) fn check_columns(gate: Option<&Gate>) -> Vec<Column> {
    let Some(gate) = gate.filter(|gate| !gate.checks.is_empty()) else { return Vec::new() };
    let tone = |check: &Check| match check.verdict {
        Verdict::Pass => Tone::Good,
        Verdict::Fail => Tone::Bad,
        Verdict::Inconclusive => Tone::Plain,
    };
    let column = |head: &'static str, cell: &dyn Fn(&Check) -> (String, Tone)| Column {
        head: head.into(),
        is_number: false,
        cells: gate.checks.iter().map(cell).collect(),
    };
    vec![
        column("verdict", &|check| (check.verdict.to_string(), tone(check))),
        column("subject", &|check| (printable(&check.subject), Tone::Plain)),
        column("criterion", &|check| (check.criterion.clone(), Tone::Plain)),
        column("measured", &|check| (check.reason.clone(), Tone::Plain)),
    ]
}

fn column(
    ranking: &Ranking,
    head: &'static str,
    is_number: bool,
    cell: impl Fn(&Ranked) -> Option<(String, Tone)>,
) -> Column {
    let cells = ranking.regions.iter().map(|ranked| cell(ranked).unwrap_or_else(|| ("-".to_owned(), Tone::Plain)));
    Column { head: head.into(), is_number, cells: cells.collect() }
}

fn plain(text: String) -> Option<(String, Tone)> {
    Some((text, Tone::Plain))
}

/// `1`, or `1-2` for a tie.
pub(super) fn rank(ranked: &Ranked) -> String {
    match ranked.rank {
        Some((best, worst)) if best == worst => best.to_string(),
        Some((best, worst)) => format!("{best}-{worst}"),
        None => "-".to_owned(),
    }
}

fn score(ranked: &Ranked) -> Option<String> {
    let cost = ranked.score?.cost;
    let parts = [cost.median, cost.tail, cost.retries].map(|part| millis_as(part, cost.total()));
    Some(format!("{} = {}", millis(cost.total()), parts.join(" + ")))
}

pub(super) fn failed(ranked: &Ranked) -> String {
    let mut text = format!("{} of {}", ranked.failed, ranked.count);
    let reasons: Vec<_> =
        ranked.failures.iter().map(|(reason, count)| format!("{count} {}", printable(reason))).collect();
    if !reasons.is_empty() {
        text = format!("{text}: {}", reasons.join(", "));
    }
    if only_local(ranked) { format!("not measured: {}", reasons.join(", ")) } else { text }
}

/// A value with the wider half of its interval: `68.12 ±0.11`. `±?` says that there are too few samples for an interval.
pub(super) fn estimate(estimate: &Estimate) -> String {
    let value = estimate.value.least();
    match (estimate.value, estimate.high) {
        (Value::AtLeast(least), _) => format!("\u{2265}{}", millis(least)),
        (_, Some(high)) => {
            let half = high.saturating_sub(value).max(value.saturating_sub(estimate.low.least()));
            format!("{} \u{b1}{}", millis(value), millis_as(half, value))
        }
        (_, None) => format!("{} \u{b1}?", millis(value)),
    }
}

/// Milliseconds, with four or five digits.
pub(crate) fn millis(duration: Duration) -> String {
    millis_as(duration, duration)
}

/// Milliseconds, with as many decimals as another value has.
fn millis_as(duration: Duration, other: Duration) -> String {
    let decimals = match other.as_nanos() {
        1..10_000_000 => 3,
        10_000_000..100_000_000 => 2,
        100_000_000..1_000_000_000 => 1,
        _ => 0,
    };
    format!("{:.decimals$}", duration.as_secs_f64() * 1e3)
}

/// A text from outside, without what would move a cursor or hide a character.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() || is_invisible(c) { c.escape_unicode().collect() } else { vec![c] })
        .collect()
}

/// Directional marks, which reorder what is displayed, and characters without a width.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
