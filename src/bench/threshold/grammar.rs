//! The text of a threshold, read.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use super::criterion::{Aggregation, Comparison, Metric, Percentile, Threshold};
use crate::yaml::{
    diagnostics::{hint, one_of, suggestion},
    units,
};

/// The longest text; a longer one is not a threshold that a person wrote.
const MAX_TEXT: usize = 4096;

/// The most tags.
const MAX_TAGS: usize = 32;

/// The text has an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {reason}")]
pub struct ThresholdError {
    /// The character where the error is, from 1.
    pub column: usize,
    /// What is wrong; what to type instead.
    pub reason: String,
}

type Read<T> = Result<T, ThresholdError>;

/// A text, and how far it was read.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Read<Self> {
        let cursor = Self { text, at: 0 };
        if text.len() > MAX_TEXT {
            return Err(cursor.wrong("is too long; write at most 4,096 bytes"));
        }
        Ok(cursor)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, reason: impl Into<String>) -> ThresholdError {
        ThresholdError { column: self.text[..self.at].chars().count() + 1, reason: reason.into() }
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes the text if it is next.
    fn take(&mut self, expected: &str) -> bool {
        let is_next = self.rest().starts_with(expected);
        if is_next {
            self.at += expected.len();
        }
        is_next
    }

    /// Takes characters as long as they are these.
    fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !is_wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A value as an error shows it.
fn shown(text: &str) -> String {
    crate::yaml::diagnostics::quoted(text)
}

/// `probe_duration{probe="http",peer_region:us-east-1}`
fn selector(cursor: &mut Cursor<'_>) -> Read<(Metric, BTreeMap<String, String>)> {
    cursor.skip_spaces();
    let start = cursor.at;
    let name = cursor.take_while(is_word);
    let Some(metric) = Metric::parse(name) else {
        cursor.at = start;
        let names = Metric::ALL.map(|(_, own, ..)| own);
        let reason = if name.is_empty() {
            format!("has no metric; write {}", one_of(&names))
        } else {
            format!("{} is not a metric; {}", shown(name), hint(name, &names))
        };
        return Err(cursor.wrong(reason));
    };
    cursor.skip_spaces();
    let tags = if cursor.take("{") { tags(cursor)? } else { BTreeMap::new() };
    Ok((metric, tags))
}

fn tags(cursor: &mut Cursor<'_>) -> Read<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    loop {
        cursor.skip_spaces();
        if cursor.take("}") {
            return Ok(tags);
        }
        let start = cursor.at;
        let name = cursor.take_while(|c| is_word(c) || matches!(c, '-' | '.'));
        if name.is_empty() {
            return Err(cursor.wrong("has no tag here; write {name:value} or {name=\"value\"}"));
        }
        cursor.skip_spaces();
        if !(cursor.take(":") || cursor.take("=")) {
            let reason = format!("the tag {name} has no value; write {{{name}:value}} or {{{name}=\"value\"}}");
            return Err(cursor.wrong(reason));
        }
        let value = tag_value(cursor, name)?;
        if tags.len() == MAX_TAGS || tags.insert(name.to_owned(), value).is_some() {
            cursor.at = start;
            return Err(
                cursor.wrong(format!("the tag {name} is one too many; write each tag once, at most {MAX_TAGS}"))
            );
        }
        cursor.skip_spaces();
        if !cursor.take(",") && !cursor.rest().starts_with('}') {
            return Err(cursor.wrong("the tags do not end; write } after the last one"));
        }
    }
}

/// A value up to `,` or `}`, or in quotes.
fn tag_value(cursor: &mut Cursor<'_>, name: &str) -> Read<String> {
    cursor.skip_spaces();
    let start = cursor.at;
    let quote = ["\"", "'"].into_iter().find(|quote| cursor.take(quote));
    let Some(quote) = quote else {
        let value = cursor.take_while(|c| !matches!(c, ',' | '}' | '"')).trim_end();
        if value.is_empty() {
            return Err(cursor.wrong(format!("the tag {name} has no value; write {{{name}:value}}")));
        }
        return Ok(value.to_owned());
    };
    let (mut value, mut escaped) = (String::new(), false);
    for c in cursor.rest().chars() {
        cursor.at += c.len_utf8();
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            _ if quote.starts_with(c) => return Ok(value),
            _ => value.push(c),
        }
    }
    cursor.at = start;
    Err(cursor.wrong(format!("the value of the tag {name} does not end; write {quote} after it")))
}

