//! `coldstart`: starts containers of images in turn, and prints which one answers first.

use std::{
    collections::BTreeSet,
    env,
    io::{self, IsTerminal, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use super::{
    bench::{
        SIGNALED,
        gate::{BROKEN, GateArgs, status},
        outputs::{Output, format, output, publish},
    },
    report::{failed, log_to_stderr, usage},
    source::read_file,
};
use crate::{
    bench::{Check, End, Format, Gate, Rules, Series},
    coldstart::{
        Bandwidth, Candidate, ColdstartError, ContainerOptions, MOST_IMAGES, Matrix, Model, Origin, PageCache, Plan,
        Present, Progress, Question, Report, candidates, cpus, memory, run as measure,
    },
    config::{Log, LogFormat, LogLevel},
    logging,
    yaml::{diagnostics::one_of, file, units::duration_in},
};

#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct ColdstartArgs {
    /// Images to compare, as the engine names them.
    #[arg(value_name = "IMAGE", required_unless_present_any = ["dockerfile", "file"])]
    images: Vec<String>,
    /// YAML file of images and Dockerfiles to compare, each with its own limits, variables and probe.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Build this Dockerfile and compare its image; repeatable.
    #[arg(long, value_name = "FILE")]
    dockerfile: Vec<PathBuf>,
    /// Folder whose files the Dockerfiles may copy [default: the folder of each Dockerfile].
    #[arg(long, value_name = "FOLDER", requires = "dockerfile")]
    context: Option<PathBuf>,
    /// Stages of the Dockerfiles to compare [default: the last one].
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',', requires = "dockerfile")]
    target: Vec<String>,
    /// Argument of the build, with the values to compare; repeatable.
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = argument, requires = "dockerfile")]
    build_arg: Vec<(String, Vec<String>)>,
    /// Option of docker build or podman build, such as --build-option=--network=host; repeatable.
    #[arg(long, value_name = "OPTION", value_parser = build_option, allow_hyphen_values = true, requires = "dockerfile")]
    build_option: Vec<String>,
    /// What makes a container ready: a path such as /healthz, or a URL without a host, such as http://:8080/healthz,
    /// https://:8443/, tcp://:5432 or dns://:53/example.com. Without a port, the one that the image exposes.
    #[arg(long, value_name = "URL", value_parser = Question::parse, default_value = "/")]
    probe: Question,
    /// How often each image is started. A first round does not count.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), default_value = "20")]
    rounds: u32,
    /// How long a start may take.
    #[arg(long, value_name = "TIME", value_parser = timeout, default_value = "1m")]
    timeout: Duration,
    /// Bandwidths at which nodes pull, such as 100mbit,1gbit. Images are ranked by their start and their pull at the first.
    /// The word measured stands for what this host has to the registry that the largest image came from.
    #[arg(long, value_name = "RATE,...", value_parser = Bandwidth::parse, value_delimiter = ',', default_value = "1gbit")]
    bandwidth: Vec<Bandwidth>,
    /// What a node has of an image already: none, base (the base image), all-but-last (all layers but the last one) or all,
    /// which models no pull.
    #[arg(long, value_name = "PART", value_parser = present, default_value = "none")]
    present: Present,
    /// The page cache of this host at each start: warm, or cold, which empties it each time and needs root.
    #[arg(long, value_name = "STATE", value_parser = page_cache, default_value = "warm")]
    page_cache: PageCache,
    /// CPUs that each container may use, such as 0.5.
    #[arg(long, value_name = "N", value_parser = cpus)]
    cpus: Option<f64>,
    /// Memory that each container may use, such as 256MiB.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<u64>,
    /// Variable of the environment of each container; repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    env: Vec<String>,
    /// Reach the containers by published ports of 127.0.0.1 instead of their own addresses, as where the engine runs in
    /// a virtual machine or without root.
    #[arg(long)]
    publish: bool,
    /// Socket of the container engine [env: DOCKER_HOST, CONTAINER_HOST] [default: those of Docker and Podman].
    #[arg(long, value_name = "unix:///PATH", value_parser = socket)]
    engine: Option<PathBuf>,
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

