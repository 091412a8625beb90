//! JMeter's results as CSV: one request per record, with or without a line of column names.

use std::{io::BufRead, time::Duration};

use super::{
    collect::{Collector, Request},
    fault::{Fault, Parsed},
    lines::Lines,
    reasons,
};
use crate::model::{Phase, UnixMillis};

/// The columns of JMeter 2.13, which writes no names by default.
const NAMELESS: [&str; 12] = [
    "timeStamp",
    "elapsed",
    "label",
    "responseCode",
    "responseMessage",
    "threadName",
    "dataType",
    "success",
    "bytes",
    "grpThreads",
    "allThreads",
    "Latency",
];

/// The columns of JMeter 3.0 and newer, where the names were switched off.
const NAMELESS_5: [&str; 17] = [
    "timeStamp",
    "elapsed",
    "label",
    "responseCode",
    "responseMessage",
    "threadName",
    "dataType",
    "success",
    "failureMessage",
    "bytes",
    "sentBytes",
    "grpThreads",
    "allThreads",
    "URL",
    "Latency",
    "IdleTime",
    "Connect",
];

const DELIMITERS: [char; 4] = [',', '\t', ';', '|'];

/// A record may go over several lines, because a message may.
const MAX_RECORD: usize = 1 << 20;

/// The most columns.
const MAX_COLUMNS: usize = 256;

pub(super) fn read(mut lines: Lines<impl BufRead>, collector: &mut Collector) -> Parsed<()> {
    let Some(first) = lines.next()? else { return Ok(()) };
    let first = first.trim_start_matches('\u{feff}').to_owned();
    let table = Table::of(&first)?;
    if !table.has_names {
        add(&table, &split(&first, table.delimiter), lines.number(), collector)?;
    }
    while let Some(mut record) = lines.next()? {
        let line = lines.number();
        let mut quotes = Quotes::new(table.delimiter);
        let mut is_open = quotes.are_open_after(&record);
        while is_open {
            let Some(more) = lines.next()? else {
                return Err(Fault::new(
                    line,
                    "has a quote that does not end; was the file cut off? Delete the last record",
                ));
            };
            record.push('\n');
            record.push_str(&more);
            is_open = quotes.are_open_after(&more);
            if record.len() > MAX_RECORD {
                return Err(Fault::new(
                    line,
                    "has a record of more than 1 MiB; save the results without response data",
                ));
            }
        }
        if !record.is_empty() {
            add(&table, &split(&record, table.delimiter), line, collector)?;
        }
    }
    Ok(())
}

struct Table {
    delimiter: char,
    columns: Vec<String>,
    has_names: bool,
    /// The places of what is always needed: `timeStamp`, `elapsed`, `success`.
    needed: [usize; 3],
}

impl Table {
    fn of(first: &str) -> Parsed<Self> {
        let count = |delimiter: &char| first.matches(*delimiter).count();
        let delimiter = DELIMITERS.into_iter().max_by_key(count).unwrap_or(',');
        let fields = split(first, delimiter);
        let is_number = fields.first().is_some_and(|field| field.len() >= 10 && field.parse::<u64>().is_ok());
        let columns = match (is_number, fields.len()) {
            (false, _) => fields,
            (true, 12) => NAMELESS.map(str::to_owned).to_vec(),
            (true, 17) => NAMELESS_5.map(str::to_owned).to_vec(),
            (true, columns) => {
                let reason = format!(
                    "has {columns} columns without names; run JMeter with -Jjmeter.save.saveservice.print_field_names=true"
                );
                return Err(Fault::new(1, reason));
            }
        };
        let column = |name: &str| {
            columns.iter().position(|column| column == name).ok_or_else(|| {
                let reason =
                    format!("has no column {name}; name a file with results of JMeter or k6, or save {name}, too");
                Fault::new(1, reason)
            })
        };
        let needed = [column("timeStamp")?, column("elapsed")?, column("success")?];
        Ok(Self { delimiter, columns, has_names: !is_number, needed })
    }
}

