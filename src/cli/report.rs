//! What every command reports: its log, its errors and its exit status.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

use crate::{
    app::RunError,
    config::{Log, LogFormat, LogLevel},
    logging,
};

/// `EX_USAGE` (sysexits.h): the command line or the configuration is invalid.
pub(super) const USAGE: u8 = 64;

/// Prints errors of the command line or the configuration.
pub(super) fn usage(errors: &str) -> ExitCode {
    logging::to_stderr(errors.trim_end());
    USAGE.into()
}

/// Prints why a command ended, if it failed.
pub(super) fn finish(result: Result<(), RunError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

/// Prints why a command failed.
pub(super) fn failed(error: impl Display) -> ExitCode {
    logging::to_stderr(format_args!("regionwatch: {error}"));
    ExitCode::FAILURE
}

/// Prints the output of a command. A reader that has read enough, such as `head`, is no failure.
///
/// # Errors
/// Whatever else keeps it from being written.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
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
    let writer = logging::start();
    // What libraries log below `info` is about their insides.
    let is_ours = |line: &Metadata<'_>| *line.level() <= Level::INFO || line.target().starts_with("regionwatch");
    let writer = (move || writer).with_filter(is_ours);
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(writer).with_target(false);
    // It would report its errors by `eprintln!`.
    let builder = builder.log_internal_errors(false);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
