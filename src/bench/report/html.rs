//! One page with charts, that needs nothing from outside: for an artifact of a pipeline, or a mail.
//!
//! Each region has a row in each chart, so that fifty are as easy to compare as two, and no colors have to be matched.

use std::time::SystemTime;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    charts,
    content::Report,
    grid::{self, Column, Tone},
    notes,
};
use crate::{
    bench::{Ranking, Series},
    model::UnixMillis,
};

const STYLE: &str = include_str!("html.css");

/// The report as a page.
pub(super) fn write(report: &Report<'_>) -> String {
    let began = report.results.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let began = UnixMillis(u64::try_from(began.as_millis()).unwrap_or_default());
    let headline = notes::headline(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Whatever a name from outside has in it, nothing is loaded and nothing runs.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "Latency by " (report.subject.as_str()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Latency by " (report.subject.as_str()) }
                    p { (headline) " from " (grid::printable(&report.results.source)) ", begun " (began) }
                }
                main.report {
                    @let checks = grid::check_columns(report.gate);
                    @if !checks.is_empty() {
                        section { h2 { "Checks" } (table("checks", &checks)) }
                    }
                    @for ranking in &report.rankings { (section(report, ranking)) }
                    footer {
                        p { (notes::legend()) }
                        @for note in notes::notes(report) { p { (note) } }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn section(report: &Report<'_>, ranking: &Ranking) -> Markup {
    let probe = ranking.probe.as_deref().map_or_else(|| "all".to_owned(), grid::printable);
    let rows: Vec<(&str, Vec<&Series>)> = ranking
        .regions
        .iter()
        .map(|ranked| {
            let is_its =
                |series: &&Series| series.region == ranked.region && series.tag("probe") == ranking.probe.as_deref();
            (ranked.region.as_str(), report.results.series.iter().filter(is_its).collect())
        })
        .collect();
    html! {
        section {
            h2 { (probe) }
            (table(&probe, &grid::ranking(ranking, report.subject)))
            (charts::distribution(&rows))
            (charts::time_line(&rows, report.results.duration))
            @if !grid::phases(ranking).is_empty() {
                (charts::phases(&ranking.regions))
                (table(&format!("{probe} phases"), &grid::phases(ranking)))
            }
        }
    }
}

fn table(name: &str, columns: &[Column]) -> Markup {
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let tone = |tone: Tone| match tone {
        Tone::Plain => None,
        Tone::Good => Some("good"),
        Tone::Bad => Some("bad"),
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(name) {
            table {
                thead { tr { @for column in columns { th.number[column.is_number] scope="col" { (column.head) } } } }
                tbody {
                    @for row in 0..rows {
                        tr {
                            @for column in columns {
                                @let (text, of) = &column.cells[row];
                                td.number[column.is_number] { span class=[tone(*of)] { (text) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
