//! One path: its last minutes, and its last probes with their phases.

use std::{cmp::Ordering, time::Duration};

use super::{
    Html,
    chart::{self, Minutes},
    headline::Level,
    put,
    words::{self, Clock, Latency, Percent},
};
use crate::{
    model::{Failure, Phase, UnixMillis, Utc},
    status::{Overview, PathView},
    window::{Record, Trace},
};

pub(super) fn write(page: &mut Html, overview: &Overview, view: &PathView, records: &[Record]) {
    let path = &view.path;
    let minutes = Minutes::of([&view.trace] as [&Trace; 1], overview.instant);
    let whole = minutes.whole();
    // One lost probe is an ordinary thing.
    let level = match view.last {
        Some(Record { outcome: Ok(_), .. }) => Level::Fine,
        Some(Record { times: 3.., .. }) => Level::Down,
        Some(_) | None => Level::Watch,
    };
    let level = level.as_str();
    put!(page; "<nav class=\"crumbs\" aria-label=\"Where this is\"><a href=\"/\">Overview</a> / <a href=\"/peer/" (path.peer)
        "\">" (path.peer) "</a> / " (path.target) " / " (path.kind) "</nav>\n<section class=\"banner l-" (level)
        "\" data-path=\"" (path) "\"><div><h1>" (path.kind.title()) " to " (path.target) " <span class=\"dim\">in " (path.peer)
        "</span></h1><p class=\"sentence\">");
    match view.last.map(|record| record.outcome) {
        Some(Ok(timings)) => put!(page; "Last probe: " (Latency(timings.total))),
        Some(Err(failure)) => {
            put!(page; "Last probe failed: <b class=\"bad\">" (failure) "</b>");
            if let Some(phase) = view.last.and_then(|record| record.failed_in) {
                put!(page; " in phase " (phase.as_str()));
            }
            if let Some(Record { times: times @ 2.., sent_at, .. }) = view.last {
                put!(page; ", " (times) " times since ");
                words::time(page, UnixMillis(sent_at / 1_000_000));
            }
        }
        None => put!(page; "No probe yet"),
    }
    put!(page; "</p></div><p class=\"asof\">");
    words::time(page, overview.at);
    put!(page; " UTC</p></section>\n<section class=\"card tall\" aria-labelledby=\"h-chart\"><h2 id=\"h-chart\">Last 5 minutes <small>"
        "bar = min\u{2013}max of 5 s, line = mean, bar from top = failed</small></h2><div class=\"chart\">");
    chart::draw(page, &minutes, 96);
    put!(page; "<p class=\"axis\"><span>");
    words::latency(page, whole.latency.map(|[_, _, most]| most));
    put!(page; "</span><span>0</span></p><p class=\"ticks\"><span>5 min ago</span><span>now</span></p></div><dl class=\"row\">");
    for (name, value) in ["Shortest", "Mean", "Longest"].into_iter().zip(spread(whole.latency)) {
        put!(page; "<div><dt>" (name) "</dt><dd>");
        words::latency(page, value);
        put!(page; "</dd></div>");
    }
    put!(page; "<div><dt>Lost</dt><dd>");
    match whole.loss() {
        Some(loss) => put!(page; (whole.lost) " of " (whole.answered + whole.lost) " (" (Percent(loss)) ")"),
        None => words::none(page),
    }
    put!(page; "</dd></div>");
    if let Some((failure, at)) = view.last_failure() {
        put!(page; "<div><dt>Last failure</dt><dd>" (failure) " ");
        words::time(page, at);
        put!(page; "</dd></div>");
    }
    if let Some((_, probe)) = overview.config.paths().find(|(other, _)| other == path) {
        put!(page; "<div><dt>Host</dt><dd>" (probe.host) "</dd></div><div><dt>Interval</dt><dd>" (words::Round(probe.cadence.interval()))
            "</dd></div><div><dt>Timeout</dt><dd>" (words::Round(probe.cadence.timeout())) "</dd></div>");
    }
    put!(page; "</dl></section>\n");
    probes(page, records);
}

fn spread(latency: Option<[Duration; 3]>) -> [Option<Duration>; 3] {
    latency.map_or([None; 3], |each| each.map(Some))
}

/// The probes that are remembered, the newest first.
fn probes(page: &mut Html, records: &[Record]) {
    let mut usual = Phases::default();
    for record in records {
        if let Ok(timings) = record.outcome {
            timings.phases.iter().for_each(|(phase, _)| usual.0[phase as usize] = true);
        }
    }
    let longest = records.iter().filter_map(|record| record.outcome.ok()).map(|timings| timings.total).max();
    put!(page; "<div class=\"scroll card\" id=\"probes\" tabindex=\"0\" role=\"region\" aria-label=\"Last probes\">\
        <table class=\"probes\" data-probes><caption>Last probes <small>repeated failures are grouped</small></caption>\
        <thead><tr><th scope=\"col\">Sent (UTC)</th><th scope=\"col\">Result</th><th scope=\"col\" class=\"n\">Latency</th>\
        <th scope=\"col\">Phases</th><th scope=\"col\">In numbers</th><th scope=\"col\">Clock</th></tr></thead><tbody>\n");
    if records.is_empty() {
        put!(page; "<tr><td colspan=\"6\">No probe has completed yet.</td></tr>\n");
    }
    for record in records.iter().rev() {
        probe(page, record, longest.unwrap_or_default(), &usual);
    }
    put!(page; "</tbody></table></div>\n");
}

