//! Tables for a terminal.

use std::fmt::Write as _;

use super::{
    content::Report,
    format::Colors,
    grid::{self, Column, Tone},
    notes,
};

/// The report as text.
pub(super) fn write(report: &Report<'_>, colors: Colors) -> String {
    let mut text = format!("{}\n", notes::headline(report));
    for ranking in &report.rankings {
        let _ = write!(text, "\n{}\n", ranking.probe.as_deref().map_or_else(|| "all".to_owned(), grid::printable));
        text_table(&mut text, &grid::ranking(ranking, report.subject), colors);
        let phases = grid::phases(ranking);
        if !phases.is_empty() {
            text.push('\n');
            text_table(&mut text, &phases, colors);
        }
    }
    let checks = grid::check_columns(report.gate);
    if !checks.is_empty() {
        text.push('\n');
        text_table(&mut text, &checks, colors);
    }
    let _ = writeln!(text, "\n{}", notes::legend());
    for note in notes::notes(report) {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// Appends a table whose columns are as wide as their longest cell, without spaces at the end of a line.
pub(crate) fn text_table(text: &mut String, columns: &[Column], colors: Colors) {
    let widths: Vec<_> = columns
        .iter()
        .map(|column| column.cells.iter().map(|(cell, _)| cell.chars().count()).chain([column.head.len()]).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut line = |cells: &mut dyn Iterator<Item = (String, Tone)>| {
        let mut spaces = 0;
        for ((cell, tone), (column, width)) in cells.zip(columns.iter().zip(&widths)) {
            let free = width - cell.chars().count();
            let (before, after) = if column.is_number { (free, 0) } else { (0, free) };
            let _ = write!(text, "{:1$}", "", spaces + before);
            let _ = match (tone, colors) {
                (Tone::Good, Colors::On) => write!(text, "\x1b[32m{cell}\x1b[0m"),
                (Tone::Bad, Colors::On) => write!(text, "\x1b[31m{cell}\x1b[0m"),
                _ => write!(text, "{cell}"),
            };
            spaces = after + 2;
        }
        text.push('\n');
    };
    line(&mut columns.iter().map(|column| (column.head.to_uppercase(), Tone::Plain)));
    let rows = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        line(&mut columns.iter().map(|column| column.cells[row].clone()));
    }
}
