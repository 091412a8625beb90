//! Why a comparison cannot be made.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitStatus};

use http::StatusCode;

use crate::model::Failure;

/// Why a comparison cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ColdstartError {
    /// No engine answers.
    #[error(
        "no container engine answers at {}: {error}; start one (systemctl start docker, or podman system service), or name \
         its socket with --engine unix:///PATH or DOCKER_HOST",
        joined(.sockets)
    )]
    NoEngine {
        /// Where one was looked for.
        sockets: Vec<PathBuf>,
        /// What the first of them said.
        error: io::Error,
    },
    /// The engine does not do what it was asked for.
    #[error("the engine cannot {action}: {reason} ({status})")]
    Refused {
        /// What it was asked for.
        action: &'static str,
        /// Its status.
        status: StatusCode,
        /// What it says.
        reason: String,
    },
    /// The engine does not answer as it should.
    #[error("the engine did not {action}: {reason}")]
    Engine {
        /// What it was asked for.
        action: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A Dockerfile cannot be built.
    #[error("{program} build of {} failed ({status}):\n{lines}", .dockerfile.display())]
    Build {
        /// The Dockerfile.
        dockerfile: PathBuf,
        /// The program that builds.
        program: &'static str,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines that it printed.
        lines: String,
    },
    /// The containers cannot be reached.
    #[error("the null image does not answer at {address}: {failure}; {advice}")]
    Unreachable {
        /// Where it was asked.
        address: SocketAddr,
        /// How the last probe of it failed.
        failure: Failure,
        /// What to do.
        advice: &'static str,
    },
    /// What is asked for cannot be measured.
    #[error("{0}")]
    Invalid(String),
    /// This process cannot measure.
    #[error(transparent)]
    Local(#[from] io::Error),
}

fn joined(sockets: &[PathBuf]) -> String {
    sockets.iter().map(|socket| socket.display().to_string()).collect::<Vec<_>>().join(", ")
}