fn add(table: &Table, fields: &[String], line: u64, collector: &mut Collector) -> Parsed<()> {
    if fields.len() < table.columns.len() {
        let reason = format!(
            "has {} of {} columns; was the file cut off? Delete the last record",
            fields.len(),
            table.columns.len()
        );
        return Err(Fault::new(line, reason));
    }
    let get = |name: &str| {
        let at = table.columns.iter().position(|column| column == name)?;
        fields.get(at).map(String::as_str)
    };
    let [at, elapsed, success] = table.needed.map(|at| fields[at].as_str());
    let elapsed = millis(elapsed).ok_or_else(|| {
        Fault::new(line, format!("elapsed {elapsed:?} is not a number of milliseconds; save the results again"))
    })?;
    let at = timestamp(at).ok_or_else(|| {
        let reason = format!(
            "timeStamp {at:?} is not understood; run JMeter with -Jjmeter.save.saveservice.timestamp_format=ms"
        );
        Fault::new(line, reason)
    })?;
    let is_ok = success.eq_ignore_ascii_case("true");
    let failure =
        || reasons::of_jmeter(get("responseCode").unwrap_or_default(), get("responseMessage").unwrap_or_default());
    let parts = [get("Connect"), get("Latency")].map(|part| part.and_then(millis));
    let phases = if is_ok { phases(parts, elapsed) } else { Vec::new() };
    let request = Request {
        at,
        outcome: if is_ok { Ok(elapsed) } else { Err(failure()) },
        took: elapsed,
        tag: &|name| get(name).map(str::to_owned),
        region: &|| get("label").map(str::to_owned),
        phases: &phases,
    };
    collector.add(&request, line)
}

/// JMeter's `Connect` has the TLS handshake in it, and its `Latency` has `Connect` in it.
pub(super) fn phases([connect, latency]: [Option<Duration>; 2], elapsed: Duration) -> Vec<(Phase, Duration)> {
    let connect = connect.unwrap_or_default();
    let Some(latency) = latency.filter(|latency| connect <= *latency && *latency <= elapsed) else { return Vec::new() };
    // Samplers that do not measure it write 0.
    if latency.is_zero() && !elapsed.is_zero() {
        return Vec::new();
    }
    let all = [(Phase::Connect, connect), (Phase::Processing, latency - connect), (Phase::Transfer, elapsed - latency)];
    // A request on an open connection makes none; the other phases are less than a millisecond then.
    all.into_iter().filter(|(phase, duration)| *phase != Phase::Connect || !duration.is_zero()).collect()
}

pub(super) fn millis(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_millis)
}

/// Milliseconds since 1970, or `2026/11/29 20:15:17` with or without milliseconds, taken as UTC.
pub(super) fn timestamp(text: &str) -> Option<Duration> {
    let date = || UnixMillis::parse(&format!("{}Z", text.trim().replace('/', "-")));
    millis(text).or_else(|| date().map(|at| Duration::from_millis(at.0)))
}

/// Whether a quote is open, after each part of a record that goes over several lines.
struct Quotes {
    delimiter: char,
    open: bool,
    /// Whether a quote here opens a value, or continues one.
    starts: bool,
}

impl Quotes {
    fn new(delimiter: char) -> Self {
        Self { delimiter, open: false, starts: true }
    }

    fn are_open_after(&mut self, part: &str) -> bool {
        for c in part.chars() {
            if c == '"' && (self.open || self.starts) {
                self.open = !self.open;
            }
            self.starts = c == self.delimiter || c == '"';
        }
        self.open
    }
}

/// The fields of a record; a quote in a quoted field is doubled.
fn split(record: &str, delimiter: char) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut rest = record.chars().peekable();
    let (mut quoted, mut at_start) = (false, true);
    while let Some(c) = rest.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                field.push('"');
                rest.next();
            }
            '"' if quoted => quoted = false,
            '"' if at_start => quoted = true,
            _ if c == delimiter && !quoted => {
                if fields.len() == MAX_COLUMNS {
                    return fields;
                }
                fields.push(String::new());
                at_start = true;
                continue;
            }
            _ => field.push(c),
        }
        at_start = false;
    }
    fields
}
