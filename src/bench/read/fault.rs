//! Why a file was not read.

/// Why a file was not read: its place and the reason, with what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ReadError {
    /// The file, and the line where it is known.
    pub place: String,
    /// The reason; what to do instead.
    pub reason: String,
}

/// An error at a line of a file whose name is added later.
#[derive(Debug)]
pub(super) struct Fault {
    /// From 1; 0 is the file as a whole.
    pub(super) line: u64,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn new(line: u64, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }

    pub(super) fn in_file(self, name: &str) -> ReadError {
        let place = if self.line == 0 { name.to_owned() } else { format!("{name}:{}", self.line) };
        ReadError { place, reason: self.reason }
    }
}

pub(super) type Parsed<T> = Result<T, Fault>;
