//! The stream of a connection, whatever is spoken on it.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{model::Failure, net::tls_failure};

/// A stream, with TLS or without.
pub(crate) trait Both: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Both for T {}

/// What an error on the connection is counted as.
pub(crate) fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        // It was closed, without a word.
        io::ErrorKind::UnexpectedEof => Failure::Refused,
        _ => tls_failure(error),
    }
}
