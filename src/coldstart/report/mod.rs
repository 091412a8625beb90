//! Reports: one comparison in the formats of `bench`.

mod content;
mod grid;
mod json;
mod notes;
mod smaller;

use std::{collections::BTreeMap, fmt::Write as _};

pub use self::content::Report;
use crate::bench::{
    self, Colors, Format, Subject, Value, check_columns, markdown_escaped, markdown_table, spreadsheet_cell, text_table,
};

impl Report<'_> {
    /// The text in a format. Only a table has colors.
    pub fn text(&self, format: Format, colors: Colors) -> String {
        match format {
            Format::Table => self.table(colors),
            Format::Markdown => self.markdown(),
            Format::Json => json::write(self),
            Format::Csv => self.csv(),
            // What these contain is that of every measurement: cases, samples.
            Format::Junit | Format::Jtl | Format::Html => {
                let report = bench::Report::new(&self.comparison.results, &BTreeMap::new()).about(Subject::Image);
                let report = match self.gate {
                    Some(gate) => report.with(gate),
                    None => report,
                };
                report.text(format, colors)
            }
        }
    }

    fn table(&self, colors: Colors) -> String {
        let mut text = format!("{}\n\n", notes::headline(self));
        for columns in [grid::ranking(self), grid::steps(self), check_columns(self.gate)] {
            if columns.first().is_some_and(|column| !column.cells.is_empty()) {
                text_table(&mut text, &columns, colors);
                text.push('\n');
            }
        }
        let _ = writeln!(text, "{}", notes::LEGEND);
        for note in notes::notes(self) {
            let _ = writeln!(text, "{note}");
        }
        let changes = notes::changes(self);
        if !changes.is_empty() {
            let _ = writeln!(text, "\nWhat to change:");
        }
        for change in changes {
            let _ = writeln!(text, "- {change}");
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = format!("### Cold starts\n\n{}\n", markdown_escaped(&notes::headline(self)));
        for columns in [grid::ranking(self), grid::steps(self), check_columns(self.gate)] {
            markdown_table(&mut text, &columns);
        }
        let _ = writeln!(text, "\n{}", notes::LEGEND);
        for note in notes::notes(self) {
            let _ = writeln!(text, "\n{}", markdown_escaped(&note));
        }
        let changes = notes::changes(self);
        if !changes.is_empty() {
            let _ = writeln!(text, "\n**What to change**\n");
        }
        for change in changes {
            let _ = writeln!(text, "- {}", markdown_escaped(&change));
        }
        text
    }

    /// A line per image, for spreadsheets. The null image has no ranks.
    fn csv(&self) -> String {
        let mut text = "image,rank_best,rank_worst,ready_ms,ready_low_ms,ready_high_ms,behind_ms,behind_low_ms,\
                        behind_high_ms,p95_ms,create_ms,start_ms,listen_ms,answer_ms,first_100_p99_ms,pull_ms,pull_bytes,size_bytes,layers,\
                        starts,failed\r\n"
            .to_owned();
        for row in self.rows() {
            let ms = |seconds: Option<f64>| seconds.map(|seconds| format!("{:.6}", seconds * 1e3)).unwrap_or_default();
            let mut cells = vec![spreadsheet_cell(&row.name)];
            let rank = |of: fn((usize, usize)) -> usize| row.rank.map(|rank| of(rank).to_string()).unwrap_or_default();
            cells.extend([rank(|(best, _)| best), rank(|(_, worst)| worst)]);
            for median in [row.median, row.behind] {
                if row.is_censored {
                    // A failure is no number: the lower end alone is known.
                    cells.extend([String::new(), ms(median.map(|median| median.value)), String::new()]);
                    continue;
                }
                cells.extend([
                    ms(median.map(|median| median.value)),
                    ms(median.and_then(|median| median.low)),
                    ms(median.and_then(|median| median.high)),
                ]);
            }
            cells.push(ms(row.p95.and_then(Value::exact).map(|p95| p95.as_secs_f64())));
            cells.extend(row.steps.iter().map(|step| ms(*step)));
            cells.push(ms(row.next.and_then(|next| next.p99.exact()).map(|p99| p99.as_secs_f64())));
            cells.push(ms(row.pull));
            cells.push(row.image.pull.map(|pull| pull.packed.to_string()).unwrap_or_default());
            cells.extend([row.image.size, row.image.layers as u64].map(|number| number.to_string()));
            cells.extend([row.image.starts.len(), row.failed()].map(|number| number.to_string()));
            let _ = write!(text, "{}\r\n", cells.join(","));
        }
        text
    }
}

#[cfg(test)]
mod tests;
