//! Wall-clock times as people and programs read them.

use std::fmt;

/// Milliseconds since 1970 on the wall clock; for people and for Alertmanager, never for measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

/// Nanoseconds since 1970, written as UTC with microseconds: `2026-11-21T03:04:05.123456Z` (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}Z", Seconds(self.0 / 1_000_000_000), self.0 / 1_000 % 1_000_000)
    }
}

/// UTC with milliseconds: `2026-11-21T03:04:05.123Z` (RFC 3339).
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}Z", Seconds(self.0 / 1_000), self.0 % 1_000)
    }
}

impl UnixMillis {
    /// Reads a time of RFC 3339 from 1970 to 9999; what is finer than a millisecond is cut off. `None` where it is
    /// none.
    pub fn parse(text: &str) -> Option<Self> {
        let (date_time, rest) = text.split_at_checked(19)?;
        let form = |(at, byte): (usize, u8)| match at {
            4 | 7 => byte == b'-',
            10 => matches!(byte, b'T' | b't' | b' '),
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        };
        if !date_time.bytes().enumerate().all(form) {
            return None;
        }
        let number = |from: usize, to: usize| date_time[from..to].parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let days = days_from_civil(year, month, day)?;
        // A leap second is the first moment of what follows.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (millis, zone) = fraction(rest)?;
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        u64::try_from(i64::try_from(seconds).ok()? - offset(zone)?).ok().map(|seconds| Self(seconds * 1_000 + millis))
    }
}

impl UnixMillis {
    /// Reads the time of a `Date` header field, such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7). `None` where
    /// it is none.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (_, date) = text.split_once(", ")?;
        let parts: Vec<&str> = date.split(' ').collect();
        let [day, month, year, time, "GMT"] = parts[..] else { return None };
        let month = 1 + MONTHS.iter().position(|name| *name == month)?;
        Self::parse(&format!("{year}-{month:02}-{day}T{time}Z"))
    }
}

/// The milliseconds of what follows the seconds, and what follows them.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(digits) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let first: String = digits.chars().chain("00".chars()).take(3).collect();
    (!digits.is_empty()).then_some(())?;
    Some((first.parse().ok()?, rest))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, most: i64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && *number <= most)
    };
    Some(sign * (number(hours, 23)? * 3_600 + number(minutes, 59)? * 60))
}

/// Seconds since 1970, written without the zone: `2026-11-21T03:04:05`.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / 86_400);
        let (hour, minute, second) = (self.0 / 3_600 % 24, self.0 / 60 % 60, self.0 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// Year, month and day of the day that many days after 1970-01-01 in the Gregorian calendar: Howard Hinnant's
/// `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>), without the days before 1970.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01: with the year starting in March, the leap day is its last.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// The days from 1970-01-01 to that day, where there is such a day and it is not before; the inverse of
/// [`civil_from_days`], from the same source.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let from_march = year - u64::from(month <= 2);
    let (era, year_of_era) = (from_march / 400, from_march % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_time_of_a_server_is_read_from_its_date() {
        let read = UnixMillis::parse_http_date;
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(UnixMillis(784_111_777_000)));
        for wrong in [
            "",
            ", ",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov \u{e9}94 08:49:37 GMT",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_form_of_a_timestamp_in_the_standard_is_parsed() {
        let read = |text| UnixMillis::parse(text).map(|time| time.0);
        assert_eq!(read("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(read("2026-11-21T03:04:05.123456789Z"), Some(1_795_230_245_123));
        assert_eq!(read("2026-11-21T05:34:05.1+02:30"), Some(1_795_230_245_100));
        assert_eq!(read("2026-11-20t22:04:05-05:00"), Some(1_795_230_245_000));
        assert_eq!(read("2016-12-31T23:59:60Z"), read("2017-01-01T00:00:00Z"));
        for wrong in [
            "",
            "2026-11-21",
            "2026-11-21T03:04:05",
            "2026-11-21T03:04:05.Z",
            "2026-02-30T03:04:05Z",
            "2026-13-01T03:04:05Z",
            "2026-11-21T24:04:05Z",
            "2026-11-21T03:04:05+2:00",
            "2026-11-21T03:04:05ZZ",
            "0001-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-2\u{fc}T03:04:05Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_formatted_timestamp_parses_to_the_same_time(millis in 0..253_402_300_800_000_u64) {
            prop_assert_eq!(UnixMillis::parse(&UnixMillis(millis).to_string()), Some(UnixMillis(millis)));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[0-9TZ:.+-]{0,40}|\\PC{0,40}") {
            UnixMillis::parse(&text);
        }
    }

    #[test]
    fn known_times() {
        assert_eq!(Utc(0).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Utc(951_782_400_000_000_000).to_string(), "2000-02-29T00:00:00.000000Z");
        assert_eq!(Utc(1_795_230_245_123_456_789).to_string(), "2026-11-21T03:04:05.123456Z");
        assert_eq!(Utc(4_107_542_399_999_999_999).to_string(), "2100-02-28T23:59:59.999999Z");
        assert_eq!(Utc(4_107_542_400_000_000_000).to_string(), "2100-03-01T00:00:00.000000Z");
        assert_eq!(Utc(u64::MAX).to_string(), "2554-07-21T23:34:33.709551Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = civil_from_days(0);
        for days in 1..250_000 {
            let (year, month, day) = civil_from_days(days);
            let next = match last {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == month_length(y, m) => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((year, month, day), next);
            last = next;
        }
    }

    fn month_length(year: u64, month: u64) -> u64 {
        let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}
