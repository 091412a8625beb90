//! Scalars: durations, distances, sizes, numbers, words. Read and written.
//!
//! A reading function takes the text and returns the value, or the reason and what to type instead.

use std::{ops::RangeInclusive, time::Duration};

use super::diagnostics::hint;

/// A value, or `reason; what to type instead`, which follows the quoted text.
pub(crate) type Parsed<T> = Result<T, String>;

/// Splits a number from its unit, and gives what the unit stands for.
fn quantity<'a, T: Copy>(text: &'a str, noun: &str, hint: &str, units: &[(&str, T)]) -> Parsed<(&'a str, T)> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    match units.iter().find(|(name, _)| *name == unit) {
        _ if !number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => Err(format!("is not a {noun}; {hint}")),
        _ if number.starts_with('-') => Err(format!("is negative; {hint}")),
        _ if number.ends_with(' ') => Err(format!("has a space in it; {hint}")),
        Some((_, factor)) => Ok((number, *factor)),
        None if unit.is_empty() => Err(format!("has no unit; {hint}")),
        None if unit.contains(|c: char| c.is_ascii_digit()) => Err(format!("has several units; {hint}")),
        None => Err(format!("has the unknown unit {unit:?}; {hint}")),
    }
}

/// The units of durations, in milliseconds.
const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// What is meant by a duration with several units, such as `1h30m` or `1m30`: a last number without a unit has the next smaller
/// one.
fn sum(text: &str) -> Option<Duration> {
    let (mut rest, mut millis, mut last, mut parts) = (text, 0_u64, usize::MAX, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let index = match DURATIONS.iter().position(|(name, _)| *name == unit) {
            Some(index) => index,
            None if unit.is_empty() && after.is_empty() => last.checked_sub(1).filter(|_| parts > 0)?,
            None => return None,
        };
        // From the largest unit to the smallest.
        if index >= last {
            return None;
        }
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(DURATIONS[index].1)?)?;
        (rest, last, parts) = (after, index, parts + 1);
    }
    (parts > 1).then(|| Duration::from_millis(millis))
}

/// A whole number of `ms`, `s`, `m` or `h`; `0` needs no unit.
pub(crate) fn duration(text: &str) -> Parsed<Duration> {
    const HINT: &str = "write a duration such as 250ms, 1s or 5m";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if let Some(total) = sum(text) {
        return Err(format!("has several units; write {}", duration_text(total)));
    }
    let (number, millis) = quantity(text, "duration", HINT, &DURATIONS)?;
    match number.parse::<u64>().map(|number| number.checked_mul(millis)) {
        Ok(Some(millis)) => Ok(Duration::from_millis(millis)),
        _ if number.contains('.') => Err("has a fraction; write whole units, such as 1500ms".to_owned()),
        _ if !number.bytes().all(|b| b.is_ascii_digit()) => Err(format!("is not a duration; {HINT}")),
        _ => Err(format!("is too long; {HINT}")),
    }
}

/// A duration inside the range.
pub(crate) fn duration_in(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        let duration = duration(text)?;
        let (least, most) = (duration_text(*range.start()), duration_text(*range.end()));
        if duration < *range.start() {
            Err(format!("is shorter than {least}; write {least} to {most}"))
        } else if duration > *range.end() {
            Err(format!("is longer than {most}; write {least} to {most}"))
        } else {
            Ok(duration)
        }
    }
}

/// The shortest text that [`duration`] reads as this one, to the millisecond.
pub(crate) fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let exact =
        [("h", 3_600_000), ("m", 60_000), ("s", 1000)].into_iter().find(|(_, unit)| millis.is_multiple_of(*unit));
    match exact {
        _ if millis == 0 => "0s".to_owned(),
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

/// A little more than half the circumference of the Earth, in meters.
const MAX_DISTANCE: f64 = 20_100_000.0;

/// A number of `m`, `km` or `mi`, in meters; `0` needs no unit.
pub(crate) fn distance(text: &str) -> Parsed<f64> {
    const HINT: &str = "write a distance such as 300km, 200mi or 0";
    if text == "0" {
        return Ok(0.0);
    }
    let (number, unit) = quantity(text, "distance", HINT, &[("m", 1.0), ("km", 1000.0), ("mi", 1609.344)])?;
    let meters = decimal(number).map_err(|_| format!("is not a distance; {HINT}"))? * unit;
    match meters {
        _ if meters < 0.0 => Err(format!("is negative; {HINT}")),
        _ if meters > MAX_DISTANCE => Err("is longer than any distance on Earth; write at most 20100km".to_owned()),
        _ => Ok(meters),
    }
}

/// The text that [`distance`] reads as this many meters.
pub(crate) fn distance_text(meters: f64) -> String {
    format!("{meters}m")
}

/// The largest body that a probe may read, so that its memory is bounded.
const MAX_SIZE: usize = 64 << 20;

/// A whole number of `B`, `KiB` or `MiB`, 1 byte to 64 MiB.
pub(crate) fn size(text: &str) -> Parsed<usize> {
    const HINT: &str = "write a size such as 64KiB or 1MiB";
    let (number, unit) = quantity(text, "size", HINT, &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)])?;
    match number.parse::<usize>().map(|number| number.checked_mul(unit)) {
        Ok(Some(0)) => Err(format!("is zero; {HINT}")),
        Ok(Some(size @ ..=MAX_SIZE)) => Ok(size),
        Err(_) if !number.bytes().all(|b| b.is_ascii_digit()) => Err(format!("is not a size; {HINT}")),
        _ => Err("is too large; write at most 64MiB".to_owned()),
    }
}

