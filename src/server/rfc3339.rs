//! Wall-clock times as people and programs read them.

use std::fmt;

/// Nanoseconds since 1970, written as UTC with microseconds: `2026-11-21T03:04:05.123456Z` (RFC 3339).
#[derive(Debug, Clone, Copy)]
pub(super) struct Utc(pub(super) u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let micros = self.0 / 1_000 % 1_000_000;
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
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

#[cfg(test)]
mod tests {
    use super::*;

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
