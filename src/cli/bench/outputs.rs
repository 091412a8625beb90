//! The files that reports are written to.

use std::{
    fs,
    io::{self, IsTerminal},
    path::PathBuf,
};

use crate::{
    bench::{Colors, Format},
    yaml::diagnostics::one_of,
};

/// A file and the format of its report.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    format: Format,
    file: PathBuf,
}

/// The names of all formats, for an error.
pub(crate) fn formats() -> String {
    one_of(&Format::ALL.map(Format::as_str))
}

/// Reads the name of a format.
pub(crate) fn format(text: &str) -> Result<Format, String> {
    Format::parse(text).ok_or_else(|| format!("is not a format; write {}", formats()))
}

/// Whether the report on standard output has colors.
pub(crate) fn colors() -> Colors {
    if io::stdout().is_terminal() && shows_colors() { Colors::On } else { Colors::Off }
}

/// See <https://no-color.org>.
fn shows_colors() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Reads `FORMAT=FILE`, or a file whose extension is its format.
pub(crate) fn output(text: &str) -> Result<Output, String> {
    let named = text.split_once('=').and_then(|(format, file)| Some((Format::parse(format)?, file)));
    let (format, file) = match named {
        Some((format, file)) => (Some(format), file),
        None => (Format::of_file(text), text),
    };
    match format {
        Some(format) if !file.is_empty() => Ok(Output { format, file: file.into() }),
        Some(_) => Err("has no file; write one such as json=report.json".to_owned()),
        None => Err(format!("has no known extension; write FORMAT=FILE, where FORMAT is {}", formats())),
    }
}

impl Output {
    /// Reports a file that cannot be written before anything is measured.
    pub(crate) fn check(&self) -> Result<(), String> {
        let opened = fs::OpenOptions::new().append(true).create(true).open(&self.file);
        opened
            .map(drop)
            .map_err(|error| format!("--out {}: {error}; name a file that can be written", self.file.display()))
    }

    /// Writes the text that a report has in its format.
    pub(crate) fn write(&self, text: impl FnOnce(Format) -> String) -> Result<(), String> {
        let written = fs::write(&self.file, text(self.format));
        written.map_err(|error| format!("--out {}: {error}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_named_or_that_of_the_extension() {
        for (text, format, file) in [
            ("a.json", Format::Json, "a.json"),
            ("csv=a.json", Format::Csv, "a.json"),
            ("x=y.md", Format::Markdown, "x=y.md"),
            ("table=-", Format::Table, "-"),
        ] {
            let output = output(text).unwrap();
            assert_eq!((output.format, output.file.to_str().unwrap()), (format, file), "{text}");
        }
        for (text, told) in
            [("a", "write FORMAT=FILE, where FORMAT is"), ("a.exe", "no known extension"), ("json=", "no file")]
        {
            assert!(output(text).unwrap_err().contains(told), "{text}");
        }
    }
}
