//! Lines of bounded length.

use std::io::{BufRead, Read};

use super::fault::{Fault, Parsed};

/// The longest line.
const MAX_LINE: u64 = 1 << 20;

/// The lines of a file, with their numbers.
pub(super) struct Lines<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: 0, buffer: Vec::new() }
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.line
    }

    /// The next line, without its end; bytes that are not UTF-8 are replaced.
    pub(super) fn next(&mut self) -> Parsed<Option<String>> {
        self.line += 1;
        self.buffer.clear();
        let read = self.input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut self.buffer);
        let read =
            read.map_err(|error| Fault::new(self.line, format!("cannot be read: {error}; save the file again")))?;
        if read as u64 > MAX_LINE {
            return Err(Fault::new(self.line, "is longer than 1 MiB; name a file with results of JMeter or k6"));
        }
        let line = String::from_utf8_lossy(&self.buffer);
        let line = line.trim_end_matches(['\n', '\r']);
        Ok((read > 0).then(|| line.to_owned()))
    }
}
