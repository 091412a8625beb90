//! One path: its last minutes, and its last probes with their phases.

use std::{cmp::Ordering, time::Duration};

use bytes::Bytes;
use maud::{Markup, html};

use super::{
    chart::{ChartData, chart},
    document::{About, page},
    parts,
};
use crate::{
    model::{Failure, LabelSet, Phase, Timings, UnixMillis, Utc},
    status::{Overview, PathView, Severity, format},
    window::Record,
};

/// The width of a probe's phases, in units of the drawing.
const WIDTH: usize = 200;

/// `/path/PEER/TARGET/PROBE`, with the last probes.
pub(crate) fn path(about: About<'_>, overview: &Overview, view: &PathView, records: &[Record]) -> Bytes {
    let path = &view.path;
    let severity = Severity::from(view).as_str();
    let main = html! {
        nav.crumbs aria-label="Breadcrumbs" {
            a href="/" { "Overview" } " / " (parts::peer_link(&path.peer)) " / " (path.target) " / " (path.kind)
        }
        section class={ "banner l-" (severity) } data-path=(path) {
            div {
                h1 { (path.kind.title()) " to " (path.target) " " span.dim { "in " (path.peer) } }
                p.sentence { (last(view.last.as_ref(), overview.at)) }
            }
            (parts::as_of(overview.at))
        }
        (minutes(overview, view))
        (probes(records, overview.at))
    };
    page(about, overview, &path.to_string(), "", true, main)
}

fn last(record: Option<&Record>, now: UnixMillis) -> Markup {
    let Some(record) = record else { return html! { "No probe yet" } };
    html! {
        @match record.outcome {
            Ok(timings) => {
                "Last probe: " (format::latency(timings.total))
                @if let Some(detail) = record.failed.detail { ", but " (detail) }
            },
            Err(failure) => {
                "Last probe failed: " (parts::bad(failure.as_str()))
                " " (record.failed)
                @if record.times > 1 { ", " (record.times) " times since " (parts::time(millis(record.sent_at), now)) }
            }
        }
    }
}

