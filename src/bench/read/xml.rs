//! JMeter's results as XML: a stream of elements, of which only the requests and their attributes matter.
//!
//! No entity but the five of XML itself is replaced, and a document type is rejected, so that nothing expands.

use std::{
    io::{self, BufRead, Read},
    time::Duration,
};

use super::{
    collect::{Collector, Request},
    csv::{millis, phases, timestamp},
    fault::{Fault, Parsed},
    reasons,
};

/// The longest tag; a URL is in an element of its own.
const MAX_TAG: usize = 1 << 20;

/// The deepest nesting: requests in transactions, and what belongs to them.
const MAX_DEPTH: usize = 64;

/// The elements that are requests.
const REQUESTS: [&str; 2] = ["httpSample", "sample"];

pub(super) fn read(input: impl BufRead, collector: &mut Collector) -> Parsed<()> {
    let mut tags = Tags { input, line: 1, tag: Vec::new() };
    let mut open = Vec::new();
    while let Some(tag) = tags.next()? {
        let line = tags.line;
        let tag = String::from_utf8_lossy(&tag).into_owned();
        if let Some(name) = tag.strip_prefix('/') {
            let name = name.trim();
            if open.pop().as_deref() != Some(name) {
                return Err(Fault::new(
                    line,
                    format!("</{name}> closes an element that is not open; save the results again"),
                ));
            }
            continue;
        }
        let (body, is_empty) = tag.strip_suffix('/').map_or((tag.as_str(), false), |body| (body, true));
        let (name, rest) = body.split_at(body.find(|c: char| c.is_whitespace()).unwrap_or(body.len()));
        if open.is_empty() && name != "testResults" {
            let reason = format!("begins with <{name}>; name a JTL file of JMeter, which begins with <testResults>");
            return Err(Fault::new(line, reason));
        }
        // A request inside of another is a part of it.
        if open.len() == 1 && REQUESTS.contains(&name) {
            add(rest, line, collector)?;
        }
        if !is_empty {
            if open.len() == MAX_DEPTH {
                return Err(Fault::new(line, "is nested too deeply; save the results without sub-results"));
            }
            open.push(name.to_owned());
        }
    }
    match open.last() {
        None => Ok(()),
        Some(name) => {
            Err(Fault::new(tags.line, format!("<{name}> is not closed; was the file cut off? Add </{name}>")))
        }
    }
}

/// The tags of a document, without `<` and `>`.
struct Tags<R> {
    input: R,
    line: u64,
    tag: Vec<u8>,
}

impl<R: BufRead> Tags<R> {
    fn next(&mut self) -> Parsed<Option<Vec<u8>>> {
        loop {
            if !self.skip_to_tag()? {
                return Ok(None);
            }
            self.tag.clear();
            self.read_to_bracket()?;
            if self.tag.starts_with(b"!--") {
                self.skip_until(b"--")?;
            } else if self.tag.starts_with(b"![CDATA[") {
                self.skip_until(b"]]")?;
            } else if self.tag.starts_with(b"!") {
                return Err(Fault::new(self.line, "has a document type; delete it"));
            } else if !self.tag.starts_with(b"?") {
                let mut quote = open_quote(None, &self.tag);
                while quote.is_some() {
                    let from = self.tag.len();
                    self.tag.push(b'>');
                    self.read_to_bracket()?;
                    quote = open_quote(quote, &self.tag[from..]);
                }
                return Ok(Some(std::mem::take(&mut self.tag)));
            }
        }
    }

    fn broken(&self, error: &io::Error) -> Fault {
        Fault::new(self.line, format!("cannot be read: {error}; save the file again"))
    }

    /// Skips text; false at the end of the file.
    fn skip_to_tag(&mut self) -> Parsed<bool> {
        loop {
            let buffer = self
                .input
                .fill_buf()
                .map_err(|error| Fault::new(self.line, format!("cannot be read: {error}; save the file again")))?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let found = buffer.iter().position(|byte| *byte == b'<');
            let used = found.map_or(buffer.len(), |at| at + 1);
            self.line += count_lines(&buffer[..used]);
            self.input.consume(used);
            if found.is_some() {
                return Ok(true);
            }
        }
    }

