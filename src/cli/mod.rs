//! The commands: `run bench check demo doctor healthcheck keygen`.

mod bench;
mod check;
mod demo;
mod doctor;
mod flags;
mod keygen;
mod report;

use std::{
    ffi::OsString,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use tracing::warn;

use self::{
    flags::ConfigArgs,
    report::{USAGE, finish, log_to_stderr, usage},
};
use crate::{
    app,
    config::{Config, DEFAULT_LISTEN, Loaded},
    logging, server,
    yaml::file::{self, Content, Unreadable},
};

/// The largest configuration file that is read.
const FILE_LIMIT: u64 = 1 << 20;

/// Detects regional outages and triggers failover: probes peer regions with kernel timestamps, exports to Prometheus.
#[derive(Debug, Parser)]
#[command(name = "regionwatch", version, arg_required_else_help = true, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Probe the peer regions and serve /metrics.
    Run(ConfigArgs),
    /// Measure latencies for a minute and rank the regions. Exit status 1 if nothing answered, 64 if an argument is invalid.
    Bench(Box<bench::BenchArgs>),
    /// Validate a configuration and show what it would measure; opens no port. Exit status 64 if it is invalid.
    Check(CheckArgs),
    /// Measure three simulated peer regions on this machine; needs no file and no privileges.
    Demo(demo::DemoArgs),
    /// Check what this environment permits (ping sockets, timestamps, IPv6, ...) and how to permit the rest.
    Doctor,
    /// Ask a running instance whether it is healthy; for HEALTHCHECK. Exits with 1 if it is not.
    Healthcheck(ConfigArgs),
    /// Create the key that signs this vantage's orders to fail over, and print its public key for the peers.
    Keygen(keygen::KeygenArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the full effective configuration as YAML, with every default.
    #[arg(long)]
    print: bool,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match command.action {
        Action::Run(args) => run(&args),
        Action::Bench(args) => bench::run(&args),
        Action::Check(args) => match Source::new(&args.config).load_in_time() {
            Ok(loaded) => check::print(&loaded, args.print),
            Err(errors) => usage(&errors),
        },
        Action::Demo(args) => demo::run(&args),
        Action::Doctor => doctor::run(),
        Action::Healthcheck(args) => healthcheck(&args),
        Action::Keygen(args) => keygen::run(&args),
    }
}

/// Where a configuration comes from; read again on reload.
#[derive(Debug, Clone)]
struct Source {
    file: Option<PathBuf>,
    /// The process's environment; a flag replaces its variable.
    environment: Vec<(OsString, OsString)>,
}

impl Source {
    fn new(args: &ConfigArgs) -> Self {
        let given = &args.settings.0;
        let beaten = |name: &OsString| given.iter().any(|(variable, _)| name == variable);
        let environment = std::env::vars_os().filter(|(name, _)| !beaten(name));
        let flags = given.iter().map(|(variable, value)| (OsString::from(variable), value.clone()));
        let named = || std::env::var_os("REGIONWATCH_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from);
        Self { file: args.config.clone().or_else(named), environment: environment.chain(flags).collect() }
    }

    /// The configuration, or all of its errors, one per line; or the file that is not read by the deadline.
    fn load_in_time(&self) -> Result<Loaded, String> {
        let source = self.clone();
        file::in_time(move || source.load())?
    }

    /// The configuration, or all of its errors, one per line.
    fn load(&self) -> Result<Loaded, String> {
        let text = self.file.as_deref().map(read_file).transpose()?;
        let file = self.file.as_deref().zip(text.as_deref());
        Config::load(file, self.environment.iter().cloned()).map_err(|errors| errors.to_string())
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let place = path.display();
    let Content { bytes, .. } = file::read(path, FILE_LIMIT).map_err(|error| match error {
        Unreadable::Not(kind) => format!("{place}: is {kind} and not a regular file; name a regular file"),
        Unreadable::TooLarge => format!("{place}: is larger than 1 MiB; split the peers over several instances"),
        Unreadable::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("{place}: does not exist; name an existing file with --config or REGIONWATCH_CONFIG")
        }
        Unreadable::Io(error) => format!("{place}: cannot be read: {error}"),
    })?;
    String::from_utf8(bytes.to_vec()).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("{place}:{line}: is not UTF-8; save the file in that encoding")
    })
}

fn run(args: &ConfigArgs) -> ExitCode {
    let source = Source::new(args);
    let loaded = match source.load_in_time() {
        Ok(loaded) => loaded,
        Err(errors) => return usage(&errors),
    };
    log_to_stderr(&loaded.config.log);
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    let listener = app::bind(loaded.config.listen);
    finish(listener.and_then(|listener| {
        app::run(listener, loaded.config, Box::new(move || source.load()), std::future::pending())
    }))
}

fn healthcheck(args: &ConfigArgs) -> ExitCode {
    let timeout = Duration::from_secs(2);
    let source = Source::new(args);
    let result = file::in_time(move || health_address(&source))
        .and_then(|address| address)
        .and_then(|address| server::probe_health(address, timeout).map_err(|reason| format!("{address}: {reason}")));
    match result {
        Ok(()) => {
            let _ = writeln!(io::stdout(), "healthy");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            logging::to_stderr(format_args!("unhealthy: {reason}"));
            ExitCode::FAILURE
        }
    }
}

/// The address of the server, from the arguments that it was started with. Only the address matters: an error
/// elsewhere in a file that has changed since then does not make a running server unhealthy.
fn health_address(source: &Source) -> Result<SocketAddr, String> {
    match source.load() {
        Ok(loaded) => Ok(loaded.config.listen),
        Err(_) => {
            let given = source.environment.iter().find(|(name, _)| name == "REGIONWATCH_LISTEN");
            match given {
                Some((_, value)) => value
                    .to_str()
                    .and_then(|value| value.parse().ok())
                    .ok_or_else(|| format!("--listen {value:?} is not an address and a port")),
                None => Ok(listen_line(source).unwrap_or(DEFAULT_LISTEN)),
            }
        }
    }
}

/// The address in a file that no longer loads.
fn listen_line(source: &Source) -> Option<SocketAddr> {
    let text = read_file(source.file.as_deref()?).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("listen:"))?.split('#').next()?;
    value.trim().trim_matches(['"', '\'']).parse().ok()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