fn minutes(overview: &Overview, view: &PathView) -> Markup {
    let data = ChartData::of([&view.trace], overview.instant);
    let totals = data.totals();
    let spread = totals.latency.map_or([None; 3], |latency| latency.map(Some));
    let failed =
        totals.loss().map(|loss| format!("{} of {} ({})", totals.lost, totals.probes(), format::percent(loss)));
    let mut facts: Vec<_> = ["Min", "Mean", "Max"].into_iter().zip(spread.map(parts::latency)).collect();
    facts.push(("Failed", parts::value(failed)));
    let failure = view.last_failure().map(|(failure, at)| html! { (failure) " " (parts::time(at, overview.at)) });
    facts.extend(failure.map(|failure| ("Last failure", failure)));
    if let Some((_, probe)) = overview.config.paths().find(|(other, _)| *other == view.path) {
        facts.push(("Host", html! { (probe.host) }));
        facts.push(("Interval", html! { (format::setting(probe.cadence.interval())) }));
        facts.push(("Timeout", html! { (format::setting(probe.cadence.timeout())) }));
    }
    html! {
        section.card.tall aria-labelledby="h-chart" {
            h2 #h-chart { "Last 5 minutes " small { "bar = min\u{2013}max of 5 s, line = mean, bar from top = failed" } }
            div.chart {
                (chart(&data, 96))
                p.axis { span { (parts::latency(spread[2])) } span { "0" } }
                p.ticks { span { "5 min ago" } span { "now" } }
            }
            dl.row { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
        }
    }
}

/// The last probes, the newest first.
fn probes(records: &[Record], now: UnixMillis) -> Markup {
    let succeeded = || records.iter().filter_map(|record| record.outcome.ok());
    let usual =
        LabelSet::of(succeeded().flat_map(|timings| timings.phases.iter().map(|(phase, _)| phase).collect::<Vec<_>>()));
    let longest = succeeded().map(|timings| timings.total).max().unwrap_or_default();
    let columns = [
        ("", "Sent (UTC)", ""),
        ("", "Result", ""),
        ("n", "Latency", ""),
        ("", "Phases", ""),
        ("", "Timings", ""),
        ("", "Clock", ""),
    ];
    let empty = records.is_empty().then(|| html! { tr { td colspan="6" { "No probe has completed yet." } } });
    let rows = records.iter().rev().map(|record| probe(record, (longest, usual), now)).chain(empty);
    let caption = html! { "Last probes " small { "repeated failures are grouped" } };
    parts::table("probes", "Last probes", Some(&caption), &columns, rows)
}

fn probe(record: &Record, (longest, usual): (Duration, LabelSet<Phase>), now: UnixMillis) -> Markup {
    let result = record.outcome.map_or_else(|failure| failure.as_str(), |_| "ok");
    html! {
        tr id={ "p" (record.sent_at) } data-result=(result) {
            th scope="row" {
                (exact_time(record.sent_at, now))
                @if record.times > 1 { span.sub { "to " (exact_time(record.last_sent_at, now)) } }
            }
            @match &record.outcome {
                Ok(timings) => {
                    td {
                        "ok"
                        @if let Some(detail) = record.failed.detail { span.sub { (detail) } }
                    }
                    td.n { (format::latency(timings.total)) }
                    (passed_phases(timings, longest))
                    td.dim { (timings.source) }
                }
                Err(failure) => {
                    td {
                        (parts::bad(failure.as_str()))
                        @if record.times > 1 { " " span.times { "\u{d7} " (record.times) } }
                        @if let Some(detail) = record.failed.detail { span.sub { (detail) } }
                    }
                    td.n { (parts::dash("no data")) }
                    @match record.failed.phase {
                        Some(phase) => (failed_phases(*failure, phase, usual)),
                        None => { td {} td {} },
                    }
                    td {}
                }
            }
        }
    }
}

/// The phases of a successful probe, by how long they took.
fn passed_phases(timings: &Timings, longest: Duration) -> Markup {
    let width = |time: Duration| (time.as_nanos() * WIDTH as u128 / longest.as_nanos().max(1)).max(1);
    let mut end = 0;
    let bars = timings.phases.iter().map(|(phase, time)| {
        let (x, width) = (end, width(time));
        end += width;
        html! { rect class={ "ph-" (phase) } x=(x) width=(width) height="8" {} }
    });
    let bars = parts::join(bars, "");
    html! {
        td { (drawing(&bars)) }
        td.numbers {
            @for (phase, time) in timings.phases.iter() {
                span { i class={ "ph-" (phase) } {} (phase) " " (format::latency(time)) }
            }
        }
    }
}

/// The phases of a failed probe: those it passed, the one in which it failed, and those it did not reach. How long they
/// took is not known: a failure has no duration.
fn failed_phases(failure: Failure, failed: Phase, usual: LabelSet<Phase>) -> Markup {
    let phases = Phase::ALL.iter().copied().filter(|phase| usual.contains(*phase) || *phase == failed);
    let phases: Vec<_> = phases.collect();
    let width = WIDTH / phases.len();
    let bars = phases.iter().enumerate().map(|(n, phase)| {
        let class = match phase.cmp(&failed) {
            Ordering::Less => format!("passed ph-{phase}"),
            Ordering::Equal => "failed".to_owned(),
            Ordering::Greater => "unreached".to_owned(),
        };
        html! { rect x=(n * width) width=(width - 2) height="8" class=(class) {} }
    });
    // The whole answer arrived, and was not the expected one.
    let answered = matches!(failure, Failure::Status | Failure::Mismatch | Failure::Empty | Failure::Auth);
    html! {
        td { (drawing(&parts::join(bars, ""))) }
        td.numbers {
            @for phase in &phases {
                @match phase.cmp(&failed) {
                    Ordering::Less => span { (phase) " \u{2713}" },
                    Ordering::Equal if answered => span { (parts::bad(&format!("{failure} in the answer"))) },
                    Ordering::Equal => span { (parts::bad(&format!("{failure} in {failed}"))) },
                    Ordering::Greater => span.dim { (phase) " not reached" },
                }
            }
        }
    }
}

fn drawing(bars: &Markup) -> Markup {
    html! { svg.phases viewBox={ "0 0 " (WIDTH) " 8" } preserveAspectRatio="none" aria-hidden="true" { (bars) } }
}

fn exact_time(nanos: u64, now: UnixMillis) -> Markup {
    let at = millis(nanos);
    html! { time datetime=(Utc(nanos)) { (format::moment(at, now)) (format!(".{:03}", at.0 % 1_000)) } }
}

fn millis(nanos: u64) -> UnixMillis {
    UnixMillis(nanos / 1_000_000)
}
