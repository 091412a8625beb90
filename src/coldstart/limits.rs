//! The limits that a container can have, as flags and files write them.

use crate::yaml::Parsed;

/// The least memory that engines allow a container.
const LEAST_MEMORY: u64 = 6 << 20;

/// Reads a number of CPUs.
///
/// # Errors
/// What to write instead.
pub fn cpus(text: &str) -> Parsed<f64> {
    let cpus = text.parse().ok().filter(|cpus| (0.01..=1024.0).contains(cpus));
    cpus.ok_or_else(|| "is not a number from 0.01 to 1024; write CPUs, such as 0.5".to_owned())
}

/// Reads a size of memory, in bytes.
///
/// # Errors
/// What to write instead.
pub fn memory(text: &str) -> Parsed<u64> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20)];
    let bytes =
        units.iter().find_map(|(unit, bytes)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*bytes));
    match bytes {
        Some(bytes) if bytes >= LEAST_MEMORY => Ok(bytes),
        Some(_) => Err("is less than engines allow; write at least 6MiB".to_owned()),
        None => Err("is not a size; write one such as 256MiB or 1GiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_a_unit_and_a_range() {
        assert_eq!((memory("6MiB"), memory("2GiB")), (Ok(6 << 20), Ok(2 << 30)));
        for text in ["", "6", "5MiB", "-1MiB", "99999999999999GiB", "1.5GiB"] {
            assert!(memory(text).is_err(), "{text}");
        }
        assert_eq!(cpus("0.5"), Ok(0.5));
        for text in ["", "0", "nan", "inf", "-1", "1025"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }
}