/// The phases that probes of a path have when they succeed.
#[derive(Default)]
struct Phases([bool; Phase::ALL.len()]);

/// How far a failed probe came: the phases before, the one in which it failed, and those it did not reach. How long they
/// took is not known: a failure has no duration.
fn failed(page: &mut Html, failure: Failure, phase: Phase, usual: &Phases) {
    let phases: Vec<_> = Phase::ALL.into_iter().filter(|it| usual.0[*it as usize] || *it == phase).collect();
    let width = 200 / phases.len().max(1);
    // The answer came as a whole, and was not what was expected.
    let answered = matches!(failure, Failure::Status | Failure::Mismatch | Failure::Auth);
    put!(page; "<svg class=\"phases\" viewBox=\"0 0 200 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    for (n, other) in phases.iter().enumerate() {
        put!(page; "<rect x=\"" (n * width) "\" width=\"" (width - 2) "\" height=\"8\" class=\"");
        match other.cmp(&phase) {
            Ordering::Less => put!(page; "passed ph-" (other.as_str())),
            Ordering::Equal => put!(page; "failed"),
            Ordering::Greater => put!(page; "unreached"),
        }
        put!(page; "\"/>");
    }
    put!(page; "</svg></td><td class=\"numbers\">");
    for other in phases {
        match other.cmp(&phase) {
            Ordering::Less => put!(page; "<span>" (other.as_str()) " \u{2713}</span>"),
            Ordering::Equal if answered => put!(page; "<span><b class=\"bad\">" (failure) " in the answer</b></span>"),
            Ordering::Equal => {
                put!(page; "<span><b class=\"bad\">" (failure) " in " (phase.as_str()) "</b></span>");
            }
            Ordering::Greater => put!(page; "<span class=\"dim\">" (other.as_str()) " not reached</span>"),
        }
    }
}

fn probe(page: &mut Html, record: &Record, longest: Duration, usual: &Phases) {
    let time = |sent_at: u64| (Utc(sent_at), Clock(UnixMillis(sent_at / 1_000_000)), sent_at / 1_000_000 % 1_000);
    let (exact, clock, millis) = time(record.sent_at);
    put!(page; "<tr id=\"p" (record.sent_at) "\" data-result=\"" (record.outcome.map_or_else(|failure| failure.as_str(), |_| "ok"))
        "\"><th scope=\"row\"><time datetime=\"" (exact) "\">" (clock) "."
        (format_args!("{millis:03}")) "</time>");
    if record.times > 1 {
        let (exact, clock, millis) = time(record.last_sent_at);
        put!(page; "<span class=\"sub\">to <time datetime=\"" (exact) "\">" (clock) "." (format_args!("{millis:03}"))
            "</time></span>");
    }
    put!(page; "</th><td>");
    match &record.outcome {
        Ok(timings) => {
            put!(page; "ok</td><td class=\"n\">" (Latency(timings.total)) "</td><td>");
            put!(page; "<svg class=\"phases\" viewBox=\"0 0 200 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
            let scale = |time: Duration| time.as_nanos() * 200 / longest.as_nanos().max(1);
            let mut x = 0;
            for (phase, time) in timings.phases.iter() {
                let width = scale(time).max(1);
                put!(page; "<rect class=\"ph-" (phase.as_str()) "\" x=\"" (x) "\" width=\"" (width) "\" height=\"8\"/>");
                x += width;
            }
            put!(page; "</svg></td><td class=\"numbers\">");
            for (phase, time) in timings.phases.iter() {
                put!(page; "<span><i class=\"ph-" (phase.as_str()) "\"></i>" (phase.as_str()) " " (Latency(time)) "</span>");
            }
            put!(page; "</td><td class=\"dim\">" (timings.source.as_str()) "</td></tr>\n");
        }
        Err(failure) => {
            put!(page; "<b class=\"bad\">" (failure) "</b>");
            if record.times > 1 {
                put!(page; " <span class=\"times\">\u{d7} " (record.times) "</span>");
            }
            put!(page; "</td><td class=\"n\">");
            words::none(page);
            put!(page; "</td><td>");
            match record.failed_in {
                Some(phase) => failed(page, *failure, phase, usual),
                None => put!(page; "</td><td>"),
            }
            put!(page; "</td><td></td></tr>\n");
        }
    }
}