    /// Appends to the tag what comes before the next `>`.
    fn read_to_bracket(&mut self) -> Parsed<()> {
        let from = self.tag.len();
        let limit = (MAX_TAG + 1 - from.min(MAX_TAG)) as u64;
        let read = self.input.by_ref().take(limit).read_until(b'>', &mut self.tag);
        read.map_err(|error| self.broken(&error))?;
        self.line += count_lines(&self.tag[from..]);
        // At the end of the file nothing is appended, and what the tag has already may end in a bracket of a value.
        if self.tag.len() > from && self.tag.pop_if(|byte| *byte == b'>').is_some() {
            return Ok(());
        }
        let reason = match self.tag.len() >= MAX_TAG {
            true => "has a tag of more than 1 MiB; save the results again",
            false => "ends inside of a tag; was the file cut off? Delete the last request, and add </testResults>",
        };
        Err(Fault::new(self.line, reason))
    }

    /// Skips a comment or a section up to this end and `>`.
    fn skip_until(&mut self, end: &[u8]) -> Parsed<()> {
        // What begins it is not what ends it: `<!-->` is open.
        let mut start = if self.tag.starts_with(b"!--") { 3 } else { 8 };
        while !self.tag[start.min(self.tag.len())..].ends_with(end) {
            // Its end may be on both sides of a `>`.
            let keep = self.tag.len().saturating_sub(1).max(start.min(self.tag.len()));
            self.tag.drain(..keep);
            start = 0;
            self.tag.push(b'>');
            self.read_to_bracket()?;
        }
        Ok(())
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The quote that is open after a part of a tag: a value may have `>` in it.
fn open_quote(before: Option<u8>, part: &[u8]) -> Option<u8> {
    part.iter().fold(before, |open, byte| match (open, byte) {
        (None, b'"' | b'\'') => Some(*byte),
        (Some(quote), byte) if quote == *byte => None,
        (open, _) => open,
    })
}

/// The attributes of a tag, in order.
fn attributes(mut rest: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    while let Some((name, value)) = rest.split_once('=') {
        let value = value.trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else { break };
        let Some((value, after)) = value[1..].split_once(quote) else { break };
        found.push((name.trim(), unescaped(value)));
        rest = after;
    }
    found
}

/// A text whose references to characters are replaced.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let replaced = part.split_once(';').and_then(|(name, after)| Some((character(name)?, after)));
        match replaced {
            Some((c, after)) => {
                plain.push(c);
                plain.push_str(after);
            }
            None => {
                plain.push('&');
                plain.push_str(part);
            }
        }
    }
    plain
}

fn character(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            code.ok().and_then(char::from_u32)
        }
    }
}

fn add(rest: &str, line: u64, collector: &mut Collector) -> Parsed<()> {
    let attributes = attributes(rest);
    let get = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let number = |name: &str, what: &str, read: fn(&str) -> Option<Duration>| {
        let value = get(name).unwrap_or_default();
        read(value).ok_or_else(|| {
            Fault::new(line, format!("{name}={value:?} is not {what}; save the results again with every field"))
        })
    };
    let elapsed = number("t", "a number of milliseconds", millis)?;
    let at = number("ts", "a timestamp", timestamp)?;
    let is_ok = match get("s") {
        Some(success) => success == "true",
        None => {
            return Err(Fault::new(
                line,
                "a request has no s; run JMeter with -Jjmeter.save.saveservice.successful=true",
            ));
        }
    };
    let failure = || reasons::of_jmeter(get("rc").unwrap_or_default(), get("rm").unwrap_or_default());
    let phases =
        if is_ok { phases([get("ct"), get("lt")].map(|part| part.and_then(millis)), elapsed) } else { Vec::new() };
    // The names of the columns of a CSV file mean the same here.
    let short = |name: &str| match name {
        "label" => Some("lb"),
        "threadName" => Some("tn"),
        "responseCode" => Some("rc"),
        "responseMessage" => Some("rm"),
        "dataType" => Some("dt"),
        "Hostname" => Some("hn"),
        _ => None,
    };
    let tag = |name: &str| get(name).or_else(|| get(short(name)?)).map(str::to_owned);
    let request = Request {
        at,
        outcome: if is_ok { Ok(elapsed) } else { Err(failure()) },
        took: elapsed,
        tag: &tag,
        region: &|| get("lb").map(str::to_owned),
        phases: &phases,
    };
    collector.add(&request, line)
}
