//! The commands: `run arm bench check coldstart demo disarm doctor explain failover healthcheck keygen maintenance release
//! sql status`.

mod arming;
mod bench;
mod check;
mod coldstart;
mod demo;
mod doctor;
mod explain;
mod failover;
mod flags;
mod instance;
mod keygen;
mod operator;
mod release;
mod report;
mod source;
mod sql;
mod status;

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use tracing::warn;

use self::{
    flags::ConfigArgs,
    report::{USAGE, finish, log_to_stderr, usage},
    source::{Source, read_file},
};
use crate::{
    app::{self, ConfigSource},
    config::DEFAULT_LISTEN,
    logging, server, signing,
    yaml::file,
};

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
    /// Allow the failover of a region for a time, whatever the files say of arming. Exit status 1 unless most instances took it.
    Arm(arming::ArmingArgs),
    /// Measure latencies for a minute and rank the regions. Exit status 1 if nothing answered, 64 if an argument is invalid.
    Bench(Box<bench::BenchArgs>),
    /// Rank container images by the time from creating a container to its first correct answer. Exit status 1 if none was
    /// ready, 64 if an argument is invalid.
    Coldstart(Box<coldstart::ColdstartArgs>),
    /// Validate a configuration and show what it would measure; opens no port. Exit status 64 if it is invalid.
    Check(CheckArgs),
    /// Measure three simulated peer regions on this machine; needs no file and no privileges.
    Demo(demo::DemoArgs),
    /// Forbid the failover of a region for a time. Exit status 1 if no instance took it.
    Disarm(arming::ArmingArgs),
    /// Check what this environment permits (ping sockets, timestamps, IPv6, ...) and how to permit the rest.
    Doctor,
    /// Ask a running instance why a region is in its state: rules, evidence, votes, and what one more vote would change.
    Explain(explain::ExplainArgs),
    /// Order the failover of a region, without an outage. Exit status 1 unless most instances took it and one orders it.
    Failover(failover::FailoverArgs),
    /// Ask a running instance whether it is healthy; for HEALTHCHECK. Exits with 1 if it is not.
    Healthcheck(ConfigArgs),
    /// Create the key that signs this vantage's orders to fail over, and print its public key for the peers.
    Keygen(keygen::KeygenArgs),
    /// Put a region under maintenance for a time: never failed over, and no target. Exit status 1 if no instance took it.
    Maintenance(arming::ArmingArgs),
    /// Release a region that was failed over, on every instance: it may take over again. Exit status 1 unless all did.
    Release(release::ReleaseArgs),
    /// Show the peers of running instances as a table. Exit status 1 if an instance does not answer.
    Status(status::StatusArgs),
    /// Print what an administrator has to create in a database: a table for tokens, and a role with least rights.
    Sql(sql::SqlArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the full effective configuration as YAML, with every default.
    #[arg(long)]
    print: bool,
    /// Probe every target once, and show what came back and why a probe failed. Exit status 1 if any failed.
    #[arg(long, conflicts_with = "print")]
    probe: bool,
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
    let code = act(command.action);
    // Whatever the command said last is written before the process ends.
    logging::flush();
    code
}

fn act(action: Action) -> ExitCode {
    match action {
        Action::Run(args) => run(&args),
        Action::Arm(args) => arming::run(signing::Action::Arm, &args),
        Action::Bench(args) => bench::run(&args),
        Action::Coldstart(args) => coldstart::run(&args),
        Action::Check(args) => match Source::new(&args.config).load_in_time() {
            Ok(loaded) if args.probe => check::probe(&loaded),
            Ok(loaded) => check::print(&loaded, args.print),
            Err(errors) => usage(&errors),
        },
        Action::Demo(args) => demo::run(&args),
        Action::Disarm(args) => arming::run(signing::Action::Disarm, &args),
        Action::Doctor => doctor::run(),
        Action::Explain(args) => explain::run(&args),
        Action::Failover(args) => failover::run(&args),
        Action::Healthcheck(args) => healthcheck(&args),
        Action::Keygen(args) => keygen::run(&args),
        Action::Maintenance(args) => arming::run(signing::Action::Maintenance, &args),
        Action::Release(args) => release::run(&args),
        Action::Sql(args) => sql::run(&args),
        Action::Status(args) => status::run(&args),
    }
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
        let from = source.file.clone().map_or(ConfigSource::Environment, ConfigSource::File);
        app::run(listener, loaded.config, from, Box::new(move || source.load()), std::future::pending())
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