/// How often thresholds that end a run early are evaluated.
const EVALUATED_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(args: &ColdstartArgs) -> ExitCode {
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
    let early = rules.early();
    let mut next = EVALUATED_EVERY;
    let mut broken = None;
    let mut watch = |progress: Progress<'_>, series: &[Series], elapsed: Duration| {
        if shows_progress {
            show(progress, elapsed);
        }
        if elapsed < next {
            return ControlFlow::Continue(());
        }
        next = elapsed + EVALUATED_EVERY;
        broken = early.broken(series, elapsed).map(|check| (check, elapsed));
        if broken.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let measured = measure(&plan, &mut watch);
    if shows_progress {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let (comparison, end) = match measured {
        Ok(measured) => measured,
        Err(ColdstartError::Invalid(reason)) => return usage(&reason),
        Err(error) => return failed(error),
    };
    logging::flush();
    report(args, &rules, &comparison, broken, end)
}

/// Writes the reports, and returns the exit status. `broken` is the check that ended the run, and when.
fn report(
    args: &ColdstartArgs,
    rules: &Rules,
    comparison: &crate::coldstart::Comparison,
    broken: Option<(Check, Duration)>,
    end: End,
) -> ExitCode {
    let (mut gate, invalid) = match rules.gate(&comparison.results) {
        Ok(gate) => (gate, None),
        // Such as a baseline of other images: what was measured is not lost for that.
        Err(error) => (Gate::default(), Some(error)),
    };
    // The threshold that ended the run was broken, whatever follows from the rest.
    if let Some((check, after)) = broken {
        gate.ended_by(&check, after);
    }
    let report = Report::new(comparison).with(&gate);
    let text = |format, colors| report.text(format, colors);
    let published = publish(args.gate.save(&comparison.results), &args.out, args.format, text);
    if let Some(error) = invalid {
        return usage(&error);
    }
    if let Some(reason) = &comparison.broken {
        return failed(reason);
    }
    match (end, published) {
        (End::Signal(signal), _) => u8::try_from(SIGNALED + signal).map_or(ExitCode::FAILURE, ExitCode::from),
        _ if gate.fails() => BROKEN.into(),
        (_, Err(error)) => failed(error),
        _ if report.has_success() => status(&gate),
        _ => failed("no image was ready; the column FAILED has the reasons"),
    }
}

/// Shows the progress on one line of standard error.
fn show(progress: Progress<'_>, elapsed: Duration) {
    let Progress { done, all, image } = progress;
    let image: String = image.chars().filter(|c| !c.is_control()).take(40).collect();
    // Nothing depends on whether it is seen.
    let _ = write!(io::stderr(), "\r\x1b[K{done} of {all} starts, {} s  {image}\r", elapsed.as_secs());
}

fn plan(args: &ColdstartArgs) -> Result<Plan, String> {
    let options =
        ContainerOptions { cpus: args.cpus, memory: args.memory, env: args.env.clone(), publish: args.publish };
    let images = images(args, &options)?;
    if args.publish {
        images.iter().try_for_each(|image| image.question.check_published())?;
    }
    Ok(Plan {
        sockets: sockets(args)?,
        images,
        question: args.probe.clone(),
        rounds: args.rounds as usize,
        timeout: args.timeout,
        options,
        page_cache: args.page_cache,
        model: Model { bandwidths: args.bandwidth.clone(), present: args.present },
    })
}

/// The images to compare: those that are named, those that are built, and those of a file.
fn images(args: &ColdstartArgs, options: &ContainerOptions) -> Result<Vec<Candidate>, String> {
    let matrix = Matrix {
        dockerfiles: args.dockerfile.clone(),
        context: args.context.clone(),
        targets: args.target.clone(),
        arguments: args.build_arg.clone(),
        options: args.build_option.clone(),
    };
    let named = args.images.iter().map(|name| (name.clone(), Origin::Engine(name.clone())));
    let built = matrix.builds()?.into_iter().map(|(name, build)| (name, Origin::Build(build)));
    let candidate = |(name, origin)| Candidate { name, origin, question: args.probe.clone(), options: options.clone() };
    let mut images: Vec<_> = named.chain(built).map(candidate).collect();
    if let Some(path) = &args.file {
        let name = path.display().to_string();
        let text = file::in_time({
            let path = path.clone();
            move || read_file(&path)
        })??;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let common = (args.probe.clone(), options.clone());
        let found = candidates(&name, &text, folder, &common).map_err(|errors| {
            let lines = errors.with_excerpts(&text).flat_map(|(line, excerpt)| [Some(line), excerpt]);
            lines.flatten().collect::<Vec<_>>().join("\n")
        });
        images.extend(found?);
    }
    let distinct: BTreeSet<_> = images.iter().map(|image| &image.name).collect();
    if distinct.len() < images.len() {
        return Err("two images have the same name; name each one once, or give it a name in a file".to_owned());
    }
    if images.len() > MOST_IMAGES {
        return Err(format!("{} images are too many; name at most {MOST_IMAGES}", images.len()));
    }
    Ok(images)
}

/// Where an engine may be: the one that is named, or the usual sockets of Docker and Podman.
fn sockets(args: &ColdstartArgs) -> Result<Vec<PathBuf>, String> {
    if let Some(path) = &args.engine {
        return Ok(vec![path.clone()]);
    }
    for name in ["DOCKER_HOST", "CONTAINER_HOST"] {
        if let Some(value) = env::var(name).ok().filter(|value| !value.is_empty()) {
            return socket(&value).map(|path| vec![path]).map_err(|reason| format!("{name} {value:?} {reason}"));
        }
    }
    let mut sockets = vec![PathBuf::from("/var/run/docker.sock"), PathBuf::from("/run/podman/podman.sock")];
    if let Some(folder) = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        sockets.extend(["docker.sock", "podman/podman.sock"].map(|name| PathBuf::from(&folder).join(name)));
    }
    Ok(sockets)
}

fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").filter(|path| path.starts_with('/'));
    path.map(PathBuf::from).ok_or_else(|| {
        "is not the socket of an engine on this host, which shares its clock and network; write unix:///PATH".to_owned()
    })
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration_in(Duration::from_millis(100)..=Duration::from_secs(3600))(text)
}

fn present(text: &str) -> Result<Present, String> {
    Present::parse(text).ok_or_else(|| format!("is not known; write {}", one_of(&Present::ALL.map(Present::as_str))))
}

fn page_cache(text: &str) -> Result<PageCache, String> {
    PageCache::parse(text)
        .ok_or_else(|| format!("is not known; write {}", one_of(&PageCache::ALL.map(PageCache::as_str))))
}

fn variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("is not KEY=VALUE; write a variable with its value, such as PORT=8080".to_owned()),
    }
}

fn argument(text: &str) -> Result<(String, Vec<String>), String> {
    match text.split_once('=') {
        Some((key, values)) if !key.is_empty() => Ok((key.to_owned(), values.split(',').map(str::to_owned).collect())),
        _ => {
            Err("is not KEY=VALUE,...; write an argument with its values, such as NODE_IMAGE=node:20,node:22"
                .to_owned())
        }
    }
}

fn build_option(text: &str) -> Result<String, String> {
    match text.strip_prefix("--") {
        Some(name) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("is no option; write one with its value, such as --network=host".to_owned()),
    }
}
