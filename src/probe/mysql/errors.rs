//! What the numbers of MySQL's errors mean. MariaDB has the same numbers up to 1900, and its own above.

use crate::{model::Failure, probe::database::Problem};

/// What an error of the server is counted as.
pub(super) const fn failure(code: u16) -> Failure {
    match code {
        // Access denied: by password, host, account without a password, locked account, TLS that is missing, expired
        // password.
        1045 | 1130 | 1251 | 1275 | 1698 | 1820 | 1862 | 1873 | 3118 | 3159 | 4151 => Failure::Auth,
        // A lock or a statement that took longer than it may.
        1205 | 1969 | 3024 => Failure::Timeout,
        // A handshake or a packet that the server does not understand.
        1043 | 1047 | 1153 | 1156..=1161 | 1835 => Failure::Protocol,
        // Too many connections, read-only, shutdown, no such database or table, no right.
        _ => Failure::Status,
    }
}

/// What keeps the table from being used.
pub(super) const fn problem(code: u16) -> Option<Problem> {
    match code {
        1046 | 1049 | 1146 => Some(Problem::NoTable),
        1044 | 1142 | 1143 => Some(Problem::NoRight),
        _ => None,
    }
}

/// Whether a user lacks the right to ask for the state of the replication.
pub(super) const fn is_missing_right(code: u16) -> bool {
    code == 1227
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_counted_by_its_number() {
        for (code, expected) in [
            (1045, Failure::Auth),
            (1698, Failure::Auth),
            (1205, Failure::Timeout),
            (1969, Failure::Timeout),
            (1043, Failure::Protocol),
            (1158, Failure::Protocol),
            (1040, Failure::Status),
            (1053, Failure::Status),
            (1290, Failure::Status),
            (1792, Failure::Status),
        ] {
            assert_eq!(failure(code), expected, "{code}");
        }
    }
}
