//! The text format of Prometheus, version 0.0.4: the one place that writes samples.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    ops::Range,
};

use super::value::{Gauge, Histogram};
use crate::model::{ConstantLabels, Label, Region};

/// The labels that every series of an instance has: its region, and the constant ones. Rendered once.
#[derive(Debug, Clone)]
pub(super) struct InstanceLabels(Box<str>);

impl InstanceLabels {
    pub(super) fn new(vantage: &Region, constant: &ConstantLabels) -> Self {
        let mut text = format!("vantage_region=\"{vantage}\"");
        for (name, value) in constant.iter() {
            let _ = write!(text, ",{name}=\"{}\"", escaped(value));
        }
        Self(text.into())
    }
}

impl fmt::Display for InstanceLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A label value as the text format writes it.
pub(super) fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

/// Something with series of its own on the page.
pub(super) trait Series {
    /// The labels that all of its series have, such as `vantage_region="..",peer_region=".."`; rendered once.
    fn labels(&self) -> &str;
}

/// The value of a sample.
pub(super) enum Value {
    Integer(u64),
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}

impl From<f64> for Value {
    /// An integer is written without a fraction, whatever holds it.
    fn from(value: f64) -> Self {
        let integer = value as u64;
        if integer as f64 == value { Self::Integer(integer) } else { Self::Float(value) }
    }
}

/// Where samples go.
pub(super) enum Sink<'a> {
    Page(&'a mut Vec<u8>),
    /// They are only counted, and those that are absent as well.
    Count(&'a mut usize),
}

/// Writes the samples of one family and one thing that has series.
pub(super) struct Samples<'a> {
    sink: Sink<'a>,
    name: &'a str,
    labels: &'a str,
    /// The suffix of the last sample, and where its name and the labels that all share stand. They are copied from there
    /// in one piece: a page has hundreds of thousands of them.
    last: Option<(Suffix, Range<usize>)>,
}

/// What follows the name of the family.
#[derive(Clone, Copy, PartialEq)]
enum Suffix {
    None,
    Bucket,
    Sum,
    Count,
}

impl Suffix {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bucket => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

impl<'a> Samples<'a> {
    pub(super) const fn new(sink: Sink<'a>, name: &'a str, labels: &'a str) -> Self {
        Self { sink, name, labels, last: None }
    }

    /// Whether what is absent is to be put as well.
    pub(super) const fn counts_only(&self) -> bool {
        matches!(self.sink, Sink::Count(_))
    }

    /// `name{labels} value`
    pub(super) fn put(&mut self, value: impl Into<Value>) {
        self.sample(Suffix::None, &[], value.into());
    }

    /// `name{labels} value` if it is wanted.
    pub(super) fn put_if(&mut self, wanted: bool, value: impl Into<Value>) {
        if wanted {
            self.put(value);
        }
    }

    /// `name{labels,label="text"} value`
    pub(super) fn put_with(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.sample(Suffix::None, labels, value.into());
    }

    /// A sample for each value of a closed set, by a label with its name.
    pub(super) fn each<L: Label, V: Into<Value>>(&mut self, label: &str, value: impl Fn(L) -> V) {
        for each in L::ALL {
            self.put_with(&[(label, each.as_str())], value(*each));
        }
    }

    /// `name{labels} value`, or nothing.
    pub(super) fn gauge(&mut self, gauge: &Gauge) {
        self.gauge_with(&[], gauge);
    }

    /// `name{labels,label="text"} value`, or nothing.
    pub(super) fn gauge_with(&mut self, labels: &[(&str, &str)], gauge: &Gauge) {
        match (gauge.get(), &mut self.sink) {
            (Some(value), _) => self.put_with(labels, value),
            (None, Sink::Count(count)) => **count += 1,
            (None, Sink::Page(_)) => {}
        }
    }

    /// The sum and the count of a summary.
    pub(super) fn summary(&mut self, labels: &[(&str, &str)], seconds: f64, count: u64) {
        self.sample(Suffix::Sum, labels, seconds.into());
        self.sample(Suffix::Count, labels, count.into());
    }

    pub(super) fn histogram(&mut self, histogram: &Histogram) {
        let mut all = 0;
        for (bound, count) in histogram.cumulative() {
            if let Some(out) = self.begin(Suffix::Bucket) {
                out.extend_from_slice(bound.as_bytes());
                end(out, count.into());
            }
            all = count;
        }
        self.summary(&[], histogram.sum_seconds(), all);
    }

    fn sample(&mut self, suffix: Suffix, labels: &[(&str, &str)], value: Value) {
        let Some(out) = self.begin(suffix) else { return };
        for (label, text) in labels {
            for part in [",", label, "=\"", text, "\""] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        end(out, value);
    }

    /// Counts a sample, or writes it up to the labels that all samples share.
    fn begin(&mut self, suffix: Suffix) -> Option<&mut Vec<u8>> {
        let out = match &mut self.sink {
            Sink::Page(out) => &mut **out,
            Sink::Count(count) => {
                **count += 1;
                return None;
            }
        };
        match &self.last {
            Some((last, head)) if *last == suffix => out.extend_from_within(head.clone()),
            _ => {
                let begin = out.len();
                for part in [self.name, suffix.as_str(), "{", self.labels] {
                    out.extend_from_slice(part.as_bytes());
                }
                self.last = Some((suffix, begin..out.len()));
            }
        }
        Some(out)
    }
}

fn end(out: &mut Vec<u8>, value: Value) {
    out.extend_from_slice(b"} ");
    match value {
        Value::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Value::Float(value) => out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
    }
    out.push(b'\n');
}
