//! Which Dockerfile makes the image that is soonest at work? `regionwatch coldstart` builds the shipped one and those of
//! `docker/variants`, and ranks them by the time from an empty node to the first page of metrics.
//!
//! `cargo bench --bench image`, as root, where `docker` reaches an engine on this machine. A variant whose base image
//! cannot be had is left out by name. `-- --ranks` measures instead how often ranks are right, in some fifty minutes.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

mod ranks;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Parser;
use serde_json::Value;
use testkit::{
    binary,
    engine::{engine, read, tried},
    images,
    needs::check,
    root,
};

#[derive(Parser)]
struct Options {
    /// How often each image is started.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Measures how often images are ranked right whose order is known.
    #[arg(long)]
    ranks: bool,
    /// With --ranks: the comparisons of each of the two sorts.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// With --ranks: how many run at the same time. Each is noise for the others.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    beside: u16,
    /// With --ranks: another program than the one of this build.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Given by `cargo bench`, but not by `cargo test --all-targets`.
    #[arg(long, hide = true)]
    bench: bool,
}

const SHIPPED: &str = "Dockerfile";

/// Why a Dockerfile cannot be built here.
fn missing_base(dockerfile: &str) -> Option<String> {
    let text = read(dockerfile);
    let bases = text.lines().filter_map(|line| line.strip_prefix("ARG ")).filter_map(|line| line.split_once('='));
    let mut bases = bases.filter(|(key, _)| key.ends_with("_IMAGE")).map(|(_, base)| base);
    let is_missing = |base: &str| {
        tried(&["inspect", "--type", "image", base]).is_err() && tried(&["pull", "--quiet", base]).is_err()
    };
    bases.find(|base| is_missing(base)).map(|base| format!("{dockerfile}: its base {base} cannot be had here"))
}

/// The shipped Dockerfile, and the others.
fn dockerfiles() -> Vec<String> {
    let folder = "docker/variants";
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| format!("{folder}/{}", name.into_string().unwrap()));
    let mut found: Vec<_> = names.filter(|name| name.ends_with(".Dockerfile")).collect();
    found.sort();
    found.insert(0, SHIPPED.to_owned());
    found
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("image: runs by `cargo bench --bench image` (or with --bench) only");
        return ExitCode::SUCCESS;
    }
    let needs = if options.ranks { images::needs().to_vec() } else { vec![engine()] };
    if let Err(missing) = check(&needs) {
        eprintln!("the benchmark {missing}");
        return ExitCode::FAILURE;
    }
    if options.ranks {
        let binary = options.binary.as_deref().unwrap_or_else(|| Path::new(binary()));
        let holds = ranks::measure(options.runs.into(), options.beside.into(), binary);
        return if holds { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    let (mut arguments, mut left_out) = (Vec::new(), Vec::new());
    for dockerfile in dockerfiles() {
        match missing_base(&dockerfile) {
            Some(reason) => left_out.push(reason),
            None => arguments.extend(["--dockerfile".to_owned(), dockerfile]),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let peer = "REGIONWATCH_PEERS=there=http://127.0.0.1:9/";
    let status = Command::new(binary())
        .current_dir(root())
        // The builder's own network reaches the registry on every engine.
        .args(["coldstart", "--context", ".", "--build-option=--network=host", "--probe", "http://:9877/metrics"])
        .args(["--bandwidth", "100mbit,1gbit", "--cpus", "1", "--memory", "32MiB", "--format", "markdown"])
        .args(["--env", "REGIONWATCH_REGION=here", "--env", peer, "--rounds", &options.rounds.to_string()])
        .arg("--out")
        .arg(&json)
        .args(arguments)
        .env("DOCKER_BUILDKIT", "1")
        .status()
        .unwrap();
    for reason in left_out {
        println!("Left out: {reason}.");
    }
    if status.success() && best(&json).as_deref() == Some(SHIPPED) { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// The Dockerfile that is ranked first.
fn best(json: &Path) -> Option<String> {
    let report: Value = serde_json::from_slice(&fs::read(json).ok()?).ok()?;
    Some(report["results"][0]["command"].as_str()?.to_owned())
}
