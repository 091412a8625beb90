//! The statuses that a response may have.

use std::fmt;

use http::StatusCode;

use crate::{
    model::Failure,
    yaml::units::{self, Parsed},
};

/// What an unexpected status is counted as.
pub(crate) fn failure_of(status: StatusCode) -> Failure {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Failure::Auth,
        _ => Failure::Status,
    }
}

/// The same where a proxy may have answered itself: that it wants credentials, or does not reach the peer, is not the peer's
/// word, and no sign of life.
pub(crate) fn failure_by_proxy(status: StatusCode) -> Failure {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Failure::Local,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Failure::Unreachable,
        _ => failure_of(status),
    }
}

/// A status, or a class of them (RFC 9110 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedStatus {
    /// This one.
    One(u16),
    /// Those of this first digit, 1 to 5.
    Class(u16),
}

impl ExpectedStatus {
    /// Whether the status is one of these.
    pub const fn contains(self, status: u16) -> bool {
        match self {
            Self::One(one) => status == one,
            Self::Class(class) => status / 100 == class,
        }
    }
}

impl fmt::Display for ExpectedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(status) => write!(f, "{status}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

/// Reads `204` or `2xx`.
pub(super) fn parse(text: &str) -> Parsed<ExpectedStatus> {
    if let [class @ b'1'..=b'5', b'x', b'x'] = text.as_bytes() {
        return Ok(ExpectedStatus::Class(u16::from(class - b'0')));
    }
    let number = units::whole(100..=599)(text).map_err(|error| format!("{error}, or a class such as 2xx"))?;
    Ok(ExpectedStatus::One(number as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_all_statuses_of_its_digit_and_no_other() {
        let class = parse("4xx").unwrap();
        assert!(class.contains(400) && class.contains(499) && !class.contains(399) && !class.contains(500));
        for text in ["200", "2xx", "599"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for text in ["6xx", "2XX", "20x", "xx", "99", "ok"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