/// `p(95)<200`
fn expression(cursor: &mut Cursor<'_>, metric: Metric) -> Read<(Aggregation, Comparison, f64)> {
    let aggregation = aggregation(cursor, metric)?;
    cursor.skip_spaces();
    let Some((comparison, _)) = Comparison::ALL.into_iter().find(|(_, operator)| cursor.take(operator)) else {
        return Err(cursor.wrong(format!("has no operator after {aggregation}; write <, <=, >, >=, == or !=")));
    };
    cursor.skip_spaces();
    Ok((aggregation, comparison, bound(cursor, metric, aggregation)?))
}

fn aggregation(cursor: &mut Cursor<'_>, metric: Metric) -> Read<Aggregation> {
    cursor.skip_spaces();
    let start = cursor.at;
    let name = cursor.take_while(is_word);
    let is_percentile = name == "p" && {
        cursor.skip_spaces();
        cursor.take("(")
    };
    let wanted = metric.aggregations();
    let found = match name {
        "p" if is_percentile => {
            let number = cursor.take_while(|c| c != ')');
            let percentile = units::decimal(number.trim()).ok().and_then(Percentile::new);
            let Some(percentile) = percentile.filter(|_| cursor.take(")")) else {
                cursor.at = start;
                return Err(cursor.wrong("is not a percentile; write p(N) with N from 0 to 100, such as p(95)"));
            };
            Aggregation::Percentile(percentile)
        }
        "avg" => Aggregation::Avg,
        "med" => Aggregation::Percentile(Percentile::MEDIAN),
        "min" => Aggregation::Min,
        "max" => Aggregation::Max,
        "rate" => Aggregation::Rate,
        "count" => Aggregation::Count,
        _ => {
            cursor.at = start;
            let percent =
                name.strip_prefix('p').filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
            let instead = percent.map_or_else(|| hint(name, wanted), |percent| format!("write p({percent})"));
            return Err(cursor.wrong(format!("{} is not an aggregation; {instead}", shown(name))));
        }
    };
    let known = if is_percentile { "p(N)" } else { name };
    if wanted.contains(&known) {
        return Ok(found);
    }
    cursor.at = start;
    Err(cursor.wrong(format!("{} has no {known}; write {}", metric.as_str(), one_of(wanted))))
}

fn bound(cursor: &mut Cursor<'_>, metric: Metric, aggregation: Aggregation) -> Read<f64> {
    let start = cursor.at;
    let text = cursor.take_while(|c| is_word(c) || matches!(c, '.' | '-' | '+' | '%'));
    let problem = match units::decimal(text) {
        Ok(bound) if metric == Metric::ProbeFailed && aggregation == Aggregation::Rate && bound > 1.0 => {
            "is more than all; write the share of failures from 0 to 1, such as 0.01 for 1%".to_owned()
        }
        Ok(bound) if bound < 0.0 => "is negative; write 0 or more".to_owned(),
        Ok(bound) => return Ok(bound),
        Err(_) if text.is_empty() => "has no bound; write a number after the operator".to_owned(),
        Err(_) => match text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%') {
            number if number.len() < text.len() && units::decimal(number).is_ok() => match metric {
                Metric::ProbeDuration => "has a unit; write milliseconds without one, as for k6".to_owned(),
                _ => "has a unit; write the number alone, and a share from 0 to 1".to_owned(),
            },
            _ => "is not a number; write one such as 200 or 0.01".to_owned(),
        },
    };
    cursor.at = start;
    let value = if text.is_empty() { String::new() } else { format!("{} ", shown(text)) };
    Err(cursor.wrong(format!("{value}{problem}")))
}

