//! Tables for a comment on a pull request.

use std::fmt::Write as _;

use super::{
    content::Report,
    grid::{self, Column, Tone},
    notes,
};

/// The report as Markdown, in the dialect of GitHub.
pub(super) fn write(report: &Report<'_>) -> String {
    let mut text = format!("### Latency by {}\n\n{}\n", report.subject, notes::headline(report));
    for ranking in &report.rankings {
        if let Some(probe) = &ranking.probe {
            let _ = write!(text, "\n**{}**\n", markdown_escaped(probe));
        }
        markdown_table(&mut text, &grid::ranking(ranking, report.subject));
        markdown_table(&mut text, &grid::phases(ranking));
    }
    markdown_table(&mut text, &grid::check_columns(report.gate));
    let _ = writeln!(text, "\n{}", notes::legend());
    for note in notes::notes(report) {
        let _ = writeln!(text, "\n{}", markdown_escaped(&note));
    }
    text
}

/// Appends a table, unless it has no rows.
pub(crate) fn markdown_table(text: &mut String, columns: &[Column]) {
    let rows = columns.first().map_or(0, |column| column.cells.len());
    if rows == 0 {
        return;
    }
    text.push('\n');
    let mut line = |cells: Vec<String>| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(columns.iter().map(|column| column.head.to_string()).collect());
    line(columns.iter().map(|column| if column.is_number { "---:" } else { "---" }.to_owned()).collect());
    for row in 0..rows {
        line(columns.iter().map(|column| cell(&column.cells[row])).collect());
    }
}

fn cell((text, tone): &(String, Tone)) -> String {
    let text = markdown_escaped(text);
    if *tone == Tone::Good { format!("**{text}**") } else { text }
}

/// A text from outside, in which nothing is markup.
pub(crate) fn markdown_escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            matches!(c, '\\' | '`' | '*' | '_' | '|' | '<' | '>' | '[' | ']' | '&' | '#' | '@')
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect()
}
