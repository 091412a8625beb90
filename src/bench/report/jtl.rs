//! JMeter's results as CSV, with the columns that both its versions 2.13 and 5 read.
//!
//! JMeter knows whole milliseconds only. A failure has the time until its deadline, as if it had been waited for.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use super::content::Report;
use crate::{
    bench::{Outcome, Series},
    model::Phase,
};

const HEAD: &str = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,bytes,grpThreads,\
                    allThreads,Latency,Connect\n";

/// The phases before a request is sent; JMeter's `Connect` has the TLS handshake in it.
const CONNECTING: [Phase; 2] = [Phase::Connect, Phase::Tls];

/// All samples, in the order of time.
pub(super) fn write(report: &Report<'_>) -> String {
    let began = report.results.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut all: Vec<_> = report
        .results
        .series
        .iter()
        .flat_map(|series| series.samples().iter().enumerate().map(move |(n, sample)| (sample.at, series, n)))
        .collect();
    all.sort_by_key(|(at, ..)| *at);
    let mut text = HEAD.to_owned();
    for (at, series, n) in all {
        row(&mut text, began + at, series, n);
    }
    text
}

fn row(text: &mut String, at: Duration, series: &Series, n: usize) {
    let of = |phases: &[Phase]| -> Duration { phases.iter().filter_map(|phase| series.phase_of(n, *phase)).sum() };
    let (elapsed, code, message, first_byte) = match &series.samples()[n].outcome {
        Outcome::Ok(latency) => (*latency, "200", "OK", latency.saturating_sub(of(&[Phase::Transfer]))),
        Outcome::Failed(reason) => {
            (series.deadline.unwrap_or_default(), reason.as_ref(), reason.as_ref(), Duration::ZERO)
        }
    };
    let label = label(series);
    let connect = of(&CONNECTING).min(first_byte);
    let ms = |duration: Duration| (duration.as_secs_f64() * 1e3).round();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "{},{},{},{},{},{},,{},0,1,1,{},{}",
        at.as_millis(),
        ms(elapsed),
        quoted(&label),
        quoted(code),
        quoted(message),
        quoted(&format!("{label} 1-1")),
        code == "200",
        ms(first_byte),
        ms(connect)
    );
}

/// The region, and what distinguishes the series.
fn label(series: &Series) -> String {
    let tags = series.tags.values().fold(String::new(), |text, value| text + " " + value);
    format!("{}{tags}", series.region)
}

/// A value in quotes if it has to be. A line break inside of one is not understood by every reader.
fn quoted(value: &str) -> String {
    let line = value.replace(|c: char| c.is_control(), " ");
    match line.contains([',', '"']) {
        true => format!("\"{}\"", line.replace('"', "\"\"")),
        false => line,
    }
}