/// A time as k6 writes it: `10s`, or several parts such as `1m30s`.
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(unit) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let end = rest[unit..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |length| unit + length);
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
    if parts.len() < 2 || !rest.is_empty() {
        return units::duration(text);
    }
    parts.into_iter().try_fold(Duration::ZERO, |sum, part| Ok(sum.saturating_add(units::duration(part)?)))
}

/// ` abortOnFail delayAbortEval=10s`, each once.
fn abort(cursor: &mut Cursor<'_>) -> Read<Option<Duration>> {
    let (mut aborts, mut delay) = (false, None);
    loop {
        cursor.take_while(|c| c.is_whitespace() || c == ',');
        if cursor.is_at_end() {
            break;
        }
        let start = cursor.at;
        let word = cursor.take_while(is_word);
        let has_value = cursor.take("=") || cursor.take(":");
        let value = if has_value { cursor.take_while(|c| !c.is_whitespace() && c != ',') } else { "" };
        let problem = match (word, value) {
            ("abortOnFail", "" | "true") if !aborts => {
                aborts = true;
                continue;
            }
            ("delayAbortEval", value) if delay.is_none() => match self::delay(value) {
                Ok(duration) => {
                    delay = Some(duration);
                    continue;
                }
                Err(reason) => format!("delayAbortEval {} {reason}", shown(value)),
            },
            ("abortOnFail" | "delayAbortEval", _) => {
                format!("{word} cannot be here; write each once: abortOnFail delayAbortEval=10s")
            }
            _ => {
                let meant = suggestion(word, &["abortOnFail", "delayAbortEval"]);
                let end = "end here, or write abortOnFail or delayAbortEval=10s".to_owned();
                let instead = meant.map_or(end, |meant| format!("did you mean {meant}?"));
                format!("{} is not a part of a threshold; {instead}", shown(&cursor.text[start..]))
            }
        };
        cursor.at = start;
        return Err(cursor.wrong(problem));
    }
    if delay.is_some() && !aborts {
        return Err(cursor.wrong("delayAbortEval is without abortOnFail; write both, or neither"));
    }
    Ok(aborts.then(|| delay.unwrap_or_default()))
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    /// Reads `METRIC{TAGS}: EXPRESSION`, and after it ` abortOnFail` and ` delayAbortEval=10s`.
    fn from_str(text: &str) -> Read<Self> {
        let mut cursor = Cursor::new(text)?;
        let (metric, tags) = selector(&mut cursor)?;
        cursor.skip_spaces();
        if !cursor.take(":") {
            return Err(cursor
                .wrong("has no colon after the metric; write METRIC: EXPRESSION, such as probe_duration: p(95)<200"));
        }
        let (aggregation, comparison, bound) = expression(&mut cursor, metric)?;
        let abort_after = abort(&mut cursor)?;
        Ok(Self { metric, tags, aggregation, comparison, bound, abort_after })
    }
}

/// A text that has nothing else after it.
fn whole<'a, T>(text: &'a str, read: impl FnOnce(&mut Cursor<'a>) -> Read<T>) -> Read<T> {
    let mut cursor = Cursor::new(text)?;
    let value = read(&mut cursor)?;
    cursor.skip_spaces();
    if cursor.is_at_end() {
        return Ok(value);
    }
    let instead = match cursor.rest().starts_with("abortOnFail") {
        true => "write {threshold: EXPRESSION, abortOnFail: true}",
        false => "delete it",
    };
    Err(cursor.wrong(format!("{} is too much; {instead}", shown(cursor.rest()))))
}

/// A metric with its tags, as k6 writes a sub-metric.
pub(crate) fn parse_selector(text: &str) -> Read<(Metric, BTreeMap<String, String>)> {
    whole(text, selector)
}

/// What a metric must be: `p(95)<200`.
pub(super) fn parse_expression(text: &str, metric: Metric) -> Read<(Aggregation, Comparison, f64)> {
    whole(text, |cursor| expression(cursor, metric))
}
