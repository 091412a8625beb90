//! The files that reports are written to.

use std::{
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use super::super::report::{failed, print};
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

/// Why a run fails although nothing is broken.
pub(crate) const NO_SUCCESS: &str = "no probe of any region succeeded; the column FAILED has the reasons";

/// Writes the reports to the files and to standard output, after the samples were saved or not. A report that cannot be written
/// keeps no other from being written.
///
/// # Errors
/// The first error. The other ones are printed here.
pub(crate) fn publish(
    saved: Result<(), String>,
    outputs: &[Output],
    format: Format,
    text: impl Fn(Format, Colors) -> String,
) -> Result<(), String> {
    let mut errors = Vec::from_iter(saved.err());
    errors.extend(outputs.iter().filter_map(|output| output.write(|format| text(format, Colors::Off)).err()));
    errors.extend(print(&text(format, colors())).err().map(|error| format!("stdout: {error}")));
    let mut errors = errors.into_iter();
    let first = errors.next();
    for other in errors {
        let _ = failed(other);
    }
    first.map_or(Ok(()), Err)
}

/// Tries whether a file can be written, and leaves everything as it was.
pub(crate) fn try_to_write(file: &Path) -> io::Result<()> {
    // A link to a file that does not exist yet is not new.
    let is_new = fs::symlink_metadata(file).is_err();
    fs::OpenOptions::new().append(true).create(true).open(file)?;
    if is_new { fs::remove_file(file) } else { Ok(()) }
}

/// Writes a file as a whole: a disk that is full leaves what was there before.
pub(crate) fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let Some(old) = fs::symlink_metadata(file).ok().filter(fs::Metadata::is_file) else {
        return fs::write(file, content);
    };
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let written = fs::write(&beside, content)
        .and_then(|()| fs::set_permissions(&beside, old.permissions()))
        .and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

impl Output {
    /// Reports a file that cannot be written before anything is measured.
    pub(crate) fn check(&self) -> Result<(), String> {
        try_to_write(&self.file)
            .map_err(|error| format!("--out {}: {error}; name a file that can be written", self.file.display()))
    }

    /// Writes the text that a report has in its format.
    pub(crate) fn write(&self, text: impl FnOnce(Format) -> String) -> Result<(), String> {
        replace(&self.file, text(self.format).as_bytes())
            .map_err(|error| format!("--out {}: {error}", self.file.display()))
    }

    /// The format of its report.
    pub(crate) const fn format(&self) -> Format {
        self.format
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("samples.json");
        try_to_write(&file).unwrap();
        assert!(!file.exists());
        fs::write(&file, "old").unwrap();
        try_to_write(&file).unwrap();
        // The file beside it cannot be made: a folder has its name.
        let beside = folder.path().join(format!("samples.json.{}.tmp", std::process::id()));
        fs::create_dir(&beside).unwrap();
        assert!(replace(&file, b"new").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        fs::remove_dir(&beside).unwrap();
        replace(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(folder.path().join("later.json"), &link).unwrap();
        try_to_write(&link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // What is no regular file stays what it is.
        replace(Path::new("/dev/null"), b"new").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

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
