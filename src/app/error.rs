//! Why the program could not start or go on.

use std::{io, net::SocketAddr};

use crate::{model::Path, net::ClientError, probe::SetupError};

/// Why the program could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system's trust store was not read.
    #[error("{0}")]
    File(String),
    /// The folder of the state cannot be used.
    #[error("state_dir: {0}")]
    State(String),
    /// A probe cannot be built.
    #[error("{path}: {source}")]
    Probe {
        /// Its path.
        path: Path,
        /// Why.
        source: SetupError,
    },
    /// An Alertmanager cannot be reached by this URL.
    #[error("alertmanagers: {0}")]
    Notifier(ClientError),
    /// The system refused something that is needed.
    #[error("{0}")]
    System(#[from] io::Error),
    /// A part that must run for the life of the process ended.
    #[error("the {0} ended unexpectedly")]
    Ended(&'static str),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or give another --listen address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: give another --listen address",
        io::ErrorKind::AddrNotAvailable => "; this host does not have that address",
        _ => "",
    }
}
