//! What came of a push to an Alertmanager.

use super::{Failure, labels};

labels! {
    /// What came of a push; the `result` label.
    pub enum PushResult {
        /// Accepted.
        Ok = "ok",
        /// No answer within the limit.
        Timeout = "timeout",
        /// The host is alive and nothing listens, or the connection was reset.
        Refused = "refused",
        /// The network said that there is no way.
        Unreachable = "unreachable",
        /// The name has no address.
        Resolve = "resolve",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The answer is no HTTP, or too large.
        Protocol = "protocol",
        /// Our own fault: no descriptor, no route, no permission.
        Local = "local",
        /// A redirect, or another status that is neither success nor error.
        Status3xx = "status_3xx",
        /// Alertmanager, or what stands before it, refuses what was sent.
        Status4xx = "status_4xx",
        /// Alertmanager, or what stands before it, has failed.
        Status5xx = "status_5xx",
    }
}

impl PushResult {
    /// What an HTTP status means.
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..300 => Self::Ok,
            400..500 => Self::Status4xx,
            500.. => Self::Status5xx,
            _ => Self::Status3xx,
        }
    }
}

impl From<Failure> for PushResult {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Timeout => Self::Timeout,
            Failure::Refused => Self::Refused,
            Failure::Unreachable => Self::Unreachable,
            Failure::Resolve => Self::Resolve,
            Failure::Tls => Self::Tls,
            Failure::Local => Self::Local,
            Failure::Protocol | Failure::Status | Failure::Mismatch | Failure::Empty | Failure::Auth => Self::Protocol,
        }
    }
}
