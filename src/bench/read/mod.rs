//! The results of load tests: JMeter's JTL (CSV and XML), k6's NDJSON and summaries, and what [`saved`] wrote.
//!
//! A file is read as a stream: memory does not grow with it. Nothing in it is trusted.
//!
//! [`saved`]: super::saved

mod collect;
mod csv;
mod fault;
mod k6;
mod lines;
mod reasons;
mod summary;
#[cfg(test)]
mod tests;
mod xml;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use self::{
    collect::Collector,
    fault::{Fault, Parsed},
    lines::Lines,
};
pub use self::{
    collect::Grouping,
    fault::ReadError,
    summary::{Aggregates, Summary},
};
use super::{Results, saved};

/// What a file has.
#[derive(Debug, PartialEq)]
pub enum Judged {
    /// Samples.
    Samples(Results),
    /// k6's summary, which has aggregates alone.
    Summary(Summary),
}

/// What is read of a file to know its format.
const HEAD: usize = 8192;

/// The largest saved file, which is read as a whole.
const MAX_SAVED: u64 = 256 << 20;

/// The largest summary: as a tree it takes some 30 times as much memory.
const MAX_SUMMARY: u64 = 4 << 20;

/// Reads files, whose format it finds out, as one run.
///
/// # Errors
/// Where and why one cannot be read.
pub fn read(paths: &[PathBuf], grouping: &Grouping) -> Result<Judged, ReadError> {
    let mut collector = Collector::new(grouping.clone());
    for path in paths {
        let name = path.display().to_string();
        let in_file = |fault: Fault| fault.in_file(&name);
        if let Some(whole) = from(open(path).map_err(in_file)?, &mut collector).map_err(in_file)? {
            return match paths {
                [_] => Ok(whole),
                _ => Err(in_file(Fault::new(0, "is a summary, or was written by --save; judge it alone"))),
            };
        }
    }
    let names = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    collector.finish(&names).map(Judged::Samples).map_err(|fault| fault.in_file(&names))
}

fn open(path: &Path) -> Parsed<Box<dyn Read>> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Fault::new(0, "does not exist; name a file with results"),
        _ => Fault::new(0, format!("cannot be read: {error}; name a readable file")),
    };
    // A pipe could block, or never end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Fault::new(0, "is not a regular file; save the results in one"));
    }
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
    let is_gzip = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Reads a stream, whose format it finds out. Returns what is not a list of requests.
fn from(mut input: impl Read, collector: &mut Collector) -> Parsed<Option<Judged>> {
    let broken = |error: io::Error| Fault::new(0, format!("cannot be read to its end: {error}; save it again"));
    let mut head = Vec::new();
    input.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(broken)?;
    let format = format(&head)?;
    let mut input = BufReader::new(io::Cursor::new(head).chain(input));
    match format {
        Format::Csv => csv::read(Lines::new(input), collector)?,
        Format::Xml => xml::read(input, collector)?,
        Format::K6 => k6::read(Lines::new(input), collector)?,
        Format::Whole => {
            let is_saved = saved::is_saved(input.fill_buf().map_err(broken)?);
            let most = if is_saved { MAX_SAVED } else { MAX_SUMMARY };
            let mut bytes = Vec::new();
            input.by_ref().take(most + 1).read_to_end(&mut bytes).map_err(broken)?;
            if bytes.len() as u64 > most {
                let reason = format!("is larger than {} MiB; write k6's samples with --out json= instead", most >> 20);
                return Err(Fault::new(0, reason));
            }
            return if is_saved {
                let results = saved::read_saved(&bytes).map_err(|reason| Fault::new(0, reason))?;
                Ok(Some(Judged::Samples(results)))
            } else {
                Ok(Some(Judged::Summary(summary::read(&bytes)?)))
            };
        }
    }
    Ok(None)
}

enum Format {
    Csv,
    Xml,
    K6,
    /// One JSON object: a summary, or what we saved.
    Whole,
}

fn format(head: &[u8]) -> Parsed<Format> {
    let head = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head).trim_ascii_start();
    match head.first() {
        None => Err(Fault::new(0, "is empty; name a file with results")),
        Some(b'<') => Ok(Format::Xml),
        Some(b'{') => {
            // NDJSON has its first object on its first line.
            let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let is_line = k6::is_record(line);
            Ok(if is_line { Format::K6 } else { Format::Whole })
        }
        Some(_) => Ok(Format::Csv),
    }
}

/// For fuzzers: reads whatever it is.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let grouping = Grouping { region_by: None, tags: ["method".to_owned()].into() };
    let mut collector = Collector::new(grouping);
    if from(bytes, &mut collector).is_ok() {
        let _ = collector.finish("fuzz");
    }
}
