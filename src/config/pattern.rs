//! Regular expressions of probes.

use super::types::Pattern;
use crate::yaml::Parsed;

/// A regular expression.
pub(super) fn pattern(text: &str) -> Parsed<Pattern> {
    const MAX: usize = 4096;
    if text.len() > MAX {
        return Err(format!("is longer than {MAX} bytes; write a shorter regular expression"));
    }
    Pattern::new(text).map_err(|error| {
        format!("is not a regular expression ({error}); write one such as ok|ready, with \\( for a bracket")
    })
}