/// The text that [`size`] reads as this many bytes.
pub(crate) fn size_text(bytes: usize) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

/// A whole number inside the range, decimal or `0x` and hexadecimal.
pub(crate) fn whole(range: RangeInclusive<u32>) -> impl Fn(&str) -> Parsed<u32> {
    move |text| {
        let hint = format!("write {} to {}", range.start(), range.end());
        let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
        let unsigned = digits.strip_prefix('-').unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.chars().all(|c| c.is_digit(radix)) {
            return Err(format!("is not a whole number; {hint}"));
        }
        u32::from_str_radix(digits, radix)
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("is out of range; {hint}"))
    }
}

/// A finite decimal number.
pub(crate) fn decimal(text: &str) -> Parsed<f64> {
    let lower = text.to_ascii_lowercase();
    if lower.trim_start_matches(['-', '+', '.']).starts_with("inf") || lower.ends_with("nan") {
        return Err("is not finite; write a number such as 0.25".to_owned());
    }
    match text.parse::<f64>() {
        Ok(number) if is_decimal(text) && number.is_finite() => Ok(number),
        Ok(_) if is_decimal(text) => Err("is not finite; write a number such as 0.25".to_owned()),
        _ => Err("is not a number; write a number such as 0.25".to_owned()),
    }
}

/// A fraction, 0 to 1.
pub(crate) fn ratio(text: &str) -> Parsed<f64> {
    const HINT: &str = "write a fraction from 0 to 1 such as 0.25";
    match decimal(text) {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        Ok(_) => Err(format!("is out of range; {HINT}")),
        Err(_) if text.ends_with('%') => Err(format!("is a percentage; {HINT}")),
        Err(_) => Err(format!("is not a number; {HINT}")),
    }
}

fn is_decimal(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'))
}

/// A port, 1 to 65535.
pub(crate) fn port(text: &str) -> Parsed<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { text.parse::<u16>().ok() } else { None };
    port.filter(|port| *port != 0).ok_or_else(|| "is not a port; write 1 to 65535".to_owned())
}

/// The value that a word stands for.
pub(crate) fn choice<T: Clone>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    choices.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone()).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        format!("is not a valid value; {}", hint(text, &words))
    })
}

/// `true` or `false`.
pub(crate) fn flag(text: &str) -> Parsed<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is not a boolean; write true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_do_not_overflow() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for text in ["", "10", "ms", "-1s", "1.5s", "1h30m", "1 s", "1d", "18446744073709551615h", "٣s", "1S", "1e3s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("18446744073709551616ms").is_err());
        let huge = duration("18446744073709551615ms").unwrap();
        assert_eq!(duration(&duration_text(huge)), Ok(huge));
    }

    #[test]
    fn distances_need_a_unit() {
        assert_eq!(distance("300km"), Ok(300_000.0));
        assert_eq!(distance("1mi"), Ok(1609.344));
        assert_eq!(distance("1.5km"), Ok(1500.0));
        for text in ["", "km", "300", "-1km", "nanm", "infkm", "1e999km", "30000km", "1Mm", "1 km"] {
            assert!(distance(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(size("64KiB"), Ok(65536));
        for text in ["", "1", "0B", "1KB", "1024MiB", "99999999999999999999B", "-1B", "1.5MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(size(&size_text(3 << 20)), Ok(3 << 20));
    }

    #[test]
    fn numbers_are_finite_and_in_range() {
        assert_eq!(whole(0..=255)("0xb8"), Ok(184));
        for text in ["", "-1", "256", "+1", "1.0", "0x", "0x-1", "99999999999", "1e2"] {
            assert!(whole(0..=255)(text).is_err(), "{text}");
        }
        assert_eq!(decimal("-8.5e1"), Ok(-85.0));
        assert_eq!((ratio("0"), ratio("1.0")), (Ok(0.0), Ok(1.0)));
        for text in ["", "-0.1", "1.01", "25", "25%", "nan", "inf", "half"] {
            assert!(ratio(text).is_err(), "{text}");
        }
        for text in ["", ".inf", "-.INF", ".nan", "inf", "1e999", "0x1", "1_000", "."] {
            assert!(decimal(text).is_err(), "{text}");
        }
    }
}
