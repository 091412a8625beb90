//! Reports: one measurement in many formats.

mod charts;
mod content;
mod csv;
mod format;
mod grid;
mod html;
mod json;
mod jtl;
mod junit;
mod markdown;
mod notes;
mod table;
mod xml;

pub use self::{
    content::{Report, Subject},
    format::{Colors, Format},
};
pub(crate) use self::{
    csv::spreadsheet_cell,
    grid::{Column, Tone, check_columns, millis, printable},
    markdown::{markdown_escaped, markdown_table},
    table::text_table,
};

impl Report<'_> {
    /// The text in a format. Only a table has colors.
    pub fn text(&self, format: Format, colors: Colors) -> String {
        match format {
            Format::Table => table::write(self, colors),
            Format::Markdown => markdown::write(self),
            Format::Json => json::write(self),
            Format::Csv => csv::write(self),
            Format::Junit => junit::write(self),
            Format::Jtl => jtl::write(self),
            Format::Html => html::write(self),
        }
    }
}

#[cfg(test)]
mod tests;
