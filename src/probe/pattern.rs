//! Regular expressions of probes.

use crate::yaml::Parsed;

/// A regular expression with its source, so that it can be compared and printed.
#[derive(Debug, Clone)]
pub struct Pattern(regex_lite::Regex);

impl Pattern {
    /// The most memory that a compiled expression may take: `(a{1000}){1000}` is refused.
    const MAX_SIZE: usize = 1 << 20;

    /// Compiles the expression.
    ///
    /// # Errors
    /// The syntax error of the expression, or that it is too large.
    pub fn new(source: &str) -> Result<Self, regex_lite::Error> {
        regex_lite::RegexBuilder::new(source).size_limit(Self::MAX_SIZE).build().map(Self)
    }

    /// Whether the text has a match.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The expression.
    pub fn source(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

/// Reads a regular expression.
pub(super) fn parse(text: &str) -> Parsed<Pattern> {
    const MAX: usize = 4096;
    if text.len() > MAX {
        return Err(format!("is longer than {MAX} bytes; write a shorter regular expression"));
    }
    Pattern::new(text).map_err(|error| {
        format!("is not a regular expression ({error}); write one such as ok|ready, with \\( for a parenthesis")
    })
}
