//! What every command reports: its log, its errors and its exit status.

use std::{io, process::ExitCode};

use tracing::Level;

use crate::{
    app::RunError,
    config::{Log, LogFormat, LogLevel},
};

/// `EX_USAGE` (sysexits.h): the command line or the configuration is invalid.
pub(super) const USAGE: u8 = 64;

/// Prints errors of the command line or the configuration.
pub(super) fn usage(errors: &str) -> ExitCode {
    eprintln!("{}", errors.trim_end());
    USAGE.into()
}

/// Prints why a command ended, if it failed.
pub(super) fn finish(result: Result<(), RunError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("regionwatch: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the log.
///
/// # Panics
/// If it was started before.
pub(super) fn log_to_stderr(log: &Log) {
    let level = match log.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
