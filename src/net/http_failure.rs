//! What errors of HTTP are counted as.

use std::{error::Error as _, io};

use tokio_rustls::rustls;

use super::{attempt::Attempt, errors, tls::note_detail};
use crate::model::{Failure, FailureDetail, HttpFault};

/// What hyper's error is counted as: the socket's or TLS's where there is one beneath, else a broken protocol.
pub(super) fn failure(error: &hyper::Error, attempt: &Attempt) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return match io.get_ref() {
                Some(inner) if inner.is::<rustls::Error>() => {
                    note_detail(inner.downcast_ref(), attempt);
                    Failure::Tls
                }
                _ => match (io.kind(), errors::failure(io)) {
                    (io::ErrorKind::UnexpectedEof, _) => broken(HttpFault::CutOff, attempt),
                    // Our own limits, and those of hyper.
                    (io::ErrorKind::InvalidData, _) => broken(HttpFault::TooLong, attempt),
                    (_, Failure::Protocol) => broken(HttpFault::Malformed, attempt),
                    (_, failure) => failure,
                },
            };
        }
        cause = inner.source();
    }
    broken(
        match error {
            _ if error.is_incomplete_message() => HttpFault::CutOff,
            _ if error.is_parse_too_large() => HttpFault::TooLong,
            _ => HttpFault::Malformed,
        },
        attempt,
    )
}

/// Notes how the answer breaks the protocol.
pub(super) fn broken(fault: HttpFault, attempt: &Attempt) -> Failure {
    attempt.set_detail(FailureDetail::Http(fault));
    Failure::Protocol
}
