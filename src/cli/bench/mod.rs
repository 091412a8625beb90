//! `bench`: measures for a while, and prints a ranking and what thresholds and a baseline say of it.

pub(super) mod gate;
mod judge;
pub(super) mod outputs;
mod progress;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use self::{
    gate::{BROKEN, GateArgs, status},
    judge::JudgeArgs,
    outputs::{NO_SUCCESS, Output, format, output, publish},
};
use super::{
    flags::{ConfigArgs, SettingFlags},
    report::{failed, finish, log_to_stderr, usage},
    source::Source,
};
use crate::{
    bench::{Check, End, Format, Gate, Limits, Observer, Plan, Report, Results, Rules, run as measure},
    config::{Log, LogFormat, LogLevel},
    logging,
    model::Region,
    yaml::units::duration_in,
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    /// YAML file with the regions to measure [env: REGIONWATCH_CONFIG]. Without one, give targets, or set REGIONWATCH_REGION
    /// and REGIONWATCH_PEERS.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to measure instead of a configuration, such as us=https://us.example.com/healthz; repeatable. The scheme is the
    /// kind of probe: http, https, tcp, tls, dns or icmp.
    #[arg(long, value_name = "REGION=URL", conflicts_with = "config")]
    target: Vec<String>,
    /// Region of this host, to compare round trips of targets with the speed of light [env: REGIONWATCH_REGION].
    #[arg(long, value_name = "REGION", value_parser = region, conflicts_with = "config")]
    from: Option<Region>,
    /// For how long to measure [default: 1m, or until --samples are taken].
    #[arg(long, value_name = "TIME", value_parser = run_duration)]
    duration: Option<Duration>,
    /// How many probes to send on each path.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    /// Probes per second on each path [default: 7, or fewer if a path has a long timeout].
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Format of the report on standard output.
    #[arg(long, value_name = "FORMAT", value_parser = format, default_value = "table")]
    format: Format,
    /// Write a report to this file too; repeatable. Its format is that of the extension (json, csv, md, txt, html,
    /// jtl, xml), or the one before =, such as junit=report.
    #[arg(long, value_name = "[FORMAT=]FILE", value_parser = output)]
    out: Vec<Output>,
    #[command(flatten)]
    gate: GateArgs,
}

#[derive(Debug, clap::Subcommand)]
enum BenchCommand {
    /// Judge the results of JMeter or k6 by the same thresholds and baseline. Exit status 99 if one is broken.
    Judge(JudgeArgs),
}

/// How often thresholds that end a run early are evaluated.
const EVALUATED_EVERY: Duration = Duration::from_secs(1);

/// The exit status of a process that a signal ended is this plus the signal (POSIX shells).
pub(super) const SIGNALED: i32 = 128;

pub(super) fn run(args: &BenchArgs) -> ExitCode {
    if let Some(BenchCommand::Judge(args)) = &args.command {
        return judge::run(args);
    }
    let prepared = plan(args).and_then(|plan| {
        let rules = args.gate.rules()?;
        rules.check_plan(&plan.series())?;
        args.out.iter().try_for_each(Output::check)?;
        Ok((plan, rules))
    });
    let (plan, rules) = match prepared {
        Ok(prepared) => prepared,
        Err(errors) => return usage(&errors),
    };
    log_to_stderr(&Log { level: LogLevel::Warn, format: LogFormat::Text });
    let shows_progress = io::stderr().is_terminal();
    let broken = Broken::default();
    let measured = measure(&plan, observer(shows_progress, &rules, &broken));
    if shows_progress {
        progress::clear();
    }
    let (results, end) = match measured {
        Ok(measured) => measured,
        Err(error) => return finish(Err(error)),
    };
    logging::flush();
    let mut gate = match rules.gate(&results) {
        Ok(gate) => gate,
        // Such as a baseline of other regions: what was measured is not lost for that.
        Err(error) => {
            let _ = publish_all(args, &results, &plan, &Gate::default());
            return usage(&error);
        }
    };
    // The threshold that ended the run was broken, whatever the probes that were in flight brought.
    if let Some((check, after)) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
        gate.ended_by(&check, after);
    }
    let published = publish_all(args, &results, &plan, &gate);
    match (end, published) {
        (End::Signal(signal), _) => u8::try_from(SIGNALED + signal).map_or(ExitCode::FAILURE, ExitCode::from),
        _ if gate.fails() => BROKEN.into(),
        (_, Err(error)) => failed(error),
        (_, Ok(true)) => status(&gate),
        (_, Ok(false)) => failed(NO_SUCCESS),
    }
}

/// Saves the samples and writes all reports, and returns whether any probe succeeded.
fn publish_all(args: &BenchArgs, results: &Results, plan: &Plan, gate: &Gate) -> Result<bool, String> {
    let report = Report::new(results, &plan.light).with(gate);
    let text = |format, colors| report.text(format, colors);
    publish(args.gate.save(results), &args.out, args.format, text).map(|()| report.has_success())
}

/// The check that ended a run early, and when.
type Broken = Arc<Mutex<Option<(Check, Duration)>>>;

/// What watches the run: the progress bar, and the thresholds that end it early.
fn observer(shows_progress: bool, rules: &Rules, broken: &Broken) -> Option<Observer> {
    let (rules, broken) = (rules.early(), Arc::clone(broken));
    if !shows_progress && rules.thresholds.is_empty() {
        return None;
    }
    let mut next = EVALUATED_EVERY;
    Some(Box::new(move |progress| {
        if shows_progress {
            progress::show(progress);
        }
        if progress.elapsed >= next {
            next = progress.elapsed + EVALUATED_EVERY;
            if let Some(check) = rules.broken(progress.series, progress.elapsed) {
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some((check, progress.elapsed));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }))
}

fn plan(args: &BenchArgs) -> Result<Plan, String> {
    let limits = Limits { duration: args.duration, samples: args.samples, rate: args.rate };
    if !args.target.is_empty() {
        let of_environment = std::env::var("REGIONWATCH_REGION").ok().filter(|name| !name.is_empty());
        let of_environment =
            of_environment.map(|name| region(&name).map_err(|error| format!("REGIONWATCH_REGION: {error}")));
        let from = args.from.clone().map_or_else(|| of_environment.transpose(), |from| Ok(Some(from)))?;
        return Plan::of_targets(&args.target, from.as_ref(), limits);
    }
    let source = Source::new(&ConfigArgs { config: args.config.clone(), settings: SettingFlags(Vec::new()) });
    let lists_peers = |(name, value): &(OsString, OsString)| name == "REGIONWATCH_PEERS" && !value.is_empty();
    if source.file.is_none() && !source.environment.iter().any(lists_peers) {
        return Err(
            "there is nothing to measure; write --target us=https://us.example.com/healthz for each region, or \
                    --config regionwatch.yaml"
                .to_owned(),
        );
    }
    let loaded = source.load_in_time()?;
    let name = source.file.as_ref().map_or_else(|| "REGIONWATCH_PEERS".to_owned(), |file| file.display().to_string());
    Plan::of_config(&loaded.config, name, limits)
}

fn region(text: &str) -> Result<Region, String> {
    Region::new(text).map_err(|error| format!("{error}; write a region name such as eu-west-1"))
}

fn run_duration(text: &str) -> Result<Duration, String> {
    duration_in(Duration::from_millis(100)..=Duration::from_secs(24 * 3600))(text)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=100.0).contains(rate));
    rate.ok_or_else(|| "is not a number from 0.001 to 100; write probes per second, such as 10".to_owned())
}
