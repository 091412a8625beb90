//! The formats of a report.

use crate::model::labels;

labels! {
    /// The format of a report.
    pub enum Format {
        /// A table for a terminal.
        Table = "table",
        /// Tables for a comment on a pull request.
        Markdown = "markdown",
        /// Everything that was computed, for programs.
        Json = "json",
        /// A line per region and kind of probe, for spreadsheets.
        Csv = "csv",
        /// A case for each check, for a CI system.
        Junit = "junit",
        /// Every sample, for JMeter.
        Jtl = "jtl",
        /// One page with charts.
        Html = "html",
    }
}

impl Format {
    /// The format that the name of a file asks for.
    pub fn of_file(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "txt" => Some(Self::Table),
            "md" | "markdown" => Some(Self::Markdown),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "xml" => Some(Self::Junit),
            "jtl" => Some(Self::Jtl),
            "html" | "htm" => Some(Self::Html),
            _ => None,
        }
    }
}

/// Whether a text goes to a terminal that shows colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colors {
    /// It does.
    On,
    /// It does not.
    Off,
}
